"""Decoding on a GPU: one new token of every sequence as one CUDA graph.

A token of a small model takes many small kernels, and launching them takes longer than computing them.
`models/graphs.py` captures them once and replays them for each token. For this, the keys and
values of all tokens have a fixed place (`FixedLayer`), a mask hides the places that are still empty, and
sampling is part of the graph. All members of an ensemble and all candidates decode in one graph.

The model stays unchanged: it takes a cache, positions and a mask by the interfaces of `transformers`. Whether
it honours them is checked with the first token, so that a type that does not is decoded by the loop.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer

from pokemon_gen.models.ensemble import average_probabilities
from pokemon_gen.models.graphs import Replayed, can_capture, shared_stream

_log = logging.getLogger(__name__)
LEAST_TOKENS = 12
"""Fewer tokens than these are not worth a capture."""
_AGREEMENT = 1e-2
"""The most by which the first token's logits may differ; rounding makes them differ by about 1e-5."""


class FixedLayer(DynamicLayer):
    """The keys and values of one layer, (B, H, capacity, D), in which a token is written at a position."""

    def __init__(self, layer: Any, capacity: int, length: int, position: Tensor) -> None:
        """Copy what another layer stores.

        Args:
            layer: a layer of a cache; with a sliding window, it stores only the last tokens.
            capacity: the maximum number of tokens.
            length: the number of tokens so far.
            position: (1,), where the next token is written; it is read at each token.
        """
        super().__init__()
        self.dtype, self.device, self.is_initialized = layer.keys.dtype, layer.keys.device, True
        self.length, self.position = length, position
        self.keys, self.values = (_placed(each, capacity, length) for each in (layer.keys, layer.values))

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Write (B, H, 1, D) keys and values at the position; return all, those of empty places included."""
        self.keys.index_copy_(2, self.position, key_states)
        self.values.index_copy_(2, self.position, value_states)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Return the number of tokens before the first one that is decoded."""
        return self.length


def _placed(states: Tensor, capacity: int, length: int) -> Tensor:
    """Return (B, H, capacity, D) with the states of the last tokens before `length` in their places."""
    batch, heads, stored, size = states.shape
    placed = states.new_zeros(batch, heads, capacity, size)  # what is hidden must be finite all the same
    placed[:, :, length - stored : length] = states
    return placed


class FixedMember:
    """A model with a cache of fixed size, which reads one token of each sequence."""

    def __init__(self, model: PreTrainedModel, cache: DynamicCache, argument: str, capacity: int) -> None:
        """Continue from a cache.

        Args:
            model: takes a 4-D attention mask and positions.
            cache: the keys and values of the tokens that the model has read.
            argument: the name of forward's cache argument.
            capacity: the maximum number of tokens.
        """
        length = cache.get_seq_length()
        self.model = model
        self.position = torch.full((1,), length, device=model.device)
        self.masks = _masks(capacity, window_of(cache), model)
        layers = [FixedLayer(layer, capacity, length, self.position) for layer in cache.layers]
        self.cache = DynamicCache(config=model.config)
        self.cache.layers = layers
        self.options = {argument: self.cache, "use_cache": True}

    def read(self, tokens: Tensor, palette_size: int) -> Tensor:
        """Read (B, 1) tokens at the position and return the logits of the next colour, (B, V)."""
        mask = self.masks.index_select(0, self.position)[None, None]  # (1, 1, 1, capacity)
        output = self.model(
            input_ids=tokens, attention_mask=mask, position_ids=self.position[None], **self.options
        )
        logits: Tensor = output.logits[:, -1, :palette_size].float()
        return logits


def window_of_layer(layer: Any) -> int | None:
    """Return the sliding window of a cache's layer, or None if it has none."""
    window: int | None = getattr(layer, "sliding_window", None)
    return window


def window_of(cache: DynamicCache) -> int | None:
    """Return the sliding window that all layers of a cache have, or None if they have none.

    Raises:
        ValueError: if they differ, because one mask then does not serve all.
    """
    windows = set(map(window_of_layer, cache.layers))
    if len(windows) > 1:
        raise ValueError("the layers have different sliding windows")
    return windows.pop()


def _masks(capacity: int, window: int | None, model: PreTrainedModel) -> Tensor:
    """Return what each position adds to its attention, (capacity, capacity): zero, or the least number."""
    places = torch.arange(capacity, device=model.device)
    age = places[:, None] - places[None]  # (query, key)
    seen = (age >= 0) & (age < (window or capacity))
    least = torch.finfo(model.dtype).min
    return torch.zeros_like(seen, dtype=model.dtype).masked_fill(~seen, least)


class CapturedDecoding:
    """The decoding of the tokens after the first ones, which the loop has chosen."""

    def __init__(
        self,
        members: Sequence[FixedMember],
        palette_size: int,
        choose: Callable[[Tensor, Tensor], Tensor],
        new_tokens: int,
    ) -> None:
        """Hold what `decode` works with."""
        self.members, self.palette_size, self.choose = members, palette_size, choose
        self.new_tokens = new_tokens

    def agrees(self, last: Tensor, scores: Tensor) -> bool:
        """Read the (B, 1) token that the loop has read since, and compare with the scores that it got."""
        agrees = torch.allclose(self._read(last), scores, rtol=_AGREEMENT, atol=_AGREEMENT)
        self._move(1)
        return agrees

    def decode(self, chosen: Sequence[Tensor], advance: Callable[[], object]) -> Tensor:
        """Return all new tokens, (B, new tokens).

        Args:
            chosen: (B,) each, the new tokens so far. All but the last one have been read.
            advance: is called after each further token.
        """
        self.token = chosen[-1][:, None].clone()
        self.number = torch.full((1,), len(chosen), device=self.token.device)
        self.tokens = self.token.new_zeros(len(self.token), self.new_tokens)
        self.tokens[:, : len(chosen)] = torch.stack(list(chosen), dim=1)
        device = self.token.device
        stream = shared_stream(device) if can_capture(device) else None
        # What is captured has run in this process, so one call allocates all that there is to allocate.
        step = Replayed(self._one_token, device, "completion", warm_up=1, stream=stream)
        for _ in range(len(chosen), self.new_tokens):
            step()
            advance()
        return self.tokens

    def _one_token(self) -> None:
        """Read a token, choose the next one, and move on; this function is captured."""
        chosen = self.choose(self._read(self.token), self.number)
        self.tokens.index_copy_(1, self.number, chosen[:, None])
        self.token.copy_(chosen[:, None])
        self.number.add_(1)
        self._move(1)

    def _move(self, tokens: int) -> None:
        """Move the position of every member."""
        for member in self.members:
            member.position.add_(tokens)

    def _read(self, tokens: Tensor) -> Tensor:
        return average_probabilities([member.read(tokens, self.palette_size) for member in self.members])
