"""The reference of all settings, `docs/configs.md`, generated from the settings classes and the configs.

`python -m pokemon_gen.config_files.reference > docs/configs.md` updates the page. A test compares the two, so
that the page cannot be out of date.
"""

import json
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pokemon_gen.config_files.checks import MODEL_REFUSED, TRAINING_REFUSED
from pokemon_gen.config_files.fields import own_training_fields
from pokemon_gen.config_files.reading import (
    CONFIGS,
    JUDGE_CONFIG,
    SHARP_JUDGE_CONFIG,
    STUDIES,
    TEXT_CONFIGS,
    package_configs,
)
from pokemon_gen.config_files.retired import REMOVED, RENAMED, RETIRED_VALUES
from pokemon_gen.settings import DetectorSettings, JudgeSection, Settings
from pokemon_gen.study_settings import SamplingGrid, StudyPlan, Variant
from pokemon_gen.text_settings import TextSettings

_COLUMNS = ("setting", "type", "default", "meaning")
_TYPE_WORDS = {int: "integer", float: "number", bool: "true or false", str: "text", dict: "section"}
_INTRODUCTION = """\
# Configs

One YAML file describes one run. `pokemon-gen run NAME` takes the name of a shipped config, the path of your
own config, or the name of an earlier run, whose `settings.json` is a config too. A name is looked up in
`configs/` of the working directory, then among the shipped configs, then among the runs in `checkpoints/`.

Values are read as they look: `3e-4` is a number; `no`, `12:30` and `2026-11-26` are texts. A repeated key is
an error, and so are YAML's anchors and aliases. Mistakes are reported with `file:line:column`, and an unknown
setting with the nearest known one.

This page is generated from the docstrings of the settings. Do not edit it; run
`python -m pokemon_gen.config_files.reference > docs/configs.md`.
"""
_OVERRIDES = """\
## Overrides

Words of the form `dotted.name=value` after a command change single settings. The value is YAML:

```
pokemon-gen run quick name=mine training.max_steps=500 completion.candidates=1
```

- `model=NAME` replaces the `model` section by that of the shipped config with this name or, if there is none,
  with this model type: `model=gpt2`.
- An override of a section applies before overrides of settings inside it, whatever their order:
  `model.n_layer=3 model=gpt2` is a GPT-2 with three layers.
- An override drops a setting that would contradict it, and a warning says so: `training.num_train_epochs=2`
  drops `training.max_steps`, `training.lr_scheduler_type=cosine` drops `training.lr_scheduler_kwargs`,
  `training.optim=...` drops `training.optim_args`, and `completion.do_sample=false` drops
  `completion.candidates`.

In Python, the overrides are a list: `load_settings("quick", ["training.max_steps=500"])`.
"""
_EXTENDS = """\
## Extending a config

A config with `extends` takes all settings of another config, and its own settings override them:

```yaml
extends: strong
name: mine
training:
  max_steps: 1000
```

- The value is a path relative to the folder of the config that extends it, or a name. A name is looked up
  among the configs of that folder, then in `configs/` of the working directory, then among the shipped
  configs.
- Sections are merged key by key. A `model` section with another `model_type` replaces the entire section.
- A setting of the config drops settings of the extended config that would contradict it, as overrides do.
- The extended config may extend another one. A circle is an error.
- The `settings.json` of a run holds the merged settings, without `extends`.
"""
_TRAINING = """\
Every field of
[`transformers.TrainingArguments`](https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments)
can be set under `training:`, except those listed below. This package adds the fields in the table.
"""
_TRAINING_VALUES = {
    "save_strategy": "must be `steps` or `epoch`: `no` would discard the trained model, and `best` is not "
    "supported, because `select` chooses the best checkpoint",
    "greater_is_better": "must be `false`, because all measured metrics are better if they are lower",
}
"""Fields of `training:` with values that are refused, and the rule. It follows the words "`FIELD`: it"."""


