"""The detector: a classifier of a run's own that chooses its best checkpoint; and how far to trust one.

What is measured of a detector (or of the judge) is measured on dev, which it has never seen: how well its
probabilities separate real dev sprites from each family of spoilt ones (AUC: the chance that a real one
has the higher probability), and how many of each family pass its threshold.
"""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pokemon_gen.discriminator.classifier import Classifier, fingerprint_of
from pokemon_gen.discriminator.negatives import COMPLETIONS, FAMILIES, spoil
from pokemon_gen.files import folder_aside
from pokemon_gen.models.folders import DETECTOR_NAME, detector_folder

MEASURED_WITH_SEED = 20251108
"""Spoils the dev sprites, alike for every detector, so that their measures can be compared."""


@dataclass(frozen=True)
class FamilyMeasure:
    """How a classifier takes one family of spoilt dev sprites.

    Attributes:
        family: its name.
        n: sprites.
        auc: the chance that a real dev sprite has a higher probability than one of these.
        passing: the share that passes the threshold.
    """

    family: str
    n: int
    auc: float
    passing: float


@dataclass(frozen=True)
class Measures:
    """What dev says of a classifier.

    Attributes:
        real_passing: the share of real dev sprites that passes; 0.95 is meant.
        families: each family of spoilt ones.
        probabilities: of the real, then of the completed sprites, for a calibration plot.
        labels: 1 for the real ones.
    """

    real_passing: float
    families: list[FamilyMeasure]
    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]

    def as_facts(self) -> dict[str, Any]:
        """Return the figures for a JSON file."""
        return {
            "dev_passing": self.real_passing,
            "families": [asdict(family) for family in self.families],
        }


def measure(classifier: Classifier, dev: NDArray[np.int64], completions: NDArray[np.int64]) -> Measures:
    """Measure a classifier on dev.

    Args:
        classifier: any.
        dev: (N, 400) real sprites.
        completions: (M, 400) completions of dev prompts by generators.
    """
    real = classifier.probabilities(dev)
    generator = np.random.default_rng(MEASURED_WITH_SEED)
    spoilt = {name: spoil(name, dev, len(classifier.palette), generator) for name in FAMILIES}
    families = []
    for name, sprites in {**spoilt, COMPLETIONS: completions}.items():
        if not len(sprites):
            continue  # of few sprites, all may come out like the originals
        found = classifier.probabilities(sprites)
        passing = float((found >= classifier.threshold).mean())
        families.append(FamilyMeasure(name, len(sprites), auc(real, found), passing))
    labels = np.repeat([1, 0], [len(real), len(found)])  # `found`: the completions come last
    return Measures(
        float((real >= classifier.threshold).mean()), families, np.concatenate([real, found]), labels
    )


def auc(real: NDArray[Any], others: NDArray[Any]) -> float:
    """Return the area under the ROC curve: Mann-Whitney's U over the number of pairs."""
    return float(stats.mannwhitneyu(real, others).statistic / (len(real) * len(others)))


def load_detector(run: Path) -> Classifier:
    """Load a run's detector; the judge is refused, so that nothing can be chosen by it.

    Raises:
        PokemonGenError: if the run has none, or it is damaged.
    """
    return Classifier.load(detector_folder(run), DETECTOR_NAME)


def copy_detector(source: Path, run: Path, replace: bool) -> None:
    """Give a run a copy of another run's detector, if there is one: whole or not at all.

    Args:
        source: the folder of the run that has the detector.
        run: the folder of the run that receives the copy.
        replace: also if it has another detector of its own.
    """
    copied, own = detector_folder(source), run / DETECTOR_NAME
    fingerprint = fingerprint_of(copied)
    if fingerprint is None or (own.exists() and not replace) or fingerprint_of(own) == fingerprint:
        return
    with folder_aside(own) as aside:
        shutil.copytree(copied, aside)
