"""The stage that scores: a checkpoint, a text file or a folder of images → the scorecard."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from pokemon_gen.completion.reranking import complete_best
from pokemon_gen.config_files.loading import override_sprites
from pokemon_gen.constants import FEATURES, LENGTH, PROMPT_LENGTH, RESULTS, SETTINGS_NAME
from pokemon_gen.discriminator.judge import Judge
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.inception import Inception, Protocol, WeightsMissingError, weights_at_hand
from pokemon_gen.evaluation.pixels import match_truth
from pokemon_gen.evaluation.scorecard import SCHEMA, Reference, ScorecardInputs, make_scorecard
from pokemon_gen.files import read_json, write_json
from pokemon_gen.models.checkpoints import fingerprint_checkpoint, is_loadable
from pokemon_gen.models.choice import choose_checkpoint
from pokemon_gen.models.likelihood import true_completion_nll
from pokemon_gen.models.loading import Checkpoint, load_checkpoint
from pokemon_gen.models.runs import BEST_NAME, member_runs, require_checkpoints, valid_checkpoints
from pokemon_gen.palette import from_picture
from pokemon_gen.report.sheets import save_nearest_plot
from pokemon_gen.settings import CompletionSettings, Settings, SpriteSettings
from pokemon_gen.sprites.images import find_images, log_notes, read_pictures
from pokemon_gen.sprites.loading import Sprites, load_sprites
from pokemon_gen.stages.complete import (
    check_palettes,
    checkpoint_facts,
    ranked_by,
    ranking,
)
from pokemon_gen.stages.detector import find_judge
from pokemon_gen.stages.plans import SCORECARD_NAME, plan_score, result_name, settings_of
from pokemon_gen.text_rows import read_rows

NEAREST_NAME = "nearest.png"
"""Beside it: how far completions are from the nearest of train, and real ones."""
SPLITS_OF_TRUTH = ("dev", "fold", "test", "train")
BASELINES = "eval/baselines.yaml"


@dataclass(frozen=True)
class Score:
    """A scorecard and its file."""

    scorecard: dict[str, Any]
    file: Path


@dataclass(frozen=True)
class _Completions:
    """Completions, and what is known of where they come from."""

    sprites: NDArray[np.int64]
    source: Sprites
    checkpoint: Checkpoint | None
    facts: dict[str, Any]
    skip_bad_images: bool


def score(
    completions: str | Path,
    *,
    reference: str = "dev",
    overrides: Sequence[str] = (),
    inception_weights: str | Path | None = None,
    protocol: Protocol = "pytorch-fid",
    resize: bool = False,
    overwrite: bool = False,
    completion: CompletionSettings | None = None,
    sprites: Sprites | None = None,
) -> Score:
    """Score completions.

    Args:
        completions: a checkpoint or a run (its best; it completes the dev prompts), a `.txt` of
            sprites (its sidecar says whose), or a folder of images.
        reference: `dev`, `train`, a folder of images or a `.txt` of whole sprites: what the distances
            are measured from. The paired distance needs the true sprites among them.
        overrides: `sprites.source=...` for completions that do not say whose sprites they are;
            `completion.temperature=0.9` and the like for a checkpoint; `name=...` names the scorecard.
        inception_weights: see `Inception.load`.
        protocol: of FID.
        resize: bring images of other sizes to 20x20; without it they are refused.
        overwrite: replace a scorecard that is there.
        completion: how a checkpoint completes; none: as its own settings say.
        sprites: a checkpoint's own, if they are loaded already.

    Returns:
        The scorecard, written to `eval/results/<name>/scorecard.json`.

    Raises:
        PokemonGenError: for completions, a reference or weights at fault.
    """
    path, name, file, overrides = plan_score(completions, reference, overrides, overwrite, inception_weights)
    baselines, inception = _baselines(), _inception(inception_weights, protocol)
    judged = _load(path, overrides, resize, completion, sprites)
    compared = _reference(reference, judged.source, resize, judged.skip_bad_images)
    truth = _truth(judged, compared)
    dev, train = (Reference(split, judged.source.tokens(split)) for split in ("dev", "train"))
    if truth is not None and compared.name == truth.name:
        compared = train  # unpaired means other prompts than the completions' own
    material = ScorecardInputs(
        name=str(path),
        completions=judged.sprites,
        palette=judged.source.palette,
        truth=truth,
        reference=compared,
        dev=dev,
        train=train,
        nll=_nll(judged.checkpoint, truth),
        judge=find_judge(judged.source),
        inception=inception,
        cache=FEATURES,
    )
    about = {"name": name, "asked_reference": reference, "asked_protocol": protocol, **judged.facts}
    scorecard = make_scorecard(material, baselines, about)
    save_nearest_plot(scorecard["nearest_training_completion"], file.with_name(NEAREST_NAME))
    write_json(file, scorecard)
    return Score(scorecard, file)


def _inception(weights: str | Path | None, protocol: Protocol) -> Inception | str:
    """Return the network, or why there is none."""
    try:
        return Inception.load(weights, protocol)
    except WeightsMissingError as error:
        return str(error)


def current_score(run: Path, sprites: Sprites, completion: CompletionSettings) -> Score | None:
    """Return the run's scorecard, unless another would come out now.

    It must be of the chosen checkpoint, of these completion settings, of the judge of now and against dev;
    and if it has no FID, the weights must still be missing.
    """
    file = RESULTS / result_name(run) / SCORECARD_NAME
    if not file.is_file():
        return None
    scorecard = read_json(file)
    judge = find_judge(sprites)
    fingerprint = judge.fingerprint if isinstance(judge, Judge) else None
    sha256 = fingerprint_checkpoint(choose_checkpoint(run).checkpoint)
    how = (completion.model_dump(mode="json"), ranked_by(run, completion))
    now = (SCHEMA, sha256, *how, fingerprint, "dev", "pytorch-fid")
    try:
        before = (
            scorecard["schema"],
            scorecard["checkpoint"]["sha256"],
            scorecard["checkpoint"]["completion"],
            scorecard["checkpoint"].get("ranked_by_detector"),
            scorecard["pdr"].get("judge"),
            scorecard["asked_reference"],
            scorecard["asked_protocol"],
        )
        stale = "not_computed" in scorecard["paired"] and weights_at_hand()
    except (KeyError, TypeError, AttributeError):
        return None
    return Score(scorecard, file) if before == now and not stale else None


def _load(
    path: Path,
    overrides: Sequence[str],
    resize: bool,
    completion: CompletionSettings | None,
    source: Sprites | None,
) -> _Completions:
    if path.suffix == ".txt":
        return _load_text(path, overrides)
    if is_loadable(path) or is_loadable(path / BEST_NAME) or valid_checkpoints(path) or member_runs(path):
        return _load_checkpoint(path, overrides, completion, source)
    if not path.is_dir():
        raise PokemonGenError(f"{path}: no checkpoint, .txt or folder of images to score")
    if (path / SETTINGS_NAME).is_file():
        require_checkpoints(path)  # a run, and there are none
    settings = _sprite_settings(None, overrides, path)
    source = load_sprites(**settings.model_dump())
    pictures = _pictures(path, resize, settings.skip_bad_images)
    sprites = from_picture(pictures, source.palette)
    return _Completions(sprites, source, None, _facts(source, None, sprites), settings.skip_bad_images)


def _load_text(path: Path, overrides: Sequence[str]) -> _Completions:
    sidecar = path.with_suffix(".json")
    known, palette, checkpoint = _read_sidecar(sidecar, path) if sidecar.is_file() else (None, None, None)
    settings = _sprite_settings(known, overrides, path)
    source = load_sprites(**settings.model_dump())
    if palette not in (None, source.palette.fingerprint):
        raise PokemonGenError(
            f"{path}: written for another palette ({palette}) than {source.source} has "
            f"({source.palette.fingerprint})"
        )
    rows = read_rows(path, len(source.palette), (LENGTH,))
    if len(rows) < 2:
        raise PokemonGenError(f"{path}: a scorecard needs two or more completions")
    sprites = np.array(rows, dtype=np.int64)
    facts = _facts(source, checkpoint, sprites)
    return _Completions(sprites, source, None, facts, settings.skip_bad_images)


def _read_sidecar(sidecar: Path, path: Path) -> tuple[SpriteSettings, str, dict[str, Any]]:
    """Return a sidecar's sprites, the fingerprint of its palette, and its checkpoint.

    Raises:
        PokemonGenError: if it is none, or of another file than the one beside it.
    """
    facts = read_json(sidecar)
    try:
        known = SpriteSettings.model_validate(facts["settings"]["sprites"])
        palette, checkpoint = facts["palette"], facts["checkpoint"]
        checkpoint["trained_on"]
    except (KeyError, TypeError, ValidationError) as error:
        raise PokemonGenError(f"{sidecar}: not a sidecar of completions") from error
    if facts.get("sha256") not in (None, hashlib.sha256(path.read_bytes()).hexdigest()):
        raise PokemonGenError(
            f"{path}: not the file that {sidecar.name} describes (another SHA-256); moved away from it, it "
            "can be scored with sprites.source=..."
        )
    return known, palette, checkpoint


def _load_checkpoint(
    path: Path, overrides: Sequence[str], completion: CompletionSettings | None, source: Sprites | None
) -> _Completions:
    choice = choose_checkpoint(path)
    settings: Settings = settings_of(choice.checkpoint, overrides)
    completion = completion or settings.completion
    loaded = load_checkpoint(choice.checkpoint)
    source = source or load_sprites(**settings.sprites.model_dump())
    check_palettes(loaded, source)
    prompts = source.prompts("dev")
    completion, detector = ranking(loaded, completion)
    sprites = complete_best(loaded.model, prompts, completion, detector, progress="complete dev")
    checkpoint = {
        **checkpoint_facts(loaded.folder),
        "chosen_for": choice.reason,
        "completion": completion.model_dump(mode="json"),
        "ranked_by_detector": detector.metadata["fingerprint"] if detector else None,
    }
    facts = _facts(source, checkpoint, sprites)
    return _Completions(sprites, source, loaded, facts, settings.sprites.skip_bad_images)


def _facts(source: Sprites, checkpoint: dict[str, Any] | None, sprites: NDArray[np.int64]) -> dict[str, Any]:
    """Return what the scorecard says of where completions come from."""
    learned = (checkpoint or {}).get("trained_on") or {}
    other_data = learned.get("fingerprint") not in (None, source.fingerprint)
    return {
        "completions_sha256": hashlib.sha256(sprites.astype("<i8").tobytes()).hexdigest(),
        "sprites": source.origin,
        "checkpoint": checkpoint,
        "other_data": other_data,
    }


def _sprite_settings(known: SpriteSettings | None, overrides: Sequence[str], path: Path) -> SpriteSettings:
    """Return whose sprites completions are, as their sidecar or the overrides say."""
    if known is None and not any(word.startswith("sprites.source=") for word in overrides):
        raise PokemonGenError(
            f"{path}: nothing says whose sprites these are; add sprites.source=..., such as "
            "sprites.source=text:FOLDER"
        )
    return override_sprites(known or SpriteSettings(), overrides)


def _reference(reference: str, source: Sprites, resize: bool, skip_bad_images: bool) -> Reference:
    """Return the sprites to compare with.

    Raises:
        PokemonGenError: for a blind test, or fewer than two sprites.
    """
    path = Path(reference)
    if reference in ("dev", "train"):
        sprites = source.tokens(reference)
    elif path.suffix == ".txt":
        rows = read_rows(path, len(source.palette), (PROMPT_LENGTH, LENGTH))
        if any(len(row) < LENGTH for row in rows):
            raise PokemonGenError(f"{path}: a blind test: its sprites have no completion to compare with")
        sprites = np.array(rows, dtype=np.int64)
    else:
        sprites = from_picture(_pictures(path, resize, skip_bad_images), source.palette)
    if len(sprites) < 2:
        raise PokemonGenError(f"{reference}: a reference needs two or more sprites")
    return Reference(reference, sprites)


def _truth(judged: _Completions, reference: Reference) -> Reference | None:
    """Return the true sprites of the completions' prompts, from the reference if it has them."""
    candidates = [reference]
    for split in SPLITS_OF_TRUTH:
        if split in judged.source.splits:
            tokens = judged.source.tokens(split)
            if tokens.shape[1] == LENGTH:
                candidates.append(Reference(split, tokens))
    for candidate in candidates:
        rows = match_truth(judged.sprites, candidate.sprites)
        if rows is not None:
            return Reference(candidate.name, candidate.sprites[rows])
    if judged.checkpoint:  # it completed dev in its order, where two sprites may have the same top
        return Reference("dev", judged.source.tokens("dev"))
    return None


def _nll(checkpoint: Checkpoint | None, truth: Reference | None) -> float | None:
    if checkpoint is None or truth is None:
        return None
    return true_completion_nll(checkpoint.model, truth.sprites)


def _pictures(folder: Path, resize: bool, skip_bad_images: bool) -> NDArray[np.uint8]:
    """Read a folder of 20x20 images.

    Raises:
        PokemonGenError: for one image or none, files that are none, and other sizes unless told to resize.
    """
    files = find_images(folder)
    if len(files) < 2:
        raise PokemonGenError(f"{folder}: a distance needs two or more images, and there is one")
    read = read_pictures(files, skip_bad_images, any_size=resize)
    log_notes(folder, read)
    return read.rgb


def _baselines() -> dict[str, Any]:
    """Read the homework's thresholds: of the working directory, else the ones that came with the package."""
    package = Path(__file__).parent.parent
    for folder in (Path(), package.parent, package):
        if (folder / BASELINES).is_file():
            baselines: dict[str, Any] = yaml.safe_load((folder / BASELINES).read_text(encoding="utf-8"))
            return baselines
    raise PokemonGenError(f"{BASELINES} is missing")
