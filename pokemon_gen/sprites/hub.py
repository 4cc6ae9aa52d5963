"""Sprites from the Hugging Face hub, or from a local folder with the same files.

The homework keeps the sprites and the palette in two data sets: `lca0503/ml2025-hw4-pokemon` (splits train,
dev and test; column `pixel_color`; test rows have 240 tokens) and `lca0503/ml2025-hw4-colormap` (column
`color`). A data set's own code never runs: only its data files are read.
"""

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets.exceptions import DatasetGenerationError, DatasetsError

from pokemon_gen.errors import PokemonGenError, first_line
from pokemon_gen.hub_log import hide_retries
from pokemon_gen.palette import Palette
from pokemon_gen.sprites.collection import SPLITS, Sprites, collect
from pokemon_gen.sprites.sources import find_splits, is_local

COLUMN = "pixel_color"
"""The column of tokens in `lca0503/ml2025-hw4-pokemon`."""
HOMEWORK_COLORMAP = "lca0503/ml2025-hw4-colormap"
COLOUR_COLUMN = "color"
_NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOTDIR}
"""The error numbers of a full disk, and of folders such as HF_HOME that cannot be written to."""
_WITHOUT_NETWORK = "sprites.source=procedural (embedded), text:FOLDER or hub:FOLDER"


def load_hub(dataset: str, palette: Palette | None) -> Sprites:
    """Load the sprites of a data set on the hub, or of a local folder.

    Args:
        dataset: an id such as `lca0503/ml2025-hw4-pokemon`, or a folder.
        palette: the palette of the tokens. None means the folder `colormap` next to a local folder, or the
            homework's palette for an id.

    Raises:
        PokemonGenError: if there is no network, or the data set is missing or has another form.
    """
    splits = load_splits(dataset)
    names = find_splits(list(splits), f"hub:{dataset}")
    for split in SPLITS:
        if split not in names or COLUMN not in splits[names[split]].column_names:
            raise PokemonGenError(
                f"hub:{dataset}: has no {COLUMN!r} column in a {split!r} split (splits: {', '.join(splits)})"
            )
    rows = {split: _integer_rows(splits[name], COLUMN, name, dataset) for split, name in names.items()}
    return collect(rows, palette or _palette_of(dataset), f"hub:{dataset}")


def _palette_of(dataset: str) -> Palette:
    """Load the palette next to a local folder, or the homework's palette for an id on the hub."""
    if not is_local(dataset):
        return load_hub_palette(HOMEWORK_COLORMAP)
    colormap = Path(dataset).resolve().parent / "colormap"
    if not colormap.is_dir():
        raise PokemonGenError(
            f"hub:{dataset}: has no palette, because there is no folder {colormap}. Copy the colour map to "
            f"that folder, or pass sprites.palette=FILE or sprites.palette=hub:{HOMEWORK_COLORMAP}."
        )
    return load_hub_palette(str(colormap))


def load_hub_palette(dataset: str) -> Palette:
    """Load the palette from a colormap data set's id or local folder (split `train`, column `color`).

    Raises:
        PokemonGenError: in the same cases as `load_hub`.
    """
    splits = load_splits(dataset)
    if "train" not in splits or COLOUR_COLUMN not in splits["train"].column_names:
        raise PokemonGenError(f"hub:{dataset}: has no {COLOUR_COLUMN!r} column in a 'train' split")
    colours = _integer_rows(splits["train"], COLOUR_COLUMN, "train", dataset)
    for number, colour in enumerate(colours, start=1):
        if len(colour) != 3:
            raise PokemonGenError(
                f"hub:{dataset}: train, row {number}, column {COLOUR_COLUMN!r}: {colour!r} is not a colour. "
                "Write red, green and blue, each 0..255."
            )
    try:
        return Palette(np.array(colours, dtype=np.int64))
    except (PokemonGenError, OverflowError) as error:
        raise PokemonGenError(f"hub:{dataset}: {error}") from error


