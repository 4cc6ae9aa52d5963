"""A `training:` section → the arguments of `Trainer`, with every field checked.

Every field of `transformers.TrainingArguments` can be set. A misspelt field or a value of the wrong type is
an error before anything is loaded.
"""

import contextlib
import dataclasses
import logging
import math
import re
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from transformers import PreTrainedModel, TrainingArguments, get_scheduler

from pokemon_gen.config_files.checks import check_training
from pokemon_gen.errors import PokemonGenError, SettingError
from pokemon_gen.models.graphs import can_capture
from pokemon_gen.models.hf_compat import can_set_attention, quiet, use_one_gpu
from pokemon_gen.settings import RunSettings
from pokemon_gen.training.precision import can_fp16

_log = logging.getLogger(__name__)
Capture: TypeAlias = Literal[True, False, "auto"]
"""Whether to capture training steps as CUDA graphs; "auto" captures them where that is possible."""


def _batches_to_a_gpu() -> dict[str, Any]:
    """Return fields with which batches are copied to an NVIDIA GPU without waiting for the steps before."""
    if not torch.cuda.is_available():
        return {"dataloader_pin_memory": False}
    return {"dataloader_pin_memory": True, "accelerator_config": {"non_blocking": True}}


DEFAULT_BATCH = 16
"""The number of samples in a batch of a run that does not say it."""
HEADS_FOR_EAGER = 24
"""The most attention matrices in a batch (sprites times heads) with which `eager` is the default of a CPU in
bf16. 24 were measured to be faster in bf16; 64 were slower in fp32 (`LOG.md`)."""
_DEFAULTS: dict[str, Any] = {
    # Once per epoch: dev has 80 sprites, so an evaluation costs a few per cent of the training time.
    "logging_strategy": "epoch",
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "per_device_train_batch_size": DEFAULT_BATCH,
    "per_device_eval_batch_size": 80,
    "report_to": "tensorboard",
    "logging_nan_inf_filter": False,  # it logs a loss of NaN as 0.0; see `divergence.py`
    "disable_tqdm": False,  # by default it follows the log level of `transformers`
    "tf32": False,  # `torch_compile` would switch TF32 on for all that the process computes later
    **_batches_to_a_gpu(),
}


@dataclass
class RunTrainingArguments(TrainingArguments):
    """`TrainingArguments` with more fields: Muon, the homework's weight decay, attention, your own code."""

    decay_every_parameter: bool = False
    """Whether weight decay applies to biases and norms too, as in a bare `AdamW(model.parameters())`."""
    muon_learning_rate: float = 0.0
    """Learning rate of Muon. Above 0, Muon trains the matrices between hidden layers, and `optim` all other
    weights. By default, `optim` trains all weights."""
    muon_weight_decay: float = 0.0
    """Weight decay of the matrices that Muon trains. Each step reduces a weight by the share
    `muon_learning_rate * muon_weight_decay`."""
    attn_implementation: Literal["eager", "sdpa"] | None = None
    """Implementation of attention during training: `eager` (matrix products) or `sdpa` (torch's kernel). By
    default, it is `eager` in bf16 on a CPU for at most 24 attention matrices in a batch (sprites times
    heads), where it is faster (`LOG.md`); otherwise `transformers` chooses, which is mostly `sdpa`."""
    capture: Literal[True, False, "auto"] = "auto"
    """Whether a step of the run's training on an NVIDIA GPU is captured as one CUDA graph, which saves the
    launches of its kernels. `auto` captures where that is possible; `true` is an error where it is not."""
    optimizer_function: str | None = None
    """`FILE.py:FUNCTION` that returns the optimizer for a model and these arguments. By default, `optim` and
    `muon_learning_rate` determine the optimizer."""
    schedule_function: str | None = None
    """`FILE.py:FUNCTION` that returns the factor of the learning rate for a step, counted from 0, and the
    number of steps of the run. By default, `lr_scheduler_type` determines the schedule."""
    callbacks: list[str] | None = None
    """List of `FILE.py:CLASS`, one for each callback to add to `Trainer`. Each class is called without
    arguments. By default, no callbacks are added."""


def training_arguments(settings: RunSettings, folder: Path) -> RunTrainingArguments:
    """Return the arguments of `Trainer` for a run.

    Args:
        settings: of the run.
        folder: receives the checkpoints.

    Raises:
        PokemonGenError: for an unknown field, naming the most similar known one, or a value that does not
            fit.
    """
    hints = typing.get_type_hints(RunTrainingArguments)
    fields = (field for field in dataclasses.fields(RunTrainingArguments) if field.init)
    types = {field.name: hints[field.name] for field in fields}
    given = check_training(settings.training, types, settings.measured)
    ours: dict[str, Any] = {
        "output_dir": str(folder),
        "seed": settings.seed,
        "label_names": ["labels"],
        "remove_unused_columns": False,
    }
    if given.get("metric_for_best_model") is not None:
        ours["greater_is_better"] = (
            False  # `Trainer` takes every name that does not end in "loss" for a score
        )
    if not torch.accelerator.is_available():
        ours["use_cpu"] = True  # otherwise `Trainer` refuses bf16 on a CPU
    if given.get("data_seed") is None:
        ours["data_seed"] = derived_seed(settings.seed)
    try:
        with quiet():  # `transformers` warns of compiling for a CPU, which pays here
            defaults = {**_DEFAULTS, **settings.training_defaults()}
            arguments = RunTrainingArguments(**{**defaults, **given, **ours})
        use_one_gpu(arguments)
        arguments.get_process_log_level()  # raises KeyError for an unknown level, as `Trainer` does later
        if arguments.torch_compile:  # an unknown mode would raise at the first step
            torch.compile(mode=arguments.torch_compile_mode, backend=arguments.torch_compile_backend)(len)
    except (ValueError, TypeError, ImportError, RuntimeError) as error:
        raise PokemonGenError(f"training: {error}") from error
    except KeyError as error:  # a log level, for example
        raise PokemonGenError(f"training: unknown {error}") from error
    _check_combination(arguments)
    return arguments


