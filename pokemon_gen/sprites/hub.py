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
from pokemon_gen.sprites.collection import COLUMN, SPLITS, Sprites, collect

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
    is_local = _is_local(dataset)
    if palette is None:
        beside = Path(dataset).resolve().parent / "colormap"
        palette = load_hub_palette(str(beside) if is_local and beside.is_dir() else HOMEWORK_COLORMAP)
    splits = _load(dataset)
    for split in SPLITS:
        if split not in splits or COLUMN not in splits[split].column_names:
            raise PokemonGenError(
                f"hub:{dataset}: has no {COLUMN!r} column in a {split!r} split (splits: {', '.join(splits)})"
            )
    return collect({split: splits[split][COLUMN][:] for split in SPLITS}, palette, f"hub:{dataset}")


def load_hub_palette(dataset: str) -> Palette:
    """Load the palette from a colormap data set's id, or a local folder (split `train`, column `color`).

    Raises:
        PokemonGenError: as `load_hub`.
    """
    splits = _load(dataset)
    if "train" not in splits or COLOUR_COLUMN not in splits["train"].column_names:
        raise PokemonGenError(f"hub:{dataset}: has no {COLOUR_COLUMN!r} column in a 'train' split")
    return Palette(np.array(splits["train"][COLOUR_COLUMN][:], dtype=np.int64))


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


def _is_local(dataset: str) -> bool:
    """Tell a local folder from a hub's id; what can be neither is an error."""
    if Path(dataset).is_dir():
        return True
    if Path(dataset).is_absolute() or dataset.startswith(".") or dataset.count("/") > 1:
        raise PokemonGenError(f"hub:{dataset}: no such folder")
    return False


def _load(dataset: str) -> Any:
    local = _is_local(dataset)
    try:
        with _no_bars():
            if not local:
                return datasets.load_dataset(dataset)
            # `datasets` knows a local folder by its name alone: kept in the common cache, any other
            # folder of that name, or this one with other files, would give these sprites again.
            with tempfile.TemporaryDirectory() as cache:
                return datasets.load_dataset(dataset, cache_dir=cache, keep_in_memory=True)
    except (OSError, DatasetsError, ValueError) as error:  # ConnectionError is an OSError
        if local or isinstance(error, DatasetGenerationError):
            reason = error.__cause__ or error  # `datasets` says only that an error occurred
            raise PokemonGenError(
                f"hub:{dataset}: damaged, or not laid out as a data set of the hub is: {reason}"
            ) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PokemonGenError(
            f"hub:{dataset}: cannot be had from the hub: {reason}\n"
            "Without a network use sprites.source=generated (embedded), text:FOLDER or "
            "hub:FOLDER with a copy of the data set."
        ) from error
