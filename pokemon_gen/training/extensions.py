"""A person's own code in a training: augmentation, optimizer, schedule, model and callbacks.

`train` and `run` take them as Python objects, and a config names them as `FILE.py:NAME`. Such a file is a
program: it is run only by a training that the person starts, never when a checkpoint is loaded, completed or
scored, and only from the working directory, outside `checkpoints/`, where files of other people may lie.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor
from transformers import PreTrainedModel, TrainerCallback

from pokemon_gen.constants import CHECKPOINTS
from pokemon_gen.errors import PokemonGenError, SettingError
from pokemon_gen.settings import Settings

AugmentationFunction: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]
"""(B, 400) tokens and a generator on the CPU → (B, 400) tokens, applied before the `augmentation:` section.
"""
OptimizerFunction: TypeAlias = Callable[[PreTrainedModel, Any], torch.optim.Optimizer]
"""The model and the `TrainingArguments` → an optimizer."""
ScheduleFunction: TypeAlias = Callable[[int, int], float]
"""A step, from 0, and the steps of the run → the factor of the learning rate."""
ModelFunction: TypeAlias = Callable[[int, int], PreTrainedModel]
"""The vocabulary's size and a seed → a causal language model with fresh weights."""


@dataclass(frozen=True)
class Extensions:
    """A person's own code in a training; None and () leave what the settings say.

    Attributes:
        augmentation: changes each batch of sprites.
        optimizer: makes the optimizer, in place of `training.optim` and Muon.
        schedule: gives the factor of the learning rate at each step, in place of
            `training.lr_scheduler_type`.
        model: a model with fresh weights, or a function that makes one, in place of the `model:` section.
        callbacks: of `Trainer`.
    """

    augmentation: AugmentationFunction | None = None
    optimizer: OptimizerFunction | None = None
    schedule: ScheduleFunction | None = None
    model: PreTrainedModel | ModelFunction | None = None
    callbacks: Sequence[TrainerCallback] = ()

    def with_callbacks(self, callbacks: Sequence[TrainerCallback]) -> "Extensions":
        """Return these extensions with more callbacks."""
        return replace(self, callbacks=[*self.callbacks, *callbacks])


def with_named(extensions: Extensions, settings: Settings) -> Extensions:
    """Return extensions together with those that a config names; Python objects come first.

    Raises:
        SettingError: for a file or a name that does not exist, or a file that fails.
    """
    training = settings.training
    named = {
        "augmentation": ("augmentation.function", settings.augmentation.function),
        "optimizer": ("training.optimizer_function", training.get("optimizer_function")),
        "schedule": ("training.schedule_function", training.get("schedule_function")),
    }
    loaded = {
        field: load_object(setting, place)
        for field, (setting, place) in named.items()
        if place and getattr(extensions, field) is None
    }
    classes = [load_object("training.callbacks", place) for place in training.get("callbacks") or ()]
    return replace(extensions, **loaded, callbacks=[*extensions.callbacks, *(make() for make in classes)])


def load_object(setting: str, place: str) -> Any:
    """Import a Python file by its path and return one of its names.

    Args:
        setting: where the config names it, for errors.
        place: `FILE.py:NAME`.

    Raises:
        SettingError: for a file or a name that does not exist, or a file that fails.
    """
    file, name = check_place(setting, place)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise SettingError(setting, f"{setting}: {file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SettingError(setting, f"{setting}: {file} fails: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, name, None)):
        raise SettingError(setting, f"{setting}: {file} has no function or class {name!r}")
    return getattr(module, name)


def check_place(setting: str, place: str) -> tuple[Path, str]:
    """Return the file and the name that `FILE.py:NAME` means, without importing the file.

    Raises:
        SettingError: for another form, a missing file, or a file that may not be run.
    """
    text, _, name = place.rpartition(":")
    if not text.endswith(".py") or not name.isidentifier():
        raise SettingError(
            setting, f"{setting}: write FILE.py:NAME, such as my_ideas.py:jitter, not {place!r}"
        )
    file = Path(text).resolve()
    here, kept_out = Path.cwd().resolve(), CHECKPOINTS.resolve()
    if here not in file.parents or kept_out in file.parents:
        raise SettingError(
            setting,
            f"{setting}: {text} is not run. Put the file in the working directory, outside {CHECKPOINTS}/.",
        )
    if not file.is_file():
        raise SettingError(setting, f"{setting}: {text}: no such file")
    return file, name


def require_one_model(extensions: Extensions, members: int) -> None:
    """Check that each member of an ensemble gets a model with weights of its own.

    Raises:
        PokemonGenError: for one model object and several members.
    """
    if members > 1 and isinstance(extensions.model, PreTrainedModel):
        raise PokemonGenError(
            f"members: {members} members cannot share one model. Pass a function that returns a new model "
            "for a vocabulary's size and a seed."
        )
