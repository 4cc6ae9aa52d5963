"""A YAML loader that reads values as people mean them and is safe for files from anybody.

PyYAML reads YAML 1.1, in which `no` is false and `3e-4` is a text. It expands anchors until memory is
full, and for some values it raises Python's own errors. This loader reads such values as they look, or
reports an error with line and column.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from pokemon_gen.errors import PokemonGenError

DEEPEST = 20
"""Largest number of nested levels. A shipped config has five."""


def load_yaml(text: str, file: Path) -> tuple[yaml.Node | None, Any]:
    """Read YAML text.

    Args:
        text: the content of the file.
        file: its path, for error messages.

    Returns:
        The nodes, which know their line and column, and the values.

    Raises:
        PokemonGenError: for text that is not YAML of plain values, with line and column.
    """
    try:
        return yaml.compose(text, PlainLoader), yaml.load(text, PlainLoader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
        raise PokemonGenError(f"{place}: cannot be read as YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise PokemonGenError(f"{file}: cannot be read as YAML: {error}") from error


class PlainLoader(yaml.SafeLoader):
    """Loader of plain values: `3e-4` is a number; `no`, `12:30`, `010` and `2026-11-26` are texts.

    A repeated key is an error. So is an alias, because a short text of aliases can expand to gigabytes,
    and a value that does not match its tag.
    """

    _level = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        """Compose a node; refuse aliases and deep nesting."""
        mark = self.peek_event().start_mark
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(
                None, None, "aliases (*) are not supported; write the value out", mark
            )
        self._level += 1
        if self._level > DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"more than {DEEPEST} levels deep", mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._level -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Construct a value; turn Python's own errors (`!!int x`, 5,000 digits) into errors of YAML."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, AttributeError, LookupError, TypeError) as error:
            kind = node.tag.rpartition(":")[2]
            problem = f"not a value of type {kind!r}, or too long"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a section; its keys must be plain words, and each must appear once."""
        if not isinstance(node, yaml.MappingNode):
            raise yaml.constructor.ConstructorError(
                None, None, "a section consists of `key: value` lines", node.start_mark
            )
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a plain word", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} appears twice", key.start_mark
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
