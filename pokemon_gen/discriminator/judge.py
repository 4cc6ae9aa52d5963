"""The judge: a frozen classifier that reports the share of completions that pass for real (PDR).

The homework's server counts the completions that its classifier takes for Pokémon. The judge substitutes for
that classifier. It is trained once per source of sprites, with another architecture, seed and generators than
the detector of any run. If a run were chosen by the judge, the judge would overrate it. So `selection.py` may
not import this module (a test checks this), no criterion uses the judge, and the loader of detectors refuses
the folder of a judge. Detection rates of different judges are not comparable, so each rate names the
fingerprint of its judge.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pokemon_gen.constants import CHECKPOINTS
from pokemon_gen.discriminator.classifier import JUDGE, METADATA_NAME, Classifier
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.palette import Palette
from pokemon_gen.sprites.collection import Sprites

CONFIDENCE = 0.95
"""The confidence level of the intervals."""


@dataclass(frozen=True)
class JudgeResult:
    """The judge's evaluation of a set of sprites.

    Attributes:
        passed: (N,) whether each sprite passes for real.
        rate: the detection rate (PDR), the share of sprites that pass.
        low: the lower end of Wilson's 95 % interval of the rate.
        high: the upper end of that interval.
        mean_probability: the mean probability of being real, which studies use because it is finer than the
            rate.
        mean_interval: the 95 % interval of the mean probability, by a bootstrap's percentiles.
        judge: the fingerprint of the judge.
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
        """Hide the classifier, so that nothing can rank sprites by its probabilities."""
        self.__classifier = classifier

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a judge.

        Raises:
            PokemonGenError: if the folder does not hold a judge, or the judge is damaged.
        """
        return cls(Classifier.load(folder, JUDGE))

    @property
    def palette(self) -> Palette:
        """The colours of the tokens that the judge takes."""
        return self.__classifier.palette

    @property
    def fingerprint(self) -> str:
        """The identity of the judge: 16 hexadecimal digits of a hash of its weights, config and palette."""
        return self.__classifier.fingerprint

    @property
    def metadata(self) -> dict[str, Any]:
        """The settings and sprites that the judge was trained with, and its metrics on dev."""
        return self.__classifier.metadata

    def evaluate(self, sprites: NDArray[Any]) -> JudgeResult:
        """Evaluate (N, 400) sprites.

        Raises:
            PokemonGenError: for fewer than two sprites, because the rate of one sprite says nothing.
        """
        if len(sprites) < 2:
            raise PokemonGenError(f"a detection rate needs two or more sprites, not {len(sprites)}")
        probabilities = self.__classifier.probabilities(sprites)
        passed = probabilities >= self.__classifier.threshold
        low, high = wilson_interval(int(passed.sum()), len(passed))
        mean, interval = float(probabilities.mean()), mean_interval(probabilities)
        return JudgeResult(passed, float(passed.mean()), low, high, mean, interval, self.fingerprint)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of the share of successes (Wilson 1927), computed by SciPy."""
    interval = stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def mean_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of a mean; (N,) → (low, high).

    The interval holds the percentiles of a bootstrap of 2,000 resamples with a fixed seed.
    """
    draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(1)
    low, high = np.percentile(draws, [50 - 50 * CONFIDENCE, 50 + 50 * CONFIDENCE])
    return float(low), float(high)


def judge_folder(sprites_fingerprint: str) -> Path:
    """Return the folder of the judge of a sprite source: `checkpoints/judge-<fingerprint>/`."""
    return CHECKPOINTS / f"{JUDGE}-{sprites_fingerprint}"


def find_judge(sprites: Sprites) -> Judge | str:
    """Return the judge of a sprite source, or the reason why it is missing.

    Raises:
        PokemonGenError: if the judge is damaged, or has another palette than the sprites.
    """
    folder = judge_folder(sprites.fingerprint)
    if not (folder / METADATA_NAME).is_file():
        return (
            f"these sprites do not have a judge yet. Train it once with `pokemon-gen judge {sprites.source}` "
            "and the sprites.* settings of the run, if it has any."
        )
    judge = Judge.load(folder)
    if judge.palette != sprites.palette:
        raise PokemonGenError(
            f"{folder}: this judge has another palette than {sprites.source}. Train the judge again with "
            f"`pokemon-gen judge {sprites.source} --overwrite`."
        )
    return judge
