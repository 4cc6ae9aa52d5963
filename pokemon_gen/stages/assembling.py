"""The stage that makes an ensemble of checkpoints: `checkpoints/<name>/best/`, each member in a folder."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pokemon_gen.decoding import can_decode
from pokemon_gen.ensemble import ENSEMBLE_NAME, Ensemble
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json, write_json
from pokemon_gen.models import Checkpoint, fingerprint_checkpoint, load_checkpoint
from pokemon_gen.runs import CHECKPOINTS, SPRITES_NAME, copy_checkpoint
from pokemon_gen.selection import BEST_NAME, choose_checkpoint
from pokemon_gen.settings import Settings

SCHEMA = 1


@dataclass(frozen=True)
class Assembled:
    """An ensemble: its folder, and its members' names, places and the reasons why they were chosen."""

    folder: Path
    members: list[dict[str, Any]]


def assemble(
    name: str,
    checkpoints: Sequence[str | Path],
    overwrite: bool = False,
    settings: Settings | None = None,
) -> Assembled:
    """Make an ensemble, which completes, submits and scores as any checkpoint does.

    Args:
        name: of the ensemble: `checkpoints/<name>/best/` is made.
        checkpoints: the members, or runs, whose best are taken.
        overwrite: replace an ensemble that is there.
        settings: what the ensemble remembers of its making and how it completes; none: the first member's.

    Raises:
        PokemonGenError: for fewer than two members, members that do not fit together, or a run or another
            ensemble of this name.
    """
    if len(checkpoints) < 2:
        raise PokemonGenError("an ensemble has two or more members")
    choices = [choose_checkpoint(checkpoint) for checkpoint in checkpoints]
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
    if _is_there(best, members, overwrite):
        return Assembled(best, members)
    loaded = [load_checkpoint(choice.checkpoint) for choice in choices]
    _check_together(loaded)
    settings = settings or loaded[0].settings.model_copy(update={"name": name})
    aside = best.with_name(f".{BEST_NAME}")
    shutil.rmtree(aside, ignore_errors=True)
    for member, choice in zip(members, choices, strict=True):
        copy_checkpoint(choice.checkpoint, aside / member["folder"])
    loaded[0].palette.save(aside)
    settings.save(aside)
    shutil.copy2(loaded[0].folder / SPRITES_NAME, aside)
    write_json(aside / ENSEMBLE_NAME, {"schema": SCHEMA, "members": members})
    shutil.rmtree(best, ignore_errors=True)
    aside.rename(best)
    return Assembled(best, members)


def _is_there(best: Path, members: list[dict[str, Any]], overwrite: bool) -> bool:
    """Tell whether this very ensemble is there already.

    Raises:
        PokemonGenError: if something else is, and is not to be replaced.
    """
    if (best / ENSEMBLE_NAME).is_file():
        before = [member["sha256"] for member in read_json(best / ENSEMBLE_NAME)["members"]]
        if before == [member["sha256"] for member in members]:
            return True
        if not overwrite:
            raise PokemonGenError(f"{best} holds an ensemble of others, and is kept; --overwrite replaces it")
    elif best.exists() or list(best.parent.glob("checkpoint-*")):
        raise PokemonGenError(f"{best.parent} is a run, and is kept: give the ensemble a name of its own")
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
        held_out = [one.settings.sprites.held_out for one in (member, first)]
        if len(set(seen)) > 1 or len(set(held_out)) > 1:
            raise PokemonGenError(
                f"{member.folder}: trained on other sprites than {first.folder}; what is held out from one "
                "would be known to the other"
            )
