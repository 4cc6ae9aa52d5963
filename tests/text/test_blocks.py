"""`text/blocks.py`: where blocks start, and what a training has seen."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare
from torch.utils.data import DataLoader

from pokemon_gen.text import blocks as blocks_module
from pokemon_gen.text import corpus as corpus_module
from pokemon_gen.text.blocks import (
    AdjacentBlocks,
    RandomBlocks,
    TokenStream,
    batches,
    count_seen,
    read_tokens,
    require_block,
)
from pokemon_gen.text.tokenizers import make_tokenizer
from pokemon_gen.text_settings import TokenizerSettings
from tests.builders import error_with
from tests.text.builders import corpus_of, write_corpus

MASK = 2**64 - 1


def counting(length: int) -> TokenStream:
    """Return a stream in which each token is its own place."""
    return TokenStream(np.arange(length, dtype=np.uint32), length)


def split_mix(number: int) -> int:
    """Return the output of SplitMix64 with this number, from 0, for seed 0, in Python's own integers."""
    mixed = (number + 1) * 0x9E3779B97F4A7C15 & MASK
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB & MASK
    return mixed ^ (mixed >> 31)


def starts(length: int, block_size: int, count: int, seed: int) -> NDArray[np.int64]:
    return RandomBlocks(counting(length), block_size, count, seed).starts(np.arange(count))


