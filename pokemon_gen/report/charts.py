"""Line charts as SVG inside an HTML file: they follow the page's colours, and scale without blur.

Lines differ in their dashes as well as in their colours. The values are also given in words and as a table.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 440, 264
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 14, 42
"""Margins of a chart, in its own units."""
DASHES = ("", "7 4", "2 4", "10 3 2 3", "12 6")
"""The dashes of the lines in their order: five, since with four colours twenty lines differ then."""
LOGGED = {
    "loss": "training loss",
    "eval_nll": "dev NLL, all pixels",
    "eval_completion_nll": "dev NLL, completion",
}
"""The values of a training's log that are plotted, in nats/token."""


@dataclass(frozen=True)
class Series:
    """A line: its name, and its points by increasing x."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """A chart, ready for a template.

    Attributes:
        title: what it shows.
        lines: a name, an SVG path, the dash and the points on the chart for each line.
        x_ticks: positions and labels; so for `y_ticks`.
        mark: the position and the label of a vertical line, or None.
        words: the chart in words, for people who do not see it.
        table: the values of each x: x, and one value or None for each line.
    """

    title: str
    lines: list[dict[str, Any]]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    mark: tuple[float, str] | None
    words: str
    table: list[tuple[float, list[float | None]]]


def logged_series(history: Iterable[Mapping[str, Any]], key: str, name: str) -> Series:
    """Return a value of a training's log over the steps; values that are not finite are left out."""
    found = {entry["step"]: entry[key] for entry in history if math.isfinite(entry.get(key, math.nan))}
    return Series(name, sorted(found.items()))


def line_chart(title: str, series: Sequence[Series], mark: tuple[float, str] | None = None) -> Chart | None:
    """Lay out a chart; None if no series has a point.

    Args:
        title: what it shows.
        series: the lines.
        mark: an x to mark with a vertical line, and its label.
    """
    drawn = [one for one in series if one.points]
    if not drawn:
        return None
    xs = [x for one in drawn for x, _ in one.points]
    ys = [y for one in drawn for _, y in one.points]
    x_low, x_high = _not_empty(min(0, *xs) if len(xs) > 1 else min(0, xs[0]), max(xs))
    y_ticks = _ticks(*_not_empty(min(ys), max(ys)))
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        down = TOP + (y_high - y) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        return round(across, 1), round(down, 1)

    lines = []
    for number, one in enumerate(series):  # a run keeps its colour and dashes in all charts
        if not one.points:
            continue
        places = [place(x, y) for x, y in one.points]
        path = "M" + "L".join(f"{x} {y}" for x, y in places)
        lines.append({"name": one.name, "path": path, "dash": DASHES[number % len(DASHES)], "places": places})
    inside = [tick for tick in _ticks(x_low, x_high) if x_low <= tick <= x_high]
    return Chart(
        title,
        lines,
        [(place(tick, y_low)[0], f"{tick:g}") for tick in inside],
        [(place(x_low, tick)[1], f"{tick:g}") for tick in y_ticks],
        (place(mark[0], y_low)[0], mark[1]) if mark else None,
        _words(title, drawn, mark),
        _table(drawn),
    )


def _not_empty(low: float, high: float) -> tuple[float, float]:
    """Return a range that is not empty."""
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers, about `count`, that enclose a range."""
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _words(title: str, series: Sequence[Series], mark: tuple[float, str] | None) -> str:
    """Return a chart in words: first, lowest and last value of each line."""
    parts = []
    for one in series:
        lowest_x, lowest = min(one.points, key=lambda point: point[1])
        (first_x, first), (last_x, last) = one.points[0], one.points[-1]
        parts.append(
            f"{one.name}: {first:.3f} at {first_x:g}, lowest {lowest:.3f} at {lowest_x:g}, {last:.3f} at "
            f"{last_x:g}"
        )
    marked = f". Marked: {mark[1]} at {mark[0]:g}" if mark else ""
    return f"{title}. {'; '.join(parts)}{marked}."


def _table(series: Sequence[Series]) -> list[tuple[float, list[float | None]]]:
    """Return the values at every x of any line."""
    values = [dict(one.points) for one in series]
    every = sorted({x for one in values for x in one})
    return [(x, [one.get(x) for one in values]) for x in every]
