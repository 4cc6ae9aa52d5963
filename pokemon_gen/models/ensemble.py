"""Several models that complete as one: at each token their probabilities are averaged.

Where data is short and models are cheap, models that differ only by their seeds make different errors, and
the mean of their probabilities is better than any of them (Lakshminarayanan et al. 2017, "Simple and
Scalable Predictive Uncertainty Estimation using Deep Ensembles"). On disk every member is an ordinary
checkpoint in its own folder, so only stock models are ever loaded.
"""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from transformers import PreTrainedModel


class Ensemble(torch.nn.Module):
    """Members with the same colours, on one device."""

    def __init__(self, members: Sequence[PreTrainedModel]) -> None:
        """Hold one or more members."""
        super().__init__()
        self.members = torch.nn.ModuleList(members)

    @property
    def device(self) -> torch.device:
        """The members' device."""
        return members_of(self)[0].device


CompletionModel: TypeAlias = PreTrainedModel | Ensemble
"""A model that completes prompts."""


def members_of(model: CompletionModel) -> list[PreTrainedModel]:
    """Return the members of an ensemble, or a list of the one model."""
    return list(model.members) if isinstance(model, Ensemble) else [model]


def average_probabilities(logits: Sequence[Tensor]) -> Tensor:
    """Average the members' distributions of the next token.

    Args:
        logits: one tensor for each member, (..., V), over the same colours.

    Returns:
        (..., V): the logits of a single member unchanged; of several, the logarithm of their mean
        probability, up to a constant.
    """
    if len(logits) == 1:
        return logits[0]
    return torch.stack(list(logits)).log_softmax(-1).logsumexp(0)


def palette_size(model: CompletionModel) -> int:
    """Return the number of a model's tokens that are colours, V; conditioning tokens follow from V on."""
    config = members_of(model)[0].config
    size: int = getattr(config, "palette_size", config.vocab_size)
    return size
