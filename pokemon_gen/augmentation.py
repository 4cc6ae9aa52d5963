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
from transformers import PreTrainedModel

from pokemon_gen.constants import LENGTH, SIDE
from pokemon_gen.palette import Palette

GREY = 0.03
"""Colours of less OKLab chroma are greys to the eye and stay: outlines, shadows, a white background."""
FLIPS = {"none": 1, "mirror": 2, "all": 8}
"""Ways to lay a sprite down: as it is, also mirrored left to right, or all eight of a square."""


@dataclass(frozen=True)
class ConditioningTokens:
    """The special tokens, whose numbers follow the palette's.

    Attributes:
        count: how many there are.
        identity: those that stand before a sprite that nothing was done to, one for each kind of change.
    """

    count: int
    identity: tuple[int, ...]


NO_CONDITIONING = ConditioningTokens(0, ())
"""Of a model that sees sprites as they are."""


class Augmentation:
    """Draws a change for each sprite of a batch, makes it, and tells it.

    Attributes:
        told: the special tokens.
    """

    def __init__(self, palette: Palette, flips: str, hue_shifts: int, identity_prob: float) -> None:
        """Make the tables.

        Args:
            palette: of the sprites.
            flips: a key of `FLIPS`.
            hue_shifts: turns of the colour circle, this one included; 1: colours stay.
            identity_prob: the share of sprites that keep their places, and, drawn apart, their hues.
        """
        tables = [("flips", flip_table(flips)), ("hue_shifts", hue_shift_table(palette, hue_shifts))]
        self._tables = [(kind, torch.from_numpy(table)) for kind, table in tables if len(table) > 1]
        self._identity_prob = identity_prob
        sizes = [len(table) for _, table in self._tables]
        firsts = len(palette) + np.cumsum([0, *sizes[:-1]])[: len(sizes)]
        self.conditioning = ConditioningTokens(sum(sizes), tuple(int(first) for first in firsts))

    def __call__(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """Change sprites and tell it; (B, 400) on any device → (B, kinds of change + 400).

        The generator, on the CPU, draws the same whatever the device.
        """
        told = []
        for (kind, table), first in zip(self._tables, self.conditioning.identity, strict=True):
            drawn = self._draw(len(tokens), len(table), generator).to(tokens.device)  # (B,)
            rows = table.to(tokens.device)[drawn]  # (B, 400) places or (B, V) colours
            tokens = tokens.gather(1, rows) if kind == "flips" else rows.gather(1, tokens)
            told.append(first + drawn)
        return torch.cat([torch.stack(told, dim=1), tokens], dim=1) if told else tokens

    def _draw(self, batch: int, changes: int, generator: torch.Generator) -> Tensor:
        """Draw which change each sprite gets, 0 being none; (B,)."""
        changed = torch.randint(1, changes, (batch,), generator=generator)
        keep = torch.rand(batch, generator=generator) < self._identity_prob
        return torch.where(keep, 0, changed)


def flip_table(flips: str) -> NDArray[np.int64]:
    """Return where each pixel comes from, (ways, 400): way 0 leaves all, 1 mirrors left to right."""
    square = np.arange(LENGTH).reshape(SIDE, SIDE)
    ways: list[NDArray[Any]] = []
    for number in range(FLIPS[flips]):
        way = square.T if number & 4 else square
        way = way[::-1] if number & 2 else way
        way = way[:, ::-1] if number & 1 else way
        ways.append(way.reshape(LENGTH))
    return np.stack(ways).astype(np.int64)


def hue_shift_table(palette: Palette, hue_shifts: int) -> NDArray[np.int64]:
    """Return which colour becomes which, (hues, V): row k turns all hues by k/hues of the circle.

    Hues turn in OKLab, so that lightness and chroma stay, and the palette's nearest colour is taken;
    greys stay what they are.
    """
    lab = palette.lab  # (V, 3)
    grey = np.hypot(lab[:, 1], lab[:, 2]) < GREY
    table = [np.arange(len(palette))]
    for number in range(1, hue_shifts):
        angle = 2 * np.pi * number / hue_shifts
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        turned = np.concatenate([lab[:, :1], lab[:, 1:] @ turn], axis=1)
        table.append(np.where(grey, table[0], palette.nearest(turned)))
    return np.stack(table).astype(np.int64)


def identity_tokens(model: PreTrainedModel) -> list[int]:
    """Return the conditioning tokens of a sprite that was not augmented; none for a model without them."""
    return getattr(model.config, "identity_tokens", [])


def prepend_identity(model: PreTrainedModel, tokens: Tensor) -> Tensor:
    """Prepend the conditioning tokens of an unchanged sprite: (B, T) → (B, conditioning + T)."""
    identity = tokens.new_tensor(identity_tokens(model)).expand(len(tokens), -1)
    return torch.cat([identity, tokens], dim=1)


def strip_conditioning(logits: Tensor, length: int, palette_size: int) -> Tensor:
    """Drop the conditioning tokens from the sequence and vocabulary axes.

    Args:
        logits: (B, conditioning + T, V + conditioning tokens).
        length: T, the sprite's own tokens.
        palette_size: V.

    Returns:
        (B, T, V).
    """
    return logits[:, logits.shape[1] - length :, :palette_size]
