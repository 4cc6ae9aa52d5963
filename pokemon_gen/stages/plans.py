"""What a command is about to do: what a person typed, resolved once, before anything heavy is loaded.

A misspelt setting, a missing file and an output that exists are answered in a second, not after torch was
loaded. Each stage takes such a plan, or makes it from the same arguments, so that Python callers get the
same answers.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.config_files.overrides import override_sprites
from pokemon_gen.config_files.validation import validate
from pokemon_gen.constants import CHECKPOINTS, RESULTS, SCORECARD_NAME, SETTINGS_NAME, SIDE
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import number_file, read_json, read_object, require_absent, require_writable
from pokemon_gen.models.checkpoints import fingerprint_checkpoint, is_ensemble, learned_from
from pokemon_gen.models.choice import (
    CheckpointFiles,
    Choice,
    choose_checkpoint,
    read_choice,
    resolve_checkpoint,
)
from pokemon_gen.models.runs import (
    BEST_NAME,
    find_run,
    member_runs,
    require_checkpoints,
    result_name,
)
from pokemon_gen.settings import (
    LOCATION_OF_SPRITES,
    NAME_RULE,
    Settings,
    SpriteSettings,
    is_name,
)
from pokemon_gen.stages.kept import submission_files
from pokemon_gen.validation import check_sprites

COMPLETION_MAY_SET = ("completion.", "sprites.", "name=")
"""How the overrides of a trained checkpoint begin."""
SELECTION_MAY_SET = ("completion.", *(f"sprites.{field}=" for field in sorted(LOCATION_OF_SPRITES)))
"""The location of the sprites, but not the size of the fold: the run has learned the rest."""
MOST_VARIANTS = 160
"""The most completions of a prompt, as of `completion.candidates`."""
_BESIDE = (".txt", ".json", "")
"""Suffixes of what `complete` writes beside its picture; the last is a folder."""
PAGE_NAME, REPORT_NAME, COMPARISON_NAME = "page.html", "report.html", "compare.html"
INSIDE_NAME = "inside"
"""Name of the folder of an inspection, in the results of a run."""
MOST_FEATURES = 100
"""The most features that an inspection shows."""
OPTIONS_OF = {"sprites": {"--sprite", "--pixel", "--token"}, "text": {"--prompt", "--word"}}
"""Options of an inspection that only fit one kind of model."""


@dataclass(frozen=True)
class CompletionPlan:
    """What `complete` completes, and the files it writes.

    Attributes:
        checkpoint: to complete with; its settings are overridden.
        split: whose prompts; None for prompts that were passed.
        picture: the PNG.
        variants: the completions of each prompt that are kept.
        unnumbered: the path that `picture` is numbered after; None if it was given.
    """

    checkpoint: CheckpointFiles
    split: str | None
    picture: Path
    variants: int
    unnumbered: Path | None = None

    @property
    def rows(self) -> Path:
        """The completed sprites in text form."""
        return self.picture.with_suffix(".txt")

    @property
    def sidecar(self) -> Path:
        """The provenance of the completions."""
        return self.picture.with_suffix(".json")

    def numbered_again(self) -> "CompletionPlan":
        """Return the plan with the next free number, in case another process has taken it meanwhile."""
        if self.unnumbered is None:
            return self
        return replace(self, picture=number_file(self.unnumbered, *_BESIDE))

    @property
    def pictures(self) -> Path:
        """The folder of one picture for each completion of a prompt that was passed."""
        return self.picture.with_suffix("")


def plan_completion(
    checkpoint: str | Path,
    prompts: object,
    split: str | None,
    overrides: Sequence[str],
    output: str | Path | None,
    overwrite: bool,
    variants: int = 1,
) -> CompletionPlan:
    """Resolve the arguments of `complete`; see there.

    Raises:
        PokemonGenError: for a missing checkpoint or prompts, settings that do not fit, or outputs that exist.
    """
    if not 1 <= variants <= MOST_VARIANTS:
        raise PokemonGenError(f"variants: {variants} is not a number from 1 to {MOST_VARIANTS}")
    if prompts is not None and split:
        raise PokemonGenError("prompts and split: give one of them, not both")
    if isinstance(prompts, str | Path) and not Path(prompts).exists():
        raise PokemonGenError(f"{prompts}: no such file or folder of prompts")
    files = _trained_checkpoint(checkpoint, overrides)
    source = "prompts" if prompts is not None else split or "test"
    default = RESULTS / files.settings.name / f"completions-{source}.png"
    if variants > 1 and not files.settings.completion.do_sample:
        raise PokemonGenError(
            f"variants: {checkpoint} completes greedily, so {variants} completions of a prompt would be the "
            "same. Add completion.do_sample=true."
        )
    picture = _picture(output, default, overwrite, *_BESIDE)
    unnumbered = None if output or overwrite else default
    plan = CompletionPlan(files, None if prompts is not None else source, picture, variants, unnumbered)
    written = (plan.picture.resolve(), plan.rows.resolve(), plan.pictures.resolve())
    given = Path(prompts).resolve() if isinstance(prompts, str | Path) else None
    if given and (given in written or plan.pictures.resolve() in given.parents):
        raise PokemonGenError(f"{prompts}: the output would overwrite the prompts. Choose another --output.")
    for file in (picture, plan.rows, plan.sidecar, plan.pictures):
        require_absent(file, overwrite)
    if plan.split:
        check_sprites(files.settings.sprites)
    return plan


def plan_submission(checkpoint: str | Path, overrides: Sequence[str], overwrite: bool) -> CheckpointFiles:
    """Resolve the arguments of `submit`: the checkpoint, with its settings overridden.

    Raises:
        PokemonGenError: as `plan_completion`.
    """
    files = _trained_checkpoint(checkpoint, overrides)
    require_absent(submission_files(files.settings.name)[0], overwrite)
    check_sprites(files.settings.sprites)
    return files


def plan_selection(run: str | Path, overrides: Sequence[str]) -> Path:
    """Resolve the argument of `select`: the run's folder.

    Raises:
        PokemonGenError: for a run without checkpoints, an ensemble, or settings that cannot be overridden.
    """
    folder = find_run(run)
    if is_ensemble(folder / BEST_NAME):
        raise PokemonGenError(f"{folder}: an ensemble, whose members were selected before it was combined")
    settings_to_select(require_checkpoints(folder)[-1], overrides)
    return folder


@dataclass(frozen=True)
class ScorePlan:
    """What `score` scores, and the file it writes.

    Attributes:
        completions: a checkpoint or run, a text file, or a folder of images.
        name: of the scorecard.
        file: the scorecard.
        overrides: for the completions' settings.
    """

    completions: Path
    name: str
    file: Path
    overrides: list[str]


def plan_score(
    completions: str | Path,
    reference: str,
    overrides: Sequence[str],
    overwrite: bool,
    inception_weights: str | Path | None = None,
) -> ScorePlan:
    """Resolve the arguments of `score`; see there.

    Raises:
        PokemonGenError: for missing completions, a missing reference or weights, or a scorecard that exists.
    """
    path = find_run(completions)
    given, rest = _without_name(overrides)
    _require_allowed(rest, COMPLETION_MAY_SET, str(completions))
    name = given or result_name(path)
    file = RESULTS / name / SCORECARD_NAME
    if not path.exists():
        raise PokemonGenError(f"{path}: not a checkpoint, a .txt or a folder of images to score")
    require_absent(file, overwrite)
    _check_reference(reference)
    if inception_weights is not None and not Path(inception_weights).is_file():
        raise PokemonGenError(f"{inception_weights}: no such file of Inception weights")
    return ScorePlan(path, name, file, rest)


@dataclass(frozen=True)
class PagePlan:
    """The checkpoint that a page is about, as it was given, the name of its results, and the HTML file."""

    checkpoint: CheckpointFiles
    given: str
    name: str
    file: Path


def plan_page(run: str | Path, output: str | Path | None, overwrite: bool) -> PagePlan:
    """Resolve the arguments of `page`; see there.

    Raises:
        PokemonGenError: for a missing run, an output that exists, or one that is not an HTML file.
    """
    return _page_plan(run, PAGE_NAME, output, overwrite)


def plan_report(run: str | Path, output: str | Path | None, overwrite: bool) -> PagePlan:
    """Resolve the arguments of `report`; see there.

    Raises:
        PokemonGenError: as `plan_page`, and for missing sprites.
    """
    plan = _page_plan(run, REPORT_NAME, output, overwrite)
    check_sprites(plan.checkpoint.settings.sprites)
    return plan


@dataclass(frozen=True)
class ComparisonPlan:
    """The checkpoints that `compare` compares, the names of their results, and the HTML file."""

    checkpoints: list[CheckpointFiles]
    names: list[str]
    file: Path


def plan_comparison(runs: Sequence[str | Path], output: str | Path | None, overwrite: bool) -> ComparisonPlan:
    """Resolve the arguments of `compare`; see there.

    Raises:
        PokemonGenError: as `plan_report`, and for fewer than two runs or a run twice.
    """
    if len(runs) < 2:
        raise PokemonGenError(
            "a comparison needs two or more runs, such as `pokemon-gen compare fast strong`"
        )
    checkpoints = [resolve_checkpoint(run) for run in runs]
    names = [result_name(find_run(run)) for run in runs]
    folders = [checkpoint.folder.resolve() for checkpoint in checkpoints]
    for name, folder in zip(names, folders, strict=True):
        if folders.count(folder) > 1 or names.count(name) > 1:
            raise PokemonGenError(f"{name} is given twice; a run is compared with others, not with itself")
    for checkpoint in checkpoints:
        check_sprites(checkpoint.settings.sprites)
    default = RESULTS / "-vs-".join(name.replace("/", "-") for name in names) / COMPARISON_NAME
    return ComparisonPlan(checkpoints, names, _html_file(output, default, overwrite))


def _page_plan(run: str | Path, file_name: str, output: str | Path | None, overwrite: bool) -> PagePlan:
    """Resolve a run and the file of a page about it, which is among the run's results by default."""
    checkpoint, name = resolve_checkpoint(run), result_name(find_run(run))
    return PagePlan(checkpoint, str(run), name, _html_file(output, RESULTS / name / file_name, overwrite))


