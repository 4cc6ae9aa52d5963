"""What the benchmarks that train runs share: a clock of steps, sprite sources, folds, and quiet settings."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import TrainerCallback

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.sprites.collection import FOLD, Sprites
from pokemon_gen.sprites.folds import random_folds

STEPS_ONLY: dict[str, Any] = {
    "eval_strategy": "no",
    "save_strategy": "steps",
    "save_steps": 10**6,  # only the last checkpoint is saved
    "report_to": "none",
    "disable_tqdm": True,
}
"""Fields of `training:` for a training that does nothing but its steps until the last one."""
TWO_FOLDS = ("sprites.fold_size=160", "sprites.fold_seed=1")
"""Overrides that hold out two folds of 80 sprites at once, apart from the last 80 sprites of train, on which
many earlier choices were made."""


def two_folds(sprites: Sprites) -> list[NDArray[np.int64]]:
    """Return the two folds of sprites that were loaded with `TWO_FOLDS`, about (80, 400) each.

    Copies of a sprite are in one fold.

    Raises:
        PokemonGenError: if the sprites have no fold.
    """
    if FOLD not in sprites.splits:
        raise PokemonGenError(f"{sprites.source}: no sprites are held out. Load them with TWO_FOLDS.")
    held_out = sprites.tokens(FOLD)
    return [held_out[rows] for rows in random_folds(held_out, [0.5, 0.5], seed=0)]


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
