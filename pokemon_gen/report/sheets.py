"""What people look at: pictures of many sprites, enlarged without a blur.

A contact sheet shows sprites; a completion sheet also draws a line between each prompt and its completion.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pokemon_gen.constants import BACKGROUND, LENGTH, SIDE
from pokemon_gen.files import atomic_file
from pokemon_gen.palette import Palette, to_picture

SMALL, LARGE = 5, 16
"""Screen pixels a sprite's pixel takes along each side: 5 on a full sheet, up to 16 for a few."""
WIDTH = 1000
"""Screen pixels that a sheet of few sprites is enlarged to, about."""
COLUMNS = 16
GUTTER = 6
"""Screen pixels between sprites."""
PAPER = (214, 218, 224)
LINE = (228, 30, 72)
"""A red that stands out from sprites and paper alike."""
BLUE, ORANGE, GRID = "#2f6db5", "#e07b1f", "#b9bec6"
"""Of plots; the two hues stay apart for colour-blind eyes."""
CALIBRATION_BINS = 10
SELECTION_FIGURES = {
    "detector": "detector's mean probability",
    "distance": "distance in its features",
    "nll": "NLL of the completion",
    "train_loss": "training loss",
    "accuracy": "pixel accuracy",
    "fid": "paired FID",
}
"""What is drawn of each checkpoint, and its title."""


def draw_contact_sheet(sprites: Sequence[NDArray[Any]] | NDArray[Any], palette: Palette) -> Image.Image:
    """Draw sprites side by side, 16 a row.

    Args:
        sprites: N rows of up to 400 tokens; what a blind test does not have is left as paper.
        palette: the colours of the tokens.
    """
    scale = _scale(len(sprites))
    return _sheet([_tile(sprite, palette, scale) for sprite in sprites])


def draw_completions(sprites: NDArray[Any], palette: Palette, prompt_lengths: Sequence[int]) -> Image.Image:
    """Draw completed sprites, 16 a row: the prompt above a red line, the completion below it.

    Args:
        sprites: (N, 400) tokens.
        palette: the colours of the tokens.
        prompt_lengths: tokens that were given of each; where a prompt ends inside a row, the line
            steps there.
    """
    scale = _scale(len(sprites))
    return _sheet(
        [
            _with_line(_tile(sprite, palette, scale), length, scale)
            for sprite, length in zip(sprites, prompt_lengths, strict=True)
        ]
    )


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    with atomic_file(path) as aside:
        picture.save(aside, format="PNG")


