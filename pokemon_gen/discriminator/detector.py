"""The detector: the classifier of a run that chooses the best checkpoint and ranks candidates.

It shares nothing with the judge, which reports: its folds, its seed, its architecture and its generators are
others. Otherwise the judge would like what the detector has chosen, whatever it looks like.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

from pokemon_gen.discriminator.classifier import (
    METADATA_NAME,
    Classifier,
    fingerprint_of,
    sprites_fingerprint,
    train_fingerprint,
)
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import atomic_folder
from pokemon_gen.models.loading import Checkpoint
from pokemon_gen.models.runs import DETECTOR_NAME, detector_folder
from pokemon_gen.settings import CompletionSettings
from pokemon_gen.sprites.collection import Sprites

_log = logging.getLogger(__name__)


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
    if detector.palette != sprites.palette or not same_training_sprites(detector.metadata, sprites):
        raise PokemonGenError(
            f"{folder}: this detector has another palette or other training sprites than the run "
            f"({sprites.source}). Train it again with `pokemon-gen detector CONFIG --overwrite`."
        )
    return detector


def same_training_sprites(metadata: dict[str, Any], sprites: Sprites) -> bool:
    """Tell whether a classifier was trained on these training sprites, without the same fold.

    A classifier of an earlier version records no more than their number and the fingerprint of the source.
    """
    known = sprites_fingerprint(metadata), metadata.get("train"), metadata.get("train_fingerprint")
    train = sprites.tokens("train")
    now = sprites.fingerprint, len(train), train_fingerprint(train)
    return known == now if known[2] else known[:2] == now[:2]


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
