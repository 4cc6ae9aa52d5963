"""The tables on the screen: a scorecard, a run's checkpoints, and a detector's negative types."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

NOTHING = "–"
MISSING = "not computed: see below"
IDEAL = "ideal: 0.5, no difference"
SINGLE = "[dim]one draw each, not chosen by the detector[/]"
SIGNIFICANT = 0.05
"""The p value below which completions are said to differ from real sprites."""


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
    for name, ideal in (("paired", "0"), ("unpaired", "the value of real sprites")):
        distance = scorecard[name]
        if "not_computed" in distance:
            table.add_row(f"FID, {name}", MISSING, NOTHING)
            continue
        for metric, digits in (("fid", 2), ("kid", 5)):
            value = _with_interval(distance[metric], distance[f"{metric}_interval"], digits)
            table.add_row(f"{metric.upper()}, {name}", value, _distance_reference(distance, metric, digits))
        detail = f"against {distance['reference']}, n={distance['n']}, {distance['protocol']}; ideal: {ideal}"
        table.add_row("", "", f"[dim]{escape(detail)}[/]")
    _add_pdr(table, scorecard["pdr"], scorecard["judge"])
    _add_auc(table, scorecard["auc"])
    _add_sliced(table, scorecard["sliced"])
    _add_plain_metrics(table, scorecard)
    _add_verdicts(table, scorecard["verdicts"])
    _add_checkpoint(table, scorecard.get("checkpoint"))
    return table


def scorecard_heading(scorecard: dict[str, Any]) -> str | None:
    """Return the first line of a scorecard whose judge cannot be relied on, with the reasons; else None."""
    reasons = scorecard["judge"].get("failures")
    if not reasons:
        return None
    return f"The judge cannot be relied on: {'; '.join(reasons)}. Do not trust its values below."


def scorecard_notes(scorecard: dict[str, Any]) -> list[str]:
    """Return the reasons for missing metrics and verdicts, and the warnings: all too long for a table."""
    metrics_by_reason: dict[str, list[str]] = {}
    for name, metric in (
        ("paired", "paired FID"), ("unpaired", "unpaired FID"), ("pdr", "PDR"), ("auc", "AUC"),
        ("sliced", "distance in the judge's features"),
    ):  # fmt: skip
        if "not_computed" in scorecard[name]:
            metrics_by_reason.setdefault(scorecard[name]["not_computed"], []).append(metric)
    notes = [f"{', '.join(metrics)} not computed: {reason}" for reason, metrics in metrics_by_reason.items()]
    if "not_judged" in scorecard["verdicts"]:
        notes.append(f"No verdict: {scorecard['verdicts']['not_judged']}.")
    limits = [f"The judge: {limit}." for limit in scorecard["judge"].get("limits", [])]
    return notes + limits + [f"warning: {warning}" for warning in scorecard["warnings"]]


def selection_table(by: str, ranked: Sequence[Any]) -> Table:
    """Return the checkpoints of a run, best first, with every metric that was measured."""
    names = [field.name for field in dataclasses.fields(ranked[0])][2:]  # after checkpoint and step
    measured = [name for name in names if any(getattr(metrics, name) is not None for metrics in ranked)]
    table = _table(f"checkpoints ranked by {by}, best first", "checkpoint", *measured)
    for metrics in ranked:
        table.add_row(metrics.checkpoint, *(_number(getattr(metrics, name), 4) for name in measured))
    return table


def negative_types_table(metadata: dict[str, Any]) -> Table:
    """Return how well a detector or judge tells each set of dev sprites from real ones, and how many pass."""
    table = _table(f"{metadata['role']} on dev", "set", "n", "AUC (95 % interval)", "passing")
    table.add_row("real", NOTHING, NOTHING, f"{metadata['dev_passing']:.1%}")
    for entry in metadata["negative_types"]:
        auc = _with_interval(entry["auc"], entry.get("auc_interval"), 3)
        table.add_row(entry["negative_type"], str(entry["n"]), auc, f"{entry['passing']:.1%}")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=escape(title), title_justify="left", header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 or column == "reference" else "right")
    return table


def _distance_reference(distance: Mapping[str, Any], metric: str, digits: int) -> str:
    """Return the values of a distance that the completions' value is compared with."""
    if "real" in distance:
        real = distance["real"]
        value = _with_interval(real[metric], real[f"{metric}_interval"], digits)
        return f"real ({escape(real['sprites'])}): {value}"
    wrong, noise = (_number(distance[name][metric], digits) for name in ("wrong_completions", "noise"))
    return f"wrong completions {wrong}, noise {noise}"


