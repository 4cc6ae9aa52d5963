"""Settings that lose their meaning when another setting changes.

A config that sets `max_steps` and is overridden with `num_train_epochs=2` would still train for
`max_steps`, because `transformers` prefers that field. The same holds for a config that extends another
one. So the older setting is dropped, and the user gets a message that says so.
"""

from collections.abc import Iterator
from typing import Any

from pokemon_gen.config_files.sections import value_at

_SUPERSEDED = {
    "training.lr_scheduler_type": "training.lr_scheduler_kwargs",  # the arguments of the old schedule
    "training.optim": "training.optim_args",
    "training.num_train_epochs": "training.max_steps",  # `transformers` would prefer max_steps
    "completion.do_sample": "completion.candidates",  # greedy candidates would all be equal
}
"""A new value of the first setting drops the old value of the second."""


def superseded_settings(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the dotted names of each changed setting and of the setting in `before` that it supersedes."""
    for changed, superseded in _SUPERSEDED.items():
        new = value_at(after, changed.split("."))
        if new is None or new == value_at(before, changed.split(".")):
            continue
        if changed == "completion.do_sample" and new is not False:
            continue
        if value_at(before, superseded.split(".")) is not None:
            yield changed, superseded
