"""Plain values → settings. All mistakes are reported at once, each with its place."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pokemon_gen.config_files.checks import TRAINING_REFUSED
from pokemon_gen.config_files.extends import EXTENDS
from pokemon_gen.config_files.fields import model_fields, training_types
from pokemon_gen.config_files.retired import retired_settings
from pokemon_gen.config_files.sections import value_at
from pokemon_gen.errors import PokemonGenError, closest
from pokemon_gen.settings import RunSettings, SectionAlone

Section = TypeVar("Section", bound=BaseModel)


def validate(
    kind: type[Section], values: dict[str, Any], place: Callable[[Sequence[str | int]], str]
) -> Section:
    """Make settings from plain values.

    Args:
        kind: the class of the settings.
        values: section → setting → value.
        place: returns where the setting at a location comes from, such as `file:line:column`.

    Raises:
        PokemonGenError: one line for each mistake.
    """
    retired = retired_settings(values)
    mistakes = [f"{place(location)}: {message}" for location, message in retired.items()]
    settings = None
    try:
        settings = kind.model_validate(values)
    except ValidationError as error:
        model_type = value_at(values, ("model", "model_type"))
        mistakes += [
            f"{place(fault['loc'])}: {_explain(fault, kind, model_type)}"
            for fault in error.errors()
            if fault["loc"] not in retired
        ]
    if mistakes or settings is None:
        raise PokemonGenError("\n".join(mistakes))
    return settings


def _explain(fault: Any, kind: type[BaseModel], model_type: object) -> str:
    """Turn one of pydantic's errors into a sentence that holds the setting's dotted name."""
    dotted = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"unknown setting {dotted!r}{closest(dotted, _dotted_names(kind, model_type))}"
    if fault["type"] == "missing":
        return f"{dotted!r} is missing"
    message = (
        fault["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("should be", "must be")
    )
    value = "" if isinstance(fault["input"], dict) else f", not {fault['input']!r}"
    return f"{dotted}: {message}{value}"


def _dotted_names(kind: type[BaseModel], model_type: object) -> list[str]:
    """Return the dotted names of all settings, with the fields of `training` and of the model's type."""
    names: list[str] = []
    if issubclass(kind, RunSettings):
        names += [f"training.{name}" for name in training_types() or () if name not in TRAINING_REFUSED]
        names += [f"model.{name}" for name in model_fields(str(model_type)) or ()]
    names += _names_in(kind)
    if not issubclass(kind, SectionAlone):
        names.append(EXTENDS)
    return names


def _names_in(kind: type[BaseModel]) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from (f"{name}.{inner}" for inner in _names_in(section))
        if not issubclass(kind, SectionAlone):
            yield name
