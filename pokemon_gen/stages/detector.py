"""Stages of detector and judge: train either, and select a checkpoint by the detector or otherwise."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pokemon_gen.config_files.loading import load_judge_settings, load_settings
from pokemon_gen.constants import CHECKPOINTS, SETTINGS_NAME
from pokemon_gen.discriminator.classifier import METADATA_NAME, Classifier, sprites_fingerprint
from pokemon_gen.discriminator.detector import load_detector, measure
from pokemon_gen.discriminator.fit import build_classifier, train_classifier
from pokemon_gen.discriminator.generators import complete_unseen
from pokemon_gen.discriminator.judge import ROLE as JUDGE
from pokemon_gen.discriminator.judge import Judge, judge_folder
from pokemon_gen.errors import PokemonGenError, SettingError
from pokemon_gen.evaluation.inception import Inception
from pokemon_gen.files import read_json, remove
from pokemon_gen.models.build import build_model
from pokemon_gen.models.choice import current_selection
from pokemon_gen.models.locks import writing_to
from pokemon_gen.models.runs import (
    BEST_NAME,
    DETECTOR_NAME,
    SELECTION_NAME,
    contents,
    detector_folder,
    require_checkpoints,
)
from pokemon_gen.report.sheets import save_calibration, save_selection_plot
from pokemon_gen.selection import Selection, rank_checkpoints, save_selection
from pokemon_gen.settings import CompletionSettings, Criterion, DetectorSettings, JudgeSettings, Settings
from pokemon_gen.sprites.collection import FOLD
from pokemon_gen.sprites.loading import Sprites, load_sprites
from pokemon_gen.stages.complete import check_trained_on
from pokemon_gen.stages.plans import SELECTION_MAY_SET, check_settings, plan_selection, settings_of

CALIBRATION_NAME = "calibration.png"


@dataclass(frozen=True)
class Trained:
    """A detector or a judge.

    Attributes:
        folder: where it is.
        facts: what it was trained on, its threshold, and what dev says of it.
        kept: whether it was there already.
    """

    folder: Path
    metadata: dict[str, Any]
    kept: bool


@dataclass(frozen=True)
class Selected:
    """A run's best checkpoint.

    Attributes:
        selection: every checkpoint's figures, best first.
        best: the copy of the chosen one.
        file: `selection.json`.
        picture: the figures over the steps; None of a single checkpoint.
    """

    selection: Selection
    best: Path
    file: Path
    picture: Path | None


def detector(settings: Settings, sprites: Sprites | None = None, overwrite: bool = False) -> Trained:
    """Train the detector of a run: `checkpoints/<name>/detector/`.

    Args:
        settings: of the run; `detector` is read.
        sprites: those of `settings.sprites`, if they are loaded already.
        overwrite: replace a detector of other settings or sprites.

    Raises:
        PokemonGenError: for settings that do not fit, or a detector of others that is there.
    """
    sprites = sprites or load_sprites(**settings.sprites.model_dump())
    folder = CHECKPOINTS / settings.name / DETECTOR_NAME
    return _train_once(settings, settings.detector, sprites, folder, DETECTOR_NAME, overwrite)


def check_selection(settings: Settings, sprites: Sprites, overwrite: bool) -> None:
    """Say, before a training, what the selection after it would stumble over.

    Raises:
        PokemonGenError: for a fold that is not held out, a detector that cannot be trained, or FID
            without weights.
    """
    held_out_sprites(sprites, settings.selection.on)
    if needs_detector(settings):
        folder = CHECKPOINTS / settings.name / DETECTOR_NAME
        _check(settings, settings.detector, sprites, folder, DETECTOR_NAME, overwrite)
    if settings.selection.by == "fid":
        Inception.load()


def needs_detector(settings: Settings) -> bool:
    """Tell whether a run chooses anything by its detector: checkpoints, or candidates of a completion."""
    return settings.selection.by == "detector" or settings.completion.candidates > 1


def judge(source: str, overrides: Sequence[str] = (), overwrite: bool = False) -> Trained:
    """Train the judge of a source of sprites, once: `checkpoints/judge-<fingerprint>/`.

    Args:
        source: as `load_sprites` takes it.
        overrides: `judge.classifier.steps=100`, `sprites.palette=...`.
        overwrite: replace a judge of other settings; its detection rates are then no longer comparable.

    Raises:
        PokemonGenError: as `detector`.
    """
    settings = load_judge_settings(source, overrides)
    check_settings(settings)
    sprites = load_sprites(**settings.sprites.model_dump())
    folder = judge_folder(CHECKPOINTS, sprites.fingerprint)
    return _train_once(settings, settings.judge, sprites, folder, JUDGE, overwrite)


def find_judge(sprites: Sprites) -> Judge | str:
    """Return the judge of these sprites, or the reason why there is none.

    Raises:
        PokemonGenError: if it is damaged, or of another palette.
    """
    folder = judge_folder(CHECKPOINTS, sprites.fingerprint)
    if not (folder / METADATA_NAME).is_file():
        return (
            f"no judge of these sprites yet; `pokemon-gen judge {sprites.source}` trains it, once (with the "
            "sprites.* settings of the run, if it has any)"
        )
    found = Judge.load(folder)
    if found.palette != sprites.palette:
        raise PokemonGenError(f"{folder}: a judge of another palette than {sprites.source} has")
    return found


def select(
    run: str | Path,
    sprites: Sprites | None = None,
    *,
    by: Criterion | None = None,
    on: str | None = None,
    overrides: Sequence[str] = (),
    inception_weights: str | Path | None = None,
    completion: CompletionSettings | None = None,
) -> Selected:
    """Rank every checkpoint of a run and copy the best to `checkpoints/<name>/best/`.

    Args:
        run: its folder, or its name.
        sprites: the run's, if they are loaded already.
        by: the criterion; none: `selection.by` of the run's settings.
        on: `dev`, or `fold` (sprites held out of train, if the run did); none: as the settings say.
        overrides: where the run's sprites lie now (`sprites.source=...`), `completion.temperature=0.9`.
        inception_weights: for `by="fid"`; see `Inception.load`.
        completion: how checkpoints complete, once each prompt; none: as the best one does that was chosen
            before, or as the last one's settings say. By `nll` nothing is completed.

    Returns:
        The selection; `selection.json` and a plot stand in the run's folder.

    Raises:
        PokemonGenError: for a run without checkpoints or without what the criterion needs, and for sprites
            that it was not trained on.
    """
    folder = plan_selection(run, overrides)  # a folder that is no run is not written to, not even a lock
    with writing_to(folder):
        return _select(folder, sprites, by, on, overrides, inception_weights, completion)


def _select(
    folder: Path,
    sprites: Sprites | None,
    by: Criterion | None,
    on: str | None,
    overrides: Sequence[str],
    inception_weights: str | Path | None,
    completion: CompletionSettings | None,
) -> Selected:
    """Do what `select` does, in a run's folder that is locked."""
    last = require_checkpoints(folder)[-1]
    chosen_before = folder / BEST_NAME  # which may complete otherwise than it was trained to
    known = chosen_before if (chosen_before / SETTINGS_NAME).is_file() else last
    settings = settings_of(known, overrides, SELECTION_MAY_SET)
    by, on = by or settings.selection.by, on or settings.selection.on
    needed = _needed_completion(by, completion or settings.completion)
    if needed is None and any(override.startswith("completion.") for override in overrides):
        raise PokemonGenError(f"completion.*: cannot be set: to choose by {by}, nothing is completed")
    sprites = sprites or load_sprites(**settings.sprites.model_dump())
    check_trained_on(last, sprites)
    truth = held_out_sprites(sprites, on)
    chooser = detector_of(folder, sprites) if needed else None
    if chooser is None and by == "detector":
        raise PokemonGenError(
            f"{folder}: it has no detector to choose by; `pokemon-gen detector CONFIG` trains it, "
            "or choose by another criterion (--by nll)"
        )
    inception = Inception.load(inception_weights) if by == "fid" else None
    with tqdm(desc="select", unit="checkpoint", total=len(list(folder.glob("checkpoint-*")))) as bar:
        selection = rank_checkpoints(folder, truth, by, on, needed, chooser, inception, lambda: bar.update())
    about = {
        "sprites": sprites.origin,
        "n": len(truth),
        "completion": needed.model_dump(mode="json") if needed else None,
        "detector": chooser.metadata["fingerprint"] if chooser else None,
        "protocol": inception.protocol if inception else None,
        "weights_sha256": inception.weights_sha256 if inception else None,
    }
    best = save_selection(folder, selection, about)
    now = {
        "completion": completion or settings.completion,
        "sprites": settings.sprites,
        "selection": settings.selection,
    }
    load_settings(best / SETTINGS_NAME).model_copy(update=now).save(best)
    picture = _draw_selection(folder, selection)
    return Selected(selection, best, folder / SELECTION_NAME, picture)


