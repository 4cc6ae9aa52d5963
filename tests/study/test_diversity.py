"""`study/diversity.py`: each measure against a value computed by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.pixels import mean_pairwise_distance
from pokemon_gen.study.diversity import (
    distinct,
    patch_overlap,
    repeated_pixels,
    repetition,
    require_package,
    self_bleu,
    sprite_measures,
    text_measures,
    words,
)
from tests.builders import error_with

PLACES = 6 * 18
"""Places of a 3x3 patch in a completion of 8 rows and 20 columns."""


def sprite(completion: int | NDArray[np.int64] = 0) -> NDArray[np.int64]:
    """Return a sprite with a prompt of zeros."""
    made = np.zeros(400, np.int64)
    made[240:] = completion
    return made


def numbered(first: int) -> NDArray[np.int64]:
    """Return a sprite whose 160 completion pixels are all different."""
    return sprite(np.arange(first, first + 160))


def test_words_are_split_from_punctuation() -> None:
    assert words("A red, small dog.") == ["A", "red", ",", "small", "dog", "."]


def test_self_bleu_is_the_geometric_mean_of_the_precisions() -> None:
    pytest.importorskip("sacrebleu")
    # Of equal lengths, so without a brevity penalty: 5 of 6 words, 4 of 5 pairs, 3 of 4 and 2 of 3 match.
    expected = (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** (1 / 4)
    assert self_bleu(["a b c d e f", "a b c d e g"]) == pytest.approx(expected)


def test_self_bleu_compares_with_all_other_texts_together() -> None:
    pytest.importorskip("sacrebleu")
    left, right = "a b c d", "e f g h"
    assert self_bleu([left, right]) < 0.01
    assert self_bleu([left, right, left, right]) == pytest.approx(1)


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    with error_with("nonsense", "self-BLEU", "pip install 'pokemon-gen[text]'"):
        require_package("no_module_of_this_name", "nonsense", "self-BLEU")


def test_distinct_counts_pairs_of_all_texts() -> None:
    assert distinct(["a b a b"]) == pytest.approx(2 / 3)  # ab, ba, ab
    assert distinct(["a b c", "a b d"]) == pytest.approx(3 / 4)
    assert distinct(["a", ""]) == 0


def test_repetition_counts_sequences_that_occurred_before() -> None:
    assert repetition("a b c d a b c d") == pytest.approx(1 / 5)
    assert repetition("a a a a a a a a") == pytest.approx(4 / 5)
    assert repetition("a b c") == 0


def test_patches_of_equal_completions_overlap_and_those_of_different_ones_do_not() -> None:
    assert patch_overlap(np.stack([numbered(0), numbered(0)])) == 1
    assert patch_overlap(np.stack([numbered(0), numbered(160)])) == 0


@pytest.mark.parametrize(("pixel", "patches"), [(0, 1), (10, 3), (3 * 20 + 10, 9)])
def test_a_changed_pixel_changes_the_patches_around_it(pixel: int, patches: int) -> None:
    changed = numbered(0)
    changed[240 + pixel] = 999
    assert patch_overlap(np.stack([numbered(0), changed])) == pytest.approx(1 - patches / PLACES)


def test_the_prompt_has_no_part_in_the_overlap() -> None:
    other = numbered(0)
    other[:240] = 7
    assert patch_overlap(np.stack([numbered(0), other])) == 1


def test_overlap_finds_two_groups_of_copies_that_the_pairwise_distance_does_not() -> None:
    groups = np.stack([numbered(0), numbered(160)] * 3)
    assert patch_overlap(groups) == 1
    assert mean_pairwise_distance(groups) == pytest.approx(3 / 5)  # 3 of the 5 others are of the other group


def test_repeated_pixels_begin_at_the_last_row_of_the_prompt() -> None:
    stripes = np.tile(np.arange(20), 20)
    changed_at_the_prompt = sprite(1)
    rows = np.repeat(np.arange(20), 20)
    assert repeated_pixels(np.stack([stripes, changed_at_the_prompt, rows])).tolist() == [1, 7 / 8, 0]


def test_the_measures_of_sprites_are_means_over_the_completions_of_each_prompt() -> None:
    prompts = np.stack([[sprite(0), sprite(1)], [sprite(2), sprite(2)]])
    assert sprite_measures(prompts) == {
        "distance": [1, 0],
        "patch_overlap": [0, 1],
        "repeated_pixels": [(1 + 7 / 8) / 2, 7 / 8],
        "new_colours": [0.5, 1],
    }


def test_the_measures_of_texts_are_of_each_prompt() -> None:
    pytest.importorskip("sacrebleu")
    measured = text_measures([["a b c d", "a b c d"], ["a b c d a b c d", "e f g h"]])
    assert measured["self_bleu"][0] == pytest.approx(1)
    assert measured["distinct"] == pytest.approx([3 / 6, 7 / 10])
    assert measured["repetition"] == pytest.approx([0, (1 / 5 + 0) / 2])


@pytest.mark.parametrize("measure", [lambda: self_bleu(["a"]), lambda: patch_overlap(sprite()[None])])
def test_diversity_needs_two_samples(measure: Callable[[], float]) -> None:
    with pytest.raises(PokemonGenError, match="two or more"):
        measure()
