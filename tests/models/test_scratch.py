"""`models/scratch.py`: the Transformer equals its equations, written a second time with numpy."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, PreTrainedModel

from pokemon_gen.models.build import build_model, build_text_model
from pokemon_gen.models.likelihood import sprite_nll
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.scratch import ScratchConfig, ScratchForCausalLM
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages.complete import complete
from pokemon_gen.training.run import train
from tests.builders import ONE_STEP, ROOT, RUN, MakeSettings, error_with

V, T, D, HIDDEN = 11, 7, 12, 20
FIELDS = {"num_hidden_layers": 2, "hidden_size": D, "intermediate_size": HIDDEN}
HEADS = pytest.mark.parametrize("heads", [1, 3])
NORM = pytest.mark.parametrize("layer_norm", [True, False])
SMALL = {"model_type": "scratch", **FIELDS, "num_attention_heads": 2}


def scratch(heads: int = 3, layer_norm: bool = True) -> PreTrainedModel:
    """Return a model whose weights, biases and norms are all random."""
    config = ScratchConfig(
        vocab_size=V, max_position_embeddings=9, num_attention_heads=heads, layer_norm=layer_norm, **FIELDS
    )
    torch.manual_seed(0)
    model = ScratchForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model.double().eval()


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, V, (2, T)))


def norm(x: NDArray[np.float64], weights: dict[str, Any], name: str) -> NDArray[np.float64]:
    """Return LayerNorm(x), or x where the model has no norms."""
    if f"{name}.weight" not in weights:
        return x
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def equations(model: PreTrainedModel, tokens: NDArray[np.int64], heads: int) -> NDArray[np.float64]:
    """Return the logits by the equations of the module's docstring, head by head: (B, T) → (B, T, V)."""
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    width = D // heads
    x = weights["tokens.weight"][tokens] + weights["positions.weight"][: tokens.shape[1]]
    mask = np.where(np.tri(tokens.shape[1], dtype=bool), 0, -np.inf)
    for number in range(2):
        layer = f"layers.{number}"
        attended = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            q, k, v = (
                np.einsum("btd,ed->bte", x, weights[f"{layer}.attention.{name}.weight"][part])
                for name in ("query", "key", "value")
            )
            s = softmax(np.einsum("bid,bjd->bij", q, k) / np.sqrt(width) + mask)
            attended.append(np.einsum("bij,bjd->bid", s, v))
        joined = np.concatenate(attended, axis=-1)
        a = x + np.einsum("btd,ed->bte", joined, weights[f"{layer}.attention.output.weight"])
        a = norm(a, weights, f"{layer}.norm_a")
        inner = np.einsum("btd,hd->bth", a, weights[f"{layer}.mlp.inner.weight"])
        inner = np.maximum(inner + weights[f"{layer}.mlp.inner.bias"], 0)
        h = a + np.einsum("bth,dh->btd", inner, weights[f"{layer}.mlp.outer.weight"])
        x = norm(h + weights[f"{layer}.mlp.outer.bias"], weights, f"{layer}.norm_h")
    return np.einsum("btd,vd->btv", x, weights["unembedding.weight"])


@HEADS
@NORM
def test_the_logits_are_those_of_the_equations(heads: int, layer_norm: bool, tokens: torch.Tensor) -> None:
    model = scratch(heads, layer_norm)
    with torch.no_grad():
        logits = model(tokens).logits.numpy()
    np.testing.assert_allclose(logits, equations(model, tokens.numpy(), heads), rtol=1e-9, atol=1e-9)


@HEADS
def test_the_attention_is_that_of_torch(heads: int) -> None:
    attention = scratch(heads).layers[0].attention
    x = torch.randn(2, T, D, dtype=torch.float64, generator=torch.manual_seed(0))
    q, k, v = (
        layer(x).view(2, T, heads, D // heads).transpose(1, 2)
        for layer in (attention.query, attention.key, attention.value)
    )
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    found, weights = attention(x)
    torch.testing.assert_close(found, attention.output(expected.transpose(1, 2).reshape(2, T, D)))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, heads, T, dtype=torch.float64))
    assert weights.triu(1).abs().max() == 0


@HEADS
@NORM
def test_no_prediction_depends_on_a_later_token(heads: int, layer_norm: bool, tokens: torch.Tensor) -> None:
    model = scratch(heads, layer_norm)
    before = model(tokens).logits
    for place in range(T):
        changed = tokens.clone()
        changed[:, place] = (changed[:, place] + 1) % V
        after = model(changed).logits
        assert torch.equal(before[:, :place], after[:, :place])
        assert not torch.equal(before[:, place], after[:, place])


def test_there_are_no_norms_where_none_are_asked_for() -> None:
    with_norms, without = (
        {name for name, _ in scratch(layer_norm=on).named_parameters()} for on in (True, False)
    )
    assert not any("norm" in name for name in without)
    assert len(with_norms - without) == 2 * 2 * 2  # two norms in two layers, each with weights and biases


