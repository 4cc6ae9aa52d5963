"""`pixels.py`: the metrics equal values that are counted by hand."""

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
    """Return a sprite with one colour in the prompt and one in the completion but for its last pixels."""
    row = np.full(400, prompt)
    row[240:] = completion
    if changed:
        row[-changed:] = 9
    return row


def test_accuracy_ignores_the_prompt() -> None:
    assert pixel_accuracy(np.stack([sprite(1, 2, 40)]), np.stack([sprite(5, 2)])) == pytest.approx(0.75)


def test_the_nearest_distance_compares_completions_without_prompts() -> None:
    train = np.stack([sprite(1, 2), sprite(1, 3)])
    distances = nearest_distances(np.stack([sprite(7, 3, 16), sprite(1, 4), sprite(8, 2)]), train)
    assert distances.tolist() == pytest.approx([0.1, 1.0, 0.0])


def test_new_colours_are_not_in_the_prompt() -> None:
    sprites = np.zeros((2, 400), dtype=int)
    sprites[0, 240:243] = [5, 5, 6]  # two new colours
    sprites[1, [0, 300]] = 7  # not new: the prompt has this colour too
    assert new_colours(sprites) == 1.0


def test_diversity_is_the_mean_over_pairs_of_sprites() -> None:
    assert mean_pairwise_distance(np.stack([sprite(1, 2), sprite(1, 2), sprite(1, 3)])) == pytest.approx(
        2 / 3
    )


def test_the_truth_is_found_by_the_prompt_in_any_order() -> None:
    real = RANDOM.integers(0, 167, (5, 400))
    completed = real[[3, 0]].copy()
    completed[:, 240:] = 0
    rows = match_truth(completed, real)
    assert rows is not None
    assert rows.tolist() == [3, 0]
    completed[0, 0] = (completed[0, 0] + 1) % 167
    assert match_truth(completed, real) is None


def test_a_prompt_of_two_sprites_has_no_unique_truth() -> None:
    real = np.stack([sprite(1, 2), sprite(1, 3)])
    assert match_truth(real[:1], real) is None
