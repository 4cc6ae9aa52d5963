"""Reading picture files: finding them, opening them safely and bringing each one to 20x20 pixels.

Ordinary resampling destroys pixel art, because averaging turns a one-pixel outline into a grey haze. Here
each cell of the 20x20 grid takes one of the colours inside it instead: the most common one, or that of a
dark line through the cell. Pillow decodes and quantises; only the choice of each cell's colour is ours.
"""

import logging
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pokemon_gen.constants import SIDE
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.palette import oklab
from pokemon_gen.sprites.collection import count_noun
from pokemon_gen.sprites.sources import PICTURES, visible_files

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")
FORMATS = ("PNG", "GIF", "JPEG", "WEBP", "BMP")
"""The formats that Pillow may read, by its names. The rest are rare, or run another program (PostScript)."""
LONGEST_SIDE = 4096
"""The largest number of pixels along a side. A photograph has 4,000, and reading 4096x4096 takes 64 MB."""
WHITE = (255, 255, 255)
SAMPLES = 10
"""Samples along each side of a cell. With 10x10 samples, a line a tenth of a cell wide still counts."""
LOCAL_COLOURS = 48
"""The number of colours in the vote. The reduction lets JPEG's almost equal colours vote as one."""
LINE_SHARE = 0.14
"""The share of a cell's area at which a dark line takes the cell.

Lines a third of a cell wide stay closed at this value, even where the grid splits them. Lines become two
pixels thick at a much lower value.
"""
LINE_LIGHTNESS = 0.42
"""The OKLab lightness below which a colour may be a line: near black, which excludes grey halos."""
LINE_CONTRAST = 0.18
"""How much darker a line must be than the cell's most common colour (OKLab lightness, 0..1)."""
ERRORS_SHOWN = 20
"""The number of unreadable files that a message lists with their errors."""
NAMES_SHOWN = 5
"""The number of files or folders that a message lists by name."""


@dataclass(frozen=True)
class Pictures:
    """Pictures that were read.

    Attributes:
        rgb: (N, 20, 20, 3) RGB bytes.
        notes: messages for the user about how the pictures were changed.
    """

    rgb: NDArray[np.uint8]
    notes: list[str]


def find_images(path: Path) -> list[Path]:
    """Return a picture file itself, or all pictures in a folder and its subfolders, sorted by name.

    Raises:
        PokemonGenError: if the folder has no pictures.
    """
    if path.is_file():
        return [path]
    files = [file for file in visible_files(path) if file.suffix.lower() in PICTURES]
    if not files:
        raise PokemonGenError(f"{path}: contains no pictures ({', '.join(PICTURES)})")
    return files


