"""`training/run.py` and `training/trainer.py`: what is learned and measured, and what a checkpoint holds."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from transformers import TrainerCallback

from pokemon_gen.augmentation import ConditioningTokens
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.build import build_model
from pokemon_gen.models.checkpoints import log_history
from pokemon_gen.models.ensemble import members_of, palette_size
from pokemon_gen.models.likelihood import token_nll, true_completion_nll
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.runs import last_checkpoint, valid_checkpoints
from pokemon_gen.palette import Palette
from pokemon_gen.sprites.collection import collect
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.training.run import prepare, train
from pokemon_gen.training.sprites import SpriteData, SpriteDataset
from tests.builders import NO_DROPOUT, ONE_STEP, RUN, TINY_MODEL, MakeSettings, error_with, without_precision
from tests.model_builders import MODEL_TYPES, RecordInputs, weights_of

AUGMENTED = {"flips": "all", "hue_shifts": 6, "identity_prob": 0.3}
WITHOUT_DROPOUT = {"gpt2": {**TINY_MODEL, **NO_DROPOUT}, "llama": MODEL_TYPES["llama"]}


def logged_losses(checkpoint: Path) -> list[float]:
    """Return the train losses in a checkpoint's log."""
    return [entry["loss"] for entry in log_history(checkpoint) if "loss" in entry]


def steps_measured(checkpoint: Path) -> list[int]:
    """Return the steps in a checkpoint's log at which dev was measured."""
    return [entry["step"] for entry in log_history(checkpoint) if "eval_nll" in entry]


@pytest.mark.slow
def test_a_model_of_a_counting_sequence_predicts_the_next_token(tiny: MakeSettings) -> None:
    """Labels that are shifted by hand, on top of the model's own shift, would train token t + 2."""
    colours = np.stack([np.full(5, 0), np.arange(5), np.arange(5)], axis=1)
    rows = (np.arange(400) + np.arange(16)[:, None]) % 5  # row r counts r, r + 1, ... modulo 5
    sprites = collect({"train": rows, "dev": rows[:5], "test": rows[:5]}, Palette(colours), "counting")
    train(tiny(training={"max_steps": 30, "save_steps": 30, "eval_steps": 30}), sprites)
    model = load_checkpoint(RUN / "checkpoint-30").model
    predicted = model(torch.from_numpy(rows[:1]).to(model.device)).logits.argmax(-1)[0, :-1]  # (399,)
    np.testing.assert_array_equal(predicted.cpu().numpy(), rows[0, 1:])


def test_the_dev_metrics_are_nats_per_predicted_token(tiny: MakeSettings, few_sprites: Sprites) -> None:
    result = train(tiny(), few_sprites)
    checkpoint = load_checkpoint(RUN / "checkpoint-4")
    tokens = torch.from_numpy(few_sprites.tokens("dev")).to(checkpoint.model.device)
    with torch.no_grad():
        nll = token_nll(checkpoint.model(tokens).logits, tokens)
    assert result.dev_nll == pytest.approx(nll.mean().item(), rel=1e-5)
    assert result.dev_completion_nll == pytest.approx(nll[:, 239:].mean().item(), rel=1e-5)


@pytest.mark.parametrize("model_type", WITHOUT_DROPOUT)
def test_the_train_loss_is_nats_per_predicted_token(
    tiny: MakeSettings, few_sprites: Sprites, model_type: str
) -> None:
    """`Trainer` would divide GPT-2's loss by 400 tokens per sprite, but only 399 are predicted."""
    model = WITHOUT_DROPOUT[model_type]
    training = {"max_steps": 1, "save_steps": 1, "per_device_train_batch_size": 24}
    tokens = torch.from_numpy(few_sprites.tokens("train"))
    with torch.no_grad():
        expected = token_nll(build_model(model, 167, seed=0)(tokens).logits, tokens).mean().item()
    train(tiny(model=model, training=training), few_sprites)
    assert logged_losses(RUN / "checkpoint-1") == [pytest.approx(expected, rel=1e-4)]


