"""`training.py`: the right target, the right numbers, and care at the edges."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from transformers import TrainerCallback, TrainingArguments, get_scheduler

from pokemon_gen.augmentation import ConditioningTokens
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.build import build_model
from pokemon_gen.models.checkpoints import can_resume_from, log_history, step_of
from pokemon_gen.models.ensemble import members_of, palette_size
from pokemon_gen.models.likelihood import token_nll, true_completion_nll
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.runs import last_checkpoint, valid_checkpoints
from pokemon_gen.palette import Palette
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import collect
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.training.arguments import count_steps, fit_schedule, training_arguments
from pokemon_gen.training.run import prepare, train
from tests.builders import TINY_MODEL, without_precision, write_text_folder

RUN = Path("checkpoints/tiny")
DROPOUTS = ("attn_pdrop", "resid_pdrop", "embd_pdrop")
Make = Callable[..., Settings]


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / "model.safetensors")


class PressCtrlC(TrainerCallback):
    """Sends a signal in the middle of a step, the first being 1, and counts what is saved."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGINT) -> None:
        self.step, self.number, self.saved = step, number, 0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step - 1:
            os.kill(os.getpid(), self.number)

    def on_save(self, *args: Any, **kwargs: Any) -> None:
        self.saved += 1


def assert_same(checkpoint: Path, expected: dict[str, torch.Tensor]) -> None:
    """Compare a checkpoint's weights with others, to the last bit."""
    found = weights(checkpoint)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, msg=name)


def test_a_model_of_a_counting_sequence_predicts_the_next_token(tiny: Make) -> None:
    """A label shifted by hand on top of the model's own shift would train token t + 2."""
    colours = np.stack([np.full(5, 0), np.arange(5), np.arange(5)], axis=1)
    rows = (np.arange(400) + np.arange(16)[:, None]) % 5  # row r counts r, r + 1, ... modulo 5
    sprites = collect({"train": rows, "dev": rows[:5], "test": rows[:5]}, Palette(colours), "counting")
    train(tiny(training={"max_steps": 30, "save_steps": 30, "eval_steps": 30}), sprites)
    model = load_checkpoint(RUN / "checkpoint-30").model
    predicted = model(torch.from_numpy(rows[:1]).to(model.device)).logits.argmax(-1)[0, :-1]  # (399,)
    np.testing.assert_array_equal(predicted.cpu().numpy(), rows[0, 1:])


def test_the_dev_figures_are_nats_per_predicted_token(tiny: Make, few_sprites: Sprites) -> None:
    result = train(tiny(), few_sprites)
    checkpoint = load_checkpoint(RUN / "checkpoint-4")
    tokens = torch.from_numpy(few_sprites.tokens("dev")).to(checkpoint.model.device)
    with torch.no_grad():
        nll = token_nll(checkpoint.model(tokens).logits, tokens)
    assert result.dev_nll == pytest.approx(nll.mean().item(), rel=1e-5)
    assert result.dev_completion_nll == pytest.approx(nll[:, 239:].mean().item(), rel=1e-5)