def _html_file(output: str | Path | None, default: Path, overwrite: bool) -> Path:
    """Return the path of a page: as given, if it does not exist yet, else the default, which is replaced.

    Raises:
        PokemonGenError: for an output that exists, or a name that does not end in `.html`.
    """
    if output is None:
        require_writable(default.parent)
        return default
    file = Path(output)
    if file.suffix.lower() not in (".html", ".htm"):
        raise PokemonGenError(f"{file}: the output is a page. End its name with .html.")
    require_absent(file, overwrite)
    return file


@dataclass(frozen=True)
class InspectionOptions:
    """What `inspect` shows; see its options on the command line. Numbers count from 1, except colours.

    Attributes:
        sprite: the dev sprite of a model of sprites; None for the first.
        pixel: `ROW,COLUMN` of its pixel whose attention is shown first; None chooses one.
        token: the colour whose states in different places are compared; None chooses one.
        prompt: the text that a model of text reads; None for the first line of dev.
        word: the word whose states in different contexts are compared; None for none.
        layer: the layer that is split into features; None for the middle one.
        features: the most features that are shown.
        feature_steps: steps of the autoencoder's training.

    Raises:
        PokemonGenError: for a pixel or a number that is out of range.
    """

    sprite: int | None = None
    pixel: str | None = None
    token: int | None = None
    prompt: str | None = None
    word: str | None = None
    layer: int | None = None
    features: int = 12
    feature_steps: int = 300

    def __post_init__(self) -> None:
        if not 1 <= self.features <= MOST_FEATURES:
            raise PokemonGenError(f"--features: {self.features} is not a number from 1 to {MOST_FEATURES}.")
        if self.feature_steps < 1:
            raise PokemonGenError(f"--feature-steps: {self.feature_steps} is not positive. Choose 1 or more.")
        _ = self.pixel_number

    @property
    def pixel_number(self) -> int | None:
        """The number of the pixel, 0 to 399."""
        if self.pixel is None:
            return None
        found = re.fullmatch(r"([0-9]+),([0-9]+)", self.pixel)
        row, column = (int(part) for part in found.groups()) if found else (0, 0)
        if not (1 <= row <= SIDE and 1 <= column <= SIDE):
            raise PokemonGenError(
                f"--pixel: {self.pixel!r} is not ROW,COLUMN with both from 1 to {SIDE}, such as 13,10."
            )
        return (row - 1) * SIDE + column - 1

    @property
    def given(self) -> dict[str, str]:
        """The options that differ from the defaults, as words of the command line."""
        defaults = InspectionOptions()
        return {
            f"--{name.replace('_', '-')}": str(value)
            for name, value in asdict(self).items()
            if value != getattr(defaults, name)
        }


