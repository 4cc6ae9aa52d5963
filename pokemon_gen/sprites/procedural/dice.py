"""The random choices of one sprite.

`Dice` is a thin wrapper around a NumPy generator. With it, the drawing code reads like a description of a
creature (`dice.chance(0.3)`, `dice.between(2, 4)`), and every choice takes exactly one draw.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Option = TypeVar("Option")


class Dice:
    """The random choices of one sprite, drawn from one generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Wrap `rng`. The order of the calls determines the sprite."""
        self._rng = rng

    def between(self, low: float, high: float) -> float:
        """Return a number drawn uniformly from [low, high)."""
        return low + (high - low) * self._rng.random()

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self._rng.random() < probability

    def count(self, low: int, high: int) -> int:
        """Return an integer drawn uniformly from low to high, both included."""
        return low + int(self._rng.random() * (high - low + 1))

    def pick(self, options: Sequence[Option]) -> Option:
        """Return one of `options` with equal probability. An option that is repeated is more likely."""
        return options[int(self._rng.random() * len(options))]

    def grid(self, size: int) -> npt.NDArray[np.float64]:
        """Return (size, size) numbers drawn uniformly from [0, 1)."""
        return self._rng.random((size, size))
