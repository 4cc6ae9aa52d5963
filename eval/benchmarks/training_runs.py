"""What benchmarks that train runs share: clocks of steps, and sources that are found from anywhere."""

import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback


def time_when_done() -> float:
    """Return the time, in seconds of the finest clock, when all kernels that a GPU was given are done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class StepSeconds(TrainerCallback):
    """Notes the seconds of each optimizer step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.begun = time_when_done()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Stop the clock."""
        self.seconds.append(time_when_done() - self.begun)


def absolute_source(source: str) -> str:
    """Return a source of sprites that means the same from another folder."""
    kind, _, place = source.partition(":")
    on_disk = kind in ("text", "images") or (kind == "hub" and Path(place).is_dir())
    return f"{kind}:{Path(place).resolve()}" if on_disk else source
