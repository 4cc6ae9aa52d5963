"""`scorecard.py`: verdicts need both metrics, warnings, and reasons in place of missing values."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pokemon_gen.discriminator.judge import JudgeResult
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.distances import FeatureExtractor, Reference
from pokemon_gen.evaluation.frechet import frechet_distance
from pokemon_gen.evaluation.inception import Inception
from pokemon_gen.evaluation.scorecard import ScorecardInputs, make_scorecard
from pokemon_gen.report.scorecard_rows import scorecard_heading
from pokemon_gen.report.tables import scorecard_table
from tests.evaluation.builders import FixedRateJudge, scorecard_of


def test_true_completions_have_the_values_of_real_sprites(inputs: ScorecardInputs) -> None:
    assert inputs.truth is not None
    scorecard = scorecard_of(replace(inputs, completions=inputs.truth.sprites))
    assert scorecard["pixel_accuracy"] == 1
    for metric in ("diversity", "new_colours", "nearest_training_completion"):
        assert scorecard[metric]["completions"] == scorecard[metric]["real"]
        assert scorecard[metric]["real_sprites"] == "dev"


def test_equal_inputs_give_an_equal_scorecard(inputs: ScorecardInputs) -> None:
    assert scorecard_of(inputs) == scorecard_of(inputs)


def test_a_bar_is_passed_only_by_both_metrics(inputs: ScorecardInputs) -> None:
    verdicts = scorecard_of(inputs)["verdicts"]["2026"]
    assert verdicts["simple"]["passed"]
    assert verdicts["simple"]["both_halves_pass"] == 1
    assert not verdicts["strong"]["passed"]
    assert verdicts["strong"]["both_halves_pass"] == 0
    low_rate = scorecard_of(replace(inputs, judge=FixedRateJudge(0.05)))["verdicts"]["2026"]
    assert not low_rate["simple"]["passed"]


def test_random_halves_show_how_safe_a_narrow_pass_is(inputs: ScorecardInputs) -> None:
    """The rate is 12.5 % and the bar 10 %: some halves are below the bar."""
    narrow = scorecard_of(replace(inputs, judge=FixedRateJudge(0.125)))
    assert 0.1 < narrow["verdicts"]["2026"]["simple"]["both_halves_pass"] < 0.9


def share_of_passing_halves(inputs: ScorecardInputs, fid: float, pdr: float) -> float:
    """Return in how many random splits both halves pass a bar with these limits."""
    bars = {"2026": {"bar": {"fid": fid, "pdr": pdr}}}
    verdicts = make_scorecard(inputs, bars, {"name": "x"})["verdicts"]
    return float(verdicts["2026"]["bar"]["both_halves_pass"])


def test_the_worse_of_two_halves_decides(inputs: ScorecardInputs) -> None:
    """Of 40 completions 20 pass: one half of a split has ten or fewer, the other one ten or more."""
    half = replace(inputs, judge=FixedRateJudge(0.5))
    assert 0.1 < share_of_passing_halves(half, 1e9, 0.5) < 0.4  # exactly ten in both: 25 %
    assert share_of_passing_halves(half, 1e9, 0.2) > 0.95
    assert inputs.truth is not None
    assert isinstance(inputs.inception, Inception)
    extract = FeatureExtractor(inputs.inception, inputs.palette, inputs.cache)
    x, y = extract(Reference("a", inputs.completions)), extract(inputs.truth)
    generator, worse = np.random.default_rng(1), []
    for _ in range(100):
        halves = np.array_split(generator.permutation(40), 2)
        worse.append(max(frechet_distance(x[rows], y[rows]) for rows in halves))
    assert 0.35 < share_of_passing_halves(half, float(np.median(worse)), 0) < 0.65


def test_an_interval_that_contains_a_bar_and_other_data_are_warned_about(inputs: ScorecardInputs) -> None:
    warnings = scorecard_of(inputs, other_data=True)["warnings"]
    assert "other data" in warnings[0]
    assert any(all(fact in warning for fact in ("PDR", "strong", "2026", "0.85")) for warning in warnings)
    assert not any("simple" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("checkpoint", "warned"),
    [({"chosen_on": "dev"}, True), ({"chosen_on": "fold"}, False), ({}, False), (None, False)],
)
def test_a_checkpoint_that_was_chosen_on_the_scored_split_is_warned_about(
    inputs: ScorecardInputs, checkpoint: dict[str, Any] | None, warned: bool
) -> None:
    warning = "chosen on dev, scored on dev: the values are optimistic"
    scorecard = scorecard_of(replace(inputs, inception="no weights"), checkpoint=checkpoint)
    assert (warning in scorecard["warnings"]) == warned


def test_nothing_is_scored_on_dev_if_the_truth_is_unknown(inputs: ScorecardInputs) -> None:
    blind = replace(inputs, truth=None, inception="no weights")
    warnings = scorecard_of(blind, checkpoint={"chosen_on": "dev"})["warnings"]
    assert not any("chosen on" in warning for warning in warnings)


def test_the_rate_of_single_draws_is_reported_if_they_and_a_judge_are_given(inputs: ScorecardInputs) -> None:
    without = replace(inputs, inception="no weights")
    assert "single_draw" not in scorecard_of(without)["pdr"]
    single = replace(without, single_draw=inputs.completions)
    assert scorecard_of(single)["pdr"]["single_draw"] == {
        "rate": pytest.approx(0.8),
        "interval": [0.7, 0.9],
    }
    assert "single_draw" not in scorecard_of(replace(single, judge="no judge"))["pdr"]


def test_the_rate_of_real_sprites_is_that_of_dev(inputs: ScorecardInputs) -> None:
    """Training sprites pass more often, because the judge has learned them."""
    dev = {row.tobytes() for row in inputs.dev.sprites}

    class PassesDev(FixedRateJudge):
        def evaluate(self, sprites: Any) -> JudgeResult:
            passed = np.array([row.tobytes() in dev for row in sprites])
            return JudgeResult(passed, float(passed.mean()), 0.0, 1.0, 0.5, self.fingerprint)

    rates = scorecard_of(replace(inputs, judge=PassesDev(0), inception="no weights"))["pdr"]
    assert (rates["real"]["sprites"], rates["real"]["rate"], rates["rate"]) == ("dev", 1, 0)


def test_missing_networks_give_reasons_and_no_values(inputs: ScorecardInputs) -> None:
    scorecard = scorecard_of(replace(inputs, inception="no weights", judge="no judge"))
    assert scorecard["paired"] == scorecard["unpaired"] == {"not_computed": "no weights"}
    assert scorecard["pdr"] == {"not_computed": "no judge"}
    assert "FID and PDR are missing" in scorecard["verdicts"]["not_judged"]
    assert scorecard["pixel_accuracy"] is not None


def test_an_unknown_truth_leaves_the_unpaired_values(inputs: ScorecardInputs) -> None:
    scorecard = scorecard_of(replace(inputs, truth=None, nll=None))
    assert "unknown" in scorecard["paired"]["not_computed"]
    assert scorecard["unpaired"]["fid"] > 0
    assert scorecard["nearest_training_completion"]["real"] > 0.1  # of dev; train would give 0
    assert scorecard["pdr"]["real"]["sprites"] == "dev"
    assert scorecard["pixel_accuracy"] is scorecard["pixel_accuracy_interval"] is None
    assert "FID is missing" in scorecard["verdicts"]["not_judged"]


@pytest.mark.parametrize("count", [2, 3])
def test_two_completions_have_a_scorecard_without_halves(inputs: ScorecardInputs, count: int) -> None:
    assert inputs.truth is not None
    few = replace(
        inputs,
        completions=inputs.completions[:count],
        truth=Reference("dev", inputs.truth.sprites[:count]),
    )
    scorecard = scorecard_of(few)
    assert scorecard["verdicts"]["2026"]["simple"]["both_halves_pass"] is None
    assert np.isfinite(scorecard["paired"]["kid_interval"]).all()
    assert scorecard_table(scorecard).row_count > 5


def test_one_completion_is_refused(inputs: ScorecardInputs) -> None:
    with pytest.raises(PokemonGenError, match=r"mine\.txt: .*two or more .*1"):
        scorecard_of(replace(inputs, completions=inputs.completions[:1]))


def test_the_auc_compares_completions_and_single_draws_with_the_truth(inputs: ScorecardInputs) -> None:
    assert inputs.truth is not None
    auc = scorecard_of(replace(inputs, single_draw=inputs.truth.sprites))["auc"]
    judge = FixedRateJudge(0.8)
    expected = judge.compare(inputs.completions, inputs.truth.sprites, paired=True)
    assert (auc["auc"], auc["preferred"], auc["real_sprites"]) == (expected.auc, expected.preferred, "dev")
    assert auc["interval"] == expected.interval
    assert (auc["single_draw"]["auc"], auc["single_draw"]["preferred"]) == (0.5, 0.5)
    assert auc["references"] == {"noisy completion": 1.0, "splice": 0.9}  # from the examination
    assert "no judge" in scorecard_of(replace(inputs, judge="no judge"))["auc"]["not_computed"]


def test_sprites_of_other_prompts_are_compared_without_pairs(inputs: ScorecardInputs) -> None:
    scorecard = scorecard_of(replace(inputs, truth=None, unknown_prompts=[4, 7]))
    assert scorecard["auc"]["preferred"] is None
    assert scorecard["auc"]["real_sprites"] == "dev"
    assert any("2 of 40 prompts" in warning and "sprite 5" in warning for warning in scorecard["warnings"])


def test_a_judge_that_failed_its_examination_gives_no_verdict_and_is_named_first(
    inputs: ScorecardInputs,
) -> None:
    good, bad = FixedRateJudge(0.8), FixedRateJudge(0.8, reasons=["100 % of noise pass it"])
    assert scorecard_heading(scorecard_of(replace(inputs, judge=good))) is None
    scorecard = scorecard_of(replace(inputs, judge=bad))
    assert "judge" in scorecard["verdicts"]["not_judged"]
    heading = scorecard_heading(scorecard)
    assert heading is not None
    assert "cannot be relied on" in heading
    assert "100 % of noise pass it" in heading
    assert scorecard["pdr"]["rate"] == 0.8


def test_the_distance_in_the_judges_features_compares_with_the_truth(inputs: ScorecardInputs) -> None:
    assert inputs.truth is not None
    sliced = scorecard_of(replace(inputs, single_draw=inputs.truth.sprites))["sliced"]
    assert sliced["truth"] == "dev"
    assert sliced["interval"][0] < sliced["distance"] < sliced["interval"][1]
    assert sliced["single_draw"]["distance"] == 0
    assert sliced["halves_of_real"] > 0
    assert "unknown" in scorecard_of(replace(inputs, truth=None))["sliced"]["not_computed"]


def test_a_detector_like_the_judge_and_copies_of_training_sprites_are_warned_about(
    inputs: ScorecardInputs,
) -> None:
    assert inputs.truth is not None
    mirrored = inputs.truth.sprites[2].reshape(20, 20)[:, ::-1].reshape(1, 400)
    train = Reference("train", np.concatenate([inputs.train.sprites, mirrored]))
    warnings = scorecard_of(replace(inputs, train=train, shared_with_judge=["seed"]))["warnings"]
    assert any(
        "1 of 40" in warning and "sprite 3" in warning and "mirrored" in warning for warning in warnings
    )
    assert any("detector" in warning and "seed" in warning for warning in warnings)


@pytest.mark.parametrize(("split", "warned"), [("train", True), ("fold", True), ("dev", False)])
def test_a_truth_that_the_judge_has_learned_is_warned_about(
    inputs: ScorecardInputs, split: str, warned: bool
) -> None:
    assert inputs.truth is not None
    scorecard = scorecard_of(replace(inputs, truth=replace(inputs.truth, name=split)))
    assert any("has learned" in warning for warning in scorecard["warnings"]) == warned


def test_every_mean_has_its_interval_of_95_percent(inputs: ScorecardInputs) -> None:
    nll = np.tile([1.0, 2.0], 20)
    scorecard = scorecard_of(replace(inputs, nll=nll, inception="no weights"))
    width = 1.96 * nll.std(ddof=1) / np.sqrt(40)
    assert scorecard["nll_interval"] == pytest.approx([1.5 - width, 1.5 + width])
    low, high = scorecard["pixel_accuracy_interval"]
    assert low < scorecard["pixel_accuracy"] < high
    for metric in ("diversity", "new_colours", "nearest_training_completion"):
        for name in ("completions", "real"):
            low, high = scorecard[metric][f"{name}_interval"]
            assert low < scorecard[metric][name] < high, metric
