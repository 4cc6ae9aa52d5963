"""Whether an ensemble may be trained in a run's folder: its members are the runs inside, `member-0/` and on.

Loads no torch, so that a folder that is taken is answered at once.
"""

from typing import Any

from pokemon_gen.constants import CHECKPOINTS, SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json
from pokemon_gen.models.runs import BEST_NAME, last_checkpoint, member_runs
from pokemon_gen.settings import Settings


def check_members(settings: Settings, overwrite: bool) -> None:
    """Refuse a folder in which an ensemble cannot be trained, before anything is.

    Raises:
        PokemonGenError: for a run of one model, an ensemble that was put together by hand, or members where
            versions before 0.2 kept them, unless they are to be replaced.
    """
    folder = CHECKPOINTS / settings.name
    if overwrite or member_runs(folder):
        return
    if list(folder.glob("checkpoint-*")):
        raise PokemonGenError(
            f"{folder} holds a run of one model, and is kept; choose another name (name=...), or --overwrite "
            "to replace it"
        )
    _refuse_old_layout(settings)
    if (folder / BEST_NAME).exists():
        raise PokemonGenError(
            f"{folder / BEST_NAME} holds an ensemble that is not of this run, and is kept; choose another "
            "name (name=...), or --overwrite to replace it"
        )


def _refuse_old_layout(settings: Settings) -> None:
    """Say how to move members that versions before 0.2 kept beside their ensemble, as `<name>-<number>`."""
    moves = []
    for number, member in enumerate(settings.each_member()):
        old = CHECKPOINTS / f"{settings.name}-{number}"
        saved = last_checkpoint(old)
        if saved and _is_member_of_before(read_json(saved / SETTINGS_NAME), old.name, member):
            moves.append(f"mv {old} {CHECKPOINTS / member.name}")
    if moves:
        folder = CHECKPOINTS / settings.name
        raise PokemonGenError(
            f"{folder}: members of this ensemble lie beside it, where versions before 0.2 kept them; now "
            f"they belong inside. Move them (mkdir -p {folder} && {' && '.join(moves)}), or choose another "
            "name (name=...)"
        )


def _is_member_of_before(saved: dict[str, Any], name: str, member: Settings) -> bool:
    """Tell whether saved settings are those of an ensemble's member, under its old name."""
    same = (saved.get("name"), saved.get("members", 1), saved.get("seed")) == (name, 1, member.seed)
    return same and saved.get("model") == member.model
