"""Sprites and heat maps as pictures inside an HTML file: `data:` addresses of small PNG files.

A picture has 20x20 pixels and the colours that it uses, which takes some 300 bytes. The page scales it by
whole factors.
"""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pokemon_gen.constants import LENGTH, SIDE
from pokemon_gen.palette import Palette, to_picture

HEAT = ((255, 253, 247), (252, 205, 142), (228, 96, 62), (128, 18, 76), (34, 6, 54))
"""The colours of a heat map from 0 to the top of its scale; each is darker than the one before, so that the
order is visible without colour vision."""
HEAT_STEPS = 64
UNKNOWN = HEAT_STEPS
"""The palette entry of a pixel without a value, which is transparent."""


def sprite_address(sprite: NDArray[np.int64], palette: Palette) -> str:
    """Return a sprite, (400,) tokens, as the `data:` address of a PNG."""
    used, places = np.unique(sprite, return_inverse=True)
    if len(used) > 256:  # more than an indexed PNG has
        return _address(Image.fromarray(to_picture(sprite, palette)))
    picture = Image.fromarray(places.reshape(SIDE, SIDE).astype(np.uint8), "P")
    picture.putpalette(palette.rgb[used].tobytes())
    return _address(picture)


def heat_address(values: NDArray[np.float64], top: float) -> str:
    """Return a heat map as the `data:` address of a PNG.

    Args:
        values: (400,) from 0 on; NaN leaves a pixel transparent.
        top: the value of the darkest colour. Larger values get it too.
    """
    known = np.nan_to_num(values) / top
    levels = np.where(np.isnan(values), UNKNOWN, np.clip(known * HEAT_STEPS, 0, HEAT_STEPS - 1).astype(int))
    picture = Image.fromarray(levels.reshape(SIDE, SIDE).astype(np.uint8), "P")
    picture.putpalette(np.concatenate([_heat_ramp(), np.zeros((1, 3), np.uint8)]).tobytes())
    return _address(picture, transparency=UNKNOWN)


def heat_gradient() -> str:
    """Return the colours of a heat map as a gradient of CSS, from left to right."""
    return f"linear-gradient(to right, {', '.join(f'rgb{colour}' for colour in HEAT)})"


def equal_pixels(sprite: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Return the share of pixels that are equal; both are (L,) tokens."""
    return float((sprite == other).mean())


def _heat_ramp() -> NDArray[np.uint8]:
    """Return the colours of all steps, (64, 3)."""
    stops = np.array(HEAT, dtype=np.float64)
    places = np.linspace(0, len(stops) - 1, HEAT_STEPS)
    channels = [np.interp(places, np.arange(len(stops)), stops[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def _address(picture: Image.Image, **options: int) -> str:
    """Return a picture as the `data:` address of a PNG."""
    assert picture.size == (SIDE, LENGTH // SIDE)
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True, **options)
    return png_address(file.getvalue())


def png_address(png: bytes) -> str:
    """Return a PNG as a `data:` address, which a page shows without a file."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
