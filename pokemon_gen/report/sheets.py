"""Contact sheets and completion sheets: many sprites in one picture, upscaled without blur.

A contact sheet shows sprites. A completion sheet also draws a line between each prompt and its completion,
the number and the score of each, and the true sprite where it is known. An explained sheet adds what a judge
saw in each sprite.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

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
INK = (38, 42, 50)
CAPTION = 15
"""Screen pixels of a caption's height."""
FONT_SIZE = 11


def draw_contact_sheet(sprites: Sequence[NDArray[Any]] | NDArray[Any], palette: Palette) -> Image.Image:
    """Draw sprites, 16 per row.

    Args:
        sprites: N rows of up to 400 tokens. The pixels that a blind test sprite lacks show the paper.
        palette: the colours of the tokens.
    """
    scale = _scale(len(sprites))
    return _sheet([_tile(sprite, palette, scale) for sprite in sprites])


def draw_completions(
    sprites: NDArray[Any],
    palette: Palette,
    prompt_lengths: Sequence[int],
    scores: Sequence[Sequence[str]] = (),
    truth: Sequence[NDArray[Any] | None] = (),
) -> Image.Image:
    """Draw completed sprites, with a red line between each prompt and its completion, and a number.

    A row has up to 16 sprites. Several completions of one prompt have a row of their own.

    Args:
        sprites: (N, 400) tokens, or (N, K, 400) for K completions of each prompt, the best first.
        palette: the colours of the tokens.
        prompt_lengths: the number of prompt tokens of each sprite. Where a prompt ends inside a row, the
            line has a step.
        scores: K texts for each prompt, which are written above its completions; empty for no scores.
        truth: the true sprite of each prompt, which is drawn before its completions; None where it is
            unknown. Empty if all are unknown.
    """
    variants = np.asarray(sprites).reshape(len(sprites), -1, LENGTH)
    texts = scores or [[""] * variants.shape[1]] * len(variants)
    true = truth or [None] * len(variants)
    shows_truth = any(sprite is not None for sprite in true)
    each = variants.shape[1] + shows_truth
    columns = each if variants.shape[1] > 1 else max(each, COLUMNS // each * each)
    scale = _scale(min(len(variants) * each, columns))
    tiles = []
    for number, (drawn, length) in enumerate(zip(variants, prompt_lengths, strict=True)):
        rows = [(sprite, f"{number + 1}  {text}") for sprite, text in zip(drawn, texts[number], strict=True)]
        if shows_truth:
            found = true[number]
            rows.insert(
                0, (drawn[0][:length], "unknown") if found is None else (found, f"{number + 1}  truth")
            )
        tiles += [
            _captioned(_with_line(_tile(row, palette, scale), length, scale), text) for row, text in rows
        ]
    return _sheet(tiles, columns)


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


def _captioned(tile: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """Write a line of text above a tile."""
    picture = Image.new("RGB", (tile.shape[1], CAPTION), PAPER)
    font = ImageFont.load_default(FONT_SIZE)
    ImageDraw.Draw(picture).text((0, CAPTION // 2), text.strip(), INK, font, anchor="lm")
    return np.concatenate([np.asarray(picture), tile])


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


def _sheet(tiles: list[NDArray[np.uint8]], columns: int = COLUMNS) -> Image.Image:
    """Arrange tiles of equal size in rows on paper."""
    columns = min(columns, len(tiles))
    height, width = tiles[0].shape[:2]
    rows = math.ceil(len(tiles) / columns)
    size = rows * (height + GUTTER) + GUTTER, columns * (width + GUTTER) + GUTTER
    sheet = np.full((*size, 3), PAPER, dtype=np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = GUTTER + row * (height + GUTTER), GUTTER + column * (width + GUTTER)
        sheet[top : top + height, left : left + width] = tile
    return Image.fromarray(sheet)
