"""The trainings of an ensemble's members at once, on one GPU in one process.

A captured step of a small model leaves most of a GPU idle, so that the steps of several members can overlap.
Each member keeps its own `Trainer`, in a thread of its own, whose kernels run on a stream of their own. The
threads take turns: a member launches one step and hands over, while the GPU still computes. So only one
thread runs at a time, no training changes what another one is using, and each member ends as it would alone.
`docs/decisions.md` says why the parameters are not stacked instead.
"""

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from transformers import TrainerCallback

from pokemon_gen.models.hf_compat import quiet
from pokemon_gen.training.callbacks import TrainingBar, stop_on_signal
from pokemon_gen.training.run import Training, run_training


def train_side_by_side(trainings: Sequence[Training[Any]]) -> None:
    """Run trainings until all have ended, each as it would alone.

    If one fails, the others stop with a checkpoint.

    Raises:
        PokemonGenError: the first error of a training, as `run_training` raises it.
    """
    turns, errors = Turns(len(trainings)), list[BaseException]()
    trainers = [training.trainer for training in trainings]
    for trainer in trainers[1:]:
        trainer.remove_callback(TrainingBar)  # one bar shows them all
    with quiet(), stop_on_signal(trainers) as stop:

        def run_member(number: int, training: Training[Any]) -> None:
            turns.wait(number)
            try:
                with _own_stream(training.trainer.args.device):
                    run_training(training)
            except BaseException as error:  # noqa: BLE001 (raised again by the thread that waits)
                errors.append(error)
                stop.set()
            finally:
                turns.leave(number)

        threads = []
        for number, training in enumerate(trainings):
            training.trainer.add_callback(_HandOver(turns, number))
            threads.append(threading.Thread(target=run_member, args=(number, training), daemon=True))
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:  # a second Ctrl-C, in a notebook whose process continues
            stop.set()
            raise
    if errors:
        raise errors[0]


class Turns:
    """Lets several threads work one at a time, in a fixed order."""

    def __init__(self, count: int) -> None:
        """Give the first turn to thread 0."""
        self._gates = [threading.Semaphore(int(number == 0)) for number in range(count)]
        self._order = list(range(count))

    def wait(self, number: int) -> None:
        """Wait for the turn of a thread."""
        self._gates[number].acquire()

    def pass_on(self, number: int) -> None:
        """Let the other threads have their turns, and wait for the next turn."""
        following = self._order[(self._order.index(number) + 1) % len(self._order)]
        if following != number:
            self._gates[following].release()
            self.wait(number)

    def leave(self, number: int) -> None:
        """Give up all further turns."""
        place = self._order.index(number)
        self._order.remove(number)
        if self._order:
            self._gates[self._order[place % len(self._order)]].release()


class _HandOver(TrainerCallback):
    """Hands the turn over after each step, when the GPU has it to compute."""

    def __init__(self, turns: Turns, number: int) -> None:
        self.turns, self.number = turns, number

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.turns.pass_on(self.number)


def _own_stream(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which kernels run on a new stream, after what was launched before."""
    if device.type != "cuda":
        return nullcontext()
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    return torch.cuda.stream(stream)
