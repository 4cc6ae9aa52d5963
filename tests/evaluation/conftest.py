"""The fixtures that the tests of the evaluation share."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seeded_inception import seeded_weights

from pokemon_gen.discriminator.negatives import noise_completion
from pokemon_gen.evaluation.distances import Reference
from pokemon_gen.evaluation.scorecard import ScorecardInputs
from pokemon_gen.palette import to_picture
from pokemon_gen.sprites.loading import Sprites
from tests.evaluation.builders import FixedRateJudge
from tests.model_builders import Projection


@pytest.fixture(scope="session")
def pictures(procedural: Sprites) -> np.ndarray:
    """Return six dev sprites as (6, 20, 20, 3) RGB bytes."""
    return to_picture(procedural.tokens("dev")[:6], procedural.palette)


@pytest.fixture(scope="session")
def state(pictures: np.ndarray) -> dict[str, Any]:
    """Return Inception weights that need no download."""
    return seeded_weights(pictures)


@pytest.fixture
def inputs(procedural: Sprites, tmp_path: Path) -> ScorecardInputs:
    """Return the inputs for 40 dev prompts that are completed by noise."""
    dev, train = procedural.tokens("dev")[:40], procedural.tokens("train")[:100]
    return ScorecardInputs(
        name="mine.txt",
        completions=noise_completion(dev, 167, np.random.default_rng(0)),
        palette=procedural.palette,
        truth=Reference("dev", dev),
        reference=Reference("train", train),
        dev=Reference("dev", dev),
        train=Reference("train", train),
        nll=np.full(12, 1.5),
        judge=FixedRateJudge(0.8),
        inception=Projection(),
        cache=tmp_path,
    )