def _integer_rows(split: Any, column: str, name: str, dataset: str) -> list[list[int]]:
    """Return a column of lists of integers.

    Raises:
        PokemonGenError: if a cell is empty or holds a string, a fraction or a Boolean. The message names the
            split, the row and the column.
    """
    rows: list[Any] = split[column][:]
    for number, row in enumerate(rows, start=1):
        where = f"hub:{dataset}: {name}, row {number}, column {column!r}"
        if not isinstance(row, list):
            raise PokemonGenError(f"{where}: {_describe(row)} is not a list of integers")
        bad = next((index for index, cell in enumerate(row) if not _is_integer(cell)), None)
        if bad is not None:
            raise PokemonGenError(f"{where}, number {bad + 1}: {_describe(row[bad])} is not an integer")
    return [list(map(int, row)) for row in rows]


def _is_integer(cell: Any) -> bool:
    """Tell whether a cell is an integer. A table that once had empty cells stores 3 as 3.0."""
    return type(cell) is int or (isinstance(cell, float) and cell.is_integer())


def _describe(cell: Any) -> str:
    """Return a cell as an error message shows it."""
    return "an empty cell (null)" if cell is None else repr(cell)[:40]


def _load_local_splits(folder: str, cache: str) -> dict[str, Any]:
    """Load each split of a local folder separately.

    If `datasets` loads all splits at once, it casts them to the types of the first split, so that a column of
    `true` becomes a column of ones.
    """
    files = datasets.load_dataset_builder(folder, cache_dir=cache).config.data_files or {}
    return {str(split): _load_local_files(folder, str(split), list(files[split]), cache) for split in files}


def _load_local_files(folder: str, split: str, paths: list[Any], cache: str) -> Any:
    """Load each file of one split separately, and concatenate the files.

    Raises:
        PokemonGenError: if the columns of the files have different types.
    """
    options = {"split": split, "cache_dir": cache, "keep_in_memory": True}
    parts = [datasets.load_dataset(folder, data_files={split: [path]}, **options) for path in paths]
    if any(part.features != parts[0].features for part in parts):
        types = ", ".join(
            f"{Path(str(path)).name} {part.features}" for path, part in zip(paths, parts, strict=True)
        )
        raise PokemonGenError(
            f"hub:{folder}: {split}: the files have columns of different types: {types}. "
            "Write all files of a split with the same types."
        )
    return datasets.concatenate_datasets(parts)


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Suppress the progress bars of `datasets`."""
    disabled = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            datasets.enable_progress_bars()


def load_splits(dataset: str, without_network: str = _WITHOUT_NETWORK) -> dict[str, Any]:
    """Load the splits of a data set on the hub or of a local folder.

    Args:
        dataset: an id, or a folder.
        without_network: what to use if there is no network, for the error.

    Returns:
        The name of each split and its table, a `datasets.Dataset`.

    Raises:
        PokemonGenError: if the data set cannot be downloaded or read.
    """
    local = is_local(dataset)
    try:
        with _without_progress_bars(), hide_retries():
            if not local:
                return {str(name): split for name, split in datasets.load_dataset(dataset).items()}
            # `datasets` identifies a local folder in its cache by the folder's name alone. With the common
            # cache, another folder of that name, or this folder with new files, would give the old sprites.
            with tempfile.TemporaryDirectory() as cache:
                return _load_local_splits(dataset, cache)
    except StopIteration as error:
        raise PokemonGenError(f"hub:{dataset}: one of the data set's files is empty") from error
    except (OSError, DatasetsError, ValueError) as error:  # ConnectionError is an OSError
        unwritable = _unwritable(error, local)
        if unwritable:
            raise PokemonGenError(
                f"hub:{dataset}: it is read by way of files that cannot be written: {unwritable}. Free some "
                "space, or set TMPDIR and HF_HOME to folders that can be written to."
            ) from error
        if local or isinstance(error, DatasetGenerationError):
            reason = error.__cause__ or error  # the error itself says only that an error occurred
            raise PokemonGenError(f"hub:{dataset}: damaged, or not a data set: {reason}") from error
        reason = first_line(error)
        raise PokemonGenError(
            f"hub:{dataset}: cannot be downloaded from the hub: {reason}\n"
            f"Without a network, use {without_network} with a copy of the data set."
        ) from error


def _unwritable(error: BaseException, local: bool) -> OSError | None:
    """Return the error or its cause if the library could not write its own files."""
    refused = _NO_PLACE if local else _NO_PLACE | {errno.EACCES}  # a local file may be unreadable itself
    for one in (error, error.__cause__):
        if isinstance(one, OSError) and one.errno in refused:
            return one
    return None
