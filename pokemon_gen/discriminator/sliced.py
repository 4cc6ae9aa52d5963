"""The sliced Wasserstein distance between two sets of features.

Inception has learned photographs, and hardly distinguishes good completions from real sprites. The judge's
features were learned to do so. In every random direction, the distance between two sets of numbers is that of
their sorted values (Rabin et al. 2012, "Wasserstein Barycenter and its Application to Texture Mixing"); the
mean over many directions needs no covariance matrix, so it is stable for 80 sprites.
"""

import numpy as np
from numpy.typing import NDArray

DIRECTIONS = 1000
"""Number of random directions."""
DRAWS = 100
"""Number of draws of a jackknife, and of random halves."""
KEPT = 0.8
"""Share of the sprites in a draw of the jackknife; see `evaluation/jackknife.py`."""
SMALLEST_UNIT = 0.1
"""The smallest unit of a feature, as a share of the median standard deviation."""
SEED = 20251108
"""The seed of directions and draws, so that equal sprites always have an equal distance."""
Floats = NDArray[np.float64]


class SlicedFeatures:
    """Features of sprites and of the real sprites of the same prompts, projected on random directions."""

    def __init__(self, features: Floats, real: Floats) -> None:
        """Project (N, D) features, in units of the standard deviation of the (N, D) real ones.

        A feature that hardly varies among the real sprites would outweigh all others, so no unit is smaller
        than a tenth of the median one.
        """
        generator = np.random.default_rng(SEED)
        directions = generator.normal(size=(features.shape[1], DIRECTIONS))
        directions /= np.linalg.norm(directions, axis=0)
        deviations = real.std(0)
        scale = np.maximum(deviations, SMALLEST_UNIT * np.median(deviations) or 1.0)
        self.projected, self.real = (features / scale) @ directions, (real / scale) @ directions
        self.generator = generator

    def distance(self) -> float:
        """Return the squared distance between both sets, in squared standard deviations of the features."""
        return _distance(self.projected, self.real)

    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the distance, by a jackknife that leaves out a fifth of the prompts.

        It is None for fewer than three prompts, of which none can be left out.
        """
        n = len(self.real)
        kept = max(2, round(KEPT * n))
        if kept == n:
            return None
        draws = [self.generator.permutation(n)[:kept] for _ in range(DRAWS)]
        distances = [_distance(self.projected[rows], self.real[rows]) for rows in draws]
        error = float(np.std(distances, ddof=1) * np.sqrt(kept / (n - kept)))
        centre = self.distance()
        return max(0.0, centre - 1.96 * error), centre + 1.96 * error

    def between_halves_of_real(self) -> float:
        """Return the mean distance between two random halves of the real sprites: what chance alone gives."""
        halves = [np.array_split(self.generator.permutation(len(self.real)), 2) for _ in range(DRAWS)]
        return float(np.mean([_distance(self.real[a[: len(b)]], self.real[b]) for a, b in halves]))


def _distance(x: Floats, y: Floats) -> float:
    """Return the mean squared Wasserstein distance over the directions; (n, directions) each."""
    return float(((np.sort(x, axis=0) - np.sort(y, axis=0)) ** 2).mean())
