"""One config, one run: all settings, their defaults and their meaning.

`config_files/` reads the YAML files. Two sections are plain dictionaries here, because their fields are
those of `transformers`: `model` and `training`. `config_files/checks.py` checks them without loading
torch, and `models/build.py` and `training/arguments.py` check them again with the classes of
`transformers`.

The docstrings of the fields are also the reference in `docs/configs.md`.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pokemon_gen.constants import SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError, SettingError
from pokemon_gen.files import write_json

PRECISION = ("bf16", "fp16")
"""Fields of `training:` that a training chooses itself if they are not set."""
LOCATION_OF_SPRITES = {"source", "palette"}
"""Fields of `sprites:` that may change within a run: sprites are recognised by their fingerprint."""
Criterion = Literal["detector", "fid", "nll"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
"""Criteria that can choose a checkpoint. The judge is not among them."""


class Section(BaseModel):
    """One section of a config: unknown settings are errors, and so are values of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class ConfigSettings(Section):
    """All settings of one config, with the place that each one comes from."""

    _places: dict[str, str] = PrivateAttr(default_factory=dict)
    _before: dict[str, Any] = PrivateAttr(default_factory=dict)

    def where(self, dotted: str) -> str:
        """Return `file:line:column`, `command line`, or an empty string for a setting set in Python.

        An item of a list, such as `training.callbacks.0`, has the place of the list.
        """
        outer, _, last = dotted.rpartition(".")
        return self._places.get(outer if last.isdigit() else dotted, "")

    @contextmanager
    def placing_errors(self) -> Iterator[None]:
        """Add the place of a setting, such as `file:line:column`, to a `SettingError` about it.

        Raises:
            PokemonGenError: instead of the `SettingError`.
        """
        try:
            yield
        except SettingError as error:
            place = self.where(error.setting)
            raise PokemonGenError(f"{place}: {error}" if place else str(error)) from error

    def overridden(self) -> dict[str, Any]:
        """Return the dotted name of each overridden setting with its value in the config, or None."""
        return self._before

    def record_places(self, places: dict[str, str], before: dict[str, Any]) -> None:
        """Record the place of each setting, and the config's value of each overridden one."""
        self._places.update(places)
        self._before.update(before)


NAME_RULE = (
    "use letters, digits, '.', '_' and '-' only, at most 100, because it names files; member-0, member-1 and "
    "so on are reserved for the members of an ensemble"
)
"""The rule for names of runs, as error messages state it."""


def is_name(name: str) -> bool:
    """Tell whether a run can have this name: it follows `NAME_RULE`, or it is the name of a member."""
    return bool(re.fullmatch(r"(?!member-[0-9]+$)[A-Za-z0-9][A-Za-z0-9._-]{0,99}(/member-[0-9]+)?", name))


def member_name(ensemble: str, number: int) -> str:
    """Return the name of a member's run, whose folder is inside the ensemble's folder."""
    return f"{ensemble}/member-{number}"


