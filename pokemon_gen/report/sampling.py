"""The study of sampling as a chart, a table in a file, and one HTML page.

The chart shows quality over diversity. Better is up and right, whichever sign a measure has, so that the best
trade-offs are the upper right edge of the points. A point has its setting's number in the table.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.report.html import render
from pokemon_gen.report.inline import png_address
from pokemon_gen.report.plots import BLUE, GRID, ORANGE, new_axes, save_figure
from pokemon_gen.report.scorecard_rows import number, with_interval

CHART_SIZE = (9.0, 6.0)
"""Width and height of the chart in inches."""
REFERENCE_DASHES = ("--", ":")
"""The lines of the references: true completions or continuations, and those of other prompts."""
LABEL_DISTANCE = 15
"""Pixels between a point of the chart and its label."""
TEMPERATURE_COLOURS = "cividis"
"""The colour map of temperatures: dark is low. Colour-blind readers see the same order."""


@dataclass(frozen=True)
class Measure:
    """What is measured of the samples of a prompt.

    Attributes:
        title: its name in tables and on axes.
        better: which values are better; None where that depends on real ones.
        digits: after the decimal point.
        meaning: a sentence for the page.
        lowest: the lowest possible value, at which intervals end.
    """

    title: str
    better: Literal["higher", "lower"] | None
    digits: int
    meaning: str
    lowest: float = 0.0

    @property
    def sign(self) -> int:
        """The factor that makes higher values better."""
        return -1 if self.better == "lower" else 1


MEASURES = {
    "judge": Measure(
        "judge's probability", "higher", 3, "The judge's mean probability that a completion is a real sprite."
    ),
    "coherence": Measure(
        "coherence", "higher", 3, "The cosine between the embeddings of a prompt and its continuation.",
        lowest=-1,
    ),
    "nll": Measure(
        "NLL, nats/token", "lower", 3,
        "The negative log-likelihood of the completion under the model at temperature 1. A model finds its "
        "own likeliest samples best, dull ones too: values below those of true completions are no success.",
    ),
    "nll_character": Measure(
        "NLL, nats/character", "lower", 3,
        "The negative log-likelihood of the continuation under the model at temperature 1, per character. "
        "Values below those of true continuations are no success: a text that repeats itself is likely.",
    ),
    "distance": Measure(
        "pairwise distance", "higher", 3,
        "The mean share of the 160 pixels in which two completions of one prompt differ.",
    ),
    "self_bleu": Measure(
        "self-BLEU", "lower", 3, "The mean BLEU-4 of a continuation against all others of its prompt."
    ),
    "patch_overlap": Measure(
        "patch overlap", "lower", 3,
        "The share of 3x3 patches that another completion of the prompt has at the same place.",
    ),
    "distinct": Measure(
        "distinct-2", "higher", 3, "The share of different ones among all pairs of words of a prompt."
    ),
    "repetition": Measure(
        "repetition", None, 3, "The share of four-word sequences that a continuation holds already."
    ),
    "repeated_pixels": Measure(
        "repeated pixels", None, 3, "The share of a completion's pixels that equal the pixel above."
    ),
    "new_colours": Measure(
        "new colours", None, 2, "The number of colours in a completion that are not in its prompt."
    ),
}  # fmt: skip
"""Every measure, the quality first, in the order of the table's columns."""


@dataclass(frozen=True)
class Sampling:
    """A setting of the sampling; see `CompletionSettings`.

    Attributes:
        top_k: number of likeliest tokens to sample from; 0 means all.
        top_p: probability of the tokens to sample from; 1 means all.
        temperature: divisor of the logits.
    """

    top_k: int
    top_p: float
    temperature: float

    @property
    def words(self) -> str:
        """The setting in words."""
        return f"top-k {self.top_k or 'off'}, top-p {self.top_p:g}, temperature {self.temperature:g}"


@dataclass(frozen=True)
class SamplingEntry(Sampling):
    """The values of one setting of the sampling.

    Attributes:
        means: measure → mean over the prompts.
        intervals: measure → its 95 % interval; None without one.
    """

    means: Mapping[str, float]
    intervals: Mapping[str, Sequence[float] | None]


@dataclass(frozen=True)
class SamplingContent:
    """Everything that the page of a study of sampling shows.

    Attributes:
        name: of the run.
        quality: the measure on the chart's vertical axis.
        diversity: that on its horizontal axis.
        entries: the settings in the order of their numbers, from 1.
        front: the indices of the entries that no other one beats in both measures, by rising diversity.
        knee: the index of the knee; None if there is none.
        knee_share: the share of resamples of the prompts that have the same knee; None without a knee.
        references: kind of texts or sprites → measure → mean, such as true completions.
        override: the first part of the settings' names: `completion` or `generation`.
        sizes: what was sampled, in a sentence.
        notes: what to know about the values.
    """

    name: str
    quality: str
    diversity: str
    entries: Sequence[SamplingEntry]
    front: Sequence[int]
    knee: int | None
    knee_share: float | None
    references: Mapping[str, Mapping[str, float]]
    override: str
    sizes: str
    notes: Sequence[str]

    @property
    def measures(self) -> dict[str, Measure]:
        """The measures that the entries have."""
        return {name: measure for name, measure in MEASURES.items() if name in self.entries[0].means}


