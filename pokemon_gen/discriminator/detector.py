"""The detector: the classifier of a run that chooses the best checkpoint, and its metrics.

A detector or judge is measured on dev, which it has never seen. Its metrics are, for each negative type, how
well its probabilities separate real dev sprites from corrupted ones (AUC: the probability that a real sprite
gets the higher probability) and the share of corrupted sprites that pass its threshold.
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
"""The seed that corrupts the dev sprites alike for all detectors, so that their metrics are comparable."""


@dataclass(frozen=True)
class NegativeTypeMetrics:
    """The metrics of a classifier on one negative type of dev sprites.

    Attributes:
        negative_type: the name of the type.
        n: the number of corrupted sprites.
        auc: the probability that a real dev sprite gets a higher probability than a corrupted one.
        passing: the share of corrupted sprites that pass the threshold.
    """

    negative_type: str
    n: int
    auc: float
    passing: float


@dataclass(frozen=True)
class Measures:
    """The metrics of a classifier on dev.

    Attributes:
        real_passing: the share of real dev sprites that pass the threshold; the target is 0.95.
        negative_types: the metrics on each negative type.
        probabilities: (N + M,) of the N real, then of the M completed sprites, for the calibration plot.
        labels: (N + M,) 1 for real sprites, 0 for completed ones.
    """

    real_passing: float
    negative_types: list[NegativeTypeMetrics]
    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]

    def as_metadata(self) -> dict[str, Any]:
        """Return the metrics as plain values for JSON."""
        return {
            "dev_passing": self.real_passing,
            "negative_types": [asdict(metrics) for metrics in self.negative_types],
        }


def measure(classifier: Classifier, dev: NDArray[np.int64], completions: NDArray[np.int64]) -> Measures:
    """Measure a classifier on dev.

    Args:
        classifier: a detector or a judge.
        dev: (N, 400) real sprites.
        completions: (M, 400) completions of dev prompts by generators.
    """
    real = classifier.probabilities(dev)
    generator = np.random.default_rng(MEASURED_WITH_SEED)
    corrupted = {name: corrupt(name, dev, len(classifier.palette), generator) for name in NEGATIVE_TYPES}
    negative_types = []
    for name, sprites in {**corrupted, COMPLETIONS: completions}.items():
        if not len(sprites):
            continue  # `corrupt` can drop all of a few sprites
        probabilities = classifier.probabilities(sprites)
        passing = float((probabilities >= classifier.threshold).mean())
        negative_types.append(NegativeTypeMetrics(name, len(sprites), auc(real, probabilities), passing))
    # The completions are the last type, so `probabilities` are theirs now.
    return Measures(
        real_passing=float((real >= classifier.threshold).mean()),
        negative_types=negative_types,
        probabilities=np.concatenate([real, probabilities]),
        labels=np.repeat([1, 0], [len(real), len(probabilities)]),
    )


def auc(real: NDArray[Any], others: NDArray[Any]) -> float:
    """Return the area under the ROC curve: Mann-Whitney's U divided by the number of pairs; (N,), (M,)."""
    return float(stats.mannwhitneyu(real, others).statistic / (len(real) * len(others)))


def load_detector(run: Path) -> Classifier:
    """Load the detector of a run.

    Raises:
        PokemonGenError: if the run has no detector, it is damaged, or it is a judge, which must not choose.
    """
    return Classifier.load(detector_folder(run), DETECTOR_NAME)


def copy_detector(source: Path, run: Path, replace: bool) -> None:
    """Copy the detector of one run to another, atomically; do nothing if the source has no detector.

    Args:
        source: the folder of the run that has the detector.
        run: the folder of the run that receives the copy.
        replace: whether to replace another detector of the receiving run.
    """
    original, copy = detector_folder(source), run / DETECTOR_NAME
    fingerprint = fingerprint_of(original)
    if fingerprint is None or (copy.exists() and not replace) or fingerprint_of(copy) == fingerprint:
        return
    with atomic_folder(copy) as temporary:
        shutil.copytree(original, temporary)


def detector_for(run: Path, sprites: Sprites) -> Classifier | None:
    """Return the detector of a run, or None if the run has no detector.

    Raises:
        PokemonGenError: if the detector is damaged or was trained on other sprites. Such a detector may have
            learned the sprites of a fold that was held out later.
    """
    folder = detector_folder(run)
    if not (folder / METADATA_NAME).is_file():
        return None
    detector = load_detector(run)
    same_sprites = trained_sprites(detector.metadata) == train_identity(sprites)
    if detector.palette != sprites.palette or not same_sprites:
        raise PokemonGenError(
            f"{folder}: this detector has another palette or other training sprites than the run "
            f"({sprites.source}). Train it again with `pokemon-gen detector CONFIG --overwrite`."
        )
    return detector


def trained_sprites(metadata: dict[str, Any]) -> tuple[Any, Any]:
    """Return the fingerprint and the number of the training sprites that a classifier's metadata record."""
    return sprites_fingerprint(metadata), metadata.get("train")


def train_identity(sprites: Sprites) -> tuple[str, int]:
    """Return the fingerprint and the number of loaded training sprites; a fold reduces the number."""
    return sprites.fingerprint, len(sprites.tokens("train"))


def ranking(
    checkpoint: Checkpoint, settings: CompletionSettings
) -> tuple[CompletionSettings, Classifier | None]:
    """Return a checkpoint's completion settings and the detector that ranks its candidates.

    Several candidates need a detector, which the command `train` alone does not train. Without a detector,
    the settings are changed to a single completion of each prompt, and a warning is logged.

    Raises:
        PokemonGenError: if the run's detector was trained on other sprites than the checkpoint.
    """
    if settings.candidates == 1:
        return settings, None
    folder = checkpoint.detector
    if not (folder / METADATA_NAME).is_file():
        _log.warning(
            "%s has no detector to rank %d candidates (completion.candidates), so one completion of each "
            "prompt is drawn. Train a detector with `pokemon-gen detector CONFIG name=%s`.",
            folder.parent.name, settings.candidates, checkpoint.settings.name,
        )  # fmt: skip
        return settings.single_candidate(), None
    detector = Classifier.load(folder, DETECTOR_NAME)
    fingerprint = sprites_fingerprint(detector.metadata)
    trained_on = checkpoint.provenance["trained_on"] or {}
    if fingerprint != trained_on.get("fingerprint", fingerprint) or detector.palette != checkpoint.palette:
        raise PokemonGenError(
            f"{folder}: this detector was trained on other sprites than {checkpoint.folder}. Train it again "
            f"with `pokemon-gen detector CONFIG name={folder.parent.name} --overwrite`."
        )
    return settings, detector


def ranked_by(run: Path, settings: CompletionSettings) -> str | None:
    """Return the fingerprint of the detector that ranks a run's candidates; None for a single candidate."""
    return fingerprint_of(detector_folder(run)) if settings.candidates > 1 else None
