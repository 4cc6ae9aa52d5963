"""The texts in a column of a data set on the Hugging Face hub, or of a local folder with the same files.

As for sprites, only data files are read, and a data set's own code never runs (`sprites/hub.py`).
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from pokemon_gen.errors import PokemonGenError, closest

SPLIT = "train"
"""The split that is read where a data set has several: dev is taken from it, as from any other corpus."""


def documents_of_column(dataset: str, column: str | None) -> Callable[[], Iterator[str]]:
    """Return a function that yields the texts of a column; the data set is loaded at the first call.

    Args:
        dataset: an id on the hub, or a folder.
        column: its name; None takes the only column of texts.
    """

    @cache
    def texts() -> list[str]:
        return _texts(dataset, column)

    return lambda: iter(texts())


def _texts(dataset: str, column: str | None) -> list[str]:
    """Load a column.

    Raises:
        PokemonGenError: if the data set cannot be loaded, or a row is not a text.
    """
    from pokemon_gen.sprites.hub import load_splits  # slow to import, and most corpora are files

    splits = load_splits(dataset, "corpus.source=captions (embedded), file:PATH or hub:FOLDER")
    name = SPLIT if SPLIT in splits else next(iter(splits))
    table = splits[name]
    chosen = _column(table, column, dataset)
    rows: list[Any] = table[chosen][:]
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, str):
            raise PokemonGenError(
                f"hub:{dataset}: {name}, row {number}, column {chosen!r}: {type(row).__name__} is not a "
                "text. Use a column of texts: corpus.column=NAME."
            )
    return rows


def _column(table: Any, column: str | None, dataset: str) -> str:
    """Return the name of the column to read.

    Raises:
        PokemonGenError: if there is no such column, or several columns of texts.
    """
    names = list(table.column_names)
    texts = [name for name in names if str(getattr(table.features[name], "dtype", "")).endswith("string")]
    if column is None and len(texts) == 1:
        return texts[0]
    if column is None:
        found = f"its columns of texts are {', '.join(texts)}" if texts else "it has no column of texts"
        raise PokemonGenError(f"hub:{dataset}: {found}. Name one: corpus.column=NAME.")
    if column not in names:
        raise PokemonGenError(
            f"hub:{dataset}: there is no column {column!r}{closest(column, names) or '.'} Its columns are "
            f"{', '.join(names)}."
        )
    return column
