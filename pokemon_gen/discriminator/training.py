"""The training of a detector or a judge: the generators, the classifier, and its metrics on dev.

Both roles are trained and saved in the same way; they differ in settings, folder and name. If the folder
already holds a classifier of the same settings and sprites, it is not trained again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.config_files.retired import translate
from pokemon_gen.discriminator.classifier import JUDGE, METADATA_NAME, Classifier
from pokemon_gen.discriminator.detector import measure, train_identity, trained_sprites
from pokemon_gen.discriminator.fit import build_classifier, train_classifier
from pokemon_gen.discriminator.generators import complete_unseen
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json, remove
from pokemon_gen.models.build import build_model
from pokemon_gen.models.locks import writing_to
from pokemon_gen.models.runs import contents
from pokemon_gen.report.plots import save_calibration
from pokemon_gen.settings import DetectorSettings, JudgeSettings, Settings
from pokemon_gen.sprites.collection import Sprites

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
        if not same_settings or trained_sprites(metadata) != train_identity(sprites):
            raise PokemonGenError(
                f"{folder}: this folder already holds a {role} of other settings or sprites. Replace it with "
                "--overwrite."
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
        build_model(section.generator.model, len(sprites.palette), section.seed, f"{role}.generator.model")
    return False


def detector_settings(settings: Settings | JudgeSettings) -> DetectorSettings:
    """Return the section with a classifier's training settings: `detector` of a run, or `judge`."""
    return settings.judge if isinstance(settings, JudgeSettings) else settings.detector


def _train(section: DetectorSettings, sprites: Sprites, folder: Path, role: str) -> None:
    """Train the generators and the classifier, measure it on dev, and save it."""
    train, dev = sprites.tokens("train"), sprites.tokens("dev")
    positives, calibration = _split(train, section, sprites.source)
    completions = complete_unseen(
        section.generator, section.seed, positives, dev, len(sprites.palette), f"{role}: generators"
    )
    if not len(completions.train) or not len(completions.others):
        raise PokemonGenError(
            f"{sprites.source}: every completion equals the true one, so a {role} has nothing to learn. "
            "Check that the sprites differ from each other."
        )
    classifier = train_classifier(
        section.classifier, section.seed, positives, completions.train, calibration, sprites.palette,
        f"{role}: classifier",
    )  # fmt: skip
    metrics = measure(classifier, dev, completions.others)
    remove(contents(folder))  # only after the training, so that a failed training keeps the old classifier
    save_calibration(metrics.probabilities, metrics.labels, folder / CALIBRATION_NAME)
    metadata = {
        "settings": section.model_dump(mode="json"),
        "sprites": sprites.origin,
        "train": len(train),
        **metrics.as_metadata(),
    }
    classifier.save(folder, role, metadata)


def _split(
    train: NDArray[np.int64], section: DetectorSettings, source: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split train into the real sprites to learn from and those that only set the threshold."""
    count = max(1, round(section.calibration_share * len(train)))
    if len(train) - count < section.generator.folds:
        raise PokemonGenError(
            f"{source}: {len(train)} training sprites are too few for a detector: {count} set the threshold, "
            f"and each of the {section.generator.folds} folds needs one. Provide more sprites."
        )
    order = np.random.default_rng(section.seed).permutation(len(train))
    return train[order[count:]], train[order[:count]]
