"""`run`: the stages in order, sprites → train → detector → select → complete → submission → scorecard.

A run that was stopped resumes where it stopped: each stage knows whether its result exists and still holds.
What a stage does is in `stages/`; this module only calls them.
"""

import html
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, TrainerCallback

from pokemon_gen import submission
from pokemon_gen.constants import CHECKPOINTS, RESULTS, SUBMISSIONS
from pokemon_gen.discriminator.detector import ranked_by
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.inception import check_given_weights, weights_at_hand
from pokemon_gen.evaluation.inspection import Inspection, inspect_run
from pokemon_gen.files import read_json, remove, require_writable
from pokemon_gen.models.checkpoints import fingerprint_checkpoint
from pokemon_gen.models.choice import choose_checkpoint, resolve_checkpoint
from pokemon_gen.models.devices import best_device
from pokemon_gen.models.graphs import can_capture
from pokemon_gen.models.locks import writing_to
from pokemon_gen.models.runs import BEST_NAME, DETECTOR_NAME, SELECTION_NAME
from pokemon_gen.progress import SHARE_ON_A_GPU, RunProgress, stage_seconds
from pokemon_gen.report.html import HtmlPage
from pokemon_gen.selection import needs_detector, selection_is_current
from pokemon_gen.settings import CompletionSettings, Settings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.stages.detector import detector
from pokemon_gen.stages.ensemble import ensemble
from pokemon_gen.stages.kept import kept_submission, other_submission, submission_files
from pokemon_gen.stages.report import current_report, write_report
from pokemon_gen.stages.score import Score, current_score, score
from pokemon_gen.stages.select import check_selection, select
from pokemon_gen.stages.submit import Submission, run_submission
from pokemon_gen.stages.train import train_each, training_title
from pokemon_gen.training.callbacks import RestOfRun, SharedCallback
from pokemon_gen.training.extensions import (
    AugmentationFunction,
    Extensions,
    ModelFunction,
    OptimizerFunction,
    ScheduleFunction,
)
from pokemon_gen.training.members import check_members
from pokemon_gen.training.run import TrainingResult
from pokemon_gen.validation import check_settings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """What `run` did: one training per member, and no submission or score if one was interrupted."""

    trainings: list[TrainingResult[Settings]]
    submission: Submission | None
    score: Score | None
    report: HtmlPage | None

    def _repr_html_(self) -> str:
        """Show what was made and the scorecard in a notebook's cell."""
        files = "".join(f"<li><code>{html.escape(str(file))}</code></li>" for file in self.files)
        status = f"<p>{html.escape(self.training.status)}, step {self.training.step}</p><ul>{files}</ul>"
        return status + (self.score._repr_html_() if self.score else "")

    @property
    def training(self) -> TrainingResult[Settings]:
        """The last member's training, or the only one."""
        return self.trainings[-1]

    @property
    def files(self) -> list[Path]:
        """Every file and folder of the run's results, in the order they were written."""
        if self.submission is None or self.score is None:
            return [self.training.folder]
        made = self.submission
        pages = [self.report.file] if self.report else []
        return [made.checkpoint, made.file, made.sidecar, made.picture, self.score.file, *pages]


def run(
    settings: Settings,
    overwrite: bool = False,
    *,
    sprites: Sprites | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    augmentation: AugmentationFunction | None = None,
    optimizer: OptimizerFunction | None = None,
    schedule: ScheduleFunction | None = None,
    model: PreTrainedModel | ModelFunction | None = None,
) -> RunResult:
    """Do every stage of a run, or those that are left.

    Args:
        settings: the run.
        overwrite: start again and replace files that exist.
        sprites: to train and score with; None loads those of `settings.sprites`.
        callbacks: of `Trainer`; see `train`, as for all arguments below.
        augmentation: changes each batch.
        optimizer: makes the optimizer.
        schedule: gives the factor of the learning rate.
        model: to train, or a function that makes one.

    Raises:
        PokemonGenError: for bad settings or sprites and, before any training, for a submission of another
            run in the place of this one's.
    """
    check_settings(settings)
    sprites = sprites or load_sprites_of(settings.sprites)
    extensions = Extensions(augmentation, optimizer, schedule, model, callbacks)
    with writing_to(CHECKPOINTS / settings.name):
        return _run(settings, sprites, extensions, overwrite)


def run_to_submission(settings: Settings, sprites: Sprites, overwrite: bool) -> Submission | None:
    """Do a run up to its submission, without scorecard and report; return None if it is interrupted."""
    check_settings(settings)
    with writing_to(CHECKPOINTS / settings.name):
        return _run(settings, sprites, Extensions(), overwrite, scored=False).submission


