"""The stages in order: sprites → train → detector → select → complete → submission → scorecard.

`run` does all of them and goes on where it stopped; what a stage does lives in `stages/` and in the room of
its name; here they only meet.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from pokemon_gen import submission
from pokemon_gen.constants import CHECKPOINTS
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.inception import check_given_weights, weights_at_hand
from pokemon_gen.files import read_json, remove
from pokemon_gen.models.checkpoints import fingerprint_checkpoint
from pokemon_gen.models.choice import choose_checkpoint
from pokemon_gen.models.locks import writing_to
from pokemon_gen.models.runs import BEST_NAME, DETECTOR_NAME, is_member, last_checkpoint
from pokemon_gen.progress import (
    CHECKPOINTS_EXPECTED,
    SECONDS_OF_FID,
    SECONDS_TO_COMPARE,
    SECONDS_TO_COMPLETE,
    SECONDS_TO_MEASURE,
    SECONDS_TO_SCORE,
    RunProgress,
    detector_seconds,
)
from pokemon_gen.settings import CompletionSettings, Settings
from pokemon_gen.sprites.loading import Sprites, load_sprites
from pokemon_gen.stages.complete import Submission, ranked_by, submit_choice
from pokemon_gen.stages.detector import (
    check_selection,
    detector,
    needs_detector,
    select,
    selection_is_current,
)
from pokemon_gen.stages.ensemble import assemble
from pokemon_gen.stages.plans import check_settings, kept_submission, of_another_run, submission_files
from pokemon_gen.stages.score import Score, current_score, score
from pokemon_gen.training.callbacks import RestOfRun
from pokemon_gen.training.members import check_members
from pokemon_gen.training.run import (
    TrainingResult,
    in_precision_of,
    replaced_by_training,
)
from pokemon_gen.training.run import train as train_model


@dataclass(frozen=True)
class RunResult:
    """What `run` did: a training for each member; no submission and score if the last was interrupted."""

    trainings: list[TrainingResult]
    submission: Submission | None
    score: Score | None

    @property
    def training(self) -> TrainingResult:
        """The last member's, or the only one."""
        return self.trainings[-1]

    @property
    def files(self) -> list[Path]:
        """Everything the run made, in the order of making."""
        if self.submission is None or self.score is None:
            return [self.training.folder]
        made = self.submission
        return [made.checkpoint, made.file, made.sidecar, made.picture, self.score.file]


def run(settings: Settings, overwrite: bool = False) -> RunResult:
    """Do every stage of a run, or what is left of it.

    Args:
        settings: the run.
        overwrite: begin anew and replace what is there.

    Raises:
        PokemonGenError: for bad settings or sprites, and, before any training, if a submission of
            another run stands where this one's would go.
    """
    check_settings(settings)
    sprites = load_sprites(**settings.sprites.model_dump())
    with writing_to(CHECKPOINTS / settings.name):
        return _run(settings, sprites, overwrite)


def _run(settings: Settings, sprites: Sprites, overwrite: bool) -> RunResult:
    """Do what `run` does, in a run's folder that is locked."""
    check_selection(settings, sprites, overwrite)  # a mistake is told before the training
    check_given_weights()
    if settings.members > 1:
        check_members(settings, overwrite)
    kept = None if overwrite else _kept_submission(settings, sprites)
    progress = _progress(settings)
    old = (
        [submission_files(settings.name)[0], CHECKPOINTS / settings.name / DETECTOR_NAME] if overwrite else []
    )
    callbacks = [_BegunAnew(old), RestOfRun(progress.left_after)]
    trainings = _train_members(settings, sprites, callbacks, overwrite, progress.begin)
    if trainings[-1].status == "interrupted":
        return RunResult(trainings, None, None)
    if needs_detector(settings):
        progress.begin("detector")
        detector(settings, sprites, overwrite)
    progress.begin("select")
    for member in settings.each_member():
        _select_best(member, sprites)
    folder, completion = CHECKPOINTS / settings.name, settings.completion
    trained = settings.model_copy(update={"training": trainings[0].settings.training})
    if settings.members > 1:
        assemble(settings.name, [training.folder for training in trainings], True, trained)
    else:
        trained.save(folder / BEST_NAME)  # how it completes may have changed since it was trained
    progress.begin("submit")
    if kept:
        _check_choice(kept, folder, completion)
    made = kept or submit_choice(choose_checkpoint(folder), trained, sprites, overwrite)
    progress.begin("score")
    scored = current_score(folder, sprites, completion)
    return RunResult(
        trainings, made, scored or score(folder, overwrite=True, completion=completion, sprites=sprites)
    )