def test_the_steps_are_those_of_a_plain_training_loop(tiny: MakeSettings, few_sprites: Sprites) -> None:
    """The homework's loop: AdamW on every parameter, a constant rate, no clipping."""
    model = WITHOUT_DROPOUT["gpt2"]
    training = {
        "per_device_train_batch_size": 24,  # all of train, so that no order matters
        "learning_rate": 1e-2,
        "weight_decay": 0.1,
        "decay_every_parameter": True,
        "max_grad_norm": 0,
        "optim": "adamw_torch",
        "lr_scheduler_type": "constant",
    }
    train(tiny(model=model, training=training), few_sprites)
    plain = build_model(model, 167, seed=0).train()
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-2, weight_decay=0.1)
    tokens = torch.from_numpy(few_sprites.tokens("train"))
    for _ in range(4):
        plain(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for name, value in weights_of(RUN / "checkpoint-4").items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=0, atol=1e-4, msg=name)


def test_the_seed_determines_the_transforms_of_the_augmentation(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    drawn: list[Any] = []
    for seed in (0, 0, 1):
        recorder = RecordInputs()
        settings = tiny(name=f"run-{len(drawn)}", seed=seed, augmentation=AUGMENTED, training=ONE_STEP)
        train(settings, few_sprites, [recorder])
        drawn.append(
            recorder.inputs[0][:, :2].sort(dim=0).values.tolist()
        )  # in whatever order the sprites are
    assert drawn[0] == drawn[1] != drawn[2]


def test_dropout_draws_another_mask_in_each_step(tiny: MakeSettings, few_sprites: Sprites) -> None:
    """Without a learning rate, and with a batch of equal sprites, nothing else changes the loss."""
    training = {"learning_rate": 0.0, "per_device_train_batch_size": 24}
    rows = {split: few_sprites.tokens(split) for split in few_sprites.splits}
    equal = collect({**rows, "train": rows["train"][[0] * 24]}, few_sprites.palette, "equal")
    losses = logged_losses(train(tiny(training=training), equal).folder / "checkpoint-4")
    assert len(losses) == 4
    assert np.diff(np.sort(losses)).min() > 1e-5


@pytest.mark.parametrize("model_type", WITHOUT_DROPOUT)
def test_a_model_is_conditioned_on_the_augmentation(
    tiny: MakeSettings, few_sprites: Sprites, model_type: str
) -> None:
    """In training, conditioning tokens name the augmentation; in evaluation, they say that there is none."""
    model = WITHOUT_DROPOUT[model_type]
    training = {"max_steps": 1, "eval_steps": 1, "save_steps": 1, "per_device_train_batch_size": 24}
    recorder = RecordInputs()
    result = train(tiny(model=model, training=training, augmentation=AUGMENTED), few_sprites, [recorder])
    checkpoint = load_checkpoint(RUN / "checkpoint-1")
    v = len(few_sprites.palette)
    assert members_of(checkpoint.model)[0].config.vocab_size == v + 8 + 6
    assert palette_size(checkpoint.model) == v
    trained, measured = recorder.inputs[0], recorder.inputs[1]
    assert trained.shape == (24, 402)
    assert len(set(map(tuple, trained[:, :2].tolist()))) > 5
    assert measured[:, :2].tolist() == [[v, v + 8]] * 8
    np.testing.assert_array_equal(measured[:, 2:], few_sprites.tokens("dev"))
    assert result.dev_completion_nll == pytest.approx(
        true_completion_nll(checkpoint.model, few_sprites.tokens("dev")), rel=1e-5
    )
    fresh = build_model(model, v, seed=0, conditioning=ConditioningTokens(14, (v, v + 8)))
    with torch.no_grad():  # the training loss is over all logits, those of conditioning tokens included
        nll = token_nll(fresh(trained).logits, trained)[:, 2:]
    assert logged_losses(RUN / "checkpoint-1") == [pytest.approx(nll.mean().item(), rel=1e-4)]


def test_each_batch_of_a_step_is_augmented_differently(tiny: MakeSettings, few_sprites: Sprites) -> None:
    """With gradient accumulation, a step has several batches."""
    copies = {split: np.repeat(few_sprites.tokens(split)[:1], 24, 0) for split in ("train", "dev")}
    same = collect({**copies, "test": few_sprites.prompts("test")}, few_sprites.palette, "same")
    training = {
        "max_steps": 2,
        "gradient_accumulation_steps": 2,
        "per_device_train_batch_size": 6,
        "eval_strategy": "no",
    }
    recorder = RecordInputs()
    train(tiny(training=training, augmentation=AUGMENTED), same, [recorder])
    assert len(recorder.inputs) == 4
    assert len({batch.numpy().tobytes() for batch in recorder.inputs}) == 4


@pytest.mark.slow
def test_runs_of_neighbouring_seeds_do_not_share_an_order_of_sprites(
    tiny: MakeSettings, few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accelerate shuffles by seed + epoch, so epoch e + 1 of seed 0 would be epoch e of seed 1."""
    batches: list[list[int]] = []

    class Recorded(SpriteDataset):
        def __getitems__(self, indices: list[int]) -> Tensor:
            batches.append(list(indices))
            return super().__getitems__(indices)

    monkeypatch.setattr("pokemon_gen.training.sprites.SpriteDataset", Recorded)

    def orders(seed: int) -> list[list[int]]:
        """Return the order of the sprites in each of three epochs."""
        batches.clear()
        training = {"max_steps": 9, "save_steps": 9, "eval_strategy": "no"}
        train(tiny(name=f"seed-{seed}", seed=seed, training=training), few_sprites)
        indices = [index for batch in batches for index in batch]
        return [indices[start : start + 24] for start in range(0, len(indices), 24)]

    first, second = orders(0), orders(1)
    assert [sorted(order) for order in [*first, *second]] == [list(range(24))] * 6
    assert len(set(map(tuple, [*first, *second]))) == 6


def test_muon_trains_the_matrices_if_it_has_a_learning_rate(tiny: MakeSettings, few_sprites: Sprites) -> None:
    training = {"muon_learning_rate": 0.02, "muon_weight_decay": 0.3, "lr_scheduler_type": "constant"}
    checkpoint = train(tiny(training=training), few_sprites).folder / "checkpoint-4"
    saved = torch.load(checkpoint / "optimizer.pt", weights_only=True)
    muon = saved["param_groups"][-1]
    assert (muon["lr"], muon["weight_decay"]) == (0.02, 0.3)
    assert [set(saved["state"][number]) for number in muon["params"]] == [{"momentum_buffer"}] * 4
    rest = [number for group in saved["param_groups"][:-1] for number in group["params"]]
    assert all("exp_avg" in saved["state"][number] for number in rest)


def test_the_implementation_of_attention_does_not_change_what_is_learned(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    used: list[str] = []

    class Record(TrainerCallback):
        def on_step_begin(self, *args: Any, model: Any, **kwargs: Any) -> None:
            used.append(model.config._attn_implementation)

    default = train(tiny(), few_sprites, [Record()])
    kernel = train(tiny(name="kernel", training={"attn_implementation": "eager"}), few_sprites, [Record()])
    assert used == ["sdpa"] * 4 + ["eager"] * 4  # by default `sdpa`, also on a CPU, in fp32
    within = 1e-2 if torch.cuda.is_available() else 1e-4  # a GPU trains in bf16
    assert kernel.dev_nll == pytest.approx(default.dev_nll, abs=within)
    loaded = load_checkpoint(default.folder / "checkpoint-4").model  # the checkpoint does not record it
    assert members_of(loaded)[0].config._attn_implementation == "sdpa"
    longer = {"attn_implementation": "sdpa", "max_steps": 6, "save_steps": 6}
    assert train(tiny(name="kernel", training=longer), few_sprites).step == 6  # a resumed run may change it


def test_a_checkpoint_holds_palette_and_settings_but_no_pickle_of_the_arguments(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    train(tiny(), few_sprites)
    for checkpoint in (RUN / "checkpoint-2", RUN / "checkpoint-4"):
        assert Palette.load(checkpoint) == few_sprites.palette
        assert json.loads((checkpoint / "settings.json").read_text())["training"]["max_steps"] == 4
        assert not (checkpoint / "training_args.bin").exists()
        torch.load(checkpoint / "optimizer.pt", weights_only=True)
    assert (RUN / "settings.json").is_file()


def test_files_have_the_permissions_that_the_umask_allows(tiny: MakeSettings, few_sprites: Sprites) -> None:
    """Safetensors writes files that only their owner can read."""
    before = os.umask(0o027)
    try:
        train(tiny(), few_sprites)
        modes = {path: path.stat().st_mode & 0o777 for path in RUN.rglob("*") if path.is_file()}
    finally:
        os.umask(before)
    assert {path.name for path in modes} >= {"model.safetensors", "optimizer.pt", "settings.json"}
    assert {path.name: mode for path, mode in modes.items() if mode != 0o640} == {}


def test_overwrite_starts_a_run_again(tiny: MakeSettings, few_sprites: Sprites) -> None:
    train(tiny(), few_sprites)
    result = train(tiny(training={"max_steps": 2}, seed=5), few_sprites, overwrite=True)
    assert (result.status, result.step) == ("finished", 2)
    assert [checkpoint.name for checkpoint in valid_checkpoints(RUN)] == ["checkpoint-2"]


@pytest.mark.parametrize(
    "mistake",
    [
        {"learnin_rate": 1},
        {"max_steps": 1.5},
        {"max_steps": -1, "num_train_epochs": 0},
        {"gradient_accumulation_steps": 0},
        {"report_to": "wandb"},
        {"optim": "adamw_bnb_8bit"},  # of a package that is not installed
        {"train_sampling_strategy": "group_by_length"},
        {"use_liger_kernel": True},  # of another such package, which `Trainer` imports last
    ],
)
def test_a_mistaken_setting_does_not_delete_a_finished_run(
    tiny: MakeSettings, few_sprites: Sprites, mistake: dict[str, Any]
) -> None:
    train(tiny(), few_sprites)
    with pytest.raises(PokemonGenError):
        train(tiny(training=mistake), few_sprites, overwrite=True)
    assert last_checkpoint(RUN) == RUN / "checkpoint-4"


def test_a_folder_that_is_not_a_run_is_kept(tiny: MakeSettings, few_sprites: Sprites) -> None:
    train(tiny(name="first"), few_sprites)
    shutil.copytree("checkpoints/first/checkpoint-4", RUN)
    with error_with(str(RUN), "name=...", "--overwrite"):
        train(tiny(), few_sprites)
    assert (RUN / "model.safetensors").is_file()


def test_a_training_of_several_members_is_refused(tiny: MakeSettings, few_sprites: Sprites) -> None:
    with error_with("members: 2", "train_members(settings)", "run(settings)"):
        train(tiny(members=2), few_sprites)


def test_sprites_that_are_passed_need_no_source(tiny: MakeSettings, few_sprites: Sprites) -> None:
    assert train(tiny(sprites={"source": "text:elsewhere"}), few_sprites).status == "finished"


def test_the_last_checkpoint_holds_the_evaluation_after_it(tiny: MakeSettings, few_sprites: Sprites) -> None:
    """Also if the run ends in the middle of an epoch."""
    result = train(tiny(training={"max_steps": 4, "save_steps": 4, "eval_strategy": "epoch"}), few_sprites)
    last = RUN / "checkpoint-4"
    assert steps_measured(last) == [3, 4]
    assert result.dev_nll == [entry["eval_nll"] for entry in log_history(last) if "eval_nll" in entry][-1]


def test_all_of_dev_is_measured_even_if_incomplete_batches_are_dropped(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    """Eight dev sprites do not fill an evaluation batch of 80."""
    dropped = train(tiny(name="dropped", training={"dataloader_drop_last": True}), few_sprites)
    default = train(tiny(name="default"), few_sprites)
    assert dropped.dev_nll == default.dev_nll is not None


def test_tensorboard_is_the_default_tracker(tiny: MakeSettings, few_sprites: Sprites) -> None:
    settings = tiny()
    training = {key: value for key, value in settings.training.items() if key != "report_to"}
    train(settings.model_copy(update={"training": training}), few_sprites)
    (events,) = RUN.glob("runs/*")
    logged = EventAccumulator(str(events)).Reload().Tags()["scalars"]
    assert {"train/loss", "eval/nll", "eval/completion_nll"} <= set(logged)


def test_bf16_trains_on_a_cpu_if_the_settings_ask_for_it(tiny: MakeSettings, few_sprites: Sprites) -> None:
    result = train(tiny(training={"bf16": True, "max_steps": 2}), few_sprites)
    assert result.dev_nll is not None
    assert np.isfinite(result.dev_nll)
    assert weights_of(RUN / "checkpoint-2")["transformer.wte.weight"].dtype == torch.float32


def test_a_run_keeps_the_precision_that_was_chosen_at_its_start(
    tiny: MakeSettings, few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = without_precision(tiny())
    monkeypatch.setattr("pokemon_gen.training.run.choose_precision", lambda *_: {"bf16": True, "fp16": False})
    train(settings.model_copy(update={"training": {**settings.training, "max_steps": 2}}), few_sprites)
    # On another machine fp32 may be faster; the run keeps bf16 there.
    monkeypatch.setattr(
        "pokemon_gen.training.run.choose_precision", lambda *_: {"bf16": False, "fp16": False}
    )
    train(settings, few_sprites)
    saved = json.loads((RUN / "checkpoint-4" / "settings.json").read_text())
    assert (saved["training"]["bf16"], saved["training"]["fp16"]) == (True, False)


def test_a_run_on_the_cpu_gets_the_precision_of_the_cpu(
    tiny: MakeSettings, few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a machine whose GPU has another one."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("pokemon_gen.training.precision.cpu_multiplies_bf16", lambda: True)
    settings = without_precision(tiny(training={"use_cpu": True}))
    _, _, prepared = prepare(settings, SpriteData(few_sprites), RUN)
    assert {key: prepared.training[key] for key in ("bf16", "fp16")} == {"bf16": True, "fp16": False}


EVERY_TWO_STEPS = {"max_steps": 8, "save_steps": 2, "eval_steps": 2}


@pytest.mark.parametrize("metric", ["completion_nll", "eval_completion_nll", "nll", "loss", None])
def test_the_best_checkpoint_is_the_one_with_the_lowest_value_and_the_last_one_is_kept_too(
    tiny: MakeSettings, few_sprites: Sprites, metric: str | None
) -> None:
    """`Trainer` takes a metric whose name does not end in "loss" for a score, and would keep the worst."""

    class Worsen(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any) -> None:
            if state.global_step > 4:
                with torch.no_grad():
                    for parameter in model.parameters():
                        parameter.mul_(-5)

    best = {"load_best_model_at_end": True, **({"metric_for_best_model": metric} if metric else {})}
    settings = tiny(training={**EVERY_TWO_STEPS, "save_total_limit": 1, **best})
    result = train(settings, few_sprites, [Worsen()])
    assert [checkpoint.name for checkpoint in valid_checkpoints(RUN)] == ["checkpoint-4", "checkpoint-8"]
    assert (result.status, result.step) == ("finished", 8)
    assert train(settings, few_sprites).status == "nothing left to do"


def test_the_checkpoints_of_the_lowest_steps_are_deleted_first(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    """Modification times mislead: checkpoints unpacked in another time zone seem newer than new ones."""
    limit = {**EVERY_TWO_STEPS, "save_total_limit": 2}
    train(tiny(training=limit), few_sprites)
    assert [checkpoint.name for checkpoint in valid_checkpoints(RUN)] == ["checkpoint-6", "checkpoint-8"]
    for checkpoint in valid_checkpoints(RUN):
        os.utime(checkpoint, (2e9, 2e9))
    result = train(tiny(training={**limit, "max_steps": 12}), few_sprites)
    assert (result.status, result.step) == ("finished", 12)
    assert [checkpoint.name for checkpoint in valid_checkpoints(RUN)] == ["checkpoint-10", "checkpoint-12"]


def test_a_training_that_does_not_fit_in_memory_names_the_setting(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    class Full(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with error_with("training.per_device_train_batch_size=4", "gradient_accumulation_steps", "memory"):
        train(tiny(), few_sprites, [Full()])
