"""`scorecard.py`: two distances that are never mixed, verdicts by both figures, no false names."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pokemon_gen.augmentation import flip_table, hue_shift_table
from pokemon_gen.discriminator.judge import Judge, JudgeResult
from pokemon_gen.discriminator.negatives import noise_completion
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.frechet import frechet_distance
from pokemon_gen.evaluation.inception import Inception
from pokemon_gen.evaluation.pixels import nearest_distances
from pokemon_gen.evaluation.scorecard import (
    Reference,
    ScorecardInputs,
    make_scorecard,
    nearest_train_distance,
)
from pokemon_gen.palette import to_picture
from pokemon_gen.report.tables import scorecard_table
from pokemon_gen.sprites.loading import Sprites

BASELINES = {"2026": {"simple": {"fid": 1e6, "pdr": 0.1}, "strong": {"fid": 1.0, "pdr": 0.85}}}


class Projection(Inception):
    """Stands in for the network alone: random projections of the pixels, computed at once."""

    def __init__(self) -> None:
        self.protocol, self.weights_sha256 = "pytorch-fid", "none"
        self.matrix = np.random.default_rng(0).normal(size=(1200, 64)) / 1200

    def features(self, pictures: np.ndarray, name: str = "", progress: bool = False) -> np.ndarray:
        return pictures.reshape(len(pictures), -1).astype(float) @ self.matrix

    def cached_features(self, pictures: np.ndarray, name: str, folder: Path) -> np.ndarray:
        return self.features(pictures)


class Lenient(Judge):
    """Lets the first `passing` of any sprites pass."""

    def __init__(self, passing: float) -> None:
        self.passing = passing

    def verdict(self, sprites: Any) -> JudgeResult:
        passed = np.arange(len(sprites)) < self.passing * len(sprites)
        return JudgeResult(passed, float(passed.mean()), 0.7, 0.9, 0.5, (0.4, 0.6), "lenient")


@pytest.fixture
def material(procedural: Sprites, tmp_path: Path) -> ScorecardInputs:
    """Return dev completed by noise, with everything there is to know."""
    dev = procedural.tokens("dev")[:40]
    completions = noise_completion(dev, 167, np.random.default_rng(0))
    return ScorecardInputs(
        name="mine.txt",
        completions=completions,
        palette=procedural.palette,
        truth=Reference("dev", dev),
        reference=Reference("train", procedural.tokens("train")),
        dev=Reference("dev", dev),
        train=Reference("train", procedural.tokens("train")),
        nll=1.5,
        judge=Lenient(0.8),
        inception=Projection(),
        cache=tmp_path,
    )


def card(material: ScorecardInputs, **about: Any) -> dict[str, Any]:
    return make_scorecard(material, BASELINES, {"name": "x", "other_data": False, **about})


def test_the_paired_distance_is_the_distance_and_stands_beside_worse_ones(material: ScorecardInputs) -> None:
    paired = card(material)["paired"]
    network = Projection()
    assert material.truth is not None
    pictures = [to_picture(s, material.palette) for s in (material.completions, material.truth.sprites)]
    expected = frechet_distance(*(network.features(p) for p in pictures))
    assert paired["fid"] == pytest.approx(expected, rel=1e-8)
    assert paired["fid_interval"][0] < paired["fid"] < paired["fid_interval"][1]
    assert paired["kid_interval"][0] < paired["kid"] < paired["kid_interval"][1]
    assert paired["noise"]["fid"] == pytest.approx(paired["fid"], rel=0.2)  # these completions are noise
    assert 0 < paired["wrong_completions"]["fid"] < paired["noise"]["fid"]
    assert (paired["n"], paired["reference"], paired["protocol"]) == (40, "dev", "pytorch-fid")


def test_the_truth_is_at_paired_distance_zero(
    material: ScorecardInputs,
) -> None:
    assert material.truth is not None
    perfect = card(replace(material, completions=material.truth.sprites))
    assert perfect["paired"]["fid"] == pytest.approx(0, abs=1e-6 * perfect["paired"]["noise"]["fid"])
    assert perfect["unpaired"]["fid"] == pytest.approx(perfect["unpaired"]["real"]["fid"])
    assert perfect["pixel_accuracy"] == 1
    for figure in ("diversity", "new_colours"):
        assert perfect[figure]["completions"] == perfect[figure]["real"]
    noisy = card(material)["unpaired"]
    assert noisy["fid"] > 1.3 * noisy["real"]["fid"]
    assert (noisy["reference"], noisy["n"]) == ("train", 40)


def test_a_training_sprite_on_its_side_and_in_other_hues_is_by_heart(procedural: Sprites) -> None:
    train = procedural.tokens("train")[:8]
    palette = procedural.palette
    changed = hue_shift_table(palette, 12)[5][train[:, flip_table("all")[6]]]
    assert (nearest_distances(changed, train) > 0.1).all()
    assert (nearest_train_distance(changed, train, palette) == 0).all()
    assert (nearest_train_distance(train[:4], train[4:], palette) > 0).all()


def test_a_scorecard_comes_out_the_same_again(material: ScorecardInputs) -> None:
    assert card(material) == card(material)


def test_a_bar_is_passed_by_both_figures_at_once(material: ScorecardInputs) -> None:
    found = card(material)["verdicts"]["2026"]
    assert found["simple"]["passed"]
    assert found["simple"]["both_halves_pass"] == 1
    assert not found["strong"]["passed"]
    assert found["strong"]["both_halves_pass"] == 0
    few = card(replace(material, judge=Lenient(0.05)))["verdicts"]["2026"]
    assert not few["simple"]["passed"]


def test_random_halves_tell_how_safe_a_narrow_pass_is(material: ScorecardInputs) -> None:
    """12.5 % pass where 10 % are asked for: some halves fall below."""
    share = card(replace(material, judge=Lenient(0.125)))["verdicts"]["2026"]["simple"]["both_halves_pass"]
    assert 0.1 < share < 0.9


def test_an_interval_across_a_bar_is_warned_of(material: ScorecardInputs) -> None:
    warnings = card(material, other_data=True)["warnings"]
    assert warnings[0] == "other data: not allowed by the homework"
    assert "PDR: the interval crosses the strong bar of 2026, 0.85" in warnings
    assert not any("simple" in warning for warning in warnings)


def test_what_is_not_there_is_said_and_nothing_takes_its_name(material: ScorecardInputs) -> None:
    without = card(replace(material, inception="no weights", judge="no judge"))
    assert without["paired"] == without["unpaired"] == {"not_computed": "no weights"}
    assert without["pdr"] == {"not_computed": "no judge"}
    assert "no paired FID" in without["verdicts"]["not_judged"]
    assert without["pixel_accuracy"] is not None
    blind = card(replace(material, truth=None, nll=None))
    assert "not known" in blind["paired"]["not_computed"]
    assert blind["unpaired"]["fid"] > 0
    assert blind["nearest_training_completion"]["real"] > 0.1  # of dev: train's own would be 0
    assert blind["pdr"]["real"]["sprites"] == "dev"
    assert blind["pixel_accuracy"] is None


def test_what_is_remembered_by_heart_shows(material: ScorecardInputs, procedural: Sprites) -> None:
    by_heart = material.train.sprites[:40]
    fresh = material.train.sprites[40:80]  # others than those kept as train
    known = Reference("train", np.concatenate([by_heart, material.train.sprites[80:]]))
    found = {
        name: card(replace(material, completions=sprites, train=known, truth=None))[
            "nearest_training_completion"
        ]
        for name, sprites in (("by heart", by_heart), ("fresh", fresh))
    }
    assert found["by heart"]["completions"] == 0
    assert found["by heart"]["p_value"] < 1e-6
    assert found["fresh"]["p_value"] > 0.01
    assert len(found["fresh"]["distances"]["real"]) == len(fresh)


@pytest.mark.parametrize("count", [2, 3])
def test_two_completions_are_enough_for_what_two_can_say(material: ScorecardInputs, count: int) -> None:
    assert material.truth is not None
    few = replace(
        material,
        completions=material.completions[:count],
        truth=Reference("dev", material.truth.sprites[:count]),
    )
    found = card(few)
    assert found["verdicts"]["2026"]["simple"]["both_halves_pass"] is None
    assert np.isfinite(found["paired"]["kid_interval"]).all()
    assert (found["paired"]["fid_interval"] is None) == (count == 2)  # none of two can be left out
    assert scorecard_table(found).row_count > 5


def test_one_completion_is_no_set(material: ScorecardInputs) -> None:
    with pytest.raises(PokemonGenError, match="two or more completions"):
        card(replace(material, completions=material.completions[:1]))
