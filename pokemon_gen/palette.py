"""Conversion between RGB and tokens, and between 20x20 pixels and 400 tokens.

A palette is a list of distinct RGB colours, and a token is an index into it. A sprite is 20x20 pixels,
which are read row by row into 400 tokens. The homework's palette has 167 colours, and its token 0 is white,
the background. Every checkpoint contains its palette (`palette.json`), because tokens have no meaning
without it.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.constants import LENGTH, PALETTE_NAME, SIDE
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import MOST_PALETTE_BYTES, read_json, require_small, write_json

# Linear sRGB → LMS and LMS^(1/3) → OKLab: the matrices published by Björn Ottosson,
# "A perceptual color space for image processing" (2020), https://bottosson.github.io/posts/oklab/
_RGB_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LMS_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def oklab(rgb: NDArray[Any]) -> NDArray[np.float64]:
    """Convert sRGB bytes to OKLab (lightness 0..1, green-red, blue-yellow); (..., 3) → (..., 3).

    Distances in OKLab match perceived differences much better than distances in RGB do.
    """
    encoded = np.asarray(rgb, dtype=np.float64) / 255.0
    # The sRGB transfer function, IEC 61966-2-1.
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _RGB_TO_LMS.T) @ _LMS_TO_LAB.T


@dataclass(frozen=True, eq=False)
class Palette:
    """Distinct RGB colours. The row of a colour is its token.

    Attributes:
        rgb: (V, 3) uint8, one colour per row; row 0 is the background.

    Raises:
        PokemonGenError: if the colours are not (V, 3) bytes, or if a colour occurs twice.
    """

    rgb: NDArray[Any]

    def __post_init__(self) -> None:
        colours = np.asarray(self.rgb)
        if colours.ndim != 2 or colours.shape[1] != 3 or len(colours) < 2:
            raise PokemonGenError(
                f"a palette needs at least two rows of 3 numbers (red green blue), not shape {colours.shape}"
            )
        if colours.min() < 0 or colours.max() > 255:
            bad = colours.min() if colours.min() < 0 else colours.max()
            raise PokemonGenError(f"the palette contains {bad}, but its numbers must be between 0 and 255")
        first: dict[tuple[int, ...], int] = {}
        for token, colour in enumerate(map(tuple, colours.tolist())):
            if colour in first:
                raise PokemonGenError(
                    f"the palette contains colour {colour} twice, as tokens {first[colour]} and {token}"
                )
            first[colour] = token
        object.__setattr__(self, "rgb", colours.astype(np.uint8))

    def __repr__(self) -> str:
        return f"Palette({len(self)} colours, {self.fingerprint[:8]}...)"

    def __len__(self) -> int:
        return len(self.rgb)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Palette) and np.array_equal(self.rgb, other.rgb)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the colours. Equal palettes have equal fingerprints."""
        return hashlib.sha256(self.rgb.tobytes()).hexdigest()[:16]

    def to_rgb(self, tokens: NDArray[Any]) -> NDArray[np.uint8]:
        """Convert tokens of any shape to colours; (...) → (..., 3).

        Raises:
            PokemonGenError: if a token is outside the palette.
        """
        tokens = np.asarray(tokens)
        if tokens.size and (tokens.min() < 0 or tokens.max() >= len(self)):
            bad = int(tokens.min() if tokens.min() < 0 else tokens.max())
            raise PokemonGenError(f"token {bad} has no colour: the palette's tokens are 0..{len(self) - 1}")
        return self.rgb[tokens]

    def to_tokens(self, rgb: NDArray[Any]) -> NDArray[np.int64]:
        """Convert colours to the tokens of the nearest palette colours in OKLab; (..., 3) → (...).

        A colour of the palette maps to its own token, so `to_tokens(to_rgb(t))` equals `t`.
        """
        rgb = np.asarray(rgb, dtype=np.uint8)
        # Only distinct colours are compared: a 20x20 picture has a few dozen, a folder of photographs 10,000.
        distinct, inverse = np.unique(rgb.reshape(-1, 3), axis=0, return_inverse=True)
        nearest = np.empty(len(distinct), dtype=np.int64)
        for start in range(0, len(distinct), 4096):  # limits the (4096, V, 3) difference to a few MB
            nearest[start : start + 4096] = self.nearest(oklab(distinct[start : start + 4096]))
        return nearest[inverse.reshape(-1)].reshape(rgb.shape[:-1])

    def nearest(self, lab: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the token of the palette colour nearest to each point in OKLab; (n, 3) → (n,)."""
        tokens: NDArray[np.int64] = ((lab[:, None] - self.lab[None]) ** 2).sum(-1).argmin(1)
        return tokens

    @cached_property
    def lab(self) -> NDArray[np.float64]:
        """The colours in OKLab, (V, 3)."""
        return oklab(self.rgb)

    def save(self, folder: Path) -> None:
        """Write `palette.json` into `folder`."""
        write_json(folder / PALETTE_NAME, {"rgb": self.rgb.tolist()})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a palette from a checkpoint folder or a `palette.json`.

        Raises:
            PokemonGenError: if the file is missing or does not contain a palette.
        """
        path = path / PALETTE_NAME if path.is_dir() else path
        require_small(path, MOST_PALETTE_BYTES)
        value = read_json(path)
        try:
            if any(type(part) is not int for colour in value["rgb"] for part in colour):
                raise ValueError("not integers")
            return cls(np.array(value["rgb"], dtype=np.int64))
        except PokemonGenError as error:
            raise PokemonGenError(f"{path}: {error}") from error
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise PokemonGenError(
                f'{path}: not a palette. Write {{"rgb": [[r, g, b], ...]}}, each number an integer 0..255.'
            ) from error


def to_picture(tokens: NDArray[Any], palette: Palette) -> NDArray[np.uint8]:
    """Convert sprites to pixels; (..., 400) tokens → (..., 20, 20, 3) RGB bytes."""
    tokens = np.asarray(tokens)
    return palette.to_rgb(tokens.reshape(*tokens.shape[:-1], SIDE, SIDE))


def from_picture(rgb: NDArray[Any], palette: Palette) -> NDArray[np.int64]:
    """Convert pixels to sprites; (..., 20, 20, 3) RGB bytes → (..., 400) tokens, row by row.

    Raises:
        PokemonGenError: if the picture is not 20x20.
    """
    rgb = np.asarray(rgb)
    if rgb.shape[-3:] != (SIDE, SIDE, 3):
        raise PokemonGenError(f"a sprite has {SIDE}x{SIDE} RGB pixels, not shape {rgb.shape}")
    return palette.to_tokens(rgb).reshape(*rgb.shape[:-3], LENGTH)
