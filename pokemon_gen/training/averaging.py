"""A running mean of the weights, which is what is measured, saved and completes.

At a high rate the weights circle around where they are going; their mean is near it (Polyak & Juditsky
1992; Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima"), so that a run need not wait for its
decay to be good. What trains on are the weights themselves: a checkpoint keeps them beside the mean, and a
run that goes on takes them up again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.folders import IN_TRAINING_NAME


class WeightAverage:
    """The mean of a model's weights over its steps, later ones weighing more."""

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        """Begin with the weights that a model has now.

        Args:
            model: that is trained.
            decay: what of the mean remains at each step; 0.995 is a memory of about 200 steps. In the
                beginning less remains, so that the first weights are soon forgotten.
        """
        self.model, self.decay = model, decay
        self.mean = [parameter.detach().clone() for parameter in model.parameters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 1."""
        # The ramp is the usual one of `torch-ema` and TensorFlow's ExponentialMovingAverage.
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.mean, self._weights(), 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the mean in the place of the weights for a while."""
        weights = [weight.clone() for weight in self._weights()]
        torch._foreach_copy_(self._weights(), self.mean)
        try:
            yield
        finally:
            torch._foreach_copy_(self._weights(), weights)

    def save_weights(self, folder: Path) -> None:
        """Write the weights in training beside the mean that a checkpoint holds."""
        save_model(self.model, str(folder / IN_TRAINING_NAME))

    def take_up(self, folder: Path) -> None:
        """Go on from a checkpoint: what the model has just loaded is the mean; its weights lie beside it."""
        torch._foreach_copy_(self.mean, self._weights())
        file = folder / IN_TRAINING_NAME
        try:
            load_model(self.model, str(file), device=str(self.mean[0].device))
        except RuntimeError as error:  # it names what is missing and what is unexpected
            raise PokemonGenError(f"{file}: not the weights of this model: {error}") from error

    def _weights(self) -> list[Tensor]:
        return [parameter.data for parameter in self.model.parameters()]
