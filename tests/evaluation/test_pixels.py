"""`measures.py`: figures that can be counted by hand."""

import numpy as np
import pytest

from pokemon_gen.evaluation.pixels import (
    match_truth,
    mean_pairwise_distance,
    nearest_distances,
    new_colours,
    pixel_accuracy,
)

RANDOM = np.random.default_rng(0)


def sprite(prompt: int, completion: int, changed: int = 0) -> np.ndarray:
    """Return a sprite of one colour above and one below, `changed` of whose last pixels are another."""
    row = np.full(400, prompt)
    row[240:] = completion
    if changed:
        row[-changed:] = 9
    return row


def test_accuracy_counts_the_completion_alone() -> None:
    assert pixel_accuracy(np.stack([sprite(1, 2, 40)]), np.stack([sprite(5, 2)])) == pytest.approx(0.75)


def test_the_nearest_is_found_among_completions() -> None:
    train = np.stack([sprite(1, 2), sprite(1, 3)])
    found = nearest_distances(np.stack([sprite(7, 3, 16), sprite(1, 4), sprite(8, 2)]), train)
    assert found.tolist() == pytest.approx([0.1, 1.0, 0.0])


def test_new_colours_are_those_that_a_prompt_has_not() -> None:
    sprites = np.zeros((2, 400), dtype=int)
    sprites[0, 240:243] = [5, 5, 6]  # two
    sprites[1, [0, 300]] = 7  # none: it is in the prompt too
    assert new_colours(sprites) == 1.0


def test_diversity_is_over_pairs_of_different_sprites() -> None:
    assert mean_pairwise_distance(np.stack([sprite(1, 2), sprite(1, 2), sprite(1, 3)])) == pytest.approx(
        2 / 3
    )


def test_truth_is_found_by_the_prompt_in_any_order() -> None:
    real = RANDOM.integers(0, 167, (5, 400))
    completed = real[[3, 0]].copy()
    completed[:, 240:] = 0
    rows = match_truth(completed, real)
    assert rows is not None
    assert rows.tolist() == [3, 0]
    completed[0, 0] = (completed[0, 0] + 1) % 167
    assert match_truth(completed, real) is None


def test_a_prompt_of_two_sprites_tells_no_truth() -> None:
    real = np.stack([sprite(1, 2), sprite(1, 3)])
    assert match_truth(real[:1], real) is None