@dataclass(frozen=True)
class InspectionPlan:
    """What `inspect` inspects.

    Attributes:
        choice: the checkpoint.
        learned: what its model learned, `sprites` or `text`.
        given: the run, as it was given.
        options: what is shown.
        name: of the results.
        folder: of the page and everything that it shows.
    """

    choice: Choice
    learned: str
    given: str
    options: InspectionOptions
    name: str
    folder: Path

    @property
    def command(self) -> str:
        """The command that makes the page again."""
        words = [word for pair in self.options.given.items() for word in pair]
        return shlex.join(["pokemon-gen", "inspect", self.given, *words])


def plan_inspection(
    run: str | Path, options: InspectionOptions, output: str | Path | None, overwrite: bool
) -> InspectionPlan:
    """Resolve the arguments of `inspect`; see there.

    Raises:
        PokemonGenError: for a missing run, an option for another kind of run, missing sprites, or an output
            that exists.
    """
    choice, name = choose_checkpoint(run), result_name(find_run(run))
    learned = learned_from(choice.folder)
    unfit = options.given.keys() & OPTIONS_OF["text" if learned == "sprites" else "sprites"]
    if unfit:
        raise PokemonGenError(
            f"{min(unfit)}: {run} learned {learned}, and this option is for other models. Leave it out."
        )
    if learned == "sprites":
        check_sprites(read_choice(choice).settings.sprites)
    folder = _inspection_folder(output, RESULTS / name / INSIDE_NAME, overwrite)
    return InspectionPlan(choice, learned, str(run), options, name, folder)


