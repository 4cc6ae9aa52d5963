"""How results show themselves in a notebook: the tables of the command line as HTML."""

import io
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, RenderableType

from pokemon_gen.report.scorecard_rows import scorecard_heading, scorecard_notes
from pokemon_gen.report.tables import scorecard_table

WIDTH = 118
"""Characters in a line of a table."""
_PRE = '<pre style="white-space:pre;overflow-x:auto;font-family:ui-monospace,Consolas,monospace">{code}</pre>'


def as_html(parts: Iterable[RenderableType]) -> str:
    """Return tables and lines, as the command line prints them, as HTML."""
    console = Console(file=io.StringIO(), record=True, width=WIDTH)
    for part in parts:
        console.print(part)
    return console.export_html(inline_styles=True, code_format=_PRE)


def scorecard_html(scorecard: Mapping[str, Any]) -> str:
    """Return a scorecard with its heading and its notes."""
    heading = scorecard_heading(dict(scorecard))
    notes = scorecard_notes(dict(scorecard))
    return as_html([*([heading] if heading else []), scorecard_table(dict(scorecard)), *notes])
