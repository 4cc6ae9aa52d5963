"""Overrides: `dotted.name=value` words that change a config's settings.

`model=NAME` takes the `model` section of a shipped config. A setting that loses its meaning through an
override is dropped (`superseded.py`).
"""

import re
from collections.abc import Sequence
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel

from pokemon_gen.config_files.extends import EXTENDS, read_config
from pokemon_gen.config_files.fields import training_types
from pokemon_gen.config_files.plain_yaml import PlainLoader
from pokemon_gen.config_files.reading import shipped_configs
from pokemon_gen.config_files.sections import value_at
from pokemon_gen.config_files.superseded import superseded_settings
from pokemon_gen.config_files.validation import validate
from pokemon_gen.errors import PokemonGenError, closest
from pokemon_gen.settings import RunSettings, Section, SpritesAlone, SpriteSettings
from pokemon_gen.study_settings import SamplingAlone, SamplingGrid
from pokemon_gen.text_settings import (
    CorpusAlone,
    CorpusSettings,
    GenerationAlone,
    GenerationSettings,
    TextSettings,
)

COMMAND_LINE = "command line"
"""Place of an overridden setting in error messages."""
_Kind = TypeVar("_Kind", bound=Section)
_LONGEST_SHOWN = 60
"""Characters of an override's value that an error message shows."""