def _draw_selection(folder: Path, selection: Selection) -> Path | None:
    """Draw the figures over the steps; of one checkpoint there is nothing to draw."""
    picture = folder / "selection.png"
    if len(selection.ranked) == 1:
        picture.unlink(missing_ok=True)
        return None
    save_selection_plot([asdict(figures) for figures in selection.ranked], selection.by, picture)
    return picture


def selection_is_current(run: Path, settings: Settings, sprites: Sprites) -> bool:
    """Tell whether a run's selection is of the checkpoints, settings and detector of now."""
    facts = current_selection(run)
    if facts is None:
        return False
    chosen = settings.selection
    if chosen.by == "detector":
        chooser = detector_of(run, sprites)
        if chooser is None or chooser.metadata["fingerprint"] != facts.get("detector"):
            return False
    needed = _needed_completion(chosen.by, settings.completion)
    completion = needed.model_dump(mode="json") if needed else None
    return (facts["by"], facts["on"], facts.get("completion")) == (chosen.by, chosen.on, completion)


def _needed_completion(by: Criterion, completion: CompletionSettings) -> CompletionSettings | None:
    """Return how checkpoints complete to be compared, once each prompt; None where nothing is completed."""
    return None if by == "nll" else completion.single_candidate()


def held_out_sprites(sprites: Sprites, on: str) -> NDArray[np.int64]:
    """Return the sprites that checkpoints are compared on, (N, 400).

    Raises:
        PokemonGenError: for a fold where none was held out.
    """
    if on == FOLD and FOLD not in sprites.splits:
        raise PokemonGenError(
            "this run trained on all of train, so there is no fold to choose on: train with "
            "sprites.fold_size=80, or choose on dev"
        )
    return sprites.tokens(on)


