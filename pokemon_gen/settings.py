"""One YAML = one run: what may be set, and what it means.

`config_files.py` reads it. Two sections are only carried here, because checking them needs torch: `model`
(the fields of a `transformers` config, checked in `models.py`) and `training` (`TrainingArguments`, checked
in `arguments.py`).
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from pokemon_gen.constants import SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError, SettingError
from pokemon_gen.files import write_json

PRECISION = ("bf16", "fp16")
"""Fields of `training:` that a training chooses where they are not set."""
WHERE_SPRITES_LIE = {"source", "palette"}
"""Fields of `sprites:` that may change within a run: what the sprites are, their fingerprint tells."""
Criterion = Literal["detector", "fid", "nll"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
"""What a checkpoint can be chosen by; the judge is none of them."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class _Config(_Section):
    """The whole of a config's file, which knows where each setting stands."""

    _places: dict[str, str] = PrivateAttr(default_factory=dict)
    _before: dict[str, Any] = PrivateAttr(default_factory=dict)

    def where(self, dotted: str) -> str:
        """Return `file:line:column` of a setting, `command line`, or nothing for one set in Python."""
        return self._places.get(dotted, "")

    @contextmanager
    def placing_errors(self) -> Iterator[None]:
        """Add the place of a setting, `file:line:column`, to a `SettingError` about it.

        Raises:
            PokemonGenError: in place of the `SettingError`.
        """
        try:
            yield
        except SettingError as error:
            place = self.where(error.setting)
            raise PokemonGenError(f"{place}: {error}" if place else str(error)) from error

    def overridden(self) -> dict[str, Any]:
        """Return the dotted names of what was overridden, and what the config's file had there (or None)."""
        return self._before


NAME_RULE = (
    "use letters, digits, '.', '_' and '-': it names files (member-0 and such name an ensemble's members)"
)


def is_name(name: str) -> bool:
    """Tell whether a run may be called so: `NAME_RULE`, or as `member_name` calls a member."""
    return bool(re.fullmatch(r"(?!member-[0-9]+$)[A-Za-z0-9][A-Za-z0-9._-]*(/member-[0-9]+)?", name))


def member_name(ensemble: str, number: int) -> str:
    """Return what the run of an ensemble's member is called: its folder is inside the ensemble's."""
    return f"{ensemble}/member-{number}"


