"""`selection.py`: checkpoints are ranked by a criterion, and the best one is copied."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pokemon_gen.models.choice import choose_checkpoint
from pokemon_gen.selection import SCHEMA, CheckpointMetrics, Selection, rank, save_selection
from tests.builders import error_with, make_run


def metrics_of(step: int, **values: Any) -> CheckpointMetrics:
    """Return metrics of a checkpoint; keywords replace the defaults."""
    defaults = {"detector": 0.5, "distance": 1.0, "nll": 1.5, "train_loss": 1.0, "accuracy": 0.4, "fid": None}
    return CheckpointMetrics(f"checkpoint-{step}", step, **{**defaults, **values})


@pytest.mark.parametrize(("by", "best"), [("detector", 3), ("nll", 2), ("fid", 2)])
def test_each_criterion_ranks_in_its_own_direction(by: Any, best: int) -> None:
    ranked = rank(
        [
            metrics_of(1, detector=0.2, nll=1.9, fid=90.0),
            metrics_of(2, detector=0.5, nll=1.4, fid=70.0),
            metrics_of(3, detector=0.7, nll=1.6, fid=80.0),
        ],
        by,
    )
    assert ranked[0].step == best


def test_the_lower_nll_decides_between_equal_values() -> None:
    ranked = rank(
        [metrics_of(1, nll=1.6), metrics_of(2, nll=1.4, detector=0.50001), metrics_of(3, nll=1.5)], "detector"
    )
    assert [metrics.step for metrics in ranked] == [2, 3, 1]


def test_a_checkpoint_without_the_value_is_ranked_last() -> None:
    """Such as one of a training that diverged in half precision."""
    ranked = rank(
        [metrics_of(1, nll=None, detector=None), metrics_of(2), metrics_of(3, nll=None)], "detector"
    )
    assert [metrics.step for metrics in ranked] == [2, 3, 1]


def test_a_criterion_that_was_not_measured_cannot_choose() -> None:
    with error_with("fid", "no checkpoint"):
        rank([metrics_of(1), metrics_of(2)], "fid")


def test_a_selection_is_saved_with_a_copy_that_can_be_loaded_but_not_resumed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {1: 1.0, 2: 2.0}, kept=[1, 2])
    ranked = [metrics_of(2), metrics_of(1)]
    best = save_selection(run, Selection("detector", "dev", ranked, "because"), {"x": 1})
    assert best == run / "best"
    assert not (best / "optimizer.pt").exists()
    assert (best / "model.safetensors").exists()
    choice = choose_checkpoint(run)
    assert (choice.folder, choice.reason) == (best, "because")
    saved = json.loads((run / "selection.json").read_text())
    assert (saved["schema"], saved["chosen"], saved["x"]) == (SCHEMA, "checkpoint-2", 1)
    assert [metrics["step"] for metrics in saved["checkpoints"]] == [2, 1]


def test_a_kill_during_a_selection_leaves_the_old_choice_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", {1: 1.0, 2: 2.0}, kept=[1, 2])
    selection = Selection("nll", "dev", [metrics_of(2), metrics_of(1)], "because")
    save_selection(run, selection, {})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", killed)
        with pytest.raises(KeyboardInterrupt):
            save_selection(run, replace(selection, reason="new"), {})
    assert choose_checkpoint(run).reason == "because"
    (run / "selection.json").unlink()  # killed after the old choice was removed
    assert choose_checkpoint(run).folder.name == "checkpoint-1"