@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_the_train_loss_is_nats_per_predicted_token(
    tiny: Make, few_sprites: Sprites, model_type: str
) -> None:
    """`Trainer` would divide GPT-2's loss by 400 tokens a sprite, where 399 are predicted."""
    fields = {**dict.fromkeys(DROPOUTS, 0.0), "n_layer": 1, "n_embd": 16, "n_head": 2}
    llama = {"num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    model = {"model_type": model_type, **(fields if model_type == "gpt2" else llama)}
    settings = tiny(
        model=model, training={"max_steps": 1, "save_steps": 1, "per_device_train_batch_size": 24}
    )
    tokens = torch.from_numpy(few_sprites.tokens("train"))
    with torch.no_grad():
        expected = token_nll(build_model(model, 167, seed=0)(tokens).logits, tokens).mean().item()
    train(settings, few_sprites)
    logged = [entry["loss"] for entry in log_history(RUN / "checkpoint-1") if "loss" in entry]
    assert logged == [pytest.approx(expected, rel=1e-4)]


def test_a_checkpoint_carries_palette_and_settings_and_no_pickle_of_ours(
    tiny: Make, few_sprites: Sprites
) -> None:
    train(tiny(), few_sprites)
    for checkpoint in (RUN / "checkpoint-2", RUN / "checkpoint-4"):
        assert Palette.load(checkpoint) == few_sprites.palette
        assert json.loads((checkpoint / "settings.json").read_text())["training"]["max_steps"] == 4
        assert not (checkpoint / "training_args.bin").exists()
        torch.load(checkpoint / "optimizer.pt", weights_only=True)
    assert (RUN / "settings.json").is_file()


def test_training_again_goes_on_or_says_that_nothing_is_left(tiny: Make, few_sprites: Sprites) -> None:
    assert train(tiny(training={"max_steps": 2}), few_sprites).status == "finished"
    longer = train(tiny(), few_sprites)
    assert (longer.status, longer.step) == ("finished", 4)
    steps = [entry["step"] for entry in log_history(RUN / "checkpoint-4") if "loss" in entry]
    assert steps == [1, 2, 3, 4]  # the first two were not trained again
    again = train(tiny(), few_sprites)
    assert (again.status, again.step, again.dev_nll) == ("nothing left to do", 4, longer.dev_nll)


CHANGED = {"flips": "all", "hue_shifts": 6, "identity_prob": 0.3}


@pytest.mark.parametrize(
    ("augmentation", "more"),
    [({}, {}), (CHANGED, {}), ({}, {"muon_learning_rate": 0.02})],
    ids=["sprites as they are", "changed", "Muon"],
)
def test_a_continued_run_ends_where_an_uninterrupted_one_does(
    tiny: Make, few_sprites: Sprites, augmentation: dict[str, Any], more: dict[str, Any]
) -> None:
    """Dropout, changes and the order of sprites go on in the same stream, in the middle of an epoch too."""

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = control.should_save = state.global_step == 2

    training = {"max_steps": 6, "save_steps": 6, "eval_steps": 1, "per_device_train_batch_size": 6, **more}
    parts, whole = (
        tiny(training=training, name=name, augmentation=augmentation) for name in ("parts", "whole")
    )
    assert train(parts, few_sprites, [Stop()]).status == "interrupted"
    train(parts, few_sprites)
    train(whole, few_sprites)
    assert_same(Path("checkpoints/parts/checkpoint-6"), weights(Path("checkpoints/whole/checkpoint-6")))


@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_a_model_is_told_what_was_done(tiny: Make, few_sprites: Sprites, model_type: str) -> None:
    """Special tokens in training, that nothing was done in measuring, and a loss of 399 tokens a sprite."""
    llama = {"num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    model = {
        "model_type": model_type,
        **(llama if model_type == "llama" else {**TINY_MODEL, **dict.fromkeys(DROPOUTS, 0.0)}),
    }
    seen: list[Tensor] = []

    class Watch(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any) -> None:
            model.register_forward_pre_hook(
                lambda module, args, options: seen.append(options["input_ids"].clone()), with_kwargs=True
            )

    training = {"max_steps": 1, "eval_steps": 1, "save_steps": 1, "per_device_train_batch_size": 24}
    settings = tiny(model=model, training=training, augmentation=CHANGED)
    result = train(settings, few_sprites, [Watch()])
    checkpoint = load_checkpoint(RUN / "checkpoint-1")
    v = len(few_sprites.palette)
    assert members_of(checkpoint.model)[0].config.vocab_size == v + 8 + 6
    assert palette_size(checkpoint.model) == v
    trained, measured = seen[0].cpu(), seen[1].cpu()
    assert trained.shape == (24, 402)
    assert len(set(map(tuple, trained[:, :2].tolist()))) > 5
    assert measured[:, :2].tolist() == [[v, v + 8]] * 8
    np.testing.assert_array_equal(measured[:, 2:], few_sprites.tokens("dev"))
    assert result.dev_completion_nll == pytest.approx(
        true_completion_nll(checkpoint.model, few_sprites.tokens("dev")), rel=1e-5
    )
    fresh = build_model(model, v, seed=0, conditioning=ConditioningTokens(14, (v, v + 8)))
    with torch.no_grad():  # all scores count while learning, special tokens' too
        nll = token_nll(fresh(trained).logits, trained)[:, 2:]
    logged = [entry["loss"] for entry in log_history(RUN / "checkpoint-1") if "loss" in entry]
    assert logged == [pytest.approx(nll.mean().item(), rel=1e-4)]


def test_each_batch_of_a_step_is_changed_in_its_own_way(tiny: Make, few_sprites: Sprites) -> None:
    """Gradients gathered over several batches: the same sprites would be changed in the same way."""
    same = collect(
        {split: np.repeat(few_sprites.tokens(split)[:1], 24, 0) for split in ("train", "dev")}
        | {"test": few_sprites.prompts("test")},
        few_sprites.palette,
        "same",
    )
    seen: list[Tensor] = []

    class Watch(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any) -> None:
            model.register_forward_pre_hook(
                lambda module, args, options: seen.append(options["input_ids"].cpu()), with_kwargs=True
            )

    training = {"max_steps": 2, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 6}
    train(tiny(training={**training, "eval_strategy": "no"}, augmentation=CHANGED), same, [Watch()])
    assert len(seen) == 4
    assert len({batch.numpy().tobytes() for batch in seen}) == 4


def test_muon_trains_the_matrices_where_it_is_asked_for(tiny: Make, few_sprites: Sprites) -> None:
    fields = {"muon_learning_rate": 0.02, "muon_weight_decay": 0.3, "lr_scheduler_type": "constant"}
    checkpoint = train(tiny(training=fields), few_sprites).folder / "checkpoint-4"
    saved = torch.load(checkpoint / "optimizer.pt", weights_only=True)
    by_muon = saved["param_groups"][-1]
    assert (by_muon["lr"], by_muon["weight_decay"]) == (0.02, 0.3)
    assert [set(saved["state"][number]) for number in by_muon["params"]] == [{"momentum_buffer"}] * 4
    others = [number for group in saved["param_groups"][:-1] for number in group["params"]]
    assert all("exp_avg" in saved["state"][number] for number in others)


def test_attention_may_be_computed_otherwise_and_learns_the_same(tiny: Make, few_sprites: Sprites) -> None:
    class Watch(TrainerCallback):
        def on_step_begin(self, *args: Any, model: Any, **kwargs: Any) -> None:
            used.append(model.config._attn_implementation)

    used: list[str] = []
    plain = train(tiny(), few_sprites, [Watch()])
    other = train(tiny(name="other", training={"attn_implementation": "eager"}), few_sprites, [Watch()])
    assert used == ["sdpa"] * 4 + ["eager"] * 4
    assert other.dev_nll == pytest.approx(plain.dev_nll, abs=1e-4)
    found = load_checkpoint(other.folder / "checkpoint-4").model  # what completes decides anew
    assert members_of(found)[0].config._attn_implementation == "sdpa"
    longer = {"attn_implementation": "sdpa", "max_steps": 6, "save_steps": 6}
    assert train(tiny(name="other", training=longer), few_sprites).step == 6  # a run may go on otherwise


def test_an_attention_that_a_type_does_not_have_is_named(tiny: Make, few_sprites: Sprites) -> None:
    bloom = {"model_type": "bloom", "n_layer": 1, "n_head": 2, "hidden_size": 16}
    with pytest.raises(PokemonGenError, match=r"training\.attn_implementation: bloom attends in its own way"):
        train(tiny(model=bloom, training={"attn_implementation": "eager"}), few_sprites)


def test_overwrite_begins_anew(tiny: Make, few_sprites: Sprites) -> None:
    train(tiny(), few_sprites)
    result = train(tiny(training={"max_steps": 2}, seed=5), few_sprites, overwrite=True)
    assert (result.status, result.step) == ("finished", 2)
    assert [c.name for c in valid_checkpoints(RUN)] == ["checkpoint-2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 3}, r"seed \(was 0, is 3\)"),
        ({"training": {"learning_rate": 0.5}}, r"training\.learning_rate \(was 0\.01, is 0\.5\)"),
        (
            {"model": {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 16}},
            r"model\.n_layer \(was 1, is 2\)",
        ),
    ],
)
def test_a_run_of_other_settings_is_kept(
    tiny: Make, few_sprites: Sprites, change: dict[str, Any], message: str
) -> None:
    train(tiny(), few_sprites)
    before = weights(RUN / "checkpoint-4")
    with pytest.raises(PokemonGenError, match=message + ".*--overwrite"):
        train(tiny(**change), few_sprites)
    assert all(torch.equal(before[name], value) for name, value in weights(RUN / "checkpoint-4").items())


