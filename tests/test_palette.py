"""`palette.py`: exact both ways for palette colours, the nearest for others."""

from pathlib import Path

import numpy as np
import pytest

from pokemon_gen.constants import LENGTH
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.palette import Palette, from_picture, oklab, to_picture
from pokemon_gen.sprites.loading import Sprites

FOUR = Palette(np.array([[255, 255, 255], [0, 0, 0], [200, 30, 30], [30, 30, 200]]))


def test_every_token_comes_back_from_its_colour(procedural: Sprites) -> None:
    tokens = np.arange(len(procedural.palette))
    np.testing.assert_array_equal(procedural.palette.to_tokens(procedural.palette.to_rgb(tokens)), tokens)


def test_sprites_come_back_from_their_pictures(procedural: Sprites) -> None:
    sprites = procedural.tokens("dev")
    pictures = to_picture(sprites, procedural.palette)
    assert pictures.shape == (80, 20, 20, 3)
    np.testing.assert_array_equal(from_picture(pictures, procedural.palette), sprites)


def test_pixels_are_read_row_by_row() -> None:
    sprite = np.zeros(LENGTH, dtype=int)
    sprite[21] = 2  # second row, second column
    assert to_picture(sprite, FOUR)[1, 1].tolist() == [200, 30, 30]


def test_another_colour_gives_the_nearest_token() -> None:
    colours = np.array([[250, 250, 240], [180, 50, 40], [40, 20, 170], [20, 20, 20]])
    assert FOUR.to_tokens(colours).tolist() == [0, 2, 3, 1]


def test_oklab_agrees_with_its_publication() -> None:
    # Reference values: CSS Color Module 4's sample conversions of white and of sRGB red.
    np.testing.assert_allclose(oklab(np.array([255, 255, 255])), [1, 0, 0], atol=1e-4)
    np.testing.assert_allclose(oklab(np.array([255, 0, 0])), [0.62796, 0.22486, 0.12585], atol=1e-4)


@pytest.mark.parametrize("token", [4, -1])
def test_a_token_without_a_colour_is_named(token: int) -> None:
    with pytest.raises(PokemonGenError, match=rf"token {token} has no colour.*0\.\.3"):
        FOUR.to_rgb(np.array([0, token]))


@pytest.mark.parametrize(
    ("rgb", "message"),
    [
        ([[1, 2, 3], [1, 2, 3]], r"\(1, 2, 3\) twice, as tokens 0 and 1"),
        ([[1, 2], [3, 4]], "rows of 3 numbers"),
        ([[0, 0, 0], [0, 0, 256]], "between 0 and 255"),
    ],
)
def test_what_is_no_palette_is_refused(rgb: list[list[int]], message: str) -> None:
    with pytest.raises(PokemonGenError, match=message):
        Palette(np.array(rgb))


def test_a_picture_of_another_size_is_no_sprite() -> None:
    with pytest.raises(PokemonGenError, match="20x20"):
        from_picture(np.zeros((20, 19, 3)), FOUR)


def test_a_saved_palette_is_the_same(tmp_path: Path) -> None:
    FOUR.save(tmp_path)
    loaded = Palette.load(tmp_path)
    assert loaded == FOUR
    assert loaded.fingerprint == FOUR.fingerprint
    assert Palette.load(tmp_path / "palette.json") == FOUR


@pytest.mark.parametrize(("text", "message"), [("{", r"palette.json:1:2: not JSON"), ("[]", "not a palette")])
def test_a_broken_palette_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "palette.json").write_text(text)
    with pytest.raises(PokemonGenError, match=message):
        Palette.load(tmp_path)
