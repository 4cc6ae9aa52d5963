"""What benchmarks that train runs share: the seconds of steps, and sources that are found from anywhere."""

import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback


class StepSeconds(TrainerCallback):
    """Notes the seconds of each optimizer step; on a GPU, a step is over when its kernels are."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.begun = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Stop the clock."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self.begun)


def absolute_source(source: str) -> str:
    """Return a source of sprites that means the same from another folder."""
    kind, _, place = source.partition(":")
    return f"{kind}:{Path(place).resolve()}" if kind in ("text", "images") else source
