"""YAML as people mean it, and safe to read from anybody: plain values, a few levels deep, each in its place.

PyYAML reads YAML 1.1, where `no` is false and `3e-4` a word, expands anchors until memory is full, and raises
errors of Python's own for some values. Here each of these is an error with its line and column, or what it
looks like.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from pokemon_gen.errors import PokemonGenError

DEEPEST = 20
"""Levels of sections in sections; a config has five."""


def load_yaml(text: str, file: Path) -> tuple[yaml.Node | None, Any]:
    """Read YAML: its nodes, which know their places, and its values.

    Args:
        text: what the file holds.
        file: named in errors.

    Raises:
        PokemonGenError: for a text that is no YAML of plain values, with line and column.
    """
    try:
        return yaml.compose(text, PlainLoader), yaml.load(text, PlainLoader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
        raise PokemonGenError(f"not a YAML file: {place}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise PokemonGenError(f"not a YAML file: {file}: {error}") from error


class PlainLoader(yaml.SafeLoader):
    """Plain values as people mean them: `3e-4` is a number; `no`, `12:30`, `010` and `2026-11-26` are words.

    PyYAML reads them as YAML 1.1 does, the other way round. A key that comes twice is an error, and so are
    aliases, of which a short text unfolds to gigabytes, and values that are not what their tag says.
    """

    _level = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        """Compose a value that is written out, not too deep."""
        mark = self.peek_event().start_mark
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "an alias (*): write the value out", mark)
        self._level += 1
        if self._level > DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"more than {DEEPEST} levels deep", mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._level -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Make a value; `!!int x` and an integer of 5,000 digits are errors of Python's own."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, AttributeError, LookupError, TypeError) as error:
            kind = node.tag.rpartition(":")[2]
            problem = f"not a value of the kind {kind!r}, or one too long"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make a section, of plain words that come once each."""
        if not isinstance(node, yaml.MappingNode):
            raise yaml.constructor.ConstructorError(
                None, None, "a section has keys and values", node.start_mark
            )
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is a plain word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} stands here a second time", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_BOOL, _FLOAT, _INT, _TIME = (f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "int", "timestamp"))
PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOL, _FLOAT, _INT, _TIME)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
PlainLoader.add_implicit_resolver(_INT, re.compile(r"^[-+]?(0|[1-9][0-9_]*)$"), list("-+0123456789"))
PlainLoader.add_implicit_resolver(_BOOL, re.compile(r"^(true|false|True|False)$"), list("tfTF"))
_NUMBER = r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan"
PlainLoader.add_implicit_resolver(_FLOAT, re.compile(f"^({_NUMBER})$"), list("-+.0123456789"))
