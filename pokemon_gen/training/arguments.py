"""A `training:` section → the `Trainer`'s arguments, with every field checked.

All of `transformers.TrainingArguments` can be set; a misspelt field, or a value of another type, is an
error that says so before anything is loaded.
"""

import dataclasses
import math
import re
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import PreTrainedModel, TrainingArguments, get_scheduler

from pokemon_gen.config_files.fields import check_training
from pokemon_gen.errors import PokemonGenError, SettingError
from pokemon_gen.models.hf_compat import can_set_attention, quiet, use_one_gpu
from pokemon_gen.settings import Settings
from pokemon_gen.training.compiling import can_compile, prepare_compiling
from pokemon_gen.training.precision import can_fp16

_HOUSE_DEFAULTS: dict[str, Any] = {
    # Once an epoch: dev is 80 sprites, so watching it costs a few per cent of the training time.
    "logging_strategy": "epoch",
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 80,
    "report_to": "tensorboard",
    "logging_nan_inf_filter": False,  # it would log a loss that is no number as 0.0; see `divergence.py`
    "disable_tqdm": False,  # else it follows how much `transformers` is to say, which is little here
    "dataloader_pin_memory": torch.cuda.is_available(),
}


@dataclass
class SpriteTrainingArguments(TrainingArguments):
    """`TrainingArguments`, what the homework's own loop does differently, and Muon."""

    decay_every_parameter: bool = False
    """Weight decay on biases and norms too, as a bare `AdamW(model.parameters())` has it."""
    muon_learning_rate: float = 0.0
    """Above 0, matrices between hidden layers learn by Muon at this rate; all else by `optim`."""
    muon_weight_decay: float = 0.0
    """Of these matrices; a step takes off `muon_learning_rate * muon_weight_decay`."""
    attn_implementation: Literal["eager", "sdpa"] | None = None
    """How attention is computed while training, as `transformers` names it; None: as it chooses itself.

    On a CPU `eager`, by products of matrices, is the faster one for short rows and small batches (`LOG.md`).
    """


def training_arguments(settings: Settings, folder: Path) -> SpriteTrainingArguments:
    """Make the `Trainer`'s arguments from a `training:` section.

    Raises:
        PokemonGenError: naming an unknown field and the nearest known one, or a value that does not
            fit.
    """
    hints = typing.get_type_hints(SpriteTrainingArguments)
    fields = (field for field in dataclasses.fields(SpriteTrainingArguments) if field.init)
    types = {field.name: hints[field.name] for field in fields}
    given = check_training(settings.training, types)
    ours: dict[str, Any] = {
        "output_dir": str(folder),
        "seed": settings.seed,
        "data_seed": given.get("data_seed") or derived_seed(settings.seed),
        "label_names": ["labels"],
        "remove_unused_columns": False,
    }
    if given.get("metric_for_best_model") is not None:
        ours["greater_is_better"] = False  # to `Trainer`, what does not end in "loss" is a score
    if not torch.accelerator.is_available():
        ours["use_cpu"] = True  # without it `Trainer` refuses bf16 on a CPU
    try:
        with quiet():  # compiling for a CPU is worth it, whatever `transformers` thinks of it
            arguments = SpriteTrainingArguments(**{**_HOUSE_DEFAULTS, **given, **ours})
        use_one_gpu(arguments)
        arguments.get_process_log_level()  # `Trainer` asks only later, and knows no other names
        if arguments.torch_compile:  # a mode that there is not would be told at the first step
            torch.compile(mode=arguments.torch_compile_mode, backend=arguments.torch_compile_backend)(len)
    except (ValueError, TypeError, ImportError, RuntimeError) as error:
        raise PokemonGenError(f"training: {error}") from error
    except KeyError as error:  # such as a level of logging
        raise PokemonGenError(f"training: unknown {error}") from error
    _check_together(arguments)
    return arguments


