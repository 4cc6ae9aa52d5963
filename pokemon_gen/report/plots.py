"""Plots of a classifier's calibration, of a run's checkpoints, and of the memorisation check."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.files import atomic_file
from pokemon_gen.report.charts import Chart

BLUE, ORANGE, GRID = "#2f6db5", "#e07b1f", "#b9bec6"
"""Line colours. Colour-blind readers can distinguish the blue and the orange."""
CALIBRATION_BINS = 10
SELECTION_METRICS = {
    "detector": "detector's mean probability",
    "distance": "distance in the detector's features",
    "nll": "NLL of the completion",
    "train_loss": "training loss",
    "accuracy": "pixel accuracy",
    "fid": "paired FID",
}
"""The plotted metrics of a checkpoint and their titles. Some of them only inform and never choose."""


def calibration_bins(
    probabilities: NDArray[Any], labels: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the weight in each bin of the probability, that of real sprites, and the sum of probabilities.

    Real and other sprites weigh the same in total, as in the training of a classifier.
    """
    weights = np.where(labels == 1, 0.5 / (labels == 1).sum(), 0.5 / (labels == 0).sum())
    bins = np.clip((probabilities * CALIBRATION_BINS).astype(int), 0, CALIBRATION_BINS - 1)
    total, real, probability = (
        np.bincount(bins, weights * factor, CALIBRATION_BINS).astype(np.float64)
        for factor in (1, labels, probabilities)
    )
    return total, real, probability


def save_calibration(probabilities: NDArray[Any], labels: NDArray[Any], path: Path) -> None:
    """Plot how well a classifier's probabilities are calibrated, and write the PNG.

    The left plot shows the share of real sprites among those with a probability of about p. The right plot
    shows the distribution of the probabilities of real and of completed sprites.

    Args:
        probabilities: (N,) predicted probabilities of being real.
        labels: (N,) 1 for real sprites, 0 for completions.
        path: the PNG file.
    """
    figure, (left, right) = new_axes(2)
    total, real, probability = calibration_bins(probabilities, labels)
    filled = total > 0
    predicted, observed = probability[filled] / total[filled], real[filled] / total[filled]
    left.plot([0, 1], [0, 1], color=GRID, linewidth=1)
    left.plot(predicted, observed, color=BLUE, linewidth=1)
    left.scatter(predicted, observed, 12 + 400 * total[filled], color=BLUE)  # small bins are uncertain
    left.set(xlabel="predicted probability", ylabel="share that is real", title="calibration on dev")
    for label, name, colour in ((1, "real", BLUE), (0, "completed", ORANGE)):
        right.hist(
            probabilities[labels == label], np.linspace(0, 1, 21), density=True, alpha=0.6,
            color=colour, label=name,
        )  # fmt: skip
    right.set(xlabel="probability of being real", ylabel="density", title="dev sprites and completions")
    right.legend(frameon=False)
    save_figure(figure, path)


def save_selection_plot(checkpoints: Sequence[Mapping[str, Any]], by: str, path: Path) -> None:
    """Plot each measured metric over the steps of a run, mark the best checkpoint, and write the PNG.

    Args:
        checkpoints: the metrics of each checkpoint, best first, as in `selection.json`.
        by: the criterion of the selection.
        path: the PNG file.
    """
    names = [name for name in SELECTION_METRICS if any(entry[name] is not None for entry in checkpoints)]
    figure, axes = new_axes(len(names))
    by_step = sorted(checkpoints, key=lambda entry: entry["step"])
    for axis, name in zip(axes, names, strict=True):
        points = [(entry["step"], entry[name]) for entry in by_step if entry[name] is not None]
        axis.plot(*zip(*points, strict=True), "o-", color=ORANGE if name == by else BLUE, markersize=4)
        axis.axvline(checkpoints[0]["step"], color=GRID, linewidth=1, zorder=0)
        criterion = " (criterion)" if name == by else ""
        axis.set(xlabel="step", title=SELECTION_METRICS[name] + criterion)
    save_figure(figure, path)


def save_nearest_plot(nearest: Mapping[str, Any], path: Path) -> None:
    """Plot the memorisation check, and write the PNG.

    The curves are the distributions of the distances to the nearest training sprite, of completions and of
    real sprites. Completions near 0 are memorised.

    Args:
        nearest: `nearest_training_completion` of a scorecard.
        path: the PNG file.
    """
    figure, (axis,) = new_axes(1)
    real = f"real ({nearest['real_sprites']})"
    for name, label, colour in (("real", real, BLUE), ("completions", "completions", ORANGE)):
        axis.ecdf(nearest["distances"][name], color=colour, label=label)
    axis.set(
        xlabel="share of pixels that differ",
        ylabel="share of sprites below this distance",
        title="distance to the nearest training sprite\n(any orientation, any hue)",
        xlim=(0, None),
    )
    test = f"KS test, p = {nearest['p_value']:.2g}\n(small: they differ)"
    axis.legend(title=test, frameon=False, loc="upper left", alignment="left")
    save_figure(figure, path)


def save_charts(charts: Sequence[Chart], path: Path) -> None:
    """Draw charts side by side, with one legend, as the PNG of a report in Markdown."""
    figure, axes = new_axes(len(charts))
    for axis, chart in zip(axes, charts, strict=True):
        for number, line in enumerate(chart.lines):
            points = [(x, values[number]) for x, values in chart.table if values[number] is not None]
            axis.plot(*zip(*points, strict=True), label=line["name"])
        axis.set(title=chart.title, xlabel="step")
        axis.title.set_size("small")
    axes[0].legend(frameon=False, fontsize="small")
    save_figure(figure, path)


def new_axes(count: int) -> tuple[Any, Any]:
    """Return a figure and its `count` axes, three per row, for a plot of this package.

    The figure needs no display and does not use pyplot's global state.
    """
    from matplotlib.figure import Figure  # slow to import, and most commands draw no plot

    columns = min(count, 3)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(4 * columns, 3.4 * rows), layout="constrained", dpi=110)
    axes = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def save_figure(figure: Any, path: Path) -> None:
    """Write a PNG atomically."""
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")
