"""What a command is about to do: its words turned into paths and settings, before anything heavy is loaded.

A misspelt setting, a missing file and an output that exists are answered in a second, not after torch has
loaded. Each stage begins with the same call, so that Python's callers get the same answers.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pokemon_gen.config_files.fields import (
    MODEL_REFUSED,
    causal_types,
    check_family,
    check_model,
    check_training,
    model_fields,
    training_types,
)
from pokemon_gen.config_files.loading import load_settings, override_sprites, shipped_types
from pokemon_gen.constants import CHECKPOINTS, RESULTS, SETTINGS_NAME, SUBMISSIONS
from pokemon_gen.errors import PokemonGenError, SettingError
from pokemon_gen.files import number_file, read_json, require_absent
from pokemon_gen.models.checkpoints import ENSEMBLE_NAME, is_loadable, require_parts
from pokemon_gen.models.choice import Choice, choose_checkpoint
from pokemon_gen.models.runs import BEST_NAME, find_run, is_member, member_runs, require_checkpoints
from pokemon_gen.settings import (
    NAME_RULE,
    WHERE_SPRITES_LIE,
    JudgeSettings,
    Settings,
    SpriteSettings,
    is_name,
)
from pokemon_gen.sprites.sources import check_palette, parse_source
from pokemon_gen.training import resuming
from pokemon_gen.training.members import check_members

COMPLETION_MAY_SET = ("completion.", "sprites.", "name=")
"""How overrides of a trained checkpoint begin."""
SELECTION_MAY_SET = ("completion.", *(f"sprites.{field}=" for field in sorted(WHERE_SPRITES_LIE)))
"""Where sprites lie, but not what is held out of them: the run has learned the rest."""
SCORECARD_NAME = "scorecard.json"


@dataclass(frozen=True)
class CompletionPlan:
    """What `complete` completes, and what it writes.

    Attributes:
        choice: the checkpoint.
        settings: of the checkpoint, overridden.
        split: whose prompts; None: prompts that were given.
        picture: the PNG.
    """

    choice: Choice
    settings: Settings
    split: str | None
    picture: Path

    @property
    def rows(self) -> Path:
        """The completions' text form."""
        return self.picture.with_suffix(".txt")

    @property
    def sidecar(self) -> Path:
        """What made them."""
        return self.picture.with_suffix(".json")


def check_settings(settings: Settings | JudgeSettings) -> None:
    """Check all of a run's settings that need no torch: the names of fields, the source of its sprites.

    Raises:
        PokemonGenError: for every mistake, with the place of the setting.
    """
    check_fields(settings)
    check_sprites(settings.sprites)
    if isinstance(settings, Settings) and settings.selection.on == "fold" and not settings.sprites.fold_size:
        raise PokemonGenError(
            "selection.on: there is no fold to choose on: set sprites.fold_size=80, or choose on dev"
        )


def check_fields(settings: Settings | JudgeSettings) -> None:
    """Check the fields of the sections `training` and `model`, and of what a detector is made of.

    Raises:
        PokemonGenError: for an unknown field or a value that does not fit, with the place of the setting.
    """
    try:
        for section, model in _models(settings).items():
            types = causal_types()
            if types is not None:
                check_family(str(model["model_type"]), types, section)
            _check_model(settings, section, model, MODEL_REFUSED)
        for section, model in _classifiers(settings).items():
            _check_model(settings, section, model, {"num_labels": "is two: real or not"})
        types = training_types()
        if isinstance(settings, Settings) and types is not None:
            check_training(settings.training, types)
    except SettingError as error:
        place = settings.where(error.setting)
        raise PokemonGenError(f"{place}: {error}" if place else str(error)) from error


def _models(settings: Settings | JudgeSettings) -> dict[str, dict[str, object]]:
    """Return the sections of language models: the run's own, and that of its generators."""
    if isinstance(settings, JudgeSettings):
        return {"judge.generator.model": settings.judge.generator.model}
    return {"model": settings.model, "detector.generator.model": settings.detector.generator.model}


