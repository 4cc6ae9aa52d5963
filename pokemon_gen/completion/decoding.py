"""A decoding loop over the unchanged model's forward pass, which is faster than `generate`.

With a small model and a large batch, `model.generate` spends most of its time outside the arithmetic: it
copies the entire cache for each token, and its attention kernel processes blocks for many queries. This loop
allocates the keys and values once, so a token only adds its own (`PreallocatedLayer`), and computes the
attention of a single query as two matrix products (`_attend`). Both use the interfaces of `transformers` for
caches and attention, so every model that supports these interfaces decodes faster. A model with another kind
of state (Mamba, RWKV) uses `generate` (`sampling.py`). GPT-2's activation consists of eight operations on
small tensors; torch's fused version of the same formula replaces it (`_fused_activations`).

The members of an ensemble decode together (`models/ensemble.py`). On an NVIDIA GPU, the loop reads the first
tokens, and `captured.py` the rest.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedModel
from transformers.activations import ACT2FN, NewGELUActivation
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from pokemon_gen.augmentation import identity_tokens, prepend_identity
from pokemon_gen.completion.captured import LEAST_TOKENS, CapturedDecoding, FixedMember, window_of_layer
from pokemon_gen.models.ensemble import CompletionModel, average_probabilities, members_of, palette_size
from pokemon_gen.models.graphs import can_capture
from pokemon_gen.models.hf_compat import attention_of, can_set_attention, takes_dynamic_cache

_log = logging.getLogger(__name__)
_ATTENTION = "pokemon_gen_one_query"
"""The name of `_attend` in the attention registry of `transformers`."""


def can_decode(model: CompletionModel) -> bool:
    """Return whether the model, or each member, caches keys and values, which `decode` needs."""
    return all(_caches_keys_and_values(member) for member in members_of(model))


def _caches_keys_and_values(model: PreTrainedModel) -> bool:
    if not takes_dynamic_cache(model) or _cache_argument(model) is None:
        return False
    layers = DynamicCache(config=model.config).layers
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


def _cache_argument(model: PreTrainedModel) -> str | None:
    """Return the name of forward's cache argument: `cache`, or `past_key_values` before transformers 5.24."""
    parameters = signature(model.forward).parameters
    return next((name for name in ("cache", "past_key_values") if name in parameters), None)


@torch.inference_mode()  # a tenth faster than `no_grad`, which tracks views
def decode(
    model: CompletionModel,
    tokens: Tensor,
    new_tokens: int,
    choose: Callable[[Tensor, Tensor], Tensor],
    repeats: int = 1,
    advance: Callable[[], object] = lambda: None,
) -> Tensor:
    """Continue sequences of tokens.

    Args:
        model: a model, or an ensemble.
        tokens: (B, T) tokens to continue.
        new_tokens: the number of tokens to add to each sequence.
        choose: returns the next token of each row, (B * repeats,), from the logits or log-probabilities
            (B * repeats, V) and the number of the new token, from 0, as a tensor (1,). On a GPU it is
            captured, so it reads no number back.
        repeats: the number of continuations of each row; the model reads the tokens only once for all.
        advance: is called after each new token.

    Returns:
        (B * repeats, new_tokens); the continuations of a row are adjacent.
    """
    models = members_of(model)
    with _fused_activations(models):
        members = [_Member(each, tokens.shape[1] + new_tokens) for each in models]
        scores = average_probabilities([member.read(tokens) for member in members])
        if repeats > 1:
            scores = scores.repeat_interleave(repeats, dim=0)
            for member in members:
                member.cache.batch_repeat_interleave(repeats)
        numbers = torch.arange(new_tokens, device=scores.device).split(1)
        chosen = [choose(scores, numbers[0])]
        advance()
        capturing = _Capturing(members, choose, new_tokens)
        with _one_query_attention(models):
            for number in numbers[1:]:
                if capturing.is_ready(len(chosen)):
                    return capturing.decode(chosen, advance)
                last = chosen[-1][:, None]
                if len(chosen) == 1:
                    capturing.copy()
                scores = average_probabilities([member.read(last) for member in members])
                chosen.append(choose(scores, number))
                advance()
                if len(chosen) == 2:
                    capturing.compare(last, scores)
    return torch.stack(chosen, dim=1)


