"""Finding a config file by its name, and reading it with the place of every key.

A config is named by its path, by the name of a shipped config (`quick`), or by the name of a run, whose
`settings.json` is a config too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pokemon_gen.config_files.plain_yaml import load_yaml
from pokemon_gen.config_files.retired import REMOVED_CONFIGS, translate
from pokemon_gen.constants import CHECKPOINTS, SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError, closest
from pokemon_gen.files import shipped

CONFIGS, TEXT_CONFIGS, STUDIES = "configs", "configs/text", "configs/studies"
"""The folders of shipped configs: of runs on sprites, of runs on text, and of studies."""
JUDGE_CONFIG, SHARP_JUDGE_CONFIG = "judge", "judge-sharp"
"""Names of the shipped configs of the quick and of the sharp judge."""
JUDGE_CONFIGS = frozenset({JUDGE_CONFIG, SHARP_JUDGE_CONFIG})
LARGEST_CONFIG = 100_000
"""Largest size of a config in bytes. The longest shipped config has 3,000."""


@dataclass(frozen=True)
class ConfigFile:
    """The content of one YAML or JSON file.

    Attributes:
        path: the file.
        root: its YAML nodes, which know the line and column of each key.
        values: its settings as plain values.
    """

    path: Path
    root: yaml.Node | None
    values: dict[str, Any]

    def find(self, location: Sequence[str | int]) -> tuple[int, str]:
        """Find the key at a location, or the innermost section around it.

        Returns:
            How many keys of the location the file holds, and `file:line:column` of the last of them.
        """
        node = self.root
        mark = node.start_mark if node else None
        depth = 0
        for key in location:
            if not isinstance(node, yaml.MappingNode):
                break
            pair = next((pair for pair in node.value if pair[0].value == key), None)
            if pair is None:
                break
            mark, node = pair[0].start_mark, pair[1]
            depth += 1
        return depth, f"{self.path}:{mark.line + 1}:{mark.column + 1}" if mark else str(self.path)


def read_file(path: Path) -> ConfigFile:
    """Read one config file without the files that it extends.

    Raises:
        PokemonGenError: for a file that cannot be read, is too large or is not a config.
    """
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise PokemonGenError(f"{path}: not a config: it has more than {LARGEST_CONFIG:,} bytes")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PokemonGenError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PokemonGenError(f"{path}: not a UTF-8 text file") from error
    root, values = load_yaml(text, path)
    if not isinstance(values, dict):
        raise PokemonGenError(f"{path}:1:1: not a config. A config is a list of `key: value` lines.")
    return ConfigFile(path, root, translate(values) if path.name == SETTINGS_NAME else values)


def find_config(path: str | Path, folder: str = CONFIGS) -> Path:
    """Return the file of a config that is named by its path, as a shipped config or as a run.

    Args:
        path: what names it.
        folder: the folder of the shipped configs of its kind.

    Raises:
        PokemonGenError: if there is no such config, naming the shipped configs and the runs.
    """
    file = Path(path)
    if file.is_file():
        return file
    if (file / SETTINGS_NAME).is_file():  # the folder of a run or of a checkpoint
        return file / SETTINGS_NAME
    name = file.stem if file.suffix == ".yaml" else file.name
    known_configs = shipped_configs(folder)
    shipped = next((config for config in known_configs if config.stem == name), None)
    if shipped and str(file.parent) in (".", folder):
        return shipped
    run = CHECKPOINTS / file / SETTINGS_NAME  # `train NAME` resumes a run with its own settings
    if run.is_file() and not file.is_absolute() and str(file) != ".":
        return run
    names = run_names(known_configs)
    runs = sorted(folder.parent.name for folder in CHECKPOINTS.glob(f"*/{SETTINGS_NAME}"))
    known = f"shipped: {', '.join(names)}" + (f"; runs: {', '.join(runs)}" if runs else "")
    if name in REMOVED_CONFIGS:
        raise PokemonGenError(f"{path}: this config was removed in version 0.2: {REMOVED_CONFIGS[name]}.")
    raise PokemonGenError(f"{path}: no such config or run{closest(str(path), [*names, *runs])} ({known})")


def shipped_configs(folder: str = CONFIGS) -> list[Path]:
    """Return the configs of the working directory, which take precedence, and those of the package."""
    return [*sorted(Path(folder).glob("*.yaml")), *package_configs(folder)]


def run_names(configs: Iterable[Path]) -> list[str]:
    """Return the names of the configs that describe a run: all but the judge's."""
    return sorted({config.stem for config in configs} - JUDGE_CONFIGS)


def package_configs(folder: str = CONFIGS) -> list[Path]:
    """Return the configs that come with the package."""
    return [config for place in shipped(folder) for config in sorted(place.glob("*.yaml"))]
