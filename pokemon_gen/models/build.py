"""A `model:` section → a decoder-only `AutoModelForCausalLM` with fresh weights.

Any decoder-only `model_type` of `transformers` works, and `scratch` (`scratch.py`). This package sets three
things: the vocabulary is the palette, or that of a tokenizer; there is no begin, end or pad token, since
every token is a colour or a piece of text (token 2, Llama's default end token, would stop a sprite in the
middle); and every token of a sprite or a block has a position. The configs of `transformers` silently ignore
a misspelt field, so the fields are checked here.
"""

import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from pokemon_gen.augmentation import NO_CONDITIONING, ConditioningTokens
from pokemon_gen.config_files.checks import (
    MODEL_REFUSED,
    TEXT_MODEL_REFUSED,
    check_family,
    check_model,
)
from pokemon_gen.constants import LENGTH, SCRATCH
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.scratch import register_scratch

WIDE = 512
"""The width from which on a model's weights are counted before they are allocated."""
BYTES_PER_WEIGHT = 16
"""In fp32: the weight, its gradient and the two moments of AdamW."""


def build_model(
    model: dict[str, Any],
    palette_size: int,
    seed: int,
    section: str = "model",
    conditioning: ConditioningTokens = NO_CONDITIONING,
) -> PreTrainedModel:
    """Return a decoder-only model of sprites with fresh weights.

    Args:
        model: `model_type` and fields of that type's config, as in a config's `model:` section.
        palette_size: V, the number of colours.
        seed: of the initial weights.
        section: where these fields are in a config, for errors.
        conditioning: the conditioning tokens, which follow the colours; by default there are none.

    Returns:
        A causal language model: `input_ids` (B, T) → `logits` (B, T, V + conditioning tokens).

    Raises:
        PokemonGenError: for an unknown type or field, a value that does not fit, too few positions, a model
            too large for memory, or one that sees later tokens.
    """
    extra = len(conditioning.identity)
    more = f", of which {extra} describe the augmentation" if extra else ""
    needs = Needs(palette_size + conditioning.count, LENGTH + extra, more, MODEL_REFUSED)
    built = _build(model, needs, seed, section)
    describe_tokens(built, palette_size, conditioning)
    _check_runs(built, section)
    return built


def build_text_model(
    model: dict[str, Any], vocabulary: int, block_size: int, seed: int, section: str = "model"
) -> PreTrainedModel:
    """Return a decoder-only model of text with fresh weights; see `build_model`.

    Args:
        model: as in a config's `model:` section.
        vocabulary: the number of tokens.
        block_size: the most tokens that the model reads at once.
        seed: of the initial weights.
        section: where these fields are in a config, for errors.
    """
    built = _build(model, Needs(vocabulary, block_size, " of a block", TEXT_MODEL_REFUSED), seed, section)
    _check_runs(built, section)
    return built


@dataclass(frozen=True)
class Needs:
    """What a model must have.

    Attributes:
        vocabulary: the number of tokens.
        positions: the number of tokens that it reads at once, and `described`, what they are.
        described: see `positions`.
        refused: fields of its config that cannot be set, and why.
    """

    vocabulary: int
    positions: int
    described: str
    refused: Mapping[str, str]


def _build(model: dict[str, Any], needs: Needs, seed: int, section: str) -> PreTrainedModel:
    """Return a model with fresh weights that has what is needed; see `build_model`."""
    model_type, fields = model["model_type"], {k: v for k, v in model.items() if k != "model_type"}
    config_class = _config_class(model_type, section)
    check_model(fields, config_fields(config_class), model_type, section, needs.refused)
    positions = _positions_field(config_class)
    if positions:
        fields.setdefault(positions, needs.positions)
    no_tokens = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    with _library_errors(section, model_type, fields):
        config = config_class(vocab_size=needs.vocabulary, **no_tokens, **fields)
    if positions and getattr(config, positions) < needs.positions:
        raise PokemonGenError(
            f"{section}: {model_type}: {getattr(config, positions)} positions cannot hold {needs.positions} "
            f"tokens{needs.described}"
        )
    with _library_errors(section, model_type, fields):
        weights = _count_weights(config)
    _require_memory(weights, config, section)
    transformers.set_seed(seed)
    with _library_errors(section, model_type, fields):
        return AutoModelForCausalLM.from_config(config)


def adopt_model(
    model: PreTrainedModel, palette_size: int, conditioning: ConditioningTokens
) -> PreTrainedModel:
    """Prepare a person's own model for a run, and return it.

    Args:
        model: a causal language model with fresh weights.
        palette_size: V, the number of colours.
        conditioning: of the run.

    Raises:
        PokemonGenError: for another vocabulary, or a model that sees later tokens.
    """
    size = palette_size + conditioning.count
    if model.config.vocab_size != size:
        raise PokemonGenError(
            f"model: its vocabulary has {model.config.vocab_size} tokens; this run needs {size}: "
            f"{palette_size} colours and {conditioning.count} conditioning tokens"
        )
    for token in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(model.config, token, None)
        setattr(model.generation_config, token, None)
    describe_tokens(model, palette_size, conditioning)
    _check_runs(model, "model")
    return model


