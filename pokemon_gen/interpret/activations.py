"""The inside of a decoder: read the residual stream and the attention, switch parts off, steer the stream.

Models of `transformers` name their parts differently (`c_proj`, `o_proj`, `dense`), and decoder-only
Transformers are built alike: a list of layers, and in each layer an attention and an MLP that add to the
residual stream. So parts are found by their structure, and one code serves every such type. What a model
lacks, such as the heads of Mamba, is an error that names it.

Hooks on the layers read the residual stream, because the last entry of the `hidden_states` of `transformers`
has already passed the final norm. Hooks also change the forward pass: no weight of a model is ever changed.
All functions expect a model in eval mode, because dropout would make every pass different.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.hf_compat import attention_of, can_set_attention
from pokemon_gen.models.likelihood import sequences_at_once

BATCH = 16
"""The most sequences in a forward pass. The attention of 16 sprites takes 10 MB for each head."""
OUTPUT_PROJECTIONS = ("c_proj", "o_proj", "out_proj", "dense", "wo")
"""Usual names of an attention's last layer. Phi-3 lists it first, so its place alone does not find it."""
Part: TypeAlias = Literal["attention", "mlp", "layer"]
"""What `without_layer` switches off."""


@dataclass(frozen=True)
class Activations:
    """What a model computes on its way to the predictions.

    Attributes:
        hidden: (L + 1, N, T, D) float32: the embedding output, then the residual stream after each layer,
            before the final norm.
        attentions: (L, N, H, T, T) float32, from query (fourth axis) to key (last axis); None if not read.
    """

    hidden: NDArray[np.float32]
    attentions: NDArray[np.float32] | None


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """Return the layers of a decoder: the `ModuleList` of length `config.num_hidden_layers`.

    Other lists can have that length too, such as the experts of a layer. The layers contain most weights.

    Raises:
        PokemonGenError: naming the model type, if the model keeps its layers in another way.
    """
    count = getattr(model.config, "num_hidden_layers", None)
    lists = [found for found in model.modules() if isinstance(found, nn.ModuleList) and len(found) == count]
    if not lists:
        raise PokemonGenError(
            f"{model.config.model_type}: no ModuleList has num_hidden_layers={count} layers. Use a model "
            "that keeps its layers in such a list."
        )
    return max(lists, key=_weights)


def head_count(model: PreTrainedModel) -> int:
    """Return the number of query heads in each layer.

    Raises:
        PokemonGenError: naming the model type, if it has no attention heads, such as Mamba and RWKV.
    """
    count: int | None = getattr(model.config, "num_attention_heads", None)
    if count is None:
        raise PokemonGenError(
            f"{model.config.model_type}: its config has no num_attention_heads, so it has no heads to switch "
            "off. Use a model with attention heads."
        )
    return count


def attention_module(layer: nn.Module) -> nn.Module:
    """Return the attention of a layer: its first part with weight matrices that is named after attention.

    Raises:
        PokemonGenError: naming the layer's type, if it has none.
    """
    for name, child in layer.named_children():
        if ("attn" in name or "attention" in name) and _has_matrix(child):
            return child
    raise PokemonGenError(
        f"{type(layer).__name__}: no part is named attn or attention. Rename its attention in the code."
    )


def mlp_module(layer: nn.Module) -> nn.Module:
    """Return the MLP of a layer: its last part with weight matrices, except the attention.

    OPT keeps the two matrices of its MLP in the layer itself. The second one is returned, whose output is
    the output of the MLP.

    Raises:
        PokemonGenError: naming the layer's type, if it has none.
    """
    attention = attention_module(layer)
    others = [child for child in layer.children() if child is not attention and _has_matrix(child)]
    if not others:
        raise PokemonGenError(
            f"{type(layer).__name__}: no part except the attention has weight matrices. Switch off its "
            "attention or the whole layer."
        )
    return others[-1]


def output_projection(layer: nn.Module) -> nn.Module:
    """Return the output projection of a layer's attention, whose input is the outputs of all heads in a row.

    It is the last linear layer with a usual name (`OUTPUT_PROJECTIONS`), or else the last linear layer.

    Raises:
        PokemonGenError: naming the type of the attention, if there is none that is called as a module:
            `nn.MultiheadAttention` has one, and reads its weight without calling it.
    """
    attention = attention_module(layer)
    parts = attention.named_modules()
    linear = [(name, part) for name, part in parts if isinstance(part, nn.Linear | Conv1D)]
    if not linear or isinstance(attention, nn.MultiheadAttention):
        raise PokemonGenError(
            f"{type(attention).__name__}: no output projection is called as a Linear or Conv1D module. "
            "Switch off the whole attention instead of heads."
        )
    named = [part for name, part in linear if name.rpartition(".")[2] in OUTPUT_PROJECTIONS]
    return named[-1] if named else linear[-1][1]