def _add_auc(table: Table, auc: Mapping[str, Any]) -> None:
    """Add how well the judge tells completions from real sprites, and single draws if others were chosen."""
    if "not_computed" in auc:
        table.add_row("AUC, real against completed", MISSING, NOTHING)
        return
    value = _with_interval(auc["auc"], auc["interval"], 3)
    table.add_row("AUC, real against completed", value, f"{IDEAL}; {_references(auc, 3)}")
    if auc["preferred"] is not None:
        value = _with_interval(auc["preferred"], auc["preferred_interval"], 3)
        table.add_row("share of prompts whose real completion is preferred", value, IDEAL)
    single = auc.get("single_draw")
    if single:
        table.add_row("AUC of single draws", _with_interval(single["auc"], single["interval"], 3), SINGLE)
        if single["preferred"] is not None:
            value = _with_interval(single["preferred"], single["preferred_interval"], 3)
            table.add_row("real preferred to single draws", value, SINGLE)


def _add_sliced(table: Table, sliced: Mapping[str, Any]) -> None:
    """Add the distance of the completions from the truth in the judge's features."""
    name = "distance in the judge's features"
    if "not_computed" in sliced:
        table.add_row(name, MISSING, NOTHING)
        return
    value = _with_interval(sliced["distance"], sliced["interval"], 2)
    halves = f"halves of the real sprites: {_number(sliced['halves_of_real'], 2)}"
    table.add_row(name, value, halves)
    if "single_draw" in sliced:
        single = sliced["single_draw"]
        table.add_row("", _with_interval(single["distance"], single["interval"], 2), SINGLE)


def _references(metric: Mapping[str, Any], digits: int) -> str:
    """Return the values of noise, splices and the homework's sample."""
    found = metric["references"].items()
    return ", ".join(f"{escape(name)} {_number(value, digits)}" for name, value in found)


def _add_pdr(table: Table, pdr: Mapping[str, Any], judge: Mapping[str, Any]) -> None:
    """Add the detection rate, and that of single draws if a detector chose the completions."""
    if "not_computed" in pdr:
        table.add_row("PDR", MISSING, NOTHING)
        return
    real = pdr["real"]
    reference = f"real ({escape(real['sprites'])}): {_with_interval(real['rate'], real['interval'], 3)}"
    table.add_row(
        f"PDR, {judge['kind']} judge {pdr['judge']}",
        _with_interval(pdr["rate"], pdr["interval"], 3),
        reference,
    )
    if pdr["references"]:
        table.add_row("", "", f"[dim]{_references(pdr, 3)}[/]")
    if judge["failures"]:
        table.add_row("", "", "[red]the judge cannot be relied on: see above[/]")
    if "single_draw" in pdr:
        single = pdr["single_draw"]
        value = _with_interval(single["rate"], single["interval"], 3)
        table.add_row("PDR of single draws", value, SINGLE)


def _add_checkpoint(table: Table, checkpoint: Mapping[str, Any] | None) -> None:
    """Add the checkpoint that made the completions, and what chose it on which split."""
    if checkpoint:
        reason, split = checkpoint.get("chosen_for") or NOTHING, checkpoint.get("chosen_on")
        table.add_row("checkpoint", escape(checkpoint.get("folder") or NOTHING), escape(reason))
        if split and f"on {split}" not in reason:
            table.add_row("", "", f"[dim]chosen on {escape(split)}[/]")


def _add_plain_metrics(table: Table, scorecard: Mapping[str, Any]) -> None:
    """Add the metrics that need neither Inception nor the judge."""
    table.add_row("NLL of the completion, nats/token", _number(scorecard["nll"], 4), NOTHING)
    table.add_row("pixel accuracy", _number(scorecard["pixel_accuracy"], 3), NOTHING)
    for key, label in (
        (
            "nearest_training_completion",
            "memorisation check: share of pixels that differ from the nearest training sprite",
        ),
        ("diversity", "diversity: share of pixels that differ between two completions"),
        ("new_colours", "new colours per completion (not in the prompt)"),
    ):
        metric = scorecard[key]
        reference = f"real ({escape(metric['real_sprites'])}): {metric['real']:.3f}"
        if "p_value" in metric:
            reference += f"; {_difference(metric['p_value'])}"
        table.add_row(label, _number(metric["completions"], 3), reference)
        if key == "nearest_training_completion":
            table.add_row("", "", "[dim]training sprites in any orientation and any hue[/]")


def _difference(p_value: float) -> str:
    """Return in words whether two distributions differ by the Kolmogorov–Smirnov test."""
    result = "differs" if p_value < SIGNIFICANT else "does not differ significantly"
    return f"{result} from real sprites (KS test, p = {p_value:.2g})"


def _add_verdicts(table: Table, verdicts: Mapping[str, Any]) -> None:
    if "not_judged" in verdicts:
        table.add_row("verdict", "none: see below", NOTHING)
        return
    for year, bars in verdicts.items():
        for bar, verdict in bars.items():
            result = "[green]passed[/]" if verdict["passed"] else "[red]missed[/]"
            reference = f"FID ≤ {verdict['fid_at_most']}, PDR ≥ {verdict['pdr_at_least']}"
            share = verdict["both_halves_pass"]
            if share is not None:
                reference += "; passes on both the public and the private half in "
                reference += f"{100 * share:.0f} % of simulated splits"
            table.add_row(f"{bar} bar of {year}", result, reference)


def _with_interval(value: float, interval: Sequence[float] | None, digits: int) -> str:
    if interval is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"