def _require_type(model: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(model.get("model_type"), str):
        raise ValueError("needs model_type, such as gpt2, llama, mistral or qwen3")
    return model


ModelFields = Annotated[dict[str, Any], AfterValidator(_require_type)]
"""A `model_type` and fields of that type's config in `transformers`."""


_GENERATOR = {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 64, "initializer_range": 0.05}
_CLASSIFIER = {
    "model_type": "regnet",
    "embedding_size": 24,
    "hidden_sizes": [32, 64, 128],
    "depths": [1, 2, 1],
    "groups_width": 128,
    "layer_type": "x",
    "downsample_in_first_stage": False,
}


def _completed_from(default: dict[str, Any]) -> Callable[[Any], Any]:
    """Return a function that adds a default model's fields to a section that has no `model_type`."""

    def fill(model: Any) -> Any:
        return {**default, **model} if isinstance(model, dict) and "model_type" not in model else model

    return fill


class SpriteSettings(Section):
    """The source of the sprites, their palette, and the fold that is held out of train."""

    source: str = "procedural"
    """The source: `procedural` (sprites drawn by code, without a network connection),
    `hub:ID_OR_FOLDER`, `text:FOLDER` or `images:FOLDER`. A FOLDER alone is accepted too."""
    palette: str | None = None
    """The palette: a file (`.hex`, `.gpl`, `.pal`, `.png`, `.txt` or `.json`), the folder of a checkpoint,
    or the id or folder of a data set of colours. By default, the source's own palette or one learned from
    its images."""
    seed: int = Field(0, ge=0)
    """Seed of the procedural sprites, and of the split into train, dev and test for a source without
    splits."""
    colours: int = Field(167, ge=2, le=4096)
    """Number of colours in a palette that is learned from images."""
    skip_bad_images: bool = False
    """Whether files that cannot be read as images are skipped. By default they are an error that lists
    them."""
    fold_size: int = Field(0, ge=0)
    """Number of sprites of train that form the *fold*. No model trains on them, so checkpoints can be
    chosen on them instead of on dev. Copies of these sprites, equal, mirrored or recoloured, join them. By
    default, there is no fold."""
    fold_seed: int | None = Field(None, ge=0)
    """Seed that draws the fold from all of train but its last 80 sprites. By default, the fold is the end of
    train."""

    @model_validator(mode="after")
    def _a_seed_draws_a_fold(self) -> Self:
        if self.fold_seed is not None and not self.fold_size:
            raise ValueError("fold_seed: it draws the fold, but there is none. Set fold_size: 80.")
        return self


Flips = Literal["none", "mirror", "all"]


class AugmentationSettings(Section):
    """How sprites are transformed during training. A conditioning token before the first pixel names
    each transform, so that the model can tell transformed sprites from originals.
    """

    flips: Flips = "none"
    """Geometric transforms: `none`, `mirror` (left to right) or `all` (the eight rotations and
    reflections of a square)."""
    hue_shifts: int = Field(1, ge=1, le=360)
    """Number of equally spaced rotations of the hue circle, including no rotation. 1 keeps all colours."""
    identity_prob: float = Field(0.5, ge=0, le=1)
    """Probability that a sprite is not flipped, and, drawn independently, that its hues do not shift."""
    function: str | None = None
    """`FILE.py:FUNCTION` of your own augmentation, which maps (B, 400) tokens and a random generator to
    (B, 400) tokens. It runs before the transforms above, without a conditioning token. By default, there
    is none."""


class CompletionSettings(Section):
    """How prompts are completed. The names of the sampling settings are those of `transformers`."""

    do_sample: bool = False
    """Whether each token is sampled. By default, the most likely token is taken (greedy decoding)."""
    temperature: float = Field(1.0, gt=0)
    """Divisor of the logits before sampling. Values below 1 favour likely tokens, values above 1
    unlikely ones."""
    top_k: int = Field(0, ge=0)
    """Number of most likely tokens to sample from. 0 means all tokens."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Sampling is limited to the smallest set of most likely tokens whose probabilities add up to this
    value. 1 means all tokens."""
    seed: int = Field(0, ge=0)
    """Seed of the sampling. Each sprite's random numbers depend on this seed and on the tokens of its
    prompt."""
    candidates: int = Field(1, ge=1, le=160)
    """Number of completions sampled for each prompt. The run's detector and the likelihood choose the
    best one. More than 1 needs `do_sample: true`."""
    likelihood_weight: float = Field(1.0, ge=0)
    """Weight of a candidate's log-likelihood (in nats/token), which is added to the detector's log-odds."""

    def single_candidate(self) -> Self:
        """Return the settings that draw one completion for each prompt, so that no ranking is needed."""
        fields = type(self).model_fields
        return self.model_copy(update={k: fields[k].default for k in ("candidates", "likelihood_weight")})

    @model_validator(mode="after")
    def _candidates_are_sampled(self) -> Self:
        if self.candidates > 1 and not self.do_sample:
            raise ValueError("candidates: greedy completions are all the same. Set do_sample: true.")
        return self


class GeneratorSettings(Section):
    """One kind of generators: models trained for a short time, whose completions a detector learns to tell
    from real sprites. Train is divided into folds; each fold is completed by a model trained on the other
    folds.
    """

    model: Annotated[ModelFields, BeforeValidator(_completed_from(_GENERATOR))] = _GENERATOR
    """The generators' language model, as in `model`. A section without `model_type` changes fields of
    the default."""
    folds: int = Field(2, ge=2)
    """Number of folds of train, and so the number of generators. Copies of a sprite, equal, mirrored or
    recoloured, are in one fold."""
    snapshot_steps: tuple[int, ...] = (30, 100, 200)
    """Steps after which a generator completes its fold, in increasing order. The training ends at the last
    one."""
    temperatures: tuple[float, ...] = (0.0, 0.9)
    """Temperatures of the completions, one for each draw: a generator completes a share of its fold once at
    each. 0 completes greedily."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Sampling is limited to the smallest set of most likely tokens whose probabilities add up to this
    value."""
    share: float = Field(0.5, gt=0, le=1)
    """Share of its fold that a generator completes at each snapshot and temperature. The sprites are drawn
    again each time. A smaller share saves time."""
    flips: Flips = "none"
    """Geometric transforms of the sprites that the generators learn, as in `augmentation.flips`."""
    hue_shifts: int = Field(1, ge=1, le=360)
    """Number of hue shifts of the sprites that the generators learn, as in `augmentation.hue_shifts`."""
    batch_size: int = Field(16, ge=1)
    """Number of sprites in each optimizer step."""
    learning_rate: float = Field(4e-3, gt=0)
    """Learning rate of `AdamW`. It is constant for the first half of the steps (after a short warm-up)
    and then falls linearly to 2 % of this value."""
    weight_decay: float = Field(0.1, ge=0)
    """Weight decay of `AdamW`."""
    muon_learning_rate: float = Field(0.0, ge=0)
    """Learning rate of Muon, as in `training.muon_learning_rate`. By default, `AdamW` trains all weights."""
    muon_weight_decay: float = Field(0.0, ge=0)
    """Weight decay of the matrices that Muon trains."""

    @field_validator("snapshot_steps", mode="before")
    @classmethod
    def _snapshots_are_steps(cls, snapshot_steps: Any) -> Any:
        steps = tuple(snapshot_steps) if isinstance(snapshot_steps, list | tuple) else ()
        if not steps or any(type(step) is not int or step < 1 for step in steps):
            raise ValueError("must be a list of one or more numbers of steps")
        if list(steps) != sorted(set(steps)):
            raise ValueError("must be in increasing order")
        return steps

    @field_validator("temperatures", mode="before")
    @classmethod
    def _temperatures_are_numbers(cls, temperatures: Any) -> Any:
        values = tuple(temperatures) if isinstance(temperatures, list | tuple) else ()
        if not values or any(type(value) not in (int, float) or not 0 <= value < 1e6 for value in values):
            raise ValueError("must be a list of one or more numbers from 0 on")
        return tuple(float(value) for value in values)

    @model_validator(mode="after")
    def _decay_needs_muon(self) -> Self:
        if self.muon_weight_decay and not self.muon_learning_rate:
            raise ValueError(
                "muon_weight_decay: it has no effect without muon_learning_rate. Set both or neither."
            )
        return self


class ClassifierSettings(Section):
    """The detector's image classifier."""

    model: Annotated[ModelFields, BeforeValidator(_completed_from(_CLASSIFIER))] = _CLASSIFIER
    """`model_type` and fields of that image classifier's config in `transformers`. A section without
    `model_type` changes fields of the default."""
    upscale: int = Field(2, ge=1, le=8)
    """Factor by which sprites are enlarged along each side, because the first layer of most networks
    halves the resolution."""
    networks: int = Field(1, ge=1, le=32)
    """Number of networks, each with initial weights and batches of its own. Their log-odds are averaged."""
    channel_swaps: float = Field(0.0, ge=0, le=1)
    """Probability that the red, green and blue of a sprite are exchanged at random, in a real sprite and in
    the corrupted one alike."""
    steps: int = Field(300, ge=1)
    """Number of optimizer steps."""
    batch_size: int = Field(64, ge=8)
    """Number of sprites in each optimizer step. Half of them are real, and half are the same sprites
    corrupted."""
    learning_rate: float = Field(2e-3, gt=0)
    """Learning rate of `AdamW`. It warms up for a tenth of the steps and then falls as a cosine."""
    weight_decay: float = Field(0.05, ge=0)
    """Weight decay of `AdamW`."""


class DetectorSettings(Section):
    """How a detector is trained: a classifier that tells real sprites from completed and corrupted ones.
    The judge has the same settings.
    """

    seed: int = Field(0, ge=0)
    """Seed of the initial weights, of the folds of train and of all random numbers during the training."""
    calibration_share: float = Field(0.15, gt=0, lt=1)
    """Share of train that the classifier does not train on. It sets the threshold, which 95 % of these
    real sprites pass."""
    generator: GeneratorSettings = GeneratorSettings()
    more_generators: tuple[GeneratorSettings, ...] = ()
    """List of further kinds of generators, each with the settings of `generator`."""
    classifier: ClassifierSettings = ClassifierSettings()

    @field_validator("more_generators", mode="before")
    @classmethod
    def _a_list_is_a_tuple(cls, kinds: Any) -> Any:
        return tuple(kinds) if isinstance(kinds, list) else kinds

    @property
    def generators(self) -> tuple[GeneratorSettings, ...]:
        """All kinds of generators."""
        return (self.generator, *self.more_generators)


class SelectionSettings(Section):
    """How the best checkpoint of a run is chosen."""

    by: Criterion = "detector"
    """The criterion: `detector` (highest mean probability that completions are real), `fid` (lowest FID
    of the completions) or `nll` (lowest NLL of the true completions, in nats/token)."""
    on: Literal["dev", "fold"] = "dev"
    """The sprites on which checkpoints are compared: `dev` or `fold`. `fold` needs `sprites.fold_size`
    above 0 and leaves dev unused by the choice, so that metrics on dev stay unbiased."""


class RunSettings(ConfigSettings):
    """What every run has, whatever it learns from.

    Attributes:
        learns: what it learns from.
        measured: the metrics of dev, of which lower is better.
    """

    learns: ClassVar[Literal["sprites", "text"]] = "sprites"
    measured: ClassVar[tuple[str, ...]] = ("completion_nll", "nll", "loss")

    name: str
    """Name of the run and of its outputs: `checkpoints/<name>/`, `submissions/<name>.txt`."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of the initial weights, of the order of the training samples and of dropout."""
    start_from: str | None = None
    """A run, a checkpoint's folder or a model on the hub, whose weights the training starts from. The model
    has its type and size, so `model` may be left out. By default, weights are drawn at random."""
    model: dict[str, Any] = Field({}, validate_default=True)
    """`model_type`, such as `gpt2`, `llama`, `mistral`, `qwen3` or `scratch`, and fields of that type's
    config in `transformers`. Fields that are not set keep the defaults of `transformers`."""
    training: dict[str, Any] = {}
    """Any field of `transformers.TrainingArguments` and of `RunTrainingArguments`."""

    @field_validator("name")
    @classmethod
    def _name_follows_the_rule(cls, name: str) -> str:
        if not is_name(name):
            raise ValueError(NAME_RULE)
        return name

    @field_validator("model")
    @classmethod
    def _a_new_model_has_a_type(cls, model: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return model if not model and info.data.get("start_from") else _require_type(model)

    def with_training(self, **fields: Any) -> Self:
        """Return the settings with other fields of `training:`."""
        return self.model_copy(update={"training": {**self.training, **fields}})

    def each_member(self) -> list[Self]:
        """Return the settings of each training: one for a run, one for each member of an ensemble."""
        return [self]

    def training_defaults(self) -> dict[str, Any]:
        """Return the defaults of `training:` that this kind of run has for itself."""
        return {}

    def fixed(self) -> dict[str, Any]:
        """Return section → settings that must not change within a run, as plain values."""
        return {"model": self.model, "training": self.training}

    def named_functions(self) -> dict[str, str]:
        """Return the setting and the place, `FILE.py:NAME`, of each function or class that it names."""
        training = self.training
        places = {
            "training.optimizer_function": training.get("optimizer_function"),
            "training.schedule_function": training.get("schedule_function"),
        }
        classes = {f"training.callbacks.{n}": name for n, name in enumerate(training.get("callbacks") or ())}
        return {setting: place for setting, place in (places | classes).items() if place}

    def save(self, folder: Path) -> None:
        """Write `settings.json` into `folder`. JSON is YAML too, so the file is a valid config."""
        write_json(folder / SETTINGS_NAME, self.model_dump(mode="json"))


RunKind = TypeVar("RunKind", bound=RunSettings)
"""The settings of one kind of run."""


class Settings(RunSettings):
    """All settings of a run on sprites."""

    members: int = Field(1, ge=1, le=64)
    """Number of models to train, each with its own seed: member N, from 0, trains with seed `seed *
    members + N`. Several models complete together as an ensemble, which averages their probabilities at
    each token."""
    sprites: SpriteSettings = SpriteSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    completion: CompletionSettings = CompletionSettings()
    detector: DetectorSettings = DetectorSettings()
    selection: SelectionSettings = SelectionSettings()

    def same_as(self, saved: dict[str, Any]) -> bool:
        """Tell whether saved settings equal these.

        The location of the sprites may differ, and so may a precision that these settings leave open.

        Raises:
            ValueError: if `saved` is not valid. Pydantic's `ValidationError` is a ValueError.
        """
        place = {"sprites": LOCATION_OF_SPRITES}
        before = Settings.model_validate(saved).model_dump(mode="json", exclude=place)
        now = self.model_dump(mode="json", exclude=place)
        chosen = {k: v for k, v in before["training"].items() if k in PRECISION}
        return {**now, "training": {**chosen, **now["training"]}} == before

    def fixed(self) -> dict[str, Any]:
        """Return section → settings that must not change within a run; the sprites have a fingerprint."""
        return {
            "sprites": self.sprites.model_dump(exclude=LOCATION_OF_SPRITES),
            **super().fixed(),
            "augmentation": self.augmentation.model_dump(),
        }

    def named_functions(self) -> dict[str, str]:
        """Return the functions and classes that the settings name, with that of the augmentation."""
        own = self.augmentation.function
        return {**({"augmentation.function": own} if own else {}), **super().named_functions()}

    def each_member(self) -> list[Self]:
        """Return the settings of each training: one for a run, one for each member of an ensemble."""
        return [self] if self.members == 1 else [self.for_member(number) for number in range(self.members)]

    def for_member(self, number: int) -> Self:
        """Return the settings of one member's run, `<name>/member-<number>`, with its own seed."""
        # Ensembles of different seeds must not share a member, because experiments average over the seeds.
        seed = self.seed * self.members + number
        changes = {"name": member_name(self.name, number), "seed": seed, "members": 1}
        return self.model_copy(update=changes)


class JudgeSection(DetectorSettings):
    """How a judge is trained and examined."""

    sample_steps: int = Field(0, ge=0)
    """Number of optimizer steps of the homework's sample model, whose greedy completions of dev the judge is
    examined on. By default, it is not."""


class JudgeSettings(ConfigSettings):
    """All settings of the judge of a sprite source."""

    sprites: SpriteSettings
    judge: JudgeSection


class SectionAlone(Section):
    """One section of settings without a run, to which only overrides apply."""


class SpritesAlone(SectionAlone):
    """Settings of a sprite source without a run."""

    sprites: SpriteSettings