def test_a_run_of_another_palette_is_kept(tiny: Make, few_sprites: Sprites) -> None:
    train(tiny(), few_sprites)
    other = Palette(few_sprites.palette.rgb[::-1])
    rows = {split: few_sprites.tokens(split) for split in few_sprites.splits}
    with pytest.raises(PokemonGenError, match="the sprites themselves"):
        train(tiny(), collect(rows, other, "other"))


def test_a_run_of_changed_sprites_is_kept(tiny: Make, few_sprites: Sprites) -> None:
    train(tiny(), few_sprites)
    rows = {split: few_sprites.tokens(split) for split in few_sprites.splits}
    rows["train"][0, 0] += 1
    with pytest.raises(PokemonGenError, match=r"the sprites themselves \(fingerprint was"):
        train(tiny(), collect(rows, few_sprites.palette, "few"))


def test_a_run_goes_on_with_sprites_that_were_moved(tiny: Make, few_sprites: Sprites) -> None:
    write_text_folder(few_sprites, Path("here"))
    train(tiny(sprites={"source": "text:here"}))
    Path("here").rename("there")
    again = train(tiny(sprites={"source": "text:there", "palette": "there/colormap.txt"}))
    assert again.status == "nothing left to do"


def test_a_run_goes_on_saving_as_often_as_its_settings_say_now(tiny: Make, few_sprites: Sprites) -> None:
    train(tiny(training={"max_steps": 2, "save_steps": 0.5, "eval_steps": 0.5}), few_sprites)
    longer = {"max_steps": 8, "save_steps": 0.5, "eval_steps": 0.5}
    assert train(tiny(training=longer), few_sprites).status == "finished"
    assert [step_of(checkpoint) for checkpoint in valid_checkpoints(RUN)] == [1, 2, 4, 8]


