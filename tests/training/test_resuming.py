"""`training/resuming.py`, `training/callbacks.py`: interrupts, kills, damaged checkpoints, new settings."""

import json
import logging
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import TrainerCallback

from pokemon_gen.models.checkpoints import can_resume_from, log_history, step_of
from pokemon_gen.models.manifest import MANIFEST_NAME
from pokemon_gen.models.runs import last_checkpoint, valid_checkpoints
from pokemon_gen.palette import Palette
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import collect
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.training.run import train
from tests.builders import RUN, MakeSettings, error_with, without_precision, write_text_folder
from tests.model_builders import SendSignal, assert_weights_equal, weights_of

pytestmark = pytest.mark.slow  # each test trains several times

INTERRUPTED, UNINTERRUPTED = Path("checkpoints/interrupted"), Path("checkpoints/uninterrupted")
AUGMENTED = {"flips": "all", "hue_shifts": 6, "identity_prob": 0.3}


def steps_measured(checkpoint: Path) -> list[int]:
    """Return the steps in a checkpoint's log at which dev was measured."""
    return [entry["step"] for entry in log_history(checkpoint) if "eval_nll" in entry]


def two_runs(tiny: MakeSettings, **sections: Any) -> list[Settings]:
    """Return the settings of a run that is to be interrupted, and of one that is not."""
    return [tiny(name=run.name, **sections) for run in (INTERRUPTED, UNINTERRUPTED)]


class StopAt(TrainerCallback):
    """Stops a training after a step, with or without a checkpoint."""

    def __init__(self, step: int, save: bool) -> None:
        self.step, self.save = step, save

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            control.should_training_stop = True
            control.should_save = control.should_save or self.save