def _classifiers(settings: Settings | JudgeSettings) -> dict[str, dict[str, object]]:
    """Return the sections of image classifiers."""
    if isinstance(settings, JudgeSettings):
        return {"judge.classifier.model": settings.judge.classifier.model}
    return {"detector.classifier.model": settings.detector.classifier.model}


def _check_model(
    settings: Settings | JudgeSettings, section: str, model: dict[str, object], refused: Mapping[str, str]
) -> None:
    model_type = str(model["model_type"])
    known = model_fields(model_type)
    if known is None:
        return
    given = [field for field in model if field != "model_type"]
    overridden = settings.overridden()
    before = overridden.get(f"{section}.model_type")
    unknown = [field for field in given if field not in known and f"{section}.{field}" not in overridden]
    if unknown and before not in (None, model_type):
        advice = f"name all fields of the {model_type} in a config of its own"
        if section == "model" and model_type in shipped_types():
            advice = f"`model={model_type}` takes the shipped settings of a {model_type}; or {advice}"
        raise SettingError(
            f"{section}.model_type",
            f"{section}.model_type={model_type}: the config describes a {before}, and its "
            f"{', '.join(f'{section}.{field}' for field in unknown)} are no fields of {model_type}: "
            f"{advice}",
        )
    check_model(given, known, model_type, section, refused)


def check_sprites(sprites: SpriteSettings) -> None:
    """Make sure that sprites and palette are where the settings say, as far as they are local.

    Raises:
        PokemonGenError: naming what is missing.
    """
    parse_source(sprites.source)
    if sprites.palette is not None:
        check_palette(sprites.palette)


def plan_completion(
    checkpoint: str | Path,
    prompts: object,
    split: str | None,
    overrides: Sequence[str],
    output: str | Path | None,
    overwrite: bool,
) -> CompletionPlan:
    """Resolve what `complete` is given; see there.

    Raises:
        PokemonGenError: for a checkpoint, prompts or settings that are not there, or outputs that exist.
    """
    if prompts is not None and split:
        raise PokemonGenError("prompts come from a split or from elsewhere, not from both")
    if isinstance(prompts, str | Path) and not Path(prompts).exists():
        raise PokemonGenError(f"{prompts}: no such file or folder of prompts")
    choice = choose_checkpoint(checkpoint)
    require_parts(choice.checkpoint)
    settings = settings_of(choice.checkpoint, overrides)
    source = "prompts" if prompts is not None else split or "test"
    default = RESULTS / settings.name / f"completions-{source}.png"
    picture = _picture(output, default, overwrite, ".txt", ".json")
    plan = CompletionPlan(choice, settings, None if prompts is not None else source, picture)
    if isinstance(prompts, str | Path) and Path(prompts).resolve() in (
        picture.resolve(),
        plan.rows.resolve(),
    ):
        raise PokemonGenError(f"{prompts}: the prompts would be overwritten; choose another --output")
    for file in (picture, plan.rows, plan.sidecar):
        require_absent(file, overwrite)
    if plan.split:
        check_sprites(settings.sprites)
    return plan


def plan_submission(
    checkpoint: str | Path, overrides: Sequence[str], overwrite: bool
) -> tuple[Choice, Settings]:
    """Resolve what `submit` is given: the checkpoint, and its settings.

    Raises:
        PokemonGenError: as `plan_completion`.
    """
    choice = choose_checkpoint(checkpoint)
    require_parts(choice.checkpoint)
    settings = settings_of(choice.checkpoint, overrides)
    require_absent(submission_files(settings.name)[0], overwrite)
    check_sprites(settings.sprites)
    return choice, settings


def plan_selection(run: str | Path, overrides: Sequence[str]) -> Path:
    """Resolve what `select` is given: the run's folder.

    Raises:
        PokemonGenError: for a run without checkpoints, an ensemble, or settings that cannot be overridden.
    """
    folder = find_run(run)
    if (folder / BEST_NAME / ENSEMBLE_NAME).is_file():
        raise PokemonGenError(f"{folder}: an ensemble of checkpoints that were selected before")
    settings_of(require_checkpoints(folder)[-1], overrides, SELECTION_MAY_SET)
    return folder


