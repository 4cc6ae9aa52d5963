"""The judge: frozen, one for each source of sprites, it reports how many completions pass for real (PDR).

The homework's server counts the completions that its classifier takes for Pokémon. The judge stands in for
it: trained once per source, of another architecture, seed and generators than any run's detector. A judge
that a run had been chosen by would flatter it: `selection.py` may not import this room (a test holds it), no
criterion names the judge, and the detector's loader refuses the judge's folder. Detection rates of different
judges are not compared: each names its judge's fingerprint.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pokemon_gen.constants import CHECKPOINTS
from pokemon_gen.discriminator.classifier import METADATA_NAME, Classifier
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.palette import Palette
from pokemon_gen.sprites.collection import Sprites

ROLE = "judge"
CONFIDENCE = 0.95
"""Of the interval around a detection rate."""


@dataclass(frozen=True)
class JudgeResult:
    """What the judge says of a set of sprites.

    Attributes:
        passed: (N,) which of them pass for real.
        rate: the detection rate (PDR), the share that passes.
        low: of Wilson's 95 % interval for the rate.
        high: the same.
        mean_probability: of being real; a finer figure than the rate, for studies.
        mean_interval: its 95 % interval, the percentiles of a bootstrap.
        judge: the judge's fingerprint.
    """

    passed: NDArray[np.bool_]
    rate: float
    low: float
    high: float
    mean_probability: float
    mean_interval: tuple[float, float]
    judge: str


class Judge:
    """A frozen classifier that only reports."""

    def __init__(self, classifier: Classifier) -> None:
        """Keep the classifier to itself."""
        self.__classifier = classifier

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a judge.

        Raises:
            PokemonGenError: if there is none, or it is damaged.
        """
        return cls(Classifier.load(folder, ROLE))

    @property
    def palette(self) -> Palette:
        """The colours of the tokens it takes."""
        return self.__classifier.palette

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that name the judge: of its weights, config and palette."""
        return str(self.__classifier.metadata["fingerprint"])

    @property
    def metadata(self) -> dict[str, Any]:
        """What it was trained on, and what dev says of it."""
        return self.__classifier.metadata

    def verdict(self, sprites: NDArray[Any]) -> JudgeResult:
        """Judge (N, 400) sprites.

        Raises:
            PokemonGenError: for fewer than two: a rate of one sprite says nothing.
        """
        if len(sprites) < 2:
            raise PokemonGenError("a detection rate needs two or more sprites")
        probabilities = self.__classifier.probabilities(sprites)
        passed = probabilities >= self.__classifier.threshold
        low, high = wilson_interval(int(passed.sum()), len(passed))
        mean, interval = float(probabilities.mean()), mean_interval(probabilities)
        return JudgeResult(passed, float(passed.mean()), low, high, mean, interval, self.fingerprint)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share (Wilson 1927), as SciPy computes it."""
    interval = stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def mean_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of a mean, (N,): percentiles of 2,000 resamples' means, always the same."""
    draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(1)
    low, high = np.percentile(draws, [50 - 50 * CONFIDENCE, 50 + 50 * CONFIDENCE])
    return float(low), float(high)


def judge_folder(sprites_fingerprint: str) -> Path:
    """Return the folder of a source's judge: `checkpoints/judge-<fingerprint>/`."""
    return CHECKPOINTS / f"{ROLE}-{sprites_fingerprint}"


def find_judge(sprites: Sprites) -> Judge | str:
    """Return the judge of these sprites, or the reason why there is none.

    Raises:
        PokemonGenError: if it is damaged, or has another palette.
    """
    folder = judge_folder(sprites.fingerprint)
    if not (folder / METADATA_NAME).is_file():
        return (
            f"these sprites have no judge yet. `pokemon-gen judge {sprites.source}` trains it once (add the "
            "sprites.* settings of the run, if it has any)"
        )
    found = Judge.load(folder)
    if found.palette != sprites.palette:
        raise PokemonGenError(f"{folder}: this judge has another palette than {sprites.source}")
    return found
