"""Where the heads of a model look: attention by offset, names of heads, entropy, rollout.

Attention goes from a query to the keys up to and including itself. The query at position t holds token t,
and its output predicts token t + 1. So offsets are those from the last known pixel: the pixel above the
predicted one is "up-right" of the query, and the pixel to the left of the predicted one is the query itself.

A sprite has 20 columns, and 20 positions back mean one row up. `skip` is the number of conditioning tokens
before the grid: they are keys, but neither pixels nor queries of the offsets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.constants import BACKGROUND, LENGTH, SIDE

OFFSETS = {
    "itself": (0, 0),
    "one left": (0, -1),
    "one up": (-1, 0),
    "up-left": (-1, -1),
    "up-right": (-1, 1),
    "two left": (0, -2),
    "two up": (-2, 0),
}
"""A target of heads → its row and column minus those of the query."""
DISTANCES = {"itself": 0, "previous token": 1, "two back": 2}
"""A target of heads in text → how many tokens it lies back."""
SPREAD = "spread"
"""The name of a head without a target."""
LEAST_LIFT = 0.15
"""The lift below which a head has no target.

Untrained heads reached 0.01 on real sprites in GPT-2 and Llama. In Qwen3, whose normalised queries and keys
make attention sharper from the start, they reached 0.10 (two seeds, 24 heads each).
"""


@dataclass(frozen=True)
class NamedHead:
    """What a head attends to.

    Attributes:
        layer: the number of its layer, counted from 0.
        head: its number in the layer, counted from 0.
        name: the target with the largest lift, or `SPREAD` if that is below `LEAST_LIFT`.
        lift: the share of the attention on that target minus the share that even attention to all visible
            keys puts there (-1..1).
        shares: the share (0..1) of the attention on each target. Targets overlap: these do not add up to 1.
    """

    layer: int
    head: int
    name: str
    lift: float
    shares: dict[str, float]


def mean_by_offset(attention: NDArray[Any], side: int = SIDE, skip: int = 0) -> NDArray[np.float64]:
    """Return the mean attention by the offset from the query to the key on a grid.

    Args:
        attention: (H, T, T), such as the mean of a layer over sprites.
        side: the number of columns of the grid, which is read row by row.
        skip: the number of leading positions that are not on the grid.

    Returns:
        (H, rows, 2 x side - 1); entry [h, up, side - 1 + right] belongs to the key `up` rows above the query
        and `right` columns to its right. The mean is over the queries that see such a key; NaN if none does.
    """
    up, right = _offsets(attention.shape[-1] - skip, side)
    width = 2 * side - 1
    means = _mean_by(attention[:, skip:, skip:], up * width + side - 1 + right)
    rows = int(up.max()) + 1
    return np.pad(means, ((0, 0), (0, rows * width - means.shape[1])), constant_values=np.nan).reshape(
        -1, rows, width
    )


def mean_by_distance(attention: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean attention by how many tokens the key lies back; (H, T, T) → (H, T)."""
    positions = np.arange(attention.shape[-1])
    return _mean_by(attention, positions[:, None] - positions)


def sprite_targets(sprites: Any, ink: NDArray[np.bool_], skip: int = 0) -> dict[str, NDArray[np.bool_]]:
    """Return the targets of `name_heads` for sprites.

    Args:
        sprites: (N, 400) tokens, without their conditioning tokens.
        ink: (N, 400), the group of this name in `pixel_groups`.
        skip: the number of conditioning tokens that precede each sprite.

    Returns:
        A name → whether the key (last axis) is such a target of the query: (T, T), or (N, T, T) if it
        depends on the colours; T = skip + 400. "anchor" means the conditioning tokens, or the first pixel
        without any. "mirror position" means the same row and the mirrored column.
    """
    colours = np.asarray(sprites)
    up, right = _offsets(LENGTH, SIDE)
    columns = np.arange(LENGTH) % SIDE
    on_grid = {name: (up == -dy) & (right == dx) for name, (dy, dx) in OFFSETS.items()}
    on_grid |= {
        "same row": up == 0,
        "same column": right == 0,
        "background pixels": (colours == BACKGROUND)[:, None],
        "ink pixels": np.asarray(ink)[:, None],
        "same colour": colours[:, :, None] == colours[:, None],
        "mirror position": (up == 0) & (columns[:, None] + columns == SIDE - 1),
    }
    every_query = (LENGTH, LENGTH)
    targets = {
        name: _after_conditioning(np.broadcast_to(mask, (*mask.shape[:-2], *every_query)), skip)
        for name, mask in on_grid.items()
    }
    anchor = np.zeros((skip + LENGTH, skip + LENGTH), dtype=bool)
    anchor[skip:, : max(skip, 1)] = True
    return targets | {"anchor": anchor}


def text_targets(length: int) -> dict[str, NDArray[np.bool_]]:
    """Return the targets of `name_heads` for texts of `length` tokens: a name → (T, T).

    "anchor" means the first token, where heads attend if they find nothing.
    """
    targets = {name: np.eye(length, k=-back, dtype=bool) for name, back in DISTANCES.items()}
    return targets | {"anchor": np.broadcast_to(np.arange(length) == 0, (length, length))}