def _progress(settings: Settings) -> RunProgress:
    """Return the stages of a run, with what each is expected to take."""
    trainings: dict[str, float | None] = dict.fromkeys(map(_training_title, settings.each_member()))
    by_detector: dict[str, float | None] = {}
    if needs_detector(settings):
        by_detector = {"detector": detector_seconds(settings.detector)}
    stages = trainings | by_detector
    completing = SECONDS_TO_COMPLETE * settings.members
    checkpoints = CHECKPOINTS_EXPECTED * settings.members
    select_each = SECONDS_TO_MEASURE if settings.selection.by == "nll" else SECONDS_TO_COMPARE
    scoring = SECONDS_TO_SCORE + completing + (SECONDS_OF_FID if weights_at_hand() else 0.0)
    return RunProgress(stages | {"select": checkpoints * select_each, "submit": completing, "score": scoring})


def _training_title(member: Settings) -> str:
    """Return what the training of a run, or of an ensemble's member, is called."""
    run = Path(member.name)
    return f"train {run.name}" if is_member(run) else "train"


class _BegunAnew(TrainerCallback):
    """Throws away what was made of a run before, once the training that replaces it begins.

    Until then a mistake could have ended it, and nothing would have been lost; after a kill in the middle,
    what is old would be taken for the new run's.
    """

    def __init__(self, old: Sequence[Path]) -> None:
        self.old = old

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        remove(self.old)
        self.old = []  # what later members make is new


class _SaveSettings(TrainerCallback):
    """Writes an ensemble's settings into its folder, once the training of a member begins."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.settings.save(CHECKPOINTS / self.settings.name)


def train(
    settings: Settings,
    sprites: Sprites | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    overwrite: bool = False,
) -> TrainingResult:
    """Train a run of one model.

    Raises:
        PokemonGenError: as `training.train`, and for an ensemble, which `train_members` trains.
    """
    if settings.members > 1:
        raise PokemonGenError(
            f"members: {settings.members}: this trains one model; train_members(settings) trains them all, "
            "and run(settings) puts them together"
        )
    return train_model(settings, sprites, callbacks, overwrite)


def train_members(
    settings: Settings,
    sprites: Sprites | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    overwrite: bool = False,
) -> list[TrainingResult]:
    """Train a run, or the members of an ensemble in turn, up to the first that is interrupted; see `train`.

    The run of member N is `checkpoints/<name>/member-N/`.

    Raises:
        PokemonGenError: as `training.train`.
    """
    sprites = sprites or load_sprites(**settings.sprites.model_dump())
    with writing_to(CHECKPOINTS / settings.name):
        return _train_members(settings, sprites, callbacks, overwrite, lambda title: None)


def _train_members(
    settings: Settings,
    sprites: Sprites,
    callbacks: Sequence[TrainerCallback],
    overwrite: bool,
    begin: Callable[[str], None],
) -> list[TrainingResult]:
    """Do what `train_members` does, in a run's folder that is locked; calls `begin` with each one's title."""
    trainings: list[TrainingResult] = []
    members = settings.each_member()
    if len(members) > 1:
        check_members(settings, overwrite)
        # What is old is nothing to resume from after a kill; the settings are written once it is gone.
        first = CHECKPOINTS / members[0].name
        old = [path for path in replaced_by_training(first.parent) if path != first] if overwrite else []
        callbacks = [*callbacks, _BegunAnew(old), _SaveSettings(settings)]
    for member in members:
        begin(_training_title(member))
        begins = overwrite or not last_checkpoint(CHECKPOINTS / member.name)
        # Measured anew, precision may come out otherwise; but what is finished was perhaps trained elsewhere.
        if begins and trainings and trainings[0].status != "nothing left to do":
            member = in_precision_of(trainings[0].settings, member)
        trainings.append(train(member, sprites, callbacks, overwrite))
        if trainings[-1].status == "interrupted":
            break
    return trainings


def _select_best(settings: Settings, sprites: Sprites) -> None:
    """Choose a run's best checkpoint, unless it is chosen already."""
    folder, selection = CHECKPOINTS / settings.name, settings.selection
    if not selection_is_current(folder, settings, sprites):
        select(folder, sprites, by=selection.by, on=selection.on, completion=settings.completion)


def _kept_submission(settings: Settings, sprites: Sprites) -> Submission | None:
    """Return this run's finished submission, if there is one."""
    facts = kept_submission(settings)
    if facts is None:
        return None
    file, sidecar, picture = submission_files(settings.name)
    if facts["sprites"]["fingerprint"] != sprites.fingerprint:
        raise of_another_run(settings)
    chosen, reason = Path(facts["checkpoint"]["folder"]), facts["checkpoint"]["chosen_for"]
    return Submission(file, sidecar, picture, chosen, reason, submission.check(file))


def _check_choice(kept: Submission, folder: Path, completion: CompletionSettings) -> None:
    """Make sure that a submission that was there already is of the checkpoint and detector of now."""
    chosen = choose_checkpoint(folder)
    facts = read_json(kept.sidecar)
    before = facts["checkpoint"]["sha256"], facts.get("ranked_by_detector")
    if before != (fingerprint_checkpoint(chosen.checkpoint), ranked_by(folder, completion)):
        raise PokemonGenError(
            f"{kept.file} exists, of another checkpoint ({kept.checkpoint}) or detector than those of now "
            f"({chosen.reason}), and is kept; `pokemon-gen submit {folder} --overwrite` replaces it"
        )
