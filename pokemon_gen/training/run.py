"""One run: trained with the Hugging Face `Trainer`, or resumed from its last valid checkpoint.

Mistakes are reported before anything is replaced, Ctrl-C leaves a checkpoint, and training the same run again
resumes it. What is learned and measured is in `trainer.py`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal

import torch
from transformers import PreTrainedModel, TrainerCallback

from pokemon_gen.config_files.loading import load_saved
from pokemon_gen.constants import CHECKPOINTS
from pokemon_gen.errors import PokemonGenError, first_line
from pokemon_gen.models.checkpoints import log_history, step_of
from pokemon_gen.models.devices import describe_memory
from pokemon_gen.models.hf_compat import quiet
from pokemon_gen.models.locks import writing_to
from pokemon_gen.models.runs import is_member, last_checkpoint, valid_checkpoints
from pokemon_gen.settings import PRECISION, RunKind, RunSettings, Settings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.training.arguments import (
    RunTrainingArguments,
    count_steps,
    fit_schedule,
    set_attention,
    training_arguments,
)
from pokemon_gen.training.callbacks import PrepareFolder, stop_on_signal
from pokemon_gen.training.captured import why_not_captured
from pokemon_gen.training.compiling import compile_if_possible
from pokemon_gen.training.divergence import DivergedError
from pokemon_gen.training.extensions import (
    AugmentationFunction,
    Extensions,
    ModelFunction,
    OptimizerFunction,
    ScheduleFunction,
    check_same_code,
    with_named,
)
from pokemon_gen.training.precision import choose_precision
from pokemon_gen.training.resuming import (
    replaced_by_training,
    resumable_checkpoint,
    starting_point,
)
from pokemon_gen.training.sprites import SpriteData
from pokemon_gen.training.trainer import RunTrainer, TrainingData
from pokemon_gen.validation import check_fields

_log = logging.getLogger(__name__)
Status = Literal["finished", "interrupted", "nothing left to do"]


@dataclass(frozen=True)
class TrainingResult(Generic[RunKind]):
    """What a call of `train` did.

    Attributes:
        folder: the run's folder.
        settings: of the run, with the precision that was chosen.
        status: `finished`, `interrupted` (a checkpoint was saved) or `nothing left to do`.
        step: optimizer steps since the run started.
        max_steps: optimizer steps of the whole run.
        dev_nll: of the last evaluation, in nats/token over all predicted tokens.
        dev_completion_nll: the same over the completion's 160 tokens; None for text.
    """

    folder: Path
    settings: RunKind = field(repr=False)
    status: Status
    step: int
    max_steps: int
    dev_nll: float | None
    dev_completion_nll: float | None


def train(
    settings: Settings,
    sprites: Sprites | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    overwrite: bool = False,
    *,
    augmentation: AugmentationFunction | None = None,
    optimizer: OptimizerFunction | None = None,
    schedule: ScheduleFunction | None = None,
    model: PreTrainedModel | ModelFunction | None = None,
) -> TrainingResult[Settings]:
    """Train a run of one model, or resume it from its last valid checkpoint.

    Args:
        settings: the run.
        sprites: to train on; None loads those of `settings.sprites`.
        callbacks: of `Trainer`, added to ours.
        overwrite: start again and replace what the run's folder holds, except for its detector.
        augmentation: changes each batch, (B, 400) tokens and a generator → (B, 400), before `augmentation:`.
        optimizer: the model and the arguments → an optimizer, in place of `training.optim` and Muon.
        schedule: a step and the steps of the run → the factor of the learning rate.
        model: a model with fresh weights, or a function that makes one of a vocabulary's size and a seed.

    Returns:
        What was done; checkpoints are in `checkpoints/<name>/checkpoint-<step>/`.

    Raises:
        PokemonGenError: for settings that do not fit, a run of other settings under this name, or an
            ensemble.
    """
    if settings.members > 1:
        raise PokemonGenError(
            f"members: {settings.members}: `train` trains one model. `train_members(settings)` trains all "
            "of them, and `run(settings)` combines them."
        )
    extensions = Extensions(augmentation, optimizer, schedule, model, callbacks)
    data = SpriteData(sprites or load_sprites_of(settings.sprites))
    return train_extended(settings, data, extensions, overwrite)


def train_extended(
    settings: RunKind, data: TrainingData[RunKind], extensions: Extensions, overwrite: bool
) -> TrainingResult[RunKind]:
    """Train a run on any data with a person's own code; see `train`."""
    with writing_to(CHECKPOINTS / settings.name):
        return _train(settings, data, extensions, overwrite)


def _train(
    settings: RunKind, data: TrainingData[RunKind], extensions: Extensions, overwrite: bool
) -> TrainingResult[RunKind]:
    """Do what `train` does, while the run's folder is locked."""
    training = ready_training(settings, data, extensions, overwrite)
    return training if isinstance(training, TrainingResult) else train_alone(training)


