"""`text/scores.py`: perplexity and bits per character against a loop by hand and known models."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from pokemon_gen.text.blocks import TokenStream, read_tokens
from pokemon_gen.text.corpus import open_corpus
from pokemon_gen.text.loading import TextModel
from pokemon_gen.text.scores import nll_of_blocks, score_corpus
from pokemon_gen.text.tokenizers import encode
from pokemon_gen.text_settings import CorpusSettings
from tests.builders import error_with
from tests.text.builders import BLOCK, UNLIMITED, fresh_text_model

CORPUS = CorpusSettings(source="file:corpus.txt", block_size=BLOCK)


def uniform(text_model: TextModel) -> TextModel:
    """Make every token equally likely."""
    with torch.no_grad():
        for parameter in text_model.model.parameters():
            parameter.zero_()
    return text_model


def mean_nll(text_model: TextModel, stream: TokenStream, block_size: int) -> float:
    return float(np.concatenate(list(nll_of_blocks(text_model, stream, block_size))).mean())


def test_the_perplexity_of_a_uniform_model_is_the_size_of_its_vocabulary() -> None:
    score = score_corpus(uniform(fresh_text_model()), CORPUS)
    assert score.perplexity == pytest.approx(8, rel=1e-6)
    assert score.nll == pytest.approx(math.log(8), rel=1e-6)
    assert score.bits_per_character == pytest.approx(3, rel=1e-6)
    assert score.error == pytest.approx(0, abs=1e-7)


def test_a_model_that_is_certain_and_wrong_has_an_infinite_perplexity() -> None:
    """exp(1000) is above the largest float, and a study of a training that diverged must not stop there."""
    score = score_corpus(fresh_text_model(sharpness=1e6), CORPUS)
    assert score.nll > 1000
    assert score.perplexity == math.inf


def test_bits_per_character_count_the_characters_and_not_the_tokens() -> None:
    """A uniform model of bytes needs 8 bits and a little for each byte, and é has two."""
    text_model = uniform(fresh_text_model(tokenizer={"kind": "bpe", "size": 257}))
    Path("corpus.txt").write_text("éa" * 200)
    tokens = len(encode(text_model.tokenizer, "éa" * 200, "here"))
    score = score_corpus(text_model, CORPUS, "all")
    assert score.characters == 400
    assert score.bits_per_character == pytest.approx(math.log2(257) * tokens / 400, rel=1e-6)


@pytest.mark.parametrize("split", ["dev", "train", "all"])
def test_the_nll_is_the_mean_of_a_loop_over_blocks(split: str) -> None:
    text_model = fresh_text_model()
    score = score_corpus(text_model, CORPUS, split)
    text = "".join(open_corpus(CORPUS).split(split))
    tokens = torch.from_numpy(encode(text_model.tokenizer, text, "text"))
    by_block = []
    for start in range(0, len(tokens) - BLOCK, BLOCK):
        block = tokens[start : start + BLOCK + 1]
        with torch.no_grad():
            logs = text_model.model(block[None, :-1]).logits[0].double().log_softmax(-1)
        by_block.append([-float(logs[place, block[place + 1]]) for place in range(BLOCK)])
    assert score.nll == pytest.approx(np.mean(by_block), rel=1e-5)
    assert score.perplexity == pytest.approx(math.exp(np.mean(by_block)), rel=1e-5)
    assert score.bits_per_character == pytest.approx(np.mean(by_block) / math.log(2), rel=1e-5)
    means = np.mean(by_block, axis=1)
    assert score.error == pytest.approx(means.std(ddof=1) / len(means) ** 0.5, rel=1e-4)
    assert (score.tokens, score.characters) == (np.size(by_block), len(text))
    assert f"{score.perplexity:.3f}" in str(score)


def test_a_single_block_has_no_error() -> None:
    text_model = fresh_text_model()
    Path("corpus.txt").write_text("abcdeabcd")  # 9 characters, a block of 8 and the one after it
    score = score_corpus(text_model, CORPUS, "all")
    assert (score.tokens, score.error) == (BLOCK, None)
    assert "±" not in str(score)


def test_the_batches_of_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    text_model = fresh_text_model()
    all_at_once = score_corpus(text_model, CORPUS, "train").nll
    monkeypatch.setattr("pokemon_gen.text.scores._TOKENS", 3 * BLOCK)
    assert score_corpus(text_model, CORPUS, "train").nll == pytest.approx(all_at_once, rel=1e-5)


def test_a_model_without_a_limit_is_scored_in_long_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    text_model = fresh_text_model(model=UNLIMITED)
    free = TextModel(text_model.model, text_model.tokenizer, None, "free", "")
    monkeypatch.setattr("pokemon_gen.text.loading.LONGEST_BLOCK", 50)
    assert free.corpus.block_size == 50
    stream = TokenStream(np.zeros(201, np.uint8), 201)
    assert np.concatenate(list(nll_of_blocks(free, stream, 50))).shape == (4, 50)


def test_a_score_has_blocks_of_the_size_that_is_asked_for() -> None:
    text_model = fresh_text_model()
    stream = read_tokens(open_corpus(CORPUS), "dev", text_model.tokenizer)
    score = score_corpus(text_model, CORPUS.model_copy(update={"block_size": 3}))
    assert score.nll == pytest.approx(mean_nll(text_model, stream, 3))
    assert score.nll != pytest.approx(mean_nll(text_model, stream, BLOCK))
    with error_with("corpus.block_size", str(BLOCK), str(BLOCK + 1)):
        score_corpus(text_model, CORPUS.model_copy(update={"block_size": BLOCK + 1}))


def test_a_short_text_is_one_short_block() -> None:
    text_model = fresh_text_model()
    Path("corpus.txt").write_text("abcde")
    score = score_corpus(text_model, CORPUS, "all")
    assert (score.tokens, score.characters, score.error) == (4, 5, None)
    stream = TokenStream(encode(text_model.tokenizer, "abcde", "text"), 5)
    assert score.nll == pytest.approx(mean_nll(text_model, stream, 4))


def test_a_large_vocabulary_is_scored_in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    text_model = fresh_text_model()
    stream = read_tokens(open_corpus(CORPUS), "train", text_model.tokenizer)
    at_once = list(nll_of_blocks(text_model, stream, BLOCK))
    monkeypatch.setattr("pokemon_gen.models.likelihood.MOST_LOGITS", 3 * 8 * BLOCK)  # 8 tokens
    in_batches = list(nll_of_blocks(text_model, stream, BLOCK))
    assert (len(at_once), max(map(len, in_batches))) == (1, 3)
    np.testing.assert_allclose(np.concatenate(in_batches), at_once[0], rtol=1e-5)


def test_a_text_that_does_not_fit_is_an_error() -> None:
    text_model = fresh_text_model()
    Path("corpus.txt").write_text("a")
    with error_with("file:corpus.txt: all", "1 tokens", "2"):
        score_corpus(text_model, CORPUS, "all")
    Path("corpus.txt").write_text("abcde\nabcd€")
    with error_with("file:corpus.txt: all", "line 2, column 5", "'€'"):
        score_corpus(text_model, CORPUS, "all")
