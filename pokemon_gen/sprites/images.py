"""Sprites from a folder of pictures: any size → 20x20 → the palette's nearest colours.

Pixel art dies of ordinary resampling: averaging turns a one-pixel outline into a grey haze. So a
cell of the 20x20 grid takes one of the colours that lie in it: the commonest, or a dark line
where one runs through. Pillow reads, unpacks and quantises; only the choice per cell is ours.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pokemon_gen.constants import PROMPT_LENGTH, SIDE
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.palette import Palette, from_picture, oklab
from pokemon_gen.sprites.collection import SPLITS, Sprites, collect, duplicates_note, split_rows
from pokemon_gen.sprites.sources import PICTURES, find_splits, visible_files

_log = logging.getLogger(__name__)
FORMATS = ("PNG", "GIF", "JPEG", "WEBP", "BMP")
"""What Pillow may read, by its own names: others are rarely met, or handed to other programs (PostScript)."""
LONGEST_SIDE = 4096
"""Pixels along a side, at most: a photograph has 4,000, and one of 4096 takes 64 MB to read."""
WHITE = (255, 255, 255)
SAMPLES = 10
"""Samples along each side of a cell: 10x10 votes tell a line a tenth of a cell wide from none."""
LOCAL_COLOURS = 48
"""Colours a picture is reduced to before the vote, so that JPEG's near-equal colours vote as one."""
MOST_LEARNED = 257
"""Colours of a palette that has to be learned: Pillow finds 256, and white is the first."""
VISIBLE = 0.1
"""The distance in OKLab between colours that nobody would take for each other."""
MANY = 0.02
"""The share of pixels in such colours from which on a note says so."""
LINE_SHARE = 0.14
"""A dark line takes a cell from this share of its area on. Lines of a third of a cell stay closed even
where the grid splits them; much lower, and lines come out two pixels thick."""
LINE_LIGHTNESS = 0.42
"""What may be a line, in OKLab lightness: near black. The grey halo of a blurred outline is none."""
LINE_CONTRAST = 0.18
"""How much darker (OKLab lightness, 0..1) than the cell's commonest colour a line must be."""


def load_images(
    folder: Path, palette: Palette | None, *, seed: int, colours: int, skip_bad_images: bool
) -> Sprites:
    """Load pictures as sprites, each different one once.

    Folders named as splits (`train`, `dev` or `val`, `test`, in any case) are the splits; one that is missing
    is taken from train. Without such folders the seed splits all pictures.

    Args:
        folder: is searched with its subfolders, but for hidden ones.
        palette: none: learned from the train pictures' pixels, white as token 0.
        seed: splits the pictures.
        colours: size of a learned palette.
        skip_bad_images: leave out files that are no pictures instead of stopping at them.

    Raises:
        PokemonGenError: for a folder without pictures, for splits without train, and naming files that are no
            pictures.
    """
    source = f"images:{folder}"
    folder = _unnested(folder)
    named = find_splits(_folders(folder), source)
    if not named:
        _refuse_splits_below(folder, source)
    if named and "train" not in named:
        raise PokemonGenError(
            f"{source}: has a folder {' and '.join(named.values())} but none for train. Name one `train`, "
            "or give the others names that are no splits'"
        )
    places = {split: folder / name for split, name in named.items()} or {"train": folder}
    files = {split: find_images(place) for split, place in places.items()}
    read = {split: read_pictures(found, skip_bad_images) for split, found in files.items()}
    notes = [_taken(files)] + [note for pictures in read.values() for note in pictures.notes]
    notes += _left_out(folder, list(places.values()))
    rgb, count = _different({split: pictures.rgb for split, pictures in read.items()})
    notes += duplicates_note(count)
    if not len(rgb["train"]):
        raise PokemonGenError(f"{source}: every picture for train is also one for dev or test")
    missing = [split for split in SPLITS if split not in rgb]
    if missing:
        rgb |= split_rows(rgb["train"], seed, source, ["train", *missing])
    if palette is None:
        palette = learn_palette(rgb["train"], colours)
    tokens = {split: from_picture(rgb[split], palette) for split in SPLITS}
    notes += [
        note for split in SPLITS for note in _strange_colours(split, rgb[split], tokens[split], palette)
    ]
    return collect(tokens, palette, source, notes)


