"""`augment.py`: sprites stay sprites, what was done is told, and what was told can be undone."""

import numpy as np
import pytest
import torch

from pokemon_gen.augmentation import FLIPS, GREY, Augmentation, flip_table, hue_shift_table
from pokemon_gen.palette import Palette, oklab
from pokemon_gen.sprites.loading import load_sprites

SPRITES = load_sprites("procedural")
PALETTE = SPRITES.palette
V = len(PALETTE)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_nothing_to_do_changes_and_tells_nothing() -> None:
    augmentation = Augmentation(PALETTE, "none", 1, 0.0)
    tokens = torch.from_numpy(SPRITES.tokens("dev"))
    assert augmentation.conditioning.count == 0
    assert torch.equal(augmentation(tokens, seeded()), tokens)


def test_what_is_told_is_what_was_done() -> None:
    augmentation = Augmentation(PALETTE, "all", 12, 0.3)
    assert augmentation.conditioning.count == 8 + 12
    assert augmentation.conditioning.identity == (V, V + 8)
    tokens = torch.from_numpy(SPRITES.tokens("train"))
    changed = augmentation(tokens, seeded()).numpy()
    assert changed.shape == (len(tokens), 402)
    ways, hues = changed[:, 0] - V, changed[:, 1] - V - 8
    places, colours = flip_table("all"), hue_shift_table(PALETTE, 12)
    for sprite, way, hue, after in zip(tokens.numpy(), ways, hues, changed[:, 2:], strict=True):
        np.testing.assert_array_equal(colours[hue][sprite[places[way]]], after)
    for drawn, kinds in ((ways, 8), (hues, 12)):
        shares = np.bincount(drawn, minlength=kinds) / len(drawn)
        assert shares[0] == pytest.approx(0.3, abs=0.06)
        np.testing.assert_allclose(shares[1:], 0.7 / (kinds - 1), atol=0.05)


def test_the_same_generator_draws_the_same() -> None:
    augmentation = Augmentation(PALETTE, "mirror", 6, 0.5)
    tokens = torch.from_numpy(SPRITES.tokens("dev"))
    assert torch.equal(augmentation(tokens, seeded(1)), augmentation(tokens, seeded(1)))
    assert not torch.equal(augmentation(tokens, seeded(1)), augmentation(tokens, seeded(2)))


@pytest.mark.parametrize("places", FLIPS)
def test_places_are_distinct_permutations_and_the_first_leaves_all(places: str) -> None:
    table = flip_table(places)
    assert len({way.tobytes() for way in table}) == len(table) == FLIPS[places]
    for way in table:
        np.testing.assert_array_equal(np.sort(way), np.arange(400))
    np.testing.assert_array_equal(table[0], np.arange(400))


def test_the_mirror_swaps_left_and_right() -> None:
    sprite = np.arange(400)
    np.testing.assert_array_equal(sprite[flip_table("mirror")[1]][:20], np.arange(20)[::-1])


def test_lightness_and_greys_stay() -> None:
    table = hue_shift_table(PALETTE, 4)
    np.testing.assert_array_equal(table[0], np.arange(V))
    lab = oklab(PALETTE.rgb)
    grey = np.hypot(lab[:, 1], lab[:, 2]) < GREY
    assert grey.any()
    for row in table:
        np.testing.assert_array_equal(row[grey], np.flatnonzero(grey))
        assert np.abs(lab[row, 0] - lab[:, 0]).mean() < 0.05


def test_a_turn_and_its_opposite_come_back_where_the_palette_is_a_circle() -> None:
    """Eight colours at equal steps of hue, equally light and bright: a turn by two of eight is exact."""
    angles = np.arange(8) * np.pi / 4
    lab = np.stack([np.full(8, 0.7), 0.09 * np.cos(angles), 0.09 * np.sin(angles)], axis=1)
    palette = Palette(np.concatenate([[[255, 255, 255]], rgb_of(lab)]))
    np.testing.assert_array_equal(hue_shift_table(palette, 4)[1], [0, 3, 4, 5, 6, 7, 8, 1, 2])
    np.testing.assert_array_equal(hue_shift_table(palette, 4)[3], [0, 7, 8, 1, 2, 3, 4, 5, 6])


def rgb_of(lab: np.ndarray) -> np.ndarray:
    """Invert `oklab` by search: the nearest of all colours on a grid."""
    steps = np.arange(0, 256, 5)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = ((oklab(grid)[None] - lab[:, None]) ** 2).sum(-1)
    return grid[distance.argmin(1)]