def token_batches(model: PreTrainedModel, tokens: Any) -> tuple[Tensor, ...]:
    """Split token ids (N, T) into batches of at most `BATCH` sequences, on the model's device.

    With many possible tokens, a batch has fewer sequences.

    Raises:
        PokemonGenError: if the tokens are not (N, T), or if there are none.
    """
    rows = torch.as_tensor(tokens)
    if rows.ndim != 2 or not rows.numel():
        raise PokemonGenError(f"tokens: their shape is {tuple(rows.shape)}. Pass rows of tokens, (N, T).")
    affordable = sequences_at_once(model.config.vocab_size, rows.shape[1])
    return rows.long().to(model.device).split(min(BATCH, affordable))


@torch.no_grad()
def read_activations(model: PreTrainedModel, tokens: Any, attentions: bool = False) -> Activations:
    """Read the residual stream, and the attention if it is asked for.

    Only eager attention returns its weights, so the model uses it for this reading and the former one after
    it. The weights take L x H x T x T x 4 bytes for each sequence (23 MB for a sprite, six layers and six
    heads), so read few sequences at a time.

    Args:
        model: a causal model of `transformers`.
        tokens: (N, T).
        attentions: whether to read the attention.

    Raises:
        PokemonGenError: if the model returns no attention weights, or as `decoder_layers` and
            `token_batches`.
    """
    hidden, weights = [], []
    for batch in token_batches(model, tokens):
        with recorded_stream(model) as stream:
            if attentions:
                weights.append(_numpy(_attention_weights(model, batch)))
            else:
                model(input_ids=batch)
        hidden.append(_numpy(stream))
    return Activations(np.concatenate(hidden, 1), np.concatenate(weights, 1) if attentions else None)


