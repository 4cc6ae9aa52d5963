"""The kernel distance (KID): a second opinion that is not biased by few samples; NumPy alone.

The squared maximum mean discrepancy with the kernel k(x, y) = (x·y / d + 1)³ (Bińkowski et al. 2018,
arXiv:1801.01401), in its unbiased form over all samples: a sample is never compared with itself. Libraries
average random subsets, which only adds noise where there are 80 samples. It can be below zero: its mean is
zero for two draws from one distribution, and it is lower still for *paired* sets, whose samples are more
alike across the sets than two independent ones would be.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.evaluation.frechet import Floats, checked_pair


class Kernels:
    """The kernel between all samples, from which any resampling's distance can be had."""

    def __init__(self, xx: Floats, yy: Floats, xy: Floats) -> None:
        """Hold (n, n), (m, m) and (n, m) kernel values."""
        self.xx, self.yy, self.xy = xx, yy, xy

    @classmethod
    def of(cls, x: NDArray[Any], y: NDArray[Any]) -> "Kernels":
        """Return the kernel values of features (n, d) and (m, d).

        Raises:
            PokemonGenError: for fewer than two samples, other dimensions, or values that are not finite.
        """
        x, y = checked_pair(x, y)
        return cls(_kernel(x, x), _kernel(y, y), _kernel(x, y))

    def distance(self, x_counts: NDArray[Any] | None = None, y_counts: NDArray[Any] | None = None) -> float:
        """Return the distance where each sample was drawn so many times, (n,) and (m,); none: once.

        Two draws of one sample are no pair: counted as one, a bootstrap would be biased upwards.
        """
        x_counts = np.ones(len(self.xx)) if x_counts is None else x_counts
        y_counts = np.ones(len(self.yy)) if y_counts is None else y_counts
        across = x_counts @ self.xy @ y_counts / (x_counts.sum() * y_counts.sum())
        return float(_within(self.xx, x_counts) + _within(self.yy, y_counts) - 2 * across)

    def paired_distance(self, counts: NDArray[Any]) -> float:
        """Return the distance where sample i of both sets was drawn counts[i] times, together.

        A pair drawn twice is still one pair of belonging samples each time: as a product of counts it
        would weigh four times, and a bootstrap would be biased downwards.
        """
        # The whole set has n - 1 times as many pairs across as belonging ones; keep their shares.
        own = counts @ self.xy.diagonal() / counts.sum()
        others = (counts @ self.xy @ counts - counts**2 @ self.xy.diagonal()) / (
            counts.sum() ** 2 - (counts**2).sum()
        )
        across = (own + (len(counts) - 1) * others) / len(counts)
        return float(_within(self.xx, counts) + _within(self.yy, counts) - 2 * across)


def _kernel(x: Floats, y: Floats) -> Floats:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _within(kernel: Floats, counts: NDArray[Any]) -> float:
    """Return the mean kernel over pairs of different samples."""
    squares = counts**2
    pairs = counts.sum() ** 2 - squares.sum()
    return float((counts @ kernel @ counts - squares @ kernel.diagonal()) / pairs)
