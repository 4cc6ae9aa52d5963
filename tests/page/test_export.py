"""What the export refuses, and what the bytes of a page hold."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from pokemon_gen.augmentation import ConditioningTokens
from pokemon_gen.models.build import build_model
from pokemon_gen.models.ensemble import Ensemble
from pokemon_gen.page.export import FAMILIES, PageModel, export_models
from tests.builders import error_with
from tests.model_builders import LLAMA_LIKE, MODEL_TYPES, V

LINEAR_ROPE = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
REFUSED = {
    "gpt_neox": MODEL_TYPES["gpt_neox"],
    "scale_attn_by_inverse_layer_idx": {**MODEL_TYPES["gpt2"], "scale_attn_by_inverse_layer_idx": True},
    "reorder_and_upcast_attn": {**MODEL_TYPES["gpt2"], "reorder_and_upcast_attn": True},
    "use_parallel_residual": {**MODEL_TYPES["stablelm"], "use_parallel_residual": True},
    "rope_type=linear": {**MODEL_TYPES["llama"], "rope_parameters": LINEAR_ROPE},
    "activation 'mish'": {**MODEL_TYPES["llama"], "hidden_act": "mish"},
    "mixtral": {"model_type": "mixtral", **LLAMA_LIKE, "num_local_experts": 2},
}


def stored(model: PageModel, name: str) -> np.ndarray:
    """Return one tensor of an exported model."""
    place, kind = model.spec["tensors"][name], {"fp16": "<f2", "fp32": "<f4"}[model.spec["precision"]]
    count = int(np.prod(place["shape"]))
    return np.frombuffer(model.weights, kind, count, place["offset"]).reshape(place["shape"])


@pytest.mark.parametrize("feature", REFUSED)
def test_a_feature_that_the_engine_lacks_is_named(feature: str) -> None:
    with error_with(feature, "cannot run", "gpt2, llama, mistral, qwen3, stablelm", "pokemon-gen report"):
        export_models(build_model(REFUSED[feature], V, seed=0))


def test_a_class_of_ones_own_is_refused() -> None:
    class Doubled(LlamaForCausalLM):
        pass

    with error_with("Doubled, a class of your own"):
        export_models(Doubled(build_model(MODEL_TYPES["llama"], V, seed=0).config))


def test_a_module_that_the_description_does_not_have_is_refused() -> None:
    model = build_model(MODEL_TYPES["llama"], V, seed=0)
    model.model.layers[0].adapter = torch.nn.Linear(2, 2)
    with error_with("tensor model.layers.0.adapter"):
        export_models(model)


def test_tensors_of_another_shape_are_refused() -> None:
    model = build_model(MODEL_TYPES["llama"], V, seed=0)
    model.model.layers[0].mlp.up_proj = torch.nn.Linear(16, 33, bias=False)
    with error_with("mlp.up_proj.weight is of shape (33, 16) instead of (32, 16)"):
        export_models(model)


def test_too_few_positions_are_refused() -> None:
    model = build_model(MODEL_TYPES["llama"], V, seed=0)
    model.config.max_position_embeddings = 399
    with error_with("399 positions"):
        export_models(model)


def test_a_weight_that_fp16_cannot_hold_is_named() -> None:
    model = build_model(MODEL_TYPES["llama"], V, seed=0)
    model.model.norm.weight.data[3] = 1e5
    with error_with("norm.weight", "1e+05", "fp16"):
        export_models(model)
    assert export_models(model, "fp32")


@pytest.mark.parametrize("family", FAMILIES)
def test_fp16_weights_take_half_the_bytes_and_are_the_rounded_ones(family: str) -> None:
    model = build_model(MODEL_TYPES[family], V, seed=0)
    (half,), (full,) = export_models(model), export_models(model, "fp32")
    assert len(half.weights) == pytest.approx(len(full.weights) / 2, rel=0.01)
    for name in full.spec["tensors"]:
        np.testing.assert_array_equal(stored(half, name), stored(full, name).astype("<f2"))


def test_gpt2s_matrices_are_split_and_transposed() -> None:
    model = build_model(MODEL_TYPES["gpt2"], V, seed=0)
    (exported,) = export_models(model, "fp32")
    fused = model.transformer.h[0].attn.c_attn.weight.detach().numpy()  # (16, 48)
    parts = [stored(exported, f"layers.0.{name}.weight") for name in ("query", "key", "value")]
    np.testing.assert_array_equal(np.concatenate(parts), fused.T)


@pytest.mark.parametrize(("tied", "names"), [(True, set()), (False, {"head"})])
def test_a_tied_head_is_stored_once(tied: bool, names: set[str]) -> None:
    model = build_model({**MODEL_TYPES["llama"], "tie_word_embeddings": tied}, V, seed=0)
    (exported,) = export_models(model)
    assert {"head"} & set(exported.spec["tensors"]) == names


def test_conditioning_tokens_become_the_prefix() -> None:
    conditioning = ConditioningTokens(5, (V, V + 2))
    (exported,) = export_models(build_model(MODEL_TYPES["qwen3"], V, seed=0, conditioning=conditioning))
    assert exported.spec["prefix"] == [V, V + 2]
    assert exported.spec["colours"] == V
    assert exported.spec["tensors"]["embedding"]["shape"][0] == V + 5


@pytest.mark.parametrize(
    ("fields", "windows"),
    [
        ({"sliding_window": 7, "num_hidden_layers": 2}, [7, 7]),
        ({"sliding_window": None, "num_hidden_layers": 2}, [None, None]),
    ],
)
def test_mistrals_window_holds_in_each_layer(fields: dict[str, Any], windows: list[Any]) -> None:
    (exported,) = export_models(build_model({**MODEL_TYPES["mistral"], **fields}, V, seed=0))
    assert exported.spec["windows"] == windows


def test_each_member_of_an_ensemble_is_exported() -> None:
    members = [build_model(MODEL_TYPES[family], V, seed=0) for family in ("gpt2", "mistral")]
    exported = export_models(Ensemble(members))
    assert [model.spec["family"] for model in exported] == ["gpt2", "mistral"]
