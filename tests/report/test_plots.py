"""`report/plots.py`: each plot is written as a PNG, also where some metrics are missing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pokemon_gen.report.plots import (
    SELECTION_METRICS,
    save_calibration,
    save_nearest_plot,
    save_selection_plot,
)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return image.size


def test_a_calibration_plot_is_saved(tmp_path: Path) -> None:
    labels = np.arange(40) % 2
    probabilities = np.clip(0.2 + 0.5 * labels + np.random.default_rng(0).normal(0, 0.1, 40), 0, 1)
    save_calibration(probabilities, labels, tmp_path / "new" / "calibration.png")
    assert size_of(tmp_path / "new" / "calibration.png")[0] > 800  # two plots in one row


@pytest.mark.parametrize(
    ("measured", "rows"),
    [(["nll"], 1), (["detector", "distance", "nll", "train_loss", "accuracy", "fid"], 2)],
)
def test_a_selection_plot_has_one_plot_per_measured_metric(
    tmp_path: Path, measured: list[str], rows: int
) -> None:
    def checkpoint(step: int, value: float) -> dict[str, Any]:
        metrics = {name: value if name in measured else None for name in SELECTION_METRICS}
        return {"checkpoint": f"checkpoint-{step}", "step": step, **metrics}

    best_first = [checkpoint(20, 1.1), checkpoint(10, 1.3), checkpoint(30, 1.4)]
    best_first[2]["nll"] = None  # a checkpoint that has diverged
    save_selection_plot(best_first, "nll", tmp_path / "selection.png")
    _, height = size_of(tmp_path / "selection.png")
    assert (height > 500) == (rows == 2)  # three plots per row, each 374 pixels high


def test_a_plot_of_the_memorisation_check_is_saved(tmp_path: Path) -> None:
    distances = {"completions": [0.1, 0.4, 0.5], "real": [0.5, 0.6]}
    nearest = {"real_sprites": "dev", "distances": distances, "p_value": 1.5e-12}
    save_nearest_plot(nearest, tmp_path / "nearest.png")
    size_of(tmp_path / "nearest.png")
