"""The choice of the best of several candidates for each prompt (best of N).

Some sampled completions are bad, and a classifier detects them, so the best of N draws is better than a
single draw (rejection by a classifier: Razavi et al. 2019, "VQ-VAE-2"; Lee et al. 2022, "RQ-Transformer").
The detector scores whether a sprite looks real, in log-odds. The model's likelihood scores whether the
completion follows from the prompt, in nats per token. The score of a candidate is their weighted sum. The
judge takes no part in the choice, because it only reports.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.completion.sampling import Candidates, draw_candidates
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.ensemble import CompletionModel
from pokemon_gen.settings import CompletionSettings

_LEAST_PROBABILITY = 1e-6
"""The minimum distance of probabilities from 0 and 1; beyond it, a classifier's confidence is meaningless."""


class Scorer(Protocol):
    """A model that scores how real sprites look; the detector is one."""

    def probabilities(self, sprites: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probability that each sprite is real; (N, 400) → (N,)."""


@dataclass(frozen=True)
class Ranked:
    """Completions of each prompt, the best first.

    Attributes:
        sprites: (N, K, 400) tokens; each sprite begins with its unchanged prompt.
        probability: (N, K) the detector's probability that each sprite is real; None if no detector ranked.
        nll: (N, K) the negative log-likelihood of each completion, nats/token.
    """

    sprites: NDArray[np.int64]
    probability: NDArray[np.float64] | None
    nll: NDArray[np.float64]

    @property
    def captions(self) -> list[list[str]]:
        """The scores of the N x K sprites as short texts, for pictures."""
        if self.probability is None:
            return [[f"{nll:.2f} nats" for nll in row] for row in self.nll]
        return [[f"real {probability:.2f}" for probability in row] for row in self.probability]

    def best(self, count: int) -> "Ranked":
        """Return the best `count` completions of each prompt."""
        probability = None if self.probability is None else self.probability[:, :count]
        return Ranked(self.sprites[:, :count], probability, self.nll[:, :count])


def complete_best(
    model: CompletionModel,
    prompts: Sequence[Sequence[int] | NDArray[Any]] | NDArray[Any],
    settings: CompletionSettings,
    detector: Scorer | None,
    progress: str = "",
) -> NDArray[np.int64]:
    """Complete each prompt by the best of `settings.candidates` completions.

    Args:
        model: a causal language model over the palette's tokens, or an ensemble.
        prompts: N rows of 1 to 399 tokens.
        settings: the sampling settings, the number of candidates and the weight of their likelihood.
        detector: ranks the candidates. A single candidate needs no detector.
        progress: the title of a progress bar; empty for no bar.

    Returns:
        (N, 400) tokens; each row begins with its unchanged prompt.

    Raises:
        PokemonGenError: as `complete_prompts`, and for several candidates without a detector.
    """
    if settings.candidates > 1 and detector is None:
        raise PokemonGenError(
            f"completion.candidates={settings.candidates}: a detector ranks several candidates, but the run "
            "has no detector. Train it with `pokemon-gen detector CONFIG`, or set completion.candidates=1."
        )
    return rank_completions(model, prompts, settings, detector, progress).sprites[:, 0]


def rank_completions(
    model: CompletionModel,
    prompts: Sequence[Sequence[int] | NDArray[Any]] | NDArray[Any],
    settings: CompletionSettings,
    detector: Scorer | None,
    progress: str = "",
) -> Ranked:
    """Complete each prompt `settings.candidates` times, and rank the completions; see `complete_best`.

    Without a detector, several completions are ranked by their likelihood.
    """
    candidates = draw_candidates(model, prompts, settings, progress)
    return rank_candidates(candidates, detector, settings.likelihood_weight)


def rank_candidates(candidates: Candidates, detector: Scorer | None, likelihood_weight: float) -> Ranked:
    """Rank candidates by the detector's log-odds and their likelihood, or by their likelihood alone.

    Args:
        candidates: K completions of each of N prompts.
        detector: scores how real the sprites look; None for the likelihood alone.
        likelihood_weight: the weight of a nat per token in relation to the detector's log-odds.
    """
    prompts, each, length = candidates.sprites.shape
    probability, score = None, candidates.log_likelihood
    if detector is not None:
        found = detector.probabilities(candidates.sprites.reshape(prompts * each, length))
        probability = np.clip(found, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY).reshape(prompts, each)
        score = np.log(probability / (1 - probability)) + likelihood_weight * candidates.log_likelihood
    order = np.argsort(-score, axis=1, kind="stable")

    def in_order(values: NDArray[Any]) -> NDArray[Any]:
        return np.stack([row[best] for row, best in zip(values, order, strict=True)])

    ranked = None if probability is None else in_order(probability)
    return Ranked(in_order(candidates.sprites), ranked, in_order(-candidates.log_likelihood))
