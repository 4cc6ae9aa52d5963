"""The page's engine in Chromium: its arithmetic is PyTorch's, and its sampling that of `transformers`."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers import TopKLogitsWarper, TopPLogitsWarper

from pokemon_gen.augmentation import prepend_identity
from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.constants import LENGTH, PROMPT_LENGTH
from pokemon_gen.models.ensemble import average_probabilities
from pokemon_gen.page.export import FAMILIES, export_models
from tests.model_builders import V
from tests.page.engines import SCRIPTS, PageEngine, odd_model, torch_logits

pytestmark = pytest.mark.browser
SPRITE = np.random.default_rng(0).integers(0, V, LENGTH)
PROMPT = SPRITE[:PROMPT_LENGTH]
DRAWING = {"temperature": 1.0, "seed": 5}


def family_engine(page: Any, family: str, simd: bool = True) -> PageEngine:
    return PageEngine(page, export_models(odd_model(family), "fp32"), simd)


@pytest.mark.parametrize("simd", [True, False], ids=["simd", "plain"])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_pytorch(page: Any, family: str, simd: bool) -> None:
    engine = family_engine(page, family, simd)
    assert engine.simd == simd
    expected = torch_logits(odd_model(family), SPRITE[:-1]).numpy()
    assert expected.std() > 1  # not all alike
    np.testing.assert_allclose(engine.logits(SPRITE[:-1]), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_completions_are_those_of_pytorch(page: Any, family: str) -> None:
    sprites, _ = family_engine(page, family).complete(PROMPT)
    np.testing.assert_array_equal(sprites, complete_prompts(odd_model(family), [PROMPT]))


@pytest.mark.parametrize("family", FAMILIES)
def test_drawing_with_the_cache_gives_the_likelihood_of_reading_at_once(page: Any, family: str) -> None:
    engine = family_engine(page, family)
    sprites, log_probabilities = engine.complete(
        SPRITE[:37], count=5, **DRAWING
    )  # 5 rows: a tile of 4 and one
    for sprite, found in zip(sprites, log_probabilities, strict=True):
        np.testing.assert_allclose(found, -engine.inspect(sprite)[0][37:], atol=1e-4)


def test_fp16_weights_are_decoded_exactly(page: Any) -> None:
    model = odd_model("llama")
    engine = PageEngine(page, export_models(model))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())
    np.testing.assert_allclose(engine.logits(PROMPT), torch_logits(model, PROMPT), rtol=0, atol=1e-3)


def test_halves_are_decoded_exactly_down_to_the_smallest(page: Any) -> None:
    page.add_script_tag(content=SCRIPTS["engine.js"])
    bits = np.arange(0, 0x7C00, 7, dtype=np.uint16)  # subnormal and normal numbers
    for sign in (0, 0x8000):
        found = page.evaluate(
            "(bits) => { const t = halfPrecisionTable(); return bits.map((b) => t[b]); }",
            (bits | sign).tolist(),
        )
        np.testing.assert_array_equal(found, (bits | sign).astype(np.uint16).view(np.float16))


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0, [0]),
        (63, [63]),
        (64, [0xC0, 0]),
        (-1, [0x7F]),
        (-123456, [0xC0, 0xBB, 0x78]),
        (624485, [0xE5, 0x8E, 0x26]),
    ],
)
def test_integers_are_encoded_as_leb128(page: Any, value: int, code: list[int]) -> None:
    """The examples of the DWARF standard and of Wikipedia's article."""
    page.add_script_tag(content=SCRIPTS["engine.js"])
    assert page.evaluate("(value) => leb(value)", value) == code


def test_inspection_gives_a_distribution_for_each_pixel_after_the_first(page: Any) -> None:
    engine = family_engine(page, "gpt2")
    nll, probabilities = engine.inspect(SPRITE)
    assert probabilities.shape == (LENGTH, V)
    assert (probabilities[0] == 0).all()
    np.testing.assert_allclose(probabilities[1:].sum(axis=1), 1, atol=1e-5)
    assert np.isnan(nll[0])
    expected = -torch_logits(odd_model("gpt2"), SPRITE[:-1]).log_softmax(-1)[range(LENGTH - 1), SPRITE[1:]]
    np.testing.assert_allclose(nll[1:], expected, atol=1e-3)
    assert engine.inspect(SPRITE[:1])[1].shape == (2, V)
    assert engine.inspect(PROMPT)[1].shape == (PROMPT_LENGTH + 1, V)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("position", [1, 32, 250, 399])
def test_attention_is_that_of_pytorch(page: Any, family: str, position: int) -> None:
    found = family_engine(page, family).attend(SPRITE, position)
    model = odd_model(family)
    model.set_attn_implementation("eager")
    inputs = prepend_identity(model, torch.as_tensor(SPRITE[:position])[None])
    with torch.no_grad():
        expected = torch.stack(model(input_ids=inputs, output_attentions=True).attentions)  # (L, 1, H, T, T)
    np.testing.assert_allclose(found, expected[:, 0, :, -1, 2:], atol=1e-4)  # after two conditioning tokens
    assert (found.sum(axis=-1) <= 1 + 1e-5).all()


