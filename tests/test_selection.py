"""`selection.py`: ranks by what is asked for, never by the judge."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.choice import choose_checkpoint, current_selection
from pokemon_gen.selection import CheckpointMetrics, Selection, rank, save_selection


def make_run(folder: Path, nll: dict[int, float], kept: list[int]) -> Path:
    history = [{"step": step, "eval_completion_nll": value} for step, value in nll.items()]
    for step in kept:
        checkpoint = folder / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        save_file({"weight": torch.zeros(1)}, checkpoint / "model.safetensors")
        for name in ("palette.json", "settings.json", "config.json", "sprites.json"):
            (checkpoint / name).write_text("{}")
        (checkpoint / "optimizer.pt").touch()
        logged = [entry for entry in history if entry["step"] <= step]
        (checkpoint / "trainer_state.json").write_text(json.dumps({"log_history": logged}))
    return folder


def figures(step: int, **values: Any) -> CheckpointMetrics:
    measured = {"detector": 0.5, "distance": 1.0, "nll": 1.5, "train_loss": 1.0, "accuracy": 0.4}
    return CheckpointMetrics(f"checkpoint-{step}", step, **{**measured, "fid": None, **values})


def test_the_lowest_dev_nll_is_chosen_among_those_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {100: 1.9, 200: 1.2, 300: 1.4, 1000: 1.5}, kept=[100, 300, 1000])
    choice = choose_checkpoint(run)
    assert choice.folder.name == "checkpoint-300"
    assert choice.reason == "lowest dev completion NLL of 3 checkpoints, 1.4000 nats/token"


def test_a_folder_of_another_name_is_no_checkpoint_of_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {1: 1.0, 2: 2.0}, kept=[1, 2])
    (run / "checkpoint-1").rename(run / "checkpoint-best")
    assert choose_checkpoint(run).folder.name == "checkpoint-2"


def test_without_figures_the_last_is_chosen(tmp_path: Path) -> None:
    choice = choose_checkpoint(make_run(tmp_path / "run", {}, kept=[900, 1000]))
    assert choice.folder.name == "checkpoint-1000"
    assert "never measured" in choice.reason


def test_a_checkpoint_itself_is_taken_as_it_is(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {1: 1.0, 2: 2.0}, kept=[1, 2])
    assert choose_checkpoint(run / "checkpoint-2").folder == run / "checkpoint-2"


def test_a_run_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(PokemonGenError, match="nowhere: no such checkpoint or run"):
        choose_checkpoint("nowhere")
    with pytest.raises(PokemonGenError, match="no whole checkpoint in it; `pokemon-gen train"):
        choose_checkpoint(tmp_path)


@pytest.mark.parametrize(("by", "best"), [("detector", 3), ("nll", 2), ("fid", 2)])
def test_each_criterion_knows_its_direction(by: Any, best: int) -> None:
    ranked = rank(
        [
            figures(1, detector=0.2, nll=1.9, fid=90.0),
            figures(2, detector=0.5, nll=1.4, fid=70.0),
            figures(3, detector=0.7, nll=1.6, fid=80.0),
        ],
        by,
    )
    assert ranked[0].step == best


def test_a_tie_goes_to_the_lower_nll() -> None:
    ranked = rank(
        [figures(1, nll=1.6), figures(2, nll=1.4, detector=0.50001), figures(3, nll=1.5)], "detector"
    )
    assert [f.step for f in ranked] == [2, 3, 1]


def test_what_was_not_measured_cannot_be_chosen() -> None:
    """As after a training that diverged in half precision: no number is never the best one."""
    ranked = rank([figures(1, nll=None, detector=None), figures(2), figures(3, nll=None)], "detector")
    assert [f.step for f in ranked] == [2, 3, 1]
    with pytest.raises(PokemonGenError, match="no checkpoint has a figure of fid"):
        rank([figures(1), figures(2)], "fid")


def test_a_selection_is_kept_as_a_copy_fit_for_use(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {1: 1.0, 2: 2.0}, kept=[1, 2])
    best = save_selection(run, Selection("detector", "dev", [figures(2), figures(1)], "because"), {"x": 1})
    assert best == run / "best"
    assert not (best / "optimizer.pt").exists()
    assert (best / "model.safetensors").exists()
    choice = choose_checkpoint(run)
    assert (choice.folder, choice.reason) == (best, "because")
    facts = json.loads((run / "selection.json").read_text())
    assert (facts["schema"], facts["chosen"], facts["x"]) == (1, "checkpoint-2", 1)
    assert [c["step"] for c in facts["checkpoints"]] == [2, 1]


def test_a_selection_of_other_checkpoints_no_longer_counts(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {1: 1.0, 2: 2.0}, kept=[1, 2])
    save_selection(run, Selection("nll", "dev", [figures(2), figures(1)], "because"), {})
    make_run(run, {1: 1.0, 2: 2.0, 3: 0.9}, kept=[3])
    assert current_selection(run) is None
    assert choose_checkpoint(run).folder.name == "checkpoint-3"


def test_a_selection_counts_when_checkpoints_were_thrown_away_since(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {1: 1.0, 2: 2.0}, kept=[1, 2])
    best = save_selection(run, Selection("nll", "dev", [figures(2), figures(1)], "because"), {})
    for checkpoint in ("checkpoint-2", "checkpoint-1"):
        shutil.rmtree(run / checkpoint)
        assert choose_checkpoint(run).folder == best


def test_a_kill_while_selecting_leaves_the_old_choice_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", {1: 1.0, 2: 2.0}, kept=[1, 2])
    both = Selection("nll", "dev", [figures(2), figures(1)], "because")
    save_selection(run, both, {})
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            save_selection(run, replace(both, reason="new"), {})
    assert choose_checkpoint(run).reason == "because"
    (run / "selection.json").unlink()  # killed after that
    assert choose_checkpoint(run).folder.name == "checkpoint-1"
    shutil.rmtree(run / "best")
    save_selection(run, both, {})
    (run / "selection.json").write_text("{}")
    with pytest.raises(PokemonGenError, match=r"selection.json: not a selection"):
        choose_checkpoint(run)