def describe_tokens(model: PreTrainedModel, palette_size: int, conditioning: ConditioningTokens) -> None:
    """Record in a model which of its tokens are colours, and how its loss counts them."""
    # Some classes (GPT-2) leave this unset, and `Trainer` then divides the loss by 400 tokens per sprite,
    # though only 399 are predicted.
    model.loss_type = "ForCausalLM"
    if conditioning.count:
        model.config.palette_size, model.config.identity_tokens = palette_size, list(conditioning.identity)
        # Plain `generate` then draws colours alone.
        model.generation_config.suppress_tokens = list(range(palette_size, model.config.vocab_size))


@contextmanager
def _library_errors(section: str, model_type: str, fields: Mapping[str, Any]) -> Iterator[None]:
    """Turn an error that `transformers` or torch raises for bad fields into one for people.

    Raises:
        PokemonGenError: naming the section and the reason.
    """
    try:
        yield
    except Exception as error:  # configs and models raise errors of many kinds
        # A key that is missing in one of the library's tables, such as that of its activations.
        unknown = isinstance(error, KeyError) and error.args[0] in fields.values()
        reason = f"unknown {error}" if unknown else error
        raise PokemonGenError(f"{section}: {model_type} cannot be built from this: {reason}") from error


def _config_class(model_type: str, section: str) -> Any:
    register_scratch()
    check_family(model_type, {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, SCRATCH}, section)
    return CONFIG_MAPPING[model_type]


def config_fields(config_class: Any) -> set[str]:
    """Return the fields that a config class of `transformers` has, under all their names."""
    known = set(inspect.signature(config_class.__init__).parameters) | set(config_class.attribute_map)
    return {name for name in known if not name.startswith("_")} - {"self", "kwargs"}


def positions_of(config: Any) -> int | None:
    """Return the number of positions of a model; None if its type has no limit."""
    field = _positions_field(type(config))
    return getattr(config, field) if field else None


def _positions_field(config_class: Any) -> str | None:
    """Return the config's own name for the number of positions; None if the type has no limit."""
    name = config_class.attribute_map.get("max_position_embeddings", "max_position_embeddings")
    return name if name in inspect.signature(config_class.__init__).parameters else None


def _count_weights(config: Any) -> int:
    """Return the number of a large model's weights, without allocating them; 0 for a model of small width."""
    if getattr(config, "hidden_size", 0) < WIDE:
        return 0
    with torch.device("meta"):
        return sum(weight.numel() for weight in AutoModelForCausalLM.from_config(config).parameters())


def _require_memory(weights: int, config: Any, section: str) -> None:
    """Refuse a model whose weights do not fit into memory: the system would kill the process silently.

    The defaults of a type are those of its first famous model, with billions of weights.

    Raises:
        PokemonGenError: naming the number of weights.
    """
    if not hasattr(os, "sysconf"):
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = weights * BYTES_PER_WEIGHT
    if needed > memory:
        raise PokemonGenError(
            f"{section}: {config.model_type} has {weights / 1e9:.1f} billion weights; training them needs "
            f"{needed / 1e9:.0f} GB; this machine has {memory / 1e9:.0f}. Set its width "
            f"(hidden_size={config.hidden_size}) and depth."
        )


def _check_runs(model: PreTrainedModel, section: str) -> None:
    """Check that a model runs on tokens, and is decoder-only.

    Raises:
        PokemonGenError: for fields that do not fit together, which `transformers` notices only here.
    """
    model_type = model.config.model_type
    try:
        causal = _is_causal(model)
    except Exception as error:  # shapes, divisions, missing layers
        raise PokemonGenError(
            f"{section}: {model_type} can be built from this, but not run: {_reason(error)}. Do its fields "
            "fit together? The heads must divide the hidden size, and the key-value heads the heads; a type "
            "that mixes kinds of layers needs enough of them."
        ) from error
    if not causal:
        raise PokemonGenError(
            f"{section}: {model_type} with these fields sees later tokens, so it is not decoder-only"
        )


def _reason(error: Exception) -> str:
    """Return the first line of an error's message, with the error's class where that says little."""
    lines = str(error).strip().splitlines()
    plain = isinstance(error, ValueError | RuntimeError) and lines
    return lines[0] if plain else f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


@torch.no_grad()
def _is_causal(model: PreTrainedModel) -> bool:
    """Tell whether changing the last token leaves all earlier predictions unchanged."""
    device = model.device
    tokens = torch.zeros(1, 8, dtype=torch.long, device=device)
    with torch.random.fork_rng(devices=[]):  # dropout is tried too, and draws random numbers
        model.train()
        model(tokens)
    model.eval()
    changed = tokens.clone()
    changed[0, -1] = 1
    same = torch.allclose(model(tokens).logits[:, :-1], model(changed).logits[:, :-1], atol=1e-5)
    model.train()
    return same
