"""Nested sections of plain values: dictionaries in dictionaries, as YAML and JSON hold them.

A *location* is the sequence of keys that leads to a value: `("training", "max_steps")`. A *dotted name*
is the same in one string: `training.max_steps`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def locations(values: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the location of every key, of sections as well as of the keys inside them."""
    for key, value in values.items():
        yield (str(key),)
        if isinstance(value, dict):
            yield from ((str(key), *below) for below in locations(value))


def value_at(values: Any, location: Sequence[str]) -> Any:
    """Return the value at a location, or None if there is no such key."""
    for key in location:
        values = values.get(key) if isinstance(values, dict) else None
    return values
