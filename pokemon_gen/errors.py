"""The one kind of error that is meant for people.

A mistake that a person can correct (a misspelt setting, a line with 399 tokens, a missing network
connection) raises `PokemonGenError`. Its message says where the mistake is, what is wrong, and what to
do. The command line prints only this message. Any other exception is a bug in this package and keeps its
traceback.
"""

import difflib
from collections.abc import Iterable


class PokemonGenError(Exception):
    """A mistake that a person can correct. The message says where it is, what is wrong, and what to do."""


class OwnCodeError(PokemonGenError):
    """An error in a person's own code. On the command line, `--debug` shows its traceback."""


class SettingError(PokemonGenError):
    """A mistake in a setting, raised by code that does not know the file which the setting comes from.

    `ConfigSettings.placing_errors` adds the place.

    Attributes:
        setting: the dotted name.
    """

    def __init__(self, setting: str, message: str) -> None:
        """Store the setting's dotted name and a message that says what is wrong with it."""
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
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_embd": "hidden_size",
}
"""Common name of a setting → its name in `transformers`."""


def closest(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` with the known name that is nearest to `name`, or an empty string.

    Dotted names are compared by their last part, because people forget the section: `learning_rate`
    means `training.learning_rate`. Among equals, a name in the same section comes first, then the
    shallowest one.
    """
    known = list(known)
    section, _, last = name.rpartition(".")
    last_parts = {candidate.rpartition(".")[2].lower() for candidate in known}
    shallow = {candidate.rpartition(".")[2].lower() for candidate in known if candidate.count(".") < 2}
    meant = last.lower()
    if meant not in shallow:
        meant = ALIASES.get(meant, meant)
    near = [meant]
    if meant not in last_parts:
        near = difflib.get_close_matches(meant, sorted(last_parts), n=1, cutoff=0.7)
    candidates = [candidate for candidate in known if candidate.rpartition(".")[2].lower() in near]

    def distance(candidate: str) -> tuple[bool, bool, int]:
        same_section = candidate.rpartition(".")[0] == section
        return not same_section, not candidate.startswith(f"{section}."), candidate.count(".")

    best = min(candidates, key=distance, default=None)
    if best is None:
        best = next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.6)), None)
    return f"; did you mean {best!r}?" if best else ""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
