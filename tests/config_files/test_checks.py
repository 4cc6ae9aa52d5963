"""Checks of `training:` and `model:` sections report each mistake with the setting and what is possible."""

from typing import Any

import pytest

from pokemon_gen.config_files.checks import MODEL_REFUSED, check_family, check_model, check_training
from pokemon_gen.config_files.fields import training_types
from pokemon_gen.errors import SettingError
from pokemon_gen.settings import Settings


def check(field: str, value: object) -> dict[str, Any]:
    types = training_types()
    assert types is not None
    return check_training({field: value}, types, Settings.measured)


@pytest.mark.parametrize(
    ("field", "value"), [("bf16", 1), ("max_steps", True), ("learning_rate", "x"), ("optim", 3)]
)
def test_a_value_of_another_type_is_refused(field: str, value: object) -> None:
    with pytest.raises(SettingError, match=rf"training\.{field}: .*not {value!r}") as caught:
        check(field, value)
    assert caught.value.setting == f"training.{field}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_steps", 0),
        ("max_steps", -2),
        ("num_train_epochs", 0.0),
        ("gradient_accumulation_steps", 0),
        ("per_device_eval_batch_size", 0),
        ("muon_learning_rate", -0.1),
        ("muon_weight_decay", -1.0),
    ],
)
def test_an_impossible_number_is_refused(field: str, value: float) -> None:
    with pytest.raises(SettingError, match=rf"training\.{field}: .*not {value}"):
        check(field, value)


def test_possible_values_are_converted() -> None:
    assert check("max_steps", -1) == {"max_steps": -1}
    assert check("learning_rate", 1) == {"learning_rate": 1.0}
    assert check("metric_for_best_model", "eval_nll") == {"metric_for_best_model": "eval_nll"}


def test_a_field_of_the_library_that_follows_from_the_run_cannot_be_set() -> None:
    with pytest.raises(SettingError, match=r"training\.seed .*`seed`"):
        check("seed", 1)


def test_an_unknown_field_of_a_model_names_the_nearest_one() -> None:
    known = ["n_layer", "n_head", "vocab_size"]
    check_model(["n_layer"], known, "gpt2", "model", MODEL_REFUSED)
    with pytest.raises(SettingError, match=r"'model\.n_layers' for gpt2.*'model\.n_layer'"):
        check_model(["n_layers"], known, "gpt2", "model", MODEL_REFUSED)
    with pytest.raises(SettingError, match=r"model\.vocab_size .*palette"):
        check_model(["vocab_size"], known, "gpt2", "model", MODEL_REFUSED)


def test_an_unknown_model_type_names_the_nearest_one() -> None:
    check_family("gpt2", ["gpt2", "llama"], "model")
    with pytest.raises(SettingError, match=r"model\.model_type: 'gtp2' .*'gpt2'") as caught:
        check_family("gtp2", ["gpt2", "llama"], "model")
    assert caught.value.setting == "model.model_type"
