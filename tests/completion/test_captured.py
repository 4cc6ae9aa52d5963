"""`completion/captured.py`: decoding over a cache of fixed size gives the tokens and scores of the loop.

A CPU captures nothing, but decodes through the same cache, masks and buffers here; the test marked `gpu`
captures.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import DynamicCache

from pokemon_gen.completion import captured
from pokemon_gen.completion.captured import CapturedDecoding, FixedMember, window_of_layer
from pokemon_gen.completion.decoding import _Capturing, decode
from pokemon_gen.completion.sampling import TokenSampler, draw_candidates
from pokemon_gen.models.build import build_model
from pokemon_gen.models.ensemble import Ensemble
from pokemon_gen.models.graphs import Replayed
from pokemon_gen.settings import CompletionSettings
from tests.completion.test_decoding import greedy, model_that_prefers_conditioning_tokens
from tests.model_builders import MODEL_TYPES, V, sharp_model

SAMPLED = CompletionSettings(do_sample=True, temperature=0.9, top_k=5, top_p=0.9, candidates=3)


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(V, (5, 30), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def through_fixed_cache(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Decode as on a GPU, and return a list to which each such decoding adds the tokens it decoded."""
    decoded: list[int] = []
    usual = CapturedDecoding.decode

    def counted(self: CapturedDecoding, *args: object) -> Tensor:
        decoded.append(self.new_tokens - len(args[0]))  # type: ignore[arg-type]
        return usual(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(CapturedDecoding, "decode", counted)
    monkeypatch.setattr(_Capturing, "agreed", set())
    monkeypatch.setattr("pokemon_gen.completion.decoding.can_capture", lambda device: True)
    return decoded


@pytest.mark.parametrize(("model_type", "length"), [*((name, 30) for name in MODEL_TYPES), ("mistral", 60)])
def test_tokens_and_scores_are_those_of_the_loop(
    model_type: str, length: int, monkeypatch: pytest.MonkeyPatch, through_fixed_cache: list[int]
) -> None:
    """More tokens than the sliding window of the Mistral holds (40), after fewer and after more."""
    model = sharp_model(model_type)
    tokens = torch.randint(V, (5, length), generator=torch.Generator().manual_seed(0))
    seen: list[Tensor] = []

    def choose(scores: Tensor, number: Tensor) -> Tensor:
        seen.append(scores)
        return scores.argmax(-1)

    first, ours = decode(model, tokens, 80, greedy), decode(model, tokens, 80, choose)
    assert torch.equal(first, ours)
    assert through_fixed_cache == [78, 79]  # the loop is compared with once
    with torch.no_grad():
        logits = model(torch.cat([tokens, ours], dim=1)).logits[:, length - 1 : -1]
    torch.testing.assert_close(torch.stack(seen, dim=1), logits, rtol=1e-4, atol=1e-4)
    monkeypatch.undo()
    assert torch.equal(ours, decode(model, tokens, 80, greedy))


def test_members_and_candidates_are_those_of_the_loop(
    monkeypatch: pytest.MonkeyPatch, through_fixed_cache: list[int]
) -> None:
    model = Ensemble([model_that_prefers_conditioning_tokens("llama"), sharp_model("gpt2")]).eval()
    prompts = np.random.default_rng(0).integers(0, V, (4, 340))
    ours = draw_candidates(model, prompts, SAMPLED)
    assert through_fixed_cache == [58]
    monkeypatch.undo()
    loop = draw_candidates(model, prompts, SAMPLED)
    np.testing.assert_array_equal(ours.sprites, loop.sprites)
    np.testing.assert_allclose(ours.log_likelihood, loop.log_likelihood, rtol=1e-4)
    assert len({sprite.tobytes() for sprite in ours.sprites.reshape(-1, 400)}) > 4


@pytest.mark.parametrize("fault", ["other scores", "an error"])
def test_a_model_that_ignores_the_mask_is_decoded_by_the_loop(
    fault: str, tokens: Tensor, monkeypatch: pytest.MonkeyPatch, through_fixed_cache: list[int]
) -> None:
    read = FixedMember.read

    def wrong(self: FixedMember, *args: object) -> Tensor:
        if fault == "an error":
            raise ValueError("an unexpected mask")
        return read(self, *args) + torch.arange(V)  # type: ignore[arg-type]

    model = sharp_model("llama")
    monkeypatch.setattr(FixedMember, "read", wrong)
    ours = decode(model, tokens, 40, greedy)
    assert through_fixed_cache == []
    monkeypatch.undo()
    assert torch.equal(ours, decode(model, tokens, 40, greedy))


def test_layers_with_different_windows_are_decoded_by_the_loop(
    tokens: Tensor, through_fixed_cache: list[int]
) -> None:
    """One mask does not serve both, also where a model of the same type was captured before."""
    assert decode(sharp_model("qwen3"), tokens, 40, greedy).shape == (5, 40)
    fields = {
        **MODEL_TYPES["qwen3"],
        "num_hidden_layers": 2,
        "use_sliding_window": True,
        "sliding_window": 16,
    }
    fields |= {"layer_types": ["full_attention", "sliding_attention"], "max_window_layers": 1}
    mixed = build_model(fields, V, seed=1).eval()
    assert decode(mixed, tokens, 40, greedy).shape == (5, 40)
    assert through_fixed_cache == [38]


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_decoding_mixes_no_devices(
    model_type: str, monkeypatch: pytest.MonkeyPatch, through_fixed_cache: list[int]
) -> None:
    """Tensors of a GPU without one: torch computes shapes and devices, and refuses to read a number."""
    gpu = torch.device("cuda")
    model = sharp_model(model_type)
    for module in ("models.graphs", "completion.captured"):
        monkeypatch.setattr(f"pokemon_gen.{module}.can_capture", lambda device: False)
    windows = map(window_of_layer, DynamicCache(config=model.config).layers)
    agreed = {(type(model), "sdpa", *windows)}  # comparing would read a number
    monkeypatch.setattr(_Capturing, "agreed", agreed)
    monkeypatch.setattr("pokemon_gen.completion.decoding.prepend_identity", lambda model, tokens: tokens)
    monkeypatch.setattr(torch, "tensor", lambda *_, **options: torch.empty(0, **options))  # needs a driver
    settings = SAMPLED.model_copy(update={"candidates": 2})
    sampler = TokenSampler(torch.zeros(4, 30, dtype=torch.long), settings, (30, V), torch.device("cpu"))
    noise = sampler.noise
    assert noise is not None
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device=gpu)
        sampler.noise = noise.to(gpu)
        likelihoods = torch.zeros(8, 30, device=gpu)

        def choose(scores: Tensor, number: Tensor) -> Tensor:
            chosen = sampler(scores, number).argmax(-1)
            likelihoods.index_copy_(1, number, scores.log_softmax(-1).gather(1, chosen[:, None]))
            return chosen

        prompts = torch.zeros(4, 30, dtype=torch.long, device=gpu)
        new = decode(Ensemble([model, model]), prompts, 30, choose, repeats=2)
        assert (new.shape, new.device.type) == ((8, 30), "cuda")
    assert through_fixed_cache == [29]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="captures need an NVIDIA GPU")
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_captured_tokens_are_those_of_the_loop_but_for_ties(
    model_type: str, tokens: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Replayed] = []

    class Kept(Replayed):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            steps.append(self)

    monkeypatch.setattr(captured, "Replayed", Kept)
    model = sharp_model(model_type).cuda()
    ours = decode(model, tokens.cuda(), 80, greedy)
    assert steps[0].graph is not None
    monkeypatch.setattr("pokemon_gen.completion.decoding.can_capture", lambda device: False)
    loop = decode(model, tokens.cuda(), 80, greedy)
    assert (ours == loop).all(1).float().mean() >= 0.8  # a tie changes the rest of a row
