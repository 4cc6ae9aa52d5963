"""`interpret/activations.py`: the stream, the attention, and parts switched off, in every model type."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from pokemon_gen.interpret.ablation import ablate
from pokemon_gen.interpret.activations import (
    BATCH,
    Part,
    add_to_stream,
    attention_module,
    decoder_layers,
    mlp_module,
    output_projection,
    read_activations,
    token_batches,
    without_heads,
    without_layer,
)
from pokemon_gen.models.hf_compat import attention_of
from tests.builders import error_with
from tests.interpret.builders import (
    FIELDS,
    HEADS,
    LAYERS,
    MODEL_TYPES,
    VOCABULARY,
    WIDTH,
    erase_head,
    logits_of,
    random_tokens,
    tiny_model,
)

every_type = pytest.mark.parametrize("model_type", MODEL_TYPES)
TOKENS = random_tokens()


@pytest.mark.parametrize("model_type", FIELDS)
def test_the_stream_before_the_final_norm_is_that_of_transformers(model_type: str) -> None:
    model = tiny_model(model_type)
    with torch.no_grad():
        theirs = model(TOKENS, output_hidden_states=True).hidden_states
    ours = read_activations(model, TOKENS).hidden
    assert ours.shape == (LAYERS + 1, 3, 9, WIDTH)
    for layer in range(LAYERS):  # theirs after the last layer has passed the final norm
        np.testing.assert_allclose(ours[layer], theirs[layer], atol=1e-5)
    assert np.abs(ours[LAYERS] - theirs[LAYERS].numpy()).max() > 0.1


def test_the_stream_of_a_custom_model_is_read_too() -> None:
    model = tiny_model("custom")
    hidden = model.embed_tokens(TOKENS)
    found = read_activations(model, TOKENS)
    assert found.attentions is None
    for layer in range(LAYERS):
        np.testing.assert_allclose(found.hidden[layer], hidden.detach(), atol=1e-5)
        hidden = model.blocks[layer](hidden)[0]
    np.testing.assert_allclose(found.hidden[LAYERS], hidden.detach(), atol=1e-5)


def test_activations_do_not_depend_on_the_batches() -> None:
    model, tokens = tiny_model("llama"), random_tokens(BATCH + 2)
    together = read_activations(model, tokens.numpy(), attentions=True)
    alone = read_activations(model, tokens[-1:], attentions=True)
    assert together.attentions is not None
    assert alone.attentions is not None
    np.testing.assert_allclose(together.hidden[:, -1:], alone.hidden, atol=1e-5)
    np.testing.assert_allclose(together.attentions[:, -1:], alone.attentions, atol=1e-5)


@pytest.mark.parametrize("model_type", FIELDS)
def test_attention_is_a_distribution_over_the_keys_so_far(model_type: str) -> None:
    model = tiny_model(model_type)
    before = attention_of(model)
    attentions = read_activations(model, TOKENS, attentions=True).attentions
    assert attentions is not None
    assert attentions.shape == (LAYERS, 3, HEADS, 9, 9)
    np.testing.assert_allclose(attentions.sum(-1), 1, atol=1e-5)
    assert not np.triu(attentions, 1).any()
    assert attention_of(model) == before == "sdpa"


def test_attention_equals_that_of_its_definition() -> None:
    model = tiny_model("gpt2")
    found = read_activations(model, TOKENS, attentions=True)
    assert found.attentions is not None
    block = model.transformer.h[1]
    with torch.no_grad():
        query, key, _ = block.attn.c_attn(block.ln_1(torch.from_numpy(found.hidden[1]))).chunk(3, -1)
    query, key = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (query, key))
    scores = query @ key.transpose(2, 3) / (WIDTH // HEADS) ** 0.5
    hidden_keys = torch.triu(torch.ones(9, 9, dtype=torch.bool), 1)
    expected = scores.masked_fill(hidden_keys, -torch.inf).softmax(-1)
    np.testing.assert_allclose(found.attentions[1], expected, atol=1e-5)


def test_the_former_attention_and_no_hook_remain_after_an_error() -> None:
    model = tiny_model("llama")
    before = logits_of(model, TOKENS)
    with pytest.raises(IndexError):
        read_activations(model, TOKENS + 1000, attentions=True)
    assert attention_of(model) == "sdpa"
    with pytest.raises(ZeroDivisionError), without_heads(model, [(0, 0)]):
        _ = 1 / 0
    torch.testing.assert_close(logits_of(model, TOKENS), before, rtol=0, atol=0)


def test_a_model_without_attention_weights_is_named() -> None:
    with error_with("custom", "no attention weights"):
        read_activations(tiny_model("custom"), TOKENS, attentions=True)


@pytest.mark.parametrize("model_type", ["mamba", "rwkv"])
def test_what_a_model_without_heads_lacks_is_an_error_that_names_it(model_type: str) -> None:
    model = tiny_model(model_type)
    assert read_activations(model, TOKENS).hidden.shape == (LAYERS + 1, 3, 9, WIDTH)
    with error_with(model_type, "no attention weights"):
        read_activations(model, TOKENS, attentions=True)
    with error_with(model_type, "num_attention_heads"), without_heads(model, [(0, 0)]):
        pass
    with error_with(model_type, "num_attention_heads"):
        ablate(model, TOKENS)


def test_layers_that_return_lists_are_read_changed_and_switched_off() -> None:
    model = tiny_model("openai-gpt")
    with torch.no_grad():
        theirs = model(TOKENS, output_hidden_states=True).hidden_states  # this type has no final norm
    found = read_activations(model, TOKENS, attentions=True)
    np.testing.assert_allclose(found.hidden, np.stack([state.numpy() for state in theirs]), atol=1e-5)
    assert found.attentions is not None
    np.testing.assert_allclose(found.attentions.sum(-1), 1, atol=1e-5)
    with add_to_stream(model, 0, np.ones(WIDTH, np.float32), 0.5):
        np.testing.assert_allclose(
            read_activations(model, TOKENS).hidden[1], found.hidden[1] + 0.5, atol=1e-5
        )
    with without_layer(model, 1, "layer"):
        hidden = read_activations(model, TOKENS).hidden
    np.testing.assert_array_equal(hidden[2], hidden[1])
    assert len(ablate(model, TOKENS)) == LAYERS * (HEADS + 3)


def test_many_possible_tokens_make_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("gpt2")
    assert [len(batch) for batch in token_batches(model, random_tokens(5))] == [5]
    monkeypatch.setattr("pokemon_gen.models.likelihood.MOST_LOGITS", 2 * 9 * VOCABULARY)
    assert [len(batch) for batch in token_batches(model, random_tokens(5))] == [2, 2, 1]


@every_type
def test_a_head_is_off_as_if_its_weights_were_erased(model_type: str) -> None:
    model = tiny_model(model_type)
    before = logits_of(model, TOKENS)
    with without_heads(model, [(0, 1), (1, 0), (1, 3)]):
        found = logits_of(model, TOKENS)
    torch.testing.assert_close(logits_of(model, TOKENS), before, rtol=0, atol=0)
    layers = decoder_layers(model)
    for layer, head in [(0, 1), (1, 0), (1, 3)]:
        erase_head(output_projection(layers[layer]), head)
    torch.testing.assert_close(found, logits_of(model, TOKENS))
    assert (found - before).abs().max() > 0.01


def test_without_a_query_head_its_queries_do_not_count() -> None:
    """Two query heads share each key-value head of this model."""
    model = tiny_model("llama")
    other = copy.deepcopy(model)
    size = WIDTH // HEADS
    with torch.no_grad():
        other.model.layers[0].self_attn.q_proj.weight[2 * size : 3 * size] += 1
    assert (logits_of(model, TOKENS) - logits_of(other, TOKENS)).abs().max() > 0.01
    with without_heads(model, [(0, 2)]), without_heads(other, [(0, 2)]):
        torch.testing.assert_close(logits_of(model, TOKENS), logits_of(other, TOKENS))
    with without_heads(model, [(0, 3)]), without_heads(other, [(0, 3)]):
        assert (logits_of(model, TOKENS) - logits_of(other, TOKENS)).abs().max() > 0.01


@every_type
def test_the_stream_passes_a_switched_off_layer(model_type: str) -> None:
    model = tiny_model(model_type)
    with without_layer(model, 1, "layer"):
        hidden = read_activations(model, TOKENS).hidden
    np.testing.assert_array_equal(hidden[2], hidden[1])
    np.testing.assert_array_equal(hidden[1], read_activations(model, TOKENS).hidden[1])


@every_type
def test_without_attention_no_position_sees_another(model_type: str) -> None:
    model = tiny_model(model_type)
    changed = TOKENS.clone()
    changed[:, 0] = (changed[:, 0] + 1) % 11
    assert (logits_of(model, TOKENS) - logits_of(model, changed))[:, 1:].abs().max() > 0.01
    with without_layer(model, 0, "attention"), without_layer(model, 1, "attention"):
        torch.testing.assert_close(logits_of(model, TOKENS)[:, 1:], logits_of(model, changed)[:, 1:])


@every_type
@pytest.mark.parametrize("part", ["attention", "mlp"])
def test_a_layer_adds_what_its_parts_add(model_type: str, part: Part) -> None:
    model = tiny_model(model_type)
    with without_layer(model, 0, part):
        one_part = read_activations(model, TOKENS).hidden
        assert np.abs(one_part[1] - one_part[0]).max() > 0.01  # the other part still adds
        with without_layer(model, 0, "mlp" if part == "attention" else "attention"):
            neither = read_activations(model, TOKENS).hidden
    np.testing.assert_allclose(neither[1], neither[0], atol=1e-6)


@every_type
def test_a_direction_is_added_at_every_position(model_type: str) -> None:
    model = tiny_model(model_type)
    direction = np.random.default_rng(0).normal(size=WIDTH)
    before = read_activations(model, TOKENS).hidden
    with add_to_stream(model, 0, direction, scale=-2.5):
        after = read_activations(model, TOKENS).hidden
    np.testing.assert_array_equal(after[0], before[0])
    expected = np.broadcast_to(-2.5 * direction, before[1].shape)
    np.testing.assert_allclose(after[1] - before[1], expected, atol=1e-5)
    assert np.abs(after[2] - before[2]).max() > 0.01


def test_layers_and_heads_that_do_not_exist_are_counted() -> None:
    model = tiny_model("gpt2")
    for layer in (2, -1):
        with error_with("gpt2", f"layer {layer}", "2 layers", "0 to 1"), without_layer(model, layer, "mlp"):
            pass
    with error_with("gpt2", "head 4", "4 heads", "0 to 3"), without_heads(model, [(0, 4)]):
        pass
    with error_with("layer 5", "2 layers"), without_heads(model, [(5, 0)]):
        pass
    with error_with("layer 2", "2 layers"), add_to_stream(model, 2, np.ones(WIDTH), 1):
        pass


def test_shapes_that_do_not_fit_are_named() -> None:
    model = tiny_model("gpt2")
    with error_with("direction", "(5,)", "(16,)"), add_to_stream(model, 0, np.ones(5), 1):
        pass
    with error_with("tokens", "(9,)", "(N, T)"):
        read_activations(model, TOKENS[0])


def test_a_model_without_a_list_of_layers_is_named() -> None:
    model = tiny_model("llama")
    model.config.num_hidden_layers = 7
    with error_with("llama", "num_hidden_layers=7"):
        decoder_layers(model)


def test_a_projection_that_is_not_the_last_linear_layer_is_found() -> None:
    sizes = {"vocab_size": 9, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 8}
    config = AutoConfig.for_model("phi3", **sizes, intermediate_size=8, pad_token_id=None)
    layer = AutoModelForCausalLM.from_config(config).model.layers[0]
    assert output_projection(layer) is layer.self_attn.o_proj


def test_a_layer_without_parts_that_are_found_is_named() -> None:
    with error_with("Linear", "attention"):
        attention_module(nn.Linear(2, 2))
    layer = nn.TransformerEncoderLayer(8, 2)
    with error_with("MultiheadAttention"):  # never calls its projection, so a hook would change nothing
        output_projection(layer)
    only_attention = nn.Module()
    only_attention.attn = nn.Linear(2, 2)
    with error_with("Module", "attention"):
        mlp_module(only_attention)
