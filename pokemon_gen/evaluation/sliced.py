"""The sliced Wasserstein distance between two sets of features.

Inception has learned photographs, and hardly distinguishes good completions from real sprites. The judge's
features were learned to do so. In every random direction, the distance between two sets of numbers is that of
their sorted values (Rabin et al. 2012, "Wasserstein Barycenter and its Application to Texture Mixing"); the
mean over many directions needs no covariance matrix, so it is stable for 80 sprites.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.constants import MEASURING_SEED
from pokemon_gen.evaluation.jackknife import error_of_pairs, normal_interval

DIRECTIONS = 1000
"""Number of random directions."""
HALVES = 100
"""Number of random halves."""
SMALLEST_UNIT = 0.1
"""The smallest unit of a feature, as a share of the median standard deviation."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SlicedDistance:
    """The distance of completions from the real sprites of the same prompts.

    Attributes:
        distance: the squared sliced Wasserstein distance, in squared standard deviations of the features.
        interval: its 95 % interval; None for two sprites.
        halves_of_real: the mean distance between two random halves of the real sprites: what chance alone
            gives.
    """

    distance: float
    interval: list[float] | None
    halves_of_real: float


def sliced_distance(features: Floats, real: Floats) -> SlicedDistance:
    """Return the distance of features from those of the real sprites of the same prompts.

    Features are measured in standard deviations of the real ones. A feature that hardly varies among the real
    sprites would outweigh all others, so no unit is smaller than a tenth of the median one.

    Args:
        features: (N, D) of completions.
        real: (N, D) of real sprites in the same order, two or more.
    """
    generator = np.random.default_rng(MEASURING_SEED)
    directions = generator.normal(size=(DIRECTIONS, features.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    deviations = real.std(0)
    scale = np.maximum(deviations, SMALLEST_UNIT * np.median(deviations) or 1.0)
    x, y = directions @ (features / scale).T, directions @ (real / scale).T  # (directions, N) each
    distance, n = _distance(x, y), len(real)
    error = error_of_pairs(lambda rows: _distance(x[:, rows], y[:, rows]), n, generator)
    halves = [np.array_split(generator.permutation(n), 2) for _ in range(HALVES)]
    of_halves = float(np.mean([_distance(y[:, a[: len(b)]], y[:, b]) for a, b in halves]))
    return SlicedDistance(distance, normal_interval(distance, error), of_halves)


def _distance(x: Floats, y: Floats) -> float:
    """Return the mean squared Wasserstein distance over the directions; (directions, n) each."""
    return float(((np.sort(x) - np.sort(y)) ** 2).mean())