@dataclass(frozen=True)
class Training(Generic[RunKind]):
    """A training that is ready to start.

    Attributes:
        folder: the run's folder.
        settings: of the run, with the precision that was chosen.
        trainer: with model and optimizer.
        checkpoint: from which it resumes, if it does.
        max_steps: of the whole run.
    """

    folder: Path
    settings: RunKind
    trainer: RunTrainer
    checkpoint: Path | None
    max_steps: int


def ready_training(
    settings: RunKind, data: TrainingData[RunKind], extensions: Extensions, overwrite: bool
) -> Training[RunKind] | TrainingResult[RunKind]:
    """Prepare a training, or return the result of one of which nothing is left.

    Nothing is replaced yet, and all mistakes in the settings are reported.

    Raises:
        PokemonGenError: as `train`.
    """
    folder = CHECKPOINTS / settings.name
    checkpoint, settings = starting_point(settings, data.fingerprint, data.noun, overwrite)
    max_steps = planned_steps(settings, folder, data.count(settings), data.noun)
    with settings.placing_errors():
        extensions = with_named(extensions, settings)
    if checkpoint:
        check_same_code(extensions, checkpoint)
    if checkpoint and step_of(checkpoint) >= max_steps:
        settings = in_precision_of(load_saved(type(settings), checkpoint), settings)
        return _result(folder, settings, "nothing left to do", checkpoint, max_steps)
    model, arguments, settings = prepare(settings, data, folder, extensions, checkpoint)
    if checkpoint:
        checkpoint = resumable_checkpoint(folder, arguments.fp16)
        data.require_loadable(checkpoint)  # `Trainer` only warns of weights that are missing
    trainer = _ready_trainer(model, arguments, data, settings, extensions)
    replaced = [] if checkpoint else replaced_by_training(folder)
    # The first callback, so that no other one writes to the folder before.
    trainer.callback_handler.callbacks.insert(0, PrepareFolder(folder, settings, replaced))
    return Training(folder, settings, trainer, checkpoint, max_steps)


def train_alone(training: Training[RunKind]) -> TrainingResult[RunKind]:
    """Run a training until it ends or is interrupted by a signal.

    Raises:
        PokemonGenError: as `run_training`.
    """
    with quiet(), stop_on_signal([training.trainer]):
        run_training(training)
    return result_of(training)


def result_of(training: Training[RunKind]) -> TrainingResult[RunKind]:
    """Return what a training that has run has reached.

    Raises:
        PokemonGenError: if no checkpoint was saved.
    """
    folder, max_steps = training.folder, training.max_steps
    saved = {step_of(one): one for one in valid_checkpoints(folder)}
    if not saved:
        raise PokemonGenError(f"{folder}: the training was stopped before a checkpoint was saved")
    # A checkpoint of a later step may exist from which the run could not resume.
    reached = saved.get(training.trainer.state.global_step, saved[max(saved)])
    status: Status = "finished" if step_of(reached) >= max_steps else "interrupted"
    return _result(folder, training.settings, status, reached, max_steps)


def planned_steps(settings: RunSettings, folder: Path, samples: int, noun: str = SpriteData.noun) -> int:
    """Return the steps of the whole run; a finished run in fp16 is counted also where there is no GPU.

    Args:
        settings: of the run.
        folder: of the run; nothing is written there.
        samples: the number of training samples in an epoch.
        noun: what a sample is called, in the plural.

    Raises:
        PokemonGenError: for a mistaken field, or if every batch would be dropped.
    """
    check_fields(settings)
    with settings.placing_errors():
        arguments = training_arguments(settings.with_training(**dict.fromkeys(PRECISION, False)), folder)
    return count_steps(arguments, samples, noun)


def prepare(
    settings: RunKind,
    data: TrainingData[RunKind],
    folder: Path,
    extensions: Extensions | None = None,
    checkpoint: Path | None = None,
) -> tuple[PreTrainedModel, RunTrainingArguments, RunKind]:
    """Make a run's model and arguments; the settings come back with the precision that was chosen.

    Args:
        settings: the run.
        data: that it learns from.
        folder: receives the checkpoints.
        extensions: a person's own code.
        checkpoint: from which the run resumes. It takes the place of `start_from`, which may be gone.

    Raises:
        PokemonGenError: for a mistaken field, with its place in the config's file.
    """
    check_fields(settings)
    with settings.placing_errors():
        start = str(checkpoint) if checkpoint and settings.start_from else settings.start_from
        fresh = settings.model_copy(update={"start_from": start})
        model = data.fresh_model(fresh, extensions or Extensions())
        settings = _with_chosen_precision(settings)
        arguments = training_arguments(settings, folder)
        set_attention(model, arguments)
    return model, arguments, settings


