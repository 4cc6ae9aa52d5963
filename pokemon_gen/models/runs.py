"""A run's folder, `checkpoints/<name>/`: what lies in it, and how a person's name for it is resolved.

A run owns its folder and nothing outside it. The members of an ensemble are runs inside that folder:
`member-0/`, `member-1/`, and so on. This module loads no torch, so that a wrong name is answered at once.
"""

import re
from pathlib import Path

from pokemon_gen.constants import CHECKPOINTS, RESULTS, SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError, closest
from pokemon_gen.models.checkpoints import is_checkpoint, is_loadable, is_valid, step_of

BEST_NAME = "best"
"""A copy of the chosen checkpoint, without the files that only training needs."""
SELECTION_NAME = "selection.json"
"""Every checkpoint's metrics, and which one was chosen."""
DETECTOR_NAME = "detector"
"""The detector's folder inside a run's, and its role."""
LOCK_NAME = ".lock"
"""Held by the process that writes to the run; see `locks.py`."""
HOLDER_NAME = ".lock-holder.json"
"""Describes that process."""


def find_run(place: str | Path) -> Path:
    """Return the folder of a run or checkpoint, given by its path or by its name in `checkpoints/`.

    A name wins over a folder of the working directory that holds neither, such as one of pictures.
    """
    path = Path(place)
    named = CHECKPOINTS / path
    is_name = path != Path() and named.is_dir() and not _holds_a_model(path)
    return named if is_name else path


def _holds_a_model(path: Path) -> bool:
    """Tell whether a path is a checkpoint's folder, or a run's."""
    marks = ("checkpoint-*", "member-*", BEST_NAME, SETTINGS_NAME)
    return is_loadable(path) or any(True for mark in marks for _ in path.glob(mark))


def closest_run(place: Path) -> str:
    """Return `"; did you mean 'x'?"` for the run with the most similar name, or else all runs."""
    folders = (path for path in CHECKPOINTS.glob("*") if path.is_dir())
    runs = sorted(folder.name for folder in folders if not folder.name.startswith("judge-"))
    return closest(place.name, runs) or f". Runs: {', '.join(runs) or 'none yet'}"


def contents(folder: Path) -> list[Path]:
    """Return what a folder holds, without its lock; an empty list if the folder does not exist."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return [path for path in paths if path.name not in (LOCK_NAME, HOLDER_NAME)]


def named_checkpoints(run: Path) -> list[Path]:
    """Return every folder of a run that is named as a checkpoint, valid or not, ordered by step."""
    return sorted(filter(is_checkpoint, run.glob("checkpoint-*")), key=step_of)


def valid_checkpoints(run: Path) -> list[Path]:
    """Return the valid checkpoints of a run, ordered by step."""
    return [checkpoint for checkpoint in named_checkpoints(run) if is_valid(checkpoint)]


def last_checkpoint(run: Path) -> Path | None:
    """Return the latest valid checkpoint of a run; one that a kill cut off is skipped."""
    return next((checkpoint for checkpoint in named_checkpoints(run)[::-1] if is_valid(checkpoint)), None)


def require_checkpoints(run: Path) -> list[Path]:
    """Return `valid_checkpoints`.

    Raises:
        PokemonGenError: if there is none.
    """
    checkpoints = valid_checkpoints(run)
    if not checkpoints and member_runs(run):
        raise PokemonGenError(
            f"{run}: some members of this ensemble are not trained yet, or they are not combined yet. "
            "`pokemon-gen run CONFIG` resumes the ensemble."
        )
    if not run.is_dir():
        raise PokemonGenError(f"{run}: no such run{closest_run(run)}")
    if not checkpoints:
        raise PokemonGenError(f"{run}: it has no valid checkpoint. `pokemon-gen train CONFIG` saves some.")
    return checkpoints


def member_runs(folder: Path) -> list[Path]:
    """Return the runs of an ensemble's members inside its folder, in order; none for a run of one model."""
    return sorted(filter(is_member, folder.glob("member-*")), key=lambda run: int(run.name.split("-")[1]))


def is_member(run: Path) -> bool:
    """Tell whether a folder is named as the run of an ensemble's member."""
    return re.fullmatch(r"member-[0-9]+", run.name) is not None


def run_root(run: Path) -> Path:
    """Return the folder that a run belongs to: the ensemble's for a member, else the run's own."""
    return run.parent if is_member(run) else run


def detector_folder(run: Path) -> Path:
    """Return the folder of a run's detector: its own, or that of the ensemble it is a member of."""
    own = run / DETECTOR_NAME
    return own if own.exists() else run_root(run.resolve() if run == Path() else run) / DETECTOR_NAME


def result_name(path: Path) -> str:
    """Return the name of the folder of results for completions.

    The name of a checkpoint, or of completions inside the folder of results, begins with that of its run.
    """
    path = path.resolve()
    among_results = path.suffix == ".txt" and RESULTS.resolve() in path.parents
    inside = is_loadable(path) or among_results
    run = path.parent if inside else path
    name = f"{run.parent.name}/{run.name}" if is_member(run) else run.name
    return f"{name}-{path.name}" if inside else name
