"""Pixel metrics of completions: accuracy, nearest sprite, diversity, new colours; in NumPy alone.

None of these metrics alone measures the quality of a picture: pixel accuracy starts at 0.41 after one epoch
and falls as the pictures get better. Each of them shows something that no other metric shows, if it is
compared with the same metric of real sprites.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.constants import PROMPT_LENGTH


def pixel_accuracy(sprites: NDArray[Any], truth: NDArray[Any]) -> float:
    """Return the share of the completions' pixels that equal the true ones; both arrays are (N, 400)."""
    return float(accuracies(sprites, truth).mean())


def accuracies(sprites: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
    """Return the pixel accuracy of each completion, (N,); both arrays are (N, 400)."""
    equal: NDArray[np.float64] = (_completion(sprites) == _completion(truth)).mean(1)
    return equal


def nearest_distances(sprites: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Return the distance from each completion to the nearest of other sprites' completions.

    Args:
        sprites: (N, 400) tokens.
        others: (M, 400) tokens, usually the training sprites.

    Returns:
        (N,) shares of pixels that differ; 0 means that the completion equals one of the others.
    """
    return nearest_rows(sprites, others)[0]


def nearest_rows(
    sprites: NDArray[Any], others: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the distances of `nearest_distances`, (N,), and the rows of the nearest sprites, (N,)."""
    distances = _distances(_completion(sprites), _completion(others))
    nearest = distances.argmin(1)
    return distances[np.arange(len(distances)), nearest], nearest


def mean_pairwise_distance(sprites: NDArray[Any]) -> float:
    """Return the diversity of completions: the mean share of pixels that differ between two of them."""
    return float(distances_to_others(sprites).mean())


def distances_to_others(sprites: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean share of pixels that differ between each completion and all others, (N,)."""
    distances = _distances(_completion(sprites), _completion(sprites))
    means: NDArray[np.float64] = distances.sum(1) / (len(sprites) - 1)
    return means


def new_colours(sprites: NDArray[Any]) -> float:
    """Return the mean of `new_colour_counts`."""
    return float(new_colour_counts(sprites).mean())


def new_colour_counts(sprites: NDArray[Any]) -> NDArray[np.float64]:
    """Return the number of colours in each completion that are not in its prompt; (N, 400) → (N,).

    The completion of a real sprite mostly uses the colours of its prompt. Colours from the tail of a
    predicted distribution appear as specks, which neither the likelihood nor a distance in pixels detects.
    """
    rows = np.asarray(sprites)
    return np.array([float(len(np.setdiff1d(row[PROMPT_LENGTH:], row[:PROMPT_LENGTH]))) for row in rows])


def match_truth(sprites: NDArray[Any], candidates: NDArray[Any]) -> NDArray[np.int64] | None:
    """Find the true sprite of each completion by its prompt.

    Args:
        sprites: (N, 400) completed sprites.
        candidates: (M, 400) true sprites.

    Returns:
        (N,) row numbers of `candidates`, or None unless each prompt belongs to exactly one candidate.
    """
    rows: dict[bytes, list[int]] = {}
    for row, prompt in enumerate(_prompts(candidates)):
        rows.setdefault(prompt, []).append(row)
    matching_rows = [rows.get(prompt, []) for prompt in _prompts(sprites)]
    if any(len(matches) != 1 for matches in matching_rows):
        return None
    return np.array([matches[0] for matches in matching_rows], dtype=np.int64)


def _prompts(sprites: NDArray[Any]) -> list[bytes]:
    return [row.tobytes() for row in np.asarray(sprites)[:, :PROMPT_LENGTH].astype(np.int64)]


def _completion(sprites: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(sprites)[:, PROMPT_LENGTH:]


def _distances(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Return the share of pixels that differ between each two rows; (N, L), (M, L) → (N, M)."""
    return np.stack([(row != y).mean(1) for row in x])
