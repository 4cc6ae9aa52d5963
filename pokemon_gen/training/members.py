"""Whether an ensemble may be trained in a folder: its members are the runs inside, `member-0/`,
`member-1/`, ...

Loads no torch, so that a folder that is taken is reported at once.
"""

from typing import Any

from pokemon_gen.constants import CHECKPOINTS, SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json
from pokemon_gen.models.runs import BEST_NAME, last_checkpoint, member_runs
from pokemon_gen.settings import Settings


def check_members(settings: Settings, overwrite: bool) -> None:
    """Refuse a folder in which an ensemble cannot be trained, before anything is trained.

    Raises:
        PokemonGenError: for a run of one model, an ensemble that was combined by hand, or members where
            versions before 0.2 kept them, unless they are to be replaced.
    """
    folder = CHECKPOINTS / settings.name
    if overwrite or member_runs(folder):
        return
    if list(folder.glob("checkpoint-*")):
        raise PokemonGenError(
            f"{folder} holds a run of one model, and is kept. Choose another name (name=...), or replace it "
            "with --overwrite."
        )
    _refuse_old_layout(settings)
    if (folder / BEST_NAME).exists():
        raise PokemonGenError(
            f"{folder / BEST_NAME} holds an ensemble that does not belong to this run, and is kept. Choose "
            "another name (name=...), or replace it with --overwrite."
        )


def _refuse_old_layout(settings: Settings) -> None:
    """Say how to move members that versions before 0.2 kept in `<name>-<number>`, outside their ensemble."""
    moves = []
    for number, member in enumerate(settings.each_member()):
        old = CHECKPOINTS / f"{settings.name}-{number}"
        saved = last_checkpoint(old)
        if saved and _is_old_member(read_json(saved / SETTINGS_NAME), old.name, member):
            moves.append(f"mv {old} {CHECKPOINTS / member.name}")
    if moves:
        folder = CHECKPOINTS / settings.name
        raise PokemonGenError(
            f"{folder}: this ensemble has members outside its folder, where versions before 0.2 kept them. "
            f"Move them inside (mkdir -p {folder} && {' && '.join(moves)}), or choose another name "
            "(name=...)."
        )


def _is_old_member(saved: dict[str, Any], name: str, member: Settings) -> bool:
    """Tell whether saved settings are those of an ensemble's member under its old name."""
    same = (saved.get("name"), saved.get("members", 1), saved.get("seed")) == (name, 1, member.seed)
    return same and saved.get("model") == member.model
