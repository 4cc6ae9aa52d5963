"""`decoding.py`: the loop gives the tokens and scores of `generate`, also with ensembles and repeats."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel
from transformers.activations import NewGELUActivation

from pokemon_gen.augmentation import ConditioningTokens
from pokemon_gen.completion.decoding import PreallocatedLayer, can_decode, decode
from pokemon_gen.models.build import build_model
from pokemon_gen.models.ensemble import Ensemble
from tests.model_builders import MODEL_TYPES, V, assert_same_but_for_ties, sharp_model

HYBRID = {"model_type": "lfm2", "layer_types": ["conv", "full_attention"]}


def greedy(scores: Tensor, number: Tensor) -> Tensor:
    return scores.argmax(-1)


def generate(model: PreTrainedModel, tokens: Tensor, new_tokens: int) -> Tensor:
    config = GenerationConfig(max_new_tokens=new_tokens, do_sample=False)
    sequences = model.generate(tokens, attention_mask=torch.ones_like(tokens), generation_config=config)
    return sequences[:, tokens.shape[1] :]


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    return torch.randint(V, (5, 30), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sharp", [True, False], ids=["sharp", "nearly tied"])
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_greedy_tokens_equal_those_of_generate(model_type: str, sharp: bool, tokens: Tensor) -> None:
    model = sharp_model(model_type) if sharp else build_model(MODEL_TYPES[model_type], V, seed=2).eval()
    ours = decode(model, tokens, 80, greedy)
    assert ours.shape == (5, 80)
    assert_same_but_for_ties(model, tokens, ours, generate(model, tokens, 80))


@pytest.mark.parametrize("transposed", [True, False], ids=["as on a CPU", "as on a GPU"])
def test_repeated_keys_keep_their_memory_layout(transposed: bool) -> None:
    layer, keys = PreallocatedLayer(4), torch.arange(24.0).reshape(2, 1, 4, 3)
    layer.update(keys[:, :, :2], keys[:, :, :2])
    if not transposed:
        layer._keys = layer._keys.contiguous()
    layer.batch_repeat_interleave(2)
    assert layer._keys.is_contiguous() is not transposed
    assert layer._keys.transpose(2, 3).is_contiguous() is transposed
    stored, _ = layer.update(keys[[0, 0, 1, 1], :, 2:], keys[[0, 0, 1, 1], :, 2:])
    torch.testing.assert_close(stored, keys[[0, 0, 1, 1]])


def test_the_attention_of_the_model_is_restored_after_an_interruption(tokens: Tensor) -> None:
    model = sharp_model("llama")

    def interrupted(scores: Tensor, number: Tensor) -> Tensor:
        if number == 2:
            assert model.config._attn_implementation != "sdpa"
            raise KeyboardInterrupt
        return scores.argmax(-1)

    with pytest.raises(KeyboardInterrupt):
        decode(model, tokens, 4, interrupted)
    assert model.config._attn_implementation == "sdpa"


def test_the_activation_of_gpt2_is_fused_and_restored_after_an_interruption(tokens: Tensor) -> None:
    model = sharp_model("gpt2")
    before = [type(module) for module in model.modules()]
    assert NewGELUActivation in before

    def interrupted(scores: Tensor, number: Tensor) -> Tensor:
        if number == 2:
            assert NewGELUActivation not in map(type, model.modules())
            raise KeyboardInterrupt
        return scores.argmax(-1)

    with pytest.raises(KeyboardInterrupt):
        decode(model, tokens, 4, interrupted)
    assert [type(module) for module in model.modules()] == before


def test_an_attention_chosen_by_the_user_is_kept(tokens: Tensor) -> None:
    model = sharp_model("llama")
    expected = decode(model, tokens, 20, greedy)
    model.set_attn_implementation("eager")

    def choose(scores: Tensor, number: Tensor) -> Tensor:
        assert model.config._attn_implementation == "eager"
        return scores.argmax(-1)

    assert_same_but_for_ties(model, tokens, decode(model, tokens, 20, choose), expected)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_scores_equal_those_of_a_forward_pass_without_a_cache(model_type: str, tokens: Tensor) -> None:
    """The preallocated cache must change no logit: compare each step with a pass over the full sequence."""
    model = sharp_model(model_type)
    seen: list[Tensor] = []

    def choose(scores: Tensor, number: Tensor) -> Tensor:
        seen.append(scores)
        return scores.argmax(-1)

    new = decode(model, tokens, 50, choose)
    with torch.no_grad():
        logits = model(torch.cat([tokens, new], dim=1)).logits[:, 29:-1]
    torch.testing.assert_close(torch.stack(seen, dim=1), logits, rtol=1e-4, atol=1e-4)


def test_an_ensemble_averages_probabilities(tokens: Tensor) -> None:
    members = [sharp_model("gpt2"), sharp_model("llama")]
    seen: list[Tensor] = []

    def choose(scores: Tensor, number: Tensor) -> Tensor:
        seen.append(scores)
        return scores.argmax(-1)

    new = decode(Ensemble(members), tokens, 3, choose)
    with torch.no_grad():
        sequences = torch.cat([tokens, new], dim=1)
        mean = torch.stack([member(sequences).logits[:, 29:-1].softmax(-1) for member in members]).mean(0)
    torch.testing.assert_close(torch.stack(seen, dim=1).softmax(-1), mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_repeats_read_the_given_tokens_only_once(model_type: str, tokens: Tensor) -> None:
    model = sharp_model(model_type)
    sizes: list[torch.Size] = []
    handle = model.get_input_embeddings().register_forward_pre_hook(
        lambda module, inputs: sizes.append(inputs[0].shape)
    )
    forced = torch.randint(V, (15, 6), generator=torch.Generator().manual_seed(1))
    seen: list[Tensor] = []

    def choose(scores: Tensor, number: Tensor) -> Tensor:
        seen.append(scores)
        return forced[:, int(number)]

    assert torch.equal(decode(model, tokens, 6, choose, repeats=3), forced)
    handle.remove()
    assert sizes == [(5, 30)] + [(15, 1)] * 5
    with torch.no_grad():
        sequences = torch.cat([tokens.repeat_interleave(3, dim=0), forced], dim=1)
        logits = model(sequences).logits[:, 29:-1]
    torch.testing.assert_close(torch.stack(seen, dim=1), logits, rtol=1e-4, atol=1e-4)


def model_that_prefers_conditioning_tokens(model_type: str) -> PreTrainedModel:
    """Return a model with five conditioning tokens, which get higher logits than any colour."""
    model = build_model(
        MODEL_TYPES[model_type], V, seed=1, conditioning=ConditioningTokens(5, (V, V + 2))
    ).eval()
    head = model.get_output_embeddings().weight
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(20)
        head[V:] = head[:5] * 3
    return model


@pytest.mark.parametrize("model_type", ["gpt2", "llama", "mistral"])
def test_a_conditioned_model_gets_the_identity_tokens_and_draws_only_colours(
    model_type: str, tokens: Tensor
) -> None:
    """Compare with forward passes over the identity tokens and the full sequence."""
    model = model_that_prefers_conditioning_tokens(model_type)
    identity = torch.tensor([[V, V + 2]]).expand(5, -1)
    expected, preferred_conditioning = tokens, 0
    with torch.no_grad():
        for _ in range(20):
            logits = model(torch.cat([identity, expected], dim=1)).logits[:, -1]
            preferred_conditioning += int((logits.argmax(-1) >= V).sum())
            expected = torch.cat([expected, logits[:, :V].argmax(-1, keepdim=True)], dim=1)
    assert preferred_conditioning > 0
    assert torch.equal(decode(model, tokens, 20, greedy), expected[:, 30:])
    twice = decode(model, tokens, 20, greedy, repeats=2)
    assert torch.equal(twice, expected[:, 30:].repeat_interleave(2, dim=0))
    assert torch.equal(decode(Ensemble([model, model]), tokens, 20, greedy), expected[:, 30:])


@pytest.mark.parametrize("model", [{"model_type": "minimax"}, HYBRID], ids=["minimax", "lfm2"])
def test_a_model_with_another_kind_of_cache_is_not_decoded(model: dict[str, Any]) -> None:
    fields = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    assert not can_decode(build_model({**model, **fields}, V, seed=0))


def test_a_model_without_keys_and_values_is_not_decoded() -> None:
    mamba = build_model(
        {"model_type": "mamba", "num_hidden_layers": 1, "hidden_size": 16, "state_size": 4}, V, seed=0
    )
    assert not can_decode(mamba)
    assert all(can_decode(build_model(fields, V, seed=0)) for fields in MODEL_TYPES.values())
