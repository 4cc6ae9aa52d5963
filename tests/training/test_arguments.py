"""`training/arguments.py`: the fields of `training:`, schedules, numbers of steps, and seeds."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments, get_scheduler

from pokemon_gen.models.build import build_model
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.training.arguments import (
    count_steps,
    derived_seed,
    fit_schedule,
    set_attention,
    training_arguments,
)
from pokemon_gen.training.run import train
from tests.builders import RUN, TINY_MODEL, MakeSettings, error_with
from tests.model_builders import weights_of


@pytest.mark.parametrize(
    ("field", "value", "facts"),
    [
        ("learnin_rate", 1, ["'training.learnin_rate'", "did you mean 'training.learning_rate'"]),
        ("learning_rate", "high", ["training.learning_rate", "number", "'high'"]),
        ("learning_rate", True, ["training.learning_rate", "number", "True"]),
        ("max_steps", 1.5, ["training.max_steps", "integer", "1.5"]),
        ("max_steps", 0, ["training.max_steps", "at least 1"]),
        ("output_dir", "x", ["training.output_dir cannot be set", "`name`"]),
        ("seed", 1, ["training.seed cannot be set", "`seed`"]),
        ("lr_scheduler_type", "cosin", ["training.lr_scheduler_type", "'cosin'", ", cosine,"]),
        ("optim", "adamm", ["training.optim", "'adamm'", "adamw_torch,"]),
        ("eval_strategy", "xyz", ["training.eval_strategy", "'xyz'", "no, steps, epoch"]),
        ("muon_weight_decay", 0.1, ["training.muon_weight_decay", "training.muon_learning_rate"]),
        ("muon_learning_rate", -0.1, ["training.muon_learning_rate", "at least 0", "-0.1"]),
        ("attn_implementation", "eagre", ["training.attn_implementation", "'eager' or 'sdpa'", "'eagre'"]),
        ("save_strategy", "no", ["training.save_strategy", "'no'", "steps or epoch"]),
        ("save_strategy", "best", ["training.save_strategy", "'best'", "steps or epoch"]),
    ],
)
def test_a_mistaken_field_is_named(tiny: MakeSettings, field: str, value: Any, facts: list[str]) -> None:
    with error_with(*facts):
        training_arguments(tiny(training={field: value}), RUN)


@pytest.mark.parametrize(
    ("field", "value", "facts"),
    [
        ("eval_do_concat_batches", False, ["training.eval_do_concat_batches", "always true"]),
        ("batch_eval_metrics", True, ["training.batch_eval_metrics"]),
        ("prediction_loss_only", True, ["training.prediction_loss_only"]),
        ("metric_for_best_model", "accuracy", ["training.metric_for_best", "completion_nll, nll, loss"]),
        ("metric_for_best_model", "completion_nl", ["did you mean 'completion_nll'"]),
        ("greater_is_better", True, ["training.greater_is_better", "lower"]),
        ("torch_compile_mode", "fastest", ["fastest"]),
        ("log_level", "loud", ["loud"]),
        ("push_to_hub", True, ["training.push_to_hub", "`hf auth login`"]),
    ],
)
def test_a_field_that_would_fail_during_the_training_is_refused_before_it(
    tiny: MakeSettings, few_sprites: Sprites, field: str, value: Any, facts: list[str]
) -> None:
    with error_with(*facts):
        train(tiny(training={field: value}), few_sprites)
    assert not Path("checkpoints").exists()


def test_an_attention_that_a_model_type_does_not_support_is_named(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    bloom = {"model_type": "bloom", "n_layer": 1, "n_head": 2, "hidden_size": 16}
    with error_with("training.attn_implementation", "bloom"):
        train(tiny(model=bloom, training={"attn_implementation": "eager"}), few_sprites)


def test_a_batch_size_at_which_every_batch_is_dropped_is_refused(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    training = {"dataloader_drop_last": True, "per_device_train_batch_size": 25}
    with error_with("training.dataloader_drop_last", "24 sprites", "batch of 25"):
        train(tiny(training=training), few_sprites)


def test_more_than_one_process_is_refused(tiny: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingArguments, "world_size", 2)
    with error_with("training", "one process", "torchrun"):
        training_arguments(tiny(), RUN)


@pytest.mark.parametrize(
    ("fields", "steps"),
    [
        ({"max_steps": 7}, 7),
        ({"max_steps": -1, "num_train_epochs": 2}, 6),
        ({"max_steps": -1, "num_train_epochs": 2, "per_device_train_batch_size": 10}, 6),
        ({"max_steps": -1, "num_train_epochs": 1.5, "gradient_accumulation_steps": 2}, 3),
    ],
)
def test_steps_are_counted_as_trainer_counts_them(
    tiny: MakeSettings, few_sprites: Sprites, fields: dict[str, Any], steps: int
) -> None:
    settings = tiny(training={**fields, "save_steps": 1})
    assert count_steps(training_arguments(settings, RUN), 24, "sprites") == steps
    assert train(settings, few_sprites).step == steps


def test_a_schedule_keeps_its_shape_for_any_number_of_steps(tiny: MakeSettings) -> None:
    """The rate rises for a tenth of the run, is constant until its middle, and falls in its second half."""
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


def test_every_parameter_decays_only_if_the_settings_ask_for_it(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    def norm_weights(decay_every_parameter: bool) -> torch.Tensor:
        training = {
            "learning_rate": 1.0,
            "weight_decay": 1.0,  # times the rate: what decays is zero before Adam's own step of 1
            "max_steps": 1,
            "save_steps": 1,
            "decay_every_parameter": decay_every_parameter,
            "lr_scheduler_type": "constant",
        }
        train(tiny(training=training), few_sprites, overwrite=True)
        return weights_of(RUN / "checkpoint-1")["transformer.ln_f.weight"]

    assert (norm_weights(False).round() % 2 == 0).all()  # 1 did not decay, and Adam's step is ± 1
    assert (norm_weights(True).round().abs() == 1).all()  # 1 decayed to 0, and Adam's step is ± 1


def test_a_progress_bar_is_shown_by_default(tiny: MakeSettings) -> None:
    assert not training_arguments(tiny(), RUN).disable_tqdm
    assert training_arguments(tiny(training={"disable_tqdm": True}), RUN).disable_tqdm


@pytest.mark.parametrize(
    "numbers", [[(0,), (1,), (2,)], [(0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1), (0, 0, 1)]]
)
def test_a_derived_seed_depends_on_each_number_and_on_their_order(numbers: list[tuple[int, ...]]) -> None:
    seeds = [derived_seed(*each) for each in numbers]
    assert seeds == [derived_seed(*each) for each in numbers]
    assert all(0 <= seed < 2**32 for seed in seeds)
    # Seeds that are neighbours would share orders of sprites, since accelerate adds the epoch to the seed.
    assert all(abs(first - second) > 1000 for first, second in itertools.combinations(seeds, 2))


def test_the_order_of_the_sprites_has_a_seed_that_the_settings_can_override(tiny: MakeSettings) -> None:
    assert training_arguments(tiny(seed=3), RUN).data_seed == derived_seed(3)
    assert training_arguments(tiny(seed=3, training={"data_seed": 7}), RUN).data_seed == 7


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"bf16": True, "per_device_train_batch_size": 12}, "eager"),  # 24 attention matrices
        ({"bf16": True, "per_device_train_batch_size": 13}, "sdpa"),
        ({"bf16": False, "per_device_train_batch_size": 8}, "sdpa"),
        ({"bf16": True, "attn_implementation": "sdpa"}, "sdpa"),
    ],
)
def test_the_default_attention_of_a_cpu_depends_on_precision_and_size(
    tiny: MakeSettings, fields: dict[str, Any], expected: str
) -> None:
    arguments = training_arguments(tiny(training={**fields, "use_cpu": True}), RUN)
    model = build_model(TINY_MODEL, 167, 0)  # two heads
    set_attention(model, arguments)
    assert model.config._attn_implementation == expected
