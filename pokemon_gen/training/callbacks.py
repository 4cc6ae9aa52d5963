"""Callbacks of a training: the progress bar, stopping with a checkpoint, and when checkpoints are saved.

The callbacks that change when `Trainer` saves keep one promise: a run that was killed and resumed ends with
the same weights and the same log as one that was never stopped.
"""

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import ProgressCallback, Trainer, TrainerCallback

from pokemon_gen.bars import progress_bar
from pokemon_gen.files import remove
from pokemon_gen.models.checkpoints import step_of
from pokemon_gen.models.runs import named_checkpoints
from pokemon_gen.progress import show_seconds
from pokemon_gen.settings import RunSettings


class SharedCallback(TrainerCallback):
    """A callback that several trainings at once may share, since it keeps nothing of any one of them."""


class RestOfRun(SharedCallback):
    """Gives the progress bar the time that the stages after the training will take."""

    def __init__(self, seconds: Callable[[float], float]) -> None:
        """Hold a function: the seconds of a whole training → the seconds of the stages after it."""
        self.seconds = seconds


class TrainingBar(ProgressCallback):
    """One bar for the whole training, with the last metrics and the time left."""

    def __init__(self, rest: RestOfRun | None = None) -> None:
        """Show one bar; `rest` belongs to the run that the training is part of."""
        super().__init__()
        self.rest = rest

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar at the step from which the training resumes."""
        self.current_step = state.global_step
        self.training_bar = progress_bar(state.max_steps, "train", "step", start=state.global_step)
        self.metrics: dict[str, str] = {}
        self.begun, self.first_step = time.monotonic(), state.global_step

    def on_prediction_step(self, *args: Any, **kwargs: Any) -> None:
        """Show no second bar: dev is a single batch."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show the last metrics; TensorBoard and `trainer_state.json` keep all of them."""
        names = {"loss": "train", "eval_nll": "dev", "eval_completion_nll": "dev completion"}
        self.metrics |= {names[key]: f"{value:.3f}" for key, value in logs.items() if key in names}
        done = state.global_step - self.first_step
        if self.rest and done > 0:
            all_steps = state.max_steps - self.first_step
            training = (time.monotonic() - self.begun) / done * all_steps
            left = training * (1 - done / all_steps) + self.rest.seconds(training)
            self.metrics["left in all"] = show_seconds(left)
        if self.training_bar is not None:
            self.training_bar.set_postfix(self.metrics)


class StopOnSignal(TrainerCallback):
    """Ends the training after the current step, with one checkpoint, once `asked` is set.

    `Trainer` evaluates and saves at the end of each epoch, even of one that was stopped in its middle. A
    second save would overwrite a valid checkpoint, and a kill during it would leave none. So in the middle of
    an epoch this callback saves at once and skips the evaluation; at the end of an epoch it saves after the
    evaluation.
    """

    def __init__(self, asked: threading.Event) -> None:
        """Wait for `asked`."""
        self.asked = asked
        self.stopping = self.has_stepped = False  # both in this process

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask `Trainer` to stop, unless this is the last step, and to save unless an epoch ends here."""
        self.has_stepped = True
        if self.asked.is_set() and state.global_step < state.max_steps:
            self.stopping = control.should_training_stop = True
            control.should_save = not state.epoch.is_integer()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save where an epoch ends; after a stop in the middle of one, do nothing."""
        if self.stopping:
            control.should_save = state.epoch.is_integer()
            control.should_evaluate = control.should_evaluate and control.should_save


@contextmanager
def stop_on_signal(trainers: Sequence[Trainer]) -> Iterator[threading.Event]:
    """Let Ctrl-C or SIGTERM end trainings, each with a checkpoint; a second signal ends the process at once.

    The event that is returned ends them too. Before the first step of a single training there is nothing to
    save, and a compilation may take a minute, so the first signal ends it at once.

    Raises:
        KeyboardInterrupt: for a signal before the first step.
    """
    asked = threading.Event()
    callbacks = [StopOnSignal(asked) for _ in trainers]
    for trainer, callback in zip(trainers, callbacks, strict=True):
        trainer.add_callback(callback)
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread can handle signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: Any) -> None:
        asked.set()
        signal.signal(number, before[signal.Signals(number)])
        if len(callbacks) == 1 and not callbacks[0].has_stepped:
            raise KeyboardInterrupt("stopped before the first step, so there was nothing to save")

    try:
        for number in before:
            signal.signal(number, ask)
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class PrepareFolder(SharedCallback):
    """Prepares a run's folder when the training begins: by then every mistake has been reported."""

    def __init__(self, folder: Path, settings: RunSettings, replaced: list[Path]) -> None:
        """Remove `replaced` and write the settings to the folder."""
        self.folder, self.settings, self.replaced = folder, settings, replaced

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Remove what the training replaces, once, and save the settings."""
        remove(self.replaced)
        self.replaced = []
        self.settings.save(self.folder)


class CurrentIntervals(TrainerCallback):
    """Logs, evaluates and saves a resumed run as often as its arguments say now.

    `Trainer` takes the intervals from the checkpoint, where shares of the run refer to its old length.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Compute the intervals from the arguments."""
        state.compute_steps(args, state.max_steps)


class SaveAfterEvaluation(TrainerCallback):
    """Delays a checkpoint at the last step of an epoch, or of the run, until after the evaluation there.

    The log of a run resumed from a checkpoint that was saved before it would lack the evaluation.
    """

    delayed = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take back a save that an evaluation may follow."""
        last = state.epoch.is_integer() or state.global_step >= state.max_steps
        self.delayed = control.should_save and last
        control.should_save = control.should_save and not self.delayed

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for the delayed save."""
        control.should_save = control.should_save or self.delayed
        self.delayed = False


class RotateCheckpoints(TrainerCallback):
    """Keeps the last checkpoints by their steps, and the best one; removes the others.

    `Trainer` sorts by modification time, which is wrong for checkpoints that were unpacked in another time
    zone. With a limit of 1 it also removes the last checkpoint if another one is the best, and with it
    everything that a longer run could resume from.
    """

    def __init__(self, limit: int | None) -> None:
        """Keep `limit` checkpoints; None keeps all."""
        self.limit = limit

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remove checkpoints beyond the limit."""
        if not self.limit or self.limit < 1:
            return
        folder, best = Path(args.output_dir), Path(state.best_model_checkpoint or "").name
        saved = named_checkpoints(folder)
        # A run that could not resume from checkpoints of later steps left them here.
        kept = [checkpoint for checkpoint in saved if step_of(checkpoint) <= state.global_step][-self.limit :]
        if best and self.limit > 1 and best not in {checkpoint.name for checkpoint in kept}:
            kept = kept[1:]
        for checkpoint in saved:
            if checkpoint not in kept and checkpoint.name != best:
                shutil.rmtree(checkpoint, ignore_errors=True)
