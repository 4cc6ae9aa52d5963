"""`training/side_by_side.py`: members that train at once end as they would alone.

A CPU trains members one after another. These tests let it train them side by side, as a GPU does.
"""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.stages import train as stage
from pokemon_gen.stages.train import train_members
from pokemon_gen.training import captured
from pokemon_gen.training.callbacks import SharedCallback
from pokemon_gen.training.side_by_side import Turns, train_side_by_side
from tests.builders import MakeSettings, error_with
from tests.model_builders import assert_weights_equal, weights_of

RANDOM = {"neftune_noise_alpha": 5, "muon_learning_rate": 0.02}  # and GPT-2's dropout
AUGMENTED = {"flips": "all", "hue_shifts": 6}


@pytest.fixture(autouse=True)
def steps_in_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the steps that a GPU captures, so that members train side by side."""
    monkeypatch.setattr(captured, "why_not_captured", lambda *_: None)


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each group of members that trains side by side adds its size."""
    sizes: list[int] = []
    together = train_side_by_side

    def counted(trainings: Any) -> None:
        sizes.append(len(trainings))
        together(trainings)

    monkeypatch.setattr(stage, "train_side_by_side", counted)
    return sizes


class Steps(SharedCallback):
    """Records the folder of the run whose step ends."""

    def __init__(self) -> None:
        self.folders: list[str] = []

    def on_step_end(self, args: Any, *rest: Any, **kwargs: Any) -> None:
        self.folders.append(Path(args.output_dir).name)


class Own(TrainerCallback):
    """A person's callback, which may keep the state of one training."""


def test_members_end_as_they_would_alone(tiny: MakeSettings, few_sprites: Sprites, groups: list[int]) -> None:
    steps = Steps()
    settings = tiny(name="together", members=3, training=RANDOM, augmentation=AUGMENTED)
    results = train_members(settings, few_sprites, [steps])
    assert groups == [3]
    assert steps.folders[:4] == ["member-0", "member-1", "member-2", "member-0"]
    assert [result.status for result in results] == ["finished"] * 3
    alone = tiny(name="alone", members=3, training=RANDOM, augmentation=AUGMENTED)
    others = train_members(alone, few_sprites, [Own()])
    assert groups == [3]  # a person's callback would mix the trainings up
    for result, other in zip(results, others, strict=True):
        assert result.dev_nll == other.dev_nll
        assert_weights_equal(result.folder / "checkpoint-4", weights_of(other.folder / "checkpoint-4"))
    assert results[0].dev_nll != results[1].dev_nll


def test_ctrl_c_stops_every_member_with_a_checkpoint_and_all_resume(
    tiny: MakeSettings, few_sprites: Sprites, groups: list[int]
) -> None:
    class CtrlC(SharedCallback):
        """Sends Ctrl-C in the second step of the first member."""

        def on_step_begin(self, args: Any, state: Any, *rest: Any, **kwargs: Any) -> None:
            if args.output_dir.endswith("member-0") and state.global_step == 1:
                os.kill(os.getpid(), signal.SIGINT)

    settings = tiny(name="stopped", members=2, training=RANDOM)
    stopped = train_members(settings, few_sprites, [CtrlC()])
    assert [result.status for result in stopped] == ["interrupted"] * 2
    assert all(result.step < 4 for result in stopped)
    resumed = train_members(settings, few_sprites)
    assert groups == [2, 2]
    whole = train_members(tiny(name="whole", members=2, training=RANDOM), few_sprites)
    for result, other in zip(resumed, whole, strict=True):
        assert_weights_equal(result.folder / "checkpoint-4", weights_of(other.folder / "checkpoint-4"))


def test_a_member_that_fails_stops_the_others_with_a_checkpoint(
    tiny: MakeSettings, few_sprites: Sprites, groups: list[int]
) -> None:
    class FailSecond(SharedCallback):
        def on_step_end(self, args: Any, state: Any, *rest: Any, **kwargs: Any) -> None:
            if args.output_dir.endswith("member-1") and state.global_step == 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")

    settings = tiny(name="failed", members=3, training={"max_steps": 6, "save_steps": 6})
    with error_with("training.per_device_train_batch_size", "memory"):
        train_members(settings, few_sprites, [FailSecond()])
    saved = sorted(path.parent.name for path in Path("checkpoints/failed").glob("member-*/checkpoint-*"))
    assert saved == ["member-0", "member-2"]
    assert groups == [3]


def test_a_thread_that_leaves_does_not_stop_the_others() -> None:
    turns = Turns(3)
    turns.wait(0)
    turns.leave(0)
    turns.wait(1)  # would wait for ever if no one had handed over
    turns.leave(1)
    turns.wait(2)
    turns.pass_on(2)  # nobody else is left
    turns.leave(2)


def test_an_error_of_a_member_is_not_lost(
    tiny: MakeSettings, few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(training: Any) -> None:
        raise PokemonGenError("the disk is full")

    monkeypatch.setattr("pokemon_gen.training.side_by_side.run_training", fails)
    with error_with("the disk is full"):
        train_members(tiny(members=2), few_sprites)


def test_members_that_started_in_different_precisions_are_not_trained_together(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    settings = tiny(members=2, training={"max_steps": 6, "save_steps": 2})
    train_members(settings, few_sprites)
    for member in (0, 1):
        shutil.rmtree(f"checkpoints/tiny/member-{member}/checkpoint-6")
    for folder in Path("checkpoints/tiny/member-1").glob("checkpoint-*"):
        saved = json.loads((folder / "settings.json").read_text())
        saved["training"]["bf16"] = True
        (folder / "settings.json").write_text(json.dumps(saved))
    open_precision = {key: value for key, value in settings.training.items() if key not in ("bf16", "fp16")}
    with error_with("checkpoints/tiny", "precision", "training.capture=false"):
        train_members(settings.model_copy(update={"training": open_precision}), few_sprites)


def test_at_most_some_members_train_at_a_time(
    tiny: MakeSettings, few_sprites: Sprites, groups: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "TOGETHER", 2)

    class CtrlC(SharedCallback):
        """Sends Ctrl-C in the first group."""

        def on_step_begin(self, args: Any, state: Any, *rest: Any, **kwargs: Any) -> None:
            if args.output_dir.endswith("member-1") and state.global_step == 1:
                os.kill(os.getpid(), signal.SIGINT)

    stopped = train_members(tiny(members=3), few_sprites, [CtrlC()])
    assert groups == [2]  # the third member is not started
    assert [result.status for result in stopped] == ["interrupted"] * 2
    assert [result.status for result in train_members(tiny(members=3), few_sprites)] == ["finished"] * 3
    assert groups == [2, 2, 1]
