"""Sprites from a folder of pictures: finding the splits, dropping duplicates, learning a palette.

`pictures.py` finds and reads the files and brings each one to 20x20. Each pixel then becomes the palette's
nearest colour.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pokemon_gen.constants import SIDE
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.palette import Palette, from_picture, oklab
from pokemon_gen.sprites.collection import SPLITS, Sprites, collect, duplicates_note, split_rows
from pokemon_gen.sprites.pictures import (
    NAMES_SHOWN,
    WHITE,
    find_images,
    left_out_note,
    other_formats_note,
    read_pictures,
)
from pokemon_gen.sprites.sources import PICTURES, find_splits, visible_files

MOST_LEARNED = 257
"""The largest size of a palette that has to be learned: white and the 256 colours that Pillow can find."""
VISIBLE = 0.1
"""The OKLab distance above which two colours are clearly different to the eye."""
MANY = 0.02
"""The share of clearly different pixels above which a note reports them."""


def load_images(
    folder: Path, palette: Palette | None, *, seed: int, colours: int, skip_bad_images: bool
) -> Sprites:
    """Load the distinct pictures of a folder as sprites.

    Folders named like splits (`train`, `dev` or `val`, `test`, in any case) are the splits. A missing split
    is taken from train. Without such folders, the seed splits all pictures.

    Args:
        folder: the folder of the pictures. Its subfolders are searched too, except hidden ones.
        palette: the palette of the sprites. None means a palette learned from the pixels of the train
            pictures, with white as token 0.
        seed: the seed that splits the pictures.
        colours: the size of a learned palette.
        skip_bad_images: whether files that are not pictures are left out instead of raising an error.

    Raises:
        PokemonGenError: if the folder has no pictures, has splits but no train split, or has files that are
            not pictures. The message names the files.
    """
    source = f"images:{folder}"
    folder = _skip_wrapping_folders(folder)
    places = _split_folders(folder, source)
    files = {split: find_images(place) for split, place in places.items()}
    pictures = {split: read_pictures(paths, skip_bad_images) for split, paths in files.items()}
    rgb, duplicates = _without_duplicates({split: read.rgb for split, read in pictures.items()})
    if not len(rgb["train"]):
        raise PokemonGenError(
            f"{source}: every train picture is also in dev or test. Provide different pictures to train on."
        )
    missing = [split for split in SPLITS if split not in rgb]
    if missing:
        rgb |= split_rows(rgb["train"], seed, source, ["train", *missing])
    if palette is None:
        palette = learn_palette(rgb["train"], colours)
    tokens = {split: from_picture(rgb[split], palette) for split in SPLITS}
    notes = [
        _files_note(files),
        *(note for read in pictures.values() for note in read.notes),
        *other_formats_note(folder),
        *_outside_note(folder, places.values()),
        *duplicates_note(duplicates),
        *_palette_notes(rgb, tokens, palette),
    ]
    return collect(tokens, palette, source, notes)


def learn_palette(pictures: NDArray[np.uint8], colours: int) -> Palette:
    """Learn a palette from 20x20 pictures (N, 20, 20, 3), with white as token 0.

    The palette has all colours of the pictures if these and white are at most `colours`. Otherwise Pillow's
    median cut, refined by k-means, finds `colours` of them, or a few less where some coincide.

    Raises:
        PokemonGenError: if more than `MOST_LEARNED` colours are asked for and the pictures have more than
            that.
    """
    pixels = pictures.reshape(-1, 3)
    not_white = pixels[(pixels != WHITE).any(1)]
    distinct = np.unique(not_white, axis=0)
    if len(distinct) >= colours > MOST_LEARNED:
        raise PokemonGenError(
            f"sprites.colours: {colours} colours cannot be learned, because the pictures have more colours. "
            f"Use at most {MOST_LEARNED}."
        )
    if len(distinct) >= colours:
        image = Image.fromarray(not_white[None])
        quantised = image.quantize(colours - 1, Image.Quantize.MEDIANCUT, kmeans=10)
        distinct = np.unique(np.array(quantised.getpalette()).reshape(-1, 3)[: colours - 1], axis=0)
        distinct = distinct[(distinct != WHITE).any(1)]
    return Palette(np.concatenate([[WHITE], distinct]))


def _skip_wrapping_folders(folder: Path) -> Path:
    """Descend while a folder contains only one folder, because archives often unpack to nested folders."""
    inside = [path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX"]
    while len(inside) == 1 and inside[0].is_dir():
        folder = inside[0]
        inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return folder


def _split_folders(folder: Path, source: str) -> dict[str, Path]:
    """Return the folder of each split, or the folder itself as train if it has no folders of splits.

    Raises:
        PokemonGenError: if there are splits but no train split, or splits deeper in the folder.
    """
    subfolders = [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    names = find_splits(subfolders, source)
    if not names:
        _check_no_splits_below(folder, source)
        return {"train": folder}
    if "train" not in names:
        raise PokemonGenError(
            f"{source}: has a folder {' and '.join(names.values())}, but no folder for train. Name one "
            "folder `train`, or give the folders names that are not names of splits."
        )
    return {split: folder / name for split, name in names.items()}


def _check_no_splits_below(folder: Path, source: str) -> None:
    """Check that no subfolder has splits, such as `cat/train` and `dog/train`, because they would be pooled.

    Raises:
        PokemonGenError: naming such folders.
    """
    subfolders = sorted({file.parent for file in visible_files(folder)} - {folder})
    splits = [str(path.relative_to(folder)) for path in subfolders if find_splits([path.name], source)]
    if splits:
        raise PokemonGenError(
            f"{source}: has splits below its top folder ({', '.join(splits[:NAMES_SHOWN])}). They would "
            "be pooled, so that a model would train on test pictures. Move them to `train`, `dev` and "
            "`test` in its top folder, or use one of its folders as the source."
        )


def _without_duplicates(rgb: Mapping[str, NDArray[np.uint8]]) -> tuple[dict[str, NDArray[np.uint8]], int]:
    """Keep each picture once, in test rather than dev and in dev rather than train.

    Returns:
        The pictures of each split, and the number of duplicates.
    """
    kept: dict[str, NDArray[np.uint8]] = {}
    seen: set[bytes] = set()
    for split in reversed(SPLITS):
        if split in rgb:
            indices = [index for index, picture in enumerate(rgb[split]) if _is_new(picture.tobytes(), seen)]
            kept[split] = rgb[split][indices]
    return kept, sum(map(len, rgb.values())) - sum(map(len, kept.values()))


def _is_new(picture: bytes, seen: set[bytes]) -> bool:
    """Tell whether a picture was not seen before, and add it to the pictures seen."""
    new = picture not in seen
    seen.add(picture)
    return new


def _files_note(files: Mapping[str, Sequence[Path]]) -> str:
    """Return a note that counts the pictures by suffix and by split."""
    suffixes = Counter(file.suffix.lower().removeprefix(".") for paths in files.values() for file in paths)
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common())
    splits = ", ".join(f"{len(paths)} for {split}" for split, paths in files.items())
    return f"read {kinds}" + (f" ({splits})" if len(files) > 1 else "")


def _outside_note(folder: Path, places: Collection[Path]) -> list[str]:
    """Return a note of the pictures in a folder that are in none of the splits' folders, or no note."""
    pictures = [file for file in visible_files(folder) if file.suffix.lower() in PICTURES]
    outside = [file for file in pictures if not any(place in file.parents for place in places)]
    return left_out_note(outside, "picture", "outside the splits' folders", folder)


def _palette_notes(
    rgb: Mapping[str, NDArray[np.uint8]], tokens: Mapping[str, NDArray[np.int64]], palette: Palette
) -> Iterator[str]:
    """Yield a note for each split in which many pixels are far from every colour of the palette."""
    for split in SPLITS:
        lab = oklab(rgb[split]).reshape(-1, SIDE * SIDE, 3)  # (N, 400, 3)
        distances = np.linalg.norm(lab - palette.lab[tokens[split]], axis=-1)  # (N, 400)
        share = float((distances > VISIBLE).mean())
        if share > MANY:
            yield (
                f"{share:.0%} of the pixels of {split} change visibly, because the palette lacks their "
                "colours. Pass another palette with sprites.palette=FILE, or learn a larger one from train "
                "with sprites.colours."
            )
