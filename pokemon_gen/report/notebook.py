"""How results show themselves in a notebook: the tables of the command line as HTML."""

import io
from typing import Any

from rich.console import Console

from pokemon_gen.report.tables import scorecard_parts

WIDTH = 118
"""Characters in a line of a table."""
_PRE = '<pre style="white-space:pre;overflow-x:auto;font-family:ui-monospace,Consolas,monospace">{code}</pre>'


def scorecard_html(scorecard: dict[str, Any]) -> str:
    """Return a scorecard as the command line prints it."""
    console = Console(file=io.StringIO(), record=True, width=WIDTH)
    for part in scorecard_parts(scorecard):
        console.print(part)
    return console.export_html(inline_styles=True, code_format=_PRE)