def save_tradeoff_plot(content: SamplingContent, path: Path) -> None:
    """Plot quality over diversity with 95 % intervals, mark the front and the knee, and write the PNG."""
    figure, (axis,) = new_axes(1)
    figure.set_size_inches(*CHART_SIZE)
    axes = content.diversity, content.quality
    points = np.array([[entry.means[name] for name in axes] for entry in content.entries])
    x_arms, y_arms = (np.array([_arms(entry, name) for entry in content.entries]).T for name in axes)
    axis.errorbar(*points.T, y_arms, x_arms, fmt="none", ecolor=GRID, elinewidth=0.8, zorder=1)
    axis.plot(*points[list(content.front)].T, color=BLUE, zorder=2)
    temperatures = [entry.temperature for entry in content.entries]
    dots = axis.scatter(*points.T, 40, temperatures, cmap=TEMPERATURE_COLOURS, zorder=3)
    figure.colorbar(dots, ax=axis, label="temperature")
    if content.knee is not None:
        words = f"knee: {content.knee + 1}, {content.entries[content.knee].words}"
        axis.scatter(
            *points[content.knee],
            220,
            facecolors="none",
            edgecolors=ORANGE,
            linewidths=2,
            zorder=4,
            label=words,
        )
    heights = {n: v[content.quality] for n, v in content.references.items() if content.quality in v}
    for (name, height), dashes in zip(heights.items(), REFERENCE_DASHES, strict=False):
        axis.axhline(height, color="black", linewidth=1, linestyle=dashes, zorder=0, label=name)
    if content.knee is not None or heights:
        axis.legend(frameon=False, loc="lower left")
    x_measure, y_measure = (MEASURES[name] for name in axes)
    axis.set(
        xlabel=f"diversity: {x_measure.title} (right is more diverse)",
        ylabel=f"quality: {y_measure.title} (up is better)",
        title=f"{content.name}: quality against diversity, with 95 % intervals",
        xlim=axis.get_xlim()[:: x_measure.sign],
        ylim=axis.get_ylim()[:: y_measure.sign],
    )
    _number_points(axis, points)
    save_figure(figure, path)


def _number_points(axis: Any, points: NDArray[np.float64]) -> None:
    """Write the number of each point near it, from 1; points is (N, 2)."""
    offsets = label_offsets(axis.transData.transform(points))
    for place, (point, offset) in enumerate(zip(points, offsets, strict=True), start=1):
        axis.annotate(
            str(place), point, offset, textcoords="offset pixels", ha="center", va="center", fontsize=8,
            zorder=5,
        )  # fmt: skip


def label_offsets(points: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Place a label at each point, as far as possible from all other points and labels.

    Args:
        points: (N, 2) in pixels.

    Returns:
        The place of each label from its point, in pixels; one of eight directions.
    """
    angles = np.arange(8) * np.pi / 4
    around = LABEL_DISTANCE * np.stack([np.cos(angles), np.sin(angles)], axis=1)  # (8, 2)
    taken = points
    offsets = []
    for point in points:
        places = point + around
        gaps = np.linalg.norm(places[:, None] - taken, axis=-1).min(1)  # (8,)
        best = int(gaps.argmax())
        taken = np.concatenate([taken, places[best : best + 1]])
        offsets.append((float(around[best, 0]), float(around[best, 1])))
    return offsets


def sampling_csv(content: SamplingContent) -> str:
    """Return the table as CSV: a line for each setting; empty cells where a value has no interval."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    ends = [f"{name}{end}" for name in content.measures for end in ("", "_low", "_high")]
    writer.writerow(["number", "top_k", "top_p", "temperature", *ends, "on_front", "knee"])
    for row, entry in enumerate(content.entries):
        values = [
            value
            for name in content.measures
            for value in (entry.means[name], *(entry.intervals[name] or ("", "")))
        ]
        marks = [int(row in content.front), int(row == content.knee)]
        writer.writerow([row + 1, entry.top_k, entry.top_p, entry.temperature, *values, *marks])
    return file.getvalue()


def sampling_page(content: SamplingContent, chart: bytes) -> str:
    """Return the page of a study.

    Args:
        content: what it shows.
        chart: the PNG of `save_tradeoff_plot`.
    """
    return render(
        "sampling.html.j2",
        content=content,
        knee=None if content.knee is None else content.entries[content.knee],
        rows=[_cells(content, row) for row in range(len(content.entries))],
        references={name: _reference_cells(content, values) for name, values in content.references.items()},
        chart=png_address(chart),
    )


def _arms(entry: SamplingEntry, name: str) -> tuple[float, float]:
    """Return how far an interval reaches below and above its mean; 0 without one."""
    mean, interval = entry.means[name], entry.intervals[name]
    return (mean - interval[0], interval[1] - mean) if interval else (0.0, 0.0)


def _cells(content: SamplingContent, row: int) -> dict[str, Any]:
    """Return a row of the page's table."""
    entry = content.entries[row]
    return {
        "number": row + 1,
        "words": entry.words,
        "values": [
            with_interval(entry.means[name], entry.intervals[name], measure.digits)
            for name, measure in content.measures.items()
        ],
        "on_front": row in content.front,
        "is_knee": row == content.knee,
    }


def _reference_cells(content: SamplingContent, values: Mapping[str, float]) -> list[str]:
    return [number(values.get(name), measure.digits) for name, measure in content.measures.items()]