def test_a_run_keeps_fp16_and_says_so_where_there_is_no_gpu(
    tiny: Make, few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished run needs no GPU; one that is to be trained further does."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda *_: False)

    def of_steps(steps: int) -> Settings:
        return without_precision(tiny(training={"max_steps": steps}))

    train(of_steps(2), few_sprites)
    saved = RUN / "checkpoint-2" / "settings.json"
    metadata = json.loads(saved.read_text())
    metadata["training"].update(fp16=True, bf16=False)
    saved.write_text(json.dumps(metadata))
    result = train(of_steps(2), few_sprites)
    assert result.status == "nothing left to do"
    assert result.settings.training["fp16"] is True
    with pytest.raises(PokemonGenError, match=r"training\.fp16.*GPU"):
        train(of_steps(4), few_sprites)


def test_a_batch_that_is_always_dropped_is_told(tiny: Make, few_sprites: Sprites) -> None:
    fields = {"dataloader_drop_last": True, "per_device_train_batch_size": 25}
    with pytest.raises(PokemonGenError, match="24 sprites make no whole batch of 25"):
        train(tiny(training=fields), few_sprites)


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
        {"use_liger_kernel": True},  # another, which `Trainer` asks for last
    ],
)
def test_a_mistake_costs_no_finished_run(tiny: Make, few_sprites: Sprites, mistake: dict[str, Any]) -> None:
    train(tiny(), few_sprites)
    with pytest.raises(PokemonGenError):
        train(tiny(training=mistake), few_sprites, overwrite=True)
    assert last_checkpoint(RUN) == RUN / "checkpoint-4"


def test_a_folder_that_is_no_run_is_kept(tiny: Make, few_sprites: Sprites, tmp_path: Path) -> None:
    train(tiny(name="first"), few_sprites)
    shutil.copytree("checkpoints/first/checkpoint-4", RUN)
    with pytest.raises(PokemonGenError, match="checkpoints/tiny exists and is kept"):
        train(tiny(), few_sprites)
    assert (RUN / "model.safetensors").is_file()


def test_what_a_kill_left_before_the_first_checkpoint_is_no_hindrance(
    tiny: Make, few_sprites: Sprites
) -> None:
    (RUN / "checkpoint-2").mkdir(parents=True)
    (RUN / "checkpoint-2" / "model.safetensors").write_bytes(b"cut")
    (RUN / "runs").mkdir()
    assert train(tiny(), few_sprites).status == "finished"


def test_half_a_settings_file_and_record_are_no_hindrance_either(tiny: Make, few_sprites: Sprites) -> None:
    train(tiny(training={"max_steps": 2}), few_sprites)
    (RUN / ".settings-abcd.json").write_text("{")
    state = RUN / "checkpoint-2" / "trainer_state.json"
    state.write_text(state.read_text()[:40])
    assert train(tiny(), few_sprites).status == "finished"


@pytest.mark.parametrize(
    "name",
    ["optimizer.pt", "scheduler.pt", "rng_state.pth", "model.safetensors"],
)
@pytest.mark.parametrize("left", ["half", "nothing"])
def test_a_damaged_checkpoint_is_passed_over_when_a_run_goes_on(
    tiny: Make, few_sprites: Sprites, name: str, left: str
) -> None:
    """`Trainer` would begin a missing schedule or random stream anew, and say nothing."""
    settings = tiny(training={"max_steps": 6, "save_steps": 2})
    train(settings, few_sprites)
    expected = weights(RUN / "checkpoint-6")
    shutil.rmtree(RUN / "checkpoint-6")
    file = RUN / "checkpoint-4" / name
    if left == "half":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        file.unlink()
    assert train(settings, few_sprites).status == "finished"
    assert_same(RUN / "checkpoint-6", expected)


def test_a_damaged_checkpoint_of_a_later_step_is_not_what_was_reached(
    tiny: Make, few_sprites: Sprites
) -> None:
    train(tiny(), few_sprites)
    (RUN / "checkpoint-4").rename(RUN / "checkpoint-7")
    (RUN / "checkpoint-7" / "optimizer.pt").write_bytes(b"cut")
    result = train(tiny(training={"max_steps": 8, "save_steps": 4}), few_sprites)
    assert (result.status, result.step) == ("finished", 8)


