"""Folds of sprites, in which copies stay together.

A model that has learned a sprite knows its mirrored or recoloured copy too. If the copy were in the part that
measures or completes, the result would be too good. So copies count as one when sprites are divided.
"""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.constants import SIDE

_log = logging.getLogger(__name__)


def copy_groups(sprites: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Group sprites that are equal, mirrored left to right, or recoloured pixel by pixel.

    Args:
        sprites: (N, 400) tokens.

    Returns:
        The rows of each group, in the order of the groups' first sprites. Most groups have one row.
    """
    mirrored = sprites.reshape(-1, SIDE, SIDE)[:, :, ::-1].reshape(sprites.shape)
    rows_of_shape: dict[bytes, list[int]] = {}
    for row, forms in enumerate(zip(sprites, mirrored, strict=True)):
        shape = min(_without_colours(form).tobytes() for form in forms)
        rows_of_shape.setdefault(shape, []).append(row)
    return [np.array(rows, dtype=np.int64) for rows in rows_of_shape.values()]


def copies_of(sprites: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of (N, 400) sprites that equal, mirror or recolour one of (M, 400) others."""
    count = len(sprites)
    groups = copy_groups(np.concatenate([sprites, others]))
    rows = [row for group in groups if group[-1] >= count for row in group.tolist() if row < count]
    return np.sort(np.array(rows, dtype=np.int64))


def random_folds(sprites: NDArray[np.int64], shares: Sequence[float], seed: int) -> list[NDArray[np.int64]]:
    """Divide sprites at random into folds, with all copies of a sprite in one fold.

    Args:
        sprites: (N, 400) tokens.
        shares: the share of the sprites that each fold gets; they add up to 1.
        seed: the seed of the division.

    Returns:
        The rows of each fold, in random order. A fold is empty if there are too few groups of copies.
    """
    groups = copy_groups(sprites)
    order = np.random.default_rng(seed).permutation(len(groups))
    sizes = np.zeros(len(shares))
    members: list[list[int]] = [[] for _ in shares]
    for number in order:
        fold = int(np.argmax(np.asarray(shares) * len(sprites) - sizes))  # the one that lacks the most
        members[fold].extend(groups[number].tolist())
        sizes[fold] += len(groups[number])
    copies = len(sprites) - len(groups)
    if copies:
        _log.info("%d of %d sprites are copies of others; copies stay in one fold", copies, len(sprites))
    return [np.array(rows, dtype=np.int64) for rows in members]


def _without_colours(sprite: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the colours of a sprite in the order of their first pixels; (400,) → (400,)."""
    _, first, colours = np.unique(sprite, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[colours]
