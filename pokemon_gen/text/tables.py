"""Tables of text models for the terminal."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from pokemon_gen.text.tokenizers import visible


def tokens_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return a table of the tokens of a text; see `token_rows`."""
    table = Table("place", "token", "text")
    for row in rows:
        table.add_row(str(row["place"]), str(row["token"]), escape(visible(row["text"])))
    return table