def detector_of(run: Path, sprites: Sprites) -> Classifier | None:
    """Return the run's detector if there is one.

    Raises:
        PokemonGenError: if it is damaged, or has learned from other sprites: it would know a fold that
            was held out since.
    """
    folder = detector_folder(run)
    if not (folder / METADATA_NAME).is_file():
        return None
    found = load_detector(run)
    if found.palette != sprites.palette or _learned_from(found.metadata) != _train_of(sprites):
        raise PokemonGenError(
            f"{folder}: a detector of another palette or other training sprites than the run's "
            f"({sprites.source}); `pokemon-gen detector CONFIG --overwrite` trains it anew"
        )
    return found


def _train_once(
    settings: Settings | JudgeSettings,
    how: DetectorSettings,
    sprites: Sprites,
    folder: Path,
    role: str,
    overwrite: bool,
) -> Trained:
    """Train and save a classifier, or return the one that is there."""
    run = folder if role == JUDGE else folder.parent
    with writing_to(run):
        kept = _check(settings, how, sprites, folder, role, overwrite)
        if not kept:
            _train(how, sprites, folder, role)
    return Trained(folder, Classifier.load(folder, role).metadata, kept)


def _check(
    settings: Settings | JudgeSettings,
    how: DetectorSettings,
    sprites: Sprites,
    folder: Path,
    role: str,
    overwrite: bool,
) -> bool:
    """Find every mistake before anything is trained; tell whether a classifier is there already."""
    if (folder / METADATA_NAME).is_file() and not overwrite:
        facts = read_json(folder / METADATA_NAME)
        same_settings = facts.get("settings") == how.model_dump(mode="json")
        if not same_settings or _learned_from(facts) != _train_of(sprites):
            raise PokemonGenError(
                f"{folder} holds a {role} of other settings or sprites, and is kept; --overwrite replaces it"
            )
        return True
    if len(sprites.splits["dev"]) < 2:
        raise PokemonGenError(f"{sprites.source}: a {role} is measured on two or more dev sprites")
    _split(sprites.tokens("train"), how, sprites.source)
    try:
        build_classifier(how.classifier, how.seed, f"{role}.classifier.model")
        build_model(how.generator.model, len(sprites.palette), how.seed, f"{role}.generator.model")
    except SettingError as error:
        raise PokemonGenError(f"{settings.where(error.setting)}: {error}".removeprefix(": ")) from error
    return False


def _learned_from(metadata: dict[str, Any]) -> tuple[Any, Any]:
    """Return which training sprites a classifier's facts name: the source's, and how many of them."""
    return sprites_fingerprint(metadata), metadata.get("train")


def _train_of(sprites: Sprites) -> tuple[str, int]:
    """Return the same of sprites at hand: a fold held out makes them fewer."""
    return sprites.fingerprint, len(sprites.splits["train"])


def _train(how: DetectorSettings, sprites: Sprites, folder: Path, role: str) -> None:
    train, dev = sprites.tokens("train"), sprites.tokens("dev")
    learned, calibration = _split(train, how, sprites.source)
    size = len(sprites.palette)
    made = complete_unseen(how.generator, how.seed, learned, dev, size, f"{role}: generators")
    if not len(made.train) or not len(made.others):
        raise PokemonGenError(
            f"{sprites.source}: every completion is the true one, so there is nothing to tell apart: "
            "are these sprites all alike?"
        )
    classifier = train_classifier(
        how.classifier, how.seed, learned, made.train, calibration, sprites.palette, f"{role}: classifier"
    )
    measures = measure(classifier, dev, made.others)
    remove(contents(folder))  # only now: until here the old one stands
    save_calibration(measures.probabilities, measures.labels, folder / CALIBRATION_NAME)
    about = {"settings": how.model_dump(mode="json"), "sprites": sprites.origin, "train": len(train)}
    classifier.save(folder, role, {**about, **measures.as_metadata()})


def _split(
    train: NDArray[np.int64], how: DetectorSettings, source: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split train into what is learned from and what sets the threshold."""
    count = max(1, round(how.calibration_share * len(train)))
    if len(train) - count < how.generator.folds:
        raise PokemonGenError(f"{source}: {len(train)} training sprites are too few for a detector")
    order = np.random.default_rng(how.seed).permutation(len(train))
    return train[order[count:]], train[order[:count]]
