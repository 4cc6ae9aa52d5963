"""Judge and detector share nothing: no seed, no fold, no architecture, no kind of generator."""

from pathlib import Path

import pytest

from pokemon_gen.config_files.loading import load_judge_settings, load_settings
from pokemon_gen.discriminator.generators import kind_folds
from pokemon_gen.discriminator.independence import shared_settings
from pokemon_gen.settings import DetectorSettings
from pokemon_gen.sprites.folds import random_folds
from pokemon_gen.sprites.loading import Sprites
from tests.builders import RUN_CONFIGS

JUDGES = {sharp: load_judge_settings("procedural", sharp=sharp).judge for sharp in (False, True)}


def partitions(section: DetectorSettings, sprites: Sprites) -> set[frozenset[frozenset[int]]]:
    """Return how train is divided: by the calibration, and by the folds of each kind of generators."""
    train, share = sprites.tokens("train"), section.calibration_share
    divisions = [random_folds(train, [1 - share, share], section.seed)]
    divisions += [
        kind_folds(kind, number, section.seed, train) for number, kind in enumerate(section.generators)
    ]
    return {frozenset(frozenset(fold.tolist()) for fold in folds) for folds in divisions}


@pytest.mark.parametrize("sharp", [False, True])
@pytest.mark.parametrize("config", RUN_CONFIGS, ids=lambda config: config.stem)
def test_a_detector_shares_nothing_with_a_judge(config: Path, sharp: bool, procedural: Sprites) -> None:
    detector, judge = load_settings(config).detector, JUDGES[sharp]
    assert shared_settings(detector.model_dump(mode="json"), judge.model_dump(mode="json")) == []
    assert partitions(detector, procedural).isdisjoint(partitions(judge, procedural))


def test_what_a_detector_shares_with_a_judge_is_named() -> None:
    judge = JUDGES[True].model_dump(mode="json")
    detector = load_settings("quick", ["detector.seed=2000"]).detector.model_dump(mode="json")
    assert shared_settings(detector, judge) == ["seed"]
    assert shared_settings({**judge, "seed": 1}, judge) == ["architecture", "type of generator"]
    assert shared_settings({"seed": 2000, "neural": True}, judge) == ["seed"]
    assert shared_settings({"classifier": {"of": "an earlier version"}}, judge) == []


def test_the_two_judges_have_other_seeds() -> None:
    assert JUDGES[False].seed != JUDGES[True].seed
