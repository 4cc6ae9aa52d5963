"""Whether an ensemble may be trained in a folder: its members are the runs inside, `member-0/`,
`member-1/`, ...

Loads no torch, so that a folder that is taken is reported at once.
"""

from pokemon_gen.constants import CHECKPOINTS
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.runs import BEST_NAME, member_runs
from pokemon_gen.settings import Settings


def check_members(settings: Settings, overwrite: bool) -> None:
    """Refuse a folder in which an ensemble cannot be trained, before anything is trained.

    Raises:
        PokemonGenError: for a run of one model, or an ensemble that was combined by hand, unless it is to
            be replaced.
    """
    folder = CHECKPOINTS / settings.name
    if overwrite or member_runs(folder):
        return
    if list(folder.glob("checkpoint-*")):
        raise PokemonGenError(
            f"{folder} holds a run of one model, and is kept. Choose another name (name=...), or replace it "
            "with --overwrite."
        )
    if (folder / BEST_NAME).exists():
        raise PokemonGenError(
            f"{folder / BEST_NAME} holds an ensemble that does not belong to this run, and is kept. Choose "
            "another name (name=...), or replace it with --overwrite."
        )
