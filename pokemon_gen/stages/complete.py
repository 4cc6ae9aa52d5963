"""Stages for a checkpoint that is there: complete prompts, write a submission."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen import submission
from pokemon_gen.completion.reranking import complete_best
from pokemon_gen.constants import PROMPT_LENGTH
from pokemon_gen.discriminator.classifier import (
    METADATA_NAME,
    Classifier,
    fingerprint_of,
    sprites_fingerprint,
)
from pokemon_gen.discriminator.detector import load_detector
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json, require_absent, write_json, write_text
from pokemon_gen.models.checkpoints import SPRITES_NAME, fingerprint_checkpoint
from pokemon_gen.models.choice import Choice
from pokemon_gen.models.loading import Checkpoint, load_checkpoint
from pokemon_gen.models.runs import detector_folder
from pokemon_gen.palette import from_picture
from pokemon_gen.report.sheets import draw_completions, save_picture
from pokemon_gen.settings import CompletionSettings, Settings
from pokemon_gen.sprites.images import find_images, log_notes, read_pictures
from pokemon_gen.sprites.loading import Sprites, load_sprites
from pokemon_gen.stages.plans import plan_completion, plan_submission, submission_files
from pokemon_gen.text_rows import read_prompts, rows_text

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Completions:
    """Completed sprites, and the files they were written to.

    Attributes:
        sprites: (N, 400) tokens.
        picture: of them.
        rows: their text form; the sidecar beside it (`.json`) says what made them.
    """

    sprites: NDArray[np.int64]
    picture: Path
    rows: Path


@dataclass(frozen=True)
class Submission:
    """A checked submission's files, and the checkpoint it comes from with the reason why."""

    file: Path
    sidecar: Path
    picture: Path
    checkpoint: Path
    reason: str
    report: submission.Report


def complete(
    checkpoint: str | Path,
    prompts: str | Path | NDArray[Any] | None = None,
    *,
    split: str | None = None,
    overrides: Sequence[str] = (),
    output: str | Path | None = None,
    overwrite: bool = False,
) -> Completions:
    """Complete prompts with a checkpoint, and draw them.

    Args:
        checkpoint: its folder, or a run's, whose best checkpoint is taken.
        prompts: a text file of prompts (1 to 399 tokens a line; of a whole sprite, the first 240), a
            picture or a folder of pictures (their top 12 rows), or an array (N, L); none: those of
            `split` of the run's own sprites.
        split: `dev` or `test`; none: `test`.
        overrides: `completion.temperature=0.9` and the like.
        output: the PNG; the rows go beside it as `.txt`. None: in `eval/results/<name>/`, numbered after
            what was completed before.
        overwrite: replace files that are there.

    Raises:
        PokemonGenError: for a checkpoint or prompts at fault, or of different palettes, and for prompts
            and a split at once.
    """
    plan = plan_completion(checkpoint, prompts, split, overrides, output, overwrite)
    loaded = load_checkpoint(plan.choice.checkpoint)
    settings = plan.settings
    if prompts is None:
        own = load_sprites(**settings.sprites.model_dump())
        check_palettes(loaded, own)
        given: Any = own.prompts(str(plan.split))
    else:
        given = _given_prompts(prompts, loaded, settings.sprites.skip_bad_images)
    settings, detector = with_ranking(loaded, settings)
    sprites = complete_best(
        loaded.model, given, settings.completion, detector, progress=f"complete {plan.split or 'prompts'}"
    )
    save_picture(draw_completions(sprites, loaded.palette, [len(row) for row in given]), plan.picture)
    text = rows_text(sprites)
    about = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "palette_size": len(loaded.palette)}
    write_json(plan.sidecar, {**about, **made_by(loaded, settings, detector)})
    write_text(plan.rows, text)
    return Completions(sprites, plan.picture, plan.rows)


def submit(checkpoint: str | Path, *, overrides: Sequence[str] = (), overwrite: bool = False) -> Submission:
    """Complete the test prompts with a checkpoint and write the submission, its sidecar and a picture.

    Args:
        checkpoint: its folder, or a run's, whose best checkpoint is taken.
        overrides: `completion.temperature=0.9` and the like.
        overwrite: replace files that are there.

    Raises:
        PokemonGenError: as `complete`, and if a file of the submission exists.
    """
    choice, settings = plan_submission(checkpoint, overrides, overwrite)
    return submit_choice(choice, settings, load_sprites(**settings.sprites.model_dump()), overwrite)


def submit_choice(choice: Choice, settings: Settings, sprites: Sprites, overwrite: bool) -> Submission:
    """Write the submission of a checkpoint that was chosen; see `submit`."""
    file, sidecar, picture = submission_files(settings.name)
    require_absent(file, overwrite)  # what else there is of it without the file was left by a kill
    loaded = load_checkpoint(choice.checkpoint)
    check_palettes(loaded, sprites)
    prompts = sprites.prompts("test")
    settings, detector = with_ranking(loaded, settings)
    completed = complete_best(loaded.model, prompts, settings.completion, detector, progress="complete test")
    facts = made_by(loaded, settings, detector)
    facts["checkpoint"]["chosen_for"] = choice.reason
    facts["sprites"] = sprites.origin
    drawn = draw_completions(completed, loaded.palette, [PROMPT_LENGTH] * len(completed))
    save_picture(drawn, picture)
    report = submission.write(file, completed, prompts, len(loaded.palette), facts, overwrite)
    return Submission(file, sidecar, picture, choice.checkpoint, choice.reason, report)


