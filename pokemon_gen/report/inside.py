"""The page of a model's inside: sections of pictures and tables, as HTML, PNG files and arrays.

A stage computes what a model does and describes it in the blocks below; they know nothing of models. One
template shows every block, for sprites and for text. As the other pages, the file holds everything that it
shows, its Content-Security-Policy forbids every request, and all names and texts are escaped.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from pokemon_gen.files import write_text
from pokemon_gen.report.html import TEMPLATES, HtmlPage, render
from pokemon_gen.report.inline import HEAT, heat_gradient
from pokemon_gen.report.inside_pictures import (
    Point,
    Tile,
    attention_bytes,
    draw_scatter,
    draw_tiles,
    placed,
)
from pokemon_gen.report.sheets import LINE, PAPER

PAGE_NAME = "page.html"
"""The page's name in the folder of all results of an inspection."""
MAP_WIDTH = 240
"""The approximate width in screen pixels of a map of attention on a text, in a PNG."""
PLOT, MARGIN = 400, 18
"""Width and margins of a scatter plot, in its own units."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table that stands out."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table. The first cell of each row names the row.

    Attributes:
        name: of the block, unique in its section.
        title: what it shows.
        note: how to read it and what was found, in a sentence or two.
        columns: the heads of the columns.
        rows: the cells.
    """

    kind: ClassVar[str] = "table"
    name: str
    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]


@dataclass(frozen=True)
class Tiles:
    """Small pictures in rows; for the other fields see `Table`.

    Attributes:
        tiles: the pictures.
        scale: screen pixels along each side of a picture's pixel.
        columns: pictures in a row of the PNG, and of the page if `fixed`.
        fixed: whether the page keeps the columns, and scrolls where they do not fit.
        top: the value of the darkest colour of heat maps, in words; empty for other pictures.
    """

    kind: ClassVar[str] = "tiles"
    name: str
    title: str
    note: str
    tiles: Sequence[Tile]
    scale: int
    columns: int
    fixed: bool = False
    top: str = ""

    def draw(self) -> Image.Image:
        """Draw the PNG."""
        return draw_tiles(self.title, self.tiles, 2 * self.scale, self.columns)


@dataclass(frozen=True)
class Scatter:
    """A scatter plot without axes, whose directions have no meaning; for the other fields see `Table`.

    Attributes:
        points: the points.
        legend: names and colours of groups of points.
    """

    kind: ClassVar[str] = "scatter"
    name: str
    title: str
    note: str
    points: Sequence[Point]
    legend: Sequence[tuple[str, tuple[int, int, int]]] = ()

    @property
    def height(self) -> float:
        """The height of the page's plot."""
        return placed(self.points, PLOT, MARGIN)[1]

    @property
    def places(self) -> list[tuple[Point, tuple[float, float]]]:
        """The points with their places in the page's plot."""
        return list(zip(self.points, placed(self.points, PLOT, MARGIN)[0], strict=True))

    def draw(self) -> Image.Image:
        """Draw the PNG."""
        return draw_scatter(self.title, self.points, self.legend)


@dataclass(frozen=True)
class Context:
    """A place in a text: what precedes a token, the token, what follows, and a value in words."""

    before: str
    token: str
    after: str
    value: str = ""


@dataclass(frozen=True)
class Contexts:
    """Places in texts, in groups: title → places; for the other fields see `Table`."""

    kind: ClassVar[str] = "contexts"
    name: str
    title: str
    note: str
    groups: Mapping[str, Sequence[Context]]