def _strange_colours(
    split: str, rgb: NDArray[np.uint8], tokens: NDArray[np.int64], palette: Palette
) -> Iterator[str]:
    """Yield a note if many pixels of a split have colours that the palette comes nowhere near to."""
    away = np.linalg.norm(oklab(rgb).reshape(len(rgb), -1, 3) - palette.lab[tokens], axis=-1)
    share = float((away > VISIBLE).mean())
    if share > MANY:
        yield (
            f"{share:.0%} of the pixels of {split} have colours that the palette does not have, and change; "
            "sprites.palette=FILE names another palette, sprites.colours the size of one learned from train"
        )


def _folders(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _unnested(folder: Path) -> Path:
    """Return the folder that holds the pictures: an archive often unpacks to one folder inside another."""
    inside = [path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX"]
    while len(inside) == 1 and inside[0].is_dir():
        folder = inside[0]
        inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return folder


def _refuse_splits_below(folder: Path, source: str) -> None:
    """Refuse folders of splits inside others, such as `cat/train` and `dog/train`, which would be pooled.

    Raises:
        PokemonGenError: naming them.
    """
    below = sorted({file.parent for file in visible_files(folder)} - {folder})
    found = [str(path.relative_to(folder)) for path in below if find_splits([path.name], source)]
    if found:
        raise PokemonGenError(
            f"{source}: holds splits that are not at its top ({', '.join(found[:5])}); pooled, test pictures "
            "would be trained on. Move them to `train`, `dev` and `test` in it, or name one of the folders"
        )


def _different(rgb: dict[str, NDArray[np.uint8]]) -> tuple[dict[str, NDArray[np.uint8]], int]:
    """Keep each picture once, rather in test than in dev, rather there than in train; count the others."""
    kept: dict[str, NDArray[np.uint8]] = {}
    seen: set[bytes] = set()
    for split in reversed(SPLITS):
        if split in rgb:
            first = [number for number, picture in enumerate(rgb[split]) if _is_new(picture.tobytes(), seen)]
            kept[split] = rgb[split][first]
    return kept, sum(map(len, rgb.values())) - sum(map(len, kept.values()))


def _is_new(picture: bytes, seen: set[bytes]) -> bool:
    """Tell whether a picture comes for the first time, and remember it."""
    new = picture not in seen
    seen.add(picture)
    return new


def _left_out(folder: Path, places: list[Path]) -> list[str]:
    """Return notes of the pictures that are not read: of other formats, or outside the splits' folders."""
    files = visible_files(folder)
    others = [file for file in files if file.suffix.lower() not in PICTURES]
    outside = [
        file
        for file in files
        if file.suffix.lower() in PICTURES and not any(place in file.parents for place in places)
    ]
    notes = []
    if others:
        formats = f"of other formats than {', '.join(FORMATS)}"
        notes.append(f"left out {_count(others, 'file')} {formats}: {_names(others, folder)}")
    if outside:
        notes.append(f"left out {_count(outside)} outside the splits' folders: {_names(outside, folder)}")
    return notes


def _taken(files: dict[str, list[Path]]) -> str:
    """Return a note of the pictures that are read, by their suffixes and splits."""
    suffixes = Counter(file.suffix.lower().removeprefix(".") for found in files.values() for file in found)
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common())
    splits = ", ".join(f"{len(found)} for {split}" for split, found in files.items())
    return f"took {kinds}" + (f" ({splits})" if len(files) > 1 else "")


def _count(files: Sequence[Path], what: str = "picture") -> str:
    return f"{len(files)} {what if len(files) == 1 else f'{what}s'}"


def _names(files: Sequence[Path], folder: Path, shown: int = 5) -> str:
    named = ", ".join(str(file.relative_to(folder)) for file in files[:shown])
    return named + (f" and {len(files) - shown} more" if len(files) > shown else "")


def find_images(path: Path) -> list[Path]:
    """Return the picture itself, or all pictures in a folder and below it, in order of their names.

    Raises:
        PokemonGenError: if there is none.
    """
    if path.is_file():
        return [path]
    files = [file for file in visible_files(path) if file.suffix.lower() in PICTURES]
    if not files:
        raise PokemonGenError(f"{path}: no pictures ({', '.join(PICTURES)}) in it")
    return files


@contextmanager
def open_picture(file: Path) -> Iterator[Image.Image]:
    """Open a picture of a format and size that are safe to read.

    Raises:
        PokemonGenError: naming the file, for another format, for a side of more than `LONGEST_SIDE` pixels,
            and for a file that is broken.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if max(width, height) > LONGEST_SIDE:
                raise PokemonGenError(
                    f"{file}: {width}x{height} pixels; a side has at most {LONGEST_SIDE}: make it smaller"
                )
            yield image
    except Image.DecompressionBombError as error:  # of more pixels than Pillow looks at
        raise PokemonGenError(
            f"{file}: far too large; a side has at most {LONGEST_SIDE} pixels: make it smaller"
        ) from error
    except UnidentifiedImageError as error:
        raise PokemonGenError(f"{file}: no picture of the formats {', '.join(FORMATS)}") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        # Pillow raises any of these for a file that is broken.
        raise PokemonGenError(f"{file}: {error}") from error


@dataclass(frozen=True)
class Pictures:
    """Pictures that were read: (N, 20, 20, 3) RGB bytes, and notes of what was done to them."""

    rgb: NDArray[np.uint8]
    notes: list[str]


def log_notes(place: Path, pictures: Pictures) -> None:
    """Log what was done to pictures of a folder, and what is left out of them."""
    for note in [*pictures.notes, *(_left_out(place, [place]) if place.is_dir() else [])]:
        _log.info("%s: %s", place, note)


def read_pictures(
    files: list[Path], skip_bad_images: bool = False, any_size: bool = True, of_prompts: bool = False
) -> Pictures:
    """Read picture files, and say what was done to them.

    Args:
        files: of any size, each of its own.
        skip_bad_images: leave out files that are no pictures.
        any_size: bring other sizes to 20x20; else they are refused.
        of_prompts: a picture of a prompt's own shape, 20x12 or a multiple, is the top of one.

    Raises:
        PokemonGenError: naming and counting the files that are no pictures, unless they may be
            skipped; always if none is left; naming one of another size, if they are refused.
    """
    pictures, bad = [], []
    done: dict[str, list[Path]] = {
        "shrunk to 20x20": [],
        "set on white, smaller or not square": [],
        "first frame taken": [],
    }
    for file in files:
        try:
            with open_picture(file) as image:
                width, height = image.size
                frames = getattr(image, "n_frames", 1)
                rgb = _on_white(image)
        except PokemonGenError as error:
            bad.append(str(error))
            continue
        if not any_size and (width, height) != (SIDE, SIDE):
            raise PokemonGenError(
                f"{file}: {width}x{height} pixels, not {SIDE}x{SIDE}; --resize brings it to size"
            )
        pictures.append(shrink(_with_room_below(rgb) if of_prompts else rgb))
        if max(rgb.shape[:2]) > SIDE:
            done["shrunk to 20x20"].append(file)
        if frames > 1:
            done["first frame taken"].append(file)
        if rgb.shape[0] != rgb.shape[1] or len(rgb) < SIDE:
            done["set on white, smaller or not square"].append(file)
    if bad and not (skip_bad_images and pictures):
        raise PokemonGenError(
            "\n".join(bad[:20]) + f"\n{len(bad)} of {len(files)} files cannot be read as pictures; mend or "
            "remove them, or set sprites.skip_bad_images=true"
        )
    notes = [f"{what}: {_count(these)}" for what, these in done.items() if these]
    if bad:
        notes += [f"left out {len(bad)} files that cannot be read as pictures:", *bad[:20]]
    return Pictures(np.stack(pictures), notes)


def shrink(rgb: NDArray[Any]) -> NDArray[np.uint8]:
    """Bring a picture of any size to 20x20, sharp and with its outlines; (H, W, 3) → (20, 20, 3).

    A smaller picture is set on white in the middle, and so is what another shape than square
    leaves empty; enlarged pixel art comes back exactly as it was before.
    """
    square = _pad_to_square(np.asarray(rgb, dtype=np.uint8))
    size = len(square)
    if size == SIDE:
        return square
    if size % SIDE == 0:
        step = size // SIDE
        blocks = square[::step, ::step]
        if np.array_equal(blocks.repeat(step, 0).repeat(step, 1), square):
            return blocks
    return _vote(square)


def learn_palette(pictures: NDArray[np.uint8], colours: int) -> Palette:
    """Choose a palette for 20x20 pictures (N, 20, 20, 3); token 0 is white.

    All their colours if these and white are no more than `colours`; else Pillow's median cut refined by
    k-means, as many as asked for or, where some fall together, a few less.

    Raises:
        PokemonGenError: for more than 257 colours where the pictures have more still.
    """
    pixels = pictures.reshape(-1, 3)
    others = pixels[(pixels != WHITE).any(1)]
    distinct = np.unique(others, axis=0)
    if len(distinct) >= colours > MOST_LEARNED:
        raise PokemonGenError(
            f"sprites.colours: {colours} cannot be learned from pictures that have more; {MOST_LEARNED} can"
        )
    if len(distinct) >= colours:
        quantised = Image.fromarray(others[None]).quantize(colours - 1, Image.Quantize.MEDIANCUT, kmeans=10)
        distinct = np.unique(np.array(quantised.getpalette()).reshape(-1, 3)[: colours - 1], axis=0)
        distinct = distinct[(distinct != WHITE).any(1)]
    return Palette(np.concatenate([[WHITE], distinct]))


def _on_white(image: Image.Image) -> NDArray[np.uint8]:
    """Return a picture's first frame, upright, transparency on white: (H, W, 3)."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scaling
        upright = Image.fromarray((np.asarray(upright) // 257).astype(np.uint8))
    upright = upright.convert("RGBA")
    white = Image.new("RGBA", upright.size, (*WHITE, 255))
    return np.asarray(Image.alpha_composite(white, upright).convert("RGB"))


def _with_room_below(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make a picture of a prompt, 20x12 or a multiple, square, white below; any other stays as it is."""
    height, width = rgb.shape[:2]
    if width % SIDE or height * SIDE**2 != width * PROMPT_LENGTH:
        return rgb
    return np.pad(rgb, ((0, width - height), (0, 0), (0, 0)), constant_values=255)


def _pad_to_square(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    size = max(height, width, SIDE)
    top, left = (size - height) // 2, (size - width) // 2
    square = np.full((size, size, 3), WHITE, dtype=np.uint8)
    square[top : top + height, left : left + width] = rgb
    return square


def _vote(square: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Let the samples in each of the 20x20 cells choose its colour; (S, S, 3) → (20, 20, 3)."""
    image = Image.fromarray(square).resize((SIDE * SAMPLES,) * 2, Image.Resampling.NEAREST)
    reduced = image.quantize(LOCAL_COLOURS, Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE)
    colours = np.array(reduced.getpalette(), dtype=np.uint8).reshape(-1, 3)  # (K, 3)
    lightness = oklab(colours)[:, 0]  # (K,)
    cells = np.asarray(reduced).reshape(SIDE, SAMPLES, SIDE, SAMPLES).swapaxes(1, 2)
    votes = cells.reshape(SIDE, SIDE, SAMPLES**2)  # (20, 20, 100)
    counts = (votes[..., None] == np.arange(len(colours))).sum(2)  # (20, 20, K)
    commonest = counts.argmax(-1)  # (20, 20)
    darker = lightness < lightness[commonest][..., None] - LINE_CONTRAST  # (20, 20, K)
    line = counts * (darker & (lightness < LINE_LIGHTNESS))
    is_line = line.sum(-1) >= LINE_SHARE * SAMPLES**2
    return colours[np.where(is_line, line.argmax(-1), commonest)]
