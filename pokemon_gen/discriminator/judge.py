"""The judge: a frozen classifier that reports the share of completions that pass for real (PDR).

The homework's server counts the completions that its classifier takes for Pokémon. The judge substitutes for
that classifier, and it also shows differences among completions that nearly all pass: by its AUC, and by the
share of prompts whose real sprite it prefers. It is trained once per source of sprites, with other folds,
another architecture, other seeds and other generators than the detector of any run. If a run were chosen by
the judge, the judge would overrate it. So `selection.py` may not import this module (a test checks this), no
criterion uses the judge, and the loader of detectors refuses the folder of a judge. Metrics of different
judges are not comparable, so each names the fingerprint of its judge.

A source can have two judges. The quick one takes minutes. The sharp one learns from better completions and
averages several networks; it is the one that is used, unless it failed its examination.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pokemon_gen.constants import CHECKPOINTS, LENGTH
from pokemon_gen.discriminator.classifier import (
    JUDGE,
    METADATA_NAME,
    SHARP,
    Classifier,
    sprites_fingerprint,
    train_fingerprint,
    training_command,
)
from pokemon_gen.discriminator.examination import REFERENCES, SAMPLE, failures, limits
from pokemon_gen.discriminator.separation import (
    Separation,
    separation,
    wilson_interval,
)
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.palette import Palette
from pokemon_gen.sprites.collection import FOLD, Sprites

EXPLAINED = 160
"""The most sprites that are explained at once, so that a picture of them stays readable."""
SETS_KEPT = 8
"""Sets of sprites whose log-odds a judge remembers."""


@dataclass(frozen=True)
class JudgeResult:
    """The judge's evaluation of a set of sprites.

    Attributes:
        passed: (N,) whether each sprite passes for real.
        rate: the detection rate (PDR), the share of sprites that pass.
        low: the lower end of Wilson's 95 % interval of the rate.
        high: the upper end of that interval.
        mean_probability: the mean probability of being real.
        judge: the fingerprint of the judge.
    """

    passed: NDArray[np.bool_]
    rate: float
    low: float
    high: float
    mean_probability: float
    judge: str


@dataclass(frozen=True)
class Explanation:
    """What the judge saw in sprites.

    Attributes:
        rows: (M,) the rows of the sprites, the least real first; M is at most 160.
        passed: (M,) whether each of these passes for real.
        maps: (M, 20, 20) how much each pixel's colour matters to the judge.
    """

    rows: NDArray[np.int64]
    passed: NDArray[np.bool_]
    maps: NDArray[np.float64]


class Judge:
    """A frozen classifier that only reports."""

    def __init__(self, classifier: Classifier) -> None:
        """Hide the classifier, so that no completion can be chosen by its probabilities."""
        self.__classifier = classifier
        # A scorecard asks for the same few sets again and again.
        self.__of_bytes = lru_cache(maxsize=SETS_KEPT)(
            lambda data: classifier.log_odds(np.frombuffer(data, np.int64).reshape(-1, LENGTH))
        )

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

    @property
    def kind(self) -> str:
        """`sharp` or `quick`: whether the judge was examined on the homework's sample."""
        return "sharp" if SAMPLE in self.references("auc") else "quick"

    def has_learned(self, split: str, train: NDArray[np.int64]) -> bool:
        """Tell whether the judge has learned the sprites of a split.

        Args:
            split: its name. Of `train` it always has, and of `fold` unless it was trained without the fold.
            train: (N, 400) the training sprites without the fold.
        """
        without_fold = self.metadata.get("train_fingerprint") == train_fingerprint(train)
        return split == "train" or (split == FOLD and not without_fold)

    @property
    def failures(self) -> list[str]:
        """Why the judge cannot be relied on, in words; empty if it passed its examination."""
        return failures(self.metadata)

    @property
    def limits(self) -> list[str]:
        """What the judge cannot tell from real sprites, or was not examined on, in words."""
        return limits(self.metadata)

    def references(self, metric: str) -> dict[str, float]:
        """Return a metric, `auc` or `passing`, of what completions are compared with, from the examination.

        These are noise, splices, and the completions of the homework's sample, if the judge was examined on
        them.
        """
        sets = self.metadata.get("negative_types", [])
        return {s["negative_type"]: s[metric] for s in sets if s["negative_type"] in REFERENCES}

    def compare(self, sprites: NDArray[Any], real: NDArray[Any], paired: bool) -> Separation:
        """Return how well the judge tells sprites, (N, 400), from real ones, (M, 400).

        Args:
            sprites: completions, or any other sprites.
            real: real sprites.
            paired: whether row n of both has the same prompt.

        Raises:
            PokemonGenError: for fewer than two sprites in either.
        """
        prompts = np.arange(len(sprites)) if paired else None
        return separation(self.__log_odds(real), self.__log_odds(sprites), prompts)

    def __log_odds(self, sprites: NDArray[Any]) -> NDArray[np.float64]:
        """Return the log-odds that sprites are real; (N, 400) → (N,)."""
        return self.__of_bytes(np.ascontiguousarray(sprites, dtype=np.int64).tobytes())

    def features(self, sprites: NDArray[Any]) -> NDArray[np.float64]:
        """Return what the judge sees in sprites, for distances between sets; (N, 400) → (N, D)."""
        return self.__classifier.features(sprites)

    def explain(self, sprites: NDArray[Any]) -> Explanation:
        """Return which of (N, 400) sprites look least real to the judge, and which of their pixels matter."""
        log_odds = self.__log_odds(sprites)
        rows = np.argsort(log_odds)[:EXPLAINED]
        return Explanation(
            rows, self.__classifier.passes(log_odds[rows]), self.__classifier.saliency(sprites[rows])
        )

    def evaluate(self, sprites: NDArray[Any]) -> JudgeResult:
        """Evaluate (N, 400) sprites.

        Raises:
            PokemonGenError: for fewer than two sprites, because the rate of one sprite says nothing.
        """
        if len(sprites) < 2:
            raise PokemonGenError(f"a detection rate needs two or more sprites, not {len(sprites)}")
        log_odds = self.__log_odds(sprites)
        probabilities, passed = special.expit(log_odds), self.__classifier.passes(log_odds)
        low, high = wilson_interval(int(passed.sum()), len(passed))
        mean = float(probabilities.mean())
        return JudgeResult(passed, float(passed.mean()), low, high, mean, self.fingerprint)


