"""Plain measures of completions, in pixels: how right, remembered, varied, colourful; NumPy alone.

None of them says how good a picture is (pixel accuracy starts at 0.41 after one epoch and falls as the
pictures get better), but each says something no other does, beside the same figure of real sprites.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.constants import PROMPT_LENGTH


def pixel_accuracy(sprites: NDArray[Any], truth: NDArray[Any]) -> float:
    """Return the share of the completion's pixels that are the true ones; (N, 400) each."""
    return float((_completion(sprites) == _completion(truth)).mean())


def nearest_distances(sprites: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Return how far each completion is from the most alike of others.

    Args:
        sprites: (N, 400).
        others: (M, 400), the training sprites as a rule.

    Returns:
        (N,) shares of differing pixels: 0 is one of those completions, given back by heart.
    """
    return _distances(_completion(sprites), _completion(others)).min(1)


def mean_pairwise_distance(sprites: NDArray[Any]) -> float:
    """Return the diversity of completions: the mean share of pixels in which two of them differ."""
    distances = _distances(_completion(sprites), _completion(sprites))
    return float(distances[np.triu_indices(len(sprites), 1)].mean())


def new_colours(sprites: NDArray[Any]) -> float:
    """Return how many colours a completion has, in the mean, that its prompt has not; (N, 400).

    A real sprite mostly goes on in the colours that it has. Colours drawn from the far end of a distribution
    show as specks, which neither a likelihood nor a distance in pixels tells of.
    """
    rows = np.asarray(sprites)
    return float(np.mean([len(np.setdiff1d(row[PROMPT_LENGTH:], row[:PROMPT_LENGTH])) for row in rows]))


def match_truth(sprites: NDArray[Any], candidates: NDArray[Any]) -> NDArray[np.int64] | None:
    """Find the true sprite of each completion by its prompt.

    Args:
        sprites: (N, 400) completed.
        candidates: (M, 400) true sprites.

    Returns:
        (N,) rows of `candidates`, or None unless every prompt is the prompt of exactly one.
    """
    rows: dict[bytes, list[int]] = {}
    for row, prompt in enumerate(_prompts(candidates)):
        rows.setdefault(prompt, []).append(row)
    found = [rows.get(prompt, []) for prompt in _prompts(sprites)]
    if any(len(matches) != 1 for matches in found):
        return None
    return np.array([matches[0] for matches in found], dtype=np.int64)


def _prompts(sprites: NDArray[Any]) -> list[bytes]:
    return [row.tobytes() for row in np.asarray(sprites)[:, :PROMPT_LENGTH].astype(np.int64)]


def _completion(sprites: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(sprites)[:, PROMPT_LENGTH:]


def _distances(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """Return the share of differing pixels between all rows; (N, L), (M, L) → (N, M)."""
    return np.stack([(row != other).mean(1) for row in one])
