"""Muon for the matrices, another optimizer for all else, as one optimizer that `Trainer` can hold.

Muon makes each step of a matrix about equally large in all its directions (Jordan et al. 2024, "Muon: An
optimizer for hidden layers in neural networks"), so that a model learns more from each step. It is made for
matrices between hidden layers alone; embeddings, the output's table, norms and biases stay with what
`training.optim` names. `torch.optim.Muon` is the one used.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from pokemon_gen.errors import PokemonGenError


def hidden_matrices(model: PreTrainedModel) -> list[Tensor]:
    """Return the matrices that Muon is made for: of linear layers, but for the one that says the next token.

    Raises:
        PokemonGenError: if there are none.
    """
    tables = {id(model.get_input_embeddings().weight)}  # the output's too, where they are tied
    matrices = [
        module.weight
        for module in model.modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
        and module is not model.get_output_embeddings()
        and id(module.weight) not in tables
    ]
    if not matrices:
        raise PokemonGenError(f"training.muon_learning_rate: {model.config.model_type} has no linear layers")
    return matrices


class MatricesByMuon(Optimizer):
    """Two optimizers in one: the rest's groups of parameters come first, Muon's last."""

    def __init__(
        self, rest: Optimizer, matrices: list[Tensor], learning_rate: float, weight_decay: float
    ) -> None:
        """Take the matrices from an optimizer of all parameters, and give them to Muon.

        Args:
            rest: an optimizer that has not stepped yet.
            matrices: 2-D, each of them in one of its groups.
            learning_rate: of Muon, at which a step moves a square matrix by about that in every direction.
            weight_decay: of Muon; a step takes off `learning_rate * weight_decay`, as in AdamW.
        """
        taken = {id(matrix) for matrix in matrices}
        for group in rest.param_groups:
            group["params"] = [p for p in group["params"] if id(p) not in taken]
        muon = torch.optim.Muon(matrices, lr=learning_rate, weight_decay=weight_decay)
        self._parts = (rest, muon)
        super().__init__([group for part in self._parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let both parts work on the groups and the state that are saved and scheduled here."""
        rest, muon = self._parts
        rest.param_groups, muon.param_groups = self.param_groups[:-1], self.param_groups[-1:]
        rest.state = muon.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a saved state, of both."""
        super().load_state_dict(state_dict)
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take a step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss
