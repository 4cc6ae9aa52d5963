"""`pokemon-gen train`: train a run, or the members of an ensemble, or resume them.

On a GPU that captures their steps, the members train side by side; elsewhere one after another.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from transformers import PreTrainedModel, TrainerCallback

from pokemon_gen.constants import CHECKPOINTS
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.locks import writing_to
from pokemon_gen.models.runs import is_member, last_checkpoint
from pokemon_gen.settings import PRECISION, Settings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.training.callbacks import PrepareFolder, SharedCallback
from pokemon_gen.training.extensions import (
    AugmentationFunction,
    Extensions,
    ModelFunction,
    OptimizerFunction,
    ScheduleFunction,
    require_one_model,
)
from pokemon_gen.training.members import check_members
from pokemon_gen.training.resuming import replaced_by_training
from pokemon_gen.training.run import (
    Training,
    TrainingResult,
    in_precision_of,
    ready_training,
    result_of,
    train_alone,
    train_extended,
)
from pokemon_gen.training.side_by_side import train_side_by_side
from pokemon_gen.training.sprites import SpriteData

_log = logging.getLogger(__name__)
TOGETHER = 8
"""The most members that train side by side: more would share streams, and need more memory."""


def train_members(
    settings: Settings,
    sprites: Sprites | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    overwrite: bool = False,
    *,
    augmentation: AugmentationFunction | None = None,
    optimizer: OptimizerFunction | None = None,
    schedule: ScheduleFunction | None = None,
    model: PreTrainedModel | ModelFunction | None = None,
) -> list[TrainingResult[Settings]]:
    """Train a run, or the members of an ensemble until one is interrupted.

    The run of member N is `checkpoints/<name>/member-N/`.

    Args:
        settings: the run.
        sprites: to train on; None loads those of `settings.sprites`.
        callbacks: see `train`, as for all arguments below.
        overwrite: start again.
        augmentation: changes each batch.
        optimizer: makes the optimizer.
        schedule: gives the factor of the learning rate.
        model: for members, a function that makes one.

    Raises:
        PokemonGenError: as `train`.
    """
    extensions = Extensions(augmentation, optimizer, schedule, model, callbacks)
    sprites = sprites or load_sprites_of(settings.sprites)
    with writing_to(CHECKPOINTS / settings.name):
        return train_each(settings, sprites, extensions, overwrite, lambda title: None)


def train_each(
    settings: Settings,
    sprites: Sprites,
    extensions: Extensions,
    overwrite: bool,
    begin: Callable[[str], None],
) -> list[TrainingResult[Settings]]:
    """Do what `train_members` does, while the run's folder is locked.

    Args:
        settings: the run.
        sprites: to train on.
        extensions: a person's own code.
        overwrite: start again.
        begin: is called with the title of each training before it starts.
    """
    require_one_model(extensions, settings.members)
    if settings.members == 1:
        begin(training_title(settings))
        return [train_extended(settings, SpriteData(sprites), extensions, overwrite)]
    check_members(settings, overwrite)
    together = all(isinstance(callback, SharedCallback) for callback in extensions.callbacks)
    extensions = _preparing_folder(settings, extensions, overwrite)
    results: list[TrainingResult[Settings] | Training[Settings]] = []
    for member in settings.each_member():
        starts = overwrite or not last_checkpoint(CHECKPOINTS / member.name)
        # A finished member may have been trained on other hardware, and its precision may not suit this one.
        if starts and results and not _is_finished(results[0]):
            member = in_precision_of(results[0].settings, member)
        training = ready_training(member, SpriteData(sprites), extensions, overwrite)
        if isinstance(training, Training) and not (together and training.trainer.why_not_captured() is None):
            begin(training_title(member))
            training = train_alone(training)
        results.append(training)
        if isinstance(training, TrainingResult) and training.status == "interrupted":
            return [one for one in results if isinstance(one, TrainingResult)]
    waiting = [training for training in results if isinstance(training, Training)]
    if waiting:
        begin(training_title(settings.each_member()[-1]))  # the last one, so that none is expected after it
    trained = _train_together(waiting)
    found = (one if isinstance(one, TrainingResult) else trained.get(one.folder) for one in results)
    return [result for result in found if result]


def _train_together(trainings: Sequence[Training[Settings]]) -> dict[Path, TrainingResult[Settings]]:
    """Train members side by side, some at a time, until one is interrupted; return results by folder."""
    _require_one_precision(trainings)
    results: dict[Path, TrainingResult[Settings]] = {}
    for start in range(0, len(trainings), TOGETHER):
        group = trainings[start : start + TOGETHER]
        _log.info("%d members train side by side", len(group))
        train_side_by_side(group)
        results |= {training.folder: result_of(training) for training in group}
        if any(result.status == "interrupted" for result in results.values()):
            break
    return results


def _require_one_precision(trainings: Sequence[Training[Settings]]) -> None:
    """Refuse to train members of different precisions together, because a process has one.

    Raises:
        PokemonGenError: naming them.
    """
    formats = {
        tuple(bool(training.settings.training.get(key)) for key in PRECISION) for training in trainings
    }
    if len(formats) > 1:
        raise PokemonGenError(
            f"{trainings[0].folder.parent}: its members started in different precisions, and a process "
            "trains in one. Resume them one after another with training.capture=false."
        )


def _is_finished(training: Training[Settings] | TrainingResult[Settings]) -> bool:
    """Tell whether nothing was left of a training."""
    return isinstance(training, TrainingResult) and training.status == "nothing left to do"


def training_title(settings: Settings) -> str:
    """Return the title of the training of a run, or of an ensemble's member."""
    run = Path(settings.name)
    return f"train {run.name}" if is_member(run) else "train"


def _preparing_folder(settings: Settings, extensions: Extensions, overwrite: bool) -> Extensions:
    """Add the callback that prepares an ensemble's folder when the first training in it begins.

    What is replaced is removed only then: until then a mistake could end the command, and after a kill the
    old files would be taken for the new run's.
    """
    folder = CHECKPOINTS / settings.name
    first = CHECKPOINTS / settings.each_member()[0].name
    replaced = [path for path in replaced_by_training(folder) if path != first] if overwrite else []
    prepare = PrepareFolder(folder, settings, replaced)
    return extensions.with_callbacks([prepare])