class KillAfterSave(TrainerCallback):
    """Ends a training with an error right after the checkpoint of a step was saved."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise RuntimeError("killed")


def test_training_again_resumes_the_run_or_reports_that_nothing_is_left(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    assert train(tiny(training={"max_steps": 2}), few_sprites).status == "finished"
    longer = train(tiny(), few_sprites)
    assert (longer.status, longer.step) == ("finished", 4)
    steps = [entry["step"] for entry in log_history(RUN / "checkpoint-4") if "loss" in entry]
    assert steps == [1, 2, 3, 4]  # the first two were not trained again
    again = train(tiny(), few_sprites)
    assert (again.status, again.step, again.dev_nll) == ("nothing left to do", 4, longer.dev_nll)


@pytest.mark.parametrize(
    ("augmentation", "training"),
    [({}, {}), (AUGMENTED, {}), ({}, {"muon_learning_rate": 0.02})],
    ids=["plain", "augmented", "Muon"],
)
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    tiny: MakeSettings, few_sprites: Sprites, augmentation: dict[str, Any], training: dict[str, Any]
) -> None:
    """Dropout, augmentation and the order of the sprites continue their streams, also within an epoch."""
    fields = {"max_steps": 6, "save_steps": 6, "eval_steps": 1, "per_device_train_batch_size": 6}
    sections = {"training": {**fields, **training}, "augmentation": augmentation}
    interrupted, uninterrupted = two_runs(tiny, **sections)
    assert train(interrupted, few_sprites, [StopAt(2, save=True)]).status == "interrupted"
    train(interrupted, few_sprites)
    train(uninterrupted, few_sprites)
    assert_weights_equal(INTERRUPTED / "checkpoint-6", weights_of(UNINTERRUPTED / "checkpoint-6"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_a_checkpoint_to_resume_from(
    tiny: MakeSettings, few_sprites: Sprites, number: signal.Signals
) -> None:
    settings = tiny(training={"save_steps": 100, "eval_steps": 100})
    before = signal.getsignal(number)
    result = train(settings, few_sprites, [SendSignal(3, number)])
    assert (result.status, result.step) == ("interrupted", 3)
    assert signal.getsignal(number) is before
    assert last_checkpoint(RUN) == RUN / "checkpoint-3"
    assert train(settings, few_sprites).status == "finished"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_step_ends_a_training_at_once(
    tiny: MakeSettings, few_sprites: Sprites, number: signal.Signals
) -> None:
    """The first step may be compiled for a minute, and there is nothing to save."""
    settings = tiny(training={"max_steps": 2})
    with pytest.raises(KeyboardInterrupt):
        train(settings, few_sprites, [SendSignal(1, number)])
    assert last_checkpoint(RUN) is None
    train(settings, few_sprites)
    before = weights_of(RUN / "checkpoint-2")
    with pytest.raises(KeyboardInterrupt):  # the first step after a resume
        train(tiny(), few_sprites, [SendSignal(3, number)])
    assert_weights_equal(RUN / "checkpoint-2", before)
    assert train(tiny(), few_sprites).status == "finished"


@pytest.mark.parametrize("step", [2, 3], ids=["within an epoch", "at the end of an epoch"])
@pytest.mark.parametrize("save_strategy", ["epoch", "steps"])
def test_an_interrupted_run_saves_once_and_ends_where_an_uninterrupted_one_does(
    tiny: MakeSettings, few_sprites: Sprites, step: int, save_strategy: str
) -> None:
    """`Trainer` evaluates and saves at the end of an epoch, even of one that was stopped in its middle."""
    fields = {"max_steps": -1, "num_train_epochs": 2, "save_strategy": save_strategy, "save_steps": 3}
    interrupted, uninterrupted = two_runs(tiny, training={**fields, "eval_strategy": "epoch"})
    interrupt = SendSignal(step)
    assert train(interrupted, few_sprites, [interrupt]).status == "interrupted"
    assert interrupt.saves == 1
    assert last_checkpoint(INTERRUPTED) == INTERRUPTED / f"checkpoint-{step}"
    train(interrupted, few_sprites)
    train(uninterrupted, few_sprites)
    assert_weights_equal(INTERRUPTED / "checkpoint-6", weights_of(UNINTERRUPTED / "checkpoint-6"))


def test_an_interrupt_in_the_last_step_leaves_a_finished_run(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    """The run ends in the middle of an epoch, and is measured there."""
    training = {"save_strategy": "epoch", "eval_strategy": "epoch"}
    result = train(tiny(training=training), few_sprites, [SendSignal(4)])
    assert (result.status, result.step) == ("finished", 4)
    assert steps_measured(RUN / "checkpoint-4") == [3, 4]


def test_a_kill_after_the_save_at_the_end_of_an_epoch_does_not_change_the_run(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    """The evaluation at the end of an epoch draws from the random stream that the checkpoint holds."""
    training = {"max_steps": 6, "save_steps": 3, "eval_strategy": "epoch"}
    killed, uninterrupted = two_runs(tiny, training=training)
    with pytest.raises(RuntimeError, match="killed"):
        train(killed, few_sprites, [KillAfterSave(3)])
    train(killed, few_sprites)
    train(uninterrupted, few_sprites)
    ends = [run / "checkpoint-6" for run in (INTERRUPTED, UNINTERRUPTED)]
    assert_weights_equal(ends[0], weights_of(ends[1]))
    assert [steps_measured(end) for end in ends] == [[3, 6], [3, 6]]


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"seed": 3}, ["seed (was 0, is 3)"]),
        ({"training": {"learning_rate": 0.5}}, ["training.learning_rate (was 0.01, is 0.5)"]),
        (
            {"model": {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 16}},
            ["model.n_layer (was 1, is 2)"],
        ),
    ],
)
def test_a_run_of_other_settings_is_kept(
    tiny: MakeSettings, few_sprites: Sprites, change: dict[str, Any], facts: list[str]
) -> None:
    train(tiny(), few_sprites)
    before = weights_of(RUN / "checkpoint-4")
    with error_with(str(RUN), *facts, "name=...", "--overwrite"):
        train(tiny(**change), few_sprites)
    assert_weights_equal(RUN / "checkpoint-4", before)


def test_a_run_of_version_0_1_is_kept(tiny: MakeSettings, few_sprites: Sprites) -> None:
    train(tiny(), few_sprites)
    saved = RUN / "checkpoint-4/settings.json"
    settings = json.loads(saved.read_text())
    settings["sprites"]["held_out"] = settings["sprites"].pop("fold_size")
    saved.write_text(json.dumps(settings))
    with error_with(str(RUN), "0.1", "name=...", "--overwrite"):
        train(tiny(training={"max_steps": 8}), few_sprites)


def test_a_run_of_another_palette_or_other_sprites_is_kept(tiny: MakeSettings, few_sprites: Sprites) -> None:
    train(tiny(), few_sprites)
    rows = {split: few_sprites.tokens(split) for split in few_sprites.splits}
    reversed_palette = Palette(few_sprites.palette.rgb[::-1])
    changed = {**rows, "train": rows["train"].copy()}
    changed["train"][0, 0] += 1
    for other in (collect(rows, reversed_palette, "other"), collect(changed, few_sprites.palette, "few")):
        with error_with(str(RUN), f"was {few_sprites.fingerprint}, is {other.fingerprint}", "--overwrite"):
            train(tiny(), other)


def test_a_run_resumes_with_sprites_that_were_moved(tiny: MakeSettings, few_sprites: Sprites) -> None:
    write_text_folder(few_sprites, Path("here"))
    train(tiny(sprites={"source": "text:here"}))
    Path("here").rename("there")
    again = train(tiny(sprites={"source": "text:there", "palette": "there/colormap.txt"}))
    assert again.status == "nothing left to do"


def test_a_resumed_run_saves_as_often_as_its_settings_say_now(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    train(tiny(training={"max_steps": 2, "save_steps": 0.5, "eval_steps": 0.5}), few_sprites)
    longer = {"max_steps": 8, "save_steps": 0.5, "eval_steps": 0.5}
    assert train(tiny(training=longer), few_sprites).status == "finished"
    assert [step_of(checkpoint) for checkpoint in valid_checkpoints(RUN)] == [1, 2, 4, 8]


def test_a_run_in_fp16_keeps_its_precision_and_needs_a_gpu_to_resume(
    tiny: MakeSettings, few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished run needs no GPU."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda *_: False)

    def settings(steps: int) -> Settings:
        return without_precision(tiny(training={"max_steps": steps}))

    train(settings(2), few_sprites)
    saved = RUN / "checkpoint-2" / "settings.json"
    metadata = json.loads(saved.read_text())
    metadata["training"].update(fp16=True, bf16=False)
    saved.write_text(json.dumps(metadata))
    result = train(settings(2), few_sprites)
    assert result.status == "nothing left to do"
    assert result.settings.training["fp16"] is True
    with error_with("training.fp16", "GPU", "name=..."):
        train(settings(4), few_sprites)


def test_a_run_in_fp16_resumes_only_with_its_loss_scale(tiny: MakeSettings, few_sprites: Sprites) -> None:
    checkpoint = train(tiny(training={"max_steps": 2}), few_sprites).folder / "checkpoint-2"
    assert can_resume_from(checkpoint, fp16=False)
    assert not can_resume_from(checkpoint, fp16=True)
    torch.save({"scale": 65536.0}, checkpoint / "scaler.pt")
    assert can_resume_from(checkpoint, fp16=True)


def test_a_run_without_its_optimizer_cannot_resume(tiny: MakeSettings, few_sprites: Sprites) -> None:
    train(tiny(training={"save_only_model": True, "max_steps": 2}), few_sprites)
    with error_with("checkpoint-2", "training.save_only_model", "--overwrite"):
        train(tiny(training={"save_only_model": True}), few_sprites)
    again = train(tiny(training={"save_only_model": True, "max_steps": 2}), few_sprites)
    assert again.status == "nothing left to do"


def test_a_training_starts_over_what_a_kill_before_the_first_checkpoint_left(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    (RUN / "checkpoint-2").mkdir(parents=True)
    (RUN / "checkpoint-2" / "model.safetensors").write_bytes(b"cut off")
    (RUN / "runs").mkdir()
    assert train(tiny(), few_sprites).status == "finished"


def test_a_training_starts_over_settings_and_state_that_a_kill_cut_off(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    train(tiny(training={"max_steps": 2}), few_sprites)
    (RUN / ".settings-abcd.json").write_text("{")
    state = RUN / "checkpoint-2" / "trainer_state.json"
    state.write_text(state.read_text()[:40])
    assert train(tiny(), few_sprites).status == "finished"


def test_a_checkpoint_that_a_kill_cut_off_is_skipped(tiny: MakeSettings, few_sprites: Sprites) -> None:
    train(tiny(), few_sprites)
    state = RUN / "checkpoint-4" / "trainer_state.json"
    state.write_text(state.read_text()[:40])
    assert last_checkpoint(RUN) == RUN / "checkpoint-2"
    result = train(tiny(), few_sprites)
    assert (result.status, result.step) == ("finished", 4)
    assert last_checkpoint(RUN) == RUN / "checkpoint-4"


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "model.safetensors"])
@pytest.mark.parametrize("damage", ["half a file", "no file"])
def test_a_resumed_run_skips_a_damaged_checkpoint(
    tiny: MakeSettings, few_sprites: Sprites, name: str, damage: str
) -> None:
    """`Trainer` would silently restart a schedule or a random stream whose file is missing."""
    settings = tiny(training={"max_steps": 6, "save_steps": 2})
    train(settings, few_sprites)
    expected = weights_of(RUN / "checkpoint-6")
    shutil.rmtree(RUN / "checkpoint-6")
    file = RUN / "checkpoint-4" / name
    if damage == "half a file":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        file.unlink()
    assert train(settings, few_sprites).status == "finished"
    assert_weights_equal(RUN / "checkpoint-6", expected)


def test_a_checkpoint_that_differs_from_its_manifest_is_skipped_with_a_message(
    tiny: MakeSettings, few_sprites: Sprites, caplog: pytest.LogCaptureFixture
) -> None:
    """A file of the right size and form, as a drive that synchronises file by file can leave."""
    settings = tiny(training={"save_steps": 1})
    train(settings, few_sprites)
    expected = weights_of(RUN / "checkpoint-4")
    shutil.rmtree(RUN / "checkpoint-4")
    scheduler = RUN / "checkpoint-3" / "scheduler.pt"
    scheduler.write_bytes(scheduler.read_bytes()[:-1] + b"\1")
    with caplog.at_level(logging.WARNING, logger="pokemon_gen"):
        train(settings, few_sprites)
    assert "checkpoint-3 is skipped: scheduler.pt" in caplog.text
    assert_weights_equal(RUN / "checkpoint-4", expected)


def test_the_loss_of_steps_before_a_kill_is_logged(tiny: MakeSettings, few_sprites: Sprites) -> None:
    """`Trainer` logs a mean over several steps, and forgets those before the checkpoint."""
    fields = {"max_steps": 8, "save_steps": 1, "logging_strategy": "steps", "logging_steps": 5}
    killed, whole = two_runs(tiny, training=fields)
    train(whole, few_sprites)
    for step in (2, 4, 7):
        with pytest.raises(RuntimeError, match="killed"):
            train(killed, few_sprites, [KillAfterSave(step)])
    train(killed, few_sprites)
    logs = [log_history(run / "checkpoint-8") for run in (INTERRUPTED, UNINTERRUPTED)]
    losses = [[(entry["step"], entry["loss"]) for entry in log if "loss" in entry] for log in logs]
    assert losses[0] == losses[1]
    assert [step for step, _ in losses[1]] == [5]


def test_a_run_with_only_damaged_checkpoints_cannot_resume(tiny: MakeSettings, few_sprites: Sprites) -> None:
    train(tiny(training={"max_steps": 2}), few_sprites)
    (RUN / "checkpoint-2" / "optimizer.pt").write_bytes(b"cut off")
    with error_with(str(RUN / "checkpoint-2"), "damaged", "--overwrite"):
        train(tiny(), few_sprites)


def test_the_step_of_a_damaged_checkpoint_does_not_count_as_reached(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    train(tiny(), few_sprites)
    (RUN / "checkpoint-4").rename(RUN / "checkpoint-7")
    (RUN / "checkpoint-7" / "optimizer.pt").write_bytes(b"cut off")
    result = train(tiny(training={"max_steps": 8, "save_steps": 4}), few_sprites)
    assert (result.status, result.step) == ("finished", 8)


def test_a_damaged_checkpoint_of_a_later_step_does_not_displace_a_new_one(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    training = {"max_steps": 8, "save_steps": 2, "eval_steps": 2}
    train(tiny(training=training), few_sprites)
    for step in (6, 8):
        (RUN / f"checkpoint-{step}" / "optimizer.pt").write_bytes(b"")
    longer = tiny(training={**training, "max_steps": 12, "save_total_limit": 1})
    result = train(longer, few_sprites, [StopAt(6, save=False)])
    assert (result.status, result.step) == ("interrupted", 6)
    assert [checkpoint.name for checkpoint in valid_checkpoints(RUN)] == ["checkpoint-6"]


def test_a_run_does_not_resume_from_a_checkpoint_that_lacks_weights(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    """`Trainer` would only warn, and continue with random values. An earlier version wrote no manifest."""
    train(tiny(), few_sprites)
    (RUN / "checkpoint-4" / MANIFEST_NAME).unlink()
    weights, missing = weights_of(RUN / "checkpoint-4"), "transformer.h.0.attn.c_attn.weight"
    del weights[missing]
    save_file(weights, RUN / "checkpoint-4" / "model.safetensors", {"format": "pt"})
    with error_with(str(RUN / "checkpoint-4" / "model.safetensors"), f"missing: {missing}"):
        train(tiny(training={"max_steps": 6}), few_sprites)
    assert [checkpoint.name for checkpoint in valid_checkpoints(RUN)] == ["checkpoint-2", "checkpoint-4"]
