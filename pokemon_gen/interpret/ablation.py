"""Which parts of a model matter: the rise of the likelihood's loss when each part is switched off.

Attention shows where a head looks. Ablation shows what the predictions lose without it, overall and for
groups of pixels. A part is replaced by zeros, as in Michel et al. 2019, "Are Sixteen Heads Really Better
than One?". A small change does not prove that a part is idle: another one can do the same work.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.interpret.activations import (
    Part,
    decoder_layers,
    head_count,
    token_batches,
    without_heads,
    without_layer,
)
from pokemon_gen.models.likelihood import token_nll


@dataclass(frozen=True)
class AblationRow:
    """What the predictions lose without one part of a model.

    Attributes:
        what: the part that is switched off.
        layer: the number of its layer, counted from 0.
        head: the number of the head, counted from 0; None for other parts.
        change: the mean NLL without the part minus the mean NLL with it, in nats/token; positive if the part
            helps.
        standard_error: of the change over sequences, in nats/token; NaN for a single sequence.
        by_group: the change over the positions of each group; NaN for a group without positions.
    """

    what: Literal["head", Part]
    layer: int
    head: int | None
    change: float
    standard_error: float
    by_group: dict[str, float]


def ablate(
    model: PreTrainedModel, tokens: Any, groups: Mapping[str, NDArray[np.bool_]] | None = None, skip: int = 0
) -> list[AblationRow]:
    """Switch off every head, attention, MLP and layer in turn, and measure what the predictions lose.

    This takes L x (H + 3) + 1 passes over the tokens.

    Args:
        model: a causal model of `transformers`, in eval mode.
        tokens: (N, T).
        groups: a name → (N, T - skip - 1), whether a predicted token belongs to the group. For sprites take
            the masks of `pixel_groups` from the second pixel on.
        skip: the number of leading conditioning tokens. Predictions of these, and of the first token after
            them, do not count.

    Returns:
        The rows in the order of the layers; in each layer its heads, its attention, its MLP, all of it.

    Raises:
        PokemonGenError: if a group has another shape, or as the functions of `activations`.
    """
    groups = groups or {}
    with_all = _nll(model, tokens, skip)
    for name, mask in groups.items():
        if np.shape(mask) != with_all.shape:
            raise PokemonGenError(
                f"groups[{name!r}]: its shape is {np.shape(mask)}, but {with_all.shape} tokens are "
                "predicted. Pass one truth value for each."
            )
    rows = []
    for what, layer, head, switched_off in _ablations(model):
        with switched_off:
            change = _nll(model, tokens, skip) - with_all  # (N, T - skip - 1)
        by_group = {name: _mean(change[mask]) for name, mask in groups.items()}
        rows.append(AblationRow(what, layer, head, _mean(change), _standard_error(change), by_group))
    return rows


def _ablations(
    model: PreTrainedModel,
) -> Iterator[tuple[Literal["head", Part], int, int | None, AbstractContextManager[None]]]:
    """Yield what is switched off, its layer, its head, and the context in which it is."""
    for layer in range(len(decoder_layers(model))):
        for head in range(head_count(model)):
            yield "head", layer, head, without_heads(model, [(layer, head)])
        for part in get_args(Part):
            yield part, layer, None, without_layer(model, layer, part)


@torch.no_grad()
def _nll(model: PreTrainedModel, tokens: Any, skip: int) -> NDArray[np.float64]:
    """Return the NLL of every predicted token that counts, in nats; (N, T - skip - 1)."""
    nlls = [token_nll(model(input_ids=batch).logits, batch) for batch in token_batches(model, tokens)]
    found: NDArray[np.float64] = torch.cat(nlls)[:, skip:].double().cpu().numpy()
    return found


def _mean(values: NDArray[np.float64]) -> float:
    """Return the mean, or NaN of nothing."""
    return float(values.mean()) if values.size else float("nan")


def _standard_error(change: NDArray[np.float64]) -> float:
    """Return the standard error over sequences of the mean change; (N, tokens)."""
    means = change.mean(1)
    return float(means.std(ddof=1) / len(means) ** 0.5) if len(means) > 1 else float("nan")
