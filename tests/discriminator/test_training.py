"""`discriminator/training.py`: which sprites each part of a detector or a judge may see."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pokemon_gen.discriminator import training
from pokemon_gen.discriminator.training import train_once
from pokemon_gen.sprites.loading import Sprites
from tests.builders import MakeSettings

pytestmark = pytest.mark.slow


class Spy:
    """Calls a function of `discriminator/training.py`, and keeps its arguments."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str) -> None:
        self.function = getattr(training, name)
        self.arguments: tuple[Any, ...] = ()
        patch.setattr(training, name, self)

    def __call__(self, *arguments: Any) -> Any:
        self.arguments = arguments
        return self.function(*arguments)


def rows_of(sprites: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in sprites}


def test_nothing_learns_dev_or_the_sprites_that_set_the_threshold(
    tiny: MakeSettings, few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    generators, classifier, examination = (
        Spy(monkeypatch, name) for name in ("complete_unseen", "train_classifier", "examine")
    )
    train_once(tiny(), few_sprites, Path("checkpoints/tiny/detector"), "detector", overwrite=False)
    train, dev = (rows_of(few_sprites.tokens(split)) for split in ("train", "dev"))
    _, _, learned, others, *_ = generators.arguments
    _, _, positives, completions, calibration, *_ = classifier.arguments
    assert rows_of(learned) == rows_of(positives)
    assert rows_of(positives) | rows_of(calibration) == train
    assert not rows_of(positives) & rows_of(calibration)
    assert not train & dev
    assert len(calibration) == 6  # a quarter
    np.testing.assert_array_equal(completions.sprites[:, :240], positives[completions.rows, :240])
    assert rows_of(others) == rows_of(examination.arguments[1]) == dev
