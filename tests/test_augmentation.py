"""`augmentation.py`: flips, hue shifts, and the conditioning tokens that name them."""

import numpy as np
import pytest
import torch

from pokemon_gen.augmentation import (
    FLIPS,
    GREY,
    Augmentation,
    flip_table,
    hue_shift_table,
    identity_tokens,
)
from pokemon_gen.models.build import build_model
from pokemon_gen.palette import Palette, oklab
from pokemon_gen.sprites.loading import load_sprites
from tests.builders import TINY_MODEL

SPRITES = load_sprites("procedural")
PALETTE = SPRITES.palette
V = len(PALETTE)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def augmented_by(augmentation: Augmentation, tokens: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Return sprites after transforms that a seed draws."""
    return augmentation.apply(tokens, augmentation.draw(len(tokens), seeded(seed)))


def test_without_augmentation_sprites_have_no_conditioning_tokens() -> None:
    augmentation = Augmentation(PALETTE, "none", 1, 0.0)
    tokens = torch.from_numpy(SPRITES.tokens("dev"))
    assert augmentation.conditioning.count == 0
    assert torch.equal(augmented_by(augmentation, tokens), tokens)


def test_conditioning_tokens_name_the_transforms() -> None:
    augmentation = Augmentation(PALETTE, "all", 12, 0.3)
    assert augmentation.conditioning.count == 8 + 12
    assert augmentation.conditioning.identity == (V, V + 8)
    tokens = torch.from_numpy(SPRITES.tokens("train"))
    augmented = augmented_by(augmentation, tokens).numpy()
    assert augmented.shape == (len(tokens), 402)
    flips, shifts = augmented[:, 0] - V, augmented[:, 1] - V - 8
    pixels, colours = flip_table("all"), hue_shift_table(PALETTE, 12)
    for sprite, flip, shift, after in zip(tokens.numpy(), flips, shifts, augmented[:, 2:], strict=True):
        np.testing.assert_array_equal(colours[shift][sprite[pixels[flip]]], after)
    for drawn, transforms in ((flips, 8), (shifts, 12)):
        shares = np.bincount(drawn, minlength=transforms) / len(drawn)
        assert shares[0] == pytest.approx(0.3, abs=0.06)
        np.testing.assert_allclose(shares[1:], 0.7 / (transforms - 1), atol=0.05)


def test_a_model_of_version_0_1_keeps_its_conditioning_tokens() -> None:
    model = build_model(TINY_MODEL, V, 0)
    model.config.nothing_done = [V, V + 8]
    assert identity_tokens(model) == [V, V + 8]


def test_a_seed_determines_the_transforms() -> None:
    augmentation = Augmentation(PALETTE, "mirror", 6, 0.5)
    tokens = torch.from_numpy(SPRITES.tokens("dev"))
    assert torch.equal(augmented_by(augmentation, tokens, 1), augmented_by(augmentation, tokens, 1))
    assert not torch.equal(augmented_by(augmentation, tokens, 1), augmented_by(augmentation, tokens, 2))


@pytest.mark.parametrize("flips", FLIPS)
def test_flips_are_distinct_permutations_and_the_first_is_the_identity(flips: str) -> None:
    table = flip_table(flips)
    assert len({row.tobytes() for row in table}) == len(table) == FLIPS[flips]
    for row in table:
        np.testing.assert_array_equal(np.sort(row), np.arange(400))
    np.testing.assert_array_equal(table[0], np.arange(400))


def test_the_mirror_swaps_left_and_right() -> None:
    sprite = np.arange(400)
    np.testing.assert_array_equal(sprite[flip_table("mirror")[1]][:20], np.arange(20)[::-1])


def test_hue_shifts_preserve_lightness_and_greys() -> None:
    table = hue_shift_table(PALETTE, 4)
    np.testing.assert_array_equal(table[0], np.arange(V))
    lab = oklab(PALETTE.rgb)
    grey = np.hypot(lab[:, 1], lab[:, 2]) < GREY
    assert grey.any()
    for row in table:
        np.testing.assert_array_equal(row[grey], np.flatnonzero(grey))
        assert np.abs(lab[row, 0] - lab[:, 0]).mean() < 0.05


def test_a_hue_shift_is_exact_where_the_palette_is_a_circle() -> None:
    """The palette has eight colours at equal steps of hue, so a shift by two of the eight steps is exact."""
    angles = np.arange(8) * np.pi / 4
    lab = np.stack([np.full(8, 0.7), 0.09 * np.cos(angles), 0.09 * np.sin(angles)], axis=1)
    palette = Palette(np.concatenate([[[255, 255, 255]], rgb_of(lab)]))
    np.testing.assert_array_equal(hue_shift_table(palette, 4)[1], [0, 3, 4, 5, 6, 7, 8, 1, 2])
    np.testing.assert_array_equal(hue_shift_table(palette, 4)[3], [0, 7, 8, 1, 2, 3, 4, 5, 6])


def rgb_of(lab: np.ndarray) -> np.ndarray:
    """Return the colour on a grid that is nearest to each point in OKLab."""
    steps = np.arange(0, 256, 5)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = ((oklab(grid)[None] - lab[:, None]) ** 2).sum(-1)
    return grid[distance.argmin(1)]
