"""Contact sheets and completion sheets: many sprites in one picture, upscaled without blur.

A contact sheet shows sprites. A completion sheet also draws a line between each prompt and its completion. An
explained sheet adds what a judge saw in each sprite.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pokemon_gen.constants import BACKGROUND, LENGTH, PROMPT_LENGTH, SIDE
from pokemon_gen.files import atomic_file
from pokemon_gen.palette import Palette, to_picture

SMALL, LARGE = 5, 16
"""Screen pixels along each side of a sprite's pixel: 5 on a full sheet, up to 16 for a few sprites."""
WIDTH = 1000
"""The approximate width in screen pixels of a sheet of few sprites."""
COLUMNS = 16
BAR = 3
"""Screen pixels between a sprite and its map."""
GUTTER = 6
"""Screen pixels between sprites."""
PAPER = (214, 218, 224)
LINE = (228, 30, 72)
"""A red that contrasts with sprites and paper."""


def draw_contact_sheet(sprites: Sequence[NDArray[Any]] | NDArray[Any], palette: Palette) -> Image.Image:
    """Draw sprites, 16 per row.

    Args:
        sprites: N rows of up to 400 tokens. The pixels that a blind test sprite lacks show the paper.
        palette: the colours of the tokens.
    """
    scale = _scale(len(sprites))
    return _sheet([_tile(sprite, palette, scale) for sprite in sprites])


def draw_completions(sprites: NDArray[Any], palette: Palette, prompt_lengths: Sequence[int]) -> Image.Image:
    """Draw completed sprites, 16 per row, with a red line between each prompt and its completion.

    Args:
        sprites: (N, 400) tokens.
        palette: the colours of the tokens.
        prompt_lengths: the number of prompt tokens of each sprite. Where a prompt ends inside a row, the
            line has a step.
    """
    scale = _scale(len(sprites))
    return _sheet(
        [
            _with_line(_tile(sprite, palette, scale), length, scale)
            for sprite, length in zip(sprites, prompt_lengths, strict=True)
        ]
    )


def draw_explained(
    sprites: NDArray[Any],
    palette: Palette,
    passed: NDArray[np.bool_],
    maps: NDArray[np.float64],
) -> Image.Image:
    """Draw completed sprites with a map of what a judge saw below each.

    The stronger the red of a pixel in the map, the more its colour matters to the judge, in comparison with
    the other pixels of the sprite. A sprite that does not pass for real has a red bar below it.

    Args:
        sprites: (N, 400) tokens.
        palette: the colours of the tokens.
        passed: (N,) whether each sprite passes for real.
        maps: (N, 20, 20) how much each pixel's colour matters.
    """
    scale = _scale(len(sprites))
    tiles = []
    for row in range(len(sprites)):
        strongest = max(float(np.quantile(maps[row], 0.99)), 1e-12)
        tile = _with_line(_tile(sprites[row], palette, scale), PROMPT_LENGTH, scale)
        bar = np.full((BAR, SIDE * scale, 3), PAPER if passed[row] else LINE, dtype=np.uint8)
        heat = _heat(sprites[row], palette, np.minimum(maps[row] / strongest, 1))
        tiles.append(np.concatenate([tile, bar, heat.repeat(scale, 0).repeat(scale, 1)]))
    return _sheet(tiles)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a PNG atomically."""
    with atomic_file(path) as temporary:
        picture.save(temporary, format="PNG")


def _scale(count: int) -> int:
    """Return the screen pixels along each side of a sprite's pixel on a sheet of `count` sprites."""
    return max(SMALL, min(LARGE, WIDTH // (min(count, COLUMNS) * SIDE)))


def _tile(sprite: NDArray[Any], palette: Palette, scale: int) -> NDArray[np.uint8]:
    """Return one upscaled sprite, (20 * scale, 20 * scale, 3)."""
    tokens = np.full(LENGTH, BACKGROUND, dtype=np.int64)
    tokens[: len(sprite)] = sprite
    picture = to_picture(tokens, palette).reshape(LENGTH, 3)
    picture[len(sprite) :] = PAPER
    return picture.reshape(SIDE, SIDE, 3).repeat(scale, 0).repeat(scale, 1)


def _heat(sprite: NDArray[Any], palette: Palette, strength: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return a pale grey sprite with red where `strength`, (20, 20) from 0 to 1, is high; (20, 20, 3)."""
    grey = to_picture(sprite, palette).reshape(SIDE, SIDE, 3).mean(2, keepdims=True)
    pale = 150 + grey * (105 / 255)
    mixed = pale * (1 - strength[..., None]) + np.array(LINE) * strength[..., None]
    return mixed.round().astype(np.uint8)


def _with_line(tile: NDArray[np.uint8], prompt_length: int, scale: int) -> NDArray[np.uint8]:
    """Draw the border between prompt and completion, two screen pixels thick."""
    row, column = divmod(prompt_length, SIDE)
    top, bottom, step = row * scale, (row + 1) * scale, column * scale
    tile[max(top - 1, 0) : top + 1, step:] = LINE
    if column:
        tile[bottom - 1 : bottom + 1, :step] = LINE
        tile[top:bottom, step - 1 : step + 1] = LINE
    return tile


def _sheet(tiles: list[NDArray[np.uint8]]) -> Image.Image:
    """Arrange tiles of equal size in rows on paper."""
    columns = min(COLUMNS, len(tiles))
    height, width = tiles[0].shape[:2]
    rows = math.ceil(len(tiles) / columns)
    size = rows * (height + GUTTER) + GUTTER, columns * (width + GUTTER) + GUTTER
    sheet = np.full((*size, 3), PAPER, dtype=np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = GUTTER + row * (height + GUTTER), GUTTER + column * (width + GUTTER)
        sheet[top : top + height, left : left + width] = tile
    return Image.fromarray(sheet)