def apply_overrides(kind: type[BaseModel], values: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Write overrides into the values of a config.

    Sections come before the settings inside them, so that `model.n_layer=3 model=gpt2` has three layers.

    Returns:
        The dotted names of the overridden settings.

    Raises:
        PokemonGenError: for a word that is not an override, or a value that is not YAML.
    """
    ordered = sorted(overrides, key=lambda override: override.partition("=")[0].count("."))
    return [_apply(kind, values, override) for override in ordered]


def override_sprites(known: SpriteSettings, overrides: Sequence[str]) -> SpriteSettings:
    """Return settings of sprites with `sprites.name=value` overrides applied.

    Raises:
        PokemonGenError: for every unknown or mistyped setting, and for settings outside `sprites`.
    """
    return _override(SpritesAlone, "sprites", known, overrides).sprites


def override_generation(known: TextSettings | None, overrides: Sequence[str]) -> GenerationSettings:
    """Return how a model of text continues, with `generation.name=value` overrides applied.

    Args:
        known: the settings of the model's run; None for a model of others.
        overrides: that change them.

    Raises:
        PokemonGenError: for every unknown or mistyped setting, and for settings outside `generation`.
    """
    section = known.generation if known else GenerationSettings()
    return _override(GenerationAlone, "generation", section, overrides).generation


def override_corpus(known: CorpusSettings, overrides: Sequence[str]) -> CorpusSettings:
    """Return settings of a corpus, with `corpus.name=value` overrides applied; see `override_sprites`."""
    return _override(CorpusAlone, "corpus", known, overrides).corpus


def override_sampling(overrides: Sequence[str]) -> SamplingGrid:
    """Return the default grid of a study of sampling, with `sampling.name=value` overrides applied."""
    return _override(SamplingAlone, "sampling", SamplingGrid(), overrides).sampling


def _override(kind: type[_Kind], name: str, section: Section, overrides: Sequence[str]) -> _Kind:
    """Return settings of one section with overrides applied."""
    values: dict[str, Any] = {name: section.model_dump(mode="json")}
    for override in overrides:
        _apply(kind, values, override)
    return validate(kind, values, lambda location: COMMAND_LINE)


def is_overridden(dotted: str, overridden: Sequence[str]) -> bool:
    """Tell whether a setting was overridden, by its own name or with the section around it."""
    return any(f"{dotted}.".startswith(f"{name}.") for name in overridden)


def holds_override(section: str, overridden: Sequence[str]) -> bool:
    """Tell whether a setting inside a section was overridden."""
    return any(name.startswith(f"{section}.") for name in overridden)


def drop_superseded(values: dict[str, Any], before: dict[str, Any], overridden: Sequence[str]) -> list[str]:
    """Drop settings that an override supersedes, unless they are overridden too.

    Args:
        values: the settings with the overrides, which this function changes.
        before: the settings without the overrides.
        overridden: dotted names of the overridden settings.

    Returns:
        A message for each dropped setting.
    """
    messages = []
    for changed, superseded in superseded_settings(before, values):
        section, key = superseded.split(".")
        asked_for = section in overridden or is_overridden(superseded, overridden)
        asked_for = asked_for or holds_override(superseded, overridden)
        if changed in overridden and not asked_for and key in values[section]:
            old = values[section].pop(key)
            new = value_at(values, changed.split("."))
            messages.append(f"{changed}={new} supersedes the config's {superseded}={old}")
    return messages


def shipped_types() -> set[str]:
    """Return the model types of the shipped configs."""
    models = (read_config(config).values.get("model") for config in shipped_configs())
    return {str(model.get("model_type")) for model in models if isinstance(model, dict)}


def _apply(kind: type[BaseModel], values: dict[str, Any], override: str) -> str:
    """Write one override into `values` and return its dotted name."""
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise PokemonGenError(
            f"{override!r} is not an override. Write dotted.name=value, such as training.learning_rate=3e-4."
        )
    if dotted == EXTENDS:
        raise PokemonGenError(
            f"{COMMAND_LINE}: {EXTENDS} cannot be overridden. Name the config itself instead, or write "
            f"a config with `{EXTENDS}: {text}`."
        )
    *sections, key = dotted.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise PokemonGenError(f"{COMMAND_LINE}: {dotted}: {section} is not a section")
    if dotted == "model" and re.fullmatch(r"[\w.-]+", text):
        values[key] = _shipped_model(text)
    elif _is_text(kind, [*sections, key]):
        values[key] = None if text in ("null", "") else text
    else:
        values[key] = _parse_value(dotted, text)
    return dotted


def _parse_value(dotted: str, text: str) -> Any:
    """Return the value of a text that is read as YAML.

    An unquoted text keeps all its characters: YAML would read ` #` as a comment.
    """
    try:
        value = yaml.load(text, PlainLoader)
    except yaml.YAMLError as error:
        shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
        raise PokemonGenError(f"{COMMAND_LINE}: {dotted}: {shown!r} is not a YAML value") from error
    quoted = text.lstrip()[:1] in ("'", '"')
    return text if isinstance(value, str) and not quoted else value


def _is_text(kind: type[BaseModel], keys: Sequence[str]) -> bool:
    """Tell whether a setting is a text, or either a text or null.

    Such a value is not parsed: to YAML ` #` begins a comment and `a: b` is a section, and both occur in
    the names of folders.
    """
    if issubclass(kind, RunSettings) and len(keys) == 2 and keys[0] == "training":
        return _is_text_type((training_types() or {}).get(keys[1]))
    for number, key in enumerate(keys):
        field = kind.model_fields.get(key)
        if field is None:
            return False
        if number == len(keys) - 1:
            return _is_text_type(field.annotation)
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return False
        kind = field.annotation
    return False


def _is_text_type(annotation: Any) -> bool:
    return annotation is str or set(get_args(annotation)) == {str, type(None)}


def _shipped_model(name: str) -> dict[str, Any]:
    """Return the `model` section of the shipped config with this name, or else with this `model_type`.

    Raises:
        PokemonGenError: if there is no such section, naming the types and configs that exist.
    """
    sections: dict[str, dict[str, Any]] = {}
    for config in shipped_configs():
        model = read_config(config).values.get("model")
        if isinstance(model, dict) and isinstance(model.get("model_type"), str):
            sections.setdefault(config.stem, model)
    types = {section["model_type"]: section for section in sections.values()}
    section: dict[str, Any] | None = sections.get(name, types.get(name.lower()))
    if section is None:
        near = closest(name, [*types, *sections])
        raise PokemonGenError(
            f"{COMMAND_LINE}: model: no shipped config has a model {name!r}{near} (types: "
            f"{', '.join(sorted(types))}; configs: {', '.join(sorted(sections))})"
        )
    return section
