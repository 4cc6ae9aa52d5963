"""The `Trainer` of every run: its optimizer, its schedule, and what a checkpoint carries.

What a batch is and what is measured depends on the data: `sprites.py` here, and `text/training.py`. Every
checkpoint carries its settings and what its data needs (a palette, a tokenizer), and none of our own pickles.
"""

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Generic

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel, ProgressCallback

from pokemon_gen.errors import PokemonGenError, first_line
from pokemon_gen.files import folder_or_nothing, share_files, write_json
from pokemon_gen.models.checkpoints import EXTENSIONS_NAME, UNLOGGED_NAME, read_unlogged_loss
from pokemon_gen.models.environment import ENVIRONMENT_NAME, environment
from pokemon_gen.models.loading import weights_not_finite
from pokemon_gen.models.manifest import write_manifest
from pokemon_gen.settings import RunKind, RunSettings
from pokemon_gen.training.arguments import RunTrainingArguments
from pokemon_gen.training.callbacks import (
    CurrentIntervals,
    RestOfRun,
    RotateCheckpoints,
    SaveAfterEvaluation,
    TrainingBar,
)
from pokemon_gen.training.divergence import DivergedError, FiniteLossTrainer
from pokemon_gen.training.extensions import (
    Extensions,
    ScheduleFunction,
    call_own,
    require_returned,
)
from pokemon_gen.training.hooks import HookedTrainer
from pokemon_gen.training.muon import Muon, MuonWithAux, hidden_weights


class TrainingData(ABC, Generic[RunKind]):
    """What a run learns from, and all of its training that depends on it.

    Attributes:
        noun: what a training sample is called in messages, in the plural.
    """

    noun: str

    @property
    @abstractmethod
    def origin(self) -> dict[str, str]:
        """The source and its fingerprint, which a checkpoint records."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Identifies the data: a run resumes only with the same."""

    @abstractmethod
    def count(self, settings: RunKind) -> int:
        """Return the number of training samples in an epoch."""

    @abstractmethod
    def fresh_model(self, settings: RunKind, extensions: Extensions) -> PreTrainedModel:
        """Return the model to train, with its first weights."""

    @abstractmethod
    def require_loadable(self, checkpoint: Path) -> None:
        """Check that a run can resume from the weights of a checkpoint.

        Raises:
            PokemonGenError: if one is missing, unexpected or not finite.
        """

    @abstractmethod
    def trainer(
        self,
        model: PreTrainedModel,
        arguments: RunTrainingArguments,
        settings: RunKind,
        extensions: Extensions,
    ) -> "RunTrainer":
        """Put model, data and arguments together into a `Trainer`."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write to a checkpoint what its model cannot be used without, and where the data came from."""


def finish_trainer(
    trainer: "RunTrainer", data: TrainingData[Any], settings: RunSettings, extensions: Extensions
) -> None:
    """Give a new `Trainer` its settings and callbacks."""
    arguments: RunTrainingArguments = trainer.args
    trainer.data, trainer.settings, trainer.extensions = data, settings, extensions
    trainer.own_code = extensions.describe()  # once: its file may be edited during the training
    trainer.capture, trainer.setting = arguments.capture, "training.capture"
    trainer.add_callback(CurrentIntervals())
    trainer.add_callback(SaveAfterEvaluation())
    trainer.add_callback(RotateCheckpoints(arguments.save_total_limit))
    arguments.save_total_limit = None  # `Trainer` would remove checkpoints by their modification times
    for callback in extensions.callbacks:
        trainer.add_callback(callback)
    if not arguments.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
        rest = (callback for callback in extensions.callbacks if isinstance(callback, RestOfRun))
        trainer.add_callback(TrainingBar(next(rest, None)))


def _factor(schedule: ScheduleFunction, step: int, steps: int) -> float:
    """Return the factor of the learning rate that the person's own schedule gives.

    Raises:
        PokemonGenError: if it is not a finite number.
    """
    factor = call_own("schedule", schedule, step, steps)
    if not isinstance(factor, numbers.Real) or not math.isfinite(factor):
        raise PokemonGenError(
            f"schedule: your function must return a finite number, not {factor!r} (step {step} of {steps})."
        )
    return float(factor)


