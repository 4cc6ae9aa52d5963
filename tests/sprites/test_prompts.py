"""`sprites/prompts.py`: a completed picture keeps its canvas, its colours and its transparency."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pokemon_gen.palette import Palette, to_picture
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.sprites.prompts import PromptPicture, read_prompt_pictures


@pytest.fixture
def sprite(few_sprites: Sprites) -> np.ndarray:
    return few_sprites.tokens("dev")[0]


@pytest.fixture
def other(few_sprites: Sprites) -> np.ndarray:
    """Return a completion for the prompt of `sprite`."""
    dev = few_sprites.tokens("dev")
    return np.concatenate([dev[0][:240], dev[1][240:]])


def read(picture: Image.Image, palette: Palette, file: Path = Path("cat.png")) -> PromptPicture:
    picture.save(file)
    ((read,), left_out) = read_prompt_pictures([file], palette, False)
    assert not left_out
    return read


@pytest.mark.parametrize("factor", [1, 3])
@pytest.mark.parametrize("rows", [12, 20])
def test_enlarged_pixel_art_keeps_its_canvas(
    few_sprites: Sprites,
    sprite: np.ndarray,
    other: np.ndarray,
    factor: int,
    rows: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    rgb = to_picture(sprite, few_sprites.palette)[:rows].repeat(factor, 0).repeat(factor, 1)
    found = read(Image.fromarray(rgb), few_sprites.palette)
    np.testing.assert_array_equal(found.sprite[:240], sprite[:240])
    assert found.has_completion == (rows == 20)
    assert found.changes == ()
    completed = np.asarray(found.completed(other, few_sprites.palette))
    expected = to_picture(other, few_sprites.palette).repeat(factor, 0).repeat(factor, 1)
    np.testing.assert_array_equal(completed, expected)


def test_colours_and_transparency_are_the_pictures_own(
    few_sprites: Sprites,
    sprite: np.ndarray,
    other: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The picture's colours differ a little from the palette's, and its background is transparent."""
    monkeypatch.chdir(tmp_path)
    rgb = to_picture(sprite, few_sprites.palette)
    own = np.where(rgb > 127, rgb.astype(int) - 1, rgb.astype(int) + 1).astype(np.uint8)
    alpha = np.where(sprite.reshape(20, 20) == 0, 0, 255).astype(np.uint8)
    found = read(Image.fromarray(np.dstack([own, alpha])), few_sprites.palette)
    np.testing.assert_array_equal(found.sprite, sprite)
    completed = found.completed(other, few_sprites.palette)
    assert completed.mode == "RGBA"
    cells = np.asarray(completed).reshape(400, 4)
    np.testing.assert_array_equal(cells[:240], np.dstack([own, alpha]).reshape(400, 4)[:240])
    for position in range(240, 400):
        token = other[position]
        if token == 0:
            assert cells[position, 3] == 0
        elif token in other[:240]:
            np.testing.assert_array_equal(
                cells[position, :3], own.reshape(400, 3)[other[:240].tolist().index(token)]
            )
        else:
            np.testing.assert_array_equal(cells[position, :3], few_sprites.palette.rgb[token])


@pytest.mark.parametrize(
    ("size", "result", "facts"),
    [
        ((64, 64), (60, 60), ["resized", "64x64", "60x60"]),
        ((16, 16), (16, 16), ["padded", "16x16", "cropped"]),
        ((20, 30), (20, 20), ["padded", "20x30", "resized"]),
        ((40, 20), (40, 20), ["padded", "40x20", "cropped"]),
    ],
)
def test_what_was_done_to_a_picture_is_named(
    few_sprites: Sprites,
    size: tuple[int, int],
    result: tuple[int, int],
    facts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, 255, (size[1] // 2, size[0] // 2, 3)).astype(np.uint8)
    found = read(Image.fromarray(blocks.repeat(2, 0).repeat(2, 1)), few_sprites.palette)
    changes = "; ".join(found.changes)
    assert all(fact in changes for fact in facts), changes
    assert found.completed(found.sprite, few_sprites.palette).size == result


def test_an_animation_gives_its_first_frame(
    few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    ((found,), _) = read_prompt_pictures([Path("moving.gif")], few_sprites.palette, False)
    assert "first frame" in found.changes[0]
