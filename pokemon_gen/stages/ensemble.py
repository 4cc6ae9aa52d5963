"""The stage that makes an ensemble of checkpoints: `checkpoints/<name>/best/`, each member in a folder."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pokemon_gen.completion.decoding import can_decode
from pokemon_gen.constants import CHECKPOINTS
from pokemon_gen.discriminator.classifier import metadata_of, sprites_fingerprint
from pokemon_gen.discriminator.detector import copy_detector
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import atomic_folder, read_json, write_json
from pokemon_gen.models.checkpoints import (
    ENSEMBLE_NAME,
    SPRITES_NAME,
    copy_checkpoint,
    fingerprint_checkpoint,
    member_folders,
)
from pokemon_gen.models.ensemble import Ensemble
from pokemon_gen.models.loading import Checkpoint, load_checkpoint
from pokemon_gen.models.locks import writing_to
from pokemon_gen.models.runs import BEST_NAME, DETECTOR_NAME, detector_folder
from pokemon_gen.settings import Settings
from pokemon_gen.stages.plans import plan_ensemble

SCHEMA = 1


@dataclass(frozen=True)
class EnsembleResult:
    """An ensemble: its folder, and its members' names, places and the reasons why they were chosen."""

    folder: Path
    members: list[dict[str, Any]]


def assemble(
    name: str,
    checkpoints: Sequence[str | Path],
    overwrite: bool = False,
    settings: Settings | None = None,
) -> EnsembleResult:
    """Make an ensemble, which completes, submits and scores as any checkpoint does.

    Args:
        name: of the ensemble: `checkpoints/<name>/best/` is made.
        checkpoints: the members, or runs, whose best are taken.
        overwrite: replace an ensemble that is there.
        settings: what the ensemble remembers of its making and how it completes; none: the first member's.

    Raises:
        PokemonGenError: for fewer than two members, members that do not fit together, a name that is none, or
            a run or another ensemble of this name.
    """
    choices = plan_ensemble(name, checkpoints)
    members = [
        {
            "folder": f"member-{number}",
            "from": str(choice.checkpoint),
            "chosen_for": choice.reason,
            "sha256": fingerprint_checkpoint(choice.checkpoint),
        }
        for number, choice in enumerate(choices)
    ]
    best = CHECKPOINTS / name / BEST_NAME
    with writing_to(best.parent):
        if not _holds(best, members):
            if best.exists() and not overwrite:
                raise PokemonGenError(
                    f"{best} holds an ensemble of others, and is kept; --overwrite replaces it"
                )
            _build(name, members, [load_checkpoint(choice.checkpoint) for choice in choices], settings)
        elif settings:
            settings.save(best)  # how it completes may have changed since
        _give_detector(choices[0].checkpoint.resolve().parent, best)
    return EnsembleResult(best, members)


def _give_detector(first: Path, best: Path) -> None:
    """Let candidates be ranked by the first member's detector, unless the ensemble has one of these sprites.

    Args:
        first: the run of the first member.
        best: the ensemble's `best/`.
    """
    run = best.parent
    if detector_folder(first).resolve() == (run / DETECTOR_NAME).resolve():
        return  # a member inside the ensemble's own folder
    own = sprites_fingerprint(metadata_of(run / DETECTOR_NAME))
    copy_detector(first, run, replace=own != read_json(best / SPRITES_NAME)["fingerprint"])


def _build(
    name: str, members: list[dict[str, Any]], loaded: Sequence[Checkpoint], settings: Settings | None
) -> None:
    """Put an ensemble's folder together, in the place of one that is there."""
    _check_together(loaded)
    settings = settings or loaded[0].settings.model_copy(update={"name": name})
    with atomic_folder(CHECKPOINTS / name / BEST_NAME) as aside:
        for member, checkpoint in zip(members, loaded, strict=True):
            copy_checkpoint(checkpoint.folder, aside / member["folder"])
        loaded[0].palette.save(aside)
        settings.save(aside)
        shutil.copy2(loaded[0].folder / SPRITES_NAME, aside)
        write_json(aside / ENSEMBLE_NAME, {"schema": SCHEMA, "members": members})


def _holds(best: Path, members: list[dict[str, Any]]) -> bool:
    """Tell whether a folder holds the ensemble of these members, undamaged."""
    if not (best / ENSEMBLE_NAME).is_file():
        return False
    try:
        found = [fingerprint_checkpoint(folder) for folder in member_folders(best)]
        return found == [member["sha256"] for member in members]
    except (OSError, PokemonGenError):
        return False


def _check_together(members: Sequence[Checkpoint]) -> None:
    """Make sure that members have the same colours and training sprites, and can decode together."""
    first = members[0]
    for member in members:
        if isinstance(member.model, Ensemble):
            raise PokemonGenError(f"{member.folder}: an ensemble itself; name its members instead")
        if member.palette != first.palette:
            raise PokemonGenError(f"{member.folder}: of another palette than {first.folder}")
        if not can_decode(member.model):
            raise PokemonGenError(
                f"{member.folder}: keeps its past not as keys and values, so it cannot be a member"
            )
        seen = [read_json(one.folder / SPRITES_NAME)["fingerprint"] for one in (member, first)]
        fold_sizes = [one.settings.sprites.fold_size for one in (member, first)]
        if len(set(seen)) > 1 or len(set(fold_sizes)) > 1:
            raise PokemonGenError(
                f"{member.folder}: trained on other sprites than {first.folder}; what is held out from one "
                "would be known to the other"
            )