def _run(
    settings: Settings, sprites: Sprites, extensions: Extensions, overwrite: bool, scored: bool = True
) -> RunResult:
    """Do what `run` does, while the run's folder is locked."""
    check_selection(settings, sprites, overwrite)
    check_given_weights()
    for folder in (SUBMISSIONS, RESULTS / settings.name):
        require_writable(folder)
    if settings.members > 1:
        check_members(settings, overwrite)
    kept = None if overwrite else _kept_submission(settings, sprites)
    progress = _progress(settings, scored)
    ours = [_RemoveOld(_replaced_by_run(settings) if overwrite else []), RestOfRun(progress.left_after)]
    extensions = extensions.with_callbacks(ours)
    trainings = train_each(settings, sprites, extensions, overwrite, progress.begin)
    if any(training.status == "interrupted" for training in trainings):
        return RunResult(trainings, None, None, None)
    if needs_detector(settings):
        progress.begin("detector")
        detector(settings, sprites, overwrite)
    progress.begin("select")
    for member in settings.each_member():
        _select_best(member, sprites)
    trained = settings.model_copy(update={"training": trainings[0].settings.training})
    _finish_best(trained, trainings)
    progress.begin("submit")
    made = _submission(trained, sprites, kept, overwrite)
    if not scored:
        return RunResult(trainings, made, None, None)
    progress.begin("score")
    score, inspection = _score(trained, sprites)
    progress.begin("report")
    return RunResult(trainings, made, score, _report(settings.name, sprites, inspection))


def _finish_best(settings: Settings, trainings: list[TrainingResult[Settings]]) -> None:
    """Combine the members, or record in `best/` how a single model completes now."""
    if settings.members > 1:
        ensemble(settings.name, [training.folder for training in trainings], True, settings)
    else:
        settings.save(CHECKPOINTS / settings.name / BEST_NAME)


def _submission(settings: Settings, sprites: Sprites, kept: Submission | None, overwrite: bool) -> Submission:
    """Return the submission that exists, after checking it, or write it."""
    folder = CHECKPOINTS / settings.name
    if kept:
        _log.debug("submit: %s exists", kept.file)
        _require_same_choice(kept, folder, settings.completion)
        return kept
    return run_submission(resolve_checkpoint(folder), sprites, overwrite)


def _score(settings: Settings, sprites: Sprites) -> tuple[Score, Inspection | None]:
    """Return the scorecard that exists and still holds, or compute it, with the completed dev prompts."""
    folder, completion = CHECKPOINTS / settings.name, settings.completion
    current = current_score(folder, sprites, completion)
    if current:
        _log.debug("score: %s still holds", current.file)
        return current, None
    inspection = inspect_run(resolve_checkpoint(folder), sprites)
    return score(folder, overwrite=True, inspection=inspection), inspection


def _report(name: str, sprites: Sprites, inspection: Inspection | None) -> HtmlPage:
    """Return the report that exists and still holds, or write it."""
    current = current_report(name, sprites)
    if current:
        _log.debug("report: %s still holds", current.file)
    return current or write_report(name, inspection=inspection)


def _progress(settings: Settings, scored: bool = True) -> RunProgress:
    """Return the stages of a run, with the seconds that each is expected to take."""
    trainings: dict[str, float | None] = dict.fromkeys(map(training_title, settings.each_member()))
    rest = stage_seconds(settings, needs_detector(settings), weights_at_hand())
    if not scored:
        rest = {title: seconds for title, seconds in rest.items() if title not in ("score", "report")}
    share = SHARE_ON_A_GPU if can_capture(best_device()) else 1.0
    return RunProgress({**trainings, **{title: share * seconds for title, seconds in rest.items()}})


def _replaced_by_run(settings: Settings) -> list[Path]:
    """Return what a run that starts again replaces outside its trainings."""
    return [submission_files(settings.name)[0], CHECKPOINTS / settings.name / DETECTOR_NAME]


class _RemoveOld(SharedCallback):
    """Removes the old results of a run when the training that replaces them begins.

    Until then a mistake could end the command, and nothing would be lost. After a kill in the middle, old
    results would be taken for the new run's.
    """

    def __init__(self, old: list[Path]) -> None:
        self.old = old

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        remove(self.old)
        self.old = []  # what later members write is new


def _select_best(settings: Settings, sprites: Sprites) -> None:
    """Choose a run's best checkpoint, unless the choice exists and still holds."""
    folder, selection = CHECKPOINTS / settings.name, settings.selection
    if selection_is_current(folder, settings, sprites):
        _log.debug("select: %s still holds", folder / SELECTION_NAME)
    else:
        select(folder, sprites, by=selection.by, on=selection.on, completion=settings.completion)


def _kept_submission(settings: Settings, sprites: Sprites) -> Submission | None:
    """Return this run's finished submission, if it exists."""
    metadata = kept_submission(settings)
    if metadata is None:
        return None
    file, sidecar, picture = submission_files(settings.name)
    if metadata["sprites"]["fingerprint"] != sprites.fingerprint:
        raise other_submission(settings)
    chosen, reason = Path(metadata["checkpoint"]["folder"]), metadata["checkpoint"]["chosen_for"]
    return Submission(file, sidecar, picture, chosen, reason, submission.check(file))


def _require_same_choice(kept: Submission, folder: Path, completion: CompletionSettings) -> None:
    """Check that an existing submission comes from the checkpoint and the detector of now."""
    chosen = choose_checkpoint(folder)
    metadata = read_json(kept.sidecar)
    before = metadata["checkpoint"]["sha256"], metadata.get("ranked_by_detector")
    if before != (fingerprint_checkpoint(chosen.folder), ranked_by(folder, completion)):
        raise PokemonGenError(
            f"{kept.file} exists and is kept. It comes from another checkpoint ({kept.checkpoint}) or "
            f"detector than this run has now ({chosen.reason}). `pokemon-gen submit {folder} --overwrite` "
            "replaces it."
        )