def derived_seed(*numbers: int) -> int:
    """Return one seed, 32 bits, for several numbers; neighbouring numbers give unrelated seeds.

    accelerate shuffles by seed + epoch, so that runs of neighbouring seeds would share their orders, shifted
    by an epoch.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def helper_arguments(folder: str, seed: int, **fields: Any) -> TrainingArguments:
    """Make the arguments of a short training that helps another: nothing saved, nothing logged, one device.

    Args:
        folder: for what `Trainer` may want to write.
        seed: of all that is drawn, and of the order of the sprites.
        fields: of `TrainingArguments`.
    """
    arguments = TrainingArguments(
        output_dir=folder,
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to="none",
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.accelerator.is_available(),
        seed=seed,
        data_seed=derived_seed(seed),
        **fields,
    )
    use_one_gpu(arguments)
    return arguments


def fit_schedule(arguments: SpriteTrainingArguments, max_steps: int) -> None:
    """Turn shares of the run in `lr_scheduler_kwargs` into steps: `num_decay_steps: 0.5` is its second half.

    So that a run made shorter or longer keeps the shape of its schedule; `Trainer` itself reads
    `warmup_steps` below 1 as a share.

    Raises:
        PokemonGenError: for keys that the schedule does not have, or parts longer than the run.
    """
    parts: dict[str, Any] = dict(arguments.lr_scheduler_kwargs or {})
    for key, value in parts.items():
        if re.fullmatch(r"num_\w*steps", key) and isinstance(value, float) and 0 < value < 1:
            parts[key] = round(value * max_steps)
    arguments.lr_scheduler_kwargs = parts
    warmup = arguments.get_warmup_steps(max_steps)
    try:
        steps = warmup + sum(value for key, value in parts.items() if re.fullmatch(r"num_\w*steps", key))
        if steps > max_steps:
            raise ValueError(f"warm-up and {parts} take {steps} steps; the run has {max_steps}")
        unused = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        get_scheduler(arguments.lr_scheduler_type, unused, warmup, max_steps, parts)
    except (ValueError, TypeError) as error:
        raise PokemonGenError(f"training.lr_scheduler_kwargs: {error}") from error


def compile_if_possible(arguments: TrainingArguments) -> None:
    """Take `torch_compile` back where nothing can be compiled: slower is better than not at all."""
    if not arguments.torch_compile:
        return
    if can_compile():
        prepare_compiling()
    else:
        arguments.torch_compile = False
        arguments.torch_compile_backend = arguments.torch_compile_mode = None


def set_attention(model: PreTrainedModel, arguments: SpriteTrainingArguments) -> None:
    """Let a model attend as the arguments ask; what is saved of it does not say so.

    Raises:
        SettingError: if its type cannot.
    """
    if arguments.attn_implementation is None:
        return
    setting = "training.attn_implementation"
    if not can_set_attention(model):
        raise SettingError(setting, f"{setting}: {model.config.model_type} attends in its own way only")
    try:
        model.set_attn_implementation(arguments.attn_implementation)
    except ValueError as error:
        raise SettingError(setting, f"{setting}: {error}") from error


def count_steps(arguments: TrainingArguments, sprites: int) -> int:
    """Return the optimizer steps of the whole run, as `Trainer` counts them.

    Raises:
        PokemonGenError: if every batch would be dropped.
    """
    if arguments.dataloader_drop_last and sprites < arguments.train_batch_size:
        raise PokemonGenError(
            f"training.dataloader_drop_last: {sprites} sprites make no whole batch of "
            f"{arguments.train_batch_size}, so there would be nothing to learn from"
        )
    if arguments.max_steps > 0:
        return arguments.max_steps
    batches = sprites / arguments.train_batch_size
    batches = math.floor(batches) if arguments.dataloader_drop_last else math.ceil(batches)
    steps_per_epoch = max(1, math.ceil(batches / arguments.gradient_accumulation_steps))
    return math.ceil(arguments.num_train_epochs * steps_per_epoch)


def _check_together(arguments: SpriteTrainingArguments) -> None:
    """Refuse what would only fail, or do nothing, once the training is done."""
    if arguments.world_size > 1:
        raise PokemonGenError(
            "training: a run is one process; start it by `pokemon-gen`, not by torchrun or accelerate launch"
        )
    if arguments.muon_weight_decay and not arguments.muon_learning_rate:
        raise PokemonGenError("training.muon_weight_decay: does nothing without training.muon_learning_rate")
    if arguments.fp16 and (arguments.use_cpu or not can_fp16()):
        raise PokemonGenError("training.fp16: needs a GPU; on a CPU use bf16 or neither")