def ranked_by(run: Path, settings: CompletionSettings) -> str | None:
    """Return the fingerprint of the detector that ranks a run's candidates; None for one alone."""
    return fingerprint_of(detector_folder(run)) if settings.candidates > 1 else None


def ranking(
    checkpoint: Checkpoint, settings: CompletionSettings
) -> tuple[CompletionSettings, Classifier | None]:
    """Return how a checkpoint completes, and the detector that ranks its candidates.

    Several candidates need a detector, which `train` alone does not make: without one a single completion of
    each prompt is drawn, the first of the candidates, and the log says so.

    Raises:
        PokemonGenError: if the run's detector is of other sprites.
    """
    if settings.candidates == 1:
        return settings, None
    run = checkpoint.folder.resolve().parent
    if not (detector_folder(run) / METADATA_NAME).is_file():
        name = checkpoint.settings.name
        _log.warning(
            "%s has no detector to rank %d candidates (completion.candidates), so one completion of each "
            "prompt is drawn. `pokemon-gen detector CONFIG name=%s` trains a detector",
            run.name, settings.candidates, name,
        )  # fmt: skip
        return settings.single_candidate(), None
    detector = load_detector(run)
    learned = sprites_fingerprint(detector.metadata)
    of_others = learned != _trained_on(checkpoint.folder).get("fingerprint", learned)
    if of_others or detector.palette != checkpoint.palette:
        raise PokemonGenError(
            f"{detector_folder(run)}: a detector of other sprites than {checkpoint.folder}; `pokemon-gen "
            f"detector CONFIG name={run.name} --overwrite` trains it again"
        )
    return settings, detector


def with_ranking(checkpoint: Checkpoint, settings: Settings) -> tuple[Settings, Classifier | None]:
    """Return settings with the completion that `ranking` allows, and the detector."""
    completion, detector = ranking(checkpoint, settings.completion)
    return settings.model_copy(update={"completion": completion}), detector


def made_by(loaded: Checkpoint, settings: Settings, detector: Classifier | None) -> dict[str, Any]:
    """Return what a sidecar says of the checkpoint, settings and detector that completions come from."""
    return {
        "settings": settings.model_dump(mode="json"),
        "seed": settings.seed,
        "palette": loaded.palette.fingerprint,
        "checkpoint": checkpoint_facts(loaded.folder),
        "ranked_by_detector": detector.metadata["fingerprint"] if detector else None,
    }


def checkpoint_facts(checkpoint: Path) -> dict[str, Any]:
    """Return what names a checkpoint: place, fingerprint, and what it was trained on, if it says so."""
    return {
        "folder": str(checkpoint),
        "trained_on": _trained_on(checkpoint) or None,
        "sha256": fingerprint_checkpoint(checkpoint),
    }


def _trained_on(checkpoint: Path) -> dict[str, str]:
    """Return source and fingerprint of the sprites that a checkpoint has learned, if it says so."""
    file = checkpoint / SPRITES_NAME
    return read_json(file) if file.is_file() else {}


def check_palettes(checkpoint: Checkpoint, sprites: Sprites) -> None:
    """Make sure that a checkpoint and sprites speak of the same colours."""
    if sprites.palette != checkpoint.palette:
        raise PokemonGenError(
            f"{checkpoint.folder} was trained with another palette ({checkpoint.palette.fingerprint}, "
            f"{len(checkpoint.palette)} colours) than {sprites.source} has "
            f"({sprites.palette.fingerprint}, {len(sprites.palette)} colours)"
        )


def check_trained_on(checkpoint: Path, sprites: Sprites) -> None:
    """Make sure that a run is measured on the sprites that it was trained on."""
    trained_on = read_json(checkpoint / SPRITES_NAME)
    if trained_on["fingerprint"] != sprites.fingerprint:
        raise PokemonGenError(
            f"{checkpoint.parent} was trained on other sprites ({trained_on['source']}, fingerprint "
            f"{trained_on['fingerprint']}) than {sprites.source} ({sprites.fingerprint}); if they moved, "
            "sprites.source=... says where they are"
        )


def _given_prompts(prompts: str | Path | NDArray[Any], checkpoint: Checkpoint, skip_bad_images: bool) -> Any:
    """Return prompts as rows of tokens of the checkpoint's palette."""
    if isinstance(prompts, np.ndarray):
        return prompts
    path = Path(prompts)
    if path.suffix == ".txt":
        return read_prompts(path, len(checkpoint.palette))
    read = read_pictures(find_images(path), skip_bad_images, of_prompts=True)
    log_notes(path, read)
    return from_picture(read.rgb, checkpoint.palette)[:, :PROMPT_LENGTH]
