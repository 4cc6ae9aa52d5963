"""`jackknife.py`: the standard error equals the spread of the distance over other samples."""

from collections.abc import Callable

import numpy as np
import pytest

from pokemon_gen.evaluation.frechet import GramMatrices
from pokemon_gen.evaluation.jackknife import (
    error_of_draws,
    error_of_mean,
    error_of_pairs,
    error_of_pairwise_mean,
)
from pokemon_gen.evaluation.pixels import distances_to_others

Measure = Callable[[np.random.Generator], tuple[float, float | None]]


def _features(n: int, generator: np.random.Generator, shift: float = 0.0) -> np.ndarray:
    """Return n normal features of 128 dimensions with unequal variances, like a network's."""
    scale = 1 / np.sqrt(1 + np.arange(128))
    features: np.ndarray = (generator.normal(size=(n, 128)) * (1 + shift) + shift) * scale
    return features


def _pairs(generator: np.random.Generator) -> tuple[float, float | None]:
    true = _features(40, generator)
    completed = true + 0.5 * _features(40, generator, shift=0.1)
    grams = GramMatrices.of(completed, true)
    return grams.frechet_distance(), _error_of_pairs(grams, generator)


def _error_of_pairs(grams: GramMatrices, generator: np.random.Generator) -> float | None:
    n = len(grams.xx)
    return error_of_pairs(lambda rows: grams.draw(rows, rows).frechet_distance(), n, generator)


def _equal_draws(
    generator: np.random.Generator, completed: int = 40, reference: int = 200
) -> tuple[float, float | None]:
    grams = GramMatrices.of(_features(completed, generator, shift=0.3), _features(reference, generator))
    draws = [[generator.permutation(n)[:40] for n in (completed, reference)] for _ in range(40)]
    distance = float(np.mean([grams.draw(*draw).frechet_distance() for draw in draws]))
    return distance, error_of_draws(grams, 40, generator)


def _few_draws(generator: np.random.Generator) -> tuple[float, float | None]:
    return _equal_draws(generator, completed=120, reference=60)


@pytest.mark.slow
@pytest.mark.parametrize(("measure", "sets"), [(_pairs, 200), (_equal_draws, 40), (_few_draws, 40)])
def test_the_error_equals_the_spread_over_other_samples(measure: Measure, sets: int) -> None:
    """A bootstrap, whose resamples contain duplicates, gives 1.4 to 1.7 times the spread."""
    distances, errors = zip(*(measure(np.random.default_rng(seed)) for seed in range(sets)), strict=True)
    ratio = np.sqrt(np.mean(np.square(errors))) / np.std(distances, ddof=1)
    assert 0.8 < ratio < 1.35


def test_two_samples_have_no_error() -> None:
    features = np.random.default_rng(0).normal(size=(2, 8))
    grams = GramMatrices.of(features, features + 1)
    assert _error_of_pairs(grams, np.random.default_rng(0)) is None
    assert error_of_draws(grams, 2, np.random.default_rng(0)) is None


@pytest.mark.parametrize("n", [3, 4, 5])
def test_three_or_more_samples_have_an_error(n: int) -> None:
    generator = np.random.default_rng(0)
    grams = GramMatrices.of(generator.normal(size=(n, 8)), generator.normal(size=(n, 8)))
    for error in (_error_of_pairs(grams, generator), error_of_draws(grams, n, generator)):
        assert error is not None
        assert 0 < error < np.inf


def test_the_error_of_a_mean_over_pairs_equals_the_spread_over_other_samples() -> None:
    """The 780 pairs of 40 sprites are not independent: their plain standard error is a tenth of this one."""

    def sample(seed: int) -> np.ndarray:
        generator = np.random.default_rng(seed)
        colours = generator.integers(0, 4, (40, 400))
        return np.where(generator.random((40, 1)) < 0.5, 0, colours)  # half of them are all of one colour

    of_each = [distances_to_others(sample(seed)) for seed in range(300)]
    spread = np.std([means.mean() for means in of_each])
    assert np.mean([error_of_pairwise_mean(means) for means in of_each]) == pytest.approx(spread, rel=0.15)
    assert error_of_pairwise_mean(of_each[0][:2]) is None


def test_the_error_of_a_pairwise_mean_is_the_jackknife_s() -> None:
    points = np.random.default_rng(0).random(9)
    distances = np.abs(points[:, None] - points)
    left_out = []
    for row in range(9):
        rest = np.delete(np.delete(distances, row, 0), row, 1)
        left_out.append(rest.sum() / (8 * 7))
    error = np.sqrt(8 / 9 * np.sum((np.array(left_out) - np.mean(left_out)) ** 2))
    assert error_of_pairwise_mean(distances.sum(1) / 8) == pytest.approx(error)


def test_the_error_of_a_mean_divides_the_deviation_by_the_root_of_the_number() -> None:
    assert error_of_mean(np.array([1.0, 3.0])) == pytest.approx(1.0)
    assert error_of_mean(np.array([1.0])) is None