class _Capturing:
    """The captured decoding of a GPU, once its scores have been compared with those of the loop.

    The comparison costs two tokens, so each type of model is compared once in a process.
    """

    agreed: ClassVar[set[tuple[Any, ...]]] = set()
    """Types of models, with their attention and windows, whose scores agree."""

    def __init__(
        self, members: Sequence["_Member"], choose: Callable[[Tensor, Tensor], Tensor], new_tokens: int
    ) -> None:
        self.members, self.choose, self.new_tokens = members, choose, new_tokens
        possible = all(can_capture(one.model.device) and one.takes_positions for one in members)
        self.possible = possible and new_tokens >= LEAST_TOKENS
        self.kinds = {
            (type(one.model), attention_of(one.model), *map(window_of_layer, one.cache.layers))
            for one in members
        }
        self._captured: CapturedDecoding | None = None
        self._copy: CapturedDecoding | None = None

    def is_ready(self, chosen: int) -> bool:
        """Return whether the decoding may continue captured after `chosen` new tokens."""
        if self._captured is None and self.possible and chosen == 1 and self.kinds <= self.agreed:
            self._captured = self._over_fixed_caches()
        return self._captured is not None

    def copy(self) -> None:
        """Copy the caches before the loop reads the token that is compared.

        Afterwards, a layer with a sliding window lacks the oldest token that this one attended to.
        """
        if self.possible:
            with _unless_refused():
                self._copy = self._over_fixed_caches()

    def compare(self, last: Tensor, scores: Tensor) -> None:
        """Compare with the scores of the loop for the (B, 1) token that it has read since the copy."""
        if self._copy is None:
            return
        with _unless_refused():
            if self._copy.agrees(last, scores):
                self.agreed.update(self.kinds)
                self._captured = self._copy
            else:
                _log.debug("completion: not captured, since a member takes no mask over a fixed cache")

    def _over_fixed_caches(self) -> CapturedDecoding:
        fixed = [FixedMember(one.model, one.cache, one.cache_argument, one.capacity) for one in self.members]
        return CapturedDecoding(fixed, self.members[0].palette_size, self.choose, self.new_tokens)

    def decode(self, chosen: Sequence[Tensor], advance: Callable[[], object]) -> Tensor:
        """Return all new tokens, (B, new tokens), after those that the loop has chosen."""
        assert self._captured is not None
        for member in self.members:
            member.cache.layers.clear()  # their copies are used from now on
        return self._captured.decode(chosen, advance)