def test_a_run_in_fp16_goes_on_with_its_loss_scale(tiny: Make, few_sprites: Sprites) -> None:
    checkpoint = train(tiny(training={"max_steps": 2}), few_sprites).folder / "checkpoint-2"
    assert can_resume_from(checkpoint, fp16=False)
    assert not can_resume_from(checkpoint, fp16=True)
    torch.save({"scale": 65536.0}, checkpoint / "scaler.pt")
    assert can_resume_from(checkpoint, fp16=True)


def test_a_run_of_damaged_checkpoints_alone_says_so(tiny: Make, few_sprites: Sprites) -> None:
    train(tiny(training={"max_steps": 2}), few_sprites)
    (RUN / "checkpoint-2" / "optimizer.pt").write_bytes(b"cut")
    with pytest.raises(PokemonGenError, match="is damaged, as are all before it"):
        train(tiny(), few_sprites)


def test_more_than_one_process_is_refused(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingArguments, "world_size", 2)
    with pytest.raises(PokemonGenError, match="a run is one process"):
        training_arguments(tiny(), RUN)


def test_a_run_without_its_optimizer_cannot_go_on(tiny: Make, few_sprites: Sprites) -> None:
    train(tiny(training={"save_only_model": True, "max_steps": 2}), few_sprites)
    with pytest.raises(PokemonGenError, match="was saved without its optimizer"):
        train(tiny(training={"save_only_model": True}), few_sprites)
    again = train(tiny(training={"save_only_model": True, "max_steps": 2}), few_sprites)
    assert again.status == "nothing left to do"


