"""Several models that complete as one: at each token their probabilities are averaged.

Where data is short and models are cheap, models that differ by their seeds alone err in different places,
and the mean of their probabilities is better than any of them (Lakshminarayanan et al. 2017, "Simple and
Scalable Predictive Uncertainty Estimation using Deep Ensembles"). An ensemble keeps every member as an
ordinary checkpoint in a folder of its own, so that nothing but stock models is ever loaded.
"""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from transformers import PreTrainedModel


class Ensemble(torch.nn.Module):
    """The members, all over the same colours and on one device."""

    def __init__(self, members: Sequence[PreTrainedModel]) -> None:
        """Hold one or more members."""
        super().__init__()
        self.members = torch.nn.ModuleList(members)

    @property
    def device(self) -> torch.device:
        """The members' device."""
        return members_of(self)[0].device


CompletionModel: TypeAlias = PreTrainedModel | Ensemble
"""What completes prompts."""


def members_of(model: CompletionModel) -> list[PreTrainedModel]:
    """Return an ensemble's members, or the one model."""
    return list(model.members) if isinstance(model, Ensemble) else [model]


def average_probabilities(scores: Sequence[Tensor]) -> Tensor:
    """Average what members say of the next token.

    Args:
        scores: one tensor a member, (..., V), of logits over the same colours.

    Returns:
        (..., V): the logits of one alone, or the logarithm of the members' mean probability but for a
        constant.
    """
    if len(scores) == 1:
        return scores[0]
    return torch.stack(list(scores)).log_softmax(-1).logsumexp(0)


def palette_size(model: CompletionModel) -> int:
    """Return the number of a model's tokens that are colours, V; conditioning tokens follow from V on."""
    config = members_of(model)[0].config
    size: int = getattr(config, "palette_size", config.vocab_size)
    return size
