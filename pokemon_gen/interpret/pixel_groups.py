"""Groups of pixels that a part of a model may be responsible for: outlines, insides, repeated halves.

A part that carries one skill costs much where that skill is needed and little elsewhere. The mean over all
pixels hides this, because two fifths of them are background. Groups may overlap.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.augmentation import flip_table
from pokemon_gen.constants import BACKGROUND, LENGTH, SIDE
from pokemon_gen.palette import Palette
from pokemon_gen.sprites.pictures import LINE_LIGHTNESS


def pixel_groups(sprites: Any, palette: Palette) -> dict[str, NDArray[np.bool_]]:
    """Sort the pixels of sprites into groups.

    Args:
        sprites: (N, 400) tokens.
        palette: the palette of the sprites.

    Returns:
        Masks (N, 400) by the name of the group; `[:, 1:]` are those of the predicted pixels, for `ablate`.
        background: pixels of the background colour.
        outline: other pixels that touch the background or the frame of the picture by a side.
        ink: pixels of the outline whose OKLab lightness is that of a line (`LINE_LIGHTNESS`).
        inside: pixels that are neither background nor outline.
        new colour: the first pixel of each colour in reading order.
        mirror: other pixels than background in the right half that equal their mirror image in the left half.
    """
    rows = np.asarray(sprites)
    background = rows == BACKGROUND
    outline = is_outline(rows)
    return {
        "background": background,
        "outline": outline,
        "ink": outline & (palette.lab[rows, 0] < LINE_LIGHTNESS),
        "inside": ~background & ~outline,
        "new colour": _new_colours(rows),
        "mirror": _equals_mirror_image(rows) & ~background,
    }


def is_outline(sprites: Any) -> NDArray[np.bool_]:
    """Tell which pixels of the body share a side with the background or with the frame; (N, 400)."""
    background = np.asarray(sprites) == BACKGROUND
    framed = np.pad(background.reshape(-1, SIDE, SIDE), ((0, 0), (1, 1), (1, 1)), constant_values=True)
    vertical = framed[:, :-2, 1:-1] | framed[:, 2:, 1:-1]
    horizontal = framed[:, 1:-1, :-2] | framed[:, 1:-1, 2:]
    return (vertical | horizontal).reshape(-1, LENGTH) & ~background


def _equals_mirror_image(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which pixels of the right half equal their mirror image in the left half; (N, 400)."""
    is_right = np.arange(LENGTH) % SIDE >= SIDE // 2
    equal: NDArray[np.bool_] = (rows == rows[:, flip_table("mirror")[1]]) & is_right
    return equal


def _new_colours(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which pixels have a colour that no earlier pixel of the sprite has; (N, 400)."""
    new = np.zeros(rows.shape, dtype=bool)
    for row, sprite in zip(new, rows, strict=True):
        row[np.unique(sprite, return_index=True)[1]] = True
    return new