def _inspection_folder(output: str | Path | None, default: Path, overwrite: bool) -> Path:
    """Return the folder of an inspection; the default one is replaced.

    Raises:
        PokemonGenError: for an output that exists, unless an inspection may be replaced.
    """
    if output is None:
        require_writable(default.parent)
        return default
    folder = Path(output)
    require_absent(folder, overwrite)
    if folder.exists() and not (folder / PAGE_NAME).is_file():
        raise PokemonGenError(f"{folder}: holds no inspection, so it is not replaced. Name another folder.")
    return folder


@dataclass(frozen=True)
class HandinPlan:
    """What `handin` packs, and the archive.

    Attributes:
        settings: with which the submission was made, as its sidecar records them.
        sidecar: of the submission.
        file: the archive.
    """

    settings: Settings
    sidecar: Path
    file: Path


def plan_handin(run: str | Path, output: str | Path | None, overwrite: bool) -> HandinPlan:
    """Resolve the arguments of `handin`; see there.

    Raises:
        PokemonGenError: for a missing run, a run without a submission, a submission of another checkpoint, an
            archive that exists, or an output that is no archive.
    """
    checkpoint = resolve_checkpoint(run)
    settings = checkpoint.settings
    submission, sidecar, _ = submission_files(settings.name)
    for file in (submission, sidecar):
        if not file.is_file():
            raise PokemonGenError(
                f"{file} is missing. Write the submission with `pokemon-gen submit {settings.name}`."
            )
    archive = Path(output) if output else submission.with_suffix(".zip")
    if archive.suffix != ".zip":
        raise PokemonGenError(f"{archive}: the output is an archive. End its name with .zip.")
    require_absent(archive, overwrite)
    return HandinPlan(_submitted_settings(sidecar, checkpoint.folder), sidecar, archive)