@contextmanager
def recorded_stream(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """Record the residual stream of one forward pass into the list: L + 1 tensors, (B, T, D).

    Raises:
        PokemonGenError: as `decoder_layers`.
    """
    layers = decoder_layers(model)
    stream: list[Tensor] = []

    def keep_input(module: nn.Module, args: Any, options: Any) -> None:
        stream.append(_layer_input(args, options))

    def keep_output(module: nn.Module, args: Any, output: Any) -> None:
        stream.append(_first(output))

    before = layers[0].register_forward_pre_hook(keep_input, with_kwargs=True)
    with _hooks([before, *(layer.register_forward_hook(keep_output) for layer in layers)]):
        yield stream


@contextmanager
def without_heads(model: PreTrainedModel, heads: Sequence[tuple[int, int]]) -> Iterator[None]:
    """Switch off attention heads: the output projections get zeros in their places.

    Args:
        model: a causal model of `transformers`.
        heads: (layer, head), both counted from 0. Heads are query heads, also where several of them share
            keys and values.

    Raises:
        PokemonGenError: if a layer or a head does not exist, or as `head_count` and `output_projection`.
    """
    layers, count = decoder_layers(model), head_count(model)
    by_layer: dict[int, list[int]] = defaultdict(list)
    for layer, head in heads:
        _require_layer(model, layer)
        if not 0 <= head < count:
            raise PokemonGenError(
                f"{model.config.model_type}: there is no head {head}; a layer has {count} heads. Use 0 to "
                f"{count - 1}."
            )
        by_layer[layer].append(head)

    def zero(switched_off: list[int], module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        outputs = args[0].unflatten(-1, (count, -1)).clone()  # (B, T, H, head size)
        outputs[..., switched_off, :] = 0
        return outputs.flatten(-2), *args[1:]

    projections = [(output_projection(layers[number]), off) for number, off in by_layer.items()]
    with _hooks([part.register_forward_pre_hook(partial(zero, off)) for part, off in projections]):
        yield


@contextmanager
def without_layer(model: PreTrainedModel, layer: int, part: Part) -> Iterator[None]:
    """Switch off a layer (counted from 0) or a part of it: the residual stream passes it unchanged.

    Args:
        model: a causal model of `transformers`.
        layer: the number of the layer.
        part: `attention` and `mlp` add nothing to the stream; `layer` returns its input.

    Raises:
        PokemonGenError: if the layer does not exist, or as `attention_module` and `mlp_module`.
    """
    _require_layer(model, layer)
    module = decoder_layers(model)[layer]

    def add_nothing(module: nn.Module, args: Any, output: Any) -> Any:
        return _with_first(output, torch.zeros_like(_first(output)))

    def pass_unchanged(module: nn.Module, args: Any, options: Any, output: Any) -> Any:
        return _with_first(output, _layer_input(args, options))

    if part == "layer":
        hook = module.register_forward_hook(pass_unchanged, with_kwargs=True)
    else:
        found = attention_module(module) if part == "attention" else mlp_module(module)
        hook = found.register_forward_hook(add_nothing)
    with _hooks([hook]):
        yield


@contextmanager
def add_to_stream(model: PreTrainedModel, layer: int, direction: Any, scale: float) -> Iterator[None]:
    """Steer a model: add a direction to the residual stream after a layer, at every position.

    Args:
        model: a causal model of `transformers`.
        layer: the number of the layer, counted from 0; its output is entry `layer + 1` of
            `Activations.hidden`.
        direction: (D,), such as the decoder's row of a sparse feature.
        scale: what the direction is multiplied by.

    Raises:
        PokemonGenError: if the layer does not exist, or if the direction does not have the stream's width.
    """
    _require_layer(model, layer)
    width = model.config.hidden_size
    added = scale * torch.as_tensor(direction).to(model.device, model.dtype)
    if added.shape != (width,):
        raise PokemonGenError(
            f"direction: its shape is {tuple(added.shape)}, but the residual stream of "
            f"{model.config.model_type} has {width} numbers at each position. Pass ({width},)."
        )

    def add(module: nn.Module, args: Any, output: Any) -> Any:
        return _with_first(output, _first(output) + added)

    with _hooks([decoder_layers(model)[layer].register_forward_hook(add)]):
        yield


def _attention_weights(model: PreTrainedModel, batch: Tensor) -> Sequence[Tensor]:
    """Return the attention of each layer, L tensors (B, H, T, T), by eager attention.

    Some recurrent types call other tensors their attention (RWKV returns (B, T, D)), which are refused.

    Raises:
        PokemonGenError: if the model returns none.
    """
    arguments = signature(model.forward).parameters.values()
    takes_option = any(a.name == "output_attentions" or a.kind is a.VAR_KEYWORD for a in arguments)
    options = {"output_attentions": True} if takes_option else {}
    with _eager_attention(model):
        weights = getattr(model(input_ids=batch, **options), "attentions", None)
    if not weights or not all(_is_from_token_to_token(layer, batch) for layer in weights):
        raise PokemonGenError(
            f"{model.config.model_type}: it returns no attention weights (B, H, T, T), so its attention "
            "cannot be read. Use a model with attention heads."
        )
    found: Sequence[Tensor] = weights
    return found


def _is_from_token_to_token(weights: Any, batch: Tensor) -> bool:
    """Tell whether weights are (B, H, T, T) for a batch (B, T)."""
    size, length = batch.shape
    return isinstance(weights, Tensor) and weights.ndim == 4 and weights[:, 0].shape == (size, length, length)


@contextmanager
def _eager_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let a model compute its attention eagerly, if its attention can be exchanged."""
    before = attention_of(model)
    if can_set_attention(model):
        model.set_attn_implementation("eager")
    try:
        yield
    finally:
        if attention_of(model) != before:
            model.set_attn_implementation(before)


@contextmanager
def _hooks(handles: Sequence[RemovableHandle]) -> Iterator[None]:
    """Remove hooks at the end, also after an error."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _require_layer(model: PreTrainedModel, layer: int) -> None:
    """Check that a layer exists.

    Raises:
        PokemonGenError: saying how many layers there are.
    """
    count = len(decoder_layers(model))
    if not 0 <= layer < count:
        raise PokemonGenError(
            f"{model.config.model_type}: there is no layer {layer}; it has {count} layers. Use 0 to "
            f"{count - 1}."
        )


def _layer_input(args: Any, options: Any) -> Tensor:
    """Return the residual stream that a layer is called with, by position or by its name."""
    stream: Tensor = args[0] if args else options["hidden_states"]
    return stream


def _first(output: Any) -> Tensor:
    """Return the main output of a module: some return it alone, others as the first of a tuple or a list."""
    main: Tensor = output[0] if isinstance(output, tuple | list) else output
    return main


def _with_first(output: Any, main: Tensor) -> Any:
    """Return an output like `output` with another main output."""
    if isinstance(output, list):  # OpenAI GPT, the first one
        return [main, *output[1:]]
    return (main, *output[1:]) if isinstance(output, tuple) else main


def _has_matrix(module: nn.Module) -> bool:
    """Tell whether a module has weight matrices; norms and dropout have none."""
    return any(parameter.ndim > 1 for parameter in module.parameters())


def _weights(module: nn.Module) -> int:
    """Return the number of weights in a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def _numpy(tensors: Sequence[Tensor]) -> NDArray[np.float32]:
    """Return equally large tensors as one array with a new first axis."""
    return np.stack([tensor.float().cpu().numpy() for tensor in tensors])
