"""The likelihood of sprites under a model, in nats per token: what training lowers and selection compares.

The negative log-likelihood (NLL) of token t + 1 is the cross-entropy of the logits at position t. Two means
are reported: over all 399 predicted tokens, and over the completion's 160 tokens, which is what a user sees.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pokemon_gen.augmentation import prepend_identity, strip_conditioning
from pokemon_gen.constants import COMPLETION_LENGTH, LENGTH
from pokemon_gen.models.ensemble import CompletionModel, average_probabilities, members_of, palette_size

MOST_LOGITS = 2**26
"""The most logits of a forward pass of several sequences, 256 MB: a pretrained model has 50,000 tokens."""
_BATCH = 80
"""Sprites in a forward pass."""


def sequences_at_once(vocabulary: int, length: int) -> int:
    """Return how many sequences a forward pass may have, so that its logits need a bounded memory."""
    return max(1, MOST_LOGITS // (vocabulary * length))


def token_nll(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return the negative log-likelihood of every predicted token, in nats.

    Args:
        logits: (B, T, V); those at position t predict token t + 1.
        tokens: (B, T).

    Returns:
        (B, T - 1); entry t belongs to token t + 1. The first token is given, never predicted.
    """
    predicting = logits[:, :-1].float().transpose(1, 2)  # (B, V, T - 1)
    return torch.nn.functional.cross_entropy(predicting, tokens[:, 1:], reduction="none")


def completion_nll(nll: Any) -> Any:
    """Return the completion's part of the result of `token_nll`: (B, 399) → (B, 160)."""
    return nll[:, -COMPLETION_LENGTH:]


@torch.no_grad()
def sprite_nll(model: CompletionModel, sprites: Any) -> Tensor:
    """Return the negative log-likelihood of every predicted token of sprites under a model, in nats.

    Args:
        model: one model, or an ensemble, whose probabilities are averaged.
        sprites: (N, 400) tokens.

    Returns:
        (N, 399), on the model's device; as `token_nll`.
    """
    nlls = []
    for batch in torch.as_tensor(sprites).to(model.device).split(_BATCH):
        logits = [one(input_ids=prepend_identity(one, batch)).logits for one in members_of(model)]
        colours = [strip_conditioning(found, LENGTH, palette_size(model)) for found in logits]
        nlls.append(token_nll(average_probabilities(colours), batch))
    return torch.cat(nlls)


def true_completion_nll(model: CompletionModel, sprites: Any) -> float:
    """Return the mean NLL of the true completions under a model, in nats/token; see `sprite_nll`."""
    return float(completion_nll(sprite_nll(model, sprites)).contiguous().mean())


def nll_of_completions(model: CompletionModel, sprites: Any) -> NDArray[np.float64]:
    """Return the mean NLL of each true completion under a model, in nats/token; (N, 400) → (N,)."""
    found: NDArray[np.float64] = completion_nll(sprite_nll(model, sprites)).double().mean(1).cpu().numpy()
    return found
