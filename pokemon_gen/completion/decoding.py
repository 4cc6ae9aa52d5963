"""Tokens one after another, by a loop over the stock model's own forward, faster than `generate`.

What `model.generate` spends, token by token, on a small model and a large batch is mostly not arithmetic:
its cache is copied whole at each token, and its attention works through blocks made for many queries. Here
keys and values have their room from the start, so that a token only adds its own (`PreallocatedLayer`), and
one query is two products of matrices (`_attend`). Both go in through the doors of `transformers` for caches
and attention, so that any model that uses them decodes so; one that keeps another kind of state (Mamba,
RWKV) is left to `generate` (`completion.py`). GPT-2's activation, which is written as eight operations on
small tensors, becomes torch's own of the same formula (`_fused_activations`).

The members of an ensemble decode together (`ensemble.py`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedModel
from transformers.activations import ACT2FN, NewGELUActivation
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from pokemon_gen.augmentation import identity_tokens, prepend_identity
from pokemon_gen.models.ensemble import CompletionModel, average_probabilities, members_of, palette_size
from pokemon_gen.models.hf_compat import attention_of, can_set_attention, takes_dynamic_cache

_ATTENTION = "pokemon_gen_one_query"


def can_decode(model: CompletionModel) -> bool:
    """Tell whether a model (or every member) keeps its past as keys and values, which `decode` needs."""
    return all(_keeps_keys_and_values(one) for one in members_of(model))


def _keeps_keys_and_values(model: PreTrainedModel) -> bool:
    if not takes_dynamic_cache(model) or _name_of_the_past(model) is None:
        return False
    layers = DynamicCache(config=model.config).layers
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


def _name_of_the_past(model: PreTrainedModel) -> str | None:
    """Return what the forward calls keys and values: `cache`, and before transformers 5.24 the other."""
    parameters = signature(model.forward).parameters
    return next((name for name in ("cache", "past_key_values") if name in parameters), None)


@torch.inference_mode()  # a tenth faster than `no_grad`, which tracks views
def decode(
    model: CompletionModel,
    tokens: Tensor,
    new_tokens: int,
    choose: Callable[[Tensor, int], Tensor],
    repeats: int = 1,
) -> Tensor:
    """Go on from given tokens.

    Args:
        model: one, or an ensemble.
        tokens: (B, T), given.
        new_tokens: how many follow.
        choose: the next token of each row, (B * repeats,), from log-probabilities or logits
            (B * repeats, V) and the number of the new token, from 0.
        repeats: go on from each row so many times; the given tokens are read but once.

    Returns:
        (B * repeats, new_tokens); rows that go on from one another's tokens stand together.
    """
    models = members_of(model)
    with _fused_activations(models):
        members = [_Member(one, tokens.shape[1] + new_tokens) for one in models]
        scores = average_probabilities([member.read(tokens) for member in members])
        if repeats > 1:
            scores = scores.repeat_interleave(repeats, dim=0)
            for member in members:
                member.cache.batch_repeat_interleave(repeats)
        chosen = [choose(scores, 0)]
        with _one_query_attention(models):
            for number in range(1, new_tokens):
                scores = average_probabilities([member.read(chosen[-1][:, None]) for member in members])
                chosen.append(choose(scores, number))
    return torch.stack(chosen, dim=1)


class _Member:
    """A model and what it keeps of the tokens it has read."""

    def __init__(self, model: PreTrainedModel, room: int) -> None:
        self.model = model
        self.palette_size = palette_size(model)
        room += len(identity_tokens(model))
        self.cache = DynamicCache(config=model.config)
        # Only plain layers get room; those of a sliding window forget, and stay as they are.
        self.cache.layers = [
            PreallocatedLayer(room) if type(layer) is DynamicLayer else layer for layer in self.cache.layers
        ]
        self.takes_positions = "position_ids" in signature(model.forward).parameters
        self.past = {str(_name_of_the_past(model)): self.cache}

    def read(self, tokens: Tensor) -> Tensor:
        """Read (B, T) tokens; return the logits of the colour that follows them, (B, V)."""
        start = self.cache.get_seq_length()
        if start == 0:
            tokens = prepend_identity(self.model, tokens)
        positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)[None]  # (1, T)
        options = {"position_ids": positions} if self.takes_positions else {}
        answer = self.model(input_ids=tokens, use_cache=True, **self.past, **options)
        logits: Tensor = answer.logits[:, -1, : self.palette_size].float()
        return logits


class PreallocatedLayer(DynamicLayer):
    """Keys and values of one layer, with room for all tokens from the start.

    On a CPU, keys are kept transposed, (B, H, D, room), as the product with a query wants to read them:
    that halves the time of one query's attention. A GPU's kernels want each key in one piece.
    """

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        batch, heads, _, size = key_states.shape
        self.dtype, self.device = key_states.dtype, key_states.device
        if key_states.device.type == "cpu":
            self._keys = key_states.new_empty(batch, heads, size, self.room).transpose(2, 3)
        else:
            self._keys = key_states.new_empty(batch, heads, self.room, size)
        self._values = value_states.new_empty(batch, heads, self.room, value_states.shape[-1])
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add (B, H, T, D) keys and values; return all there are, (B, H, length, D)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, self.length = self.length, self.length + key_states.shape[2]
        self._keys[:, :, start : self.length] = key_states
        self._values[:, :, start : self.length] = value_states
        if start == 0:  # nothing else is there to attend to
            return key_states, value_states
        self.keys = self._keys[:, :, : self.length]
        self.values = self._values[:, :, : self.length]
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self.length

    def batch_repeat_interleave(self, repeats: int) -> None:
        if not self.is_initialized:  # layers may share one's keys, and have none
            return
        if self._keys.is_contiguous():
            self._keys = self._keys.repeat_interleave(repeats, dim=0)
        else:  # their own memory is repeated, so that they stay transposed
            self._keys = self._keys.transpose(2, 3).repeat_interleave(repeats, dim=0).transpose(2, 3)
        self._values = self._values.repeat_interleave(repeats, dim=0)


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend with one query a row by two products, (B, H, 1, D) → (B, 1, H, D); else by torch's kernel.

    Keys and values are (B, H, T, D), or of fewer heads that several of the query share (GQA).
    """
    batch, heads, queries, size = query.shape
    if queries > 1 or attention_mask is not None or options.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    groups = key.shape[1]
    query = query.reshape(batch, groups, heads // groups, size) * (size**-0.5 if scaling is None else scaling)
    weights = torch.matmul(query, key.transpose(2, 3)).softmax(-1)  # (B, groups, heads a group, T)
    return torch.matmul(weights, value).reshape(batch, 1, heads, value.shape[-1]), None


AttentionInterface.register(_ATTENTION, _attend)
AttentionMaskInterface.register(_ATTENTION, sdpa_mask)


@contextmanager
def _one_query_attention(models: Sequence[PreTrainedModel]) -> Iterator[None]:
    """Let models on a CPU attend by `_attend` where they would by torch's kernel; a GPU's is better."""
    before = [attention_of(model) for model in models]
    for model, attention in zip(models, before, strict=True):
        if attention == "sdpa" and model.device.type == "cpu" and can_set_attention(model):
            model.set_attn_implementation(_ATTENTION)
    try:
        yield
    finally:
        for model, attention in zip(models, before, strict=True):
            if attention_of(model) != attention:
                model.set_attn_implementation(attention)


@contextmanager
def _fused_activations(models: Sequence[PreTrainedModel]) -> Iterator[None]:
    """Let `gelu_new` (GPT-2, GPT-J, Phi) be computed at once, by the same formula: 0.5x(1 + tanh(...))."""
    slow = [
        (parent, name, child)
        for model in models
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is NewGELUActivation
    ]
    for parent, name, _ in slow:
        setattr(parent, name, ACT2FN["gelu_pytorch_tanh"])
    try:
        yield
    finally:
        for parent, name, child in slow:
            setattr(parent, name, child)
