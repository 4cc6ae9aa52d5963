"""What people look at: pictures of many sprites, enlarged without a blur.

A contact sheet shows sprites; a completion sheet also draws a line between each prompt and its completion.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pokemon_gen.files import write_aside
from pokemon_gen.geometry import BACKGROUND, LENGTH, SIDE
from pokemon_gen.palette import Palette, to_picture

SMALL, LARGE = 5, 16
"""Screen pixels a sprite's pixel takes along each side: 5 on a full sheet, up to 16 for a few."""
WIDTH = 1000
"""Screen pixels that a sheet of few sprites is enlarged to, about."""
COLUMNS = 16
GUTTER = 6
"""Screen pixels between sprites."""
PAPER = (214, 218, 224)
LINE = (228, 30, 72)
"""A red that stands out from sprites and paper alike."""


def draw_contact_sheet(sprites: Sequence[NDArray[Any]] | NDArray[Any], palette: Palette) -> Image.Image:
    """Draw sprites side by side, 16 a row.

    Args:
        sprites: N rows of up to 400 tokens; what a blind test does not have is left as paper.
        palette: the colours of the tokens.
    """
    scale = _scale(len(sprites))
    return _sheet([_tile(sprite, palette, scale) for sprite in sprites])


def draw_completions(sprites: NDArray[Any], palette: Palette, prompt_lengths: Sequence[int]) -> Image.Image:
    """Draw completed sprites, 16 a row: the prompt above a red line, the completion below it.

    Args:
        sprites: (N, 400) tokens.
        palette: the colours of the tokens.
        prompt_lengths: tokens that were given of each; where a prompt ends inside a row, the line
            steps there.
    """
    scale = _scale(len(sprites))
    return _sheet(
        [
            _with_line(_tile(sprite, palette, scale), length, scale)
            for sprite, length in zip(sprites, prompt_lengths, strict=True)
        ]
    )


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    with write_aside(path) as aside:
        picture.save(aside, format="PNG")


def _scale(count: int) -> int:
    return max(SMALL, min(LARGE, WIDTH // (min(count, COLUMNS) * SIDE)))


def _tile(sprite: NDArray[Any], palette: Palette, scale: int) -> NDArray[np.uint8]:
    """Return one enlarged sprite, (20 * scale, 20 * scale, 3)."""
    whole = np.full(LENGTH, BACKGROUND, dtype=np.int64)
    whole[: len(sprite)] = sprite
    picture = to_picture(whole, palette).reshape(LENGTH, 3)
    picture[len(sprite) :] = PAPER
    return picture.reshape(SIDE, SIDE, 3).repeat(scale, 0).repeat(scale, 1)


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
    columns = min(COLUMNS, len(tiles))
    side = len(tiles[0])
    pitch = side + GUTTER
    height = math.ceil(len(tiles) / columns) * pitch + GUTTER
    sheet = np.full((height, columns * pitch + GUTTER, 3), PAPER, dtype=np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = GUTTER + row * pitch, GUTTER + column * pitch
        sheet[top : top + side, left : left + side] = tile
    return Image.fromarray(sheet)
