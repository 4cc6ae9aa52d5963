"""`extends: NAME` in a config: the config takes every setting of another one and changes some of them.

Two configs that share most of their settings then cannot drift apart: `configs/record.yaml` is `strong`
with five members, and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pokemon_gen.config_files.reading import ConfigFile, read_file, shipped_configs
from pokemon_gen.config_files.sections import locations, value_at
from pokemon_gen.config_files.superseded import superseded_settings
from pokemon_gen.constants import SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError, closest

EXTENDS = "extends"
"""Key of a config that names the config which it extends."""


@dataclass(frozen=True)
class Config:
    """A config file, merged with the files that it extends.

    Attributes:
        files: the file itself, the file that it extends, the file which that one extends, and so on.
        values: the merged settings, without `extends`.
        notes: a message for each superseded setting of an extended file, which was dropped.
    """

    files: tuple[ConfigFile, ...]
    values: dict[str, Any]
    notes: tuple[str, ...]

    def place(self, location: Sequence[str | int]) -> str:
        """Return `file:line:column` of the key at a location, or of the innermost section around it."""
        finds = [file.find(location) for file in self.files]
        return max(finds, key=lambda find: find[0])[1]  # among equals, the extending file comes first


def read_config(path: Path) -> Config:
    """Read a config file and the files that it extends.

    Raises:
        PokemonGenError: for a file that is not a config, `extends` that names no config, and files that
            extend each other in a circle.
    """
    files = [read_file(path)]
    while EXTENDS in files[-1].values:
        _refuse_in_saved_settings(files[-1])
        base = _find_extended(files[-1])
        seen = [file.path.resolve() for file in files]
        if base.resolve() in seen:
            circle = [*(file.path for file in files[seen.index(base.resolve()) :]), base]
            raise PokemonGenError(
                f"{files[-1].find([EXTENDS])[1]}: extends: configs extend each other in a circle "
                f"({', '.join(map(str, circle))}). Remove one `extends`."
            )
        files.append(read_file(base))
    values: dict[str, Any] = {}
    notes: list[str] = []
    for file in reversed(files):
        own = {key: value for key, value in file.values.items() if key != EXTENDS}
        kept, dropped = _without_superseded(values, own, file.path)
        values = _merge(kept, own)
        notes += dropped
    return Config(tuple(files), values, tuple(notes))


def _refuse_in_saved_settings(file: ConfigFile) -> None:
    """Refuse `extends` in a run's `settings.json`, since a stranger's checkpoint must not read other files.

    Raises:
        PokemonGenError: naming the line.
    """
    if file.path.name == SETTINGS_NAME:
        raise PokemonGenError(
            f"{file.find([EXTENDS])[1]}: extends: the settings of a run are complete. Remove this line."
        )


def _find_extended(file: ConfigFile) -> Path:
    """Return the config that a file extends: a path relative to the file's folder, or a config's name.

    A name means a config of the same folder before a shipped one. It never means the file itself, so
    that `configs/strong.yaml` in a working directory can extend the `strong` of the package.

    Raises:
        PokemonGenError: if there is no such config.
    """
    place, name = file.find([EXTENDS])[1], file.values[EXTENDS]
    if not isinstance(name, str) or not name:
        raise PokemonGenError(f"{place}: extends: name one config, such as `extends: strong`, not {name!r}")
    folder = file.path.parent
    named = [folder / f"{name}.yaml", *(config for config in shipped_configs() if config.stem == name)]
    try:
        if (folder / name).is_file():
            return folder / name
        known = (config for config in named if config.is_file() and not config.samefile(file.path))
        extended = next(known, None)
    except OSError as error:  # such as a name that is too long
        raise PokemonGenError(f"{place}: extends: {error.strerror}") from error
    if extended is None:
        names = sorted({config.stem for config in shipped_configs()})
        raise PokemonGenError(
            f"{place}: extends: there is no config {name!r}{closest(name, names) or '.'} "
            f"Write a shipped config ({', '.join(names)}) or a path relative to {folder}."
        )
    return extended


def _without_superseded(
    base: dict[str, Any], own: dict[str, Any], path: Path
) -> tuple[dict[str, Any], list[str]]:
    """Return the base without the settings that a file's own settings supersede, and a message for each.

    A file that sets both (a new schedule and its arguments) replaces both, and there is no message.
    """
    own_locations = set(locations(own))
    notes: list[str] = []
    for changed, superseded in list(superseded_settings(base, own)):
        section, key = superseded.split(".")
        new, old = value_at(own, changed.split(".")), base[section][key]
        base = {**base, section: {name: value for name, value in base[section].items() if name != key}}
        if (section, key) not in own_locations:
            notes.append(f"{path}: {changed}={new} supersedes the extended config's {superseded}={old}")
    return base, notes


def _merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Merge sections key by key; the file's own values win.

    A `model` section that names another `model_type` replaces the base section, because the fields of
    one type mean nothing to another.
    """
    merged = dict(base)
    for key, value in own.items():
        old = base.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and not _is_other_model(key, old, value):
            value = _merge(old, value)
        merged[key] = value
    return merged


def _is_other_model(key: str, old: dict[str, Any], new: dict[str, Any]) -> bool:
    return key == "model" and "model_type" in new and new["model_type"] != old.get("model_type")
