"""`palette.py`: an exact conversion for palette colours, and the nearest token for all other colours."""

from pathlib import Path

import numpy as np
import pytest

from pokemon_gen.constants import LENGTH
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.palette import Palette, from_picture, oklab, to_picture
from pokemon_gen.sprites.loading import Sprites

FOUR = Palette(np.array([[255, 255, 255], [0, 0, 0], [200, 30, 30], [30, 30, 200]]))


def test_a_palette_colour_converts_back_to_its_token(procedural: Sprites) -> None:
    tokens = np.arange(len(procedural.palette))
    np.testing.assert_array_equal(procedural.palette.to_tokens(procedural.palette.to_rgb(tokens)), tokens)


def test_pictures_convert_back_to_their_sprites(procedural: Sprites) -> None:
    sprites = procedural.tokens("dev")
    pictures = to_picture(sprites, procedural.palette)
    assert pictures.shape == (80, 20, 20, 3)
    np.testing.assert_array_equal(from_picture(pictures, procedural.palette), sprites)


def test_pixels_are_read_row_by_row() -> None:
    sprite = np.zeros(LENGTH, dtype=int)
    sprite[21] = 2  # second row, second column
    assert to_picture(sprite, FOUR)[1, 1].tolist() == [200, 30, 30]


def test_another_colour_converts_to_the_nearest_token() -> None:
    colours = np.array([[250, 250, 240], [180, 50, 40], [40, 20, 170], [20, 20, 20]])
    assert FOUR.to_tokens(colours).tolist() == [0, 2, 3, 1]


def test_the_nearest_colour_is_the_one_that_looks_nearest() -> None:
    """To a green, a lime is nearer in OKLab, and a blue in RGB."""
    blue, lime = [0, 153, 204], [204, 255, 0]
    assert Palette(np.array([blue, lime])).to_tokens(np.array([0, 255, 153])) == 1


def test_oklab_agrees_with_published_values() -> None:
    # The reference values are the conversions of white and of sRGB red in CSS Color Module 4.
    np.testing.assert_allclose(oklab(np.array([255, 255, 255])), [1, 0, 0], atol=1e-4)
    np.testing.assert_allclose(oklab(np.array([255, 0, 0])), [0.62796, 0.22486, 0.12585], atol=1e-4)


@pytest.mark.parametrize("token", [4, -1])
def test_a_token_outside_the_palette_is_named(token: int) -> None:
    with pytest.raises(PokemonGenError, match=rf"token {token} .*0\.\.3"):
        FOUR.to_rgb(np.array([0, token]))


@pytest.mark.parametrize(
    ("rgb", "facts"),
    [
        ([[1, 2, 3], [1, 2, 3]], r"\(1, 2, 3\) twice, as tokens 0 and 1"),
        ([[1, 2], [3, 4]], r"3 numbers.*\(2, 2\)"),
        ([[1, 2, 3]], r"two rows.*\(1, 3\)"),
        ([[0, 0, 0], [0, 0, 256]], "256.*between 0 and 255"),
        ([[0, 0, 0], [0, -1, 0]], "-1.*between 0 and 255"),
    ],
)
def test_an_invalid_palette_is_refused(rgb: list[list[int]], facts: str) -> None:
    with pytest.raises(PokemonGenError, match=facts):
        Palette(np.array(rgb))


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(PokemonGenError, match=r"20x20.*\(20, 19, 3\)"):
        from_picture(np.zeros((20, 19, 3)), FOUR)


def test_the_repr_counts_the_colours_and_starts_the_fingerprint() -> None:
    assert repr(FOUR) == f"Palette(4 colours, {FOUR.fingerprint[:8]}...)"


def test_a_saved_palette_equals_the_original(tmp_path: Path) -> None:
    FOUR.save(tmp_path)
    loaded = Palette.load(tmp_path)
    assert loaded == FOUR
    assert loaded.fingerprint == FOUR.fingerprint
    assert Palette.load(tmp_path / "palette.json") == FOUR


@pytest.mark.parametrize(("text", "place"), [("{", r"palette\.json:1:2: "), ("[]", r"palette\.json: .*rgb")])
def test_an_invalid_palette_file_is_named(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "palette.json").write_text(text)
    with pytest.raises(PokemonGenError, match=place):
        Palette.load(tmp_path)