def _submitted_settings(sidecar: Path, folder: Path) -> Settings:
    """Return the settings with which a submission was made, if it was made by the checkpoint of a folder.

    Raises:
        PokemonGenError: for a submission of another checkpoint, or settings that are invalid.
    """
    made = read_json(sidecar)
    by = made.get("checkpoint") or {}
    if by.get("sha256") != fingerprint_checkpoint(folder):
        raise PokemonGenError(
            f"{sidecar.with_suffix('.txt')} was not made by {folder}, but by {by.get('folder')}, or before "
            f"the training continued. Hand in that checkpoint, or write the submission again with "
            f"`pokemon-gen submit {folder} --overwrite`."
        )
    return _settings_of(sidecar, made.get("settings") or {})


def _settings_of(sidecar: Path, values: dict[str, Any]) -> Settings:
    """Return the settings that a sidecar records.

    Raises:
        PokemonGenError: for invalid ones, naming the sidecar and the setting.
    """
    return validate(Settings, values, lambda place: f"{sidecar}: {'.'.join(map(str, place))}")


@dataclass(frozen=True)
class ReproductionPlan:
    """A submission that `reproduce` makes again: its sidecar, the content of it, and the settings in it."""

    sidecar: Path
    metadata: dict[str, Any]
    settings: Settings


def plan_reproduction(place: str | Path) -> ReproductionPlan:
    """Resolve the argument of `reproduce`; see there.

    Raises:
        PokemonGenError: for a file that is no sidecar.
    """
    sidecar = Path(place).with_suffix(".json")
    metadata = read_object(sidecar)
    try:
        metadata["sha256"], metadata["sprites"]["fingerprint"], Path(metadata["checkpoint"]["folder"])
        values = {**metadata["settings"]}
    except (KeyError, TypeError) as error:
        raise PokemonGenError(f"{sidecar}: this is not the sidecar of a submission") from error
    return ReproductionPlan(sidecar, metadata, _settings_of(sidecar, values))


def plan_preview(
    source: str, overrides: Sequence[str], output: str | Path | None, overwrite: bool
) -> tuple[SpriteSettings, Path]:
    """Resolve the arguments of `sprites`: the settings of the source, and the PNG of the contact sheet.

    Raises:
        PokemonGenError: for a missing source, or a contact sheet that exists.
    """
    require_overrides(overrides)
    settings = override_sprites(SpriteSettings(source=source), overrides)
    check_sprites(settings)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", source).strip("-")
    path = _picture(output, RESULTS / "sprites" / f"{slug}.png", overwrite)
    require_absent(path, overwrite)
    return settings, path


