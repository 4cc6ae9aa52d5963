"""Which checkpoint a person means: what they typed is resolved here, once, into a `CheckpointFiles`.

A name, a run's folder and a checkpoint's folder are all accepted. Everything of the checkpoint but its
weights is read here; the stages hand the result down, and nothing below them reads the folder again. Loads
no torch.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.constants import SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json
from pokemon_gen.models.checkpoints import (
    CONFIG_NAME,
    is_ensemble,
    is_loadable,
    learned_from,
    log_history,
    member_folders,
    read_members,
    require_parts,
    step_of,
    trained_on,
)
from pokemon_gen.models.runs import (
    BEST_NAME,
    SELECTION_NAME,
    closest_run,
    detector_folder,
    find_run,
    last_checkpoint,
    member_runs,
    require_checkpoints,
    valid_checkpoints,
)
from pokemon_gen.settings import Settings

HUB_ID = r"[\w.-]+/[\w.-]+"
"""The form of a model's id on the hub: its owner and its name."""


@dataclass(frozen=True)
class Choice:
    """A chosen checkpoint.

    Attributes:
        folder: where it is.
        reason: why it was chosen, in words.
        chosen_on: the split whose sprites chose it, `dev` or `fold`; None if no sprites did, or it is not
            known.
    """

    folder: Path
    reason: str
    chosen_on: str | None = None


@dataclass(frozen=True)
class CheckpointFiles:
    """A checkpoint on disk: everything that is known without loading its weights.

    Attributes:
        folder: where it is.
        reason: why it was chosen, in words.
        chosen_on: the split whose sprites chose it; None if no sprites did, or it is not known.
        settings: its run's, with the overrides that were given.
        trained_on: source and fingerprint of the sprites it was trained on; empty if not recorded.
        detector: the folder of the run's detector, which may not exist.
    """

    folder: Path
    reason: str
    chosen_on: str | None
    settings: Settings
    trained_on: dict[str, str]
    detector: Path


def resolve_checkpoint(place: str | Path, overrides: Sequence[str] = ()) -> CheckpointFiles:
    """Resolve a name or a path to a checkpoint and read its settings.

    Args:
        place: as `choose_checkpoint`.
        overrides: `completion.temperature=0.9` and the like.

    Raises:
        PokemonGenError: as `choose_checkpoint`, and for a checkpoint with a missing part or bad settings.
    """
    return read_choice(choose_checkpoint(place), overrides)


def read_choice(choice: Choice, overrides: Sequence[str] = ()) -> CheckpointFiles:
    """Read everything but the weights of a chosen checkpoint; see `resolve_checkpoint`."""
    folder = choice.folder
    if learned_from(folder) == "text":
        raise PokemonGenError(
            f"{folder}: this model learned text, not sprites. Use it with `pokemon-gen text` or "
            "`pokemon-gen inspect`."
        )
    require_parts(folder)
    settings = load_settings(folder / SETTINGS_NAME, overrides)
    run, here = folder.resolve().parent, Path.cwd()
    detector = detector_folder(run.relative_to(here) if run.is_relative_to(here) else run)
    return CheckpointFiles(folder, choice.reason, choice.chosen_on, settings, trained_on(folder), detector)


def require_place(place: str | Path) -> None:
    """Check that a name is a run's or a folder's, or has the form of an id on the hub.

    A misspelt run then needs no network to be noticed.

    Raises:
        PokemonGenError: naming the most similar run.
    """
    if not find_run(place).is_dir() and not re.fullmatch(HUB_ID, str(place)):
        raise PokemonGenError(
            f"{place}: there is no such run or folder{closest_run(Path(place))}. A model on the hub is named "
            "OWNER/NAME."
        )


def learns_text(place: str | Path) -> bool:
    """Tell whether a run or a checkpoint learned text; False if there is none.

    Args:
        place: as `choose_checkpoint`.
    """
    folder = find_run(place)
    last = last_checkpoint(folder) if folder.is_dir() else None
    return any(learned_from(one) == "text" for one in (folder, last) if one is not None)


