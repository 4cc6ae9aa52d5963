"""`selection.py`: the lowest dev NLL of the completion, among what is still there and whole."""

import json
from pathlib import Path

import pytest

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.selection import choose_checkpoint


def make_run(folder: Path, nll: dict[int, float], kept: list[int]) -> Path:
    history = [{"step": step, "eval_completion_nll": value} for step, value in nll.items()]
    for step in kept:
        checkpoint = folder / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        for name in ("model.safetensors", "palette.json", "settings.json", "config.json", "sprites.json"):
            (checkpoint / name).touch()
        logged = [entry for entry in history if entry["step"] <= step]
        (checkpoint / "trainer_state.json").write_text(json.dumps({"log_history": logged}))
    return folder


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
