"""Stops a training that has diverged, before its weights are saved, chosen or submitted.

`Trainer` logs a loss that is no number as 0.0 (`logging_nan_inf_filter`) and trains on, so that a diverged
run looks better than any other. Here the loss of every step is examined: on a CPU at once; on a GPU, where
reading a number waits for all the work before it, when something is logged, measured or saved.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import Trainer, TrainerCallback

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.hf_compat import quiet

SKIPPED_IN_A_ROW = 10
"""Steps in fp16 whose loss may overflow: the loss scaler skips them, and halves its scale each time."""


class DivergedError(PokemonGenError):
    """A training whose loss or weights are no finite numbers any more; `step` counts from 1."""

    def __init__(self, step: int, what: str = "the loss") -> None:
        """Name the step, and what of it is no number."""
        super().__init__(f"the training has diverged: {what} of step {step} is not a finite number")
        self.step = step


class FiniteLossTrainer(Trainer):
    """`Trainer` that raises `DivergedError` once the loss is no finite number."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what `Trainer` takes."""
        super().__init__(*args, **kwargs)
        self._first_bad = torch.zeros((), dtype=torch.long, device=self.args.device)  # 0: none
        self._last_step, self._first_before = 0, self._first_bad
        self.add_callback(_StopWhenDiverged(self))

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Take a step, and note it if it is the first of those with a bad loss."""
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        step, bad = self.state.global_step + 1, ~loss.detach().isfinite().all()
        if step == self._last_step:  # another batch of the same step, which is bad if any of them is
            bad |= self._first_bad > 0
        else:
            self._last_step, self._first_before = step, self._first_bad
        first = torch.where(self._first_before > 0, self._first_before, step)
        self._first_bad = torch.where(bad, first, 0)
        return loss

    def check_loss(self) -> None:
        """Raise `DivergedError` if the losses of the last steps are no finite numbers."""
        first = int(self._first_bad)
        scaled = self.accelerator.scaler is not None
        if first and self.state.global_step - first + 1 >= (SKIPPED_IN_A_ROW if scaled else 1):
            raise DivergedError(first)


class _StopWhenDiverged(TrainerCallback):
    """Looks at the loss as often as it costs nothing."""

    def __init__(self, trainer: FiniteLossTrainer) -> None:
        self.trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        waits_anyway = control.should_log or control.should_evaluate or control.should_save
        if args.device.type == "cpu" or waits_anyway or state.global_step >= state.max_steps:
            self.trainer.check_loss()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.check_loss()  # what is measured and saved at an epoch's end is asked for only now


def train_to_end(trainer: FiniteLossTrainer, title: str) -> None:
    """Train a helper, of which nothing is saved in between.

    Raises:
        PokemonGenError: if it diverges, naming it by its title.
    """
    try:
        with quiet():
            trainer.train()
    except DivergedError as error:
        raise PokemonGenError(f"{title}: {error}. Lower its learning_rate") from error