def test_a_schedule_keeps_its_shape_whatever_the_length(tiny: Make) -> None:
    """Hold for half, then fall: with a warm-up of a tenth, the same shares of 20 and of 40 steps."""
    shape = {
        "lr_scheduler_type": "warmup_stable_decay",
        "warmup_steps": 0.1,
        "lr_scheduler_kwargs": {"num_decay_steps": 0.5, "decay_type": "linear", "min_lr_ratio": 0.02},
    }
    for steps in (20, 40):
        arguments = training_arguments(tiny(training=shape), RUN)
        fit_schedule(arguments, steps)
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = get_scheduler(
            arguments.lr_scheduler_type,
            optimizer,
            arguments.get_warmup_steps(steps),
            steps,
            arguments.lr_scheduler_kwargs,
        )
        rates = []
        for _ in range(steps):
            rates.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
        assert rates[0] < 1
        assert set(rates[steps // 10 : steps // 2]) == {1.0}
        assert rates[3 * steps // 4] == pytest.approx(0.51)


def test_our_trainer_takes_the_steps_of_a_bare_loop(tiny: Make, few_sprites: Sprites) -> None:
    """The homework's loop: AdamW on every parameter, constant rate, no clipping."""
    model = {**TINY_MODEL, "attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
    fields = {
        "per_device_train_batch_size": 24,  # all of train, so that no order matters
        "learning_rate": 1e-2,
        "weight_decay": 0.1,
        "decay_every_parameter": True,
        "max_grad_norm": 0,
        "optim": "adamw_torch",
        "lr_scheduler_type": "constant",
    }
    train(tiny(model=model, training=fields), few_sprites)
    bare = build_model(model, 167, seed=0).train()
    optimizer = torch.optim.AdamW(bare.parameters(), lr=1e-2, weight_decay=0.1)
    tokens = torch.from_numpy(few_sprites.tokens("train"))
    for _ in range(4):
        bare(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for name, value in weights(RUN / "checkpoint-4").items():
        torch.testing.assert_close(value, bare.state_dict()[name], rtol=0, atol=1e-4, msg=name)


def test_a_checkpoint_cut_off_by_a_kill_is_passed_over(tiny: Make, few_sprites: Sprites) -> None:
    train(tiny(), few_sprites)
    state = RUN / "checkpoint-4" / "trainer_state.json"
    state.write_text(state.read_text()[:40])
    assert last_checkpoint(RUN) == RUN / "checkpoint-2"
    result = train(tiny(), few_sprites)
    assert (result.status, result.step) == ("finished", 4)
    assert last_checkpoint(RUN) == RUN / "checkpoint-4"


@pytest.mark.parametrize("step", [2, 3], ids=["in the middle of an epoch", "at its end"])
@pytest.mark.parametrize("saved_by", ["epoch", "steps"])
def test_an_interrupt_saves_once_and_goes_on_in_the_same_stream(
    tiny: Make, few_sprites: Sprites, step: int, saved_by: str
) -> None:
    """`Trainer` measures and saves after an epoch, also after one that was left in its middle."""
    epochs = {"max_steps": -1, "num_train_epochs": 2, "save_strategy": saved_by, "eval_strategy": "epoch"}
    epochs["save_steps"] = 3
    parts, whole = (tiny(name=name, training=epochs) for name in ("parts", "whole"))
    watch = PressCtrlC(step)
    assert train(parts, few_sprites, [watch]).status == "interrupted"
    assert watch.saved == 1
    assert last_checkpoint(Path("checkpoints/parts")) == Path(f"checkpoints/parts/checkpoint-{step}")
    train(parts, few_sprites)
    train(whole, few_sprites)
    assert_same(Path("checkpoints/parts/checkpoint-6"), weights(Path("checkpoints/whole/checkpoint-6")))


def test_a_kill_after_an_epochs_last_save_changes_nothing(tiny: Make, few_sprites: Sprites) -> None:
    """Measuring, at the epoch's end, draws from the random stream that the checkpoint holds."""

    class Kill(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 3:
                raise RuntimeError("killed")

    fields = {"max_steps": 6, "save_steps": 3, "eval_strategy": "epoch"}
    parts, whole = (tiny(name=name, training=fields) for name in ("parts", "whole"))
    with pytest.raises(RuntimeError, match="killed"):
        train(parts, few_sprites, [Kill()])
    train(parts, few_sprites)
    train(whole, few_sprites)
    ends = [Path(f"checkpoints/{name}/checkpoint-6") for name in ("parts", "whole")]
    assert_same(ends[0], weights(ends[1]))
    measured = [[e["step"] for e in log_history(end) if "eval_nll" in e] for end in ends]
    assert measured == [[3, 6], [3, 6]]


def test_the_last_checkpoint_has_what_was_measured_after_it(tiny: Make, few_sprites: Sprites) -> None:
    """Also where the run ends in the middle of an epoch."""
    result = train(tiny(training={"max_steps": 4, "save_steps": 4, "eval_strategy": "epoch"}), few_sprites)
    measured = {e["step"]: e["eval_nll"] for e in log_history(RUN / "checkpoint-4") if "eval_nll" in e}
    assert list(measured) == [3, 4]
    assert result.dev_nll == measured[4]


def test_an_interrupt_in_the_last_step_leaves_a_finished_run(tiny: Make, few_sprites: Sprites) -> None:
    """Which ends in the middle of an epoch, and is measured there all the same."""
    fields = {"save_strategy": "epoch", "eval_strategy": "epoch"}
    result = train(tiny(training=fields), few_sprites, [PressCtrlC(4)])
    assert (result.status, result.step) == ("finished", 4)
    measured = [entry["step"] for entry in log_history(RUN / "checkpoint-4") if "eval_nll" in entry]
    assert measured == [3, 4]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_a_checkpoint_to_go_on_from(
    tiny: Make, few_sprites: Sprites, number: signal.Signals
) -> None:
    settings = tiny(training={"save_steps": 100, "eval_steps": 100})
    before = signal.getsignal(number)
    result = train(settings, few_sprites, [PressCtrlC(3, number)])
    assert (result.status, result.step) == ("interrupted", 3)
    assert signal.getsignal(number) is before
    assert last_checkpoint(RUN) == RUN / "checkpoint-3"
    assert train(settings, few_sprites).status == "finished"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "learnin_rate",
            1,
            r"unknown setting 'training\.learnin_rate'; did you mean 'training\.learning_rate'",
        ),
        ("learning_rate", "high", r"training\.learning_rate: should be a valid number.* not 'high'"),
        ("max_steps", 1.5, r"training\.max_steps: should be a valid integer.* not 1\.5"),
        ("output_dir", "x", r"training\.output_dir cannot be set: it follows from `name`"),
        ("seed", 1, r"training\.seed cannot be set"),
        ("lr_scheduler_type", "cosin", r"training\.lr_scheduler_type: unknown 'cosin'; one of .*, cosine,"),
        ("optim", "adamm", r"training\.optim: unknown 'adamm'; one of adamw_torch,"),
        ("eval_strategy", "xyz", r"training\.eval_strategy: unknown 'xyz'; one of no, steps, epoch"),
        ("learning_rate", True, r"training\.learning_rate: should be a valid number, not True"),
        ("max_steps", 0, r"training\.max_steps: 1 or more"),
        ("muon_weight_decay", 0.1, r"training\.muon_weight_decay: does nothing without"),
        ("muon_learning_rate", -0.1, r"training\.muon_learning_rate: 0 \(none\) or more"),
        ("attn_implementation", "eagre", r"training\.attn_implementation: should be 'eager' or 'sdpa'"),
        ("save_strategy", "no", r"training\.save_strategy: 'no' would throw the trained model away"),
        ("save_strategy", "best", r"training\.save_strategy: steps or epoch"),
    ],
)
def test_a_mistaken_training_field_is_named(tiny: Make, field: str, value: Any, message: str) -> None:
    with pytest.raises(PokemonGenError, match=message):
        training_arguments(tiny(training={field: value}), RUN)


@pytest.mark.parametrize(
    ("fields", "steps"),
    [
        ({"max_steps": 7}, 7),
        ({"max_steps": -1, "num_train_epochs": 2}, 6),
        ({"max_steps": -1, "num_train_epochs": 2, "per_device_train_batch_size": 10}, 6),
        ({"max_steps": -1, "num_train_epochs": 1.5, "gradient_accumulation_steps": 2}, 3),
    ],
)
def test_steps_are_counted_as_the_trainer_counts_them(
    tiny: Make, few_sprites: Sprites, fields: dict[str, Any], steps: int
) -> None:
    settings = tiny(training={**fields, "save_steps": 1})
    assert count_steps(training_arguments(settings, RUN), 24) == steps
    assert train(settings, few_sprites).step == steps


def test_every_parameter_decays_only_where_asked(tiny: Make, few_sprites: Sprites) -> None:
    def norms(decay_every_parameter: bool) -> torch.Tensor:
        training = {
            "learning_rate": 1.0,
            "weight_decay": 1.0,  # times the rate: what decays is zero before Adam's own step of 1
            "max_steps": 1,
            "save_steps": 1,
            "decay_every_parameter": decay_every_parameter,
            "lr_scheduler_type": "constant",
        }
        train(tiny(training=training), few_sprites, overwrite=True)
        return weights(RUN / "checkpoint-1")["transformer.ln_f.weight"]

    assert (norms(False).round() % 2 == 0).all()  # 1 kept, ± 1
    assert (norms(True).round().abs() == 1).all()  # 1 decayed to 0, ± 1


def test_bf16_trains_on_a_cpu_where_asked(tiny: Make, few_sprites: Sprites) -> None:
    result = train(tiny(training={"bf16": True, "max_steps": 2}), few_sprites)
    assert result.dev_nll is not None
    assert np.isfinite(result.dev_nll)
    assert weights(RUN / "checkpoint-2")["transformer.wte.weight"].dtype == torch.float32


def test_the_precision_chosen_is_written_down(
    tiny: Make, few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = without_precision(tiny())
    monkeypatch.setattr("pokemon_gen.training.run.choose_precision", lambda *_: {"bf16": True, "fp16": False})
    train(settings.model_copy(update={"training": {**settings.training, "max_steps": 2}}), few_sprites)
    # Somewhere else fp32 may be the faster: the run goes on as it began.
    monkeypatch.setattr(
        "pokemon_gen.training.run.choose_precision", lambda *_: {"bf16": False, "fp16": False}
    )
    train(settings, few_sprites)
    saved = json.loads((RUN / "checkpoint-4" / "settings.json").read_text())
    assert (saved["training"]["bf16"], saved["training"]["fp16"]) == (True, False)


def test_a_run_on_the_cpu_gets_the_precision_of_the_cpu(tiny: Make, few_sprites: Sprites, monkeypatch: Any) -> None:
    """Also where there is a GPU, which may have another one."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("pokemon_gen.training.precision.cpu_multiplies_bf16", lambda: True)
    settings = without_precision(tiny(training={"use_cpu": True}))
    _, _, prepared = prepare(settings, few_sprites.palette, RUN)
    assert {key: prepared.training[key] for key in ("bf16", "fp16")} == {"bf16": True, "fp16": False}


def test_a_bar_is_shown_unless_told_otherwise(tiny: Make) -> None:
    assert not training_arguments(tiny(), RUN).disable_tqdm
    assert training_arguments(tiny(training={"disable_tqdm": True}), RUN).disable_tqdm


def test_tensorboard_is_the_default_tracker(tiny: Make, few_sprites: Sprites) -> None:
    settings = tiny()
    training = {key: value for key, value in settings.training.items() if key != "report_to"}
    train(settings.model_copy(update={"training": training}), few_sprites)
    (events,) = RUN.glob("runs/*")
    logged = EventAccumulator(str(events)).Reload().Tags()["scalars"]
    assert {"train/loss", "eval/nll", "eval/completion_nll"} <= set(logged)


STEPS = {"max_steps": 8, "save_steps": 2, "eval_steps": 2}


def names_of(folder: Path) -> list[str]:
    return [checkpoint.name for checkpoint in valid_checkpoints(folder)]


@pytest.mark.parametrize("metric", ["completion_nll", "eval_completion_nll", "nll", "loss", None])
def test_the_best_is_the_lowest_and_the_last_is_kept(
    tiny: Make, few_sprites: Sprites, metric: str | None
) -> None:
    """`Trainer` takes every metric whose name does not end in "loss" for a score, and keeps the worst."""

    class Worsen(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any) -> None:
            if state.global_step > 4:
                with torch.no_grad():
                    for parameter in model.parameters():
                        parameter.mul_(-5)

    best = {"load_best_model_at_end": True, **({"metric_for_best_model": metric} if metric else {})}
    result = train(tiny(training={**STEPS, "save_total_limit": 1, **best}), few_sprites, [Worsen()])
    assert names_of(RUN) == ["checkpoint-4", "checkpoint-8"]
    assert (result.status, result.step) == ("finished", 8)
    again = train(tiny(training={**STEPS, "save_total_limit": 1, **best}), few_sprites)
    assert again.status == "nothing left to do"


def test_checkpoints_are_removed_by_their_steps(tiny: Make, few_sprites: Sprites) -> None:
    """By their times, those unpacked in another time zone would be newer than each that is saved now."""
    limit = {**STEPS, "save_total_limit": 2}
    train(tiny(training=limit), few_sprites)
    assert names_of(RUN) == ["checkpoint-6", "checkpoint-8"]
    for checkpoint in valid_checkpoints(RUN):
        os.utime(checkpoint, (2e9, 2e9))
    result = train(tiny(training={**limit, "max_steps": 12}), few_sprites)
    assert (result.status, result.step) == ("finished", 12)
    assert names_of(RUN) == ["checkpoint-10", "checkpoint-12"]


def test_a_later_checkpoint_that_is_damaged_does_not_push_out_a_new_one(
    tiny: Make, few_sprites: Sprites
) -> None:
    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = state.global_step == 6

    train(tiny(training=STEPS), few_sprites)
    for step in (6, 8):
        (RUN / f"checkpoint-{step}" / "optimizer.pt").write_bytes(b"")
    longer = tiny(training={**STEPS, "max_steps": 12, "save_total_limit": 1})
    result = train(longer, few_sprites, [Stop()])
    assert (result.status, result.step) == ("interrupted", 6)
    assert names_of(RUN) == ["checkpoint-6"]


def test_a_checkpoint_without_some_weights_is_not_resumed_from(tiny: Make, few_sprites: Sprites) -> None:
    train(tiny(), few_sprites)
    found = weights(RUN / "checkpoint-4")
    del found["transformer.h.0.attn.c_attn.weight"]
    save_file(found, RUN / "checkpoint-4" / "model.safetensors", {"format": "pt"})
    with pytest.raises(PokemonGenError, match=r"missing: transformer\.h\.0\.attn\.c_attn\.weight"):
        train(tiny(training={"max_steps": 6}), few_sprites)
    assert names_of(RUN) == ["checkpoint-2", "checkpoint-4"]


def test_everybody_may_read_what_the_umask_lets_them(tiny: Make, few_sprites: Sprites) -> None:
    """Safetensors writes files that nobody but their owner can read."""
    before = os.umask(0o027)
    try:
        train(tiny(), few_sprites)
        made = {path: path.stat().st_mode & 0o777 for path in RUN.rglob("*") if path.is_file()}
    finally:
        os.umask(before)
    assert {path.name for path in made} >= {"model.safetensors", "optimizer.pt", "settings.json"}
    assert {path.name: mode for path, mode in made.items() if mode != 0o640} == {}


@pytest.mark.parametrize(
    ("field", "value", "facts"),
    [
        ("eval_do_concat_batches", False, ["training.eval_do_concat_batches", "always true"]),
        ("batch_eval_metrics", True, ["training.batch_eval_metrics"]),
        ("prediction_loss_only", True, ["training.prediction_loss_only"]),
        (
            "metric_for_best_model",
            "accuracy",
            ["training.metric_for_best", "completion_nll, nll, loss"],
        ),
        ("metric_for_best_model", "completion_nl", ["did you mean 'completion_nll'"]),
        ("greater_is_better", True, ["training.greater_is_better", "lower"]),
        ("torch_compile_mode", "fastest", ["fastest"]),
        ("log_level", "loud", ["loud"]),
        ("push_to_hub", True, ["training.push_to_hub", "the hub"]),
    ],
)
def test_a_field_that_would_fail_after_the_training_is_refused_before(
    tiny: Make, few_sprites: Sprites, field: str, value: Any, facts: list[str]
) -> None:
    with pytest.raises(PokemonGenError) as error:
        train(tiny(training={field: value}), few_sprites)
    assert all(fact in str(error.value) for fact in facts)
    assert not Path("checkpoints").exists()


def test_all_of_dev_is_measured_whatever_batches_are_dropped(tiny: Make, few_sprites: Sprites) -> None:
    """Eight sprites make no whole batch of 80, and nothing would be measured."""
    dropped = train(tiny(name="dropped", training={"dataloader_drop_last": True}), few_sprites)
    plain = train(tiny(name="plain"), few_sprites)
    assert dropped.dev_nll == plain.dev_nll is not None


def test_sprites_that_are_given_need_no_source(tiny: Make, few_sprites: Sprites) -> None:
    assert train(tiny(sprites={"source": "text:elsewhere"}), few_sprites).status == "finished"
