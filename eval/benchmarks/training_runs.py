"""What the benchmarks that train runs share: a clock of steps, sprite sources, and quiet settings."""

import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

STEPS_ONLY: dict[str, Any] = {
    "eval_strategy": "no",
    "save_strategy": "steps",
    "save_steps": 10**6,  # only the last checkpoint is saved
    "report_to": "none",
    "disable_tqdm": True,
}
"""Fields of `training:` for a training that does nothing but its steps until the last one."""


def synchronized_time() -> float:
    """Return the time in seconds, after the GPU, if there is one, has finished all kernels."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class StepSeconds(TrainerCallback):
    """Callback that records the duration of each optimizer step, in seconds."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.start = synchronized_time()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Stop the clock."""
        self.seconds.append(synchronized_time() - self.start)


def absolute_source(source: str) -> str:
    """Return a sprite source with an absolute path, so that it is valid in any working directory."""
    kind, _, place = source.partition(":")
    on_disk = kind in ("text", "images") or (kind == "hub" and Path(place).is_dir())
    return f"{kind}:{Path(place).resolve()}" if on_disk else source
