"""`models/hf_compat.py`: a private attribute that a release of `transformers` lacks is named."""

from collections.abc import Callable
from typing import Any

import pytest
import transformers
from transformers import PreTrainedModel, TrainingArguments
from transformers.utils import logging

from pokemon_gen.models.build import build_model
from pokemon_gen.models.hf_compat import (
    TESTED,
    attention_of,
    can_set_attention,
    quiet,
    takes_dynamic_cache,
    use_one_gpu,
)
from tests.builders import TINY_MODEL, error_with


@pytest.mark.parametrize(
    ("attribute", "function"),
    [
        ("_can_set_attn_implementation", can_set_attention),
        ("_is_stateful", takes_dynamic_cache),
        ("_supports_default_dynamic_cache", takes_dynamic_cache),
    ],
)
def test_a_missing_attribute_of_models_is_named(
    monkeypatch: pytest.MonkeyPatch, attribute: str, function: Callable[[PreTrainedModel], Any]
) -> None:
    model = build_model(TINY_MODEL, 7, seed=0)
    function(model)  # works with the installed release
    for owner in type(model).__mro__:
        if attribute in vars(owner):
            monkeypatch.delattr(owner, attribute)
    with error_with(attribute, f"transformers {transformers.__version__}", TESTED):
        function(model)


def test_a_missing_attribute_of_configs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(TINY_MODEL, 7, seed=0)
    assert attention_of(model) == "sdpa"
    monkeypatch.delattr(transformers.PretrainedConfig, "_attn_implementation")
    with error_with("_attn_implementation", f"transformers {transformers.__version__}", TESTED):
        attention_of(model)


def test_a_training_uses_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = TrainingArguments("unused", use_cpu=True)
    arguments._n_gpu = 4
    use_one_gpu(arguments)
    assert arguments.n_gpu == 1
    monkeypatch.delattr(TrainingArguments, "n_gpu")
    with error_with("_n_gpu", f"transformers {transformers.__version__}", TESTED):
        use_one_gpu(arguments)


def test_quiet_restores_verbosity_and_progress_bars() -> None:
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with quiet():
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (logging.ERROR, False)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
