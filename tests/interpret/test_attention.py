"""`interpret/attention.py`: means, names, entropies and rollouts equal those that are computed by hand."""

import math

import numpy as np
import pytest

from pokemon_gen.interpret.attention import (
    SPREAD,
    entropy,
    mean_by_distance,
    mean_by_offset,
    name_heads,
    rollout,
    sprite_targets,
    text_targets,
)

RANDOM = np.random.default_rng(0)
SPRITES = RANDOM.integers(0, 5, (2, 400))
INK = RANDOM.random((2, 400)) < 0.2


def random_attention(*shape: int) -> np.ndarray:
    """Return random causal attention, (..., T, T)."""
    weights = np.tril(RANDOM.random(shape))
    return weights / weights.sum(-1, keepdims=True)


def even_attention(mask: np.ndarray) -> np.ndarray:
    """Return attention that is even over the visible keys of a mask, or over all without such a key."""
    visible = np.tril(np.ones(mask.shape[-2:], dtype=bool))
    wanted = mask & visible
    weights = np.where(wanted.any(-1, keepdims=True), wanted, visible).astype(np.float32)
    return weights / weights.sum(-1, keepdims=True)


@pytest.mark.parametrize(("length", "skip"), [(9, 0), (9, 2), (8, 0), (7, 3)])
def test_the_mean_by_offset_is_that_of_all_pairs(length: int, skip: int) -> None:
    """Also with conditioning tokens, and with a last row that is not full."""
    side = 3
    attention = random_attention(2, skip + length, skip + length)
    pairs: dict[tuple[int, int], list[np.ndarray]] = {}
    for query in range(length):
        for key in range(query + 1):
            up, right = query // side - key // side, key % side - query % side
            pairs.setdefault((up, right), []).append(attention[:, skip + query, skip + key])
    found = mean_by_offset(attention, side, skip)
    assert found.shape == (2, 3, 5)
    for up in range(3):
        for right in range(-2, 3):
            expected = np.mean(pairs[up, right], 0) if (up, right) in pairs else np.full(2, np.nan)
            np.testing.assert_allclose(found[:, up, side - 1 + right], expected)


def test_the_mean_by_distance_is_that_of_a_diagonal() -> None:
    attention = random_attention(2, 6, 6)
    found = mean_by_distance(attention)
    assert found.shape == (2, 6)
    for back in range(6):
        np.testing.assert_allclose(found[:, back], np.diagonal(attention, -back, 1, 2).mean(-1))


@pytest.mark.parametrize("skip", [0, 2])
def test_a_head_is_named_after_the_target_that_it_attends_to(skip: int) -> None:
    targets = sprite_targets(SPRITES, INK, skip)
    shape = (2, skip + 400, skip + 400)
    heads = [even_attention(np.broadcast_to(mask, shape)) for mask in targets.values()]
    named = name_heads(np.stack(heads, 1)[None], targets)  # (1, N, targets, T, T)
    assert [one.lift for one in named] == sorted((one.lift for one in named), reverse=True)
    names = list(targets)
    assert {(names[one.head], one.name) for one in named} == {(name, name) for name in names}
    for one in named:
        assert one.shares[one.name] == pytest.approx(1, abs=1e-5)


