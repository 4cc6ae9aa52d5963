"""A run's folder, `checkpoints/<name>/`: its files' names, which checkpoints are whole, which one is chosen.

A machine may be taken away in the middle of a write, and a mounted drive gets a folder's files in any order,
so a checkpoint counts only when all that it is loaded from is there to the end.

A run owns its folder and nothing outside it. The members of an ensemble are runs inside it, `member-0/`,
`member-1/`, ... Loads no torch, so that a wrong name is answered at once.
"""

import math
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from pokemon_gen.constants import PALETTE_NAME
from pokemon_gen.errors import PokemonGenError, closest
from pokemon_gen.files import read_json
from pokemon_gen.settings import SETTINGS_NAME

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
IN_TRAINING_NAME = "weights_in_training.safetensors"
"""In a checkpoint of means: the weights to train on from."""
ENSEMBLE_NAME = "ensemble.json"
"""In an ensemble's folder: which of its folders are the members."""
BEST_NAME = "best"
"""In a run's folder: a copy of the chosen checkpoint, without what only a training needs."""
SELECTION_NAME = "selection.json"
"""In a run's folder: every checkpoint's figures, and which one was chosen."""
LOCK_NAME = ".lock"
"""In a run's folder: held by the process that writes there, see `locks.py`."""
HOLDER_NAME = ".lock-holder.json"
"""Beside it: which process that is."""
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
    return [checkpoint for checkpoint in named_checkpoints(folder) if _is_whole(checkpoint)]


def needed_checkpoints(folder: Path) -> list[Path]:
    """Return `whole_checkpoints`.

    Raises:
        PokemonGenError: if there is none.
    """
    checkpoints = whole_checkpoints(folder)
    if not checkpoints and member_runs(folder):
        raise PokemonGenError(
            f"{folder}: an ensemble whose members are not all trained or not put together yet; "
            "`pokemon-gen run CONFIG` goes on from them"
        )
    if not folder.is_dir():
        raise PokemonGenError(f"{folder}: no such run{closest_run(folder)}")
    if not checkpoints:
        raise PokemonGenError(f"{folder}: no whole checkpoint in it; `pokemon-gen train CONFIG` makes some")
    return checkpoints


def contents(folder: Path) -> list[Path]:
    """Return what a folder holds but for its lock; nothing of one that is not there."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return [path for path in paths if path.name not in (LOCK_NAME, HOLDER_NAME)]


def member_runs(folder: Path) -> list[Path]:
    """Return the runs of an ensemble's members inside its folder, in their order; none of a single run."""
    return sorted(filter(is_member, folder.glob("member-*")), key=lambda run: int(run.name.split("-")[1]))


def is_member(run: Path) -> bool:
    """Tell whether a folder is named as the run of an ensemble's member."""
    return re.fullmatch(r"member-[0-9]+", run.name) is not None


def run_root(run: Path) -> Path:
    """Return the folder that a run is part of: an ensemble's for one of its members, else its own."""
    return run.parent if is_member(run) else run


def detector_folder(run: Path) -> Path:
    """Return where the detector of a run is: its own, or that of the ensemble it is a member of."""
    own = run / DETECTOR_NAME
    return own if own.exists() else run_root(run.resolve() if run == Path() else run) / DETECTOR_NAME


def find_run(place: str | Path) -> Path:
    """Return the folder of a run or checkpoint that is given by its path or, in `checkpoints/`, its name."""
    path = Path(place)
    named = CHECKPOINTS / path
    return named if not path.exists() and named.is_dir() else path


def closest_run(place: Path) -> str:
    """Return `"; did you mean 'x'?"` for the run that is named most like a place, or an empty string."""
    return closest(place.name, sorted(run.name for run in CHECKPOINTS.glob("*") if run.is_dir()))


def last_checkpoint(folder: Path) -> Path | None:
    """Return the run's latest whole checkpoint; one cut off by a kill is passed over."""
    return next((checkpoint for checkpoint in named_checkpoints(folder)[::-1] if _is_whole(checkpoint)), None)


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


def named_checkpoints(folder: Path) -> list[Path]:
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
        with safe_open(weights, "numpy"):
            return True
    except (OSError, SafetensorError):
        return False


@dataclass(frozen=True)
class Choice:
    """A chosen checkpoint, and the reason in words."""

    checkpoint: Path
    reason: str


def is_loadable(folder: Path) -> bool:
    """Tell whether a folder is meant as a checkpoint: of one model, or of an ensemble."""
    return any((folder / name).is_file() for name in (CONFIG_NAME, WEIGHTS_NAME, ENSEMBLE_NAME))


