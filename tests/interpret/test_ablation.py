"""`interpret/ablation.py`: the changes equal those of a model whose weights are erased, counted by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from pokemon_gen.interpret.ablation import ablate
from pokemon_gen.interpret.activations import BATCH, output_projection
from tests.builders import error_with
from tests.interpret.builders import HEADS, LAYERS, erase_head, logits_of, random_tokens, tiny_model

TOKENS = random_tokens(BATCH + 1)
RANDOM = np.random.default_rng(0)


def nll(model: PreTrainedModel, tokens: Tensor) -> np.ndarray:
    """Return the NLL of every token but the first, (N, T - 1), by the definition."""
    chances = logits_of(model, tokens).double().softmax(-1).numpy()
    found = np.zeros((len(tokens), tokens.shape[1] - 1))
    for row, position in np.ndindex(found.shape):
        found[row, position] = -math.log(chances[row, position, tokens[row, position + 1]])
    return found


def test_every_part_is_switched_off_once_in_the_order_of_the_layers() -> None:
    rows = ablate(tiny_model("gpt2"), TOKENS[:2])
    of_layer = [
        *(("head", head) for head in range(HEADS)),
        ("attention", None),
        ("mlp", None),
        ("layer", None),
    ]
    expected = [(layer, what, head) for layer in range(LAYERS) for what, head in of_layer]
    assert [(row.layer, row.what, row.head) for row in rows] == expected
    assert all(row.by_group == {} for row in rows)


def test_changes_are_those_of_a_model_without_the_weights() -> None:
    """Llama's layers have no biases, so a part without its last weights adds nothing."""
    model = tiny_model("llama")
    before = nll(model, TOKENS)
    in_group = RANDOM.random(before.shape) < 0.3
    groups = {"some": in_group, "others": ~in_group, "none": np.zeros_like(in_group)}
    rows = ablate(model, TOKENS.numpy(), groups)
    for row in rows:
        other = tiny_model("llama")
        layer = other.model.layers[row.layer]
        if row.head is not None:
            erase_head(output_projection(layer), row.head)
        with torch.no_grad():
            if row.what in ("attention", "layer"):
                layer.self_attn.o_proj.weight.zero_()
            if row.what in ("mlp", "layer"):
                layer.mlp.down_proj.weight.zero_()
        change = nll(other, TOKENS) - before
        assert abs(row.change) > 1e-4
        assert row.change == pytest.approx(change.mean(), abs=1e-5)
        assert row.by_group["some"] == pytest.approx(change[in_group].mean(), abs=1e-5)
        assert row.by_group["others"] == pytest.approx(change[~in_group].mean(), abs=1e-5)
        assert math.isnan(row.by_group["none"])
        means = [float(np.mean(sequence)) for sequence in change]
        variance = sum((mean - change.mean()) ** 2 for mean in means) / (len(means) - 1)
        assert row.standard_error == pytest.approx((variance / len(means)) ** 0.5, abs=1e-5)


def test_conditioning_tokens_do_not_count() -> None:
    model = tiny_model("qwen3")
    rest = np.zeros((3, 8), dtype=bool)
    rest[:, 2:] = True  # after two conditioning tokens, the third token is given and not predicted
    whole, skipped = (ablate(model, TOKENS[:3], {"rest": rest}), ablate(model, TOKENS[:3], skip=2))
    for one, other in zip(whole, skipped, strict=True):
        assert other.change == pytest.approx(one.by_group["rest"])


def test_one_sequence_has_no_standard_error() -> None:
    assert all(math.isnan(row.standard_error) for row in ablate(tiny_model("gpt2"), TOKENS[:1]))


def test_a_group_of_another_shape_is_named() -> None:
    with error_with("groups['outline']", "(17, 9)", "(17, 8)"):
        ablate(tiny_model("gpt2"), TOKENS, {"outline": np.zeros((17, 9), dtype=bool)})
