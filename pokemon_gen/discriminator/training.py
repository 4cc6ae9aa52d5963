"""The training of a detector or a judge: the generators, the classifier, and its examination on dev.

Both roles are trained and saved in the same way; they differ in settings, folder and name. If the folder
already holds a classifier of the same settings and sprites, it is not trained again.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.config_files.retired import translate
from pokemon_gen.discriminator.classifier import (
    JUDGE,
    METADATA_NAME,
    Classifier,
    train_fingerprint,
    training_command,
)
from pokemon_gen.discriminator.detector import same_training_sprites
from pokemon_gen.discriminator.examination import FEW, SAMPLE, examine, few_sprites
from pokemon_gen.discriminator.fit import build_classifier, train_classifier
from pokemon_gen.discriminator.generators import (
    Completed,
    CompletedPrompts,
    complete_by_sample,
    complete_unseen,
)
from pokemon_gen.discriminator.negatives import COMPLETIONS
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json, remove
from pokemon_gen.models.build import build_model
from pokemon_gen.models.locks import writing_to
from pokemon_gen.models.runs import contents
from pokemon_gen.report.plots import save_calibration
from pokemon_gen.settings import DetectorSettings, JudgeSection, JudgeSettings, Settings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.folds import copy_groups, random_folds
from pokemon_gen.validation import generator_models

_log = logging.getLogger(__name__)
CALIBRATION_NAME = "calibration.png"
"""The plot of a classifier's calibration on dev, in its folder."""


@dataclass(frozen=True)
class TrainedClassifier:
    """A detector or a judge on disk.

    Attributes:
        folder: its folder.
        metadata: its settings and training sprites, its threshold, and its metrics on dev.
        kept: whether it existed before and was not trained again.
    """

    folder: Path
    metadata: dict[str, Any]
    kept: bool


def train_once(
    settings: Settings | JudgeSettings, sprites: Sprites, folder: Path, role: str, overwrite: bool
) -> TrainedClassifier:
    """Train a classifier and save it, or return the existing one of the same settings and sprites.

    Args:
        settings: the settings of the judge, or of a run, of which only the section `detector` is read.
        sprites: the train split is learned, and the dev split is measured on.
        folder: the folder of the classifier.
        role: `detector` or `judge`.
        overwrite: replace an existing classifier.

    Raises:
        PokemonGenError: for invalid settings, too few sprites, or an existing classifier of other settings or
            sprites without `overwrite`.
    """
    run = folder if role == JUDGE else folder.parent
    with writing_to(run):
        kept = check_trainable(settings, sprites, folder, role, overwrite)
        if not kept:
            _train(detector_settings(settings), sprites, folder, role)
    return TrainedClassifier(folder, Classifier.load(folder, role).metadata, kept)


def check_trainable(
    settings: Settings | JudgeSettings, sprites: Sprites, folder: Path, role: str, overwrite: bool
) -> bool:
    """Validate the settings, the sprites and the folder before the training.

    Returns:
        Whether the folder already holds a classifier of these settings and sprites.

    Raises:
        PokemonGenError: as `train_once`.
    """
    section = detector_settings(settings)
    if (folder / METADATA_NAME).is_file() and not overwrite:
        metadata = read_json(folder / METADATA_NAME)
        saved = translate({role: metadata.get("settings")})[role]
        same_settings = saved == section.model_dump(mode="json")
        if not same_settings or not same_training_sprites(metadata, sprites):
            raise PokemonGenError(
                f"{folder}: this folder already holds a {role} of other settings or sprites, or of an "
                f"earlier version. Replace it with `{training_command(role, folder)} --overwrite`."
            )
        return True
    if len(sprites.tokens("dev")) < 2:
        raise PokemonGenError(
            f"{sprites.source}: a {role} is measured on two or more dev sprites, but there are "
            f"{len(sprites.tokens('dev'))}"
        )
    _split(sprites.tokens("train"), section, sprites.source)
    with settings.placing_errors():
        build_classifier(section.classifier, section.seed, f"{role}.classifier.model")
        for name, model in generator_models(role, section).items():
            build_model(model, len(sprites.palette), section.seed, name)
    return False


def detector_settings(settings: Settings | JudgeSettings) -> DetectorSettings:
    """Return the section with a classifier's training settings: `detector` of a run, or `judge`."""
    return settings.judge if isinstance(settings, JudgeSettings) else settings.detector


def _train(section: DetectorSettings, sprites: Sprites, folder: Path, role: str) -> None:
    """Train the generators and the classifier, examine it on dev, and save it."""
    train, dev = sprites.tokens("train"), sprites.tokens("dev")
    if len(train) < FEW:
        _log.warning("%s: %s", sprites.source, few_sprites(len(train)))
    positives, calibration = _split(train, section, sprites.source)
    completions = complete_unseen(
        section.generators, section.seed, positives, dev, sprites.palette, f"{role}: generators"
    )
    for split, completed in (("train", completions.train), ("dev", completions.others)):
        if len(completed.rows) < 2:
            raise PokemonGenError(
                f"{sprites.source}: nearly every completion of {split} equals the true one, so a {role} has "
                "nothing to learn from or to be examined on. Check that the sprites differ from each other."
            )
    classifier = train_classifier(
        section.classifier, section.seed, positives, completions.train, calibration, sprites.palette,
        f"{role}: classifier",
    )  # fmt: skip
    metrics = examine(classifier, dev, _completed_dev(section, sprites, completions, role))
    remove(contents(folder))  # only after the training, so that a failed training keeps the old classifier
    save_calibration(metrics.probabilities, metrics.labels, folder / CALIBRATION_NAME)
    metadata = {
        "settings": section.model_dump(mode="json"),
        "sprites": sprites.origin,
        "train": len(train),
        "train_fingerprint": train_fingerprint(train),
        **metrics.as_metadata(),
    }
    classifier.save(folder, role, metadata)


def _completed_dev(
    section: DetectorSettings, sprites: Sprites, completions: Completed, role: str
) -> dict[str, CompletedPrompts]:
    """Return the completions of dev that a classifier is examined on, by the names of their sets."""
    completed = {COMPLETIONS: completions.others}
    if isinstance(section, JudgeSection) and section.sample_steps:
        by_sample = complete_by_sample(sprites, section.sample_steps, f"{role}: the homework's sample")
        completed[SAMPLE] = CompletedPrompts(by_sample, np.arange(len(by_sample)))
    return completed


def _split(
    train: NDArray[np.int64], section: DetectorSettings, source: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split train into the real sprites to learn from and those that only set the threshold."""
    share = max(section.calibration_share, 1 / len(train))
    learned, calibration = random_folds(train, [1 - share, share], section.seed)
    most = max(kind.folds for kind in section.generators)
    if len(learned) < most or not len(calibration):
        raise PokemonGenError(
            f"{source}: {len(train)} training sprites, of which {len(copy_groups(train))} are no copies of "
            f"each other, are too few for a detector or a judge: one or more must set the threshold, and "
            f"each of the {most} folds needs one. Copies (equal, mirrored or recoloured) count as one. "
            "Provide more sprites."
        )
    return train[learned], train[calibration]
