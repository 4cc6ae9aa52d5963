"""What a source of sprites is called and where it lies: found out before anything of it is loaded.

`procedural`, `hub:ID_OR_FOLDER`, `text:FOLDER` or `images:FOLDER`; a folder alone is what its files are of.
Loads neither torch nor `datasets`, so that a misspelt folder is answered at once.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from pokemon_gen.errors import PokemonGenError, closest

KINDS = ("procedural", "hub", "text", "images")
USAGE = "use procedural, hub:ID_OR_FOLDER, text:FOLDER or images:FOLDER"
PICTURES = (".png", ".gif", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp")
"""Suffixes of pictures, in small letters."""
TEXTS = ("train.txt", "pixel_color.txt", "colormap.txt")
"""Files of which a `text:` folder has at least one."""
TABLES = (".parquet", ".arrow", ".jsonl", ".csv")
"""Suffixes of the files of a data set."""
PALETTE_FILES = (".txt", ".json", ".hex", ".gpl", ".pal", ".png")
"""Suffixes of files that a palette is read from."""
MOST_FILES = 100_000
"""Files of a folder that are looked through: of more, it is not a folder of sprites."""
_HUB_ID = r"[\w.-]+/[\w.-]+"
"""How a data set is called on the hub: by its owner and its name."""
SPLIT_NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "val", "valid", "validation", "eval"),
    "test": ("test", "testing"),
}
"""What splits are usually called, in any case."""


def parse_source(source: str) -> tuple[str, str]:
    """Return a source's kind and place; a folder without a kind gives it away by its files.

    Raises:
        PokemonGenError: for a source that is not known, or not there.
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
            f"{source!r} is no source of sprites: it needs a folder or an id behind it; {USAGE}"
        )
    if _is_path(source):
        raise PokemonGenError(f"{source}: no such folder; {USAGE}")
    if re.fullmatch(_HUB_ID, source):
        raise PokemonGenError(
            f"{source}: no such folder. For a data set of the hub write hub:{source}; else {USAGE}"
        )
    what = f"{source}: is a file, not a folder" if folder.exists() else f"{source!r} is no source of sprites"
    raise PokemonGenError(f"{what}{closest(kind, KINDS)}: {USAGE}")


def _is_path(place: str) -> bool:
    """Tell whether a place that is not there is meant as one on this machine."""
    return place[:1] in (".", "/", "~") or ("/" in place and Path(place).parent.is_dir())


def _kind_of(folder: Path) -> str:
    """Tell which kind of source a folder is, by its files.

    Raises:
        PokemonGenError: for one that could be two, or none.
    """
    files = visible_files(folder)
    found = {
        "text": [folder / name for name in TEXTS if (folder / name).is_file()],
        "hub": [path for path in files if path.suffix.lower() in TABLES],
        "images": [path for path in files if path.suffix.lower() in PICTURES],
    }
    kinds = [kind for kind, paths in found.items() if paths]
    if len(kinds) > 1:
        examples = " and ".join(str(found[kind][0].relative_to(folder)) for kind in kinds)
        raise PokemonGenError(
            f"{folder}: holds {examples}, so it could be either; write "
            + " or ".join(f"{kind}:{folder}" for kind in kinds)
        )
    if kinds:
        return kinds[0]
    raise PokemonGenError(
        f"{folder}: no sprites in it: neither pictures ({', '.join(PICTURES)}), nor {', '.join(TEXTS)}, nor "
        f"the files of a data set ({', '.join(TABLES)})"
    )


def visible_files(folder: Path) -> list[Path]:
    """Return all files in a folder and below it, in order of their names, but none that is hidden.

    A file is hidden if its name or that of a folder around it begins with a dot (`.ipynb_checkpoints`), or if
    it is in macOS's `__MACOSX`.
    """
    found: list[Path] = []
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        here = os.path.realpath(place)
        folders[:] = [] if here in seen else [name for name in folders if not _is_hidden(name)]
        seen.add(here)  # a link to a folder around it would have no end
        found += [Path(place) / name for name in names if not _is_hidden(name)]
        if len(found) > MOST_FILES:
            raise PokemonGenError(f"{folder}: more than {MOST_FILES} files; name the folder of the sprites")
    return sorted(path for path in found if path.is_file())


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _check_folder(folder: Path, source: str) -> None:
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise PokemonGenError(f"{source}: {what}")


def is_local(dataset: str) -> bool:
    """Tell a local folder from a hub's id.

    Raises:
        PokemonGenError: for what can be neither.
    """
    if Path(dataset).is_dir():
        return True
    if (
        Path(dataset).is_absolute()
        or dataset.startswith(".")
        or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", dataset)
    ):
        raise PokemonGenError(f"hub:{dataset}: no such folder, and no id of the hub (such as OWNER/NAME)")
    return False


def check_palette(place: str) -> None:
    """Make sure that a palette is there, if it is to be read from here.

    Raises:
        PokemonGenError: for a file that is missing, or none that a palette is read from.
    """
    path = Path(place)
    if path.is_dir() or place.startswith("hub:"):
        return
    if path.suffix.lower() in PALETTE_FILES:
        if not path.is_file():
            raise PokemonGenError(f"{place}: cannot be read: no such file")
    elif path.is_file() or _is_path(place) or not re.fullmatch(_HUB_ID, place):
        raise PokemonGenError(
            f"{place}: {'not a palette' if path.is_file() else 'no such palette'}: use a file "
            f"({', '.join(PALETTE_FILES)}), a checkpoint's folder, or the id of a data set on the hub"
        )


def find_splits(names: Sequence[str], where: str) -> dict[str, str]:
    """Find the splits train, dev and test by their usual names: `Train`, `val`, `01_test_images`.

    Args:
        names: of folders, files or a data set's splits.
        where: named in errors.

    Returns:
        split → its name here; those that are not there are left out.

    Raises:
        PokemonGenError: if one split goes by two names.
    """
    splits: dict[str, str] = {}
    for split, usual in SPLIT_NAMES.items():
        form = rf"(\d+[_ -])?({'|'.join(usual)})([_ -]?(images|imgs|set|data|split|sprites))?"
        found = [name for name in names if re.fullmatch(form, name, re.IGNORECASE)]
        found = [name for name in found if name.lower() == split] or found
        if len(found) > 1:
            raise PokemonGenError(f"{where}: {' and '.join(sorted(found))} both name the {split} split")
        if found:
            splits[split] = found[0]
    return splits