@contextmanager
def _unless_refused() -> Iterator[None]:
    """Let the loop decode if a member takes no fixed cache."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        _log.debug("completion: not captured, since a member takes no fixed cache: %s", error)


class _Member:
    """A model and its cache of the tokens that it has read."""

    def __init__(self, model: PreTrainedModel, capacity: int) -> None:
        self.model = model
        self.palette_size = palette_size(model)
        self.capacity = capacity = capacity + len(identity_tokens(model))
        self.cache = DynamicCache(config=model.config)
        # Layers with a sliding window drop old tokens, so they are not preallocated.
        self.cache.layers = [
            PreallocatedLayer(capacity) if type(layer) is DynamicLayer else layer
            for layer in self.cache.layers
        ]
        self.takes_positions = "position_ids" in signature(model.forward).parameters
        self.cache_argument = str(_cache_argument(model))

    def read(self, tokens: Tensor) -> Tensor:
        """Read (B, T) tokens and return the logits of the next colour, (B, V)."""
        start = self.cache.get_seq_length()
        if start == 0:
            tokens = prepend_identity(self.model, tokens)
        positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)[None]  # (1, T)
        options = {"position_ids": positions} if self.takes_positions else {}
        output = self.model(input_ids=tokens, use_cache=True, **{self.cache_argument: self.cache}, **options)
        logits: Tensor = output.logits[:, -1, : self.palette_size].float()
        return logits


class PreallocatedLayer(DynamicLayer):
    """The keys and values of one layer, allocated once for all tokens.

    On a CPU, the keys are stored transposed, (B, H, D, capacity), which is the order in which the product
    with a query reads them; this halves the time of a single query's attention. A GPU's kernels need each key
    to be contiguous.
    """

    def __init__(self, capacity: int) -> None:
        """Set the maximum number of tokens."""
        super().__init__()
        self.capacity = capacity
        self.length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate memory for `capacity` tokens with the shape and type of the given (B, H, T, D) states."""
        batch, heads, _, size = key_states.shape
        self.dtype, self.device = key_states.dtype, key_states.device
        if key_states.device.type == "cpu":
            self._keys = key_states.new_empty(batch, heads, size, self.capacity).transpose(2, 3)
        else:
            self._keys = key_states.new_empty(batch, heads, self.capacity, size)
        self._values = value_states.new_empty(batch, heads, self.capacity, value_states.shape[-1])
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add (B, H, T, D) keys and values; return all stored ones, (B, H, length, D)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, self.length = self.length, self.length + key_states.shape[2]
        self._keys[:, :, start : self.length] = key_states
        self._values[:, :, start : self.length] = value_states
        self._show_stored()
        if start == 0:  # the cache holds nothing else
            return key_states, value_states
        return self.keys, self.values

    def _show_stored(self) -> None:
        """Let `keys` and `values` be what is stored, as in any layer of a cache."""
        self.keys = self._keys[:, :, : self.length]
        self.values = self._values[:, :, : self.length]

    def get_seq_length(self) -> int:
        """Return the number of stored tokens."""
        return self.length

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row `repeats` times; the copies of a row are adjacent."""
        if not self.is_initialized:  # a layer that shares the keys of another layer stores none
            return
        if self._keys.is_contiguous():
            self._keys = self._keys.repeat_interleave(repeats, dim=0)
        else:  # repeat in the order of the memory, so that the keys stay transposed
            self._keys = self._keys.transpose(2, 3).repeat_interleave(repeats, dim=0).transpose(2, 3)
        self._values = self._values.repeat_interleave(repeats, dim=0)
        self._show_stored()


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Compute attention with a single query per row as two matrix products; (B, H, 1, D) → (B, 1, H, D).

    More queries, a mask or a position bias use torch's kernel. Keys and values are (B, H, T, D), or have
    fewer heads that several query heads share (GQA).
    """
    batch, heads, queries, size = query.shape
    if queries > 1 or attention_mask is not None or options.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    groups = key.shape[1]
    query = query.reshape(batch, groups, heads // groups, size) * (size**-0.5 if scaling is None else scaling)
    weights = torch.matmul(query, key.transpose(2, 3)).softmax(-1)  # (B, groups, heads per group, T)
    return torch.matmul(weights, value).reshape(batch, 1, heads, value.shape[-1]), None


AttentionInterface.register(_ATTENTION, _attend)
AttentionMaskInterface.register(_ATTENTION, sdpa_mask)


@contextmanager
def _one_query_attention(models: Sequence[PreTrainedModel]) -> Iterator[None]:
    """Replace torch's attention kernel by `_attend` in models on a CPU; a GPU's kernel is faster."""
    previous = [attention_of(model) for model in models]
    for model, attention in zip(models, previous, strict=True):
        if attention == "sdpa" and model.device.type == "cpu" and can_set_attention(model):
            model.set_attn_implementation(_ATTENTION)
    try:
        yield
    finally:
        for model, attention in zip(models, previous, strict=True):
            if attention_of(model) != attention:
                model.set_attn_implementation(attention)


@contextmanager
def _fused_activations(models: Sequence[PreTrainedModel]) -> Iterator[None]:
    """Replace `gelu_new` (GPT-2, GPT-J, Phi) by torch's fused version of it, 0.5x(1 + tanh(...))."""
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
