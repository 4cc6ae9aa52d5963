"""A run's folder, `checkpoints/<name>/`: which checkpoints are whole, and what was measured at each.

A machine may be taken away in the middle of a write, and a mounted drive gets a folder's files in any order,
so a checkpoint counts only when all that it is loaded from is there to the end.
"""

import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from pokemon_gen.averaging import IN_TRAINING_NAME
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json
from pokemon_gen.models import CONFIG_NAME, WEIGHTS_NAME
from pokemon_gen.palette import PALETTE_NAME
from pokemon_gen.settings import SETTINGS_NAME, member_name

DETECTOR_NAME = "detector"
"""The detector's folder inside a run's, and its role."""
CHECKPOINTS = Path("checkpoints")
"""The folder of all runs, in the working directory."""
RESULTS = Path("eval/results")
"""The folder of everything that is looked at, in the working directory."""
FEATURES = RESULTS / "features"
"""Inception features already computed."""
STATE_NAME = "trainer_state.json"
"""The `Trainer`'s own record, the last file of a checkpoint to be written."""
OPTIMIZER_NAME = "optimizer.pt"
SCALER_NAME = "scaler.pt"
_TO_GO_ON_WITH = (OPTIMIZER_NAME, "scheduler.pt", "rng_state.pth")
"""What a training goes on with, as `Trainer` names it; each is a zip file, whose last bytes are its index."""

SPRITES_NAME = "sprites.json"
"""In a checkpoint: the source and the fingerprint of the sprites it was trained on."""


def whole_checkpoints(folder: Path) -> list[Path]:
    """Return the run's checkpoints that were written to the end, in the order of their steps."""
    return [checkpoint for checkpoint in _checkpoints(folder) if _is_whole(checkpoint)]


def needed_checkpoints(folder: Path) -> list[Path]:
    """Return `whole_checkpoints`.

    Raises:
        PokemonGenError: if there is none.
    """
    checkpoints = whole_checkpoints(folder)
    if not checkpoints and has_members(folder):
        raise PokemonGenError(
            f"{folder}: an ensemble whose members are not all trained or not put together yet; "
            "`pokemon-gen run CONFIG` goes on from them"
        )
    if not folder.is_dir():
        raise PokemonGenError(f"{folder}: no such run")
    if not checkpoints:
        raise PokemonGenError(f"{folder}: no whole checkpoint in it; `pokemon-gen train CONFIG` makes some")
    return checkpoints


def has_members(folder: Path) -> bool:
    """Tell whether a run without settings of its own is an ensemble whose first member has a checkpoint."""
    if not folder.resolve().name:  # `/` is no run's
        return False
    return not (folder / SETTINGS_NAME).is_file() and bool(whole_checkpoints(member_run(folder, 0)))


def member_run(folder: Path, number: int) -> Path:
    """Return the folder of the run of an ensemble's member, from the ensemble's own folder."""
    folder = folder.resolve()
    return folder.with_name(member_name(folder.name, number))


def find_run(place: str | Path) -> Path:
    """Return the folder of a run or checkpoint that is given by its path or, in `checkpoints/`, its name."""
    path = Path(place)
    named = CHECKPOINTS / path
    return named if not path.exists() and (named.is_dir() or has_members(named)) else path


def last_checkpoint(folder: Path) -> Path | None:
    """Return the run's latest whole checkpoint; one cut off by a kill is passed over."""
    return next((checkpoint for checkpoint in _checkpoints(folder)[::-1] if _is_whole(checkpoint)), None)


def can_go_on_from(checkpoint: Path, averaged: bool, scaled: bool) -> bool:
    """Tell whether a whole checkpoint also has all that a training goes on with, undamaged.

    `Trainer` begins a missing schedule, random stream or loss scale anew and says nothing.

    Args:
        checkpoint: its folder.
        averaged: whether the run keeps a mean of its weights, and these lie beside it.
        scaled: whether the run is in fp16, and its loss scaled.
    """
    needed = (*_TO_GO_ON_WITH, SCALER_NAME) if scaled else _TO_GO_ON_WITH
    return all(zipfile.is_zipfile(checkpoint / name) for name in needed) and (
        not averaged or _opens(checkpoint / IN_TRAINING_NAME)
    )


def is_checkpoint(path: Path) -> bool:
    """Tell whether a path is named as the `Trainer` names a checkpoint."""
    return re.fullmatch(r"checkpoint-[0-9]+", path.name) is not None


def step_of(checkpoint: Path) -> int:
    """Return the optimizer steps a checkpoint was saved after."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def copy_checkpoint(checkpoint: Path, folder: Path) -> None:
    """Copy into a new folder what a checkpoint is loaded from; the rest is a training's, to go on with."""
    folder.mkdir(parents=True)
    for file in checkpoint.iterdir():
        if file.suffix in (".json", ".safetensors") and file.name != IN_TRAINING_NAME:
            shutil.copy2(file, folder)


def log_history(checkpoint: Path) -> list[dict[str, Any]]:
    """Return all that was logged up to a checkpoint, oldest first; each entry has its `step`."""
    history: list[dict[str, Any]] = read_json(checkpoint / STATE_NAME)["log_history"]
    return history


def has_record(checkpoint: Path) -> bool:
    """Tell whether the `Trainer`'s record is there to the end."""
    return _parses(checkpoint / STATE_NAME)


def _checkpoints(folder: Path) -> list[Path]:
    """Return all that are named as checkpoints, whole or not, in the order of their steps."""
    return sorted(filter(is_checkpoint, folder.glob("checkpoint-*")), key=step_of)


def _is_whole(checkpoint: Path) -> bool:
    written = (CONFIG_NAME, PALETTE_NAME, SETTINGS_NAME, SPRITES_NAME, STATE_NAME)
    return all(_parses(checkpoint / name) for name in written) and _opens(checkpoint / WEIGHTS_NAME)


def _parses(file: Path) -> bool:
    try:
        read_json(file)
    except PokemonGenError:
        return False
    return True


def _opens(weights: Path) -> bool:
    """Tell whether a file of weights is as long as its head says."""
    try:
        with safe_open(weights, "pt"):
            return True
    except (OSError, SafetensorError):
        return False
