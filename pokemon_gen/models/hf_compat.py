"""What this package asks of `transformers` that has no public way: every private attribute, in one file.

A private attribute (its name begins with an underscore) may change in any release. Each function here names
the attribute it needs and the releases it was tested with. Where the attribute is gone, the error says which
one, so that nobody has to search a traceback.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import transformers
from transformers import PreTrainedModel, TrainingArguments, masking_utils
from transformers.utils import logging

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.hub_log import hide_retries

TESTED = "5.12 to 5.24"
"""Releases of `transformers` in which all of these attributes were found to work."""


@contextmanager
def _private(attribute: str) -> Iterator[None]:
    """Turn a missing private attribute into an error that names it.

    Raises:
        PokemonGenError: naming the attribute, the installed release and the tested ones.
    """
    try:
        yield
    except AttributeError as error:
        raise PokemonGenError(
            f"transformers {transformers.__version__}: {attribute} is missing or has changed ({error}). "
            f"pokemon_gen/models/hf_compat.py needs it and was tested with {TESTED}. Install such a release."
        ) from error


def use_one_gpu(arguments: TrainingArguments) -> None:
    """Train on one GPU where there are more: `DataParallel` would multiply the batch that the config states.

    Needs `TrainingArguments._n_gpu`, which `n_gpu` returns and `Trainer` reads.
    """
    with _private("TrainingArguments._n_gpu"):
        if arguments.n_gpu > 1:
            arguments._n_gpu = 1
            if arguments.n_gpu != 1:
                raise AttributeError("setting it has no effect")


def can_set_attention(model: PreTrainedModel) -> bool:
    """Tell whether the attention of a model can be exchanged; `set_attn_implementation` would only warn.

    Needs `PreTrainedModel._can_set_attn_implementation()`.
    """
    with _private("PreTrainedModel._can_set_attn_implementation"):
        return bool(model._can_set_attn_implementation())


def attention_of(model: PreTrainedModel) -> Any:
    """Return the attention implementation that a model uses now, to be restored later.

    Needs `PretrainedConfig._attn_implementation`.
    """
    with _private("PretrainedConfig._attn_implementation"):
        return model.config._attn_implementation


def takes_dynamic_cache(model: PreTrainedModel) -> bool:
    """Tell whether a model keeps its past in a `DynamicCache` of keys and values.

    Needs `PreTrainedModel._is_stateful` and `_supports_default_dynamic_cache()`.
    """
    with _private("PreTrainedModel._is_stateful or _supports_default_dynamic_cache"):
        return not model._is_stateful and bool(model._supports_default_dynamic_cache())


@contextmanager
def one_sprite_a_row() -> Iterator[None]:
    """Let a model's forward pass leave out its checks for several sequences in a row, and for padding.

    They read a number back from the GPU, and are replaced by a mask during a capture, which then holds other
    kernels than the steps before it. Our rows hold one sprite each, without padding.

    Needs `masking_utils.find_packed_sequence_indices()` and `masking_utils.is_tracing()`.
    """
    replaced = {
        "find_packed_sequence_indices": lambda position_ids: None,
        "is_tracing": lambda tensor=None: False,
    }
    before = {name: getattr(masking_utils, name) for name in replaced if hasattr(masking_utils, name)}
    for name in before:
        setattr(masking_utils, name, replaced[name])
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(masking_utils, name, function)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the progress bars of `transformers`, and warnings: of tied weights, and of the hub's retries.

    A message that the random state of another device cannot be restored is hidden too: nothing needs it.
    """
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    of_states = logging.get_logger("transformers.trainer_pt_utils")
    of_states.addFilter(_not_of_random_states)
    try:
        with hide_retries():
            yield
    finally:
        of_states.removeFilter(_not_of_random_states)
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _not_of_random_states(record: Any) -> bool:
    """Tell whether a message of the log is about something else than random states."""
    return "RNG states" not in record.getMessage()
