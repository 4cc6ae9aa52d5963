"""The settings of a study: one base, and named variants of it. `study/` trains and compares them.

The docstrings of the fields are also the reference in `docs/configs.md`.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pokemon_gen.errors import closest
from pokemon_gen.settings import NAME_RULE, ConfigSettings, Section, SectionAlone, is_name

COMPLETIONS = 16
"""The most prompts that a study of sprites completes: a row of a sheet."""


class Variant(Section):
    """One way to train.

    A list of overrides alone is a variant too.
    """

    overrides: list[str] = Field([])
    """What differs from the base: `dotted.name=value`."""
    start_from: str | None = None
    """`GROUP/VARIANT` whose run of the same seed the training starts from."""
    optional: bool = False
    """Whether the variant is left out, with a note, if something that it needs is not on this machine."""


class StudyPlan(ConfigSettings):
    """All settings of a study."""

    name: str
    """Name of the study: its runs are `checkpoints/<name>.<group>.<variant>.<seed>`, and its results are in
    `eval/results/<name>/`."""
    question: str = ""
    """What the study asks, in a sentence, for its report."""
    learns: Literal["sprites", "text"] = "sprites"
    """What the runs learn from."""
    base: str
    """The config that all variants change."""
    source: str | None = None
    """The source of the sprites, or of the text, of every run and of all that is measured, unless a variant
    or `measure` names another. By default, that of the base."""
    always: list[str] = Field([])
    """Overrides of the base that every variant has."""
    seeds: list[int] = Field([0, 1, 2], min_length=1)
    """Seeds of the runs of each variant."""
    variants: dict[str, dict[str, Variant]]
    """Group → name → overrides, or a variant with `overrides`, `start_from` and `optional`."""
    seconds: float | None = Field(None, gt=0)
    """Length of each training in seconds of steps on this machine: a variant with slower steps gets fewer of
    them. By default, variants have the steps that their settings say."""
    folds: bool = False
    """On sprites: whether two folds of 80 sprites are held out of train and measured in place of dev."""
    measure: dict[str, list[str]] = Field({})
    """Name → overrides of `corpus` (or `sprites`), such as `corpus.source=riddles`, for each text (or source
    of sprites) on whose dev all runs are measured. By default, each run is measured on its own dev."""
    prompts: list[str] = Field([])
    """On text: prompts that every run continues."""
    completions: int = Field(0, ge=0, le=COMPLETIONS)
    """On sprites: how many dev prompts of the first source of `measure`, or of the run, are completed."""

    @field_validator("name")
    @classmethod
    def _name_follows_the_rule(cls, name: str) -> str:
        if not is_name(name) or "/" in name:
            raise ValueError(NAME_RULE)
        return name

    @field_validator("variants", mode="before")
    @classmethod
    def _a_list_is_a_variant(cls, variants: Any) -> Any:
        if not isinstance(variants, dict):
            return variants
        return {group: _named(members) for group, members in variants.items()}

    @model_validator(mode="after")
    def _starts_exist(self) -> Self:
        known = [f"{group}/{name}" for group, members in self.variants.items() for name in members]
        if not known:
            raise ValueError("variants: there is none. Name at least one.")
        for group, members in self.variants.items():
            for name, variant in members.items():
                if variant.start_from is not None and variant.start_from not in known:
                    near = closest(variant.start_from, known)
                    raise ValueError(f"{group}/{name}: start_from names no variant GROUP/VARIANT{near}")
        return self

    @model_validator(mode="after")
    def _the_kind_has_what_is_asked(self) -> Self:
        if self.learns == "sprites" and self.prompts:
            raise ValueError("prompts: they are for studies of text.")
        if self.learns == "text" and (self.folds or self.completions):
            raise ValueError("folds and completions: they are for studies of sprites.")
        if self.folds and (self.measure or self.completions):
            raise ValueError("folds: with them, nothing else is measured. Leave measure and completions out.")
        return self

    def of_source(self) -> list[str]:
        """Return the override that names the source of the plan, if it has one."""
        section = "corpus" if self.learns == "text" else "sprites"
        return [f"{section}.source={self.source}"] if self.source else []

    def all_measured(self) -> dict[str, list[str]]:
        """Return `measure` with the source of the plan."""
        return {name: [*self.of_source(), *overrides] for name, overrides in self.measure.items()}

    @model_validator(mode="after")
    def _names_make_different_runs(self) -> Self:
        taken: dict[tuple[str, str], str] = {}
        for group, members in self.variants.items():
            for name in members:
                path = f"{group}/{name}"
                if "/" in group:
                    raise ValueError(
                        f"variants: {group!r}: a group's name has no `/`: it separates the variant's."
                    )
                parts = slug(group), slug(name)
                if not all(parts):
                    raise ValueError(f"variants: {path}: a name needs a letter or a digit.")
                if parts in taken:
                    raise ValueError(
                        f"variants: {path} and {taken[parts]} would have the same run. Rename one."
                    )
                taken[parts] = path
        return self


def slug(words: str) -> str:
    """Return words in the form that a run's name can have: `lr 1e-3` becomes `lr-1e-3`."""
    return "-".join("".join(sign if sign.isalnum() or sign in "-_" else " " for sign in words).split())


def _named(members: Any) -> Any:
    """Return the variants of a group, each as a section."""
    if not isinstance(members, dict):
        return members
    return {str(name): _as_section(variant) for name, variant in members.items()}


def _as_section(variant: Any) -> Any:
    if variant is None or isinstance(variant, list):
        return {"overrides": variant or []}
    return variant


_BOUNDS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "top_k": ("0 or more", lambda value: value >= 0),
    "top_p": ("above 0 and up to 1", lambda value: 0 < value <= 1),
    "temperature": ("a finite number above 0", lambda value: 0 < value < math.inf),
}
"""The values that each list of a grid may hold, as `CompletionSettings` takes them."""


class SamplingGrid(Section):
    """Which settings of the sampling are compared, and on how many samples."""

    top_k: tuple[int, ...] = (0, 10)
    """Numbers of most likely tokens to sample from, 0 or more. 0 means all tokens."""
    top_p: tuple[float, ...] = (1.0, 0.9)
    """Probabilities to which sampling is limited (nucleus sampling), above 0. 1 means all tokens."""
    temperature: tuple[float, ...] = (0.6, 0.8, 1.0, 1.2)
    """Divisors of the logits, above 0."""
    prompts: int = Field(12, ge=2)
    """The most dev prompts, spread evenly over dev."""
    samples: int = Field(8, ge=2, le=160)
    """Number of samples of each prompt. Diversity depends on it, so it is the same for all settings."""
    seed: int = Field(0, ge=0)
    """Seed of the sampling, the same for all settings."""

    @field_validator("top_k", "top_p", "temperature", mode="before")
    @classmethod
    def _one_value_is_a_list(cls, values: Any) -> Any:
        if isinstance(values, list):
            return tuple(values)
        return (values,) if isinstance(values, int | float) else values

    @field_validator("top_k", "top_p", "temperature")
    @classmethod
    def _values_can_be_sampled(cls, values: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        """Check the bounds, and drop values that are named twice."""
        if not values:
            raise ValueError("at least one value is needed")
        rule, fits = _BOUNDS[str(info.field_name)]
        if not all(map(fits, values)):
            raise ValueError(f"each value must be {rule}")
        return tuple(dict.fromkeys(values))


class SamplingAlone(SectionAlone):
    """The grid of a study of sampling, to which only overrides apply."""

    sampling: SamplingGrid
