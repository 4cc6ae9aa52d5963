"""The rows of several scorecards side by side, and which of their differences are larger than chance.

A difference is judged by its own 95 % interval, which follows from the intervals of the two values (the
method "MOVER": Zou & Donner 2008, "Construction of confidence limits about effect measures: a general
approach"). It treats the values as independent. Runs that complete the same prompts have values that mostly
rise and fall together, for which the interval is too wide rather than too narrow.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.report.scorecard_rows import MetricRow, interval_of_difference, scorecard_rows

HOW_JUDGED = (
    "A difference counts if its 95 % interval does not contain 0. The interval follows from those of the two "
    "values, as if these were independent (Zou & Donner 2008)."
)
HOW_PAIRED = (
    " For the NLL, the pixel accuracy and the new colours, it follows from the differences of the same "
    "sprites."
)
NORMAL = 1.96
"""Standard errors on each side of a mean that contain 95 % of a normal distribution."""
_NAMES = {
    "sprites": "sprites", "judge": "judge", "protocol": "FID protocol", "reference": "reference",
    "n": "number of sprites", "truth": "true sprites", "real": "real sprites",
}  # fmt: skip
Difference: TypeAlias = tuple[float, float, float]
"""A difference, and the limits of its 95 % interval."""


@dataclass(frozen=True)
class Cell:
    """A run's value of a metric, and how it differs from the first run's.

    Attributes:
        value: as text.
        kind: `better`, `worse` or `different` for a difference larger than its interval, `same` for a smaller
            one, `unknown` if it cannot be judged, `none` for the first run and for words.
        words: the judgement.
    """

    value: str
    kind: Literal["better", "worse", "different", "same", "unknown", "none"] = "none"
    words: str = ""


@dataclass(frozen=True)
class ComparedRow:
    """A metric of all runs, in their order."""

    metric: str
    cells: list[Cell]


def compared_rows(
    scorecards: Sequence[Mapping[str, Any] | None],
    of_each: Mapping[str, Sequence[NDArray[np.float64]]] = MappingProxyType({}),
) -> list[ComparedRow]:
    """Return the rows of scorecards side by side, each compared with the first run's.

    Args:
        scorecards: one for each run; None where a run has none.
        of_each: name of a row → its value of each sprite, (N,) for each run on the same sprites. These rows
            are compared sprite by sprite, which shows smaller differences.
    """
    found = [
        {row.name: row for row in scorecard_rows(card) if row.metric} if card else {} for card in scorecards
    ]
    names = dict.fromkeys(name for rows in found for name in rows)
    compared = []
    for name in names:
        rows = [run.get(name) for run in found]
        cells = [_first_cell(rows[0])]
        for number, row in enumerate(rows[1:], start=1):
            values = of_each.get(name)
            paired = _paired_difference(values[0], values[number]) if values else None
            cells.append(_cell(rows[0], row, paired))
        compared.append(ComparedRow(name, cells))
    return compared


def difference_of(first: MetricRow, other: MetricRow) -> Difference | None:
    """Return other - first with its 95 % interval by MOVER; None if a value has no interval."""
    if first.interval is None or other.interval is None or first.estimate is None or other.estimate is None:
        return None
    limits = interval_of_difference(first.estimate, first.interval, other.estimate, other.interval)
    return other.estimate - first.estimate, *limits


def _paired_difference(first: NDArray[np.float64], other: NDArray[np.float64]) -> Difference:
    """Return the mean of other - first over the same sprites with its 95 % interval."""
    differences = other - first
    error, mean = (
        NORMAL * float(differences.std(ddof=1)) / math.sqrt(len(differences)),
        float(differences.mean()),
    )
    return mean, mean - error, mean + error


def _first_cell(row: MetricRow | None) -> Cell:
    return Cell("no scorecard" if row is None else row.value)


def _cell(first: MetricRow | None, row: MetricRow | None, paired: Difference | None) -> Cell:
    """Return a run's cell, compared with the first run's."""
    if row is None:
        return Cell("not in its scorecard", "unknown", "cannot be compared")
    if first is None or first.estimate is None or row.estimate is None:
        is_number = row.better is not None and row.estimate is not None
        return Cell(row.value, "unknown", "the first run has no value") if is_number else Cell(row.value)
    others = [
        _NAMES.get(key, key)
        for key, value in (row.basis or {}).items()
        if (first.basis or {}).get(key) != value
    ]
    if others:
        return Cell(row.value, "unknown", f"not comparable: other {', '.join(others)}")
    found = paired or difference_of(first, row)
    if found is None:
        difference = row.estimate - first.estimate
        return Cell(row.value, "unknown", f"{difference:+.3g}; no interval to judge it by")
    difference, low, high = found
    width = f"{difference:+.3g} ({low:+.3g} to {high:+.3g})"
    if low <= 0 <= high:
        return Cell(row.value, "same", f"no clear difference: {width}")
    if row.better is None:
        return Cell(row.value, "different", f"different: {width}")
    rises = low > 0
    kind: Literal["better", "worse"] = "better" if rises == (row.better == "higher") else "worse"
    return Cell(row.value, kind, f"{kind}: {width}")


def differing_settings(settings: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return the settings that are not the same in all runs, by their dotted names, with their values."""
    flat = [dict(_flatten(one)) for one in settings]
    names = dict.fromkeys(name for one in flat for name in one)
    rows = [(name, [str(one.get(name, "not set")) for one in flat]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _flatten(section: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """Return every setting by its dotted name."""
    found: list[tuple[str, Any]] = []
    for key, value in section.items():
        name = f"{above}{key}"
        found += _flatten(value, f"{name}.") if isinstance(value, Mapping) and value else [(name, value)]
    return found
