"""`sampling.py`: exactly 400 tokens, unchanged prompts, and draws that do not depend on the batch."""

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from pokemon_gen.augmentation import ConditioningTokens
from pokemon_gen.completion.sampling import complete_prompts, draw_candidates
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.build import build_model
from pokemon_gen.settings import CompletionSettings
from tests.model_builders import MODEL_TYPES, V, assert_same_but_for_ties, sharp_model


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return sharp_model("gpt2")


@pytest.fixture(scope="module")
def prompts() -> np.ndarray:
    return np.random.default_rng(0).integers(0, V, (6, 390))


SAMPLED = CompletionSettings(do_sample=True, temperature=2.0, seed=4)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_greedy_completion_takes_the_likeliest_token_at_each_step(
    model_type: str, prompts: np.ndarray
) -> None:
    """The cache must not change a token: compare with a pass over the full sequence for every token."""
    model = sharp_model(model_type)
    expected = torch.from_numpy(prompts[:2])
    with torch.no_grad():
        while expected.shape[1] < 400:
            expected = torch.cat([expected, model(expected).logits[:, -1:].argmax(-1)], dim=1)
    np.testing.assert_array_equal(complete_prompts(model, prompts[:2]), expected.numpy())


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_sprite_never_ends_early(model_type: str) -> None:
    """Llama's default end token, 2, is a colour: a model that always draws it must continue."""
    model = build_model(MODEL_TYPES[model_type], V, seed=0)
    head = model.get_output_embeddings()
    with torch.no_grad():
        head.weight.zero_()
        head.weight[2] = 1.0
    sprites = complete_prompts(model, np.full((2, 380), 2), SAMPLED)
    assert sprites.shape == (2, 400)


