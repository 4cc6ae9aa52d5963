"""`fields.py`: what the sources of `transformers` say of fields is what its classes have."""

import dataclasses

import pytest
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from pokemon_gen.config_files.fields import causal_types, check_training, model_fields, training_types
from pokemon_gen.errors import SettingError
from pokemon_gen.models.build import config_fields
from pokemon_gen.training.arguments import SpriteTrainingArguments


def test_the_fields_of_training_are_those_of_the_class() -> None:
    types = training_types()
    assert types is not None
    assert set(types) == {field.name for field in dataclasses.fields(SpriteTrainingArguments) if field.init}
    assert types["learning_rate"] is float
    assert types["bf16"] is bool


def test_the_types_of_models_are_those_of_the_library() -> None:
    assert causal_types() == set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


@pytest.mark.parametrize(
    "model_type",
    ["gpt2", "gptj", "gpt_neox", "llama", "mistral", "qwen3", "stablelm", "phi3", "jamba", "opt", "mamba"],
)
def test_the_fields_of_a_model_are_those_of_its_config(model_type: str) -> None:
    fields = model_fields(model_type)
    assert fields is not None
    theirs = {name for name in config_fields(CONFIG_MAPPING[model_type]) if not name.startswith("_")}
    assert theirs <= set(fields)


def test_what_the_sources_do_not_tell_is_left_to_the_classes() -> None:
    assert model_fields("no-such-type") is None


@pytest.mark.parametrize(
    ("field", "value"), [("bf16", 1), ("max_steps", True), ("learning_rate", "x"), ("optim", 3)]
)
def test_a_value_of_another_type_is_refused(field: str, value: object) -> None:
    types = training_types()
    assert types is not None
    with pytest.raises(SettingError, match=f"training.{field}: .*not {value!r}"):
        check_training({field: value}, types)
