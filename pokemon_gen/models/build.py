"""A `model:` section → a decoder-only `AutoModelForCausalLM` with fresh weights.

Any decoder-only `model_type` of `transformers` works. This package sets three things: the vocabulary is the
palette; there is no begin, end or pad token, since every token is a colour (token 2, Llama's default end
token, would stop a sprite in the middle); and every one of the 400 tokens has a position. The configs of
`transformers` silently ignore a misspelt field, so the fields are checked here.
"""

import inspect
import os
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from pokemon_gen.augmentation import NO_CONDITIONING, ConditioningTokens
from pokemon_gen.config_files.fields import MODEL_REFUSED, check_family, check_model
from pokemon_gen.constants import LENGTH
from pokemon_gen.errors import PokemonGenError

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
    """Make a decoder-only model with fresh weights.

    Args:
        model: `model_type` and fields of that type's config, as in a config's `model:` section.
        palette_size: the vocabulary's size, V.
        seed: of the initial weights.
        section: where these fields stand in a config, for errors.
        conditioning: the special tokens that say what was done to a sprite; by default there are none.

    Returns:
        A causal language model: `input_ids` (B, T) → `logits` (B, T, V + special tokens).

    Raises:
        PokemonGenError: for an unknown type or field, a value that does not fit, too few positions,
            or a model that sees later tokens.
    """
    model_type, fields = model["model_type"], {k: v for k, v in model.items() if k != "model_type"}
    config_class = _config_class(model_type, section)
    check_model(fields, config_fields(config_class), model_type, section, MODEL_REFUSED)
    positions = _positions_field(config_class)
    if positions:
        fields.setdefault(positions, LENGTH + len(conditioning.identity))
    no_tokens = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    try:
        config = config_class(vocab_size=palette_size + conditioning.count, **no_tokens, **fields)
        if conditioning.count:
            config.palette_size, config.identity_tokens = palette_size, list(conditioning.identity)
        needed = LENGTH + len(conditioning.identity)
        if positions and getattr(config, positions) < needed:
            more = f", of which {needed - LENGTH} say what `augmentation:` did" if needed > LENGTH else ""
            raise ValueError(f"{getattr(config, positions)} positions cannot hold {needed} tokens{more}")
        _refuse_too_large(config)
        transformers.set_seed(seed)
        built = AutoModelForCausalLM.from_config(config)
    except Exception as error:  # `transformers` raises its own, torch's and dataclass' errors here
        # A key that is missing in a table of the library's, such as that of its activations.
        unknown = isinstance(error, KeyError) and error.args[0] in fields.values()
        reason = f"unknown {error}" if unknown else error
        raise PokemonGenError(f"{section}: {model_type} cannot be built from this: {reason}") from error
    # Some classes (GPT-2) leave this unset, and `Trainer` then divides the loss by 400 tokens a
    # sprite where only 399 are predicted.
    built.loss_type = "ForCausalLM"
    if conditioning.count:  # so that plain `generate` draws colours alone
        built.generation_config.suppress_tokens = list(range(palette_size, config.vocab_size))
    _check_runs(built, section)
    return built


def _config_class(model_type: str, section: str) -> Any:
    check_family(model_type, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, section)
    return CONFIG_MAPPING[model_type]


def config_fields(config_class: Any) -> set[str]:
    """Return the fields that a config class of `transformers` has, under all their names."""
    known = set(inspect.signature(config_class.__init__).parameters) | set(config_class.attribute_map)
    return {name for name in known if not name.startswith("_")} - {"self", "kwargs"}


def _positions_field(config_class: Any) -> str | None:
    """Return the config's own name for the number of positions; None if the type has no limit."""
    name = config_class.attribute_map.get("max_position_embeddings", "max_position_embeddings")
    return name if name in inspect.signature(config_class.__init__).parameters else None


def _refuse_too_large(config: Any) -> None:
    """Refuse a model whose weights do not fit into memory: the system would kill the process without a word.

    A type's defaults are those of its first famous model: billions of weights. Small widths are not counted.

    Raises:
        ValueError: naming the number of weights.
    """
    if getattr(config, "hidden_size", 0) < WIDE or not hasattr(os, "sysconf"):
        return
    with torch.device("meta"):
        weights = sum(weight.numel() for weight in AutoModelForCausalLM.from_config(config).parameters())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = weights * BYTES_PER_WEIGHT
    if needed > memory:
        raise ValueError(
            f"{weights / 1e9:.1f} billion weights, for which training needs {needed / 1e9:.0f} GB; this "
            f"machine has {memory / 1e9:.0f}. Set its width (hidden_size={config.hidden_size}) and depth"
        )


def _check_runs(model: PreTrainedModel, section: str) -> None:
    """Make sure that a model reads tokens, and is decoder-only.

    Raises:
        PokemonGenError: for fields that do not fit together, which `transformers` finds out only here.
    """
    model_type = model.config.model_type
    try:
        causal = _is_causal(model)
    except Exception as error:  # of any kind: shapes, divisions, layers that are not there
        raise PokemonGenError(
            f"{section}: {model_type} can be built from this, but not run: {_reason(error)}. Do its fields "
            "fit together? The heads must divide the hidden size, and the key-value heads the heads; a type "
            "that mixes kinds of layers needs enough of them"
        ) from error
    if not causal:
        raise PokemonGenError(
            f"{section}: {model_type} with these fields sees later tokens; it is not decoder-only"
        )


def _reason(error: Exception) -> str:
    """Return the first line of an error's message, with its kind where it says little."""
    lines = str(error).strip().splitlines()
    plain = isinstance(error, ValueError | RuntimeError) and lines
    return lines[0] if plain else f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


@torch.no_grad()
def _is_causal(model: PreTrainedModel) -> bool:
    """Tell whether changing the last token leaves all earlier predictions as they were."""
    with torch.random.fork_rng(devices=[]):  # dropout draws, and is looked at too
        model.train()
        model(torch.zeros(1, 8, dtype=torch.long))
    model.eval()
    one = torch.zeros(1, 8, dtype=torch.long)
    other = one.clone()
    other[0, -1] = 1
    same = torch.allclose(model(one).logits[:, :-1], model(other).logits[:, :-1], atol=1e-5)
    model.train()
    return same