def reference_page() -> str:
    """Return the reference of all settings as a Markdown page."""
    parts = [
        _INTRODUCTION,
        "## Shipped configs\n",
        _table(("config", "purpose"), _shipped_rows(CONFIGS)),
        "For `pokemon-gen text train` ([text.md](text.md)):\n",
        _table(("config", "purpose"), _shipped_rows(TEXT_CONFIGS)),
        "For `pokemon-gen study` ([studies.md](studies.md)):\n",
        _table(("study", "purpose"), _shipped_rows(STUDIES)),
        _OVERRIDES,
        _EXTENDS,
        "## Settings\n",
        _settings_table(Settings, skip=("training",)),
        *_sections(Settings),
        "### training\n",
        _TRAINING,
        _table(_COLUMNS, _training_rows()),
        "These fields cannot be set:\n",
        _bullets(f"`training.{name}`: it {reason}" for name, reason in TRAINING_REFUSED.items()),
        "These fields cannot have every value:\n",
        _bullets(f"`training.{name}`: it {rule}" for name, rule in _TRAINING_VALUES.items()),
        "In a `model` section of a language model, these fields cannot be set:\n",
        _bullets(f"`{name}`: it {reason}" for name, reason in MODEL_REFUSED.items()),
        "## Settings of the judge\n",
        f"`configs/{JUDGE_CONFIG}.yaml` and `configs/{SHARP_JUDGE_CONFIG}.yaml` have one section, `judge`, "
        "with the settings of `detector` and one more. `pokemon-gen judge SOURCE` reads the first, and with "
        "`--sharp` the second, and adds `sprites.source`. Overrides such as `judge.classifier.steps=100` and "
        "`sprites.palette=colormap.txt` work as for a run.\n",
        _settings_table(JudgeSection, "judge.", skip=tuple(DetectorSettings.model_fields)),
        "## Settings of runs on text\n",
        "`name`, `seed`, `start_from`, `model` and `training` are those of a run on sprites, and these are "
        "added:\n",
        *_sections(TextSettings),
        "## Settings of studies\n",
        _settings_table(StudyPlan),
        "A variant is a list of overrides, or a section with these settings:\n",
        _settings_table(Variant),
        "`pokemon-gen study sampling RUN` has these settings:\n",
        _settings_table(SamplingGrid, "sampling."),
        "## Settings of earlier versions\n",
        "In a config or an override, these settings are errors that say what replaces them. In the "
        "`settings.json` of an earlier run, they are translated:\n",
        _bullets(
            [
                *(f"`{old}` was renamed to `{new}` in version 0.2" for old, new in RENAMED.items()),
                *(f"`{name}: {old}` {message}" for (name, old), message in RETIRED_VALUES.items()),
                *(f"`{name}` was removed in version 0.2: {reason}" for name, reason in REMOVED.items()),
            ]
        ),
    ]
    return "\n".join(parts)


def _shipped_rows(folder: str) -> Iterator[tuple[str, ...]]:
    for config in package_configs(folder):
        comment = config.read_text(encoding="utf-8").partition("\n")[0]
        yield f"[`{config.stem}`](../{folder}/{config.name})", comment.removeprefix("#").strip()


def _sections(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the heading, the docstring and the table of each section inside a class of settings."""
    for name, field in kind.model_fields.items():
        section = _section_class(field)
        if section is not None:
            dotted = f"{prefix}{name}"
            yield f"### {dotted}\n"
            yield f"{_one_line(section.__doc__)}\n"
            table = _settings_table(section, f"{dotted}.")
            if table:
                yield table
            yield from _sections(section, f"{dotted}.")


def _settings_table(kind: type[BaseModel], prefix: str = "", skip: Sequence[str] = ()) -> str:
    """Return the table of the settings in a class, without its sections; empty if there are only sections."""
    rows = [
        (
            f"`{prefix}{name}`",
            _type_text(field.annotation, field.metadata),
            "required" if field.is_required() else _value_text(field.default),
            _one_line(field.description),
        )
        for name, field in kind.model_fields.items()
        if _section_class(field) is None and name not in skip
    ]
    return _table(_COLUMNS, rows) if rows else ""


def _training_rows() -> Iterator[tuple[str, ...]]:
    for field in own_training_fields():
        yield (
            f"`training.{field.name}`",
            _type_text(field.type),
            _value_text(field.default),
            _one_line(field.docstring),
        )


def _section_class(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _type_text(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """Return a type in words, with the bounds that pydantic checks: `integer ≥ 0`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Literal, typing.Union, types.UnionType):
        return _or_list(list(_alternatives(annotation)))
    if origin in (list, tuple):
        return f"list of {_type_text(arguments[0])}s"
    is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    if origin is dict and arguments[1] is not Any:
        return "section of names"
    word = "section" if is_section else _TYPE_WORDS.get(origin or annotation, "any value")
    signs = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
    bounds = [
        f"{sign} {getattr(bound, name)}" for bound in metadata for name, sign in signs if hasattr(bound, name)
    ]
    return " ".join([word, ", ".join(bounds)]).strip()


def _alternatives(annotation: Any) -> Iterator[str]:
    """Yield the alternatives of a `Literal` or a union in words, including those of a union's own parts."""
    for part in typing.get_args(annotation):
        if typing.get_origin(annotation) is Literal:
            yield f"`{str(part).lower() if isinstance(part, bool) else part}`"  # as in YAML
        elif typing.get_origin(part) is Literal:
            yield from _alternatives(part)
        else:
            yield "null" if part is type(None) else _type_text(part)


def _or_list(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _value_text(value: Any) -> str:
    """Return a value as a config states it. JSON is YAML too."""
    plain = isinstance(value, str) and value.isprintable() and value
    return f"`{value if plain else json.dumps(value)}`"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _bullets(items: Iterable[str]) -> str:
    return "".join(f"- {item}\n" for item in items)


if __name__ == "__main__":
    sys.stdout.write(reference_page())
