"""Augmentation by flips and hue shifts, with conditioning tokens that name the transform of each sprite.

A model soon memorises 632 sprites. Flips and hue shifts give many more, but the completions must be neither
flipped nor recoloured, and a model that does not know the transform would spread its probability over all
of them. Each sprite is therefore preceded by conditioning tokens that name its transform, and a prompt by
those of the identity (Jun et al. 2020, "Distribution Augmentation for Generative Modeling"). This works
with any causal model. The conditioning tokens are numbered after the colours, so that sampling can be
limited to the colours.

Two tables define the transforms: the pixel that each pixel comes from, and the colour that each colour
becomes.
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
"""The OKLab chroma below which a colour looks grey and is not shifted: outlines, shadows, the background."""
FLIPS = {"none": 1, "mirror": 2, "all": 8}
"""Number of orientations: the original only, also mirrored left to right, or all eight of a square."""


@dataclass(frozen=True)
class ConditioningTokens:
    """The tokens that name the transform of a sprite. They are numbered after the palette's tokens.

    Attributes:
        count: the number of conditioning tokens.
        identity: the tokens of a sprite that is not augmented, one for each kind of transform.
    """

    count: int
    identity: tuple[int, ...]


NO_CONDITIONING = ConditioningTokens(0, ())
"""The conditioning tokens of a model that is trained without augmentation."""


class Augmentation:
    """Random transforms of a batch of sprites.

    Attributes:
        conditioning: the tokens that name the transforms.
    """

    def __init__(self, palette: Palette, flips: str, hue_shifts: int, identity_prob: float) -> None:
        """Build the tables of the transforms.

        Args:
            palette: the palette of the sprites.
            flips: a key of `FLIPS`.
            hue_shifts: the number of rotations of the hue circle, including the identity; 1 means that
                colours do not change.
            identity_prob: the probability that a sprite is not flipped and, independently, that its hues are
                not shifted.
        """
        tables = [("flips", flip_table(flips)), ("hue_shifts", hue_shift_table(palette, hue_shifts))]
        self._tables = [(kind, torch.from_numpy(table)) for kind, table in tables if len(table) > 1]
        self._identity_prob = identity_prob
        sizes = [len(table) for _, table in self._tables]
        identity = len(palette) + np.cumsum([0, *sizes[:-1]])[: len(sizes)]  # row 0 of each table
        self.conditioning = ConditioningTokens(sum(sizes), tuple(int(token) for token in identity))

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draw the transforms of `batch` sprites, (B, kinds of transform), where 0 is the identity.

        The generator is on the CPU, so that the device of the sprites does not change the draws.
        """
        drawn = [self._draw_kind(batch, len(table), generator) for _, table in self._tables]
        return torch.stack(drawn, dim=1) if drawn else torch.zeros(batch, 0, dtype=torch.long)

    def apply(self, tokens: Tensor, transforms: Tensor) -> Tensor:
        """Augment sprites and prepend their conditioning tokens.

        Args:
            tokens: (B, 400), on any device.
            transforms: (B, kinds of transform), on the same device.

        Returns:
            (B, kinds of transform + 400).
        """
        conditioning = []
        tables = zip(self._tables_on(tokens.device), self.conditioning.identity, strict=True)
        for number, ((kind, table), identity) in enumerate(tables):
            drawn = transforms[:, number]  # (B,)
            rows = table[drawn]  # (B, 400) pixels or (B, V) colours
            tokens = tokens.gather(1, rows) if kind == "flips" else rows.gather(1, tokens)
            conditioning.append(identity + drawn)
        return torch.cat([torch.stack(conditioning, dim=1), tokens], dim=1) if conditioning else tokens

    def _tables_on(self, device: torch.device) -> list[tuple[str, Tensor]]:
        """Return the tables on a device, where they stay: a copy would wait for the GPU at every step."""
        if any(table.device != device for _, table in self._tables):
            self._tables = [(kind, table.to(device)) for kind, table in self._tables]
        return self._tables

    def _draw_kind(self, batch: int, transforms: int, generator: torch.Generator) -> Tensor:
        """Draw one kind of transform for each sprite; (B,)."""
        transformed = torch.randint(1, transforms, (batch,), generator=generator)
        keep = torch.rand(batch, generator=generator) < self._identity_prob
        return torch.where(keep, 0, transformed)


def flip_table(flips: str) -> NDArray[np.int64]:
    """Return the pixel that each pixel comes from, (orientations, 400).

    Row 0 is the identity, and row 1 mirrors left to right.
    """
    pixels = np.arange(LENGTH).reshape(SIDE, SIDE)
    table: list[NDArray[Any]] = []
    for number in range(FLIPS[flips]):
        flipped = pixels.T if number & 4 else pixels
        flipped = flipped[::-1] if number & 2 else flipped
        flipped = flipped[:, ::-1] if number & 1 else flipped
        table.append(flipped.reshape(LENGTH))
    return np.stack(table).astype(np.int64)


def hue_shift_table(palette: Palette, hue_shifts: int) -> NDArray[np.int64]:
    """Return the colour that each colour becomes, (hue shifts, V).

    Row k rotates all hues by k/`hue_shifts` of the circle in OKLab, which preserves lightness and chroma,
    and then takes the palette's nearest colour. Greys do not change.
    """
    lab = palette.lab  # (V, 3)
    grey = np.hypot(lab[:, 1], lab[:, 2]) < GREY
    table = [np.arange(len(palette))]
    for number in range(1, hue_shifts):
        angle = 2 * np.pi * number / hue_shifts
        rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        rotated = np.concatenate([lab[:, :1], lab[:, 1:] @ rotation], axis=1)
        table.append(np.where(grey, table[0], palette.nearest(rotated)))
    return np.stack(table).astype(np.int64)


def identity_tokens(model: PreTrainedModel) -> list[int]:
    """Return the conditioning tokens of a sprite that is not augmented, or an empty list without them."""
    config = model.config
    return getattr(config, "identity_tokens", getattr(config, "nothing_done", []))  # its name in version 0.1


def prepend_identity(model: PreTrainedModel, tokens: Tensor) -> Tensor:
    """Prepend the conditioning tokens of a sprite that is not augmented; (B, T) → (B, conditioning + T)."""
    identity = tokens.new_tensor(identity_tokens(model)).expand(len(tokens), -1)
    return torch.cat([identity, tokens], dim=1)


def strip_conditioning(logits: Tensor, length: int, palette_size: int) -> Tensor:
    """Drop the conditioning tokens from the sequence and vocabulary axes.

    Args:
        logits: (B, conditioning + T, V + conditioning tokens).
        length: T, the number of the sprite's own tokens.
        palette_size: V, the number of colours.

    Returns:
        (B, T, V).
    """
    return logits[:, logits.shape[1] - length :, :palette_size]