def test_an_ensemble_averages_probabilities(page: Any) -> None:
    members = [odd_model("gpt2", seed=2), odd_model("mistral", seed=3)]
    exported = [export_models(member, "fp32")[0] for member in members]
    engine = PageEngine(page, exported)
    logits = average_probabilities([torch_logits(member, SPRITE[:-1]) for member in members])
    _, probabilities = engine.inspect(SPRITE, members=2)
    np.testing.assert_allclose(probabilities[1:], logits.softmax(-1), atol=1e-5)
    alone = torch_logits(members[0], SPRITE[:-1]).softmax(-1)
    np.testing.assert_allclose(engine.inspect(SPRITE, members=1)[1][1:], alone, atol=1e-5)
    sprites, found = engine.complete(PROMPT, count=2, members=2, **DRAWING)
    np.testing.assert_allclose(found[1], -engine.inspect(sprites[1], members=2)[0][PROMPT_LENGTH:], atol=1e-4)


def test_a_seed_gives_the_same_pictures_whatever_else_is_drawn(page: Any) -> None:
    engine = family_engine(page, "qwen3")
    three, _ = engine.complete(PROMPT, count=3, **DRAWING)
    five, _ = engine.complete(PROMPT, count=5, **DRAWING)
    np.testing.assert_array_equal(five[:3], three)
    assert len(np.unique(five, axis=0)) == 5
    assert (engine.complete(PROMPT, count=3, temperature=1.0, seed=6)[0] != three).any(axis=1).all()
    longer, _ = engine.complete(three[0, :301], count=1, **DRAWING)  # the noise belongs to the position
    np.testing.assert_array_equal(longer[0], three[0])


@pytest.mark.parametrize(
    ("top_k", "top_p"), [(0, 1.0), (1, 1.0), (5, 1.0), (0, 0.9), (0, 0.3), (8, 0.7), (99, 0.01)]
)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_filters_keep_the_colours_that_transformers_keeps(
    page: Any, top_k: int, top_p: float, temperature: float
) -> None:
    page.add_script_tag(content=SCRIPTS["engine.js"])
    logits = torch.randn(40, 30, generator=torch.Generator().manual_seed(0)) * 2
    logits[0, 3:6] = logits[0, 6]  # a tie at top-k's edge is kept
    settings = {"temperature": temperature, "topK": top_k, "topP": top_p}
    script = "([rows, settings]) => rows.map((row) => [...warp(row, settings)])"
    found = np.array(page.evaluate(script, [logits.log_softmax(-1).tolist(), settings]), dtype=float)
    expected = logits / temperature
    if top_k:
        expected = TopKLogitsWarper(top_k)(None, expected)
    rows = slice(0, None)
    if top_p < 1:
        expected = TopPLogitsWarper(top_p)(None, expected)
        rows = slice(1, None)  # which of equal logits top-p keeps depends on the sorting
    np.testing.assert_array_equal(np.isfinite(found)[rows], expected.isfinite().numpy()[rows])
    shares = torch.tensor(found).softmax(-1)
    np.testing.assert_allclose(shares[rows], expected.softmax(-1)[rows], atol=1e-5)


def test_draws_follow_the_distribution(page: Any) -> None:
    page.add_script_tag(content=SCRIPTS["engine.js"])
    logits = np.linspace(-2, 2, 12)
    script = """([logits, settings]) => {
        const counts = logits.map(() => 0);
        for (let candidate = 0; candidate < 64; candidate++)
            for (let position = 1; position < 400; position++)
                counts[drawColour(logSoftmax(logits), settings, candidate, position)]++;
        return counts;
    }"""
    for temperature, seed in ((1.0, 0), (1.0, 1), (0.6, 2)):
        settings = {"temperature": temperature, "topK": 0, "topP": 1, "seed": seed}
        counts = np.array(page.evaluate(script, [logits.tolist(), settings]))
        shares = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
        assert chisquare(counts, shares * counts.sum()).pvalue > 0.001


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("[...engine.complete({ ...request, prompt: [] })]", "0 pixels: give 1 to 399"),
        (
            "[...engine.complete({ ...request, prompt: [9] })]",
            "token 9 has no colour: the palette's are 0 to 8",
        ),
        ("[...engine.complete({ ...request, temperature: -1 })]", "temperature -1: use 0 or more"),
        ("[...engine.complete({ ...request, topK: 1.5 })]", "top-k 1.5: use a whole number"),
        ("[...engine.complete({ ...request, topP: 0 })]", "top-p 0: use more than 0"),
        ("[...engine.complete({ ...request, count: 1000 })]", "1000 candidates: draw 1 to 64"),
        ("engine.inspect(Array(401).fill(0), 1)", "401 pixels: give 1 to 400"),
        ("engine.attend([1, 2], 0)", "position 0"),
    ],
)
def test_a_bad_request_is_named(page: Any, call: str, message: str) -> None:
    family_engine(page, "gpt2")
    request = "{ prompt: [1], count: 1, temperature: 1, topK: 0, topP: 1, seed: 0, members: 1 }"
    script = (
        f"() => {{ const request = {request}; try {{ {call}; }} catch (error) {{ return error.message; }} }}"
    )
    assert message in page.evaluate(script)
