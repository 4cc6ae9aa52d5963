"""A person's own code in a training: augmentation, optimizer, schedule, model and callbacks.

`train` and `run` take them as Python objects, and a config names them as `FILE.py:NAME`. Such a file is a
program: it is run only by a training that the person starts, never when a checkpoint is loaded, completed
or scored, and only from the working directory, outside `checkpoints/`, where files of other people may be
(`validation.py`).

A checkpoint records which code it was trained with, so that a run does not resume silently without it.
"""

import hashlib
import importlib.util
import inspect
import logging
import sys
import tokenize
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor
from transformers import PreTrainedModel, TrainerCallback

from pokemon_gen.errors import OwnCodeError, PokemonGenError, SettingError
from pokemon_gen.files import read_json
from pokemon_gen.models.checkpoints import EXTENSIONS_NAME
from pokemon_gen.settings import RunSettings
from pokemon_gen.validation import check_place

AugmentationFunction: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]
"""(B, 400) tokens and a generator on the CPU → (B, 400) tokens, applied before the `augmentation:` section.
"""
OptimizerFunction: TypeAlias = Callable[[PreTrainedModel, Any], torch.optim.Optimizer]
"""The model and the `TrainingArguments` → an optimizer."""
ScheduleFunction: TypeAlias = Callable[[int, int], float]
"""A step, from 0, and the steps of the run → the factor of the learning rate."""
ModelFunction: TypeAlias = Callable[[int, int], PreTrainedModel]
"""The vocabulary's size and a seed → a causal language model with fresh weights."""
_FIELDS = {
    "augmentation.function": "augmentation",
    "training.optimizer_function": "optimizer",
    "training.schedule_function": "schedule",
}
"""The setting that names a function → the field of `Extensions`."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extensions:
    """A person's own code in a training; None and () keep what the settings say.

    Attributes:
        augmentation: changes each batch of sprites.
        optimizer: makes the optimizer, in place of `training.optim` and Muon.
        schedule: gives the factor of the learning rate at each step, in place of
            `training.lr_scheduler_type`.
        model: a model with fresh weights, or a function that makes one, in place of the `model:` section.
        callbacks: callbacks of `Trainer`.
        files: field → place and SHA-256 of the file, for code that a config names.
    """

    augmentation: AugmentationFunction | None = None
    optimizer: OptimizerFunction | None = None
    schedule: ScheduleFunction | None = None
    model: PreTrainedModel | ModelFunction | None = None
    callbacks: Sequence[TrainerCallback] = ()
    files: dict[str, str] = field(default_factory=dict)

    def with_callbacks(self, callbacks: Sequence[TrainerCallback]) -> "Extensions":
        """Return these extensions with more callbacks."""
        return replace(self, callbacks=[*self.callbacks, *callbacks])

    def describe(self) -> dict[str, str]:
        """Return what a checkpoint records: field → the name and the SHA-256 of its code.

        Of an object that is not a function only the name of its class is recorded. Callbacks are not
        recorded, since they may differ when a run is resumed.
        """
        given = {name: getattr(self, name) for name in ("augmentation", "optimizer", "schedule", "model")}
        return {
            name: self.files.get(name) or _name_of(code) for name, code in given.items() if code is not None
        }


def _name_of(code: Any) -> str:
    """Return the name of a function with the SHA-256 of its source, or the name of an object's class."""
    name = str(getattr(code, "__qualname__", type(code).__qualname__))
    if not inspect.isfunction(code):
        return name
    try:
        source = inspect.getsource(code)
    except (OSError, SyntaxError, tokenize.TokenError):  # such as one that was typed into the interpreter
        return name
    return f"{name} ({_fingerprint(source.encode())})"


def _fingerprint(code: bytes) -> str:
    return f"SHA-256 {hashlib.sha256(code).hexdigest()[:16]}"


def with_named(extensions: Extensions, settings: RunSettings) -> Extensions:
    """Return extensions together with those that a config names; Python objects come first.

    Raises:
        SettingError: for a file or a name that does not exist, or a file that fails.
    """
    loaded: dict[str, Any] = {}
    files, callbacks = dict(extensions.files), [*extensions.callbacks]
    modules: dict[Path, Any] = {}
    for setting, place in settings.named_functions().items():
        name = _FIELDS.get(setting)
        if name and getattr(extensions, name) is not None:
            continue
        file, code_name = check_place(setting, place)
        code = _load(setting, file, code_name, modules)
        if name is None:
            callbacks.append(call_own(f"{setting}: {place}", code))
        else:
            loaded[name], files[name] = code, f"{place} ({_fingerprint(file.read_bytes())})"
    return replace(extensions, **loaded, callbacks=callbacks, files=files)


def _load(setting: str, file: Path, name: str, modules: dict[Path, Any]) -> Any:
    """Import a Python file by its path, once, and return one of its names.

    Raises:
        SettingError: for a name that does not exist, or a file that fails.
    """
    if file not in modules:
        _log.info("%s: running %s", setting, file.name)
        modules[file] = _import(setting, file)
    if not callable(getattr(modules[file], name, None)):
        raise SettingError(setting, f"{setting}: {file.name} has no function or class {name!r}.")
    return getattr(modules[file], name)


def _import(setting: str, file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"own_code_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise SettingError(setting, f"{setting}: {file} is not a Python file.")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # as dataclasses require
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise SettingError(setting, f"{setting}: {file.name} cannot be imported: {reason}.") from error
    return module


def call_own(what: str, code: Callable[..., Any], *args: Any) -> Any:
    """Call a person's own code; an error in it names the code instead of looking like a wrong setting.

    Args:
        what: names the code in errors.
        code: the function or class.
        args: its arguments.

    Raises:
        OwnCodeError: with the class and the message of the error.
    """
    try:
        return code(*args)
    except Exception as error:
        raise OwnCodeError(f"{what}: your own code failed: {type(error).__name__}: {error}") from error


def require_returned(what: str, returned: Any, kind: type) -> None:
    """Check what a person's own code returned.

    Raises:
        PokemonGenError: naming the code, and both types.
    """
    if not isinstance(returned, kind):
        raise PokemonGenError(
            f"{what}: your function must return a {kind.__name__}, not {type(returned).__name__}."
        )


def check_same_code(extensions: Extensions, checkpoint: Path) -> None:
    """Check that a run is resumed with the code that it was started with.

    Raises:
        PokemonGenError: naming the code that is missing, new or changed.
    """
    file = checkpoint / EXTENSIONS_NAME
    before = read_json(file) if file.is_file() else {}
    now = extensions.describe()
    changed = [
        f"{name} (was {before.get(name)}, is {now.get(name)})"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise PokemonGenError(
            f"{checkpoint.parent} was trained with other code of your own: {', '.join(changed)}. Pass the "
            "same code, choose another name (name=...), or start again with --overwrite."
        )


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
