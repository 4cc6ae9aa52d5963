"""`distances.py`: paired and unpaired distances with reference values and intervals."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pokemon_gen.evaluation.distances import (
    FeatureExtractor,
    Reference,
    paired_distances,
    unpaired_distances,
)
from pokemon_gen.evaluation.frechet import frechet_distance
from pokemon_gen.evaluation.inception import Inception
from pokemon_gen.evaluation.kid import Kernels
from pokemon_gen.evaluation.scorecard import ScorecardInputs
from pokemon_gen.palette import to_picture


@pytest.fixture
def extract(inputs: ScorecardInputs) -> FeatureExtractor:
    assert isinstance(inputs.inception, Inception)
    return FeatureExtractor(inputs.inception, inputs.palette, inputs.cache)


def paired(inputs: ScorecardInputs, extract: FeatureExtractor) -> dict[str, Any]:
    assert inputs.truth is not None
    return paired_distances(Reference(inputs.name, inputs.completions), inputs.truth, extract)


def unpaired(inputs: ScorecardInputs, extract: FeatureExtractor) -> dict[str, Any]:
    completions = Reference(inputs.name, inputs.completions)
    return unpaired_distances(completions, inputs.train, inputs.dev, extract)


def test_paired_distances_compare_completions_with_the_truth(
    inputs: ScorecardInputs, extract: FeatureExtractor
) -> None:
    assert inputs.truth is not None
    completed, true = (
        extract.inception.features(to_picture(sprites, inputs.palette), "")
        for sprites in (inputs.completions, inputs.truth.sprites)
    )
    result = paired(inputs, extract)
    assert result["fid"] == pytest.approx(frechet_distance(completed, true), rel=1e-8)
    assert result["kid"] == pytest.approx(Kernels.of(completed, true).distance(), rel=1e-8)
    assert (result["n"], result["reference"], result["protocol"]) == (40, "dev", "pytorch-fid")


def test_an_interval_contains_its_distance(inputs: ScorecardInputs, extract: FeatureExtractor) -> None:
    for result in (paired(inputs, extract), unpaired(inputs, extract), unpaired(inputs, extract)["real"]):
        for distance in ("fid", "kid"):
            low, high = result[f"{distance}_interval"]
            assert low < result[distance] < high


def test_a_resample_draws_a_completion_together_with_its_truth(
    inputs: ScorecardInputs, extract: FeatureExtractor
) -> None:
    """Completions that are nearly right vary with their truth; drawn apart, they vary five times as much."""
    assert inputs.truth is not None
    completions = inputs.truth.sprites.copy()
    completions[:, 300:320] = 5
    low, high = paired(replace(inputs, completions=completions), extract)["kid_interval"]
    features = (extract(Reference("nearly", completions)), extract(inputs.truth))
    kernels, generator = Kernels.of(*features), np.random.default_rng(0)
    apart = [
        kernels.distance(*(np.bincount(generator.integers(0, 40, 40), minlength=40) for _ in range(2)))
        for _ in range(200)
    ]
    assert high - low < 0.4 * float(np.subtract(*np.quantile(apart, [0.975, 0.025])))


def test_wrong_completions_are_closer_than_noise(inputs: ScorecardInputs, extract: FeatureExtractor) -> None:
    result = paired(inputs, extract)
    assert result["noise"]["fid"] == pytest.approx(result["fid"], rel=0.2)  # these completions are noise
    assert 0 < result["wrong_completions"]["fid"] < result["noise"]["fid"]


def test_true_sprites_have_the_ideal_distances(inputs: ScorecardInputs, extract: FeatureExtractor) -> None:
    assert inputs.truth is not None
    perfect = replace(inputs, completions=inputs.truth.sprites)
    result = paired(perfect, extract)
    assert result["fid"] == pytest.approx(0, abs=1e-6 * result["noise"]["fid"])
    result = unpaired(perfect, extract)
    assert result["fid"] == pytest.approx(result["real"]["fid"])


def test_noise_is_farther_from_other_sprites_than_real_sprites(
    inputs: ScorecardInputs, extract: FeatureExtractor
) -> None:
    result = unpaired(inputs, extract)
    assert result["fid"] > 1.3 * result["real"]["fid"]
    assert (result["reference"], result["n"], result["real"]["sprites"]) == ("train", 40, "dev")


@pytest.mark.parametrize("count", [2, 3])
def test_fid_has_an_interval_from_three_sprites_on(
    inputs: ScorecardInputs, extract: FeatureExtractor, count: int
) -> None:
    assert inputs.truth is not None
    few = replace(
        inputs,
        completions=inputs.completions[:count],
        truth=Reference("dev", inputs.truth.sprites[:count]),
    )
    for result in (paired(few, extract), unpaired(few, extract)):
        assert (result["fid_interval"] is None) == (count == 2)  # no sprite of two can be left out
        assert np.isfinite(result["kid_interval"]).all()
