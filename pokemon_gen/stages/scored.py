"""The completions that a scorecard is about: read from a text file or a folder, or made by a checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.config_files.overrides import override_sprites
from pokemon_gen.config_files.retired import translate
from pokemon_gen.constants import LENGTH, SETTINGS_NAME
from pokemon_gen.discriminator.classifier import metadata_of
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.inspection import Inspection, completions_sha256, inspect_run
from pokemon_gen.files import file_sha256, read_json
from pokemon_gen.models.checkpoints import is_loadable
from pokemon_gen.models.choice import resolve_checkpoint
from pokemon_gen.models.loading import Checkpoint
from pokemon_gen.models.runs import BEST_NAME, member_runs, require_checkpoints, valid_checkpoints
from pokemon_gen.palette import from_picture
from pokemon_gen.settings import SpriteSettings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.sprites.pictures import find_images, log_notes, read_pictures
from pokemon_gen.stages.plans import ScorePlan
from pokemon_gen.text_rows import read_rows


@dataclass(frozen=True)
class Scored:
    """Completions, and what is known of their origin.

    Attributes:
        tokens: (N, 400).
        sprites: those they belong to.
        checkpoint: that completed them, if one did.
        metadata: for the scorecard.
        skip_bad_images: of the sprites' settings.
        single_draw: (N, 400) one draw for each prompt, if these are the best of several.
        detector: the metadata of the detector that made a choice; empty without one.
    """

    tokens: NDArray[np.int64]
    sprites: Sprites
    checkpoint: Checkpoint | None
    metadata: dict[str, Any]
    skip_bad_images: bool
    single_draw: NDArray[np.int64] | None = None
    detector: dict[str, Any] = field(default_factory=dict)


def load_scored(plan: ScorePlan, resize: bool, inspection: Inspection | None) -> Scored:
    """Load or make the completions that a plan names; an inspection of the checkpoint has them already."""
    path = plan.completions
    if path.suffix == ".txt":
        return _load_text(path, plan.overrides)
    if is_loadable(path) or is_loadable(path / BEST_NAME) or valid_checkpoints(path) or member_runs(path):
        return _completed_dev(inspection or inspect_run(resolve_checkpoint(path, plan.overrides)))
    if not path.is_dir():
        raise PokemonGenError(f"{path}: not a checkpoint, a .txt or a folder of images to score")
    if (path / SETTINGS_NAME).is_file():
        require_checkpoints(path)  # a run without any
    settings = _sprite_settings(None, plan.overrides, path)
    sprites = load_sprites_of(settings)
    tokens = from_picture(read_20x20(path, resize, settings.skip_bad_images), sprites.palette)
    metadata = _metadata(sprites, None, tokens)
    return Scored(tokens, sprites, None, metadata, settings.skip_bad_images)


def _load_text(path: Path, overrides: Sequence[str]) -> Scored:
    """Load completions from a text file and its sidecar."""
    sidecar = path.with_suffix(".json")
    known, palette, checkpoint = _read_sidecar(sidecar, path) if sidecar.is_file() else (None, None, None)
    settings = _sprite_settings(known, overrides, path)
    sprites = load_sprites_of(settings)
    if palette not in (None, sprites.palette.fingerprint):
        raise PokemonGenError(
            f"{path}: written for another palette ({palette}) than {sprites.source} has "
            f"({sprites.palette.fingerprint})"
        )
    rows = read_rows(path, len(sprites.palette), (LENGTH,))
    if len(rows) < 2:
        raise PokemonGenError(f"{path}: a scorecard needs two or more completions")
    tokens = np.array(rows, dtype=np.int64)
    metadata = _metadata(sprites, checkpoint, tokens)
    return Scored(tokens, sprites, None, metadata, settings.skip_bad_images)


def _read_sidecar(sidecar: Path, path: Path) -> tuple[SpriteSettings, str, dict[str, Any]]:
    """Return the sprite settings, the palette's fingerprint and the checkpoint that a sidecar records.

    Raises:
        PokemonGenError: if it is not a sidecar, or belongs to another file.
    """
    metadata = read_json(sidecar)
    try:
        known = SpriteSettings.model_validate(translate(metadata["settings"])["sprites"])
        palette, checkpoint = metadata["palette"], metadata["checkpoint"]
        checkpoint["trained_on"]
    except (KeyError, TypeError, ValidationError) as error:
        raise PokemonGenError(f"{sidecar}: not a sidecar of completions") from error
    if metadata.get("sha256") not in (None, file_sha256(path)):
        raise PokemonGenError(
            f"{path}: not the file that {sidecar.name} describes (its SHA-256 differs). Move it away from "
            "the sidecar, and score it with sprites.source=..."
        )
    return known, palette, checkpoint


def _completed_dev(inspection: Inspection) -> Scored:
    """Return the dev prompts as a checkpoint completed them, and single draws if a detector chose."""
    checkpoint, sprites, detector = inspection.checkpoint, inspection.sprites, inspection.detector
    completion, tokens = inspection.completion, inspection.completions
    prompts = sprites.prompts("dev")
    single_draw = complete_prompts(checkpoint.model, prompts, completion) if detector else None
    recorded = {
        **checkpoint.provenance,
        "completion": completion.model_dump(mode="json"),
        "ranked_by_detector": detector.fingerprint if detector else None,
    }
    metadata = _metadata(sprites, recorded, tokens)
    return Scored(
        tokens, sprites, checkpoint, metadata, checkpoint.settings.sprites.skip_bad_images, single_draw,
        detector=metadata_of(checkpoint.detector),
    )  # fmt: skip


def _metadata(
    sprites: Sprites, checkpoint: dict[str, Any] | None, tokens: NDArray[np.int64]
) -> dict[str, Any]:
    """Return what the scorecard records of the origin of completions."""
    learned = (checkpoint or {}).get("trained_on") or {}
    return {
        "completions_sha256": completions_sha256(tokens),
        "sprites": sprites.origin,
        "checkpoint": checkpoint,
        "other_data": learned.get("fingerprint") not in (None, sprites.fingerprint),
    }


def _sprite_settings(known: SpriteSettings | None, overrides: Sequence[str], path: Path) -> SpriteSettings:
    """Return the settings of the sprites that completions belong to, from their sidecar or the overrides."""
    if known is None and not any(word.startswith("sprites.source=") for word in overrides):
        raise PokemonGenError(
            f"{path}: unknown sprite source. Pass sprites.source=..., such as sprites.source=text:FOLDER."
        )
    return override_sprites(known or SpriteSettings(), overrides)


def read_20x20(folder: Path, resize: bool, skip_bad_images: bool) -> NDArray[np.uint8]:
    """Read a folder of 20x20 images.

    Raises:
        PokemonGenError: for fewer than two images, files that are not images, and other sizes unless
            `resize`.
    """
    files = find_images(folder)
    if len(files) < 2:
        raise PokemonGenError(f"{folder}: it holds one image; a distance needs two or more")
    read = read_pictures(files, skip_bad_images, any_size=resize)
    log_notes(folder, read.notes)
    return read.rgb
