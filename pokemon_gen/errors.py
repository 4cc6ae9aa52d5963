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


def closest(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the nearest of `known`, or an empty string.

    Of dotted names, those whose last part is the nearest count as near too, and of these the ones in the
    fewest sections: `learning_rate` is meant for `training.learning_rate`.
    """
    known = list(known)
    last = name.rpartition(".")[2]
    parts = {one.rpartition(".")[2] for one in known}
    near = difflib.get_close_matches(last, sorted(parts), n=1, cutoff=0.8)
    same = sorted((one for one in known if one.rpartition(".")[2] in near), key=lambda one: one.count("."))
    best = difflib.get_close_matches(name, same, n=1, cutoff=0.8) or same[:1]
    best = best or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {best[0]!r}?" if best else ""