def plan_score(
    completions: str | Path,
    reference: str,
    overrides: Sequence[str],
    overwrite: bool,
    inception_weights: str | Path | None = None,
) -> tuple[Path, str, Path, list[str]]:
    """Resolve what `score` is given: completions, the scorecard's name and file, and other overrides.

    Raises:
        PokemonGenError: for completions or a reference that are not there, or a scorecard that exists.
    """
    path = find_run(completions)
    check_overrides(overrides)
    given, rest = _without_name(overrides)
    unknown = next((word for word in rest if not word.startswith(COMPLETION_MAY_SET)), None)
    if unknown:
        raise PokemonGenError(f"{unknown.split('=')[0]}: cannot be set: completion.*, sprites.*, name can")
    name = given or result_name(path)
    file = RESULTS / name / SCORECARD_NAME
    if not path.exists():
        raise PokemonGenError(f"{path}: no checkpoint, .txt or folder of images to score")
    require_absent(file, overwrite)
    _check_reference(reference)
    if inception_weights is not None and not Path(inception_weights).is_file():
        raise PokemonGenError(f"{inception_weights}: no such file of Inception weights")
    return path, name, file, rest


def plan_preview(
    source: str, overrides: Sequence[str], output: str | Path | None, overwrite: bool
) -> tuple[SpriteSettings, Path]:
    """Resolve what `sprites` is given: the settings of the source, and the contact sheet's PNG.

    Raises:
        PokemonGenError: for a source that is not there, or a contact sheet that exists.
    """
    check_overrides(overrides)
    settings = override_sprites(SpriteSettings(source=source), overrides)
    check_sprites(settings)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", source).strip("-")
    default = RESULTS / "sprites" / f"{slug}.png"
    path = _picture(output, default, overwrite)
    require_absent(path, overwrite)
    return settings, path


def plan_ensemble(name: str, checkpoints: Sequence[str | Path]) -> list[Choice]:
    """Resolve what `ensemble` is given: the members' checkpoints.

    Raises:
        PokemonGenError: for fewer than two, a checkpoint that is not there, a name that is none or a run's.
    """
    if len(checkpoints) < 2:
        raise PokemonGenError("an ensemble has two or more members")
    if not is_name(name):
        raise PokemonGenError(f"{name!r} cannot be an ensemble's name: {NAME_RULE}")
    folder = CHECKPOINTS / name
    best = folder / BEST_NAME
    if list(folder.glob("checkpoint-*")) or (best.exists() and not (best / ENSEMBLE_NAME).is_file()):
        raise PokemonGenError(f"{folder} is a run, and is kept: give the ensemble a name of its own")
    choices = [choose_checkpoint(checkpoint) for checkpoint in checkpoints]
    places = [choice.checkpoint.resolve() for choice in choices]
    if member_runs(folder) and not all(folder.resolve() in place.parents for place in places):
        raise PokemonGenError(
            f"{folder} is an ensemble with members of its own, and is kept: choose another name"
        )
    return choices


def check_same_run(settings: Settings) -> None:
    """Make sure that a run of this name, if there is one, may be resumed with these settings.

    Raises:
        PokemonGenError: as `check_members`, and as `resuming.check_same_run` for each member of an ensemble.
    """
    if settings.members > 1:
        check_members(settings, overwrite=False)
    for member in settings.each_member():
        resuming.check_same_run(member)


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuse words that are no overrides: `score A B` would score A alone.

    Raises:
        PokemonGenError: naming the word.
    """
    for override in overrides:
        if "=" not in override:
            raise PokemonGenError(
                f"{override!r} is no override (dotted.name=value), and one thing is taken at a time"
            )


def settings_of(
    checkpoint: Path, overrides: Sequence[str], may_set: tuple[str, ...] = COMPLETION_MAY_SET
) -> Settings:
    """Return a checkpoint's settings, overridden where a trained model leaves anything to choose.

    Args:
        checkpoint: its folder.
        overrides: `completion.temperature=0.9` and the like.
        may_set: how they may begin: a section with its `.`, or a field with its `=`.

    Raises:
        PokemonGenError: for one that begins otherwise.
    """
    check_overrides(overrides)
    for override in overrides:
        if not override.startswith(may_set):
            allowed = ", ".join(f"{start[:-1]}.*" if start.endswith(".") else start[:-1] for start in may_set)
            raise PokemonGenError(
                f"{override.split('=')[0]}: cannot be set: {checkpoint} is trained already; {allowed} can"
            )
    return load_settings(checkpoint / SETTINGS_NAME, overrides)


def submission_files(name: str) -> tuple[Path, Path, Path]:
    """Return where a run's submission, its sidecar and its picture are."""
    file, sidecar, picture = (SUBMISSIONS / f"{name}.{kind}" for kind in ("txt", "json", "png"))
    return file, sidecar, picture


