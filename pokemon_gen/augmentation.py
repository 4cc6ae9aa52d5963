"""Changes that keep a sprite a sprite, each told to the model by a token before the first pixel.

632 sprites are soon learned by heart. Seen mirrored and in other hues they are many more, but a mirrored
sprite in other hues is not what is to be completed, and a model that cannot tell would spread its
probability over all of them. So it is told: special tokens before the sprite say what was done to it, and
a completion's say that nothing was (Jun et al. 2020, "Distribution Augmentation for Generative Modeling").
They work with any causal model, and are numbered after the colours, so that a draw can be cut to these.

What may be done is two tables: where each pixel comes from, and which colour becomes which.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pokemon_gen.constants import LENGTH, SIDE
from pokemon_gen.palette import Palette

GREY = 0.03
"""Colours of less OKLab chroma are greys to the eye and stay: outlines, shadows, a white background."""
PLACES = {"none": 1, "mirror": 2, "all": 8}
"""Ways to lay a sprite down: as it is, also mirrored left to right, or all eight of a square."""


@dataclass(frozen=True)
class Told:
    """The special tokens, whose numbers follow the palette's.

    Attributes:
        special_tokens: how many there are.
        nothing_done: those that stand before a sprite that nothing was done to, one for each kind of change.
    """

    special_tokens: int
    nothing_done: tuple[int, ...]


NOTHING_TOLD = Told(0, ())
"""Of a model that sees sprites as they are."""


class Augmentation:
    """Draws a change for each sprite of a batch, makes it, and tells it.

    Attributes:
        told: the special tokens.
    """

    def __init__(self, palette: Palette, places: str, hues: int, unchanged: float) -> None:
        """Make the tables.

        Args:
            palette: of the sprites.
            places: a key of `PLACES`.
            hues: turns of the colour circle, this one included; 1: colours stay.
            unchanged: the share of sprites that keep their places, and, drawn apart, their hues.
        """
        tables = [("places", place_table(places)), ("hues", hue_table(palette, hues))]
        self._tables = [(kind, torch.from_numpy(table)) for kind, table in tables if len(table) > 1]
        self._unchanged = unchanged
        sizes = [len(table) for _, table in self._tables]
        firsts = len(palette) + np.cumsum([0, *sizes[:-1]])[: len(sizes)]
        self.told = Told(sum(sizes), tuple(int(first) for first in firsts))

    def __call__(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """Change sprites and tell it; (B, 400) on any device → (B, kinds of change + 400).

        The generator, on the CPU, draws the same whatever the device.
        """
        told = []
        for (kind, table), first in zip(self._tables, self.told.nothing_done, strict=True):
            drawn = self._draw(len(tokens), len(table), generator).to(tokens.device)  # (B,)
            rows = table.to(tokens.device)[drawn]  # (B, 400) places or (B, V) colours
            tokens = tokens.gather(1, rows) if kind == "places" else rows.gather(1, tokens)
            told.append(first + drawn)
        return torch.cat([torch.stack(told, dim=1), tokens], dim=1) if told else tokens

    def _draw(self, batch: int, changes: int, generator: torch.Generator) -> Tensor:
        """Draw which change each sprite gets, 0 being none; (B,)."""
        changed = torch.randint(1, changes, (batch,), generator=generator)
        keep = torch.rand(batch, generator=generator) < self._unchanged
        return torch.where(keep, 0, changed)


def place_table(places: str) -> NDArray[np.int64]:
    """Return where each pixel comes from, (ways, 400): way 0 leaves all, 1 mirrors left to right."""
    square = np.arange(LENGTH).reshape(SIDE, SIDE)
    ways: list[NDArray[Any]] = []
    for number in range(PLACES[places]):
        way = square.T if number & 4 else square
        way = way[::-1] if number & 2 else way
        way = way[:, ::-1] if number & 1 else way
        ways.append(way.reshape(LENGTH))
    return np.stack(ways).astype(np.int64)


def hue_table(palette: Palette, hues: int) -> NDArray[np.int64]:
    """Return which colour becomes which, (hues, V): row k turns all hues by k/hues of the circle.

    Hues turn in OKLab, so that lightness and chroma stay, and the palette's nearest colour is taken;
    greys stay what they are.
    """
    lab = palette.lab  # (V, 3)
    grey = np.hypot(lab[:, 1], lab[:, 2]) < GREY
    table = [np.arange(len(palette))]
    for number in range(1, hues):
        angle = 2 * np.pi * number / hues
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        turned = np.concatenate([lab[:, :1], lab[:, 1:] @ turn], axis=1)
        table.append(np.where(grey, table[0], palette.nearest(turned)))
    return np.stack(table).astype(np.int64)
