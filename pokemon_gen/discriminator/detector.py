"""The detector: a classifier of a run's own that chooses its best checkpoint; and how far to trust one.

What is measured of a detector (or of the judge) is measured on dev, which it has never seen: how well its
probabilities separate real dev sprites from each family of corrupted ones (AUC: the chance that a real one
has the higher probability), and how many of each family pass its threshold.
"""

import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pokemon_gen.discriminator.classifier import (
    METADATA_NAME,
    Classifier,
    fingerprint_of,
    sprites_fingerprint,
)
from pokemon_gen.discriminator.negatives import COMPLETIONS, NEGATIVE_TYPES, corrupt
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import atomic_folder
from pokemon_gen.models.loading import Checkpoint
from pokemon_gen.models.runs import DETECTOR_NAME, detector_folder
from pokemon_gen.settings import CompletionSettings
from pokemon_gen.sprites.collection import Sprites

_log = logging.getLogger(__name__)

MEASURED_WITH_SEED = 20251108
"""Spoils the dev sprites, alike for every detector, so that their measures can be compared."""


@dataclass(frozen=True)
class NegativeTypeMetrics:
    """How a classifier takes one family of corrupted dev sprites.

    Attributes:
        negative_type: its name.
        n: sprites.
        auc: the chance that a real dev sprite has a higher probability than one of these.
        passing: the share that passes the threshold.
    """

    negative_type: str
    n: int
    auc: float
    passing: float


@dataclass(frozen=True)
class Measures:
    """What dev says of a classifier.

    Attributes:
        real_passing: the share of real dev sprites that passes; 0.95 is meant.
        negative_types: each family of corrupted ones.
        probabilities: of the real, then of the completed sprites, for a calibration plot.
        labels: 1 for the real ones.
    """

    real_passing: float
    negative_types: list[NegativeTypeMetrics]
    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]

    def as_metadata(self) -> dict[str, Any]:
        """Return the figures for a JSON file."""
        return {
            "dev_passing": self.real_passing,
            "negative_types": [asdict(one) for one in self.negative_types],
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
    corrupted = {name: corrupt(name, dev, len(classifier.palette), generator) for name in NEGATIVE_TYPES}
    negative_types = []
    for name, sprites in {**corrupted, COMPLETIONS: completions}.items():
        if not len(sprites):
            continue  # of few sprites, all may come out like the originals
        found = classifier.probabilities(sprites)
        passing = float((found >= classifier.threshold).mean())
        negative_types.append(NegativeTypeMetrics(name, len(sprites), auc(real, found), passing))
    labels = np.repeat([1, 0], [len(real), len(found)])  # `found`: the completions come last
    return Measures(
        float((real >= classifier.threshold).mean()), negative_types, np.concatenate([real, found]), labels
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
    with atomic_folder(own) as aside:
        shutil.copytree(copied, aside)


def detector_for(run: Path, sprites: Sprites) -> Classifier | None:
    """Return a run's detector, or None if it has none.

    Raises:
        PokemonGenError: if it is damaged, or was trained on other sprites: it might know a fold that was held
            out later.
    """
    folder = detector_folder(run)
    if not (folder / METADATA_NAME).is_file():
        return None
    found = load_detector(run)
    trained = sprites_fingerprint(found.metadata), found.metadata.get("train")
    if found.palette != sprites.palette or trained != (sprites.fingerprint, len(sprites.tokens("train"))):
        raise PokemonGenError(
            f"{folder}: this detector has another palette or other training sprites than the run "
            f"({sprites.source}). `pokemon-gen detector CONFIG --overwrite` trains it again"
        )
    return found


def ranking(
    checkpoint: Checkpoint, settings: CompletionSettings
) -> tuple[CompletionSettings, Classifier | None]:
    """Return how a checkpoint completes, and the detector that ranks its candidates.

    Several candidates need a detector, which `train` alone does not make. Without one, a single completion of
    each prompt is drawn, and the log says so.

    Raises:
        PokemonGenError: if the run's detector was trained on other sprites.
    """
    if settings.candidates == 1:
        return settings, None
    folder = checkpoint.detector
    if not (folder / METADATA_NAME).is_file():
        _log.warning(
            "%s has no detector to rank %d candidates (completion.candidates), so one completion of each "
            "prompt is drawn. `pokemon-gen detector CONFIG name=%s` trains a detector",
            folder.parent.name, settings.candidates, checkpoint.settings.name,
        )  # fmt: skip
        return settings.single_candidate(), None
    detector = Classifier.load(folder, DETECTOR_NAME)
    learned = sprites_fingerprint(detector.metadata)
    trained_on = checkpoint.provenance["trained_on"] or {}
    if learned != trained_on.get("fingerprint", learned) or detector.palette != checkpoint.palette:
        raise PokemonGenError(
            f"{folder}: this detector was trained on other sprites than {checkpoint.folder}. `pokemon-gen "
            f"detector CONFIG name={folder.parent.name} --overwrite` trains it again"
        )
    return settings, detector


def ranked_by(run: Path, settings: CompletionSettings) -> str | None:
    """Return the fingerprint of the detector that ranks a run's candidates; None for a single candidate."""
    return fingerprint_of(detector_folder(run)) if settings.candidates > 1 else None
