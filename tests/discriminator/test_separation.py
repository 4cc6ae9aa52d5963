"""`separation.py`: AUC, preferred pairs and rates, with intervals that hold what they promise."""

import numpy as np
import pytest
from scipy import stats

from pokemon_gen.discriminator.separation import (
    calibration_error,
    separation,
    wilson_interval,
)
from tests.builders import error_with

PAIRS = np.arange(100)


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    real, others = np.array([0.9, 0.5]), np.array([0.4, 0.5])
    found = separation(real, others, PAIRS[: len(real)])
    assert found.auc == pytest.approx((2 + 1 + 0.5) / 4)
    assert found.preferred == (1 + 0.5) / 2  # equal scores prefer neither


def test_sprites_of_other_prompts_have_no_preference() -> None:
    found = separation(np.array([0.9, 0.5]), np.array([0.4, 0.5, 0.1]), None)
    assert (found.preferred, found.preferred_interval) == (None, None)


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_the_interval_of_an_auc_contains_the_true_one_in_95_percent(correlation: float) -> None:
    """Normal scores with a distance of 0.8 have the AUC of Φ(0.8 / √2)."""
    generator, true = np.random.default_rng(0), stats.norm.cdf(0.8 / np.sqrt(2))
    covariance = [[1, correlation], [correlation, 1]]
    contained = widths = 0.0
    rounds = 400
    for _ in range(rounds):
        real, others = generator.multivariate_normal([0.8, 0], covariance, 80).T
        low, high = separation(real, others, PAIRS[: len(real)]).interval
        contained += low <= true <= high
        widths += high - low
    assert contained / rounds == pytest.approx(0.95, abs=0.03)
    unpaired = separation(real, others, None).interval
    if correlation:  # pairs are compared more exactly
        assert widths / rounds < 0.7 * (unpaired[1] - unpaired[0])


def test_several_draws_of_a_prompt_are_no_independent_sprites() -> None:
    """Three draws with the same scores say no more than one; three independent draws say more."""
    generator = np.random.default_rng(0)
    real, others = generator.normal(0.5, 1, 80), generator.normal(0, 1, 80)
    once = separation(real, others, PAIRS[:80])
    thrice = separation(real, np.tile(others, 3), np.tile(PAIRS[:80], 3))
    assert (thrice.auc, thrice.preferred) == pytest.approx((once.auc, once.preferred))
    assert thrice.interval == pytest.approx(once.interval)
    assert thrice.preferred_interval == pytest.approx(once.preferred_interval)
    independent = separation(real, generator.normal(0, 1, 240), np.tile(PAIRS[:80], 3))
    assert np.ptp(independent.interval) < 0.9 * np.ptp(once.interval)


def test_a_perfect_separation_still_has_an_interval() -> None:
    found = separation(np.arange(1.0, 81), -np.arange(1.0, 81), PAIRS[:80])
    assert (found.auc, found.preferred) == (1, 1)
    assert 0.94 < found.interval[0] < found.interval[1] == 1
    assert found.interval == found.preferred_interval == wilson_interval(80, 80)


def test_equal_sets_cannot_be_told_apart() -> None:
    values = np.arange(30.0)
    for others in (values, values - 1e-9):
        found = separation(values, others, PAIRS[:30])
        assert found.auc == pytest.approx(0.5, abs=0.02)
        assert found.interval[0] < 0.45
        assert found.interval[1] > 0.55
    assert separation(values, values, PAIRS[:30]).preferred == 0.5


def test_one_sprite_has_no_auc() -> None:
    with error_with("1 real", "3 others"):
        separation(np.ones(1), np.ones(3), None)


def test_wilsons_interval_equals_the_published_one() -> None:
    """The interval of 8 in 10 is 0.490 to 0.943 (Wilson 1927)."""
    assert wilson_interval(8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)
    assert wilson_interval(0, 80)[0] == pytest.approx(0, abs=1e-12)


def test_the_calibration_error_is_the_mean_gap_between_probability_and_share() -> None:
    probabilities = np.array([0.95, 0.95, 0.05, 0.05])
    assert calibration_error(probabilities, np.array([1, 1, 0, 0])) == pytest.approx(0.05)
    assert calibration_error(probabilities, np.array([0, 0, 1, 1])) == pytest.approx(0.95)
    # Real and other sprites weigh the same, however many there are.
    assert calibration_error(np.full(10, 0.5), np.array([1] * 8 + [0] * 2)) == pytest.approx(0)
