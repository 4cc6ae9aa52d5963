"""A `training:` section → the `Trainer`'s arguments, with every field checked.

All of `transformers.TrainingArguments` can be set; a misspelt field, or a value of another type, is an
error that says so before anything is loaded.
"""

import dataclasses
import math
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from transformers import TrainingArguments

from pokemon_gen.errors import PokemonGenError, closest
from pokemon_gen.settings import Settings

_HOUSE_DEFAULTS: dict[str, Any] = {
    # Once an epoch: dev is 80 sprites, so watching it costs a few per cent of the training time.
    "logging_strategy": "epoch",
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 80,
    "report_to": "tensorboard",
    "dataloader_pin_memory": torch.cuda.is_available(),
}
_OURS = {
    "output_dir": "follows from `name`",
    "seed": "is the top-level `seed`",
    "label_names": "is always `labels`",
    "remove_unused_columns": "does not apply: batches are made of tokens alone",
    "resume_from_checkpoint": "is decided here: training again goes on from the last checkpoint",
}


@dataclass
class SpriteTrainingArguments(TrainingArguments):
    """`TrainingArguments` and what the homework's own loop does differently."""

    decay_every_parameter: bool = False
    """Weight decay on biases and norms too, as a bare `AdamW(model.parameters())` has it."""


def training_arguments(settings: Settings, folder: Path) -> SpriteTrainingArguments:
    """Make the `Trainer`'s arguments from a `training:` section.

    Raises:
        PokemonGenError: naming an unknown field and the nearest known one, or a value that does not
            fit.
    """
    types = typing.get_type_hints(SpriteTrainingArguments)
    known = {f.name for f in dataclasses.fields(SpriteTrainingArguments) if f.init} - set(_OURS)
    given = {}
    for field, value in settings.training.items():
        if field in _OURS:
            raise PokemonGenError(f"training.{field}: cannot be set: it {_OURS[field]}")
        if field not in known:
            raise PokemonGenError(f"unknown setting 'training.{field}'{closest(field, known)}")
        given[field] = _checked(field, value, types[field])
    ours: dict[str, Any] = {
        "output_dir": str(folder),
        "seed": settings.seed,
        "label_names": ["labels"],
        "remove_unused_columns": False,
    }
    if not torch.accelerator.is_available():
        ours["use_cpu"] = True  # without it `Trainer` refuses bf16 on a CPU
    try:
        arguments = SpriteTrainingArguments(**{**_HOUSE_DEFAULTS, **given, **ours})
        devices = arguments.n_gpu
    except (ValueError, ImportError) as error:
        raise PokemonGenError(f"training: {error}") from error
    if devices > 1:
        # Kaggle lends two T4s. DataParallel would double the batch that the config states.
        arguments._n_gpu = 1
    return arguments


def count_steps(arguments: TrainingArguments, sprites: int) -> int:
    """Return the optimizer steps of the whole run, as `Trainer` counts them."""
    if arguments.max_steps > 0:
        return arguments.max_steps
    batches = sprites / arguments.train_batch_size
    batches = math.floor(batches) if arguments.dataloader_drop_last else math.ceil(batches)
    steps_per_epoch = max(1, math.ceil(batches / arguments.gradient_accumulation_steps))
    return math.ceil(arguments.num_train_epochs * steps_per_epoch)


def _checked(field: str, value: Any, expected: Any) -> Any:
    try:
        return TypeAdapter(expected).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Input ")
        raise PokemonGenError(f"training.{field}: {reason}, not {value!r}") from None
