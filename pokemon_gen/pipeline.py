"""The stages in order: sprites → train → detector → select → complete → submission → scorecard.

`run` does all of them and goes on where it stopped; what a stage does lives in `stages/` and in the room of
its name; here they only meet.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from pokemon_gen import submission
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.detector import lend_detector
from pokemon_gen.evaluation.inception import check_given_weights
from pokemon_gen.files import read_json
from pokemon_gen.models import fingerprint_checkpoint
from pokemon_gen.runs import CHECKPOINTS, DETECTOR_NAME, last_checkpoint
from pokemon_gen.selection import BEST_NAME, DetectorWatch, choose_checkpoint
from pokemon_gen.settings import CompletionSettings, Settings
from pokemon_gen.sprites import Sprites, load_sprites
from pokemon_gen.stages.assembling import assemble, check_place
from pokemon_gen.stages.completing import Submission, ranked_by, submission_files, submit_choice
from pokemon_gen.stages.judging import (
    check_selection,
    detector,
    detector_of,
    held_out_sprites,
    needs_detector,
    select,
    selection_is_current,
)
from pokemon_gen.stages.scoring import Score, current_score, score
from pokemon_gen.training import TrainingResult, check_training, in_precision_of
from pokemon_gen.training import train as train_model


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
    sprites = load_sprites(**settings.sprites.model_dump())
    check_selection(settings, sprites, overwrite)  # a mistake is told before the training
    check_given_weights()
    if settings.members > 1:
        check_place(settings.name, overwrite)
    kept = None if overwrite else _kept_submission(settings, sprites)
    if settings.selection.watch_epochs:
        check_training(_members(settings)[0], sprites, overwrite)  # a mistake is told before the detector's
        detector(settings, sprites, overwrite)  # it must be there to watch
    old = [submission_files(settings.name)[0]] if overwrite else []
    if overwrite and not settings.selection.watch_epochs:
        old.append(CHECKPOINTS / settings.name / DETECTOR_NAME)
    trainings = train_members(settings, sprites, [_BegunAnew(old)], overwrite)
    if trainings[-1].status == "interrupted":
        return RunResult(trainings, None, None)
    if needs_detector(settings) and not settings.selection.watch_epochs:
        detector(settings, sprites, overwrite)
    for member in _members(settings):
        _select_best(member, settings.name, sprites)
    folder, completion = CHECKPOINTS / settings.name, settings.completion
    trained = settings.model_copy(update={"training": trainings[0].settings.training})
    if settings.members > 1:
        assemble(settings.name, [training.folder for training in trainings], True, trained)
    else:
        trained.save(folder / BEST_NAME)  # how it completes may have changed since it was trained
    if kept:
        _check_choice(kept, folder, completion)
    made = kept or submit_choice(choose_checkpoint(folder), trained, sprites, overwrite)
    scored = current_score(folder, sprites, completion)
    return RunResult(
        trainings, made, scored or score(folder, overwrite=True, completion=completion, sprites=sprites)
    )


class _BegunAnew(TrainerCallback):
    """Throws away what was made of a run before, once the training that replaces it begins.

    Until then a mistake could have ended it, and nothing would have been lost; after a kill in the middle,
    what is old would be taken for the new run's.
    """

    def __init__(self, old: Sequence[Path]) -> None:
        self.old = old

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        for path in self.old:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self.old = []  # what later members make is new


def train(
    settings: Settings,
    sprites: Sprites | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    overwrite: bool = False,
) -> TrainingResult:
    """Train a run, watched by its detector if there is one and `selection.watch_epochs` asks for it.

    Raises:
        PokemonGenError: as `training.train`, and for an ensemble, which `train_members` trains.
    """
    if settings.members > 1:
        raise PokemonGenError(
            f"members: {settings.members}: this trains one model; train_members(settings) trains them all, "
            "and run(settings) puts them together"
        )
    sprites = sprites or load_sprites(**settings.sprites.model_dump())
    every = settings.selection.watch_epochs
    watcher = detector_of(CHECKPOINTS / settings.name, sprites) if every else None
    watch = [*callbacks]
    if watcher:
        truth = held_out_sprites(sprites, settings.selection.on)
        watch.append(DetectorWatch(watcher, truth, settings.completion, every))
    return train_model(settings, sprites, watch, overwrite)


def train_members(
    settings: Settings,
    sprites: Sprites | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    overwrite: bool = False,
) -> list[TrainingResult]:
    """Train a run, or the members of an ensemble in turn, up to the first that is interrupted; see `train`.

    Raises:
        PokemonGenError: as `training.train`.
    """
    sprites = sprites or load_sprites(**settings.sprites.model_dump())
    trainings: list[TrainingResult] = []
    members = _members(settings)
    if overwrite and len(members) > 1:  # what is old of it is nothing to go on with after a kill
        old = [CHECKPOINTS / settings.name / BEST_NAME, *(CHECKPOINTS / one.name for one in members[1:])]
        callbacks = [*callbacks, _BegunAnew(old)]
    for member in members:
        if settings.selection.watch_epochs:
            lend_detector(CHECKPOINTS / settings.name, CHECKPOINTS / member.name, replace=True)
        begins = overwrite or not last_checkpoint(CHECKPOINTS / member.name)
        # Measured anew, precision may come out otherwise; but what is finished was perhaps trained elsewhere.
        if begins and trainings and trainings[0].status != "nothing left to do":
            member = in_precision_of(trainings[0].settings, member)
        trainings.append(train(member, sprites, callbacks, overwrite))
        if trainings[-1].status == "interrupted":
            break
    return trainings


def _members(settings: Settings) -> list[Settings]:
    """Return the settings of each training: the run's own, or one for each member of an ensemble."""
    if settings.members == 1:
        return [settings]
    return [settings.of_member(number) for number in range(settings.members)]


def _select_best(settings: Settings, ensemble: str, sprites: Sprites) -> None:
    """Choose a run's best checkpoint, unless it is chosen already."""
    folder, selection = CHECKPOINTS / settings.name, settings.selection
    lend_detector(CHECKPOINTS / ensemble, folder, replace=True)
    if not selection_is_current(folder, settings, sprites):
        select(folder, sprites, by=selection.by, on=selection.on, completion=settings.completion)


def _kept_submission(settings: Settings, sprites: Sprites) -> Submission | None:
    """Return this run's finished submission, if there is one."""
    file, sidecar, picture = submission_files(settings.name)
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
        same = settings.same_as(facts["settings"])
        same = same and facts["sprites"]["fingerprint"] == sprites.fingerprint
        made = facts["checkpoint"]
        chosen, reason = Path(made["folder"]), made["chosen_for"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise PokemonGenError(f"{sidecar}: not a sidecar of a submission. {instead}") from error
    if not same:
        raise PokemonGenError(f"{file} exists, of other settings or sprites, and is kept. {instead}")
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
