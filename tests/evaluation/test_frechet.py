"""`frechet.py` and `kid.py`: the distances equal values by hand or by another method."""

import numpy as np
import pytest
from scipy import linalg

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.frechet import GramMatrices, frechet_distance
from pokemon_gen.evaluation.kid import Kernels

RANDOM = np.random.default_rng(0)


def by_matrix_root(x: np.ndarray, y: np.ndarray) -> float:
    """Return the Fréchet distance in its textbook form."""
    sx, sy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = linalg.sqrtm(sx @ sy)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(sx) + np.trace(sy) - 2 * np.trace(root).real)


@pytest.mark.parametrize("shape", [(80, 2048), (300, 16)], ids=["few samples", "many samples"])
def test_equal_covariances_give_the_squared_distance_of_the_means(shape: tuple[int, int]) -> None:
    x = RANDOM.normal(size=shape)
    shift = RANDOM.normal(size=shape[1])
    assert frechet_distance(x, x + shift) == pytest.approx((shift**2).sum(), rel=1e-10)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9 * shape[1])


@pytest.mark.parametrize(("n", "m"), [(200, 300), (60, 500), (40, 45)])
def test_the_matrix_root_agrees_where_covariances_have_full_rank(n: int, m: int) -> None:
    mix = RANDOM.normal(size=(32, 32))
    x, y = RANDOM.normal(size=(n, 32)), RANDOM.normal(size=(m, 32)) @ mix + 0.3
    assert frechet_distance(x, y) == pytest.approx(by_matrix_root(x, y), rel=1e-6)


def test_the_distance_in_one_dimension_equals_the_value_by_hand() -> None:
    """The distance is (μx − μy)² + (σx − σy)²."""
    x, y = np.array([[0.0], [2.0]]), np.array([[5.0], [11.0]])
    assert frechet_distance(x, y) == pytest.approx(49 + (2**0.5 - 18**0.5) ** 2)


@pytest.mark.parametrize(("n", "m"), [(20, 50), (50, 20)])
def test_inner_products_give_the_distance_of_the_features(n: int, m: int) -> None:
    x, y = RANDOM.normal(size=(n, 128)) + 100, RANDOM.normal(size=(m, 128)) * 2 + 101
    assert GramMatrices.of(x, y).frechet_distance() == pytest.approx(frechet_distance(x, y), rel=1e-9)
    rows, columns = np.array([0, 3, 3, 7]), np.array([1, 1, 2, 9, 15])
    drawn = GramMatrices.of(x, y).draw(rows, columns).frechet_distance()
    assert drawn == pytest.approx(frechet_distance(x[rows], y[columns]), rel=1e-9)


def slow_kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Return KID by its definition, pair by pair."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    xx = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    yy = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    return float(xx + yy - 2 * np.mean([k(a, b) for a in x for b in y]))


def test_kid_equals_its_definition() -> None:
    x, y = RANDOM.normal(size=(7, 5)), RANDOM.normal(size=(9, 5)) + 1
    assert Kernels.of(x, y).distance() == pytest.approx(slow_kernel_distance(x, y), rel=1e-12)


def test_kid_and_its_bootstrap_are_unbiased() -> None:
    distances, resampled = [], []
    for _ in range(300):
        kernels = Kernels.of(RANDOM.normal(size=(12, 4)), RANDOM.normal(size=(12, 4)))
        distances.append(kernels.distance())
        counts = [np.bincount(RANDOM.integers(0, 12, 12), minlength=12) for _ in range(2)]
        resampled.append(kernels.distance(*counts))
    for values in (distances, resampled):
        assert abs(np.mean(values)) < 3.5 * np.std(values) / 300**0.5


def test_the_paired_bootstrap_is_centred_on_kid() -> None:
    """The partners are similar, like a completion and its truth; the resamples' mean is still the KID."""
    x = RANDOM.normal(size=(40, 6))
    kernels = Kernels.of(x, x + 0.3 * RANDOM.normal(size=(40, 6)))
    assert kernels.paired_distance(np.ones(40)) == pytest.approx(kernels.distance())
    resampled = [
        kernels.paired_distance(np.bincount(RANDOM.integers(0, 40, 40), minlength=40)) for _ in range(2000)
    ]
    assert abs(np.mean(resampled) - kernels.distance()) < 4 * np.std(resampled) / 2000**0.5


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((1, 4)), r"first set: .*two or more samples.*\(1, 4\)"),
        (np.zeros(4), r"first set: .*two or more samples.*\(4,\)"),
        (np.array([[0.0, 1.0], [np.nan, 1.0], [0, 0]]), "the first set: sample 2 .*not finite"),
        (np.zeros((3, 5)), "first set .*5 dimensions .*second .*2"),
    ],
)
def test_features_without_a_distance_are_refused(x: np.ndarray, message: str) -> None:
    for distance in (frechet_distance, Kernels.of):
        with pytest.raises(PokemonGenError, match=message):
            distance(x, np.ones((3, 4 if x.shape[-1] == 4 else 2)))
