"""Reading configs: a YAML file and overrides → settings, every mistake with its place.

A setting that is not known is an error that names the nearest known one, with its file, line and
column: a misspelt `weight_deacy` must never train for an hour without it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pokemon_gen.errors import PokemonGenError, closest
from pokemon_gen.settings import JudgeSettings, Settings, SpritesAlone, SpriteSettings

JUDGE_CONFIG = "judge"
"""The shipped config of the judge."""
Section = TypeVar("Section", bound=BaseModel)


def load_settings(path: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """Read one run's settings from a YAML (or JSON) file.

    Args:
        path: the file, or the bare name of a shipped config (`quick`).
        overrides: `dotted.name=value` each, the value in YAML: `training.learning_rate=3e-4`.

    Raises:
        PokemonGenError: for a file that is no YAML, and for every unknown or mistyped setting.
    """
    return _load(Settings, find_config(path), {}, overrides)


def load_judge_settings(source: str, overrides: Sequence[str] = ()) -> JudgeSettings:
    """Read the judge's settings, `configs/judge.yaml`, for a source of sprites.

    Args:
        source: as `SpriteSettings.source`.
        overrides: `judge.classifier.steps=100`, `sprites.palette=colormap.txt` and the like.

    Raises:
        PokemonGenError: as `load_settings`.
    """
    return _load(JudgeSettings, find_config(JUDGE_CONFIG), {"sprites": {"source": source}}, overrides)


def _load(kind: type[Section], file: Path, given: dict[str, Any], overrides: Sequence[str]) -> Section:
    """Read a YAML file, put what is `given` into it, override, and check."""
    try:
        text = file.read_text(encoding="utf-8")
        root = yaml.compose(text, _Loader)
        values = yaml.load(text, _Loader)  # a SafeLoader: plain values only
    except OSError as error:
        raise PokemonGenError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PokemonGenError(f"{file}: not a UTF-8 text file") from error
    except yaml.YAMLError as error:
        raise PokemonGenError(f"not a YAML file: {_yaml_fault(file, error)}") from error
    if not isinstance(values, dict):
        raise PokemonGenError(f"{file}:1:1: a config is a list of `key: value` lines")
    values.update(given)
    overridden = [_override(values, override) for override in overrides]
    settings = _validate(kind, values, lambda location: _position(file, root, location), overridden)
    for location in _locations(values):
        dotted = ".".join(location)
        place = "command line" if _is_of(dotted, overridden) else _position(file, root, location)
        settings._places[dotted] = place  # type: ignore[attr-defined]
    return settings


def _locations(values: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the way to every key, sections and what they hold."""
    for key, value in values.items():
        yield (str(key),)
        if isinstance(value, dict):
            yield from ((str(key), *below) for below in _locations(value))


def override_sprites(known: SpriteSettings, overrides: Sequence[str]) -> SpriteSettings:
    """Return the settings of sprites with `sprites.name=value` overrides; other overrides are mistakes.

    Raises:
        PokemonGenError: for every unknown or mistyped setting.
    """
    values: dict[str, Any] = {"sprites": known.model_dump()}
    overridden = [_override(values, override) for override in overrides]
    return _validate(SpritesAlone, values, lambda location: "command line", overridden).sprites


def find_config(path: str | Path) -> Path:
    """Return the config's file: the path itself, or the shipped config of that name.

    Raises:
        PokemonGenError: if there is neither, naming the shipped configs.
    """
    file = Path(path)
    if file.is_file():
        return file
    name = file.stem if file.suffix == ".yaml" else file.name
    folders = [
        Path("configs"),
        Path(__file__).parent.parent / "configs",
        Path(__file__).parent / "configs",
    ]
    for folder in folders:
        shipped = folder / f"{name}.yaml"
        if shipped.is_file() and str(file.parent) in (".", "configs"):
            return shipped
    names = sorted({config.stem for folder in folders for config in folder.glob("*.yaml")})
    raise PokemonGenError(f"{path}: no such config{closest(name, names)} (shipped: {', '.join(names)})")


class _Loader(yaml.SafeLoader):
    """Plain values as people mean them: `3e-4` is a number; `no`, `12:30`, `010` and `2026-11-26` are words.

    PyYAML reads them as YAML 1.1 does, the other way round. A key that comes twice is an error.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
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
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOL, _FLOAT, _INT, _TIME)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INT, re.compile(r"^[-+]?(0|[1-9][0-9_]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(true|false|True|False)$"), list("tfTF"))
_NUMBER = r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan"
_Loader.add_implicit_resolver(_FLOAT, re.compile(f"^({_NUMBER})$"), list("-+.0123456789"))


def _yaml_fault(file: Path, error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{file}:{mark.line + 1}:{mark.column + 1}: {error.problem}"
    return f"{file}: {error}"


def _override(values: dict[str, Any], override: str) -> str:
    """Put one `dotted.name=value` into `values`; return the dotted name."""
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise PokemonGenError(
            f"{override!r} is no override: write dotted.name=value, such as training.learning_rate=3e-4"
        )
    *sections, key = dotted.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise PokemonGenError(f"command line: {dotted}: {section} is no section")
    try:
        values[key] = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise PokemonGenError(f"command line: {dotted}: {text!r} is not a YAML value") from error
    return dotted


def _validate(
    kind: type[Section],
    values: dict[str, Any],
    position: Callable[[Sequence[str | int]], str],
    overridden: Sequence[str],
) -> Section:
    """Make settings of plain values; a fault is placed by `position`, or at the override it came by."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            dotted = ".".join(map(str, fault["loc"]))
            by_override = _is_of(dotted, overridden) or any(
                name.startswith(f"{dotted}.") for name in overridden
            )
            where = "command line" if by_override else position(fault["loc"])
            faults.append(f"{where}: {_explain(fault, dotted, kind)}")
        raise PokemonGenError("\n".join(faults)) from None


def _is_of(dotted: str, overridden: Sequence[str]) -> bool:
    """Tell whether a setting was overridden, by itself or with the section around it."""
    return any(f"{dotted}.".startswith(f"{name}.") for name in overridden)


def _position(file: Path, node: yaml.Node | None, location: Sequence[str | int]) -> str:
    """Return `file:line:column` of the key at `location`, or of the nearest section around it."""
    mark = node.start_mark if node else None
    for key in location:
        if not isinstance(node, yaml.MappingNode):
            break
        found = next((pair for pair in node.value if pair[0].value == key), None)
        if found is None:
            break
        mark, node = found[0].start_mark, found[1]
    return f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)


def _explain(fault: Any, dotted: str, kind: type[BaseModel]) -> str:
    """Turn one of pydantic's faults into a sentence with the setting's dotted name."""
    if fault["type"] == "extra_forbidden":
        return f"unknown setting {dotted!r}{closest(dotted, _dotted_names(kind))}"
    if fault["type"] == "missing":
        return f"{dotted!r} is missing"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    value = "" if isinstance(fault["input"], dict) else f", not {fault['input']!r}"
    return f"{dotted}: {message}{value}"


def _dotted_names(kind: type[BaseModel]) -> list[str]:
    names = []
    for name, field in kind.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            names += [f"{name}.{inner}" for inner in _dotted_names(section)]
        if kind is not SpritesAlone:
            names.append(name)
    return names
