"""The stages in order: sprites → train → choose a checkpoint → complete → submission, picture.

`run` does all of them and goes on where it stopped; `complete` and `submit` are single stages for a
checkpoint that is there already. What a stage does lives in the room of its name; here they only meet.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen import submission
from pokemon_gen.completion import complete_prompts
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json, refuse_existing, write_text
from pokemon_gen.geometry import PROMPT_LENGTH
from pokemon_gen.models import Checkpoint, fingerprint_checkpoint, load_checkpoint
from pokemon_gen.palette import from_picture
from pokemon_gen.report import draw_completions, draw_contact_sheet, save_picture
from pokemon_gen.rows import read_prompts, rows_text
from pokemon_gen.runs import SPRITES_NAME
from pokemon_gen.selection import Choice, choose_checkpoint
from pokemon_gen.settings import SETTINGS_NAME, Settings, load_settings, sprite_settings
from pokemon_gen.sprites import Sprites, load_sprites
from pokemon_gen.sprites.images import find_images, read_images
from pokemon_gen.training import TrainingResult, train

RESULTS = Path("eval/results")
"""The folder of everything that is looked at, in the working directory."""
SHEET_SPRITES = 128
"""Sprites on a contact sheet: eight rows."""


@dataclass(frozen=True)
class Completions:
    """Completed sprites, and the files they were written to."""

    sprites: NDArray[np.int64]
    """(N, 400) tokens."""
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


@dataclass(frozen=True)
class Sight:
    """Sprites, how many each split has, and a contact sheet of the first of `train`."""

    sprites: Sprites
    counts: dict[str, int]
    picture: Path


@dataclass(frozen=True)
class RunResult:
    """What `run` did; without a submission if the training was interrupted."""

    training: TrainingResult
    submission: Submission | None

    @property
    def files(self) -> list[Path]:
        """Everything the run made, in the order of making."""
        if self.submission is None:
            return [self.training.folder]
        made = self.submission
        return [made.checkpoint, made.file, made.sidecar, made.picture]


def run(settings: Settings, overwrite: bool = False) -> RunResult:
    """Do every stage of a run, or what is left of it.

    Args:
        settings: the run.
        overwrite: begin anew and replace what is there.

    Raises:
        PokemonGenError: for bad settings or sprites, and, before any training, if a submission of
            another run stands where this one's would go.
    """
    sprites = load_sprites(**settings.sprites.model_dump())
    kept = None if overwrite else _kept_submission(settings, sprites)
    training = train(settings, sprites, overwrite=overwrite)
    if training.status == "interrupted":
        return RunResult(training, None)
    if kept:
        return RunResult(training, kept)
    choice = choose_checkpoint(training.folder)
    return RunResult(training, _submit(choice, training.settings, sprites, overwrite))


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
        output: the PNG; the rows go beside it as `.txt`. None: in `eval/results/<name>/`.
        overwrite: replace files that are there.

    Raises:
        PokemonGenError: for a checkpoint or prompts at fault, or of different palettes, and for prompts
            and a split at once.
    """
    if prompts is not None and split:
        raise PokemonGenError("prompts come from a split or from elsewhere, not from both")
    split = split or "test"
    loaded = load_checkpoint(choose_checkpoint(checkpoint).checkpoint)
    settings = _settings_of(loaded.folder, overrides)
    source = "prompts" if prompts is not None else split
    picture = _png(output or RESULTS / settings.name / f"completions-{source}.png")
    rows = picture.with_suffix(".txt")
    if isinstance(prompts, str | Path) and Path(prompts).resolve() in (picture.resolve(), rows.resolve()):
        raise PokemonGenError(f"{prompts}: the prompts would be overwritten; choose another --output")
    for file in (picture, rows):
        refuse_existing(file, overwrite)
    if prompts is None:
        own = load_sprites(**settings.sprites.model_dump())
        _check_palettes(loaded, own)
        given: Any = own.prompts(split)
    else:
        given = _given_prompts(prompts, loaded, settings.sprites.skip_bad_images)
    sprites = complete_prompts(loaded.model, given, settings.completion, progress=True)
    save_picture(draw_completions(sprites, loaded.palette, [len(row) for row in given]), picture)
    write_text(rows, rows_text(sprites))
    return Completions(sprites, picture, rows)


def submit(checkpoint: str | Path, *, overrides: Sequence[str] = (), overwrite: bool = False) -> Submission:
    """Complete the test prompts with a checkpoint and write the submission, its sidecar and a picture.

    Args:
        checkpoint: its folder, or a run's, whose best checkpoint is taken.
        overrides: `completion.temperature=0.9` and the like.
        overwrite: replace files that are there.

    Raises:
        PokemonGenError: as `complete`, and if a file of the submission exists.
    """
    choice = choose_checkpoint(checkpoint)
    settings = _settings_of(choice.checkpoint, overrides)
    return _submit(choice, settings, load_sprites(**settings.sprites.model_dump()), overwrite)