def test_targets_are_the_pixels_that_their_names_say() -> None:
    def keys(name: str, row: int, column: int, sprite: int = 0, skip: int = 0) -> list[tuple[int, int]]:
        """Return the row and the column of every earlier key that is a target of a query."""
        mask = sprite_targets(SPRITES, INK, skip)[name]
        query = 20 * row + column
        line = (mask if mask.ndim == 2 else mask[sprite])[skip + query, skip : skip + query + 1]
        return [(int(key) // 20, int(key) % 20) for key in np.flatnonzero(line)]

    assert keys("itself", 3, 15) == [(3, 15)]
    assert keys("one left", 3, 15) == [(3, 14)]
    assert keys("one left", 3, 0) == []  # the token before it is at the other side
    assert keys("two left", 3, 15, skip=2) == [(3, 13)]
    assert keys("one up", 3, 15) == [(2, 15)]
    assert keys("up-left", 3, 15) == [(2, 14)]
    assert keys("up-right", 3, 15, skip=2) == [(2, 16)]
    assert keys("up-right", 3, 19) == []
    assert keys("two up", 3, 15) == [(1, 15)]
    assert keys("same row", 3, 2) == [(3, 0), (3, 1), (3, 2)]
    assert keys("same column", 2, 7) == [(0, 7), (1, 7), (2, 7)]
    assert keys("mirror position", 3, 15) == [(3, 4)]
    assert keys("mirror position", 3, 4) == []  # its mirror image comes later
    for sprite in (0, 1):
        earlier = [(pixel // 20, pixel % 20) for pixel in range(48)]
        grid, ink = SPRITES[sprite].reshape(20, 20), INK[sprite].reshape(20, 20)
        for skip in (0, 2):
            assert keys("background pixels", 2, 7, sprite, skip) == [at for at in earlier if grid[at] == 0]
            assert keys("ink pixels", 2, 7, sprite, skip) == [at for at in earlier if ink[at]]
            assert keys("same colour", 2, 7, sprite) == [at for at in earlier if grid[at] == grid[2, 7]]
    for skip, anchors in ((0, [0]), (2, [0, 1])):
        anchor = sprite_targets(SPRITES, INK, skip)["anchor"]
        assert np.flatnonzero(anchor[skip + 50]).tolist() == anchors
        assert not anchor[:skip].any()  # conditioning tokens are no queries


def test_even_attention_has_no_target() -> None:
    targets = sprite_targets(SPRITES, INK)
    attention = even_attention(np.ones((2, 400, 400), dtype=bool))
    (one,) = name_heads(attention[None, :, None], targets)
    assert (one.layer, one.head, one.name) == (0, 0, SPREAD)
    assert one.lift == pytest.approx(0, abs=1e-6)
    assert one.shares["itself"] == pytest.approx(np.mean(1 / np.arange(1, 401)))


def test_shares_and_lifts_are_means_over_the_queries_with_a_target() -> None:
    attention = np.array([[1, 0, 0], [0.9, 0.1, 0], [0.1, 0.7, 0.2]])
    (one,) = name_heads(attention[None, None, None], text_targets(3))
    assert one.shares["itself"] == pytest.approx((1 + 0.1 + 0.2) / 3)
    assert one.shares["previous token"] == pytest.approx((0.9 + 0.7) / 2)
    assert one.shares["two back"] == pytest.approx(0.1)
    assert one.shares["anchor"] == pytest.approx((1 + 0.9 + 0.1) / 3)
    assert one.name == "previous token"
    assert one.lift == pytest.approx(0.8 - (1 / 2 + 1 / 3) / 2)


def test_a_target_that_no_query_sees_has_no_share() -> None:
    attention = random_attention(1, 1, 1, 4, 4)
    nothing = np.zeros((4, 4), dtype=bool)
    later = np.triu(np.ones((4, 4), dtype=bool), 1)
    (one,) = name_heads(attention, {"nothing": nothing, "later": later})
    assert one.shares == {"nothing": 0, "later": 0}
    assert one.name == SPREAD


def test_entropy_is_zero_for_one_key_and_largest_for_even_attention() -> None:
    one_key, even = np.eye(5), even_attention(np.ones((5, 5), dtype=bool))
    nats, normalised = entropy(np.stack([one_key, even])[None])
    assert nats.shape == normalised.shape == (1, 2)
    assert nats[0].tolist() == pytest.approx([0, np.mean(np.log([1, 2, 3, 4, 5]))], abs=1e-6)
    assert normalised[0].tolist() == pytest.approx([0, 1], abs=1e-6)


def test_entropy_is_averaged_over_queries() -> None:
    nats, normalised = entropy(np.array([[1, 0, 0], [0.25, 0.75, 0], [0.5, 0.5, 0]]))
    first = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert nats == pytest.approx((0 + first + math.log(2)) / 3)
    assert normalised == pytest.approx((first / math.log(2) + math.log(2) / math.log(3)) / 2)


def test_the_rollout_is_the_product_of_the_layers() -> None:
    attentions = random_attention(3, 2, 4, 5, 5)  # (L, N, H, T, T)
    found = rollout(attentions)
    assert found.shape == (3, 2, 5, 5)
    first, second, third = 0.5 * attentions[:, 1].mean(1) + 0.5 * np.eye(5)  # of the second sample
    np.testing.assert_allclose(found[0, 1], first)
    np.testing.assert_allclose(found[1, 1], second @ first)
    np.testing.assert_allclose(found[2, 1], third @ second @ first)
    np.testing.assert_allclose(found.sum(-1), 1)


def test_rows_of_the_rollout_add_up_to_one_where_those_of_the_attention_do_not() -> None:
    found = rollout(np.array([[1, 0], [0.25, 0.25]])[None, None, None])
    # Half of itself: 0.125, 0.125 + 0.5; divided by their sum, 0.75.
    np.testing.assert_allclose(found[0, 0], np.array([[1, 0], [1 / 6, 5 / 6]]))