def _scale(count: int) -> int:
    return max(SMALL, min(LARGE, WIDTH // (min(count, COLUMNS) * SIDE)))


def _tile(sprite: NDArray[Any], palette: Palette, scale: int) -> NDArray[np.uint8]:
    """Return one enlarged sprite, (20 * scale, 20 * scale, 3)."""
    whole = np.full(LENGTH, BACKGROUND, dtype=np.int64)
    whole[: len(sprite)] = sprite
    picture = to_picture(whole, palette).reshape(LENGTH, 3)
    picture[len(sprite) :] = PAPER
    return picture.reshape(SIDE, SIDE, 3).repeat(scale, 0).repeat(scale, 1)


def _with_line(tile: NDArray[np.uint8], prompt_length: int, scale: int) -> NDArray[np.uint8]:
    """Draw the border between prompt and completion, two screen pixels thick."""
    row, column = divmod(prompt_length, SIDE)
    top, bottom, step = row * scale, (row + 1) * scale, column * scale
    tile[max(top - 1, 0) : top + 1, step:] = LINE
    if column:
        tile[bottom - 1 : bottom + 1, :step] = LINE
        tile[top:bottom, step - 1 : step + 1] = LINE
    return tile


def _sheet(tiles: list[NDArray[np.uint8]]) -> Image.Image:
    columns = min(COLUMNS, len(tiles))
    side = len(tiles[0])
    pitch = side + GUTTER
    height = math.ceil(len(tiles) / columns) * pitch + GUTTER
    sheet = np.full((height, columns * pitch + GUTTER, 3), PAPER, dtype=np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = GUTTER + row * pitch, GUTTER + column * pitch
        sheet[top : top + side, left : left + side] = tile
    return Image.fromarray(sheet)


def save_calibration(probabilities: NDArray[Any], labels: NDArray[Any], path: Path) -> None:
    """Draw how far a classifier's probabilities can be believed.

    Left: of the sprites given a probability of about p, the share that is real. Right: how the
    probabilities of real and of completed sprites lie.

    Args:
        probabilities: (N,) of being real.
        labels: (N,) 1 for real sprites, 0 for completions.
        path: the PNG.
    """
    figure, (left, right) = _axes(2)
    weights = np.where(labels == 1, 0.5 / (labels == 1).sum(), 0.5 / (labels == 0).sum())  # as in training
    bins = np.clip((probabilities * CALIBRATION_BINS).astype(int), 0, CALIBRATION_BINS - 1)
    total = np.bincount(bins, weights, CALIBRATION_BINS)
    real = np.bincount(bins, weights * labels, CALIBRATION_BINS)
    centre = np.bincount(bins, weights * probabilities, CALIBRATION_BINS)
    filled = total > 0
    left.plot([0, 1], [0, 1], color=GRID, linewidth=1)
    given, found = centre[filled] / total[filled], real[filled] / total[filled]
    left.plot(given, found, color=BLUE, linewidth=1)
    left.scatter(given, found, 12 + 400 * total[filled], color=BLUE)  # a bin of few sprites says little
    left.set(xlabel="probability given", ylabel="share that is real", title="calibration on dev")
    for label, name, colour in ((1, "real", BLUE), (0, "completed", ORANGE)):
        right.hist(
            probabilities[labels == label], np.linspace(0, 1, 21), density=True, alpha=0.6,
            color=colour, label=name,
        )  # fmt: skip
    right.set(xlabel="probability of being real", ylabel="density", title="dev sprites and completions")
    right.legend(frameon=False)
    _save_figure(figure, path)


def save_selection_plot(checkpoints: Sequence[dict[str, Any]], by: str, path: Path) -> None:
    """Draw every criterion that was measured over the steps of a run; the chosen checkpoint is marked.

    Args:
        checkpoints: figures of each, best first, as in `selection.json`.
        by: the criterion that chose.
        path: the PNG.
    """
    names = [n for n in SELECTION_FIGURES if any(c[n] is not None for c in checkpoints)]
    figure, axes = _axes(len(names))
    ordered = sorted(checkpoints, key=lambda c: c["step"])
    for axis, name in zip(axes, names, strict=True):
        points = [(c["step"], c[name]) for c in ordered if c[name] is not None]
        axis.plot(*zip(*points, strict=True), "o-", color=ORANGE if name == by else BLUE, markersize=4)
        axis.axvline(checkpoints[0]["step"], color=GRID, linewidth=1, zorder=0)
        axis.set(xlabel="step", title=SELECTION_FIGURES[name] + (" (chose)" if name == by else ""))
    _save_figure(figure, path)


def save_nearest_plot(nearest: dict[str, Any], path: Path) -> None:
    """Draw how far completions, and real ones, are from the nearest of train: what lies left is by heart.

    Args:
        nearest: `nearest_training_completion` of a scorecard.
        path: the PNG.
    """
    figure, (axis,) = _axes(1)
    real = f"real ({nearest['real_sprites']})"
    for name, label, colour in (("real", real, BLUE), ("completions", "completions", ORANGE)):
        axis.ecdf(nearest["distances"][name], color=colour, label=label)
    axis.set(
        xlabel="share of pixels that differ",
        ylabel="share of sprites nearer than this",
        title="distance to the nearest of train,\nany way up, any hue",
        xlim=(0, None),
    )
    test = f"Kolmogorov–Smirnov p {nearest['p_value']:.2g}\n(small: unlike)"
    axis.legend(title=test, frameon=False, loc="upper left", alignment="left")
    _save_figure(figure, path)


def _axes(count: int) -> tuple[Any, Any]:
    """Return a figure and its axes, three a row; without a display, and without pyplot's global state."""
    from matplotlib.figure import Figure  # slow to load, and most verbs draw no plot

    columns = min(count, 3)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(4 * columns, 3.4 * rows), layout="constrained", dpi=110)
    axes = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def _save_figure(figure: Any, path: Path) -> None:
    with atomic_file(path) as aside:
        figure.savefig(aside, format="png")
