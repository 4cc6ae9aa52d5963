"""Reading configs: a YAML file and overrides → settings. Every mistake is reported with its place.

An unknown setting is an error that names the nearest known one, with its file, line and column: a
misspelt `weight_deacy` must never train for an hour without effect.
"""

import copy
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pokemon_gen.config_files.advice import idle_overrides
from pokemon_gen.config_files.extends import read_config
from pokemon_gen.config_files.overrides import (
    COMMAND_LINE,
    apply_overrides,
    drop_superseded,
    holds_override,
    is_overridden,
)
from pokemon_gen.config_files.reading import (
    JUDGE_CONFIG,
    JUDGE_CONFIGS,
    SHARP_JUDGE_CONFIG,
    TEXT_CONFIGS,
    find_config,
    package_configs,
    shipped_configs,
)
from pokemon_gen.config_files.sections import locations, value_at
from pokemon_gen.config_files.validation import validate
from pokemon_gen.constants import SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.settings import ConfigSettings, JudgeSettings, Settings
from pokemon_gen.text_settings import TextSettings

_log = logging.getLogger(__name__)
SAMPLE_CONFIG = "gpt2-sample"
"""Name of the shipped config of the homework's sample model."""
_Kind = TypeVar("_Kind", bound=ConfigSettings)
_Run = TypeVar("_Run", Settings, TextSettings)


def load_settings(path: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """Read the settings of a run from a YAML or JSON file.

    Args:
        path: the file, the name of a shipped config (`quick`), or the name or folder of a run.
        overrides: words `dotted.name=value`, the value in YAML: `training.learning_rate=3e-4`.

    Raises:
        PokemonGenError: for a file that is not YAML, and for every unknown or mistyped setting.
    """
    file = find_config(path)
    if file.stem in JUDGE_CONFIGS and file in shipped_configs():
        raise PokemonGenError(
            f"{file}: this is the config of a judge, not of a run. `pokemon-gen judge SOURCE` uses it."
        )
    return _with_advice(_load(Settings, file, overrides))


def load_text_settings(path: str | Path, overrides: Sequence[str] = ()) -> TextSettings:
    """Read the settings of a run on text; see `load_settings`."""
    return _with_advice(load_config(TextSettings, path, overrides, TEXT_CONFIGS))


def _with_advice(settings: _Run) -> _Run:
    """Warn of overrides that change nothing; return the settings."""
    for advice in idle_overrides(settings):
        _log.warning("%s", advice)
    return settings


def load_config(kind: type[_Kind], path: str | Path, overrides: Sequence[str], folder: str) -> _Kind:
    """Read a config of another kind, such as a study's plan; see `load_settings`.

    Args:
        kind: the class of its settings.
        path: what names it.
        overrides: that change it.
        folder: the folder of the shipped configs of this kind.
    """
    return _load(kind, find_config(path, folder), overrides)


def load_saved(kind: type[_Kind], folder: Path) -> _Kind:
    """Read the settings that a run saved in its folder or in one of its checkpoints."""
    return _load(kind, folder / SETTINGS_NAME, ())


def load_sample_settings() -> Settings:
    """Return the settings of the homework's sample model as they are shipped, whatever `configs/` holds."""
    file = next(config for config in package_configs() if config.stem == SAMPLE_CONFIG)
    return _load(Settings, file, ())


def load_judge_settings(source: str, overrides: Sequence[str] = (), sharp: bool = False) -> JudgeSettings:
    """Read the settings of the judge of a sprite source from `configs/judge.yaml`.

    Args:
        source: a sprite source, as in `SpriteSettings.source`.
        overrides: words such as `judge.classifier.steps=100` or `sprites.palette=colormap.txt`.
        sharp: read `configs/judge-sharp.yaml` instead.

    Raises:
        PokemonGenError: as `load_settings`.
    """
    config = find_config(SHARP_JUDGE_CONFIG if sharp else JUDGE_CONFIG)
    return _load(JudgeSettings, config, [f"sprites.source={source}", *overrides])


def _load(kind: type[_Kind], file: Path, overrides: Sequence[str]) -> _Kind:
    """Read a config, apply the overrides, validate the result, and record the place of each setting."""
    config = read_config(file)
    _log.debug("settings: %s", ", which extends ".join(str(source.path) for source in config.files))
    before, values = config.values, copy.deepcopy(config.values)
    _require_kind(kind, values, file)
    overridden = apply_overrides(kind, values, overrides)
    for note in (*config.notes, *drop_superseded(values, before, overridden)):
        _log.warning("%s", note)

    def place_of_mistake(location: Sequence[str | int]) -> str:
        dotted = ".".join(map(str, location))
        # If a setting inside a section was overridden, a mistake of the section comes from the override.
        by_override = is_overridden(dotted, overridden) or holds_override(dotted, overridden)
        return COMMAND_LINE if by_override else config.place(location)

    settings = validate(kind, values, place_of_mistake)
    places = {".".join(location): config.place(location) for location in locations(values)}
    replaced = {
        dotted: value_at(before, dotted.split(".")) for dotted in places if is_overridden(dotted, overridden)
    }
    settings.record_places({**places, **dict.fromkeys(replaced, COMMAND_LINE)}, replaced)
    return settings


def _require_kind(kind: type[ConfigSettings], values: dict[str, Any], file: Path) -> None:
    """Refuse a config of text for a run on sprites, and the reverse.

    Raises:
        PokemonGenError: naming the command that takes it.
    """
    if kind is Settings and {"corpus", "tokenizer", "generation"} & set(values):
        raise PokemonGenError(f"{file}: this is a config of text. `pokemon-gen text train` takes it.")
    if kind is TextSettings and {"sprites", "detector", "completion", "augmentation"} & set(values):
        raise PokemonGenError(f"{file}: this is a config of sprites. `pokemon-gen train` takes it.")
