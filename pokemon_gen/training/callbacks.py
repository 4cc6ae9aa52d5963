"""What watches a training: its bar, and the signals that end it with a checkpoint."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm
from transformers import ProgressCallback, Trainer, TrainerCallback

from pokemon_gen.progress import show_seconds


class RestOfRun(TrainerCallback):
    """Tells a training's bar how long the rest of the run will take, once the training is done."""

    def __init__(self, seconds: Callable[[float], float]) -> None:
        """Take the function that returns the seconds after a training that takes so many."""
        self.seconds = seconds


class TrainingBar(ProgressCallback):
    """One bar for the whole training, with the last figures behind it and the time that is left in all."""

    def __init__(self, rest: RestOfRun | None = None) -> None:
        """Show one bar; `rest`: of the run that the training is part of."""
        super().__init__()
        self.rest = rest

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar where the training stands."""
        self.current_step = state.global_step
        self.training_bar = tqdm(total=state.max_steps, initial=state.global_step, desc="train", unit="step")
        self.figures: dict[str, str] = {}
        self.begun, self.first_step = time.monotonic(), state.global_step

    def on_prediction_step(self, *args: Any, **kwargs: Any) -> None:
        """Show no second bar: dev is a single batch."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show the last figures; TensorBoard and `trainer_state.json` keep all of them."""
        names = {"loss": "train", "eval_nll": "dev", "eval_completion_nll": "dev completion"}
        self.figures |= {names[key]: f"{value:.3f}" for key, value in logs.items() if key in names}
        done = state.global_step - self.first_step
        if self.rest and done > 0:
            all_steps = state.max_steps - self.first_step
            training = (time.monotonic() - self.begun) / done * all_steps
            left = training * (1 - done / all_steps) + self.rest.seconds(training)
            self.figures["left in all"] = show_seconds(left)
        if self.training_bar is not None:
            self.training_bar.set_postfix(self.figures)


class StopOnSignal(TrainerCallback):
    """Ends the training after the running step, with one checkpoint, once `asked` is set.

    `Trainer` measures and saves after each epoch, also after one that is left in its middle. A second save
    would write over a checkpoint that is whole, and a kill in it would leave none; and measuring draws from
    the random stream that the checkpoint is to go on with. So in an epoch's middle it is saved at once and
    not measured, at its end after what is measured there.
    """

    def __init__(self) -> None:
        """Wait for `asked`."""
        self.asked = threading.Event()
        self.stopping = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask the `Trainer` to stop, unless it ends here by itself, and to save where no epoch ends."""
        if self.asked.is_set() and state.global_step < state.max_steps:
            self.stopping = control.should_training_stop = True
            control.should_save = not state.epoch.is_integer()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask to save where an epoch ends, and leave one that was stopped in its middle alone."""
        if self.stopping:
            control.should_save = state.epoch.is_integer()
            control.should_evaluate = control.should_evaluate and control.should_save


@contextmanager
def stop_on_signal(trainer: Trainer) -> Iterator[None]:
    """Let Ctrl-C (and a polite kill) end the training with a checkpoint; a second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals can only be watched from the main thread
        return
    stop = StopOnSignal()
    trainer.add_callback(stop)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: Any) -> None:
        stop.asked.set()
        signal.signal(number, before[signal.Signals(number)])

    try:
        for number in before:
            signal.signal(number, ask)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
