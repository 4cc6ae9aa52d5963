"""`selection.py`: ranks by what is asked for, never by the judge; watches within its time."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pokemon_gen import selection
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.build import build_model
from pokemon_gen.models.folders import choose_checkpoint, current_selection
from pokemon_gen.selection import DetectorWatch, Figures, Selection, rank, save_selection
from pokemon_gen.settings import CompletionSettings
from pokemon_gen.sprites.loading import Sprites
from tests.conftest import TINY_MODEL


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


def figures(step: int, **values: Any) -> Figures:
    measured = {"detector": 0.5, "distance": 1.0, "nll": 1.5, "train_loss": 1.0, "accuracy": 0.4}
    return Figures(f"checkpoint-{step}", step, **{**measured, "fid": None, **values})


def test_the_lowest_dev_nll_is_chosen_among_those_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {100: 1.9, 200: 1.2, 300: 1.4, 1000: 1.5}, kept=[100, 300, 1000])
    choice = choose_checkpoint(run)
    assert choice.checkpoint.name == "checkpoint-300"
    assert choice.reason == "lowest dev completion NLL of 3 checkpoints, 1.4000 nats/token"


def test_a_folder_of_another_name_is_no_checkpoint_of_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {1: 1.0, 2: 2.0}, kept=[1, 2])
    (run / "checkpoint-1").rename(run / "checkpoint-best")
    assert choose_checkpoint(run).checkpoint.name == "checkpoint-2"


def test_without_figures_the_last_is_chosen(tmp_path: Path) -> None:
    choice = choose_checkpoint(make_run(tmp_path / "run", {}, kept=[900, 1000]))
    assert choice.checkpoint.name == "checkpoint-1000"
    assert "never measured" in choice.reason


def test_a_checkpoint_itself_is_taken_as_it_is(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {1: 1.0, 2: 2.0}, kept=[1, 2])
    assert choose_checkpoint(run / "checkpoint-2").checkpoint == run / "checkpoint-2"


def test_a_run_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(PokemonGenError, match="nowhere: no such checkpoint or run"):
        choose_checkpoint("nowhere")
    with pytest.raises(PokemonGenError, match="no whole checkpoint in it; `pokemon-gen train"):
        choose_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("by", "best"), [("detector", 3), ("nll", 2), ("train_loss", 3), ("accuracy", 1), ("fid", 2)]
)
def test_each_criterion_knows_its_direction(by: Any, best: int) -> None:
    ranked = rank(
        [
            figures(1, detector=0.2, nll=1.9, train_loss=1.8, accuracy=0.5, fid=90.0),
            figures(2, detector=0.5, nll=1.4, train_loss=1.2, accuracy=0.4, fid=70.0),
            figures(3, detector=0.7, nll=1.6, train_loss=0.9, accuracy=0.3, fid=80.0),
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


def test_looking_leaves_the_trainings_random_stream_alone(few_sprites: Sprites) -> None:
    model = build_model({**TINY_MODEL, "attn_pdrop": 0.5}, 167, 0).train()
    watch = DetectorWatch(None, few_sprites.tokens("dev"), CompletionSettings(), every_epochs=1)  # type: ignore[arg-type]
    before = torch.get_rng_state()
    assert watch._estimate(model) > 0
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training


def test_a_selection_is_kept_as_a_copy_fit_for_use(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {1: 1.0, 2: 2.0}, kept=[1, 2])
    best = save_selection(run, Selection("detector", "dev", [figures(2), figures(1)], "because"), {"x": 1})
    assert best == run / "best"
    assert not (best / "optimizer.pt").exists()
    assert (best / "model.safetensors").exists()
    choice = choose_checkpoint(run)
    assert (choice.checkpoint, choice.reason) == (best, "because")
    facts = json.loads((run / "selection.json").read_text())
    assert (facts["schema"], facts["chosen"], facts["x"]) == (1, "checkpoint-2", 1)
    assert [c["step"] for c in facts["checkpoints"]] == [2, 1]


def test_a_selection_of_other_checkpoints_no_longer_counts(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {1: 1.0, 2: 2.0}, kept=[1, 2])
    save_selection(run, Selection("nll", "dev", [figures(2), figures(1)], "because"), {})
    make_run(run, {1: 1.0, 2: 2.0, 3: 0.9}, kept=[3])
    assert current_selection(run) is None
    assert choose_checkpoint(run).checkpoint.name == "checkpoint-3"


def test_a_selection_counts_when_checkpoints_were_thrown_away_since(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {1: 1.0, 2: 2.0}, kept=[1, 2])
    best = save_selection(run, Selection("nll", "dev", [figures(2), figures(1)], "because"), {})
    for checkpoint in ("checkpoint-2", "checkpoint-1"):
        shutil.rmtree(run / checkpoint)
        assert choose_checkpoint(run).checkpoint == best


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
    assert choose_checkpoint(run).checkpoint.name == "checkpoint-1"
    shutil.rmtree(run / "best")
    save_selection(run, both, {})
    (run / "selection.json").write_text("{}")
    with pytest.raises(PokemonGenError, match=r"selection.json: not a selection"):
        choose_checkpoint(run)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("cost", [1.0, 30.0])
def test_watching_takes_at_most_a_twentieth_of_the_training(
    monkeypatch: pytest.MonkeyPatch, cost: float
) -> None:
    clock = Clock()
    looks = []

    def complete(model: Any, prompts: np.ndarray, settings: Any) -> np.ndarray:
        clock.now += cost
        looks.append(clock.now)
        return np.zeros((len(prompts), 400), dtype=np.int64)

    monkeypatch.setattr(selection, "complete_prompts", complete)
    monkeypatch.setattr(DetectorWatch, "_estimate", lambda *_: cost)
    detector: Any = SimpleNamespace(probabilities=lambda sprites: np.full(len(sprites), 0.25))
    truth = np.zeros((4, 400), dtype=np.int64)
    watch = DetectorWatch(detector, truth, CompletionSettings(), every_epochs=2, clock=clock)
    state = SimpleNamespace(epoch=0.0, global_step=0, max_steps=4000, log_history=[])
    control = SimpleNamespace(should_training_stop=False)
    watch.on_train_begin(None, state, control)
    for epoch in range(1, 101):
        clock.now += 20  # a training epoch
        state.epoch, state.global_step = float(epoch), epoch * 40
        watch.on_epoch_end(None, state, control, model=SimpleNamespace(train=lambda: None))
        assert watch.spent <= 0.05 * clock.now + 1e-9
    assert len(looks) == len(state.log_history) == (50 if cost == 1 else 3)
    assert all(entry["eval_detector"] == 0.25 for entry in state.log_history)
    assert all(entry["step"] % 80 == 0 for entry in state.log_history)
    clock.now += 1e6
    control.should_training_stop, state.global_step = True, 3999  # somebody waits for it to end
    before = len(looks)
    watch.on_epoch_end(None, state, control)
    assert len(looks) == before
