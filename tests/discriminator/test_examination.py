"""`examination.py`: a judge is judged first, and what it cannot do is said."""

from typing import Any

import numpy as np
import pytest

from pokemon_gen.discriminator.classifier import Classifier
from pokemon_gen.discriminator.examination import examine, failures, limits
from pokemon_gen.discriminator.generators import CompletedPrompts
from pokemon_gen.discriminator.negatives import NEGATIVE_TYPES
from pokemon_gen.palette import Palette
from pokemon_gen.sprites.loading import Sprites


class ScoredByColours(Classifier):
    """A classifier whose log-odds fall with the number of colours of a sprite."""

    def __init__(self, palette: Palette, threshold: float) -> None:
        super().__init__((), palette, 1, threshold, {})

    def log_odds(self, sprites: Any) -> Any:
        return np.array([4.0 - 0.2 * len(np.unique(sprite)) for sprite in sprites])


def completed(sprites: np.ndarray) -> CompletedPrompts:
    return CompletedPrompts(sprites, np.arange(len(sprites)))


def metadata(**changes: float) -> dict[str, Any]:
    """Return the metadata of a judge that passes its examination, with some rates changed."""
    rates = {
        "real": 0.92,
        "noise": 0.0,
        "splice": 0.2,
        "sample_auc": 0.95,
        "train": 632,
        "dev": 80,
        **changes,
    }
    sets = [
        {"negative_type": "noisy completion", "passing": rates["noise"], "auc": 1.0},
        {"negative_type": "splice", "passing": rates["splice"], "auc": 0.9},
        {"negative_type": "sample", "passing": 0.3, "auc": rates["sample_auc"]},
    ]
    return {
        "dev": rates["dev"],
        "dev_passing": rates["real"],
        "negative_types": sets,
        "train": rates["train"],
        "settings": {"more_generators": [{}]},
        "calibration_error": 0.1,
    }


def test_every_set_is_measured_on_dev(procedural: Sprites) -> None:
    dev = procedural.tokens("dev")
    judge = ScoredByColours(procedural.palette, 0.5)
    sample = np.concatenate([dev[:, :240], np.zeros((80, 160), dtype=np.int64)], axis=1)
    found = examine(judge, dev, {"completions": completed(sample[:10]), "sample": completed(sample)})
    names = [metrics.negative_type for metrics in found.sets]
    assert names == [*NEGATIVE_TYPES, "noisy completion", "completions", "sample"]
    of_set = {metrics.negative_type: metrics for metrics in found.sets}
    assert of_set["noisy completion"].auc == 1  # noise has many colours
    assert of_set["sample"].auc < 0.5
    assert of_set["pixel shuffle"].n <= 80 < of_set["splice"].n <= of_set["noisy completion"].n == 400
    low, high = of_set["splice"].auc_interval
    assert low < of_set["splice"].auc < high
    passed = judge.log_odds(dev) >= 0
    assert found.real_passing == passed.mean()
    assert found.labels.tolist() == [1] * 80 + [0] * 10
    assert 0 < found.calibration_error < 1
    assert set(found.as_metadata()) == {"dev", "dev_passing", "negative_types", "calibration_error"}
    assert found.as_metadata()["dev"] == 80


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"noise": 0.06}, ["6%", "noise"]),
        ({"splice": 0.31}, ["31%", "splices"]),
        ({"real": 0.79}, ["79%", "real"]),
        ({"real": 0.99}, ["99%", "real"]),
        ({"real": 0.3, "dev": 10}, ["30%", "10 real"]),
        ({"sample_auc": 0.89}, ["0.89", "sample"]),
    ],
)
def test_a_judge_fails_for_each_broken_limit(changes: dict[str, float], facts: list[str]) -> None:
    assert failures(metadata()) == []
    (failure,) = failures(metadata(**changes))
    assert all(fact in failure for fact in facts)


def test_all_of_a_few_real_sprites_may_pass() -> None:
    assert failures(metadata(real=1.0, dev=8)) == []
    assert failures(metadata(real=1.0, dev=80)) != []


def test_a_set_that_too_few_sprites_leave_out_is_named() -> None:
    without = metadata()
    del without["negative_types"][1]
    (failure,) = failures(without)
    assert "too few" in failure
    assert "splices" in failure


def test_a_judge_of_an_earlier_version_was_not_examined() -> None:
    (failure,) = failures({"dev_passing": 0.9, "negative_types": [{"negative_type": "splice"}]})
    assert "--overwrite" in failure


def test_what_a_judge_cannot_tell_is_said() -> None:
    assert limits(metadata()) == []
    unexamined = metadata()
    unexamined["negative_types"].pop()
    (limit,) = limits(unexamined)
    assert "sample" in limit
    (limit,) = limits({**metadata(), "settings": {"more_generators": []}})
    assert "--sharp" in limit
    (limit,) = limits(metadata(sample_auc=0.75))
    assert "sample (AUC 0.75)" in limit
    (limit,) = limits(metadata(train=24))
    assert "24 training sprites" in limit
