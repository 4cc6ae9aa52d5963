"""`pokemon-gen ensemble`: combine checkpoints into one that averages their probabilities.

The ensemble is `checkpoints/<name>/best/`, with each member in a folder of its own.
"""

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
from pokemon_gen.files import atomic_folder, write_json
from pokemon_gen.models.checkpoints import (
    ENSEMBLE_NAME,
    SPRITES_NAME,
    copy_checkpoint,
    fingerprint_checkpoint,
    is_ensemble,
    member_folders,
    trained_on,
)
from pokemon_gen.models.choice import Choice, read_choice
from pokemon_gen.models.ensemble import Ensemble
from pokemon_gen.models.loading import Checkpoint, load_checkpoint
from pokemon_gen.models.locks import writing_to
from pokemon_gen.models.runs import BEST_NAME, DETECTOR_NAME, detector_folder
from pokemon_gen.settings import Settings
from pokemon_gen.stages.plans import plan_ensemble

SCHEMA = 2
"""The version of `ensemble.json`; it changes when a field changes its meaning."""


@dataclass(frozen=True)
class EnsembleResult:
    """An ensemble: its folder, and each member's folder, source and the reason why it was chosen."""

    folder: Path
    members: list[dict[str, Any]]


def ensemble(
    name: str,
    checkpoints: Sequence[str | Path],
    overwrite: bool = False,
    settings: Settings | None = None,
) -> EnsembleResult:
    """Combine checkpoints into an ensemble, which completes, submits and scores like any checkpoint.

    Args:
        name: of the ensemble, whose folder is `checkpoints/<name>/best/`.
        checkpoints: the members, or runs, whose best checkpoints are used.
        overwrite: replace an ensemble that exists.
        settings: what the ensemble records of its training and how it completes; None: the first member's.

    Raises:
        PokemonGenError: for fewer than two members, members that do not fit together, an invalid name, or a
            run or another ensemble of this name.
    """
    choices = plan_ensemble(name, checkpoints)
    members = [_describe(number, choice) for number, choice in enumerate(choices)]
    best = CHECKPOINTS / name / BEST_NAME
    with writing_to(best.parent):
        if not _holds(best, members):
            if best.exists() and not overwrite:
                raise PokemonGenError(
                    f"{best} holds an ensemble of other members, and is kept. Choose another name, or "
                    "replace it with --overwrite."
                )
            _build(name, members, [load_checkpoint(read_choice(choice)) for choice in choices], settings)
        elif settings:
            settings.save(best)  # how it completes may have changed
        _copy_first_detector(choices[0].folder.resolve().parent, best)
    return EnsembleResult(best, members)


def _describe(number: int, choice: Choice) -> dict[str, Any]:
    """Return what `ensemble.json` records of a member."""
    return {
        "folder": f"member-{number}",
        "from": str(choice.folder),
        "chosen_for": choice.reason,
        "chosen_on": choice.chosen_on,
        "sha256": fingerprint_checkpoint(choice.folder),
    }


def _copy_first_detector(first: Path, best: Path) -> None:
    """Copy the first member's detector, to rank candidates, unless the ensemble has one for these sprites.

    Args:
        first: the run of the first member.
        best: the ensemble's `best/`.
    """
    run = best.parent
    if detector_folder(first).resolve() == (run / DETECTOR_NAME).resolve():
        return  # the member is inside the ensemble's folder
    own = sprites_fingerprint(metadata_of(run / DETECTOR_NAME))
    copy_detector(first, run, replace=own != trained_on(best).get("fingerprint"))


def _build(
    name: str, members: list[dict[str, Any]], loaded: Sequence[Checkpoint], settings: Settings | None
) -> None:
    """Build an ensemble's folder, in place of one that exists."""
    _require_compatible(loaded)
    settings = settings or loaded[0].settings.model_copy(update={"name": name})
    with atomic_folder(CHECKPOINTS / name / BEST_NAME) as temporary:
        for member, checkpoint in zip(members, loaded, strict=True):
            copy_checkpoint(checkpoint.folder, temporary / member["folder"])
        loaded[0].palette.save(temporary)
        settings.save(temporary)
        shutil.copy2(loaded[0].folder / SPRITES_NAME, temporary)
        write_json(temporary / ENSEMBLE_NAME, {"schema": SCHEMA, "members": members})


def _holds(best: Path, members: list[dict[str, Any]]) -> bool:
    """Tell whether a folder holds the ensemble of these members, undamaged."""
    if not is_ensemble(best):
        return False
    try:
        found = [fingerprint_checkpoint(folder) for folder in member_folders(best)]
    except (OSError, PokemonGenError):
        return False
    return found == [member["sha256"] for member in members]


def _require_compatible(members: Sequence[Checkpoint]) -> None:
    """Check that members have the same colours and training sprites, and can decode together."""
    first = members[0]
    for member in members:
        if isinstance(member.model, Ensemble):
            raise PokemonGenError(f"{member.folder}: it is an ensemble itself. Name its members instead.")
        if member.palette != first.palette:
            raise PokemonGenError(f"{member.folder}: it has another palette than {first.folder}")
        if not can_decode(member.model):
            raise PokemonGenError(
                f"{member.folder}: its state is not keys and values, so it cannot decode in an ensemble"
            )
        fingerprints = {(one.provenance["trained_on"] or {}).get("fingerprint") for one in (member, first)}
        sections = [one.settings.sprites for one in (member, first)]
        folds = {(section.fold_size, section.fold_seed) for section in sections}
        if len(fingerprints) > 1 or len(folds) > 1:
            raise PokemonGenError(
                f"{member.folder}: it was trained on other sprites than {first.folder}, so one may have seen "
                "sprites that are held out from the other"
            )
