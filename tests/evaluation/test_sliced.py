"""`sliced.py`: distances of normal features, whose values are known."""

import numpy as np
import pytest

from pokemon_gen.evaluation.sliced import sliced_distance


def normal(shift: float, count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 16)) + shift


def test_a_shift_of_all_features_has_a_known_distance() -> None:
    """A shift by one deviation in D features is 1 in the mean over directions: E[(sum of d_i)^2] = D / D."""
    real = normal(0, 400, 0)
    assert sliced_distance(real + 1, real).distance == pytest.approx(1, rel=0.1)
    assert sliced_distance(real, real).distance == 0
    assert sliced_distance((real + 1) * 5, real * 5).distance == pytest.approx(1, rel=0.1)  # any unit


def test_equal_distributions_have_the_distance_of_random_halves() -> None:
    sliced = sliced_distance(normal(0, 80, 1), normal(0, 80, 2))
    assert sliced.distance < sliced.halves_of_real < 0.2
    assert sliced_distance(normal(0.5, 80, 1), normal(0, 80, 2)).distance > 0.2


def test_the_interval_is_that_of_other_samples() -> None:
    distances = [
        sliced_distance(normal(0.5, 80, 2 * n), normal(0, 80, 2 * n + 1)).distance for n in range(40)
    ]
    interval = sliced_distance(normal(0.5, 80, 1000), normal(0, 80, 1001)).interval
    assert interval is not None
    low, high = interval
    assert (high - low) / (2 * 1.96) == pytest.approx(np.std(distances), rel=0.5)


def test_a_feature_that_hardly_varies_does_not_outweigh_the_others() -> None:
    real, completed = normal(0, 80, 0), normal(0, 80, 1)
    usual = sliced_distance(completed, real).distance
    for spread in (0.0, 1e-6):
        real[:, 3] *= spread
        completed[:, 3] = 0.1 * np.sign(completed[:, 3])
        assert sliced_distance(completed, real).distance < 2 * usual
    constant = np.ones((80, 4))
    assert sliced_distance(constant, constant).distance == 0


def test_two_sprites_have_no_interval() -> None:
    real = normal(0, 80, 0)
    assert sliced_distance(real[:2], real[2:4]).interval is None