def _with_a_type(model: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(model.get("model_type"), str):
        raise ValueError("needs model_type, such as gpt2, llama, mistral or qwen3")
    return model


ModelFields = Annotated[dict[str, Any], AfterValidator(_with_a_type)]
"""`model_type` and the fields of that type's config in `transformers`."""


_GENERATOR = {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 64, "initializer_range": 0.05}
_CLASSIFIER = {
    "model_type": "regnet",
    "embedding_size": 24,
    "hidden_sizes": [32, 64, 128],
    "depths": [1, 2, 1],
    "groups_width": 16,
    "layer_type": "x",
    "downsample_in_first_stage": False,
}


def _changing(default: dict[str, Any]) -> Callable[[Any], Any]:
    """Return a function that fills in a default model where fields name none."""

    def fill(model: Any) -> Any:
        return {**default, **model} if isinstance(model, dict) and "model_type" not in model else model

    return fill


class SpriteSettings(_Section):
    """Where the sprites come from."""

    source: str = "procedural"
    """`procedural`, `hub:ID_OR_FOLDER`, `text:FOLDER` or `images:FOLDER`."""
    palette: str | None = None
    """A `colormap.txt`, a `palette.json`, a checkpoint or (for `hub:`) a data set's id or folder;
    none: the source's own, or one learned from its images."""
    seed: int = Field(0, ge=0)
    """Draws the procedural sprites; splits a source that comes in one piece."""
    colours: int = Field(167, ge=2, le=4096)
    """The size of a palette learned from images."""
    skip_bad_images: bool = False
    """Leave out files that are no images instead of stopping at them."""
    fold_size: int = Field(0, ge=0)
    """The last so many sprites of train are the *fold*: never trained on, to choose by instead of dev."""


class AugmentationSettings(_Section):
    """What is done to sprites while training; the model is told by a token before the first pixel."""

    flips: Literal["none", "mirror", "all"] = "none"
    """`mirror`: also left to right; `all`: the eight ways to lay a square down."""
    hue_shifts: int = Field(1, ge=1, le=360)
    """Turns of the colour circle, this one included; 1: colours stay."""
    identity_prob: float = Field(0.5, ge=0, le=1)
    """Share of sprites that keep their places, and, drawn apart, their hues."""


class CompletionSettings(_Section):
    """How the next token is chosen from the model's distribution (names as in `transformers`)."""

    do_sample: bool = False
    """False: always the likeliest token (greedy); true: draw one."""
    temperature: float = Field(1.0, gt=0)
    """Divides the logits before drawing: below 1 is safer, above 1 wilder."""
    top_k: int = Field(0, ge=0)
    """Draw among the k likeliest tokens only; 0: all."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Draw among the likeliest tokens that share this much probability; 1: all."""
    seed: int = Field(0, ge=0)
    """With a prompt's own tokens, the seed of that sprite's drawing."""
    candidates: int = Field(1, ge=1, le=160)
    """Completions drawn of each prompt; the best, by the run's detector and by likelihood, is kept."""
    likelihood_weight: float = Field(1.0, ge=0)
    """What a nat per token of likelihood counts against the detector's log-odds."""

    def single_candidate(self) -> Self:
        """Return how one completion of each prompt is drawn, which nothing has to rank."""
        fields = type(self).model_fields
        return self.model_copy(update={k: fields[k].default for k in ("candidates", "likelihood_weight")})

    @model_validator(mode="after")
    def _candidates_are_drawn(self) -> Self:
        if self.candidates > 1 and not self.do_sample:
            raise ValueError("candidates: greedy completions are all the same; they need do_sample: true")
        return self


class GeneratorSettings(_Section):
    """Short-trained models whose completions a detector learns to tell from real sprites."""

    model: Annotated[ModelFields, BeforeValidator(_changing(_GENERATOR))] = _GENERATOR
    """As a run's `model:`; without a `model_type`, what changes of the default."""
    folds: int = Field(2, ge=2)
    """Train is cut into so many parts; each is completed by a model that has seen only the others."""
    snapshot_steps: tuple[int, ...] = (30, 100, 200)
    """Steps after which a model completes its part, early to late: half greedily, half sampled."""
    share: float = Field(1.0, gt=0, le=1)
    """Share of its part that a model completes at each stage, drawn anew: completing takes long."""
    batch_size: int = Field(16, ge=1)
    """Sprites a step."""
    learning_rate: float = Field(4e-3, gt=0)
    """Held for half of the steps, then falls in a line to 2 %."""
    weight_decay: float = Field(0.1, ge=0)
    """Of `AdamW`."""
    temperature: float = Field(0.9, gt=0)
    """Of the sampled half."""

    @field_validator("snapshot_steps", mode="before")
    @classmethod
    def _snapshots_are_steps(cls, snapshot_steps: Any) -> Any:
        steps = tuple(snapshot_steps) if isinstance(snapshot_steps, list | tuple) else ()
        if not steps or any(type(step) is not int or step < 1 for step in steps):
            raise ValueError("a list of one or more numbers of steps")
        if list(steps) != sorted(set(steps)):
            raise ValueError("each later than the one before")
        return steps


class ClassifierSettings(_Section):
    """The network that tells real sprites from others."""

    model: Annotated[ModelFields, BeforeValidator(_changing(_CLASSIFIER))] = _CLASSIFIER
    """`model_type` and the fields of that image classifier's config in `transformers`; without a
    `model_type`, what changes of the default."""
    upscale: int = Field(2, ge=1, le=8)
    """Screen pixels a sprite's pixel becomes along each side: most networks halve a picture at once."""
    steps: int = Field(300, ge=1)
    """Optimizer steps."""
    batch_size: int = Field(64, ge=2)
    """Sprites a step, half of them real."""
    learning_rate: float = Field(2e-3, gt=0)
    """Warmed up for a tenth of the steps, then falls as a cosine."""
    weight_decay: float = Field(0.05, ge=0)
    """Of `AdamW`."""


class DetectorSettings(_Section):
    """How a detector (or the judge) is trained."""

    seed: int = Field(0, ge=0)
    """Initial weights, parts of train, what is drawn while training."""
    calibration_share: float = Field(0.15, gt=0, lt=1)
    """Share of train that sets the threshold and is not trained on."""
    generator: GeneratorSettings = GeneratorSettings()
    classifier: ClassifierSettings = ClassifierSettings()


class SelectionSettings(_Section):
    """How the best checkpoint is chosen."""

    by: Criterion = "detector"
    """The criterion."""
    on: Literal["dev", "fold"] = "dev"
    """Whose sprites checkpoints are compared on; `fold` needs `sprites.fold_size` and keeps dev honest."""


class Settings(_Config):
    """Everything a run depends on."""

    name: str
    """Names the run's outputs: `checkpoints/<name>/`, `submissions/<name>.txt`."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Initial weights, order of the sprites, dropout."""
    members: int = Field(1, ge=1, le=64)
    """Models trained, each with a seed of its own; more than one complete together, as an ensemble."""
    sprites: SpriteSettings = SpriteSettings()
    model: ModelFields
    """`model_type` and the fields of that type's config in `transformers`."""
    training: dict[str, Any] = {}
    """Any field of `transformers.TrainingArguments`, and ours: see `SpriteTrainingArguments`."""
    augmentation: AugmentationSettings = AugmentationSettings()
    completion: CompletionSettings = CompletionSettings()
    detector: DetectorSettings = DetectorSettings()
    selection: SelectionSettings = SelectionSettings()

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        if not is_name(name):
            raise ValueError(NAME_RULE)
        return name

    def same_as(self, saved: dict[str, Any]) -> bool:
        """Tell whether saved settings are these, but for the precision that a training has chosen.

        Where sprites lie may differ too.

        Raises:
            ValueError: for what are no settings; pydantic's own error is one.
        """
        place = {"sprites": WHERE_SPRITES_LIE}
        before = Settings.model_validate(saved).model_dump(mode="json", exclude=place)
        now = self.model_dump(mode="json", exclude=place)
        chosen = {k: v for k, v in before["training"].items() if k in PRECISION}
        return {**now, "training": {**chosen, **now["training"]}} == before

    def each_member(self) -> list[Self]:
        """Return the settings of each training: the run's own, or one for each member of an ensemble."""
        return [self] if self.members == 1 else [self.for_member(number) for number in range(self.members)]

    def for_member(self, number: int) -> Self:
        """Return the settings of one member's run: `<name>/member-<number>`, with a seed of its own."""
        # Ensembles of different seeds have no member in common, so that they can be averaged over.
        seed = self.seed * self.members + number
        changes = {"name": member_name(self.name, number), "seed": seed, "members": 1}
        return self.model_copy(update=changes)

    def save(self, folder: Path) -> None:
        """Write `settings.json` into `folder`: JSON is YAML too, so it is a config as it stands."""
        write_json(folder / SETTINGS_NAME, self.model_dump(mode="json"))


class JudgeSettings(_Config):
    """The judge of a sprite source."""

    sprites: SpriteSettings
    judge: DetectorSettings


class SpritesAlone(_Section):
    """A source of sprites without a run."""

    sprites: SpriteSettings