def plan_ensemble(name: str, checkpoints: Sequence[str | Path]) -> list[Choice]:
    """Resolve the arguments of `ensemble`: the members' checkpoints.

    Raises:
        PokemonGenError: for fewer than two checkpoints, a missing one, or a name that is invalid or taken.
    """
    if len(checkpoints) < 2:
        raise PokemonGenError("an ensemble has two or more members")
    if not is_name(name):
        raise PokemonGenError(f"{name!r} cannot be an ensemble's name: {NAME_RULE}")
    folder = CHECKPOINTS / name
    best = folder / BEST_NAME
    if list(folder.glob("checkpoint-*")) or (best.exists() and not is_ensemble(best)):
        raise PokemonGenError(f"{folder} holds a run, and is kept. Give the ensemble another name.")
    choices = [choose_checkpoint(checkpoint) for checkpoint in checkpoints]
    places = [choice.folder.resolve() for choice in choices]
    if member_runs(folder) and not all(folder.resolve() in place.parents for place in places):
        raise PokemonGenError(
            f"{folder} holds an ensemble with its own members, and is kept. Choose another name."
        )
    return choices


def settings_to_select(checkpoint: Path, overrides: Sequence[str]) -> Settings:
    """Return a checkpoint's settings, overridden where a selection leaves a choice.

    Args:
        checkpoint: its folder.
        overrides: `completion.temperature=0.9` and the like.

    Raises:
        PokemonGenError: for an override of anything else.
    """
    _require_allowed(overrides, SELECTION_MAY_SET, str(checkpoint))
    return load_settings(checkpoint / SETTINGS_NAME, overrides)


def require_overrides(overrides: Sequence[str]) -> None:
    """Refuse words that are not overrides: `score A B` would score A alone.

    Raises:
        PokemonGenError: naming the word.
    """
    for override in overrides:
        if "=" not in override:
            raise PokemonGenError(
                f"{override!r} is not an override (dotted.name=value), and this command takes one argument. "
                "Put a name with spaces in quotation marks."
            )


def _trained_checkpoint(checkpoint: str | Path, overrides: Sequence[str]) -> CheckpointFiles:
    """Resolve a checkpoint that is to complete; only some of its settings can be overridden."""
    _require_allowed(overrides, COMPLETION_MAY_SET, str(checkpoint))
    return resolve_checkpoint(checkpoint, overrides)


def _require_allowed(overrides: Sequence[str], may_set: tuple[str, ...], what: str) -> None:
    """Refuse overrides of settings that are fixed once a model is trained.

    Raises:
        PokemonGenError: naming the setting, and those that can be set.
    """
    require_overrides(overrides)
    for override in overrides:
        if not override.startswith(may_set):
            allowed = ", ".join(f"{start[:-1]}.*" if start.endswith(".") else start[:-1] for start in may_set)
            raise PokemonGenError(
                f"{override.split('=')[0]}: cannot be set, since {what} exists already. You can set {allowed}"
            )


def _picture(output: str | Path | None, default: Path, overwrite: bool, *suffixes: str) -> Path:
    """Return the path of a picture: as given, else the default, numbered after those that exist.

    Raises:
        PokemonGenError: for a name that does not end in `.png`.
    """
    if not output:
        return default if overwrite else number_file(default, *suffixes)
    path = Path(output)
    if path.suffix.lower() != ".png":
        raise PokemonGenError(f"{path}: the output is a picture. End its name with .png.")
    return path


def _without_name(overrides: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the name that `name=` gives a scorecard, if it does, and the other overrides.

    Raises:
        PokemonGenError: for a name that is invalid.
    """
    given = [word.removeprefix("name=") for word in overrides if word.startswith("name=")]
    if given and not is_name(given[-1]):
        raise PokemonGenError(f"command line: name: {NAME_RULE}, not {given[-1]!r}")
    return given[-1] if given else None, [word for word in overrides if not word.startswith("name=")]


def _check_reference(reference: str) -> None:
    """Check that a reference exists.

    Raises:
        PokemonGenError: naming what may be one.
    """
    path = Path(reference)
    if reference not in ("dev", "train") and path.suffix != ".txt" and not path.is_dir():
        raise PokemonGenError(f"{reference}: not a reference. Use dev, train, a folder of images or a .txt.")
    if path.suffix == ".txt" and not path.is_file():
        raise PokemonGenError(f"{reference}: cannot be read: no such file")
