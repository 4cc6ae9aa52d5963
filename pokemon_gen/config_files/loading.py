"""Reading configs: a YAML file and overrides → settings, every mistake with its place.

A setting that is not known is an error that names the nearest known one, with its file, line and
column: a misspelt `weight_deacy` must never train for an hour without it.
"""

import copy
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from pokemon_gen.config_files.advice import idle_overrides
from pokemon_gen.config_files.fields import TRAINING_REFUSED, model_fields, training_types
from pokemon_gen.config_files.plain_yaml import PlainLoader, load_yaml
from pokemon_gen.constants import CHECKPOINTS, SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError, closest
from pokemon_gen.settings import JudgeSettings, Settings, SpritesAlone, SpriteSettings

JUDGE_CONFIG = "judge"
"""The shipped config of the judge."""
LARGEST_CONFIG = 100_000
"""Bytes: the longest shipped config has 3,000."""
_log = logging.getLogger(__name__)
Section = TypeVar("Section", bound=BaseModel)


def load_settings(path: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """Read one run's settings from a YAML (or JSON) file.

    Args:
        path: the file, or the bare name of a shipped config (`quick`).
        overrides: `dotted.name=value` each, the value in YAML: `training.learning_rate=3e-4`.

    Raises:
        PokemonGenError: for a file that is no YAML, and for every unknown or mistyped setting.
    """
    file = find_config(path)
    if file.stem == JUDGE_CONFIG and file in _shipped_configs():
        raise PokemonGenError(f"{file}: the judge's config, and no run's; `pokemon-gen judge SOURCE` uses it")
    settings = _load(Settings, file, {}, overrides)
    for note in idle_overrides(settings):
        _log.warning("%s", note)
    return settings


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
    root, values = _read(file)
    values.update(given)
    before = copy.deepcopy(values)
    overridden = [_override(kind, values, override) for override in _whole_sections_first(overrides)]
    _drop_superseded(values, before, overridden)
    settings = _validate(kind, values, lambda location: _position(file, root, location), overridden)
    for location in _locations(values):
        dotted = ".".join(location)
        place = "command line" if _is_of(dotted, overridden) else _position(file, root, location)
        settings._places[dotted] = place  # type: ignore[attr-defined]
        if place == "command line":
            settings._before[dotted] = _value_at(before, location)  # type: ignore[attr-defined]
    return settings


def _read(file: Path) -> tuple[yaml.Node | None, dict[str, Any]]:
    """Read a YAML file: its nodes, and its values.

    Raises:
        PokemonGenError: for a file that is no config.
    """
    try:
        if file.stat().st_size > LARGEST_CONFIG:
            raise PokemonGenError(f"{file}: no config: it has more than {LARGEST_CONFIG:,} bytes")
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise PokemonGenError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PokemonGenError(f"{file}: not a UTF-8 text file") from error
    root, values = load_yaml(text, file)
    if not isinstance(values, dict):
        raise PokemonGenError(f"{file}:1:1: a config is a list of `key: value` lines")
    return root, values


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
    overridden = [_override(SpritesAlone, values, override) for override in overrides]
    return _validate(SpritesAlone, values, lambda location: "command line", overridden).sprites


def find_config(path: str | Path) -> Path:
    """Return the config's file: the path itself, or the shipped config of that name.

    Raises:
        PokemonGenError: if there is neither, naming the shipped configs.
    """
    file = Path(path)
    if file.is_file():
        return file
    if (file / SETTINGS_NAME).is_file():  # a run's folder, or a checkpoint's
        return file / SETTINGS_NAME
    name = file.stem if file.suffix == ".yaml" else file.name
    shipped = next((config for config in _shipped_configs() if config.stem == name), None)
    if shipped and str(file.parent) in (".", "configs"):
        return shipped
    run = CHECKPOINTS / file / SETTINGS_NAME  # a run resumes with the settings it has
    if run.is_file() and not file.is_absolute() and str(file) != ".":
        return run
    names = sorted({config.stem for config in _shipped_configs()} - {JUDGE_CONFIG})
    runs = sorted(folder.parent.name for folder in CHECKPOINTS.glob(f"*/{SETTINGS_NAME}"))
    known = f"shipped: {', '.join(names)}" + (f"; runs: {', '.join(runs)}" if runs else "")
    raise PokemonGenError(f"{path}: no such config or run{closest(str(path), [*names, *runs])} ({known})")


def _shipped_configs() -> list[Path]:
    """Return the configs of the working directory and of the package; of two of one name the first counts."""
    package = Path(__file__).parent.parent
    folders = [
        Path("configs"),
        package.parent / "configs",
        package / "configs",
    ]
    return [config for folder in folders for config in sorted(folder.glob("*.yaml"))]


def _whole_sections_first(overrides: Sequence[str]) -> list[str]:
    """Sort overrides so that `model=gpt2` comes before `model.n_layer=3`, whatever their order."""
    return sorted(overrides, key=lambda override: override.partition("=")[0].count("."))


def _override(kind: type[BaseModel], values: dict[str, Any], override: str) -> str:
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
    if dotted == "model" and re.fullmatch(r"[\w.-]+", text):
        values[key] = _shipped_model(text)
    else:
        values[key] = _override_value(dotted, text, is_text=_is_text(kind, [*sections, key]))
    return dotted


def _override_value(dotted: str, text: str, is_text: bool) -> Any:
    """Return an override's value: a text as it is, anything else as YAML reads it.

    YAML takes ` #` for a comment, and `a: b` for a section: both occur in the names of folders.
    """
    if is_text:
        return None if text in ("null", "") else text
    try:
        value = yaml.load(text, PlainLoader)
    except yaml.YAMLError as error:
        raise PokemonGenError(f"command line: {dotted}: {_shown(text)} is not a YAML value") from error
    quoted = text.lstrip()[:1] in ("'", '"')
    return text if isinstance(value, str) and not quoted else value


def _shown(text: str) -> str:
    """Return a text as an error shows it."""
    return repr(text if len(text) <= 60 else f"{text[:60]}...")


def _is_text(kind: type[BaseModel], keys: Sequence[str]) -> bool:
    """Tell whether a setting is a text, or a text or nothing."""
    if kind is Settings and len(keys) == 2 and keys[0] == "training":
        kinds = (training_types() or {}).get(keys[1])
        return kinds is str or (kinds is not None and set(get_args(kinds)) == {str, type(None)})
    for number, key in enumerate(keys):
        field = kind.model_fields.get(key)
        if field is None:
            return False
        if number == len(keys) - 1:
            return field.annotation is str or set(get_args(field.annotation)) == {str, type(None)}
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return False
        kind = field.annotation
    return False


def shipped_types() -> set[str]:
    """Return the types of which a shipped config has a model."""
    models = (_read(config)[1].get("model") for config in _shipped_configs())
    return {str(model.get("model_type")) for model in models if isinstance(model, dict)}


def _shipped_model(name: str) -> dict[str, Any]:
    """Return the `model:` section of the shipped config of this name, or else of this `model_type`.

    Raises:
        PokemonGenError: if there is none, naming the types that there are.
    """
    sections: dict[str, dict[str, Any]] = {}
    for config in _shipped_configs():
        _, values = _read(config)
        model = values.get("model")
        if isinstance(model, dict) and isinstance(model.get("model_type"), str):
            sections.setdefault(config.stem, model)
    types = {section["model_type"]: section for section in sections.values()}
    found: dict[str, Any] | None = sections.get(name, types.get(name.lower()))
    if found is None:
        near = closest(name, [*types, *sections])
        raise PokemonGenError(
            f"command line: model: no shipped config has a model {name!r}{near} (types: "
            f"{', '.join(sorted(types))}; configs: {', '.join(sorted(sections))})"
        )
    return found


_SUPERSEDED = {
    "training.lr_scheduler_type": "training.lr_scheduler_kwargs",  # those of the old schedule
    "training.optim": "training.optim_args",
    "training.num_train_epochs": "training.max_steps",  # which would count for more
    "completion.do_sample": "completion.candidates",  # greedy completions are all the same
}
"""An override of the first takes back what the config says of the second, unless that is overridden too."""


def _drop_superseded(values: dict[str, Any], before: dict[str, Any], overridden: Sequence[str]) -> None:
    """Take back settings that belong to one that was overridden, and say so."""
    for dotted, other in _SUPERSEDED.items():
        section, key = other.split(".")
        new = _value_at(values, dotted.split("."))
        changed = dotted in overridden and new != _value_at(before, dotted.split("."))
        asked_for = any(name == section or f"{name}.".startswith(f"{other}.") for name in overridden)
        if dotted == "completion.do_sample" and new is not False:
            continue
        if changed and not asked_for and key in (values.get(section) or {}):
            old = values[section].pop(key)
            _log.warning("%s=%s takes the place of the config's %s (%s)", dotted, new, other, old)


def _value_at(values: Any, location: Sequence[str]) -> Any:
    """Return the value of a key, by its sections; None if there is none."""
    for key in location:
        values = values.get(key) if isinstance(values, dict) else None
    return values


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
            faults.append(
                f"{where}: {_explain(fault, dotted, kind, _value_at(values, ('model', 'model_type')))}"
            )
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


def _explain(fault: Any, dotted: str, kind: type[BaseModel], model_type: object) -> str:
    """Turn one of pydantic's faults into a sentence with the setting's dotted name."""
    if fault["type"] == "extra_forbidden":
        return f"unknown setting {dotted!r}{closest(dotted, _dotted_names(kind, model_type))}"
    if fault["type"] == "missing":
        return f"{dotted!r} is missing"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    value = "" if isinstance(fault["input"], dict) else f", not {fault['input']!r}"
    return f"{dotted}: {message}{value}"


def _dotted_names(kind: type[BaseModel], model_type: object = None) -> list[str]:
    names: list[str] = []
    if kind is Settings:
        names = [f"training.{name}" for name in training_types() or () if name not in TRAINING_REFUSED]
        names += [f"model.{name}" for name in model_fields(str(model_type)) or ()]
    for name, field in kind.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            names += [f"{name}.{inner}" for inner in _dotted_names(section)]
        if kind is not SpritesAlone:
            names.append(name)
    return names
