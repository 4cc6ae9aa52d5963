"""What people read on the screen: tables of the scorecard, of a selection, of a detector's families."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

NOTHING = "–"
MISSING = "not computed: see below"


def scorecard_table(scorecard: dict[str, Any]) -> Table:
    """Return a scorecard as a table: what, the figure and its 95 % interval, what stands beside it."""
    table = _table(
        f"scorecard of {scorecard['name']}: {scorecard['n']} completions", "what", "figure", "beside it"
    )
    for name, ideal in (("paired", "ideal 0"), ("unpaired", "ideal: as the real ones")):
        distance = scorecard[name]
        if "not_computed" in distance:
            table.add_row(f"FID, {name}", MISSING, NOTHING)
            continue
        what = f"against {distance['reference']}, n={distance['n']}, {distance['protocol']}; {ideal}"
        for figure, digits in (("fid", 2), ("kid", 5)):
            value = _with_interval(distance[figure], distance[f"{figure}_interval"], digits)
            table.add_row(f"{figure.upper()}, {name}", value, _beside(distance, figure, digits))
        table.add_row("", f"[dim]{escape(what)}[/]", "")
    _add_pdr(table, scorecard["pdr"])
    _add_plain(table, scorecard)
    _add_verdicts(table, scorecard["verdicts"])
    return table


def scorecard_notes(scorecard: dict[str, Any]) -> list[str]:
    """Return in full why a figure or the verdict is missing, and every warning; too long for a table."""
    whats: dict[str, list[str]] = {}
    for name, what in (("paired", "paired FID"), ("unpaired", "unpaired FID"), ("pdr", "PDR")):
        if "not_computed" in scorecard[name]:
            whats.setdefault(scorecard[name]["not_computed"], []).append(what)
    notes = [f"{', '.join(names)}: not computed: {why}" for why, names in whats.items()]
    if "not_judged" in scorecard["verdicts"]:
        notes.append(f"verdict: none: {scorecard['verdicts']['not_judged']}")
    return notes + [f"warning: {warning}" for warning in scorecard["warnings"]]


def selection_table(by: str, ranked: Sequence[Any]) -> Table:
    """Return a run's checkpoints, best first, with every figure that was measured."""
    names = [field.name for field in dataclasses.fields(ranked[0])][2:]  # after checkpoint and step
    known = [name for name in names if any(getattr(f, name) is not None for f in ranked)]
    table = _table(f"checkpoints, best first by {by}", "checkpoint", *known)
    for figures in ranked:
        table.add_row(figures.checkpoint, *(_number(getattr(figures, name), 4) for name in known))
    return table


def negative_types_table(metadata: dict[str, Any]) -> Table:
    """Return how a detector or the judge takes real dev sprites and each family of corrupted ones."""
    table = _table(f"{metadata['role']} on dev", "negative type", "n", "AUC", "passing")
    table.add_row("real", NOTHING, NOTHING, f"{metadata['dev_passing']:.1%}")
    for one in metadata["negative_types"]:
        table.add_row(one["negative_type"], str(one["n"]), f"{one['auc']:.3f}", f"{one['passing']:.1%}")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=escape(title), title_justify="left", header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 or column == "beside it" else "right")
    return table


def _beside(distance: dict[str, Any], figure: str, digits: int) -> str:
    if "real" in distance:
        real = distance["real"]
        value = _with_interval(real[figure], real[f"{figure}_interval"], digits)
        return f"real ({escape(real['sprites'])}): {value}"
    wrong, noise = (_number(distance[name][figure], digits) for name in ("wrong_completions", "noise"))
    return f"wrong completions {wrong}, noise {noise}"


def _add_pdr(table: Table, pdr: dict[str, Any]) -> None:
    if "not_computed" in pdr:
        table.add_row("PDR", MISSING, NOTHING)
        return
    real = pdr["real"]
    beside = f"real ({real['sprites']}): {_with_interval(real['rate'], real['interval'], 3)}"
    table.add_row(f"PDR, judge {pdr['judge']}", _with_interval(pdr["rate"], pdr["interval"], 3), beside)


def _add_plain(table: Table, scorecard: dict[str, Any]) -> None:
    table.add_row("NLL of the completion, nats/token", _number(scorecard["nll"], 4), NOTHING)
    table.add_row("pixel accuracy", _number(scorecard["pixel_accuracy"], 3), NOTHING)
    for key, what in (
        ("nearest_training_completion", "distance to the nearest training completion, any way up, any hue"),
        ("diversity", "diversity: distance between two completions"),
        ("new_colours", "colours that the prompt has not, a completion"),
    ):
        figures = scorecard[key]
        beside = f"real ({figures['real_sprites']}): {figures['real']:.3f}"
        if "p_value" in figures:
            beside += f"; Kolmogorov–Smirnov p {figures['p_value']:.2g} (small: unlike)"
        table.add_row(what, _number(figures["completions"], 3), beside)


def _add_verdicts(table: Table, verdicts: dict[str, Any]) -> None:
    if "not_judged" in verdicts:
        table.add_row("verdict", "none", NOTHING)
        return
    for year, bars in verdicts.items():
        for bar, verdict in bars.items():
            word = "[green]passed[/]" if verdict["passed"] else "[red]missed[/]"
            limits = f"FID ≤ {verdict['fid_at_most']}, PDR ≥ {verdict['pdr_at_least']}"
            share = verdict["both_halves_pass"]
            halves = "" if share is None else f"; both halves pass in {share:.0%} of random halves"
            table.add_row(f"{bar} bar of {year}", word, limits + halves)


def _with_interval(figure: float, interval: Sequence[float] | None, digits: int) -> str:
    if interval is None:
        return f"{figure:.{digits}f}"
    return f"{figure:.{digits}f} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"
