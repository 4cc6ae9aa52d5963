"""`sprites/procedural/`: the properties that the embedded sprites share with the real ones."""

import numpy as np
import pytest

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.sprites.loading import Sprites, load_sprites
from pokemon_gen.sprites.procedural import draw_sprites


@pytest.fixture(scope="module")
def pictures(procedural: Sprites) -> np.ndarray:
    """Return all 792 sprites as 20x20 tokens."""
    rows = np.concatenate([procedural.tokens(split) for split in procedural.splits])
    return rows.reshape(-1, 20, 20)


def test_there_are_792_distinct_sprites_in_the_homeworks_splits(
    procedural: Sprites, pictures: np.ndarray
) -> None:
    assert [len(procedural.splits[split]) for split in ("train", "dev", "test")] == [632, 80, 80]
    assert len(np.unique(pictures.reshape(-1, 400), axis=0)) == 792


def test_the_palette_has_the_homeworks_size_with_white_first(procedural: Sprites) -> None:
    assert len(procedural.palette) == 167
    assert procedural.palette.rgb[0].tolist() == [255, 255, 255]


def test_the_background_share_is_like_that_of_real_sprites(procedural: Sprites) -> None:
    assert 0.30 < procedural.background_share() < 0.48  # real: 0.38


def test_a_seed_determines_the_sprites() -> None:
    np.testing.assert_array_equal(draw_sprites(12, seed=3), draw_sprites(20, seed=3)[:12])
    assert (draw_sprites(12, seed=3) != draw_sprites(12, seed=4)).any(axis=1).all()


def test_most_sprites_are_not_mirror_images_of_themselves(pictures: np.ndarray) -> None:
    symmetric = (pictures == pictures[:, :, ::-1]).all(axis=(1, 2))
    assert symmetric.mean() < 0.05


def test_the_frame_cuts_off_some_sprites_but_not_all(pictures: np.ndarray) -> None:
    drawn = pictures != 0
    touched = np.stack([drawn[:, 0], drawn[:, -1], drawn[:, :, 0], drawn[:, :, -1]]).any(-1)  # (4, N)
    assert (touched.mean(1) > 0.5).all()  # real: 0.79, 0.72, 0.78, 0.72
    assert (~touched.any(0)).any()


def test_silhouettes_have_dark_outlines(procedural: Sprites, pictures: np.ndarray) -> None:
    dark = procedural.palette.rgb.astype(float) @ [0.299, 0.587, 0.114] < 100  # (V,)
    inner = pictures[:, 1:-1, 1:-1]
    around = [pictures[:, :-2, 1:-1], pictures[:, 2:, 1:-1], pictures[:, 1:-1, :-2], pictures[:, 1:-1, 2:]]
    border = (inner != 0) & (np.stack(around) == 0).any(0)
    assert dark[inner[border]].mean() > 0.8


def test_sprites_have_as_many_colours_as_real_sprites(pictures: np.ndarray) -> None:
    colours = np.array([len(np.unique(picture)) for picture in pictures])
    assert 18 < colours.mean() < 32  # real: 26.6


def test_another_palette_is_refused() -> None:
    with pytest.raises(PokemonGenError, match=r"sprites\.palette: colormap\.txt .*procedural"):
        load_sprites("procedural", palette="colormap.txt")