def test_starts_are_drawn_by_split_mix() -> None:
    # The first outputs for seed 0 of https://prng.di.unimi.it/splitmix64.c
    assert [split_mix(number) for number in range(2)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    for seed in (0, 1, 2**32 - 1):
        expected = [split_mix(number + split_mix(seed) & MASK) % 92 for number in range(50)]
        assert starts(100, 8, 50, seed).tolist() == expected


def test_a_random_block_is_block_size_tokens_and_the_one_after_them() -> None:
    dataset = RandomBlocks(counting(1000), 16, 20, seed=3)
    found = dataset.__getitems__(list(range(20)))
    assert found.shape == (20, 17)
    for start, block in zip(starts(1000, 16, 20, 3), found.tolist(), strict=True):
        assert block == list(range(start, start + 17))


def test_random_blocks_start_everywhere_equally_often() -> None:
    found = np.bincount(starts(60, 10, 50_000, seed=0), minlength=50)
    assert len(found) == 50  # the last of them ends with the last token
    assert chisquare(found).pvalue > 0.001
    pairs = starts(14, 10, 40_000, seed=0).reshape(-1, 2)  # neighbours do not depend on each other
    assert chisquare(np.bincount(pairs @ [4, 1], minlength=16)).pvalue > 0.001


def test_a_random_block_depends_on_the_seed_and_its_number_alone() -> None:
    dataset, longer = (RandomBlocks(counting(500), 8, count, seed=5) for count in (40, 80))
    order = np.random.default_rng(0).permutation(40).tolist()
    np.testing.assert_array_equal(dataset.__getitems__(order), longer.__getitems__(list(range(40)))[order])
    np.testing.assert_array_equal(dataset[7], dataset.__getitems__([7])[0])
    np.testing.assert_array_equal(next(iter(DataLoader(dataset, 40, collate_fn=lambda batch: batch))),
                                  dataset.__getitems__(list(range(40))))  # fmt: skip
    others = [starts(500, 8, 40, seed) for seed in (6, 7, 8)]
    assert all((starts(500, 8, 40, 5) == other).mean() < 0.2 for other in others)


@pytest.mark.parametrize("length", [17, 18, 32, 33, 34, 100])
def test_adjacent_blocks_do_not_overlap_and_predict_every_token_but_a_rest(length: int) -> None:
    dataset = AdjacentBlocks(counting(length), 16)
    found = dataset.__getitems__(list(range(len(dataset))))
    predicted = found[:, 1:].flatten().tolist()
    assert predicted == list(range(1, len(predicted) + 1))
    assert 0 <= length - 1 - len(predicted) < 16
    assert found[:, 0].tolist() == [16 * number for number in range(len(dataset))]


@pytest.mark.parametrize(("every", "most"), [(100, 7), (100, 99), (100, 50), (3, 2), (5, 1), (5, 9)])
def test_blocks_of_an_evaluation_are_spread_evenly(every: int, most: int) -> None:
    dataset = AdjacentBlocks(counting(every * 4 + 1), 4, most)
    assert len(dataset) == min(every, most)
    numbers = dataset.__getitems__(list(range(len(dataset))))[:, 0].numpy() // 4
    assert numbers[0] == 0
    gaps = np.diff([*numbers, every])
    assert gaps.min() >= every // len(dataset)
    assert gaps.max() <= -(-every // len(dataset))


def test_batches_are_all_blocks_in_their_order() -> None:
    dataset = AdjacentBlocks(counting(41), 4)
    found = list(batches(dataset, 3))
    assert [len(batch) for batch in found] == [3, 3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(found), dataset.__getitems__(list(range(10))))


def test_a_stream_must_fill_a_block() -> None:
    require_block(counting(9), 8, "dev")
    assert starts(9, 8, 5, 0).tolist() == [0] * 5
    with error_with("a.txt: dev", "8 tokens", "takes 9", "corpus.block_size"):
        require_block(counting(8), 8, "a.txt: dev")


def test_what_was_seen_is_counted() -> None:
    dataset = RandomBlocks(counting(50), 10, 30, seed=0)
    seen = count_seen(dataset, 30)
    places = starts(50, 10, 30, 0)
    assert (seen.blocks, seen.tokens, seen.possible) == (30, 300, 40)
    assert seen.distinct == len(set(places.tolist())) < 30
    assert seen.epochs == 300 / 50
    adjacent = AdjacentBlocks(counting(51), 10)
    assert [count_seen(adjacent, blocks).distinct for blocks in (3, 5, 12)] == [3, 5, 5]
    assert count_seen(adjacent, 12).possible == 5


def test_the_expected_number_of_different_blocks_is_that_of_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = [count_seen(RandomBlocks(counting(1010), 10, 1500, seed), 1500).distinct for seed in range(20)]
    monkeypatch.setattr(blocks_module, "COUNTED", 0)
    expected = count_seen(RandomBlocks(counting(1010), 10, 1500, 0), 1500).distinct
    assert expected == round(1000 * (1 - (1 - 1 / 1000) ** 1500))
    # The number of empty cells has a standard deviation of about 12 here, and the mean of 20 one of 3.
    assert abs(np.mean(counted) - expected) < 9


@pytest.mark.parametrize("most", [0, 1, 50, 449, 450, 451])
def test_tokens_of_a_long_corpus_come_from_a_file_and_are_the_same(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = corpus_of(write_corpus(500))
    tokenizer = make_tokenizer(TokenizerSettings(), corpus)
    held = read_tokens(corpus, "train", tokenizer)
    monkeypatch.setattr(blocks_module, "IN_MEMORY", most)
    monkeypatch.setattr(corpus_module, "PIECE", 32)
    spilled = read_tokens(corpus, "train", tokenizer)
    assert isinstance(spilled.tokens, np.memmap) == (most < 450)
    assert spilled.tokens.dtype == np.uint8
    assert spilled.characters == held.characters == 450
    np.testing.assert_array_equal(spilled.tokens, held.tokens)
    blocks = RandomBlocks(spilled, 8, 6, 0).__getitems__(list(range(6)))
    np.testing.assert_array_equal(blocks, RandomBlocks(held, 8, 6, 0).__getitems__(list(range(6))))


def test_the_tokens_of_a_large_vocabulary_do_not_overflow() -> None:
    """They are held in the smallest integers, and 300 different characters need two bytes."""
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    corpus = corpus_of(text)
    stream = read_tokens(corpus, "all", make_tokenizer(TokenizerSettings(), corpus))
    assert stream.tokens.dtype == np.uint16
    assert stream.tokens.tolist() == list(range(300))