@contextmanager
def open_picture(file: Path) -> Iterator[Image.Image]:
    """Open a picture whose format and size are safe to read.

    Raises:
        PokemonGenError: if the format is not one of `FORMATS`, a side is longer than `LONGEST_SIDE`, or the
            file is broken. The message names the file.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if max(width, height) > LONGEST_SIDE:
                raise PokemonGenError(
                    f"{file}: {width}x{height} pixels is too large. Shrink it to at most {LONGEST_SIDE} "
                    "pixels a side."
                )
            yield image
    except Image.DecompressionBombError as error:  # more pixels than Pillow accepts
        raise PokemonGenError(
            f"{file}: has too many pixels. Shrink it to at most {LONGEST_SIDE} pixels a side."
        ) from error
    except UnidentifiedImageError as error:
        raise PokemonGenError(f"{file}: not a picture in one of the formats {', '.join(FORMATS)}") from error
    except (OSError, ValueError, SyntaxError, EOFError, LookupError, ArithmeticError, struct.error) as error:
        # Pillow raises any of these for a broken file.
        raise PokemonGenError(f"{file}: a damaged picture ({type(error).__name__}: {error})") from error


def read_each(
    files: list[Path], skip_bad_images: bool, convert: Callable[[Path, Image.Image], _Result]
) -> tuple[list[_Result], list[str]]:
    """Open picture files one after another, and convert each.

    Args:
        files: picture files of any sizes.
        skip_bad_images: whether files that are not pictures are left out.
        convert: takes a file and its open picture.

    Returns:
        What `convert` returned, and notes of the files that were left out.

    Raises:
        PokemonGenError: if a file is not a picture, unless bad files may be skipped and a picture remains;
            the message names and counts such files.
    """
    results: list[_Result] = []
    errors: list[str] = []
    for file in files:
        try:
            with open_picture(file) as image:
                results.append(convert(file, image))
        except PokemonGenError as error:
            errors.append(str(error))
    if errors and not (skip_bad_images and results):
        raise PokemonGenError(
            "\n".join(errors[:ERRORS_SHOWN])
            + f"\n{len(errors)} of {len(files)} files cannot be read as pictures. Repair or remove them, or "
            "set sprites.skip_bad_images=true."
        )
    if not errors:
        return results, []
    unreadable = count_noun(len(errors), "file")
    return results, [f"left out {unreadable} that cannot be read as pictures:", *errors[:ERRORS_SHOWN]]


def read_pictures(files: list[Path], skip_bad_images: bool = False, any_size: bool = True) -> Pictures:
    """Read picture files, bring each to 20x20, and note how they were changed.

    Args:
        files: picture files of any sizes.
        skip_bad_images: whether files that are not pictures are left out.
        any_size: whether pictures may have other sizes than 20x20.

    Raises:
        PokemonGenError: as `read_each`, and if a picture has another size and may not be resized.
    """
    other_sizes: list[str] = []
    changes = {
        "shrunk to 20x20": 0,
        "padded with white, because smaller than 20x20 or not square": 0,
        "only the first frame of an animation used": 0,
    }

    def read(file: Path, image: Image.Image) -> NDArray[np.uint8]:
        width, height = image.size
        if (width, height) != (SIDE, SIDE):
            other_sizes.append(f"{file}: {width}x{height} pixels, not {SIDE}x{SIDE}")
        rgb = upright_rgb(image)
        found = max(width, height) > SIDE, width != height or height < SIDE, frames_of(image) > 1
        for change, happened in zip(changes, found, strict=True):
            changes[change] += happened
        return shrink(rgb)

    pictures, left_out = read_each(files, skip_bad_images, read)
    if other_sizes and not any_size:
        raise PokemonGenError(f"{other_sizes[0]}. Pass --resize to resize it.")
    notes = [f"{change}: {count_noun(count, 'picture')}" for change, count in changes.items() if count]
    return Pictures(np.stack(pictures), notes + left_out)


def log_notes(place: Path, notes: Sequence[str]) -> None:
    """Log how the pictures of a file or folder were changed, and which files of the folder were left out."""
    for note in [*notes, *(other_formats_note(place) if place.is_dir() else [])]:
        _log.info("%s: %s", place, note)


def other_formats_note(folder: Path) -> list[str]:
    """Return a note of the files in a folder that are not in a format for pictures, or no note."""
    files = [file for file in visible_files(folder) if file.suffix.lower() not in PICTURES]
    return left_out_note(files, "file", f"of other formats than {', '.join(FORMATS)}", folder)


def left_out_note(files: Sequence[Path], noun: str, reason: str, folder: Path) -> list[str]:
    """Return a note of files that are left out, with the first few names, or no note if there are none."""
    if not files:
        return []
    names = ", ".join(str(file.relative_to(folder)) for file in files[:NAMES_SHOWN])
    more = f" and {len(files) - NAMES_SHOWN} more" if len(files) > NAMES_SHOWN else ""
    return [f"left out {count_noun(len(files), noun)} {reason}: {names}{more}"]


def shrink(rgb: NDArray[Any]) -> NDArray[np.uint8]:
    """Bring a picture of any size to 20x20 with sharp pixels and closed outlines; (H, W, 3) → (20, 20, 3).

    A smaller picture is centred on white, and a picture that is not square is padded with white. Pixel art
    that was enlarged by an integer factor returns exactly to its original pixels.
    """
    square = pad_to_square(np.asarray(rgb, dtype=np.uint8), WHITE)
    step = enlargement(square)
    return square[::step, ::step] if step else _vote(square)


def enlargement(square: NDArray[np.uint8]) -> int:
    """Return how many times a square was enlarged from 20x20 pixels; 0 if it is no enlarged sprite."""
    step, rest = divmod(len(square), SIDE)
    if rest:
        return 0
    enlarged = square[::step, ::step].repeat(step, 0).repeat(step, 1)
    return step if np.array_equal(enlarged, square) else 0


def upright_rgba(image: Image.Image) -> NDArray[np.uint8]:
    """Return the first frame of a picture, upright: (H, W, 4)."""
    return np.asarray(_upright(image).convert("RGBA"))


def upright_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Return the first frame of a picture, upright, on white where it is transparent: (H, W, 3)."""
    if image.has_transparency_data:
        return on_white(upright_rgba(image))
    return np.asarray(_upright(image).convert("RGB"))  # in half the time


def _upright(image: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scaling
        return Image.fromarray((np.asarray(upright) // 257).astype(np.uint8))
    return upright


def on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put a picture on white where it is transparent; (H, W, 4) → (H, W, 3)."""
    picture = Image.fromarray(rgba)
    white = Image.new("RGBA", picture.size, (*WHITE, 255))
    return np.asarray(Image.alpha_composite(white, picture).convert("RGB"))


def frames_of(image: Image.Image) -> int:
    """Return the number of frames, of which only the first one is used."""
    return int(getattr(image, "n_frames", 1))


def pad_to_square(pixels: NDArray[np.uint8], colour: Sequence[int]) -> NDArray[np.uint8]:
    """Centre a picture on a square of one colour, of at least 20x20; (H, W, C) → (S, S, C)."""
    height, width = pixels.shape[:2]
    size = max(height, width, SIDE)
    if height == width == size:
        return pixels
    top, left = (size - height) // 2, (size - width) // 2
    square = np.full((size, size, len(colour)), colour, dtype=np.uint8)
    square[top : top + height, left : left + width] = pixels
    return square


def _vote(square: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Choose the colour of each cell by a vote of the samples inside it; (S, S, 3) → (20, 20, 3)."""
    image = Image.fromarray(square).resize((SIDE * SAMPLES,) * 2, Image.Resampling.NEAREST)
    reduced = image.quantize(LOCAL_COLOURS, Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE)
    colours = np.array(reduced.getpalette(), dtype=np.uint8).reshape(-1, 3)  # (K, 3)
    lightness = oklab(colours)[:, 0]  # (K,)
    cells = np.asarray(reduced).reshape(SIDE, SAMPLES, SIDE, SAMPLES).swapaxes(1, 2)
    votes = cells.reshape(SIDE, SIDE, SAMPLES**2)  # (20, 20, 100)
    counts = (votes[..., None] == np.arange(len(colours))).sum(2)  # (20, 20, K)
    most_common = counts.argmax(-1)  # (20, 20)
    darker = lightness < lightness[most_common][..., None] - LINE_CONTRAST  # (20, 20, K)
    line = counts * (darker & (lightness < LINE_LIGHTNESS))
    is_line = line.sum(-1) >= LINE_SHARE * SAMPLES**2
    return colours[np.where(is_line, line.argmax(-1), most_common)]
