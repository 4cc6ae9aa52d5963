"""Trained models → what the live page's engine runs: a description in plain JSON, and the weights as bytes.

The five families that the configs use differ in names and details, not in kind: blocks of attention and MLP
with a norm before each. So each family becomes one description (`spec`) of such a decoder, and
`engine.js` has one forward pass for all of them. Its shapes: matrices are (outputs, inputs), as in
`torch.nn.Linear`; the norms of heads are (heads, head size).

Whatever the description cannot express would make the page draw from another distribution than PyTorch, so
it is refused and named. A model's tensors must be exactly those of the description; this also catches parts
that no field of the config names.

Weights travel as fp16, which halves the page and keeps the likelihood within 0.00001 nats/token (`LOG.md`).
int8 would halve it again, but a quarter of the greedy completions would then differ from PyTorch's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pokemon_gen.augmentation import identity_tokens
from pokemon_gen.constants import LENGTH
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.ensemble import CompletionModel, members_of, palette_size

Precision: TypeAlias = Literal["fp16", "fp32"]
DTYPES: dict[str, torch.dtype] = {"fp16": torch.float16, "fp32": torch.float32}
FAMILIES = {
    "gpt2": "GPT2LMHeadModel",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "stablelm": "StableLmForCausalLM",
}
"""The `model_type`s that the engine runs, with their classes in `transformers`."""
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu_new": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "relu": "relu",
}
"""An activation of `transformers` → its name in the engine, whose GELU is the one by tanh."""
_ALIGNMENT = 4
"""Bytes: each tensor begins at a multiple, so that a `Float32Array` can view it."""


@dataclass(frozen=True)
class PageModel:
    """One model, ready for the engine.

    Attributes:
        spec: describes the decoder, and where each tensor lies in `weights`; plain JSON.
        weights: all tensors, little-endian.
    """

    spec: dict[str, Any]
    weights: bytes


def export_models(model: CompletionModel, precision: Precision = "fp16") -> list[PageModel]:
    """Return a trained model, or each member of an ensemble, as the engine runs it.

    Args:
        model: one model or an ensemble, on any device.
        precision: of the exported weights.

    Raises:
        PokemonGenError: naming the feature that the engine lacks, or a weight that fp16 cannot hold.
    """
    colours = palette_size(model)
    return [_export_model(member, colours, precision) for member in members_of(model)]


def _export_model(model: PreTrainedModel, colours: int, precision: Precision) -> PageModel:
    config = model.config
    family = config.model_type
    if family not in FAMILIES:
        raise _refusal(f"the family {family!r}")
    if type(model).__name__ != FAMILIES[family] or not type(model).__module__.startswith("transformers."):
        raise _refusal(f"{type(model).__name__}, a class of your own")
    weights = _Weights(model.state_dict())
    decoder, tensors = (_gpt2 if family == "gpt2" else _llama_like)(model, weights)
    weights.require_all_taken()
    if torch.equal(tensors["embedding"], tensors["head"]):
        del tensors["head"]  # tied
    prefix = identity_tokens(model)
    if config.max_position_embeddings < len(prefix) + LENGTH:
        raise _refusal(f"a model of {config.max_position_embeddings} positions")
    table, data = _pack(tensors, precision)
    common = {"family": family, "colours": colours, "prefix": list(prefix), "width": config.hidden_size}
    return PageModel({**common, **decoder, "precision": precision, "tensors": table}, data)


def _gpt2(model: PreTrainedModel, weights: "_Weights") -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the description and the tensors of a GPT-2."""
    config = model.config
    for flag in ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention"):
        if getattr(config, flag):
            raise _refusal(f"{flag}=true")
    width, heads, inner = config.n_embd, config.n_head, config.n_inner or 4 * config.n_embd
    decoder = {
        "heads": heads,
        "keyValueHeads": heads,
        "headSize": width // heads,
        "scale": (width // heads) ** -0.5 if config.scale_attn_weights else 1.0,
        "inner": inner,
        "norm": {"kind": "layer", "epsilon": config.layer_norm_epsilon},
        "headNorm": None,
        "frequencies": None,
        "windows": [None] * config.n_layer,
        "activation": _activation(config.activation_function),
        "gated": False,
    }
    tensors = {
        "embedding": weights.take("transformer.wte.weight", config.vocab_size, width),
        "positions": weights.take("transformer.wpe.weight", config.n_positions, width),
        "head": weights.take("lm_head.weight", config.vocab_size, width),
        **weights.take_with_bias("transformer.ln_f", "norm", width),
    }
    for number in range(config.n_layer):
        tensors |= _gpt2_block(weights, f"transformer.h.{number}", f"layers.{number}", width, inner)
    return decoder, tensors


def _gpt2_block(weights: "_Weights", theirs: str, ours: str, width: int, inner: int) -> dict[str, Tensor]:
    """Return the tensors of one block of a GPT-2, whose `Conv1D` stores matrices transposed."""
    tensors = weights.take_with_bias(f"{theirs}.ln_1", f"{ours}.attentionNorm", width)
    tensors |= weights.take_with_bias(f"{theirs}.ln_2", f"{ours}.mlpNorm", width)
    linears = {
        "attn.c_attn": (("query", "key", "value"), width, 3 * width),
        "attn.c_proj": (("output",), width, width),
        "mlp.c_fc": (("up",), width, inner),
        "mlp.c_proj": (("down",), inner, width),
    }
    for linear, (names, inputs, outputs) in linears.items():
        matrix = weights.take(f"{theirs}.{linear}.weight", inputs, outputs).T
        bias = weights.take(f"{theirs}.{linear}.bias", outputs)
        for part, tensor in (("weight", matrix), ("bias", bias)):
            chunks = tensor.chunk(len(names))
            tensors |= {f"{ours}.{name}.{part}": chunk for name, chunk in zip(names, chunks, strict=True)}
    return tensors


def _llama_like(model: PreTrainedModel, weights: "_Weights") -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the description and the tensors of a Llama, Mistral, Qwen3 or StableLM."""
    config = model.config
    if getattr(config, "use_parallel_residual", False):
        raise _refusal("use_parallel_residual=true")
    width, heads = config.hidden_size, config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or width // heads
    decoder = {
        "heads": heads,
        "keyValueHeads": config.num_key_value_heads,
        "headSize": head_size,
        "scale": head_size**-0.5,
        "inner": config.intermediate_size,
        "norm": _norm(config),
        "headNorm": _head_norm(config),
        "frequencies": _rotary_frequencies(model),
        "windows": _windows(config),
        "activation": _activation(config.hidden_act),
        "gated": True,
    }
    tensors = {
        "embedding": weights.take("model.embed_tokens.weight", config.vocab_size, width),
        "head": weights.take("lm_head.weight", config.vocab_size, width),
        **weights.take_with_bias("model.norm", "norm", width),
    }
    for number in range(config.num_hidden_layers):
        tensors |= _llama_block(weights, f"model.layers.{number}", f"layers.{number}", width, decoder)
    return decoder, tensors


def _llama_block(
    weights: "_Weights", theirs: str, ours: str, width: int, decoder: dict[str, Any]
) -> dict[str, Tensor]:
    """Return the tensors of one block of a Llama-like model."""
    heads, key_value_heads, head_size = (decoder[key] for key in ("heads", "keyValueHeads", "headSize"))
    query, key, inner = heads * head_size, key_value_heads * head_size, decoder["inner"]
    parts: dict[str, tuple[str, tuple[int, ...]]] = {
        "self_attn.q_proj": ("query", (query, width)),
        "self_attn.k_proj": ("key", (key, width)),
        "self_attn.v_proj": ("value", (key, width)),
        "self_attn.o_proj": ("output", (width, query)),
        "mlp.gate_proj": ("gate", (inner, width)),
        "mlp.up_proj": ("up", (inner, width)),
        "mlp.down_proj": ("down", (width, inner)),
        "input_layernorm": ("attentionNorm", (width,)),
        "post_attention_layernorm": ("mlpNorm", (width,)),
    }
    tensors: dict[str, Tensor] = {}
    for part, (name, shape) in parts.items():
        tensors |= weights.take_with_bias(f"{theirs}.{part}", f"{ours}.{name}", *shape)
    if decoder["headNorm"]:
        for letter, name, count in (("q", "queryNorm", heads), ("k", "keyNorm", key_value_heads)):
            found = weights.take_head_norms(f"{theirs}.self_attn.{letter}", count, head_size)
            tensors[f"{ours}.{name}.weight"] = found
    return tensors


def _norm(config: Any) -> dict[str, Any]:
    """Return the kind of a Llama-like model's norms, and their epsilon."""
    if config.model_type == "stablelm":
        return {"kind": "layer", "epsilon": config.layer_norm_eps}
    return {"kind": "rms", "epsilon": config.rms_norm_eps}


def _head_norm(config: Any) -> dict[str, Any] | None:
    """Return the norm of each head's queries and keys, or None for a model without one."""
    has_one = config.model_type == "qwen3" or getattr(config, "qk_layernorm", False)
    return _norm(config) if has_one else None


def _rotary_frequencies(model: PreTrainedModel) -> list[float]:
    """Return the angle per position of each pair of rotated dimensions, in radians, as PyTorch uses it.

    The model's own buffer is read, since families disagree on which fields set it.
    """
    kind = model.config.rope_parameters.get("rope_type", "default")
    if kind != "default":
        raise _refusal(f"rotary positions of rope_type={kind}")
    frequencies: list[float] = model.model.rotary_emb.inv_freq.float().tolist()
    return frequencies


def _windows(config: Any) -> list[int | None]:
    """Return how many tokens back each layer sees, itself included; None means all of them."""
    window = getattr(config, "sliding_window", None)
    if config.model_type == "mistral":
        return [window] * config.num_hidden_layers
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    unknown = set(kinds) - {"full_attention", "sliding_attention"}
    if unknown:
        raise _refusal(f"layers of {', '.join(sorted(unknown))}")
    return [window if kind == "sliding_attention" else None for kind in kinds]


def _activation(name: str) -> str:
    if name not in ACTIVATIONS:
        raise _refusal(f"the activation {name!r} (it has {', '.join(ACTIVATIONS)})")
    return ACTIVATIONS[name]


class _Weights:
    """The tensors of a model, each of which is taken once."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        """Hold the tensors by their names in `transformers`."""
        self._left = dict(state)

    def take(self, name: str, *shape: int) -> Tensor:
        """Return one tensor on the CPU, in fp32.

        Raises:
            PokemonGenError: if it is missing or has another shape.
        """
        tensor = self._left.pop(name, None)
        if tensor is None or tuple(tensor.shape) != shape:
            found = "missing" if tensor is None else f"of shape {tuple(tensor.shape)}"
            raise _refusal(f"a model whose {name} is {found} instead of {shape}")
        return tensor.detach().cpu().float()

    def take_with_bias(self, theirs: str, ours: str, *shape: int) -> dict[str, Tensor]:
        """Return a weight, and its bias if there is one, by their names in the engine."""
        taken = {f"{ours}.weight": self.take(f"{theirs}.weight", *shape)}
        if f"{theirs}.bias" in self._left:
            taken[f"{ours}.bias"] = self.take(f"{theirs}.bias", shape[0])
        return taken

    def take_head_norms(self, name: str, heads: int, head_size: int) -> Tensor:
        """Return the weights of all heads' norms, (heads, head size).

        Qwen3 shares one norm among all heads; StableLM has one for each.
        """
        if f"{name}_norm.weight" in self._left:
            return self.take(f"{name}_norm.weight", head_size).expand(heads, head_size)
        norms = [self.take(f"{name}_layernorm.norms.{head}.weight", head_size) for head in range(heads)]
        return torch.stack(norms)

    def require_all_taken(self) -> None:
        """Check that no tensor is left, which the description does not use.

        Raises:
            PokemonGenError: naming one of them.
        """
        if self._left:
            raise _refusal(f"a model with the tensor {min(self._left)}")


def _pack(tensors: Mapping[str, Tensor], precision: Precision) -> tuple[dict[str, Any], bytes]:
    """Return where each tensor lies, `{name: {offset in bytes, shape}}`, and the bytes of all."""
    table: dict[str, Any] = {}
    data = bytearray()
    for name, tensor in tensors.items():
        stored = tensor.to(DTYPES[precision]).contiguous()
        if not bool(stored.isfinite().all()):
            raise PokemonGenError(
                f"page: {name} has a weight of {tensor.abs().max():.3g}, which {precision} cannot hold. "
                "The training diverged; use an earlier checkpoint."
            )
        table[name] = {"offset": len(data), "shape": list(tensor.shape)}
        data += stored.numpy().astype(stored.numpy().dtype.newbyteorder("<")).tobytes()
        data += bytes(-len(data) % _ALIGNMENT)
    return table, bytes(data)


def _refusal(feature: str) -> PokemonGenError:
    """Return the error for a model that the engine would run wrongly."""
    return PokemonGenError(
        f"page: the live page cannot run {feature}. It runs {', '.join(FAMILIES)} with the features of the "
        "shipped configs. `pokemon-gen report RUN` shows any model's completions."
    )