class RunTrainer(HookedTrainer, FiniteLossTrainer):
    """`Trainer` with Muon and a person's own code, which saves what a checkpoint needs."""

    data: TrainingData[Any]
    settings: RunSettings
    extensions: Extensions
    own_code: dict[str, str]
    lr_scheduler: Any
    _before: tuple[float, int] | None = None

    def try_own_code(self) -> None:
        """Try the parts of a person's own code that a step would call; nothing by default."""

    def prediction_step(self, *args: Any, **kwargs: Any) -> Any:
        """Predict a batch of dev."""
        with torch.compiler.set_stance("force_eager"):  # a few batches do not pay for another compilation
            return super().prediction_step(*args, **kwargs)

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """Return which parameters decay: all, or those that `Trainer` chooses (no biases, no norms)."""
        if self.args.decay_every_parameter:
            return [name for name, _ in model.named_parameters()]
        return super().get_decay_parameter_names(model)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Make the person's own optimizer, or the one that the arguments name, with Muon for the matrices."""
        if self.optimizer is None and self.extensions.optimizer is not None:
            self.optimizer = call_own("optimizer", self.extensions.optimizer, self.model, self.args)
            require_returned("optimizer", self.optimizer, torch.optim.Optimizer)
        if self.optimizer is None and self.args.muon_learning_rate:
            args, hidden = self.args, hidden_weights(self.model)
            dtype = torch.bfloat16 if args.bf16 else torch.float32
            muon = Muon(hidden, args.muon_learning_rate, args.muon_weight_decay, dtype)
            self.optimizer = MuonWithAux(super().create_optimizer(model), muon)
        return super().create_optimizer(model)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Make the person's own schedule, or the one that the arguments name."""
        factor = self.extensions.schedule
        if self.lr_scheduler is None and factor is not None:
            target: Any = self.optimizer if optimizer is None else optimizer
            self.lr_scheduler = LambdaLR(target, lambda step: _factor(factor, step, num_training_steps))
        return super().create_scheduler(num_training_steps, optimizer)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Return all of dev: `dataloader_drop_last` is meant for the batches to learn from."""
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = drop_last

    @contextmanager
    def loading_state(self, checkpoint: Path) -> Iterator[None]:
        """Load an optimizer, a schedule or random states.

        Raises:
            PokemonGenError: if they are of another run, or hold something else than tensors and numbers.
        """
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, UnpicklingError) as error:
            raise PokemonGenError(
                f"{checkpoint}: optimizer.pt, scheduler.pt or rng_state.pth is not of this run: "
                f"{first_line(error)}. Delete this checkpoint to resume from the one before it."
            ) from error

    def optimizer_loaded(self, checkpoint: Path) -> None:
        """Check the optimizer's state, and read the losses that were not logged before the checkpoint."""
        _check_shapes(getattr(self.optimizer, "optimizer", self.optimizer))
        self._before = read_unlogged_loss(checkpoint)

    @contextmanager
    def saving(self, folder: Path) -> Iterator[None]:
        """Save a checkpoint and, last of all, its manifest; on a full disk, leave none half written.

        `Trainer` logs the mean of the losses since the last log. After a resume it would lack those before
        the checkpoint, so their sum is saved too, and first: with the state of `Trainer`, which it writes
        last, a checkpoint has everything that a training resumes from.

        Raises:
            PokemonGenError: if it cannot be written.
        """
        with folder_or_nothing(folder):
            unlogged = {"sum": float(self.unlogged_loss), "after_step": self.last_logged_step}
            write_json(folder / UNLOGGED_NAME, unlogged)
            yield
            write_manifest(folder)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Take a step; the first one after a resume also returns the losses that were not logged before."""
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        if self._before is not None:
            (total, self.last_logged_step), self._before = self._before, None
            loss = loss.float() + total
        return loss

    def save_model(self, output_dir: str | None = None, *args: Any, **kwargs: Any) -> None:
        """Save weights and config together with the settings and what the data needs.

        Raises:
            DivergedError: if the loss or a weight is not finite.
        """
        self.check_loss()
        if weights_not_finite(self.model):
            step = self.state.global_step
            raise DivergedError(step, self.place_of(step), "a weight")
        super().save_model(output_dir, *args, **kwargs)
        folder = Path(output_dir or self.args.output_dir)
        self.data.save(folder)
        self.settings.save(folder)
        write_json(folder / ENVIRONMENT_NAME, environment())
        if self.own_code:
            write_json(folder / EXTENSIONS_NAME, self.own_code)
        share_files(folder, like=folder / ENVIRONMENT_NAME)
        # A pickle that nothing loads: a checkpoint that is shared is safer without it.
        (folder / "training_args.bin").unlink(missing_ok=True)


def _check_shapes(optimizer: torch.optim.Optimizer) -> None:
    """Check that an optimizer's state belongs to its parameters, which torch does not.

    Raises:
        ValueError: if it does not.
    """
    for parameter, state in optimizer.state.items():
        sizes = [value.numel() for value in state.values() if isinstance(value, Tensor) and value.dim()]
        if isinstance(parameter, Tensor) and any(size != parameter.numel() for size in sizes):
            raise ValueError(f"the optimizer has {sizes[0]} values for {parameter.numel()} weights")
