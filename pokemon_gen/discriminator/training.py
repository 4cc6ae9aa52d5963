"""Training a detector or the judge, once: generators, then the classifier, then its metrics on dev.

Both roles are trained alike and kept alike; they differ by their settings, their folder and their name. A
folder that already holds a classifier of the same settings and sprites is kept.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.discriminator.classifier import METADATA_NAME, Classifier, sprites_fingerprint
from pokemon_gen.discriminator.detector import measure
from pokemon_gen.discriminator.fit import build_classifier, train_classifier
from pokemon_gen.discriminator.generators import complete_unseen
from pokemon_gen.discriminator.judge import ROLE as JUDGE
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json, remove
from pokemon_gen.models.build import build_model
from pokemon_gen.models.locks import writing_to
from pokemon_gen.models.runs import contents
from pokemon_gen.report.sheets import save_calibration
from pokemon_gen.settings import DetectorSettings, JudgeSettings, Settings
from pokemon_gen.sprites.collection import Sprites

CALIBRATION_NAME = "calibration.png"


@dataclass(frozen=True)
class TrainedClassifier:
    """A detector or a judge on disk.

    Attributes:
        folder: where it is.
        metadata: what it was trained on, its threshold, and its metrics on dev.
        kept: whether it existed before.
    """

    folder: Path
    metadata: dict[str, Any]
    kept: bool


def train_once(
    settings: Settings | JudgeSettings, sprites: Sprites, folder: Path, role: str, overwrite: bool
) -> TrainedClassifier:
    """Train a classifier and save it, or return the one that exists.

    Args:
        settings: of a run, whose `detector` section is read, or of the judge.
        sprites: to learn from.
        folder: of the classifier.
        role: `detector` or `judge`.
        overwrite: replace a classifier of other settings or sprites.

    Raises:
        PokemonGenError: for settings that do not fit, too few sprites, or another classifier in the folder.
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
    """Find every mistake before anything is trained.

    Returns:
        Whether the folder already holds a classifier of these settings and sprites.

    Raises:
        PokemonGenError: as `train_once`.
    """
    section = detector_settings(settings)
    if (folder / METADATA_NAME).is_file() and not overwrite:
        metadata = read_json(folder / METADATA_NAME)
        same_settings = metadata.get("settings") == section.model_dump(mode="json")
        if not same_settings or trained_sprites(metadata) != train_identity(sprites):
            raise PokemonGenError(
                f"{folder} holds a {role} of other settings or sprites, and is kept; --overwrite replaces it"
            )
        return True
    if len(sprites.tokens("dev")) < 2:
        raise PokemonGenError(f"{sprites.source}: a {role} is measured on two or more dev sprites")
    _split(sprites.tokens("train"), section, sprites.source)
    with settings.placing_errors():
        build_classifier(section.classifier, section.seed, f"{role}.classifier.model")
        build_model(section.generator.model, len(sprites.palette), section.seed, f"{role}.generator.model")
    return False


def detector_settings(settings: Settings | JudgeSettings) -> DetectorSettings:
    """Return the section that says how a classifier is trained: a run's `detector`, or `judge`."""
    return settings.judge if isinstance(settings, JudgeSettings) else settings.detector


def trained_sprites(metadata: dict[str, Any]) -> tuple[Any, Any]:
    """Return what a classifier's metadata say it was trained on: the fingerprint, and the number of sprites."""
    return sprites_fingerprint(metadata), metadata.get("train")


def train_identity(sprites: Sprites) -> tuple[str, int]:
    """Return the same for loaded sprites; a fold that is held out makes the number smaller."""
    return sprites.fingerprint, len(sprites.tokens("train"))


def _train(section: DetectorSettings, sprites: Sprites, folder: Path, role: str) -> None:
    train, dev = sprites.tokens("train"), sprites.tokens("dev")
    learned, calibration = _split(train, section, sprites.source)
    size = len(sprites.palette)
    made = complete_unseen(section.generator, section.seed, learned, dev, size, f"{role}: generators")
    if not len(made.train) or not len(made.others):
        raise PokemonGenError(
            f"{sprites.source}: every completion equals the true one, so a {role} has nothing to tell apart. "
            "Are these sprites all alike?"
        )
    title = f"{role}: classifier"
    classifier = train_classifier(
        section.classifier, section.seed, learned, made.train, calibration, sprites.palette, title
    )
    metrics = measure(classifier, dev, made.others)
    remove(contents(folder))  # only now, so that a failed training leaves the old one
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
    """Split train into the sprites to learn from and those that set the threshold."""
    count = max(1, round(section.calibration_share * len(train)))
    if len(train) - count < section.generator.folds:
        raise PokemonGenError(f"{source}: {len(train)} training sprites are too few for a detector")
    order = np.random.default_rng(section.seed).permutation(len(train))
    return train[order[count:]], train[order[:count]]
