"""Several candidates of each prompt, and the best of them.

A sampled completion is now and then a bad one, and a classifier sees it: of N drawn the best is better than
one drawn (rejection by a classifier: Razavi et al. 2019, "VQ-VAE-2"; Lee et al. 2022, "RQ-Transformer"). The
detector says whether a sprite looks real, the model's own likelihood whether it follows from the prompt;
log-odds and nats are added. The judge has no say: it only reports.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.completion.sampling import Candidates, complete_prompts, draw_candidates
from pokemon_gen.discriminator.classifier import Classifier
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.ensemble import CompletionModel
from pokemon_gen.settings import CompletionSettings

_LEAST_ODDS = 1e-6
"""Probabilities are kept this far from 0 and 1: beyond, a classifier's certainty means nothing."""


def complete_best(
    model: CompletionModel,
    prompts: Sequence[Sequence[int]] | NDArray[Any],
    settings: CompletionSettings,
    detector: Classifier | None,
    progress: str = "",
) -> NDArray[np.int64]:
    """Complete prompts, each by the best of `settings.candidates`.

    Args:
        model: a causal language model over the palette's tokens.
        prompts: N rows of 1 to 399 tokens.
        settings: how tokens are chosen, how many candidates, and what their likelihood weighs.
        detector: ranks candidates; one alone needs none.
        progress: the title of a bar; none: no bar.

    Returns:
        (N, 400) tokens.

    Raises:
        PokemonGenError: as `complete_prompts`, and for candidates without a detector.
    """
    if settings.candidates == 1:
        return complete_prompts(model, prompts, settings, progress)
    if detector is None:
        raise PokemonGenError("completion.candidates: several are ranked by a detector, and there is none")
    candidates = draw_candidates(model, prompts, settings, progress)
    best = rank_candidates(candidates, detector, settings.likelihood_weight).argmax(1)
    return candidates.sprites[np.arange(len(best)), best]


def rank_candidates(
    candidates: Candidates, detector: Classifier, likelihood_weight: float
) -> NDArray[np.float64]:
    """Return each candidate's score, (N, K): the higher the better."""
    count, each, length = candidates.sprites.shape
    probabilities = detector.probabilities(candidates.sprites.reshape(count * each, length))
    likely = np.clip(probabilities, _LEAST_ODDS, 1 - _LEAST_ODDS).reshape(count, each)
    return np.log(likely / (1 - likely)) + likelihood_weight * candidates.log_likelihood
