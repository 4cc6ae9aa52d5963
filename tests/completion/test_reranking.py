"""`reranking.py`: the candidates of a prompt are independent draws, and the best is kept."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from pokemon_gen.completion.reranking import complete_best, rank_candidates
from pokemon_gen.completion.sampling import Candidates, complete_prompts, draw_candidates
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.likelihood import token_nll
from pokemon_gen.settings import CompletionSettings
from tests.model_builders import V, sharp_model

SEVERAL = CompletionSettings(do_sample=True, temperature=1.5, candidates=5, seed=3)


@dataclass
class ColourScorer:
    """A scorer whose probability is the share of pixels of one colour."""

    colour: int = 2

    def probabilities(self, sprites: NDArray[Any]) -> NDArray[np.float64]:
        return (sprites == self.colour).mean(1)


@pytest.fixture(scope="module")
def prompts() -> np.ndarray:
    return np.random.default_rng(0).integers(0, V, (6, 380))


@pytest.mark.parametrize("model_type", ["gpt2", "llama", "mistral"])
def test_candidates_differ_and_do_not_depend_on_their_batch(model_type: str, prompts: np.ndarray) -> None:
    model = sharp_model(model_type)
    drawn = draw_candidates(model, prompts, SEVERAL)
    assert drawn.sprites.shape == (6, 5, 400)
    np.testing.assert_array_equal(drawn.sprites[..., :380], np.repeat(prompts[:, None], 5, axis=1))
    for sprites in drawn.sprites:
        assert len({sprite.tobytes() for sprite in sprites}) == 5
    # The first candidate equals a single completion.
    np.testing.assert_array_equal(drawn.sprites[:, 0], complete_prompts(model, prompts, SEVERAL))
    alone = draw_candidates(model, prompts[4:], SEVERAL)
    np.testing.assert_array_equal(alone.sprites, drawn.sprites[4:])


def test_the_likelihood_does_not_depend_on_the_temperature(prompts: np.ndarray) -> None:
    model = sharp_model("llama")
    drawn = draw_candidates(model, prompts, SEVERAL)
    sprites = torch.from_numpy(drawn.sprites.reshape(30, 400))
    with torch.no_grad():
        nll = token_nll(model(sprites).logits, sprites)[:, -20:].mean(1)
    np.testing.assert_allclose(drawn.log_likelihood.reshape(30), -nll.numpy(), rtol=1e-4)


def test_a_batch_has_at_most_320_rows_of_candidates(prompts: np.ndarray) -> None:
    model = sharp_model("gpt2")
    sizes: list[int] = []
    handle = model.get_input_embeddings().register_forward_pre_hook(
        lambda module, inputs: sizes.append(len(inputs[0]))
    )
    many = SEVERAL.model_copy(update={"candidates": 120})
    drawn = draw_candidates(model, prompts, many)
    handle.remove()
    assert max(sizes) == 240  # six prompts in three batches of two
    np.testing.assert_array_equal(drawn.sprites[:, :5], draw_candidates(model, prompts, SEVERAL).sprites)


def test_the_best_candidate_of_each_prompt_is_kept(prompts: np.ndarray) -> None:
    model = sharp_model("gpt2")
    detector = ColourScorer()
    settings = SEVERAL.model_copy(update={"likelihood_weight": 0.0})
    best = complete_best(model, prompts, settings, detector)
    drawn = draw_candidates(model, prompts, settings).sprites
    probabilities = (drawn == 2).mean(-1)
    np.testing.assert_array_equal((best == 2).mean(-1), probabilities.max(1))
    assert (probabilities.max(1) > probabilities[:, 0]).any()
    likeliest = complete_best(
        model, prompts, settings.model_copy(update={"likelihood_weight": 1e9}), detector
    )
    which = draw_candidates(model, prompts, settings).log_likelihood.argmax(1)
    np.testing.assert_array_equal(likeliest, drawn[np.arange(6), which])


def test_log_odds_and_nats_are_added() -> None:
    """Probabilities of 3/4 and 1/4 have log-odds of ±log 3, to which the weighted likelihoods are added."""
    sprites = np.zeros((1, 3, 400), dtype=np.int64)
    sprites[0, 0, :300] = 2  # probabilities 3/4, 1/4 and 0
    sprites[0, 1, :100] = 2
    likelihoods = np.array([[-2.0, -1.0, -1.0]])
    for weight, order in ((2.0, [0, 1, 2]), (3.0, [1, 0, 2])):  # log 3 - 2w against -log 3 - w
        ranked = rank_candidates(Candidates(sprites, likelihoods), ColourScorer(), weight)
        np.testing.assert_array_equal(ranked.sprites[0], sprites[0, order])
        np.testing.assert_allclose(ranked.nll[0], -likelihoods[0, order])
        assert ranked.probability is not None
        np.testing.assert_allclose(ranked.probability[0], np.array([0.75, 0.25, 0])[order], atol=1e-6)


def test_without_a_detector_the_likeliest_candidate_is_the_best() -> None:
    sprites = np.arange(3)[None, :, None].repeat(400, 2)
    ranked = rank_candidates(Candidates(sprites, np.array([[-2.0, -1.0, -3.0]])), None, 1.0)
    assert ranked.sprites[0, :, 0].tolist() == [1, 0, 2]
    assert ranked.nll.tolist() == [[1, 2, 3]]
    assert ranked.probability is None


def test_candidates_need_a_detector_and_sampling(prompts: np.ndarray) -> None:
    with pytest.raises(PokemonGenError, match=r"candidates=5.*`pokemon-gen detector CONFIG`.*=1"):
        complete_best(sharp_model("gpt2"), prompts, SEVERAL, None)
    with pytest.raises(ValidationError, match="greedy completions are all the same"):
        CompletionSettings(candidates=2)
