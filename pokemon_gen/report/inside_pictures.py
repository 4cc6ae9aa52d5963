"""The pictures of a model's inside: small grids of pixels, scatter plots, and attention as bytes.

The page shows tiles and points as HTML and SVG, which follow its colours and scale without blur. The PNG
files are drawn from the same arrays, so a picture and its file cannot differ.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pokemon_gen.constants import LENGTH, SIDE
from pokemon_gen.palette import Palette, to_picture
from pokemon_gen.report.inline import HEAT, png_address
from pokemon_gen.report.sheets import INK, LINE, PAPER

PALE, PALE_RANGE = 150, 105
"""Grey of black and of white minus black in a pale sprite, on which attention is drawn in red."""
FULL = 255
"""The byte of an attention of 1."""
_GAP, _LINE_HEIGHT, _FONT_SIZE = 12, 16, 12
"""Screen pixels between two tiles of a PNG, and of a line of its text."""
_PLOT, _MARGIN, _RADIUS = 900, 60, 7
"""Screen pixels of a scatter plot's width and margins, and of a point's radius."""
_TALLEST = 0.8
"""The largest height of a scatter plot, as a share of its width."""


@dataclass(frozen=True)
class Tile:
    """A small picture with a caption.

    Attributes:
        pixels: (height, width, 3) bytes.
        caption: what it shows, in a few words.
        alt: what it shows, for people who do not see it.
        marked: the number of a pixel that gets a frame, row by row; None for none.
    """

    pixels: NDArray[np.uint8]
    caption: str
    alt: str
    marked: int | None = None

    @property
    def address(self) -> str:
        """The picture as the `data:` address of a PNG, without its caption and frame."""
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, format="PNG", optimize=True)
        return png_address(file.getvalue())

    @property
    def place(self) -> tuple[int, int]:
        """The row and the column of the marked pixel, counted from 0."""
        assert self.marked is not None
        return divmod(self.marked, self.pixels.shape[1])


@dataclass(frozen=True)
class Point:
    """A point of a scatter plot: its place, its colour (RGB bytes), and what it is."""

    x: float
    y: float
    colour: tuple[int, int, int]
    words: str
    label: str = ""

    @property
    def css(self) -> str:
        """The colour in CSS."""
        return f"rgb{self.colour}"


def sprite_pixels(sprite: NDArray[Any], palette: Palette) -> NDArray[np.uint8]:
    """Return a sprite, (400,) tokens, as pixels (20, 20, 3); tokens that are no colour are grey."""
    known = np.asarray(sprite) < len(palette)
    pixels = to_picture(np.where(known, sprite, 0), palette).copy()
    pixels[~known.reshape(SIDE, SIDE)] = PAPER
    return pixels


def heat_pixels(values: NDArray[Any], top: float) -> NDArray[np.uint8]:
    """Return a heat map: (height, width) from 0 to `top` → (height, width, 3); NaN is grey."""
    stops = np.array(HEAT, dtype=np.float64)
    levels = np.clip(np.nan_to_num(values) / top, 0, 1) * (len(stops) - 1)
    pixels = np.stack([np.interp(levels, np.arange(len(stops)), stops[:, c]) for c in range(3)], -1).round()
    pixels[np.isnan(values)] = PAPER
    return pixels.astype(np.uint8)


def pale_sprite(sprite: NDArray[Any], palette: Palette) -> NDArray[np.uint8]:
    """Return the greys (400,) of a pale sprite, (400,) tokens."""
    grey = palette.rgb[np.asarray(sprite)].mean(-1)
    return (PALE + grey * (PALE_RANGE / FULL)).round().astype(np.uint8)


def attention_pixels(weights: NDArray[Any], pale: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw the attention of one pixel in red on a pale sprite.

    Args:
        weights: (seen,) attention to each pixel up to the one that looks; the largest is drawn full red.
        pale: (400,) greys of the sprite.

    Returns:
        (20, 20, 3); pixels that the model has not read yet have the colour of paper.
    """
    pixels = np.broadcast_to(np.array(PAPER, dtype=np.float64), (LENGTH, 3)).copy()
    strength = (weights / max(float(weights.max()), 1e-9))[:, None]
    pixels[: len(weights)] = pale[: len(weights), None] * (1 - strength) + np.array(LINE) * strength
    return pixels.round().astype(np.uint8).reshape(SIDE, SIDE, 3)