def name_heads(attentions: NDArray[Any], targets: Mapping[str, NDArray[np.bool_]]) -> list[NamedHead]:
    """Name each head by the target that it attends to most, compared with even attention.

    Large targets such as the background get much attention from every head, so heads are named by the lift:
    the share of the attention minus the share of the visible keys. Both are means over the queries that see
    such a target, and 0 if none does.

    Args:
        attentions: (L, N, H, T, T), as in `Activations`.
        targets: a name → (T, T) or (N, T, T), as from `sprite_targets` or `text_targets`.

    Returns:
        The heads, those with the largest lift first.
    """
    names = list(targets)
    measured = [_shares(attentions, targets[name]) for name in names]
    shares = np.stack([share for share, _ in measured], -1)  # (L, H, targets)
    lifts = shares - np.array([even for _, even in measured])
    found = []
    for layer, head in np.ndindex(shares.shape[:2]):
        best = int(lifts[layer, head].argmax())
        lift = float(lifts[layer, head, best])
        name = names[best] if lift >= LEAST_LIFT else SPREAD
        by_target = dict(zip(names, shares[layer, head].tolist(), strict=True))
        found.append(NamedHead(layer, head, name, lift, by_target))
    return sorted(found, key=lambda one: -one.lift)


def entropy(attentions: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean entropy of attention over the queries, in nats, and as a share of the largest one.

    Args:
        attentions: (..., T, T).

    Returns:
        Two arrays (...). The second divides each query's entropy by the logarithm of its number of visible
        keys (0: one key gets everything, 1: even), and leaves out the first query, which sees one key.
    """
    *leading, length, _ = attentions.shape
    matrices = attentions.reshape(-1, length, length)
    by_query = np.stack([_entropy(matrix) for matrix in matrices])  # (all heads, T)
    most = np.log(np.arange(2, length + 1))
    return by_query.mean(1).reshape(leading), (by_query[:, 1:] / most).mean(1).reshape(leading)


def rollout(attentions: NDArray[Any]) -> NDArray[np.float64]:
    """Return how much each position depends on each input token, through all layers up to each one.

    Attention rollout of Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers": in each layer
    half of a position comes from the mean attention of the heads, and half from itself, through the residual
    stream. The matrices of the layers are multiplied from the first layer up.

    Args:
        attentions: (L, N, H, T, T).

    Returns:
        (L, N, T, T); entry [l, n, t] says where position t after layer l + 1 comes from, and adds up to 1.
    """
    flows: list[NDArray[np.float64]] = []
    for layer in attentions:
        mixed = 0.5 * layer.mean(1, dtype=np.float64) + 0.5 * np.eye(layer.shape[-1])  # (N, T, T)
        mixed /= mixed.sum(-1, keepdims=True)
        flows.append(mixed @ flows[-1] if flows else mixed)
    return np.stack(flows)


def _offsets(length: int, side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many rows each key is above each query, and how many columns to its right; (T, T) both."""
    rows, columns = np.divmod(np.arange(length), side)
    return rows[:, None] - rows, columns - columns[:, None]


def _mean_by(attention: NDArray[Any], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean attention of each group of visible pairs of query and key.

    Args:
        attention: (H, T, T).
        groups: (T, T) the number of the pair's group, counted from 0.

    Returns:
        (H, groups); NaN for a group without pairs.
    """
    visible = np.tri(len(groups), dtype=bool)
    group = groups[visible]
    counts = np.bincount(group)
    sums = np.stack([np.bincount(group, weights=head[visible]) for head in attention])
    means: NDArray[np.float64] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means


def _after_conditioning(mask: NDArray[np.bool_], skip: int) -> NDArray[np.bool_]:
    """Add `skip` leading queries without targets, and keys that are none; (..., T, T)."""
    return np.pad(mask, [(0, 0)] * (mask.ndim - 2) + [(skip, 0), (skip, 0)])


def _shares(attentions: NDArray[Any], target: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Return the share of each head's attention on a target, (L, H), and the share by even attention.

    Only queries that see such a target count.
    """
    layers, samples, heads, length, _ = attentions.shape
    seen = np.broadcast_to(target, (samples, length, length)) & np.tri(length, dtype=bool)
    counts = seen.sum(-1)  # (N, T)
    queries = np.count_nonzero(counts)
    if not queries:
        return np.zeros((layers, heads)), 0.0
    weights = seen.astype(attentions.dtype)
    by_query = np.stack([np.einsum("nhqk,nqk->hnq", layer, weights) for layer in attentions])
    even = (counts / np.arange(1, length + 1)).sum() / queries
    return by_query.sum((2, 3), dtype=np.float64) / queries, float(even)


def _entropy(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """Return the entropy of each query's attention in nats; (T, T) → (T,)."""
    exact = matrix.astype(np.float64)
    logarithms = np.log(exact, out=np.zeros_like(exact), where=exact > 0)  # 0 log 0 = 0
    found: NDArray[np.float64] = -(exact * logarithms).sum(-1)
    return found
