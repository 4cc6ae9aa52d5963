"""The fields that are read from the source files of `transformers` are those of its classes."""

import dataclasses

import pytest
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from pokemon_gen.config_files.fields import causal_types, model_fields, training_types
from pokemon_gen.constants import SCRATCH
from pokemon_gen.models.build import config_fields
from pokemon_gen.training.arguments import RunTrainingArguments


def test_the_fields_of_training_are_those_of_the_class() -> None:
    types = training_types()
    assert types is not None
    assert set(types) == {field.name for field in dataclasses.fields(RunTrainingArguments) if field.init}
    assert types["learning_rate"] is float
    assert types["bf16"] is bool


def test_the_model_types_are_those_of_the_library() -> None:
    assert causal_types() == {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, SCRATCH}


@pytest.mark.parametrize(
    "model_type",
    ["gpt2", "gptj", "gpt_neox", "llama", "mistral", "qwen3", "stablelm", "phi3", "jamba", "opt", "mamba"],
)
def test_the_fields_of_a_model_are_those_of_its_config(model_type: str) -> None:
    fields = model_fields(model_type)
    assert fields is not None
    theirs = {name for name in config_fields(CONFIG_MAPPING[model_type]) if not name.startswith("_")}
    assert theirs <= set(fields)


def test_the_fields_of_an_unknown_type_are_unknown() -> None:
    assert model_fields("no-such-type") is None
