"""A training that is killed again and again ends, to the last bit, as one that never was.

Weights, optimizer, schedule, log and submission are compared, for each way of training whose state could be
lost: precision, optimizer, augmentation, dropout, noise, accumulation, and when checkpoints are saved.
`eval/benchmarks/kills.py` does the same with real processes.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from pokemon_gen.files import write_json
from pokemon_gen.models.checkpoints import STATE_NAME, log_history
from pokemon_gen.models.manifest import write_manifest
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages.submit import submit
from pokemon_gen.training import trainer
from pokemon_gen.training.run import train
from tests.builders import TINY_MODEL, MakeSettings
from tests.model_builders import MODEL_TYPES, assert_weights_equal, weights_of

pytestmark = pytest.mark.slow  # each test trains several times

STEPS = 9
"""Three epochs of three steps."""
EPOCHS = {"save_strategy": "epoch", "eval_strategy": "epoch"}
QWEN3 = {**MODEL_TYPES["qwen3"], "attention_dropout": 0.2}
AUGMENTED = {"flips": "all", "hue_shifts": 6, "identity_prob": 0.3}
WAYS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"training": {"bf16": True}},
    "Muon": {"training": {"muon_learning_rate": 0.02}},
    "Muon in bf16": {"training": {"muon_learning_rate": 0.02, "bf16": True}, "model": QWEN3},
    "epochs": {"training": EPOCHS},
    "epochs, augmented, bf16": {"training": {**EPOCHS, "bf16": True}, "augmentation": AUGMENTED},
    "augmented": {"augmentation": AUGMENTED},
    "NEFTune": {"training": {"neftune_noise_alpha": 5.0}},
    "accumulation": {"training": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}},
    "logged rarely": {"training": {"logging_steps": 4}},
}


class KillAt(TrainerCallback):
    """Ends a training with an error in the middle of a step, counted from 1."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step - 1:
            raise RuntimeError("killed")


class StepsTaken(TrainerCallback):
    """Keeps the number of each step that begins, counted from 1."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.steps.append(state.global_step + 1)


def end_of(run: str) -> dict[str, Any]:
    """Return everything that a run has come to."""
    last = valid_checkpoints(Path("checkpoints", run))[-1]
    state = {name: torch.load(last / f"{name}.pt", weights_only=True) for name in ("optimizer", "scheduler")}
    log = [{k: v for k, v in entry.items() if not is_time(k)} for entry in log_history(last)]
    submit(run)
    return {
        "step": last.name,
        "log": log,
        "state": state,
        "rows": Path(f"submissions/{run}.txt").read_bytes(),
    }


def is_time(name: str) -> bool:
    return "runtime" in name or "per_second" in name


def assert_equal_ends(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Check that two runs have come to the same, but for the weights."""
    for part in ("step", "log", "rows"):
        assert found[part] == expected[part], part
    torch.testing.assert_close(found["state"], expected["state"], rtol=0, atol=0)


def train_and_kill(settings: Any, sprites: Sprites, steps: Sequence[int]) -> None:
    """Train, with a kill in each of these steps."""
    for step in steps:
        with pytest.raises(RuntimeError, match="killed"):
            train(settings, sprites, [KillAt(step)])
    assert train(settings, sprites).status == "finished"


@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_was_killed_four_times_ends_as_one_that_was_not(
    tiny: MakeSettings, few_sprites: Sprites, way: str
) -> None:
    sections = {"model": TINY_MODEL, **WAYS[way]}
    training = {"max_steps": STEPS, **sections.pop("training", {})}
    whole, killed = (tiny(name=name, training=training, **sections) for name in ("whole", "killed"))
    train(whole, few_sprites)
    train_and_kill(killed, few_sprites, [2, 4, 6, 9])  # before the first checkpoint, and in each epoch
    expected = end_of("whole")
    assert_equal_ends(end_of("killed"), expected)
    last = Path(expected["step"])
    assert_weights_equal("checkpoints/killed" / last, weights_of("checkpoints/whole" / last))


def test_a_resumed_run_takes_no_step_again_that_its_checkpoint_has(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    """It would end with the same bits either way, because each step depends on its number alone."""
    settings, taken = tiny(training={"max_steps": STEPS}), StepsTaken()
    with pytest.raises(RuntimeError, match="killed"):
        train(settings, few_sprites, [KillAt(6)])
    train(settings, few_sprites, [taken])
    assert taken.steps == [5, 6, 7, 8, 9]


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_a_compiled_training_gives_the_same_bytes_twice_and_after_a_kill(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    training = {"max_steps": 4, "torch_compile": True}
    runs = [tiny(name=name, training=training) for name in ("first", "again", "killed")]
    train(runs[0], few_sprites)
    train(runs[1], few_sprites)
    train_and_kill(runs[2], few_sprites, [4])
    expected = weights_of(Path("checkpoints/first/checkpoint-4"))
    for settings in runs[1:]:
        assert_weights_equal(Path("checkpoints", settings.name, "checkpoint-4"), expected)


@pytest.mark.parametrize("step", [2, 4, 6, 8])
def test_a_kill_before_the_last_files_of_a_checkpoint_changes_nothing(
    tiny: MakeSettings, few_sprites: Sprites, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has everything but a manifest then, like those of earlier versions, so the run resumes from it."""

    def kill(place: Path, *args: Any) -> None:
        folder = place if place.is_dir() else place.parent
        if folder.name == f"checkpoint-{step}" and (folder / STATE_NAME).is_file():
            raise KeyboardInterrupt
        return write_json(place, *args) if args else write_manifest(place)

    training = {"max_steps": STEPS, "save_steps": 2, "logging_steps": 3}
    whole, cut = (tiny(name=name, training=training) for name in ("whole", "killed"))
    train(whole, few_sprites)
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "write_manifest", kill)
        patch.setattr(trainer, "write_json", kill)
        with pytest.raises(KeyboardInterrupt):
            train(cut, few_sprites)
    train(cut, few_sprites)
    assert_equal_ends(end_of("killed"), end_of("whole"))
