"""What a study found: means with their spread, comparisons within a group, and names for bad curves.

Curves are named by rules, so that two people call the same curve the same. Each rule's limit is a constant
here, chosen on curves of this project's models; the limits are conventions, not laws.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import t as student

STILL_FALLING = 0.01
"""Underfitting: dev fell by more than this share in the last fifth of the training."""
OVERFITTED = 0.01
"""Overfitting: dev ends above its lowest value by more than this share, which it had before."""
GAP = 0.15
"""Overfitting: the training loss is below dev by more than this share of dev, and dev no longer falls."""
UNSTABLE = 1.3
"""Instability: a training loss is more than this times the lowest one before it."""
_LAST = 0.2
"""The last part of a training, in which dev should no longer fall."""


@dataclass(frozen=True)
class Row:
    """What a study found about one variant.

    Attributes:
        group: of the variant.
        variant: its name.
        runs: the results of its seeds.
        unit: of the values that are compared: `nats/token`, or `bits/character` for text.
        metric: the values that are compared, one for each seed.
        mean: of them; None if every training diverged.
        spread: their standard deviation; None for a single one.
        is_first: whether the others of the group are compared with this one: the first that has values.
        difference: mean difference from that one, paired by seed, with the half width of its 95 % interval
            (Student's t); None for that one itself, or if the two have no seed in common.
        words: names of its curves, most frequent first, with the number of seeds.
    """

    group: str
    variant: str
    runs: list[Mapping[str, Any]]
    unit: str
    metric: list[float]
    mean: float | None
    spread: float | None
    is_first: bool
    difference: tuple[float, float | None] | None
    words: list[str]

    @property
    def verdict(self) -> str:
        """The comparison with the first variant in words."""
        if self.is_first:
            return "the first"
        if self.difference is None:
            return "no seed in common" if self.metric else ""
        value, half = self.difference
        if half is None:
            return f"{value:+.4f} (one seed, so no interval)"
        clear = "lower" if value < -half else "higher" if value > half else "not clearly different"
        return f"{value:+.4f} ± {half:.4f}: {clear}"


def rows_of(results: Mapping[str, Any]) -> list[Row]:
    """Return a row for each variant of a study, in the order of the plan."""
    rows = []
    unit = "bits/character" if results["plan"]["learns"] == "text" else "nats/token"
    for group, members in results["plan"]["variants"].items():
        first: dict[int, float] = {}
        for variant in members:
            runs = [run for run in results["runs"].values() if _is(run, group, variant)]
            values = {run["seed"]: compared(run) for run in runs}
            finite = {seed: value for seed, value in values.items() if value is not None}
            is_first = not first and bool(finite)
            difference = _difference(finite, first) if first else None
            first = first or finite
            metric = list(finite.values())
            rows.append(
                Row(
                    group,
                    variant,
                    runs,
                    unit,
                    metric,
                    statistics.mean(metric) if metric else None,
                    statistics.stdev(metric) if len(metric) > 1 else None,
                    is_first,
                    difference,
                    _count([name_curve(run) for run in runs]),
                )
            )
    return rows


def _is(run: Mapping[str, Any], group: str, variant: str) -> bool:
    return bool(run["group"] == group and run["variant"] == variant)


def compared(run: Mapping[str, Any]) -> float | None:
    """Return the value that variants are compared by; None if the training diverged.

    On text it is the mean bits per character of the first text that was measured, which can be compared
    between tokenizers. On sprites it is the NLL of the completion in nats/token: the mean over the folds, or
    of the first sprites that were measured, or of dev at the end.
    """
    if run["diverged"]:
        return None
    if "folds" in run:
        return statistics.mean(run["folds"])
    if run.get("scores"):
        score = next(iter(run["scores"].values()))
        return float(score.get("bits_per_character", score["nll"]))
    return None if run["dev_completion"] is None else float(run["dev_completion"])


def _difference(values: Mapping[int, float], first: Mapping[int, float]) -> tuple[float, float | None] | None:
    """Return the mean difference of two variants over their common seeds, and half of its 95 % interval."""
    differences = [value - first[seed] for seed, value in values.items() if seed in first]
    if not differences:
        return None
    mean, count = statistics.mean(differences), len(differences)
    if count < 2:
        return mean, None
    error = statistics.stdev(differences) / math.sqrt(count)
    return mean, float(student.ppf(0.975, count - 1)) * error


def _count(names: Sequence[str]) -> list[str]:
    """Return each name with the number of seeds that have it, if not all of them do."""
    counts = {name: names.count(name) for name in sorted(set(names), key=lambda name: -names.count(name))}
    return [
        name if count == len(names) else f"{name} ({count} of {len(names)})" for name, count in counts.items()
    ]


def name_curve(run: Mapping[str, Any]) -> str:
    """Return the name of a training's curve: diverged, unstable, overfitted, underfitted, or settled.

    The rules are tried in this order:

    - diverged: the loss or a weight became infinite, or the training ends above where it began.
    - unstable: a logged training loss is `UNSTABLE` times the lowest one before it.
    - overfitted: dev ends `OVERFITTED` above its lowest value, or train is `GAP` below dev while dev no
      longer falls.
    - underfitted: dev fell by `STILL_FALLING` in the last fifth of the training.
    - settled: none of these.
    """
    train = [value for _, value in run["curves"]["train"]]
    dev: list[tuple[float, float]] = [(step, value) for step, value in run["curves"]["dev"]]
    if run["diverged"] or (len(train) > 1 and train[-1] >= train[0]):
        return "diverged"
    if _has_jump(train):
        return "unstable"
    if len(dev) < 2:
        return "not measured"
    falling = _fall_at_the_end(dev) > STILL_FALLING
    lowest, last = min(value for _, value in dev), dev[-1][1]
    gap = run["train"] is not None and run["train"] < (1 - GAP) * last
    if last > (1 + OVERFITTED) * lowest or (gap and not falling):
        return "overfitted"
    return "underfitted" if falling else "settled"


def _has_jump(train: Sequence[float]) -> bool:
    lowest = math.inf
    for value in train:
        if value > UNSTABLE * lowest:
            return True
        lowest = min(lowest, value)
    return False


def _fall_at_the_end(dev: Sequence[tuple[float, float]]) -> float:
    """Return by which share dev fell in the last part of the training."""
    start = (1 - _LAST) * dev[-1][0]
    before = [value for step, value in dev if step <= start] or [dev[0][1]]
    return 1 - dev[-1][1] / before[-1]