def choose_checkpoint(place: str | Path) -> Choice:
    """Return a checkpoint: the folder itself, or the best one of a run.

    The best checkpoint of an ensemble is all of its members; that of a run is the selected one. Without a
    selection it is the one with the lowest dev NLL of the completion that was logged during training (not the
    lowest training loss, which keeps falling while the model memorises its sprites).

    Args:
        place: the folder of a checkpoint, or the folder or the name of a run.

    Raises:
        PokemonGenError: if there is no valid checkpoint.
    """
    folder = find_run(place)
    if is_loadable(folder):
        return Choice(folder, "named explicitly", _chosen_on(folder))
    if not folder.is_dir():
        raise PokemonGenError(f"{folder}: no such checkpoint or run{closest_run(folder)}")
    if is_ensemble(folder / BEST_NAME):
        members = member_folders(folder / BEST_NAME)
        _require_current_members(folder)
        reason = f"the ensemble of its {len(members)} members"
        return Choice(folder / BEST_NAME, reason, _chosen_on(folder / BEST_NAME))
    selection = current_selection(folder)
    if selection:
        return Choice(folder / BEST_NAME, selection["reason"], selection["on"])
    return _lowest_logged_nll(require_checkpoints(folder))


def _lowest_logged_nll(checkpoints: list[Path]) -> Choice:
    """Return the checkpoint with the lowest logged dev NLL; for sprites, that of the completion."""
    metric, named = ("eval_completion_nll", "completion NLL")
    if learned_from(checkpoints[-1]) == "text":
        metric, named = "eval_nll", "NLL"
    measured = {
        entry["step"]: entry[metric]
        for entry in log_history(checkpoints[-1])
        if math.isfinite(entry.get(metric, math.nan))
    }
    ranked = [checkpoint for checkpoint in checkpoints if step_of(checkpoint) in measured]
    if not ranked:
        return Choice(checkpoints[-1], "the last one, since dev was never measured at a saved step")
    best = min(ranked, key=lambda checkpoint: measured[step_of(checkpoint)])
    nll = measured[step_of(best)]
    reason = f"lowest dev {named} of {len(ranked)} checkpoints, {nll:.4f} nats/token"
    return Choice(best, reason, "dev")


def _chosen_on(folder: Path) -> str | None:
    """Return the split whose sprites chose a run's `best/`, or the members of an ensemble; None if not
    known.
    """
    if is_ensemble(folder):
        members = read_members(folder)
        return next((member["chosen_on"] for member in members if member.get("chosen_on")), None)
    selection = _read_selection(folder.parent) if folder.name == BEST_NAME else None
    return selection["on"] if selection else None


def _require_current_members(folder: Path) -> None:
    """Refuse an ensemble with members that were trained further after they were combined."""
    for run in member_runs(folder):
        selection = _read_selection(run)
        if selection and not _ranks_all_checkpoints(run, selection):
            best = folder / BEST_NAME
            raise PokemonGenError(
                f"{best}: {run.name} was trained further after the members were combined. `pokemon-gen run "
                f"CONFIG` combines them again; name {best} to use the old ones."
            )


def current_selection(run: Path) -> dict[str, Any] | None:
    """Return a run's selection if it ranked every checkpoint that exists now.

    Raises:
        PokemonGenError: if `selection.json` is damaged.
    """
    selection = _read_selection(run)
    if not selection or not (run / BEST_NAME / CONFIG_NAME).is_file():
        return None
    return selection if _ranks_all_checkpoints(run, selection) else None


def _read_selection(run: Path) -> dict[str, Any] | None:
    file = run / SELECTION_NAME
    if not file.is_file():
        return None
    selection: dict[str, Any] = read_json(file)
    try:
        _ranked(selection), selection["reason"], selection["by"], selection["on"]
    except (KeyError, TypeError) as error:
        raise PokemonGenError(f"{file}: not a selection. `pokemon-gen select {run}` repeats it.") from error
    return selection


def _ranked(selection: dict[str, Any]) -> set[str]:
    return {metrics["checkpoint"] for metrics in selection["checkpoints"]}


def _ranks_all_checkpoints(run: Path, selection: dict[str, Any]) -> bool:
    """Tell whether a selection ranked all checkpoints of a run; those it ranked may be deleted since."""
    return {checkpoint.name for checkpoint in valid_checkpoints(run)} <= _ranked(selection)
