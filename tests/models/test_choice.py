"""`models/choice.py`: which checkpoint a name or a path means, why it was chosen, and on which split."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pokemon_gen.files import write_json
from pokemon_gen.models.choice import choose_checkpoint, current_selection
from pokemon_gen.selection import CheckpointMetrics, Selection, save_selection
from tests.builders import error_with, make_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run with two checkpoints, of which the first has the lower dev NLL."""
    return make_run(tmp_path / "run", {1: 1.0, 2: 2.0}, kept=[1, 2])


def save_choice(run: Path, steps: list[int], on: str = "dev") -> Path:
    """Save a selection that ranks the checkpoints of these steps, best first."""
    ranked = [CheckpointMetrics(f"checkpoint-{step}", step, *[None] * 6) for step in steps]
    return save_selection(run, Selection("nll", on, ranked, "because"), {})


def save_ensemble(folder: Path, *chosen_on: str | None) -> Path:
    """Write the description of an ensemble whose members were chosen on these splits."""
    members: list[dict[str, Any]] = [
        {"folder": f"member-{number}", "chosen_on": split} for number, split in enumerate(chosen_on)
    ]
    write_json(folder / "best" / "ensemble.json", {"schema": 2, "members": members})
    return folder


def test_the_lowest_dev_nll_is_chosen_among_the_checkpoints_that_were_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {100: 1.9, 200: 1.2, 300: 1.4, 1000: 1.5}, kept=[100, 300, 1000])
    choice = choose_checkpoint(run)
    assert choice.folder.name == "checkpoint-300"
    for fact in ("dev", "NLL", "3 checkpoints", "1.4000 nats/token"):
        assert fact in choice.reason


def test_without_any_measurement_the_last_checkpoint_is_chosen(tmp_path: Path) -> None:
    choice = choose_checkpoint(make_run(tmp_path / "run", {}, kept=[900, 1000]))
    assert choice.folder.name == "checkpoint-1000"
    assert "never measured" in choice.reason
    assert choice.chosen_on is None


def test_a_folder_with_another_name_is_not_a_checkpoint_of_the_run(run: Path) -> None:
    (run / "checkpoint-1").rename(run / "checkpoint-best")
    assert choose_checkpoint(run).folder.name == "checkpoint-2"


def test_a_checkpoint_that_is_named_explicitly_is_used(run: Path) -> None:
    assert choose_checkpoint(run / "checkpoint-2").folder == run / "checkpoint-2"


def test_a_missing_run_and_a_run_without_checkpoints_are_named(tmp_path: Path) -> None:
    with error_with("nowhere", "no such checkpoint or run"):
        choose_checkpoint("nowhere")
    with error_with(str(tmp_path), "`pokemon-gen train"):
        choose_checkpoint(tmp_path)


@pytest.mark.parametrize("on", ["dev", "fold"])
def test_a_selection_records_the_split_it_was_made_on(run: Path, on: str) -> None:
    best = save_choice(run, [2, 1], on)
    assert (choose_checkpoint(run).folder, choose_checkpoint(run).chosen_on) == (best, on)
    assert choose_checkpoint(best).chosen_on == on


def test_the_logged_nll_chooses_on_dev(run: Path) -> None:
    assert choose_checkpoint(run).chosen_on == "dev"


def test_no_split_chose_a_checkpoint_that_is_named_explicitly(run: Path) -> None:
    save_choice(run, [2, 1])
    assert choose_checkpoint(run / "checkpoint-2").chosen_on is None


@pytest.mark.parametrize(
    ("members", "expected"), [(("dev", "dev"), "dev"), ((None, "dev"), "dev"), ((None, None), None)]
)
def test_an_ensemble_is_chosen_on_the_split_of_its_members(
    tmp_path: Path, members: tuple[str | None, ...], expected: str | None
) -> None:
    folder = save_ensemble(tmp_path / "both", *members)
    choice = choose_checkpoint(folder)
    assert (choice.folder, choice.chosen_on) == (folder / "best", expected)
    assert "2 members" in choice.reason
    assert choose_checkpoint(folder / "best").chosen_on == expected


def test_a_selection_of_fewer_checkpoints_than_there_are_no_longer_counts(run: Path) -> None:
    save_choice(run, [2, 1])
    make_run(run, {1: 1.0, 2: 2.0, 3: 0.9}, kept=[3])
    assert current_selection(run) is None
    assert choose_checkpoint(run).folder.name == "checkpoint-3"


def test_a_selection_still_counts_if_checkpoints_were_deleted_since(run: Path) -> None:
    best = save_choice(run, [2, 1])
    for checkpoint in ("checkpoint-2", "checkpoint-1"):
        shutil.rmtree(run / checkpoint)
        assert choose_checkpoint(run).folder == best


def test_a_damaged_selection_is_named_with_the_command_that_repeats_it(run: Path) -> None:
    save_choice(run, [2, 1])
    (run / "selection.json").write_text("{}")
    with error_with(str(run / "selection.json"), f"`pokemon-gen select {run}`"):
        choose_checkpoint(run)