def _with_chosen_precision(settings: RunKind) -> RunKind:
    """Write the precision into the settings, so that a run keeps it wherever it is resumed."""
    given = settings.training
    if any(key in given for key in PRECISION):
        _log.debug("precision: as the settings say")
        return settings.with_training(**{key: given.get(key, False) for key in PRECISION})
    chosen = choose_precision(bool(given.get("use_cpu")))
    if chosen["bf16"]:
        _log.debug("precision: bf16, since it is native here")
    else:
        _log.info("precision: fp32, since bf16 is not native here")
    return settings.with_training(**chosen)


def in_precision_of(trained: RunSettings, settings: RunKind) -> RunKind:
    """Return settings in the precision that another run was trained in."""
    return settings.with_training(**{key: trained.training[key] for key in PRECISION})


def _ready_trainer(
    model: PreTrainedModel,
    arguments: RunTrainingArguments,
    data: TrainingData[RunKind],
    settings: RunKind,
    extensions: Extensions,
) -> RunTrainer:
    """Return a `Trainer` that is ready to start, with its optimizer.

    Raises:
        PokemonGenError: for a schedule that does not fit, or a package that is not installed.
    """
    max_steps = count_steps(arguments, data.count(settings), data.noun)
    fit_schedule(arguments, max_steps)
    capturing = why_not_captured(arguments, arguments.capture) is None and extensions.optimizer is None
    compile_if_possible(model, arguments, max_steps, capturing)
    try:
        trainer = data.trainer(model, arguments, settings, extensions)
        trainer.get_train_dataloader()  # `train` makes another one, but keeps the optimizer
        trainer.create_optimizer()
        trainer.try_own_code()
        trainer.require_capture()
    except PokemonGenError:
        raise
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(arguments, data.noun) from error
    except (ValueError, TypeError, RuntimeError, ImportError) as error:
        raise PokemonGenError(f"training: {error}") from error
    except Exception as error:  # the hub's client and the packages under it have no common base error
        if not arguments.push_to_hub:
            raise
        reason = first_line(error)
        raise PokemonGenError(
            f"training.push_to_hub: the hub cannot be used: {reason} Log in with `hf auth login`, or remove "
            "push_to_hub and upload the finished checkpoint."
        ) from error
    return trainer


def run_training(training: Training[Any]) -> None:
    """Run a training until it ends, is asked to stop, or diverges.

    Raises:
        PokemonGenError: if it diverges, does not fit in memory, or needs a package that is not installed.
    """
    arguments: RunTrainingArguments = training.trainer.args
    checkpoint = training.checkpoint
    try:
        training.trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except ImportError as error:  # some packages are imported only now
        raise PokemonGenError(f"training: {error}") from error
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(arguments, training.trainer.data.noun) from error
    except DivergedError as error:
        raise _diverged(error, training.folder, arguments) from error


def _out_of_memory(arguments: RunTrainingArguments, noun: str) -> PokemonGenError:
    """Return the error of a training that does not fit in memory, with what to do."""
    setting, size = "training.per_device_train_batch_size", arguments.per_device_train_batch_size
    advice = "Use a smaller model"
    if size > 1:
        advice = (
            f"Halve it ({setting}={size // 2}) and double training.gradient_accumulation_steps (is "
            f"{arguments.gradient_accumulation_steps}), which learns the same from each step, in a new run "
            "(name=... or --overwrite)"
        )
    if is_member(Path(arguments.output_dir)):
        advice += ". Or train the members one after another (training.capture=false)"
    memory = describe_memory(arguments.device)
    return PokemonGenError(f"{setting}: a step with {size} {noun} does not fit in {memory}. {advice}.")


def _diverged(error: DivergedError, folder: Path, arguments: RunTrainingArguments) -> PokemonGenError:
    """Return the error of a training that diverged, with what to do."""
    good = last_checkpoint(folder)
    left = f"The last good checkpoint is {good}" if good else "No checkpoint was saved before"
    rates = {"learning_rate": arguments.learning_rate, "muon_learning_rate": arguments.muon_learning_rate}
    tried = " and ".join(f"training.{name} (is {rate:g})" for name, rate in rates.items() if rate)
    return PokemonGenError(
        f"{folder}: {error}. {left}. Lower {tried} and start again (--overwrite, or another name=...)."
    )


def _result(
    folder: Path, settings: RunKind, status: Status, checkpoint: Path, max_steps: int
) -> TrainingResult[RunKind]:
    dev: dict[str, float] = {}
    for entry in log_history(checkpoint):
        dev.update({key: value for key, value in entry.items() if key.startswith("eval_")})
    nll, completion_nll = dev.get("eval_nll"), dev.get("eval_completion_nll")
    return TrainingResult(folder, settings, status, step_of(checkpoint), max_steps, nll, completion_nll)