def kept_submission(settings: Settings) -> dict[str, Any] | None:
    """Return the sidecar of this run's submission, if there is one already.

    Raises:
        PokemonGenError: if there is one of other settings, or one that lacks a part.
    """
    file, sidecar, picture = submission_files(settings.name)
    if not file.exists():
        return None
    for part in (sidecar, picture):
        if not part.is_file():
            raise PokemonGenError(
                f"{file} exists without its {part.name}, and is kept. {_how_to_replace(settings)}"
            )
    facts: dict[str, Any] = read_json(sidecar)
    try:
        same = settings.same_as(facts["settings"])
        facts["sprites"]["fingerprint"], facts["checkpoint"]["folder"], facts["checkpoint"]["chosen_for"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise PokemonGenError(
            f"{sidecar}: not a sidecar of a submission. {_how_to_replace(settings)}"
        ) from error
    if not same:
        raise of_another_run(settings)
    return facts


def of_another_run(settings: Settings) -> PokemonGenError:
    """Return the error of a submission that is there, and is not of this run."""
    file = submission_files(settings.name)[0]
    return PokemonGenError(
        f"{file} exists, of other settings or sprites, and is kept. {_how_to_replace(settings)}"
    )


def _how_to_replace(settings: Settings) -> str:
    """Return what to do about a submission that stands in the way."""
    return (
        f"name=... chooses another name; --overwrite begins the run anew; `pokemon-gen submit "
        f"checkpoints/{settings.name} --overwrite` replaces the submission alone"
    )


def result_name(path: Path) -> str:
    """Return the name of the folder of results.

    That of a checkpoint, or of completions among the results, has its run's before it.
    """
    path = path.resolve()
    among_results = path.suffix == ".txt" and RESULTS.resolve() in path.parents
    inside = is_loadable(path) or among_results
    run = path.parent if inside else path
    name = f"{run.parent.name}/{run.name}" if is_member(run) else run.name
    return f"{name}-{path.name}" if inside else name


def _picture(output: str | Path | None, default: Path, overwrite: bool, *beside: str) -> Path:
    """Return where a picture goes: as asked for, else the default, numbered after those that exist.

    Raises:
        PokemonGenError: for a name that is no picture's.
    """
    if not output:
        return default if overwrite else number_file(default, *beside)
    path = Path(output)
    if path.suffix.lower() != ".png":
        raise PokemonGenError(f"{path}: the output is a picture; name it with .png at the end")
    return path


def _without_name(overrides: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the name that `name=` gives a scorecard, if it does, and the other overrides.

    Raises:
        PokemonGenError: for a name that is no folder's.
    """
    given = [word.removeprefix("name=") for word in overrides if word.startswith("name=")]
    if given and not is_name(given[-1]):
        raise PokemonGenError(f"command line: name: {NAME_RULE}, not {given[-1]!r}")
    return given[-1] if given else None, [word for word in overrides if not word.startswith("name=")]


def _check_reference(reference: str) -> None:
    """Say that a reference is nowhere, before anything is done.

    Raises:
        PokemonGenError: naming what may be one.
    """
    path = Path(reference)
    if reference not in ("dev", "train") and path.suffix != ".txt" and not path.is_dir():
        raise PokemonGenError(f"{reference}: no reference: use dev, train, a folder of images or a .txt")
    if path.suffix == ".txt" and not path.is_file():
        raise PokemonGenError(f"{reference}: cannot be read: no such file")
