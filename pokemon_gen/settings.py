"""One YAML = one run: what may be set, what it means, and where a mistake stands.

A setting that is not known is an error that names the nearest known one, with its file, line and
column: a misspelt `weight_deacy` must never train for an hour without it. Two sections are only
carried here, because checking them needs torch: `model` (the fields of a `transformers` config,
checked in `models.py`) and `training` (`TrainingArguments`, checked in `arguments.py`).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from pokemon_gen.errors import PokemonGenError, closest
from pokemon_gen.files import write_json

SETTINGS_NAME = "settings.json"
"""The resolved settings' file, inside a run and inside each of its checkpoints."""
JUDGE_CONFIG = "judge"
"""The shipped config of the judge."""
Criterion = Literal["detector", "fid", "nll", "train_loss", "accuracy"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
"""What a checkpoint can be chosen by; the judge is none of them."""

Section = TypeVar("Section", bound=BaseModel)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class SpriteSettings(_Section):
    """Where the sprites come from."""

    source: str = "generated"
    """`generated`, `hub:ID_OR_FOLDER`, `text:FOLDER` or `images:FOLDER`."""
    palette: str | None = None
    """A `colormap.txt`, a `palette.json`, a checkpoint or (for `hub:`) a data set's id or folder;
    none: the source's own, or one learned from its images."""
    seed: int = Field(0, ge=0)
    """Draws the generated sprites; splits a source that comes in one piece."""
    colours: int = Field(167, ge=2, le=4096)
    """The size of a palette learned from images."""
    skip_bad_images: bool = False
    """Leave out files that are no images instead of stopping at them."""
    held_out: int = Field(0, ge=0)
    """The last so many sprites of train are the *fold*: never trained on, to choose by instead of dev."""


class CompletionSettings(_Section):
    """How the next token is chosen from the model's distribution (names as in `transformers`)."""

    do_sample: bool = False
    """False: always the likeliest token (greedy); true: draw one."""
    temperature: float = Field(1.0, gt=0)
    """Divides the logits before drawing: below 1 is bolder, above 1 wilder."""
    top_k: int = Field(0, ge=0)
    """Draw among the k likeliest tokens only; 0: all."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Draw among the likeliest tokens that share this much probability; 1: all."""
    seed: int = Field(0, ge=0)
    """With a prompt's own tokens, the seed of that sprite's drawing."""


class GeneratorSettings(_Section):
    """Short-trained models whose completions a detector learns to tell from real sprites."""

    model: dict[str, Any] = {
        "model_type": "gpt2",
        "n_layer": 2,
        "n_head": 2,
        "n_embd": 64,
        "initializer_range": 0.05,
    }
    """As a run's `model:`."""
    parts: int = Field(2, ge=2)
    """Train is cut into so many parts; each is completed by a model that has seen only the others."""
    stages: tuple[int, ...] = (30, 100, 200)
    """Steps after which a model completes its part, early to late: half greedily, half sampled."""
    batch_size: int = Field(16, ge=1)
    """Sprites a step."""
    learning_rate: float = Field(4e-3, gt=0)
    """Held for half of the steps, then falls in a line to 2 %."""
    weight_decay: float = Field(0.1, ge=0)
    """Of `AdamW`."""
    temperature: float = Field(0.9, gt=0)
    """Of the sampled half."""

    @field_validator("stages", mode="before")
    @classmethod
    def _stages_are_steps(cls, stages: Any) -> Any:
        steps = tuple(stages) if isinstance(stages, list | tuple) else ()
        if not steps or any(type(step) is not int or step < 1 for step in steps):
            raise ValueError("a list of one or more numbers of steps")
        if list(steps) != sorted(set(steps)):
            raise ValueError("each later than the one before")
        return steps

    @field_validator("model")
    @classmethod
    def _model_has_a_type(cls, model: dict[str, Any]) -> dict[str, Any]:
        return _with_a_type(model)


class ClassifierSettings(_Section):
    """The network that tells real sprites from others."""

    model: dict[str, Any] = {
        "model_type": "convnext",
        "patch_size": 2,
        "num_stages": 2,
        "hidden_sizes": [48, 96],
        "depths": [2, 3],
    }
    """`model_type` and the fields of that image classifier's config in `transformers`."""
    enlarge: int = Field(1, ge=1, le=8)
    """Screen pixels a sprite's pixel becomes along each side: most networks halve a picture at once."""
    steps: int = Field(300, ge=1)
    """Optimizer steps."""
    batch_size: int = Field(64, ge=2)
    """Sprites a step, half of them real."""
    learning_rate: float = Field(2e-3, gt=0)
    """Warmed up for a tenth of the steps, then falls as a cosine."""
    weight_decay: float = Field(0.05, ge=0)
    """Of `AdamW`."""

    @field_validator("model")
    @classmethod
    def _model_has_a_type(cls, model: dict[str, Any]) -> dict[str, Any]:
        return _with_a_type(model)


class DetectorSettings(_Section):
    """How a detector (or the judge) is trained."""

    seed: int = Field(0, ge=0)
    """Initial weights, parts of train, what is drawn while training."""
    held_out: float = Field(0.15, gt=0, lt=1)
    """Share of train that sets the threshold and is not trained on."""
    generator: GeneratorSettings = GeneratorSettings()
    classifier: ClassifierSettings = ClassifierSettings()


class SelectionSettings(_Section):
    """How the best checkpoint is chosen."""

    by: Criterion = "detector"
    """The criterion."""
    on: Literal["dev", "fold"] = "dev"
    """Whose prompts are completed; `fold` needs `sprites.held_out` and keeps dev honest."""
    watch_epochs: int = Field(0, ge=0)
    """Ask the run's detector every so many epochs of the training, if it is there already; 0: never."""


class Settings(_Section):
    """Everything a run depends on."""

    name: str
    """Names the run's outputs: `checkpoints/<name>/`, `submissions/<name>.txt`."""
    seed: int = Field(0, ge=0)
    """Initial weights, order of the sprites, dropout."""
    sprites: SpriteSettings = SpriteSettings()
    model: dict[str, Any]
    """`model_type` and the fields of that type's config in `transformers`."""
    training: dict[str, Any] = {}
    """Any field of `transformers.TrainingArguments`, and `decay_every_parameter`."""
    completion: CompletionSettings = CompletionSettings()
    detector: DetectorSettings = DetectorSettings()
    selection: SelectionSettings = SelectionSettings()
    _places: dict[str, str] = PrivateAttr(default_factory=dict)

    def where(self, dotted: str) -> str:
        """Return `file:line:column` of a setting, `command line`, or nothing for one set in Python."""
        return self._places.get(dotted, "")

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise ValueError("use letters, digits, '.', '_' and '-': it names files")
        return name

    @field_validator("model")
    @classmethod
    def _model_has_a_type(cls, model: dict[str, Any]) -> dict[str, Any]:
        return _with_a_type(model)

    def save(self, folder: Path) -> None:
        """Write `settings.json` into `folder`: JSON is YAML too, so it is a config as it stands."""
        write_json(folder / SETTINGS_NAME, self.model_dump(mode="json"))


class JudgeSettings(_Section):
    """The judge of a sprite source."""

    sprites: SpriteSettings
    judge: DetectorSettings
    _places: dict[str, str] = PrivateAttr(default_factory=dict)

    def where(self, dotted: str) -> str:
        """Return `file:line:column` of a setting, `command line`, or nothing for one set in Python."""
        return self._places.get(dotted, "")


class _SpritesAlone(_Section):
    sprites: SpriteSettings


def _with_a_type(model: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(model.get("model_type"), str):
        raise ValueError("needs model_type, such as gpt2, llama, mistral or qwen3")
    return model


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
        place = "command line" if dotted in overridden else _position(file, root, location)
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
    return _validate(_SpritesAlone, values, lambda location: "command line", overridden).sprites


def find_config(path: str | Path) -> Path:
    """Return the config's file: the path itself, or the shipped config of that name.

    Raises:
        PokemonGenError: if there is neither, naming the shipped configs.
    """
    file = Path(path)
    if file.is_file():
        return file
    folders = [
        Path("configs"),
        Path(__file__).parent.parent / "configs",
        Path(__file__).parent / "configs",
    ]
    for folder in folders:
        shipped = folder / file.with_suffix(".yaml").name
        if shipped.is_file() and str(file.parent) in (".", "configs"):
            return shipped
    names = sorted({config.stem for folder in folders for config in folder.glob("*.yaml")})
    raise PokemonGenError(f"{path}: no such config{closest(file.stem, names)} (shipped: {', '.join(names)})")


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain values: `3e-4` is a number and `no` a word, unlike in PyYAML's YAML 1.1.

    A key that comes twice is an error.
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


_BOOL, _FLOAT = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:float"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(true|false|True|False)$"), list("tfTF"))
_Loader.add_implicit_resolver(
    _FLOAT, re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


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
            by_override = any(f"{name}.".startswith(f"{dotted}.") for name in overridden)
            where = "command line" if by_override else position(fault["loc"])
            faults.append(f"{where}: {_explain(fault, dotted, kind)}")
        raise PokemonGenError("\n".join(faults)) from None


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
        if kind is not _SpritesAlone:
            names.append(name)
    return names
