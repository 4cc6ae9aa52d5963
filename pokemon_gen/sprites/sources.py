"""The names of sources: which kind a source is and where it is, before any of its files is loaded.

A source is `procedural`, `hub:ID_OR_FOLDER`, `text:FOLDER` or `images:FOLDER`, or a folder alone, whose
files decide its kind. This module loads neither torch nor `datasets`, so that a misspelt folder is reported
at once.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from pokemon_gen.errors import PokemonGenError, closest

KINDS = ("procedural", "hub", "text", "images")
USAGE = "Use procedural, hub:ID_OR_FOLDER, text:FOLDER or images:FOLDER"
PICTURES = (".png", ".gif", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp")
"""Suffixes of picture files, in lower case."""
TEXTS = ("train.txt", "pixel_color.txt", "colormap.txt")
"""File names of a `text:` folder, which has at least one of them."""
TABLES = (".parquet", ".arrow", ".jsonl", ".csv")
"""Suffixes of a data set's files."""
PALETTE_FILES = (".txt", ".json", ".hex", ".gpl", ".pal", ".png")
"""Suffixes of palette files."""
MOST_FILES = 100_000
"""The largest number of files in a folder. A folder with more is not a folder of sprites."""
_HUB_ID = r"[\w.-]+/[\w.-]+"
"""A data set's id on the hub: its owner and its name."""
SPLIT_NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "val", "valid", "validation", "eval"),
    "test": ("test", "testing"),
}
"""The usual names of each split, in any case."""


def parse_source(source: str) -> tuple[str, str]:
    """Return the kind and the place of a source. The kind of a folder alone follows from its files.

    Raises:
        PokemonGenError: if the source is unknown or missing.
    """
    kind, _, place = source.partition(":")
    if kind in KINDS and bool(place) != (kind == "procedural"):
        if kind in ("text", "images"):
            _check_folder(Path(place), source)
        if kind == "hub":
            is_local(place)
        return kind, place
    folder = Path(source)
    if folder.is_dir():
        return _kind_of(folder), source
    if source.removesuffix(":") in KINDS:
        raise PokemonGenError(
            f"{source!r} is not a sprite source, because it needs a folder or an id after the colon. {USAGE}."
        )
    if _looks_like_path(source):
        raise PokemonGenError(f"{source}: no such folder. {USAGE}.")
    if re.fullmatch(_HUB_ID, source):
        raise PokemonGenError(
            f"{source}: no such folder. Write hub:{source} for a data set on the hub. {USAGE} otherwise."
        )
    problem = "is a file, not a folder" if folder.exists() else "is not a sprite source"
    raise PokemonGenError(f"{source!r} {problem}. {USAGE}{closest(kind, KINDS)}")


def _looks_like_path(place: str) -> bool:
    """Tell whether a place that does not exist is meant as a path on this machine."""
    return place[:1] in (".", "/", "~") or ("/" in place and Path(place).parent.is_dir())


def _kind_of(folder: Path) -> str:
    """Return the kind of source that a folder is, from its files.

    Raises:
        PokemonGenError: if the files fit no kind, or several.
    """
    files = visible_files(folder)
    files_by_kind = {
        "text": [folder / name for name in TEXTS if (folder / name).is_file()],
        "hub": [path for path in files if path.suffix.lower() in TABLES],
        "images": [path for path in files if path.suffix.lower() in PICTURES],
    }
    kinds = [kind for kind, paths in files_by_kind.items() if paths]
    if len(kinds) > 1:
        examples = " and ".join(str(files_by_kind[kind][0].relative_to(folder)) for kind in kinds)
        choices = " or ".join(f"{kind}:{folder}" for kind in kinds)
        raise PokemonGenError(f"{folder}: contains {examples}, so its kind is ambiguous. Write {choices}.")
    if kinds:
        return kinds[0]
    raise PokemonGenError(
        f"{folder}: contains no sprites. It needs pictures ({', '.join(PICTURES)}), text files "
        f"({', '.join(TEXTS)}) or the files of a data set ({', '.join(TABLES)})."
    )


def visible_files(folder: Path) -> list[Path]:
    """Return all files in a folder and its subfolders, sorted by name, except hidden ones.

    A file is hidden if its name or the name of a folder above it starts with a dot (`.ipynb_checkpoints`), or
    if it is inside macOS's `__MACOSX`.

    Raises:
        PokemonGenError: if there are more than `MOST_FILES` files.
    """
    files: list[Path] = []
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real_path = os.path.realpath(place)
        # A link to a folder above itself would otherwise be followed forever.
        folders[:] = [] if real_path in seen else [name for name in folders if not _is_hidden(name)]
        seen.add(real_path)
        files += [Path(place) / name for name in names if not _is_hidden(name)]
        if len(files) > MOST_FILES:
            raise PokemonGenError(
                f"{folder}: contains more than {MOST_FILES} files. Name the folder that has only the sprites."
            )
    return sorted(path for path in files if path.is_file())


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _check_folder(folder: Path, source: str) -> None:
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.exists() else "no such folder"
        raise PokemonGenError(f"{source}: {problem}")


def is_local(dataset: str) -> bool:
    """Tell whether a data set is a local folder; otherwise it is an id on the hub.

    Raises:
        PokemonGenError: if it can be neither.
    """
    if Path(dataset).is_dir():
        return True
    if (
        Path(dataset).is_absolute()
        or dataset.startswith(".")
        or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", dataset)
    ):
        raise PokemonGenError(f"hub:{dataset}: no such folder, and not an id on the hub (such as OWNER/NAME)")
    return False


def check_palette(place: str) -> None:
    """Check that a local palette exists and has a known form.

    Raises:
        PokemonGenError: if the file is missing, or is not a palette file.
    """
    path = Path(place)
    if path.is_dir() or place.startswith("hub:"):
        return
    if path.suffix.lower() in PALETTE_FILES:
        if not path.is_file():
            raise PokemonGenError(f"{place}: cannot be read: no such file")
    elif path.is_file() or _looks_like_path(place) or not re.fullmatch(_HUB_ID, place):
        problem = "not a palette file" if path.is_file() else "no such palette"
        raise PokemonGenError(
            f"{place}: {problem}. Use a file ({', '.join(PALETTE_FILES)}), a checkpoint's folder, or the id "
            "of a data set on the hub."
        )


def find_splits(names: Sequence[str], where: str) -> dict[str, str]:
    """Find the splits train, dev and test by their usual names, such as `Train`, `val` or `01_test_images`.

    Args:
        names: the names of folders, of files or of a data set's splits.
        where: the source, for errors.

    Returns:
        The name of each split that was found.

    Raises:
        PokemonGenError: if two names mean the same split.
    """
    splits: dict[str, str] = {}
    for split, usual in SPLIT_NAMES.items():
        form = rf"(\d+[_ -])?({'|'.join(usual)})([_ -]?(images|imgs|set|data|split|sprites))?"
        matches = [name for name in names if re.fullmatch(form, name, re.IGNORECASE)]
        matches = [name for name in matches if name.lower() == split] or matches
        if len(matches) > 1:
            raise PokemonGenError(
                f"{where}: {' and '.join(sorted(matches))} both name the {split} split. Rename or remove one "
                "of them."
            )
        if matches:
            splits[split] = matches[0]
    return splits