def judge_folder(fingerprint: str, sharp: bool) -> Path:
    """Return the folder of a judge of a sprite source: `checkpoints/judge-<fingerprint>/` or `...-sharp/`."""
    return CHECKPOINTS / (f"{JUDGE}-{fingerprint}{SHARP}" if sharp else f"{JUDGE}-{fingerprint}")


def find_judge(sprites: Sprites) -> Judge | str:
    """Return the judge of a sprite source, or the reason why there is none.

    The sharp judge comes first. A judge that failed its examination is used only if the other one is missing
    or failed too.

    Raises:
        PokemonGenError: if the judge is damaged, or has another palette or source than the sprites.
    """
    folders = [judge_folder(sprites.fingerprint, sharp) for sharp in (True, False)]
    failed = None
    for folder in folders:
        if (folder / METADATA_NAME).is_file():
            judge = _load_of(folder, sprites)
            if not judge.failures:
                return judge
            failed = failed or judge
    return failed or (
        f"these sprites do not have a judge yet. Train it once with `pokemon-gen judge {sprites.source}` "
        "and the sprites.* settings of the run, if it has any."
    )


def _load_of(folder: Path, sprites: Sprites) -> Judge:
    """Load a judge, and check that it is the judge of these sprites."""
    judge = Judge.load(folder)
    known = sprites_fingerprint(judge.metadata)
    if judge.palette != sprites.palette or known != sprites.fingerprint:
        raise PokemonGenError(
            f"{folder}: this judge was trained on other sprites ({known}) than {sprites.source} has "
            f"({sprites.fingerprint}), or with another palette. Train the judge again with "
            f"`{training_command(JUDGE, folder)} --overwrite`, where SOURCE is {sprites.source}."
        )
    return judge
