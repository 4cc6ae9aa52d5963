"""`models/build.py`: any decoder-only type, with checked fields and a token for each colour."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from pokemon_gen.augmentation import ConditioningTokens
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.build import build_model
from tests.builders import TINY_MODEL, error_with
from tests.model_builders import MODEL_TYPES


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_every_model_type_fits_the_palette_and_the_sprite(model_type: str) -> None:
    model = build_model(MODEL_TYPES[model_type], 7, seed=0)
    logits = model(torch.zeros(1, 400, dtype=torch.long)).logits
    assert logits.shape == (1, 400, 7)
    assert model.config.max_position_embeddings == 400


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_no_token_begins_ends_or_pads_a_sequence(model_type: str) -> None:
    model = build_model(MODEL_TYPES[model_type], 7, seed=0)
    for config in (model.config, model.generation_config):
        assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (None, None, None)


def test_the_seed_determines_the_initial_weights() -> None:
    first, same, other = (build_model(TINY_MODEL, 7, seed).lm_head.weight for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"n_layers": 2}, ["'model.n_layers'", "gpt2", "did you mean 'model.n_layer'"]),
        ({"vocab_size": 9}, ["model.vocab_size cannot be set", "palette"]),
        ({"eos_token_id": 2}, ["model.eos_token_id cannot be set", "every token is a colour"]),
        ({"n_positions": 399}, ["model: gpt2", "399 positions", "400 tokens"]),
        ({"n_head": 3}, ["model: gpt2 cannot be built"]),
        ({"n_embd": "wide"}, ["model: gpt2 cannot be built"]),
        ({"activation_function": "gelly"}, ["model: gpt2 cannot be built", "unknown 'gelly'"]),
        ({"model_type": "gtp2"}, ["model.model_type", "'gtp2'", "did you mean 'gpt2'"]),
    ],
)
def test_a_mistaken_field_is_named(change: dict[str, Any], facts: list[str]) -> None:
    with error_with(*facts):
        build_model({**TINY_MODEL, **change}, 7, seed=0)


def test_a_missing_key_is_not_called_unknown() -> None:
    llama = {"model_type": "llama", "hidden_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1}
    with pytest.raises(PokemonGenError, match=r"Missing required keys .*factor") as caught:
        build_model({**llama, "rope_parameters": {"rope_type": "linear", "rope_theta": 1e4}}, 7, seed=0)
    assert "unknown" not in str(caught.value)


def test_a_model_that_sees_later_tokens_is_refused() -> None:
    bert = {
        "model_type": "bert",
        "num_hidden_layers": 1,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    with error_with("model: bert", "later tokens", "decoder-only"):
        build_model(bert, 7, seed=0)


WIDTHS = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 32}


@pytest.mark.parametrize(
    "model",
    [
        {"model_type": "llama", **WIDTHS, "num_attention_heads": 3, "num_key_value_heads": 2, "head_dim": 8},
        {"model_type": "gptj", "n_embd": 32, "n_layer": 1, "n_head": 4},
        {"model_type": "jamba", **WIDTHS, "num_hidden_layers": 2, "num_attention_heads": 2},
        {"model_type": "gpt_neox", **WIDTHS, "num_attention_heads": 5},
        {"model_type": "mistral", **WIDTHS, "num_attention_heads": 2, "num_key_value_heads": 0},
        {"model_type": "qwen3", **WIDTHS, "num_attention_heads": 4, "num_key_value_heads": 3, "head_dim": 8},
        {**TINY_MODEL, "resid_pdrop": 5.0},
        {"model_type": "bloom", "hidden_size": 30, "n_layer": 1, "n_head": 4},
    ],
    ids=lambda model: model["model_type"],
)
def test_fields_that_do_not_fit_together_are_an_error(model: dict[str, Any]) -> None:
    with pytest.raises(PokemonGenError, match=rf"^model: {model['model_type']} can(not)? be built"):
        build_model(model, 167, 0)


def test_a_model_that_does_not_fit_into_memory_is_refused() -> None:
    """The defaults of a type may describe billions of weights, and the system would kill the process."""
    with error_with("model: llama", "billion weights", "GB", "hidden_size=16384"):
        build_model({"model_type": "llama", "hidden_size": 16384, "intermediate_size": 65536}, 167, 0)


def test_generate_of_transformers_draws_only_colours(tmp_path: Path) -> None:
    """Of a checkpoint with 20 conditioning tokens, loaded without this package."""
    conditioning = ConditioningTokens(20, (167, 175))
    model = build_model(TINY_MODEL, 167, seed=0, conditioning=conditioning)
    with torch.no_grad():  # make the conditioning tokens the likeliest by far
        model.lm_head.weight[167:] *= 100
    model.save_pretrained(tmp_path / "shared")
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / "shared")
    prompt = torch.tensor([[*stock.config.identity_tokens, *(token % 167 for token in range(240))]])
    drawn = stock.generate(prompt, max_new_tokens=20, do_sample=True)[0, prompt.shape[1] :]
    assert len(drawn) == 20
    assert int(drawn.max()) < 167