def _submit(choice: Choice, settings: Settings, sprites: Sprites, overwrite: bool) -> Submission:
    file, sidecar, picture = _submission_files(settings.name)
    refuse_existing(file, overwrite)  # what else there is of it without the file was left by a kill
    loaded = load_checkpoint(choice.checkpoint)
    _check_palettes(loaded, sprites)
    prompts = sprites.prompts("test")
    completed = complete_prompts(loaded.model, prompts, settings.completion, progress=True)
    made_by = {
        "settings": settings.model_dump(),
        "seed": settings.seed,
        "sprites": {"source": sprites.source, "fingerprint": sprites.fingerprint},
        "palette": loaded.palette.fingerprint,
        "checkpoint": {
            "folder": str(loaded.folder),
            "trained_on": _trained_on(loaded.folder),
            "sha256": fingerprint_checkpoint(loaded.folder),
            "chosen_for": choice.reason,
        },
    }
    drawn = draw_completions(completed, loaded.palette, [PROMPT_LENGTH] * len(completed))
    save_picture(drawn, picture)
    report = submission.write(file, completed, prompts, len(loaded.palette), made_by, overwrite)
    return Submission(file, sidecar, picture, choice.checkpoint, choice.reason, report)


def look_at(
    source: str,
    overrides: Sequence[str] = (),
    output: str | Path | None = None,
    overwrite: bool = False,
) -> Sight:
    """Load a source of sprites, count them, and draw a contact sheet.

    Args:
        source: as `load_sprites` takes it.
        overrides: `sprites.colours=64` and the like.
        output: the contact sheet's PNG; none: in `eval/results/sprites/`.
        overwrite: replace a contact sheet that is there.

    Raises:
        PokemonGenError: for a source at fault, or a contact sheet that exists.
    """
    slug = re.sub(r"[^A-Za-z0-9]+", "-", source).strip("-")
    picture = _png(output or RESULTS / "sprites" / f"{slug}.png")
    refuse_existing(picture, overwrite)
    sprites = load_sprites(**sprite_settings(source, overrides).model_dump())
    save_picture(draw_contact_sheet(sprites.tokens("train")[:SHEET_SPRITES], sprites.palette), picture)
    return Sight(sprites, {split: len(rows) for split, rows in sprites.dataset.items()}, picture)


def _submission_files(name: str) -> tuple[Path, Path, Path]:
    base = submission.SUBMISSIONS / name
    return (
        base.with_name(f"{name}.txt"),
        base.with_name(f"{name}.json"),
        base.with_name(f"{name}.png"),
    )


def _kept_submission(settings: Settings, sprites: Sprites) -> Submission | None:
    """Return this run's finished submission, if there is one."""
    file, sidecar, picture = _submission_files(settings.name)
    if not file.exists():
        return None
    instead = (
        f"name=... chooses another name; --overwrite begins the run anew; `pokemon-gen submit "
        f"checkpoints/{settings.name} --overwrite` replaces the submission alone"
    )
    for part in (sidecar, picture):
        if not part.is_file():
            raise PokemonGenError(f"{file} exists without its {part.name}, and is kept. {instead}")
    facts = read_json(sidecar)
    try:
        same = _same_run(settings, facts["settings"])
        same = same and facts["sprites"]["fingerprint"] == sprites.fingerprint
        made = facts["checkpoint"]
        chosen, reason = Path(made["folder"]), made["chosen_for"]
    except (KeyError, TypeError, AttributeError) as error:
        raise PokemonGenError(f"{sidecar}: not a sidecar of a submission. {instead}") from error
    if not same:
        raise PokemonGenError(f"{file} exists, of other settings or sprites, and is kept. {instead}")
    return Submission(file, sidecar, picture, chosen, reason, submission.check(file))


def _same_run(settings: Settings, before: dict[str, Any]) -> bool:
    """Tell whether settings are those of a finished run, which also names the precision it chose."""
    now = settings.model_dump()
    chosen = {k: v for k, v in before["training"].items() if k in ("bf16", "fp16")}
    return {**now, "training": {**chosen, **now["training"]}} == before


def _settings_of(checkpoint: Path, overrides: Sequence[str]) -> Settings:
    """Return a checkpoint's settings, overridden where a trained model leaves anything to choose."""
    for override in overrides:
        if not override.startswith(("name=", "completion.", "sprites.")):
            raise PokemonGenError(
                f"{override.split('=')[0]}: cannot be set: {checkpoint} is trained already; "
                "completion.*, sprites.* and name can"
            )
    return load_settings(checkpoint / SETTINGS_NAME, overrides)


def _trained_on(checkpoint: Path) -> Any:
    """Return source and fingerprint of the sprites a checkpoint was trained on, if it says so."""
    file = checkpoint / SPRITES_NAME
    return read_json(file) if file.is_file() else None


def _png(output: str | Path) -> Path:
    path = Path(output)
    if path.suffix.lower() != ".png":
        raise PokemonGenError(f"{path}: the output is a picture; name it with .png at the end")
    return path


def _check_palettes(checkpoint: Checkpoint, sprites: Sprites) -> None:
    """Make sure that a checkpoint and sprites speak of the same colours."""
    if sprites.palette != checkpoint.palette:
        raise PokemonGenError(
            f"{checkpoint.folder} was trained with another palette ({checkpoint.palette.fingerprint}, "
            f"{len(checkpoint.palette)} colours) than {sprites.source} has "
            f"({sprites.palette.fingerprint}, {len(sprites.palette)} colours)"
        )


def _given_prompts(prompts: str | Path | NDArray[Any], checkpoint: Checkpoint, skip_bad_images: bool) -> Any:
    """Return prompts as rows of tokens of the checkpoint's palette."""
    if isinstance(prompts, np.ndarray):
        return prompts
    path = Path(prompts)
    if path.suffix == ".txt":
        return read_prompts(path, len(checkpoint.palette))
    if not path.exists():
        raise PokemonGenError(f"{path}: no such file or folder of prompts")
    pictures = read_images(find_images(path), skip_bad_images)
    return from_picture(pictures, checkpoint.palette)[:, :PROMPT_LENGTH]