def test_many_prompts_are_completed_in_batches(
    model: PreTrainedModel, prompts: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys and values of thousands of prompts fill the memory, and the system kills such a process."""
    together = complete_prompts(model, prompts, SAMPLED)
    monkeypatch.setattr("pokemon_gen.completion.sampling._ROWS", 2)  # batches of two
    sizes: list[int] = []

    def record(module: Any, args: Any, options: Any) -> None:
        sizes.append(len(options["input_ids"]))

    with model.register_forward_pre_hook(record, with_kwargs=True):
        np.testing.assert_array_equal(complete_prompts(model, prompts, SAMPLED), together)
    assert max(sizes) == 2


@pytest.mark.parametrize("settings", [CompletionSettings(), SAMPLED], ids=["greedy", "sampled"])
def test_any_prompt_length_gives_400_tokens_and_keeps_the_prompt(
    model: PreTrainedModel, settings: CompletionSettings
) -> None:
    prompts = [[number % V for number in range(length)] for length in (1, 240, 399, 240)]
    sprites = complete_prompts(model, prompts, settings)
    assert sprites.shape == (4, 400)
    for sprite, prompt in zip(sprites, prompts, strict=True):
        np.testing.assert_array_equal(sprite[: len(prompt)], prompt)
    assert (sprites >= 0).all()
    assert (sprites < V).all()


def test_a_sampled_sprite_does_not_depend_on_its_batch(model: PreTrainedModel, prompts: np.ndarray) -> None:
    together = complete_prompts(model, prompts, SAMPLED)
    np.testing.assert_array_equal(complete_prompts(model, prompts[::-1], SAMPLED)[::-1], together)
    np.testing.assert_array_equal(complete_prompts(model, prompts[3:4], SAMPLED)[0], together[3])


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_prompt_alone_is_completed_as_among_eighty(model_type: str) -> None:
    """Greedily, in one batch: a larger matrix product rounds differently, so ties may fall either way."""
    model = sharp_model(model_type)
    prompts = np.random.default_rng(1).integers(0, V, (80, 240))
    together = torch.from_numpy(complete_prompts(model, prompts))
    for row in (0, 41, 79):
        alone = torch.from_numpy(complete_prompts(model, prompts[row : row + 1]))
        given = torch.from_numpy(prompts[row : row + 1])
        assert_same_but_for_ties(model, given, alone[:, 240:], together[row : row + 1, 240:])


def test_the_seed_determines_the_draws(model: PreTrainedModel, prompts: np.ndarray) -> None:
    first = complete_prompts(model, prompts, SAMPLED)
    np.testing.assert_array_equal(complete_prompts(model, prompts, SAMPLED), first)
    other = complete_prompts(model, prompts, SAMPLED.model_copy(update={"seed": 5}))
    assert (other != first).any()


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        (CompletionSettings(do_sample=True), [0.5, 0.25, 0.125, 0.125]),
        (CompletionSettings(do_sample=True, temperature=0.5), [0.7273, 0.1818, 0.0455, 0.0455]),
        (CompletionSettings(do_sample=True, top_k=2), [2 / 3, 1 / 3, 0, 0]),
        (CompletionSettings(do_sample=True, top_p=0.7), [2 / 3, 1 / 3, 0, 0]),
        (CompletionSettings(do_sample=True, top_k=1), [1, 0, 0, 0]),
    ],
    ids=["plain", "temperature", "top_k", "top_p", "top_k of one"],
)
def test_draws_follow_the_models_distribution(settings: CompletionSettings, allowed: list[float]) -> None:
    model = build_model(MODEL_TYPES["gpt2"], 4, seed=0)
    with torch.no_grad():  # the last norm always gives (1, 0, ...), so the logits are fixed
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias[0] = 1
        model.lm_head.weight.zero_()
        model.lm_head.weight[:, 0] = torch.tensor([0.5, 0.25, 0.125, 0.125]).log()
    prompts = [[number // 64, number // 16 % 4, number // 4 % 4, number % 4] for number in range(64)]
    drawn = complete_prompts(model, prompts, settings)[:, 4:]  # (64, 396): 25,344 draws
    shares = np.bincount(drawn.ravel(), minlength=4) / drawn.size
    np.testing.assert_allclose(shares, allowed, atol=0.015)  # five standard deviations


def test_a_model_without_keys_and_values_completes() -> None:
    """Mamba has another kind of state: compare with a pass over the full sequence for every token."""
    mamba = {"model_type": "mamba", "num_hidden_layers": 1, "hidden_size": 16, "state_size": 4}
    model = build_model(mamba, V, seed=0).eval()
    expected = torch.arange(2 * 394).reshape(2, 394) % V
    prompts = expected.numpy()
    with torch.no_grad():
        while expected.shape[1] < 400:
            expected = torch.cat([expected, model(expected).logits[:, -1:].argmax(-1)], dim=1)
    np.testing.assert_array_equal(complete_prompts(model, prompts), expected.numpy())
    sampled = complete_prompts(model, prompts, SAMPLED)
    np.testing.assert_array_equal(complete_prompts(model, prompts[::-1], SAMPLED)[::-1], sampled)
    several = SAMPLED.model_copy(update={"candidates": 3})
    np.testing.assert_array_equal(draw_candidates(model, prompts, several).sprites[:, 0], sampled)


def test_a_conditioned_model_without_keys_and_values_gets_the_identity_tokens() -> None:
    mamba = {"model_type": "mamba", "num_hidden_layers": 1, "hidden_size": 16, "state_size": 4}
    model = build_model(mamba, V, seed=0, conditioning=ConditioningTokens(5, (V, V + 2))).eval()
    expected = torch.arange(2 * 394).reshape(2, 394) % V
    prompts = expected.numpy()
    with torch.no_grad():
        while expected.shape[1] < 400:
            conditioned = torch.cat([torch.tensor([[V, V + 2]]).expand(2, -1), expected], dim=1)
            chosen = model(conditioned).logits[:, -1:, :V].argmax(-1)
            expected = torch.cat([expected, chosen], dim=1)
    np.testing.assert_array_equal(complete_prompts(model, prompts), expected.numpy())


def test_generate_draws_no_conditioning_token() -> None:
    """The model finds them likelier than any colour."""
    mamba = {"model_type": "mamba", "num_hidden_layers": 1, "hidden_size": 16, "state_size": 4}
    model = build_model(mamba, V, seed=0, conditioning=ConditioningTokens(5, (V, V + 2))).eval()
    prompts = np.arange(2 * 394).reshape(2, 394) % V
    with torch.no_grad():
        states = model.backbone(torch.from_numpy(prompts)).last_hidden_state[:, -1]
        model.get_output_embeddings().weight[V:] = 100 * states.mean(0)
        conditioned = model(torch.cat([torch.tensor([[V, V + 2]] * 2), torch.from_numpy(prompts)], 1))
    assert (conditioned.logits[:, -1].argmax(-1) >= V).all()
    for settings in (CompletionSettings(), CompletionSettings(do_sample=True)):
        assert complete_prompts(model, prompts, settings).max() < V


@pytest.mark.slow
def test_a_batch_is_split_if_memory_runs_out(
    model: PreTrainedModel, prompts: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = complete_prompts(model, prompts, SAMPLED)
    forward, batches = model.forward, []

    def small_memory(input_ids: torch.Tensor, **options: Any) -> Any:
        batches.append(len(input_ids))
        if len(input_ids) > 4:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return forward(input_ids=input_ids, **options)

    # The loop reads from the signature whether the model takes positions.
    small_memory.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    monkeypatch.setattr(model, "forward", small_memory)
    np.testing.assert_array_equal(complete_prompts(model, prompts, SAMPLED), expected)
    assert batches[0] == 6
    assert (batches[-11], batches[-1]) == (4, 2)  # ten tokens of each batch
    with pytest.raises(PokemonGenError, match=r"completion\.candidates=9: .*memory"):
        draw_candidates(model, prompts, SAMPLED.model_copy(update={"candidates": 9}))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "prompt 2: 0 tokens"),
        ([0] * 400, "prompt 2: 400 tokens.* 1 to 399"),
        ([0, V], r"prompt 2: .*\b9 .*0\.\.8"),
        ([0, -1], r"prompt 2: .*-1 .*0\.\.8"),
    ],
)
def test_an_error_names_the_wrong_prompt(model: PreTrainedModel, prompt: list[int], message: str) -> None:
    with pytest.raises(PokemonGenError, match=message):
        complete_prompts(model, [[0], prompt])