@dataclass(frozen=True)
class SpriteAttention:
    """Attention on a sprite, whose pixel is chosen by a click; for the other fields see `Table`.

    Attributes:
        sprite: the sprite, on which `start` is marked.
        maps: one tile for each head or rollout, as `attention_pixels` draws `start`.
        attention: (M, T, T) in the order of the maps.
        skip: the number of leading conditioning tokens.
        pale: (400,) greys of the sprite.
        start: the pixel that is shown first.
        columns: maps in a row.
    """

    kind: ClassVar[str] = "sprite-attention"
    name: str
    title: str
    note: str
    sprite: Tile
    maps: Sequence[Tile]
    attention: NDArray[np.float32]
    skip: int
    pale: NDArray[np.uint8]
    start: int
    columns: int

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script draws from."""
        return {
            "attention": _base64(attention_bytes(self.attention, self.skip)),
            "maps": len(self.maps),
            "skip": self.skip,
            "pale": self.pale.tolist(),
            "red": LINE,
            "paper": PAPER,
            "start": self.start,
        }

    def draw(self) -> Image.Image:
        """Draw the PNG: the maps of `start`."""
        return draw_tiles(self.title, self.maps, 6, self.columns)


@dataclass(frozen=True)
class TextAttention:
    """Attention from token to token of a text; for the other fields see `Table`.

    Attributes:
        tokens: the tokens' texts.
        heads: the names of the maps.
        maps: one tile for each map, (T, T), from query (row) to key (column).
        attention: (M, T, T) in the order of the maps.
        columns: maps in a row of the PNG.
    """

    kind: ClassVar[str] = "text-attention"
    name: str
    title: str
    note: str
    tokens: Sequence[str]
    heads: Sequence[str]
    maps: Sequence[Tile]
    attention: NDArray[np.float32]
    columns: int

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script draws from."""
        return {
            "attention": _base64(attention_bytes(self.attention)),
            "maps": len(self.maps),
            "heat": HEAT,
            "paper": PAPER,
        }

    def draw(self) -> Image.Image:
        """Draw the PNG: the maps of all heads."""
        return draw_tiles(self.title, self.maps, max(1, MAP_WIDTH // len(self.tokens)), self.columns)


Block = Table | Tiles | Scatter | Contexts | SpriteAttention | TextAttention


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: its anchor, and the name of its files.
        title: its heading.
        blocks: what it shows.
        arrays: name → array, which are written to `<name>.npz`.
        missing: why the part cannot be shown; empty if it can.
    """

    name: str
    title: str
    blocks: Sequence[Block]
    arrays: Mapping[str, NDArray[Any]] = field(repr=False)
    missing: str = ""


@dataclass(frozen=True)
class InsideContent:
    """What the page shows.

    Attributes:
        name: of the run.
        about: sentences about the model and what it was shown.
        sections: the parts.
        facts: what was used: group → name → value.
        command: makes the page again.
    """

    name: str
    about: Sequence[str]
    sections: Sequence[Section]
    facts: Mapping[str, Mapping[str, str]]
    command: str


def build_inside(content: InsideContent) -> str:
    """Return the page as HTML."""
    return render(
        "inside.html.j2",
        title=content.name,
        content=content,
        plot=PLOT,
        gradient=heat_gradient(),
        files=file_names(content),
        inside_script=Markup((TEMPLATES / "inside.js").read_text(encoding="utf-8")),
        to_json=_to_json,
    )


def file_names(content: InsideContent) -> list[str]:
    """Return the names of the pictures and arrays that `write_inside` writes."""
    pictures = [f"{name}.png" for name, _ in _pictures(content)]
    return pictures + [f"{section.name}.npz" for section in content.sections if section.arrays]


def write_inside(content: InsideContent, folder: Path) -> HtmlPage:
    """Write the page, a PNG of each picture and the arrays of each section into a folder that exists."""
    for name, block in _pictures(content):
        block.draw().save(folder / f"{name}.png", format="PNG")
    for section in content.sections:
        if section.arrays:
            arrays: dict[str, Any] = dict(section.arrays)
            np.savez_compressed(folder / f"{section.name}.npz", **arrays)
    write_text(folder / PAGE_NAME, build_inside(content))
    return HtmlPage(folder / PAGE_NAME)


def _pictures(content: InsideContent) -> list[tuple[str, Any]]:
    """Return the blocks that have a PNG, each with the name of its file."""
    return [
        (f"{section.name}-{block.name}", block)
        for section in content.sections
        for block in section.blocks
        if not isinstance(block, Table | Contexts)
    ]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _to_json(value: Any) -> Markup:
    """Return JSON for a script element; "<" is escaped, so that no text can end the element."""
    return Markup(json.dumps(value).replace("<", "\\u003c"))