def derived_seed(*numbers: int) -> int:
    """Return one seed, 32 bits, for several numbers; neighbouring numbers give unrelated seeds.

    accelerate shuffles by seed + epoch, so that runs of neighbouring seeds would share their orders, shifted
    by an epoch.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def helper_arguments(folder: str, seed: int, **fields: Any) -> TrainingArguments:
    """Return the arguments of a short auxiliary training: nothing is saved or logged, on one device.

    Args:
        folder: a temporary folder for files that `Trainer` may write.
        seed: of every draw, and of the order of the sprites.
        fields: of `TrainingArguments`.
    """
    arguments = TrainingArguments(
        output_dir=folder,
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to="none",
        remove_unused_columns=False,
        **_batches_to_a_gpu(),
        use_cpu=not torch.accelerator.is_available(),
        seed=seed,
        data_seed=derived_seed(seed),
        **fields,
    )
    use_one_gpu(arguments)
    return arguments


def fit_schedule(arguments: RunTrainingArguments, max_steps: int) -> None:
    """Turn shares of the run in `lr_scheduler_kwargs` into steps: `num_decay_steps: 0.5` is its second half.

    A run that is made shorter or longer keeps the shape of its schedule. `Trainer` itself reads
    `warmup_steps` below 1 as a share.

    Raises:
        PokemonGenError: for keys that the schedule does not have, or phases longer than the run.
    """
    phases: dict[str, Any] = dict(arguments.lr_scheduler_kwargs or {})
    for key, value in phases.items():
        if re.fullmatch(r"num_\w*steps", key) and isinstance(value, float) and 0 < value < 1:
            phases[key] = round(value * max_steps)
    arguments.lr_scheduler_kwargs = phases
    warmup = arguments.get_warmup_steps(max_steps)
    try:
        steps = warmup + sum(value for key, value in phases.items() if re.fullmatch(r"num_\w*steps", key))
        if steps > max_steps:
            raise ValueError(f"warm-up and {phases} take {steps} steps; the run has {max_steps}")
        unused = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        get_scheduler(arguments.lr_scheduler_type, unused, warmup, max_steps, phases)
    except (ValueError, TypeError) as error:
        raise PokemonGenError(f"training.lr_scheduler_kwargs: {error}") from error


def set_attention(model: PreTrainedModel, arguments: RunTrainingArguments) -> None:
    """Set the attention that the arguments name, or that suits the device; a checkpoint does not record it.

    Raises:
        SettingError: if the model's type does not support the one that is named.
    """
    if arguments.attn_implementation is None:
        heads = arguments.per_device_train_batch_size * getattr(model.config, "num_attention_heads", 0)
        small = 0 < heads <= HEADS_FOR_EAGER
        if arguments.device.type == "cpu" and arguments.bf16 and small and can_set_attention(model):
            with contextlib.suppress(ValueError):  # a type without this implementation keeps its own
                model.set_attn_implementation("eager")
        return
    setting = "training.attn_implementation"
    if not can_set_attention(model):
        raise SettingError(setting, f"{setting}: {model.config.model_type} has only its own attention")
    try:
        model.set_attn_implementation(arguments.attn_implementation)
    except ValueError as error:
        raise SettingError(setting, f"{setting}: {error}") from error


def count_steps(arguments: TrainingArguments, samples: int, noun: str) -> int:
    """Return the optimizer steps of the whole run, as `Trainer` counts them.

    Args:
        arguments: of the run.
        samples: in an epoch.
        noun: what a sample is called in messages, in the plural.

    Raises:
        PokemonGenError: if every batch would be dropped.
    """
    if arguments.dataloader_drop_last and samples < arguments.train_batch_size:
        raise PokemonGenError(
            f"training.dataloader_drop_last: {samples} {noun} do not fill a batch of "
            f"{arguments.train_batch_size}, so every batch would be dropped. Remove this "
            "setting, or lower training.per_device_train_batch_size."
        )
    if arguments.max_steps > 0:
        return arguments.max_steps
    batches = samples / arguments.train_batch_size
    batches = math.floor(batches) if arguments.dataloader_drop_last else math.ceil(batches)
    steps_per_epoch = max(1, math.ceil(batches / arguments.gradient_accumulation_steps))
    return math.ceil(arguments.num_train_epochs * steps_per_epoch)


def _check_combination(arguments: RunTrainingArguments) -> None:
    """Refuse combinations that would fail, or have no effect, only once the training runs."""
    if arguments.world_size > 1:
        raise PokemonGenError(
            "training: a run is one process. Start it with `pokemon-gen`, not with torchrun or accelerate."
        )
    if arguments.muon_weight_decay and not arguments.muon_learning_rate:
        raise PokemonGenError(
            "training.muon_weight_decay: it has no effect without training.muon_learning_rate. Set "
            "both or neither."
        )
    if arguments.capture is True and not can_capture(arguments.device):
        raise PokemonGenError(
            "training.capture: steps are captured on an NVIDIA GPU only, and this run trains on "
            f"{arguments.device.type}. Remove this setting, or set it to auto."
        )
    if arguments.fp16 and (arguments.use_cpu or not can_fp16()):
        raise PokemonGenError(
            "training.fp16: fp16 needs a GPU, and a run keeps the precision that it started with. Resume "
            "this run on a GPU, or start one here under another name (name=...)."
        )