def attention_bytes(attention: NDArray[Any], skip: int = 0) -> bytes:
    """Pack attention: one byte for each key that a query sees, and one for all conditioning tokens.

    A byte is the rounded 255 * sqrt(attention): a weight of 0.0001 still differs from 0, and no weight is
    wrong by more than 0.004.

    Args:
        attention: (M, T, T) of M heads, from query to key.
        skip: the number of leading conditioning tokens.

    Returns:
        M x n(n + 3)/2 bytes, n = T - skip. Query q of a head begins at q(q + 3)/2: first its attention to
        all conditioning tokens, then to keys 0 to q.
    """
    queries = attention[:, skip:]
    keys = np.concatenate([queries[..., :skip].sum(-1, keepdims=True), queries[..., skip:]], -1)
    seen = np.tri(keys.shape[1], keys.shape[2], k=1, dtype=bool)
    levels = FULL * np.sqrt(np.clip(keys[:, seen], 0, 1))
    return levels.round().astype(np.uint8).tobytes()


def _font() -> ImageFont.FreeTypeFont:
    """Return the font of matplotlib, which has signs such as ⏎ and ␣; that of Pillow has no accents."""
    import matplotlib  # slow to import

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", _FONT_SIZE)


def draw_tiles(title: str, tiles: Sequence[Tile], scale: int, columns: int) -> Image.Image:
    """Draw tiles with their captions, `columns` in a row; each pixel becomes `scale` screen pixels a side."""
    font = _font()
    lines = [tile.caption.split("\n") for tile in tiles]
    text_width = max(int(font.getlength(line)) for caption in lines for line in caption)
    width = max(text_width, max(tile.pixels.shape[1] for tile in tiles) * scale) + _GAP
    height = max(tile.pixels.shape[0] for tile in tiles) * scale
    row_height = height + max(map(len, lines)) * _LINE_HEIGHT + _GAP
    columns = min(columns, len(tiles))
    rows, head = math.ceil(len(tiles) / columns), _GAP + _LINE_HEIGHT
    wide = max(columns * width, int(font.getlength(title)) + _GAP) + _GAP
    sheet = Image.new("RGB", (wide, rows * row_height + _GAP + head), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), title, INK, font)
    for number, (tile, caption) in enumerate(zip(tiles, lines, strict=True)):
        row, column = divmod(number, columns)
        left, top = _GAP + column * width, _GAP + head + row * row_height
        upscaled = Image.fromarray(tile.pixels.repeat(scale, 0).repeat(scale, 1))
        sheet.paste(upscaled, (left, top))
        draw.rectangle((left - 1, top - 1, left + upscaled.width, top + upscaled.height), outline=PAPER)
        if tile.marked is not None:
            y, x = tile.place
            box = left + x * scale - 1, top + y * scale - 1, left + (x + 1) * scale, top + (y + 1) * scale
            draw.rectangle(box, outline=LINE, width=2)
        for line, text in enumerate(caption):
            draw.text((left, top + height + 2 + line * _LINE_HEIGHT), text, INK, font)
    return sheet


def placed(points: Sequence[Point], width: float, margin: float) -> tuple[list[tuple[float, float]], float]:
    """Return the places of points in a picture, and its height; both axes have one scale, and y points up."""
    places = np.array([(point.x, point.y) for point in points])
    low, high = places.min(0), places.max(0)
    span = np.maximum(high - low, 1e-9)
    scale = min((width - 2 * margin) / span[0], (_TALLEST * width - 2 * margin) / span[1])
    height = float(scale * span[1]) + 2 * margin
    centred = (places - (low + high) / 2) * scale
    return [(width / 2 + float(x), height / 2 - float(y)) for x, y in centred], height


def draw_scatter(
    title: str, points: Sequence[Point], legend: Sequence[tuple[str, tuple[int, int, int]]]
) -> Image.Image:
    """Draw a scatter plot with labels and a legend of names and colours."""
    places, plot = placed(points, _PLOT, _MARGIN)
    picture = Image.new("RGB", (_PLOT, math.ceil(plot) + _LINE_HEIGHT * (len(legend) + 1)), "white")
    draw, font = ImageDraw.Draw(picture), _font()
    draw.text((_GAP, _GAP), title, INK, font)
    for point, (x, y) in zip(points, places, strict=True):
        if point.label:
            draw.text((x, y), point.label, INK, font, anchor="mm")
        else:
            draw.ellipse((x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS), point.colour, INK)
    for row, (name, colour) in enumerate(legend):
        top = plot + row * _LINE_HEIGHT
        draw.ellipse((_GAP, top, _GAP + 2 * _RADIUS, top + 2 * _RADIUS), colour, INK)
        draw.text((3 * _GAP, top), name, INK, font)
    return picture
