"""Sprites from the Hugging Face hub, or from a local folder laid out as the hub answers.

The homework keeps sprites and palette in two data sets: `lca0503/ml2025-hw4-pokemon` (splits train,
dev, test; column `pixel_color`; test rows have 240 tokens) and `lca0503/ml2025-hw4-colormap` (column
`color`). No code of a data set is ever run: only its data files are read.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets.exceptions import DatasetGenerationError, DatasetsError

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.palette import Palette
from pokemon_gen.sprites.collection import SPLITS, Sprites, collect
from pokemon_gen.sprites.sources import find_splits, is_local

COLUMN = "pixel_color"
"""The column of tokens, named as in `lca0503/ml2025-hw4-pokemon`."""
HOMEWORK_COLORMAP = "lca0503/ml2025-hw4-colormap"
COLOUR_COLUMN = "color"


def load_hub(dataset: str, palette: Palette | None) -> Sprites:
    """Load the sprites of a hub data set's id, or of a local folder.

    Args:
        dataset: an id such as `lca0503/ml2025-hw4-pokemon`, or a folder.
        palette: none: the folder `colormap` beside a local folder, else the homework's.

    Raises:
        PokemonGenError: without a network, for a data set that is not there, or one of another form.
    """
    splits = _load(dataset)
    named = find_splits(list(splits), f"hub:{dataset}")
    for split in SPLITS:
        if split not in named or COLUMN not in splits[named[split]].column_names:
            raise PokemonGenError(
                f"hub:{dataset}: has no {COLUMN!r} column in a {split!r} split (splits: {', '.join(splits)})"
            )
    rows = {split: _whole_numbers(splits[name], COLUMN, name, dataset) for split, name in named.items()}
    return collect(rows, palette or _palette_of(dataset), f"hub:{dataset}")


def _palette_of(dataset: str) -> Palette:
    """Load the palette that belongs to a data set: beside a local folder, else the homework's."""
    if not is_local(dataset):
        return load_hub_palette(HOMEWORK_COLORMAP)
    beside = Path(dataset).resolve().parent / "colormap"
    if not beside.is_dir():
        raise PokemonGenError(
            f"hub:{dataset}: has no palette: there is no folder {beside}. Put a copy of the colour map "
            f"there, or name one (sprites.palette=FILE, or sprites.palette=hub:{HOMEWORK_COLORMAP})"
        )
    return load_hub_palette(str(beside))


def load_hub_palette(dataset: str) -> Palette:
    """Load the palette from a colormap data set's id, or a local folder (split `train`, column `color`).

    Raises:
        PokemonGenError: as `load_hub`.
    """
    splits = _load(dataset)
    if "train" not in splits or COLOUR_COLUMN not in splits["train"].column_names:
        raise PokemonGenError(f"hub:{dataset}: has no {COLOUR_COLUMN!r} column in a 'train' split")
    colours = _whole_numbers(splits["train"], COLOUR_COLUMN, "train", dataset)
    for number, colour in enumerate(colours, start=1):
        if len(colour) != 3:
            raise PokemonGenError(
                f"hub:{dataset}: train, row {number}, column {COLOUR_COLUMN!r}: {colour!r} is no colour: "
                "red, green and blue, each 0..255"
            )
    try:
        return Palette(np.array(colours, dtype=np.int64))
    except (PokemonGenError, OverflowError) as error:
        raise PokemonGenError(f"hub:{dataset}: {error}") from error


def _whole_numbers(split: Any, column: str, name: str, dataset: str) -> list[list[int]]:
    """Return a column of lists of whole numbers.

    Raises:
        PokemonGenError: for a cell that is empty, a text, a fraction or a truth value, naming split, row and
            column.
    """
    rows: list[Any] = split[column][:]
    for number, row in enumerate(rows, start=1):
        where = f"hub:{dataset}: {name}, row {number}, column {column!r}"
        if not isinstance(row, list):
            raise PokemonGenError(f"{where}: {_shown(row)} is no list of whole numbers")
        wrong = next((place for place, cell in enumerate(row) if not is_valid(cell)), None)
        if wrong is not None:
            raise PokemonGenError(f"{where}, number {wrong + 1}: {_shown(row[wrong])} is no whole number")
    return [list(map(int, row)) for row in rows]


def is_valid(cell: Any) -> bool:
    """Tell whether a cell is a whole number; a table that once had empty cells holds 3 as 3.0."""
    return type(cell) is int or (isinstance(cell, float) and cell.is_integer())


def _shown(cell: Any) -> str:
    """Return a cell as an error shows it."""
    return "an empty cell (null)" if cell is None else repr(cell)[:40]


def _load_apart(folder: str, cache: str) -> dict[str, Any]:
    """Load each split of a local folder by itself: together, `datasets` casts all to the types of the first.

    So a column of `true` would come out as ones.
    """
    found = datasets.load_dataset_builder(folder, cache_dir=cache).config.data_files or {}
    return {str(split): _load_files(folder, str(split), list(paths), cache) for split, paths in found.items()}


def _load_files(folder: str, split: str, paths: list[Any], cache: str) -> Any:
    """Load the files of one split, each by itself.

    Raises:
        PokemonGenError: if their columns are of different types.
    """
    options = {"split": split, "cache_dir": cache, "keep_in_memory": True}
    parts = [datasets.load_dataset(folder, data_files={split: [path]}, **options) for path in paths]
    if any(part.features != parts[0].features for part in parts):
        raise PokemonGenError(
            f"hub:{folder}: {split}: the columns of its files are of different types: "
            + ", ".join(
                f"{Path(str(path)).name} {part.features}" for path, part in zip(paths, parts, strict=True)
            )
        )
    return datasets.concatenate_datasets(parts)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep `datasets` from drawing bars of its own."""
    disabled = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            datasets.enable_progress_bars()


def _load(dataset: str) -> Any:
    local = is_local(dataset)
    try:
        with _no_bars():
            if not local:
                return {str(name): split for name, split in datasets.load_dataset(dataset).items()}
            # `datasets` knows a local folder by its name alone: kept in the common cache, any other
            # folder of that name, or this one with other files, would give these sprites again.
            with tempfile.TemporaryDirectory() as cache:
                return _load_apart(dataset, cache)
    except StopIteration as error:
        raise PokemonGenError(f"hub:{dataset}: one of its files is empty") from error
    except (OSError, DatasetsError, ValueError) as error:  # ConnectionError is an OSError
        if local or isinstance(error, DatasetGenerationError):
            reason = error.__cause__ or error  # `datasets` says only that an error occurred
            raise PokemonGenError(
                f"hub:{dataset}: damaged, or not laid out as a data set of the hub is: {reason}"
            ) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PokemonGenError(
            f"hub:{dataset}: cannot be had from the hub: {reason}\n"
            "Without a network use sprites.source=procedural (embedded), text:FOLDER or "
            "hub:FOLDER with a copy of the data set."
        ) from error
