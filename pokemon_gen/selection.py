"""Which checkpoint of a run is best, and why: the one with the lowest dev NLL of the completion.

Not the lowest training loss, which falls for as long as a model learns its sprites by heart.
"""

from dataclasses import dataclass
from pathlib import Path

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.runs import log_history, step_of, whole_checkpoints


@dataclass(frozen=True)
class Choice:
    """A chosen checkpoint, and the reason in words."""

    checkpoint: Path
    reason: str


def choose_checkpoint(folder: str | Path) -> Choice:
    """Return a checkpoint: the folder itself, or the best of a run's folder.

    Raises:
        PokemonGenError: if there is no whole checkpoint.
    """
    folder = Path(folder)
    if (folder / "config.json").is_file():
        return Choice(folder, "as asked for")
    if not folder.is_dir():
        raise PokemonGenError(f"{folder}: no such checkpoint or run")
    checkpoints = whole_checkpoints(folder)
    if not checkpoints:
        raise PokemonGenError(f"{folder}: no whole checkpoint in it; `pokemon-gen train CONFIG` makes some")
    measured = {
        entry["step"]: entry["eval_completion_nll"]
        for entry in log_history(checkpoints[-1])
        if "eval_completion_nll" in entry
    }
    ranked = [c for c in checkpoints if step_of(c) in measured]
    if not ranked:
        return Choice(checkpoints[-1], "the last one; dev was never measured where one was saved")
    best = min(ranked, key=lambda c: measured[step_of(c)])
    nll = measured[step_of(best)]
    return Choice(best, f"lowest dev completion NLL of {len(ranked)} checkpoints, {nll:.4f} nats/token")
