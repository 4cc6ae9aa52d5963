"""The one kind of error that is meant for people.

A mistake somebody can mend (a misspelt setting, a line with 399 tokens, a missing network) is raised
as `PokemonGenError` with a message that says what is wrong, where, and what to do. The command line
prints that message and nothing else; any other exception is a bug of ours and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class PokemonGenError(Exception):
    """A mistake a person can mend. The message says what, where, and what to do."""


class SettingError(PokemonGenError):
    """A mistaken setting, found where its file is no longer known; `setting` is its dotted name."""

    def __init__(self, setting: str, message: str) -> None:
        """Name the setting and what is wrong with it."""
        super().__init__(message)
        self.setting = setting


ALIASES = {
    "lr": "learning_rate",
    "batch_size": "per_device_train_batch_size",
    "eval_batch_size": "per_device_eval_batch_size",
    "epochs": "num_train_epochs",
    "steps": "max_steps",
    "scheduler": "lr_scheduler_type",
    "optimizer": "optim",
    "wd": "weight_decay",
}
"""What people call settings, and what `transformers` does."""


def closest(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the nearest of `known`, or an empty string.

    Of dotted names, those whose last part is the nearest count, whatever their sections: of equals the one in
    the same section, then the one in the fewest. `learning_rate` is meant for `training.learning_rate`.
    """
    known = list(known)
    section, _, last = name.rpartition(".")
    meant = ALIASES.get(last.lower(), last.lower())
    parts = {one.rpartition(".")[2].lower() for one in known}
    near = [meant] if meant in parts else difflib.get_close_matches(meant, sorted(parts), n=1, cutoff=0.7)
    same = [one for one in known if one.rpartition(".")[2].lower() in near]

    def distance(one: str) -> tuple[bool, bool, int]:
        return one.rpartition(".")[0] != section, not one.startswith(f"{section}."), one.count(".")

    best = min(same, key=distance, default=None)
    if best is None:
        best = next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.6)), None)
    return f"; did you mean {best!r}?" if best else ""
