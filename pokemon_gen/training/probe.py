"""How long a training step takes here: a few real steps, measured as they would run.

The probe is short and shares the machine with whatever else runs, so its figure is an estimate.
"""

import gc
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback

from pokemon_gen.models.graphs import WARM_UP, can_capture
from pokemon_gen.models.hf_compat import quiet
from pokemon_gen.settings import RunKind
from pokemon_gen.training.arguments import fit_schedule
from pokemon_gen.training.extensions import Extensions
from pokemon_gen.training.run import prepare
from pokemon_gen.training.trainer import TrainingData

_STEPS = 10_000
"""The steps of the training that is stopped after a few."""
_ONLY_STEPS: dict[str, Any] = {
    "max_steps": _STEPS,
    "eval_strategy": "no",
    "save_strategy": "steps",
    "save_steps": _STEPS,
    "logging_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "torch_compile": False,
}


@dataclass(frozen=True)
class StepProbe:
    """What a few steps showed.

    Attributes:
        seconds: of a step, uncompiled.
        steps: that were measured.
        precision: `bf16`, `fp16` or `fp32`.
        not_captured: why the steps are not captured; None if they are.
        memory: the most GPU memory that was reserved, in bytes; 0 on a CPU.
    """

    seconds: float
    steps: int
    precision: str
    not_captured: str | None
    memory: int


def probe_steps(settings: RunKind, data: TrainingData[RunKind], budget: float) -> StepProbe:
    """Train a few steps of a run in a temporary folder, and forget them.

    Args:
        settings: of the run.
        data: to train on.
        budget: the seconds to measure for; at least one step is measured.
    """
    only_steps = settings.with_training(**_ONLY_STEPS)
    watch = _Watch(budget)
    with tempfile.TemporaryDirectory() as folder, quiet():
        model, arguments, only_steps = prepare(only_steps, data, Path(folder))
        fit_schedule(arguments, _STEPS)
        trainer = data.trainer(model, arguments, only_steps, Extensions(callbacks=[watch]))
        trainer.remove_callback(PrinterCallback)
        on_gpu = arguments.device.type == "cuda"
        if on_gpu:
            gc.collect()
            torch.cuda.empty_cache()  # what an earlier probe left
            torch.cuda.reset_peak_memory_stats(arguments.device)
        trainer.train()
    return StepProbe(
        seconds=watch.seconds,
        steps=watch.steps,
        precision=next((name for name in ("bf16", "fp16") if getattr(arguments, name)), "fp32"),
        not_captured=trainer.why_not_captured(),
        memory=torch.cuda.max_memory_reserved(arguments.device) if on_gpu else 0,
    )


class _Watch(TrainerCallback):
    """Times the steps after those that warm up, and stops the training when the time is over."""

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.steps = 0

    @property
    def seconds(self) -> float:
        """The seconds of a step."""
        return (self.end - self.start) / self.steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        warm_up = WARM_UP + 1 if can_capture(args.device) else 1
        measured = state.global_step - warm_up
        if measured < 0:
            return
        if args.device.type == "cuda" and measured % 20 == 0:  # not at each step, which would wait for it
            torch.cuda.synchronize(args.device)
        if measured == 0:
            self.start = time.perf_counter()
        elif args.device.type != "cuda" or measured % 20 == 0:
            self.steps, self.end = measured, time.perf_counter()
            control.should_training_stop = self.end - self.start >= self.budget
