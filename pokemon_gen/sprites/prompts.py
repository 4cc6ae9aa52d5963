"""Prompts from pictures, and completions as pictures that one would use.

A person who completes a picture wants it back as it was: on its own canvas, in its own colours, with its
transparency, and with the missing rows painted in. So a prompt remembers the picture it came from. Where the
picture was no pixel art of 20x20 cells, the result is a new picture, enlarged by a whole factor.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pokemon_gen.constants import BACKGROUND, LENGTH, PROMPT_LENGTH, SIDE
from pokemon_gen.palette import Palette, from_picture
from pokemon_gen.sprites.pictures import (
    SAMPLES,
    WHITE,
    enlargement,
    frames_of,
    on_white,
    pad_to_square,
    read_each,
    shrink,
    upright_rgba,
)

OPAQUE = 255


@dataclass(frozen=True)
class PromptPicture:
    """A picture whose top 12 rows are to be completed.

    Attributes:
        file: its file.
        sprite: (400,) tokens; the first 240 are the prompt.
        has_completion: whether the picture has something below its prompt, which is then the truth.
        cells: (20, 20, 4) its own colours and their opacity.
        factor: the screen pixels along each side of a cell in the completed picture.
        canvas: the top, left, height and width of the completed picture, inside 20x20 enlarged cells.
        changes: what was done to the picture, in words.
    """

    file: Path
    sprite: NDArray[np.int64]
    has_completion: bool
    cells: NDArray[np.uint8]
    factor: int
    canvas: tuple[int, int, int, int]
    changes: tuple[str, ...]

    def completed(self, sprite: NDArray[np.int64], palette: Palette) -> Image.Image:
        """Return the picture with the completion of a sprite, (400,) tokens, painted in."""
        cells = self.cells.reshape(LENGTH, 4).copy()
        own = self._own_colours()
        for position in range(PROMPT_LENGTH, LENGTH):
            token = int(sprite[position])
            cells[position] = own.get(token, (*palette.rgb[token], OPAQUE))
        enlarged = cells.reshape(SIDE, SIDE, 4).repeat(self.factor, 0).repeat(self.factor, 1)
        top, left, height, width = self.canvas
        picture = Image.fromarray(enlarged[top : top + height, left : left + width])
        return picture if (enlarged[..., 3] < OPAQUE).any() else picture.convert("RGB")

    def _own_colours(self) -> dict[int, tuple[int, ...]]:
        """Return the picture's own colour for each token of the prompt: the most common one."""
        colours: dict[int, Counter[tuple[int, ...]]] = defaultdict(Counter)
        cells = self.cells.reshape(LENGTH, 4)[:PROMPT_LENGTH]
        for token, cell in zip(self.sprite[:PROMPT_LENGTH].tolist(), cells.tolist(), strict=True):
            colours[token][tuple(cell)] += 1
        return {token: counts.most_common(1)[0][0] for token, counts in colours.items()}


def read_prompt_pictures(
    files: list[Path], palette: Palette, skip_bad_images: bool
) -> tuple[list[PromptPicture], list[str]]:
    """Read pictures whose top 12 rows are prompts; return them, and notes of the files that were left out.

    Raises:
        PokemonGenError: as `read_each`.
    """
    return read_each(files, skip_bad_images, lambda file, image: _prompt_picture(file, image, palette))


def _prompt_picture(file: Path, image: Image.Image, palette: Palette) -> PromptPicture:
    """Read one picture: 20x20 cells, enlarged or not, their upper 12 rows, or any other picture."""
    rgba = upright_rgba(image)
    size = f"{rgba.shape[1]}x{rgba.shape[0]}"
    paper = (*WHITE, 0 if (rgba[..., 3] == 0).any() else OPAQUE)
    changes = ["only the first frame of an animation is used"] if frames_of(image) > 1 else []
    is_prompt = _has_shape_of_prompt(rgba)
    if is_prompt:
        below = np.full((rgba.shape[1] - rgba.shape[0], rgba.shape[1], 4), paper, dtype=np.uint8)
        rgba = np.concatenate([rgba, below])
    square = pad_to_square(rgba, paper)
    white = on_white(square)
    cells_rgb, factor = shrink(white), enlargement(white)
    is_pixel_art = factor > 0
    if is_pixel_art:
        cells = square[::factor, ::factor]
        canvas = _inside(square.shape[0], rgba.shape[:2])
    else:
        cells = np.concatenate([cells_rgb, _opacity(square)[..., None]], axis=-1)
        factor = max(1, len(square) // SIDE)
        canvas = (0, 0, SIDE * factor, SIDE * factor)
    if square.shape != rgba.shape:
        changes.append(f"padded from {size} to a square")
    if canvas[2:] != (SIDE * factor,) * 2:
        changes.append(f"the result is cropped to {size}, so some painted pixels are lost")
    elif not is_pixel_art:
        changes.append(f"resized from {size} to 20x20 pixels; the result has {canvas[3]}x{canvas[2]}")
    sprite = from_picture(cells_rgb, palette)
    has_completion = not is_prompt and bool((sprite[PROMPT_LENGTH:] != BACKGROUND).any())
    return PromptPicture(file, sprite, has_completion, cells, factor, canvas, tuple(changes))


def _has_shape_of_prompt(pixels: NDArray[np.uint8]) -> bool:
    """Tell whether a picture has the shape of a prompt: 20x12 or a multiple of it."""
    height, width = pixels.shape[:2]
    return width % SIDE == 0 and height * SIDE**2 == width * PROMPT_LENGTH


def _inside(size: int, shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Return the place of a picture, (H, W), that was centred on a square: top, left, height and width."""
    height, width = shape
    return (size - height) // 2, (size - width) // 2, height, width


def _opacity(square: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 255 for cells of which at least half is opaque, else 0; (S, S, 4) → (20, 20)."""
    alpha = Image.fromarray(square[..., 3]).resize((SIDE * SAMPLES,) * 2, Image.Resampling.NEAREST)
    opaque = np.asarray(alpha).reshape(SIDE, SAMPLES, SIDE, SAMPLES) > OPAQUE // 2
    return np.where(opaque.mean((1, 3)) >= 0.5, OPAQUE, 0).astype(np.uint8)
