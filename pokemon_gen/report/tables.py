"""The tables on the screen: a scorecard, a run's checkpoints, and a detector's negative types."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from pokemon_gen.report.scorecard_rows import (
    NOTHING,
    number,
    scorecard_heading,
    scorecard_notes,
    scorecard_rows,
    with_interval,
)

VERDICT_COLOURS = {"passed": "green", "missed": "red"}
REFERENCE_COLOURS = {"note": "dim", "warning": "red"}


def estimates_table(rows: Sequence[Sequence[str]]) -> Table:
    """Return how long each config will take as a table; see `Estimate.row` in `stages/doctor.py`."""
    table = _table("times on this machine, without FID", "config", "a step", "training", "whole run")
    for row in rows:
        table.add_row(*row)
    return table


def scorecard_table(scorecard: dict[str, Any]) -> Table:
    """Return a scorecard as a table of metrics, their values with 95 % intervals, and references for each."""
    table = _table(
        f"scorecard of {scorecard['name']}: {scorecard['n']} completions",
        "metric",
        "value (95 % interval)",
        "reference",
    )
    for row in scorecard_rows(scorecard):
        value, reference = escape(row.value), escape(row.reference)
        if row.kind in VERDICT_COLOURS:
            value = f"[{VERDICT_COLOURS[row.kind]}]{value}[/]"
        elif row.kind in REFERENCE_COLOURS:
            reference = f"[{REFERENCE_COLOURS[row.kind]}]{reference}[/]"
        table.add_row(escape(row.metric), value, reference)
    return table


def scorecard_parts(scorecard: dict[str, Any]) -> list[str | Table]:
    """Return everything that is shown of a scorecard: its heading, if it has one, its table and its notes."""
    heading = scorecard_heading(scorecard)
    return [*([heading] if heading else []), scorecard_table(scorecard), *scorecard_notes(scorecard)]


def selection_table(by: str, ranked: Sequence[Any]) -> Table:
    """Return the checkpoints of a run, best first, with every metric that was measured."""
    names = [field.name for field in dataclasses.fields(ranked[0])][2:]  # after checkpoint and step
    measured = [name for name in names if any(getattr(metrics, name) is not None for metrics in ranked)]
    table = _table(f"checkpoints ranked by {by}, best first", "checkpoint", *measured)
    for metrics in ranked:
        table.add_row(metrics.checkpoint, *(number(getattr(metrics, name), 4) for name in measured))
    return table


def negative_types_table(metadata: dict[str, Any]) -> Table:
    """Return how well a detector or judge tells each set of dev sprites from real ones, and how many pass."""
    table = _table(f"{metadata['role']} on dev", "set", "n", "AUC (95 % interval)", "passing")
    table.add_row("real", NOTHING, NOTHING, f"{metadata['dev_passing']:.1%}")
    for entry in metadata["negative_types"]:
        auc = with_interval(entry["auc"], entry.get("auc_interval"), 3)
        table.add_row(entry["negative_type"], str(entry["n"]), auc, f"{entry['passing']:.1%}")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=escape(title), title_justify="left", header_style="bold")
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 or column == "reference" else "right")
    return table


def study_table(rows: Sequence[Any]) -> Table:
    """Return the variants of a study with their comparison; see `study.findings.Row`."""
    table = Table("group", "variant", rows[0].unit, "against the first", "curve")
    for row in rows:
        mean = "–" if row.mean is None else f"{row.mean:.4f}" + (f" ± {row.spread:.4f}" if row.spread else "")
        table.add_row(escape(row.group), escape(row.variant), mean, row.verdict, ", ".join(row.words))
    return table
