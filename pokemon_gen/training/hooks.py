"""Public hooks around what `Trainer` does in private methods: saving a checkpoint and resuming from one.

Like `models/hf_compat.py`, which must not import `Trainer`, this module is the only one that uses these
methods; they were found in transformers 5.12 to 5.24. If a release renames one, the tests of resuming fail.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import Trainer


class HookedTrainer(Trainer):
    """`Trainer` that lets a subclass surround the saving of a checkpoint and the resuming from one.

    Attributes:
        unlogged_loss: the sum of the losses since the last log.
    """

    unlogged_loss: Tensor | float = 0.0

    @property
    def last_logged_step(self) -> int:
        """The step of the last log, from which on `Trainer` averages the loss."""
        return int(self._globalstep_last_logged)

    @last_logged_step.setter
    def last_logged_step(self, step: int) -> None:
        self._globalstep_last_logged = step

    @contextmanager
    def saving(self, folder: Path) -> Iterator[None]:
        """Surround the saving of a checkpoint to a folder."""
        yield

    @contextmanager
    def loading_state(self, checkpoint: Path) -> Iterator[None]:
        """Surround the loading of an optimizer, a schedule or random states."""
        yield

    def optimizer_loaded(self, checkpoint: Path) -> None:
        """Do something after the optimizer's state is loaded, before the first step."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with self.saving(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"):
            super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
        if checkpoint is not None:
            with self.loading_state(Path(checkpoint)):
                super()._load_optimizer_and_scheduler(checkpoint)
                self.optimizer_loaded(Path(checkpoint))

    def _load_rng_state(self, checkpoint: Any) -> None:
        if checkpoint is not None:
            with self.loading_state(Path(checkpoint)):
                super()._load_rng_state(checkpoint)

    def _maybe_log_save_evaluate(self, tr_loss: Tensor, *args: Any, **kwargs: Any) -> None:
        self.unlogged_loss = tr_loss
        super()._maybe_log_save_evaluate(tr_loss, *args, **kwargs)
