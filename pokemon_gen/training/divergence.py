"""Stops a training that diverged before its weights are saved, chosen or submitted.

`Trainer` logs a loss of NaN as 0.0 (`logging_nan_inf_filter`) and continues, so that a diverged run looks
better than any other. Here the loss of every step is examined: on a CPU at once; on a GPU, where reading a
number waits for all work before it, whenever something is logged, evaluated or saved.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import ProgressCallback, TrainerCallback

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.devices import best_device, describe_memory
from pokemon_gen.models.hf_compat import quiet
from pokemon_gen.training.captured import CapturingTrainer

SKIPPED_IN_A_ROW = 10
"""fp16 steps in a row whose loss may overflow: the loss scaler skips them and halves its scale each time."""


class DivergedError(PokemonGenError):
    """A loss or a weight is not a finite number; `step` counts from 1."""

    def __init__(self, step: int, place: str, what: str = "the loss") -> None:
        """Name the step and its place in the epoch, and what is not finite there."""
        super().__init__(f"the training diverged: {what} is not a finite number at step {step} ({place})")
        self.step = step


class FiniteLossTrainer(CapturingTrainer):
    """`Trainer` that raises `DivergedError` when the loss is not finite."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take the arguments of `Trainer`."""
        super().__init__(*args, **kwargs)
        self._first_bad = torch.zeros((), dtype=torch.long, device=self.args.device)  # 0: none
        self._last_step, self._first_before = 0, self._first_bad
        self.add_callback(_StopWhenDiverged(self))

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Take a step, and record it if it begins a series of steps with a bad loss."""
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        step, bad = self.state.global_step + 1, ~loss.detach().isfinite().all()
        if step == self._last_step:  # another batch of the same step: one bad batch makes the step bad
            bad |= self._first_bad > 0
        else:
            self._last_step, self._first_before = step, self._first_bad
        first = torch.where(self._first_before > 0, self._first_before, step)
        self._first_bad = torch.where(bad, first, 0)
        return loss

    def check_loss(self) -> None:
        """Raise `DivergedError` if the losses of the last steps are not finite."""
        first = int(self._first_bad)
        scaled = self.accelerator.scaler is not None
        if first and self.state.global_step - first + 1 >= (SKIPPED_IN_A_ROW if scaled else 1):
            raise DivergedError(first, self.place_of(first))

    def place_of(self, step: int) -> str:
        """Return in words which batches of which epoch a step takes; steps count from 1."""
        batches = math.ceil(len(self.train_dataset) / self.args.train_batch_size)
        each = self.args.gradient_accumulation_steps
        before, number = divmod(step - 1, math.ceil(batches / each))
        first, last = number * each + 1, min((number + 1) * each, batches)
        which = f"batch {first}" if first == last else f"batches {first} to {last}"
        return f"{which} of {batches} in epoch {before + 1}"


class _StopWhenDiverged(TrainerCallback):
    """Examines the loss whenever that costs no waiting."""

    def __init__(self, trainer: FiniteLossTrainer) -> None:
        self.trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        waits_anyway = control.should_log or control.should_evaluate or control.should_save
        if args.device.type == "cpu" or waits_anyway or state.global_step >= state.max_steps:
            self.trainer.check_loss()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.check_loss()  # the evaluation and the save of an epoch's end are requested only now


def train_to_end(make_trainer: Callable[[], FiniteLossTrainer], title: str) -> None:
    """Make the `Trainer` of an auxiliary training, which saves nothing on the way, and run it.

    Raises:
        PokemonGenError: if it diverges or does not fit in memory, naming it by its title.
    """
    try:
        with quiet():
            trainer = make_trainer()
            trainer.remove_callback(ProgressCallback)
            trainer.train()
    except DivergedError as error:
        raise PokemonGenError(f"{title}: {error}. Lower its learning_rate.") from error
    except torch.OutOfMemoryError as error:
        memory = describe_memory(best_device())
        raise PokemonGenError(
            f"{title}: its training does not fit in {memory}. Lower the batch_size of this generator or "
            "classifier, or end other processes."
        ) from error
