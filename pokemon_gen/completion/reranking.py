"""The choice of the best of several candidates for each prompt (best of N).

Some sampled completions are bad, and a classifier detects them, so the best of N draws is better than a
single draw (rejection by a classifier: Razavi et al. 2019, "VQ-VAE-2"; Lee et al. 2022, "RQ-Transformer").
The detector scores whether a sprite looks real, in log-odds. The model's likelihood scores whether the
completion follows from the prompt, in nats per token. The score of a candidate is their weighted sum. The
judge takes no part in the choice, because it only reports.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.completion.sampling import Candidates, complete_prompts, draw_candidates
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.ensemble import CompletionModel
from pokemon_gen.settings import CompletionSettings

_LEAST_PROBABILITY = 1e-6
"""The minimum distance of probabilities from 0 and 1; beyond it, a classifier's confidence is meaningless."""


class Scorer(Protocol):
    """A model that scores how real sprites look; the detector is one."""

    def probabilities(self, sprites: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probability that each sprite is real; (N, 400) → (N,)."""


def complete_best(
    model: CompletionModel,
    prompts: Sequence[Sequence[int]] | NDArray[Any],
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
    if settings.candidates == 1:
        return complete_prompts(model, prompts, settings, progress)
    if detector is None:
        raise PokemonGenError(
            f"completion.candidates={settings.candidates}: a detector ranks several candidates, but the run "
            "has no detector. Train it with `pokemon-gen detector CONFIG`, or set completion.candidates=1."
        )
    candidates = draw_candidates(model, prompts, settings, progress)
    best = rank_candidates(candidates, detector, settings.likelihood_weight).argmax(1)
    return candidates.sprites[np.arange(len(best)), best]


def rank_candidates(
    candidates: Candidates, detector: Scorer, likelihood_weight: float
) -> NDArray[np.float64]:
    """Return the scores of candidates.

    Args:
        candidates: K completions of each of N prompts.
        detector: scores how real the sprites look.
        likelihood_weight: the weight of a nat per token in relation to the detector's log-odds.

    Returns:
        (N, K) scores; higher is better.
    """
    prompts, each, length = candidates.sprites.shape
    probabilities = detector.probabilities(candidates.sprites.reshape(prompts * each, length))
    clipped = np.clip(probabilities, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY).reshape(prompts, each)
    return np.log(clipped / (1 - clipped)) + likelihood_weight * candidates.log_likelihood