@NORM
def test_the_gradient_reaches_every_parameter(layer_norm: bool, tokens: torch.Tensor) -> None:
    model = scratch(layer_norm=layer_norm).train()
    model(tokens, labels=tokens).loss.backward()
    for name, parameter in model.named_parameters():
        used = parameter.grad[:T] if name == "positions.weight" else parameter.grad
        assert used.abs().sum() > 0, name


def test_the_loss_is_the_mean_nll_of_the_next_tokens(tokens: torch.Tensor) -> None:
    model = scratch()
    output = model(tokens, labels=tokens)
    nll = -output.logits[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])
    assert output.loss.item() == pytest.approx(nll.mean().item(), rel=1e-6)
    assert model(tokens).loss is None


def test_states_and_attentions_are_returned_on_request(tokens: torch.Tensor) -> None:
    model = scratch()
    output = model(tokens, output_attentions=True, output_hidden_states=True)
    assert [tuple(state.shape) for state in output.hidden_states] == [(2, T, D)] * 3
    assert [tuple(weights.shape) for weights in output.attentions] == [(2, 3, T, T)] * 2
    torch.testing.assert_close(model.unembedding(output.hidden_states[-1]), output.logits)
    plain = model(tokens)
    assert (plain.hidden_states, plain.attentions) == (None, None)


def test_a_text_longer_than_the_positions_is_an_error() -> None:
    """As in GPT-2, and never a prediction with the wrong positions."""
    model = scratch()
    assert model(torch.zeros(1, 9, dtype=torch.long)).logits.shape == (1, 9, V)
    with pytest.raises(RuntimeError, match=r"10.*9"):
        model(torch.zeros(1, 10, dtype=torch.long))


def test_generate_of_transformers_takes_the_likeliest_tokens(tokens: torch.Tensor) -> None:
    model = scratch()
    expected = tokens
    for _ in range(2):
        expected = torch.cat([expected, model(expected).logits[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(model.generate(tokens, max_new_tokens=2, do_sample=False), expected)


def test_the_first_weights_are_small_and_of_the_seed() -> None:
    first, same, other = (build_text_model(SMALL, V, 9, seed) for seed in (1, 1, 2))
    assert torch.equal(first.unembedding.weight, same.unembedding.weight)
    assert not torch.equal(first.unembedding.weight, other.unembedding.weight)
    assert first.config.max_position_embeddings == 9
    matrices = torch.cat([weight.flatten() for weight in first.parameters() if weight.ndim == 2])
    assert matrices.std().item() == pytest.approx(0.02, rel=0.1)
    for name, parameter in first.named_parameters():
        if parameter.ndim == 1:
            expected = float("norm" in name and name.endswith("weight"))
            assert set(parameter.tolist()) == {expected}, name


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"num_attention_heads": 5}, ["model: scratch", "5 heads", "12"]),
        ({"num_attention_heads": 24}, ["model: scratch", "24 heads", "12"]),
        (
            {"num_attention_head": 2},
            ["'model.num_attention_head'", "did you mean 'model.num_attention_heads'"],
        ),
        ({"layer_norms": False}, ["'model.layer_norms'", "did you mean 'model.layer_norm'"]),
        ({"max_position_embeddings": 8}, ["8 positions", "9 tokens"]),
        ({"hidden_size": "wide"}, ["model: scratch"]),
    ],
)
def test_a_mistaken_field_is_named(change: dict[str, Any], facts: list[str]) -> None:
    with error_with(*facts):
        build_text_model({**SMALL, **change}, V, 9, seed=0)


def test_a_saved_model_is_the_same() -> None:
    model = build_model(SMALL, V, seed=0).eval()
    model.save_pretrained("saved")
    tokens = torch.zeros(1, 400, dtype=torch.long)
    assert torch.equal(AutoModelForCausalLM.from_pretrained("saved")(tokens).logits, model(tokens).logits)


def test_it_learns_sprites_and_completes_them(tiny: MakeSettings, few_sprites: Sprites) -> None:
    result = train(tiny(model=SMALL, training=ONE_STEP), few_sprites)
    checkpoint = load_checkpoint("tiny")
    nll = sprite_nll(checkpoint.model, few_sprites.tokens("dev"))
    assert result.dev_nll == pytest.approx(nll.mean().item(), rel=1e-5)
    completed = complete("tiny", split="dev").sprites
    assert completed.shape == few_sprites.tokens("dev").shape
    np.testing.assert_array_equal(completed[:, :240], few_sprites.tokens("dev")[:, :240])


@pytest.mark.slow  # it imports torch again
def test_a_run_on_sprites_is_loaded_by_a_process_that_has_built_no_model(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    train(tiny(model=SMALL, training=ONE_STEP), few_sprites)
    code = "from pokemon_gen.models.loading import load_checkpoint; print(load_checkpoint('tiny'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "scratch" in done.stdout
    assert Path(RUN).is_dir()