def check_parts(folder: Path) -> None:
    """Make sure that all parts of a checkpoint of one model are there.

    Raises:
        PokemonGenError: naming the first that is not.
    """
    if (folder / ENSEMBLE_NAME).is_file():
        return
    for name in (CONFIG_NAME, WEIGHTS_NAME, PALETTE_NAME, SETTINGS_NAME):
        if not (folder / name).is_file():
            raise PokemonGenError(f"{folder}: no checkpoint: it has no {name}")


def member_folders(folder: Path) -> list[Path]:
    """Return the folders of an ensemble's members.

    Raises:
        PokemonGenError: if `ensemble.json` is damaged.
    """
    file = folder / ENSEMBLE_NAME
    try:
        members = [folder / member["folder"] for member in read_json(file)["members"]]
    except (KeyError, TypeError) as error:
        raise PokemonGenError(f"{file}: not an ensemble's") from error
    if not members:
        raise PokemonGenError(f"{file}: names no members")
    return members


def choose_checkpoint(folder: str | Path) -> Choice:
    """Return a checkpoint: the folder itself, or the best of a run, given by its folder or name.

    The best of an ensemble is all its members; that of a run the one that was selected; without a
    selection, the lowest dev NLL of the completion that was logged while training (not the lowest training
    loss, which falls for as long as a model learns its sprites by heart).

    Raises:
        PokemonGenError: if there is no whole checkpoint.
    """
    folder = find_run(folder)
    if is_loadable(folder):
        return Choice(folder, "as asked for")
    if not folder.is_dir():
        raise PokemonGenError(f"{folder}: no such checkpoint or run{closest_run(folder)}")
    if (folder / BEST_NAME / ENSEMBLE_NAME).is_file():
        members = member_folders(folder / BEST_NAME)
        _refuse_outdated_members(folder)
        return Choice(folder / BEST_NAME, f"the ensemble of its {len(members)} members")
    selected = current_selection(folder)
    if selected:
        return Choice(folder / BEST_NAME, selected["reason"])
    checkpoints = needed_checkpoints(folder)
    measured = {
        entry["step"]: entry["eval_completion_nll"]
        for entry in log_history(checkpoints[-1])
        if math.isfinite(entry.get("eval_completion_nll", math.nan))
    }
    ranked = [c for c in checkpoints if step_of(c) in measured]
    if not ranked:
        return Choice(checkpoints[-1], "the last one; dev was never measured where one was saved")
    best = min(ranked, key=lambda c: measured[step_of(c)])
    nll = measured[step_of(best)]
    return Choice(best, f"lowest dev completion NLL of {len(ranked)} checkpoints, {nll:.4f} nats/token")


def _refuse_outdated_members(folder: Path) -> None:
    """Refuse an ensemble whose members have been trained further since they were put together."""
    for run in member_runs(folder):
        selection = _selection_of(run)
        if selection and not _knows_all_checkpoints(run, selection):
            best = folder / BEST_NAME
            raise PokemonGenError(
                f"{best}: {run.name} has been trained on since; `pokemon-gen run CONFIG` puts the members "
                f"together again, and {best} names the old ones"
            )


def current_selection(run: Path) -> dict[str, Any] | None:
    """Return a run's selection, if it was made of all the checkpoints that are there now.

    Raises:
        PokemonGenError: if `selection.json` is damaged.
    """
    facts = _selection_of(run)
    if not facts or not (run / BEST_NAME / CONFIG_NAME).is_file():
        return None
    return facts if _knows_all_checkpoints(run, facts) else None


def _selection_of(run: Path) -> dict[str, Any] | None:
    file = run / SELECTION_NAME
    if not file.is_file():
        return None
    facts: dict[str, Any] = read_json(file)
    try:
        _ranked(facts), facts["reason"], facts["by"], facts["on"]
    except (KeyError, TypeError) as error:
        raise PokemonGenError(f"{file}: not a selection; `pokemon-gen select {run}` makes it anew") from error
    return facts


def _ranked(selection: dict[str, Any]) -> set[str]:
    return {figures["checkpoint"] for figures in selection["checkpoints"]}


def _knows_all_checkpoints(run: Path, selection: dict[str, Any]) -> bool:
    """Tell whether a run's selection ranked all the checkpoints there are; others may be gone since."""
    return {checkpoint.name for checkpoint in whole_checkpoints(run)} <= _ranked(selection)
