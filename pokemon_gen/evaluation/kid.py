"""The kernel Inception distance (KID), which has no bias for small samples, in NumPy alone.

KID is the squared maximum mean discrepancy with the kernel k(x, y) = (x·y / d + 1)³ (Bińkowski et al. 2018,
arXiv:1801.01401). This module computes the unbiased estimate over all samples, which never compares a sample
with itself. Libraries average over random subsets instead, which only adds noise when there are 80 samples.
The estimate can be negative: its expectation is zero for two draws from one distribution. It is lower still
for *paired* sets, because a sample resembles its partner more than an independent sample.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.evaluation.frechet import Floats, checked_pair


class Kernels:
    """The kernel values within and between two sets; the distance of any resample follows from them."""

    def __init__(self, xx: Floats, yy: Floats, xy: Floats) -> None:
        """Store the kernel values within and between the sets: (n, n), (m, m) and (n, m)."""
        self.xx, self.yy, self.xy = xx, yy, xy

    @classmethod
    def of(cls, x: NDArray[Any], y: NDArray[Any]) -> "Kernels":
        """Return the kernel values of features (n, d) and (m, d).

        Raises:
            PokemonGenError: for fewer than two samples, different dimensions, or values that are not finite.
        """
        x, y = checked_pair(x, y)
        return cls(_kernel(x, x), _kernel(y, y), _kernel(x, y))

    def distance(self, x_counts: NDArray[Any] | None = None, y_counts: NDArray[Any] | None = None) -> float:
        """Return the distance between two sets or between resamples of them.

        Two draws of the same sample are not counted as a pair, because such pairs would bias a bootstrap
        upwards.

        Args:
            x_counts: (n,) number of draws of each sample of the first set; None draws each once.
            y_counts: (m,) the same for the second set.
        """
        x_counts = np.ones(len(self.xx)) if x_counts is None else x_counts
        y_counts = np.ones(len(self.yy)) if y_counts is None else y_counts
        across = x_counts @ self.xy @ y_counts / (x_counts.sum() * y_counts.sum())
        return float(_within(self.xx, x_counts) + _within(self.yy, y_counts) - 2 * across)

    def paired_distance(self, counts: NDArray[Any]) -> float:
        """Return the distance between resamples that draw a sample and its partner together.

        A partner pair that is drawn twice counts twice. A product of counts would give it four times the
        weight and bias a bootstrap downwards.

        Args:
            counts: (n,) number of draws of sample i of both sets.
        """
        # In the full set, n of the n² pairs across the sets are partners. The resample keeps these shares.
        partners = counts @ self.xy.diagonal() / counts.sum()
        non_partners = (counts @ self.xy @ counts - counts**2 @ self.xy.diagonal()) / (
            counts.sum() ** 2 - (counts**2).sum()
        )
        across = (partners + (len(counts) - 1) * non_partners) / len(counts)
        return float(_within(self.xx, counts) + _within(self.yy, counts) - 2 * across)


def _kernel(x: Floats, y: Floats) -> Floats:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _within(kernel: Floats, counts: NDArray[Any]) -> float:
    """Return the mean kernel over pairs of different samples."""
    squares = counts**2
    pairs = counts.sum() ** 2 - squares.sum()
    return float((counts @ kernel @ counts - squares @ kernel.diagonal()) / pairs)
