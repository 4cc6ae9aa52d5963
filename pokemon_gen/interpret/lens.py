"""The logit lens: what a model would predict if it stopped after each layer.

The residual stream is the input of the final norm and the output embeddings at every depth, so both can be
applied after any layer (nostalgebraist 2020, "interpreting GPT: the logit lens"). Early layers were never
trained to be read this way: a late decision by the lens can be an early one that later layers only rotate.

The lens repeats the end of a model from its parts. It is compared with the model's own logits in every pass,
so a model whose end has more parts (a cap of the logits, OPT's `project_out`) is refused, not misread.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.interpret.activations import decoder_layers, recorded_stream, token_batches
from pokemon_gen.models.likelihood import token_nll

TOLERANCE = 1e-3
"""Largest difference of the last layer's lens from the model's logits, absolute and relative: both compute
the same, so only rounding can differ."""


@dataclass(frozen=True)
class LayerPredictions:
    """The predictions after each layer. Entry 0 is the embedding output, entry l is after l layers.

    Attributes:
        predicted: (L + 1, N, T) the most probable next token at each position.
        nll: (L + 1, N, T - 1) the negative log-likelihood of the true next token, in nats.
        final_probability: (L + 1, N, T) the probability (0..1) of the token that the last layer predicts.
    """

    predicted: NDArray[np.int64]
    nll: NDArray[np.float32]
    final_probability: NDArray[np.float32]


def final_norm(model: PreTrainedModel) -> nn.Module:
    """Return the norm between the last layer and the output embeddings; the identity if there is none.

    It is the last norm beside the list of layers. OPT lists it before its layers, so only its order among
    the norms counts.

    Raises:
        PokemonGenError: as `decoder_layers`.
    """
    layers = decoder_layers(model)
    parent = next(module for module in model.modules() if any(child is layers for child in module.children()))
    norms = [child for child in parent.children() if "norm" in type(child).__name__.lower()]
    return norms[-1] if norms else nn.Identity()


@torch.no_grad()
def logit_lens(model: PreTrainedModel, tokens: Any) -> LayerPredictions:
    """Return the predictions after the embeddings and after each layer.

    Args:
        model: a causal model of `transformers`, in eval mode.
        tokens: (N, T).

    Raises:
        PokemonGenError: if the model's logits are not those of its final norm and its output embeddings, or
            as `decoder_layers` and `token_batches`.
    """
    norm = final_norm(model)
    predicted, nlls, probabilities = [], [], []
    for batch in token_batches(model, tokens):
        with recorded_stream(model) as stream:
            own = model(input_ids=batch).logits
        head = _output_embeddings(model, stream[-1], norm, own)
        final = own.argmax(-1, keepdim=True)
        for hidden in stream:
            logits = head(norm(hidden))
            predicted.append(logits.argmax(-1).cpu().numpy())
            nlls.append(token_nll(logits, batch).cpu().numpy())
            chances = logits.float().softmax(-1).gather(-1, final)
            probabilities.append(chances.squeeze(-1).cpu().numpy())
    depth = len(decoder_layers(model)) + 1
    return LayerPredictions(
        _by_layer(predicted, depth), _by_layer(nlls, depth), _by_layer(probabilities, depth)
    )


def decision_layer(predicted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first layer from which on the prediction equals the final one.

    Args:
        predicted: (L + 1, N, T), as in `LayerPredictions`.

    Returns:
        (N, T) numbers from 0 (decided by the embeddings) to L (decided by the last layer).
    """
    equal = predicted == predicted[-1]
    stays = np.logical_and.accumulate(equal[::-1])  # from the last layer to the first
    layers: NDArray[np.int64] = (~stays).sum(0)
    return layers


def _output_embeddings(model: PreTrainedModel, last: Tensor, norm: nn.Module, own: Tensor) -> nn.Module:
    """Return the output embeddings of a model, whose logits must be those of the last layer's lens.

    Raises:
        PokemonGenError: naming the model type, if they are others.
    """
    head = model.get_output_embeddings()
    fits = head is not None and last.shape[-1] == head.weight.shape[-1]
    if not fits or not torch.allclose(head(norm(last)), own, rtol=TOLERANCE, atol=TOLERANCE):
        raise PokemonGenError(
            f"{model.config.model_type}: its logits are not its final norm and its output embeddings applied "
            "to the last layer. The logit lens cannot read it. Use a model without a projection, a scale or "
            "a cap between them."
        )
    found: nn.Module = head
    return found


def _by_layer(parts: list[NDArray[Any]], depth: int) -> NDArray[Any]:
    """Join parts (B, ...) of all layers of each batch in turn: → (depth, N, ...)."""
    return np.stack([np.concatenate(parts[layer::depth]) for layer in range(depth)])
