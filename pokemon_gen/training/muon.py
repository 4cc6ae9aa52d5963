"""Muon for the matrices and another optimizer for the rest, as one optimizer that `Trainer` can hold.

Muon orthogonalizes each step of a matrix, so that it is about equally large in all directions (Jordan et
al. 2024, "Muon: An optimizer for hidden layers in neural networks"), and a model learns more from each
step. It is made for the matrices of hidden layers only. Embeddings, the output layer, norms and biases keep
the optimizer that `training.optim` names. Some types store several matrices in one weight (GPT-2 queries,
keys and values; Phi-3 also the gate and up projections of its MLP). Where the order is known (`_parts`),
each matrix is orthogonalized by itself; orthogonalized together, they slow one another (`LOG.md`).

All matrices of one shape, and of the transposed one, are orthogonalized at once. On a GPU a small product
costs little more than its launch, so a prototype took a tenth of the time there (`LOG.md`).
`torch.optim.Muon` takes the same steps for a weight that is one matrix of (outputs, inputs), which a test
verifies, but one by one, and always multiplies in bf16. On a CPU without bf16 instructions one step of the
matrices of `strong` then takes nearly two seconds, and 0.05 in fp32 (`LOG.md`), so the number format is an
argument here.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from pokemon_gen.errors import PokemonGenError


@dataclass(frozen=True)
class HiddenWeight:
    """A weight that Muon updates.

    Attributes:
        weight: (outputs, inputs), or (inputs, outputs).
        parts: the number of outputs of each matrix that it stores, in order.
        outputs_last: whether `weight` is (inputs, outputs), as in GPT-2's `Conv1D`.
    """

    weight: Tensor
    parts: tuple[int, ...]
    outputs_last: bool


def hidden_weights(model: PreTrainedModel) -> list[HiddenWeight]:
    """Return the weights that Muon updates: those of all linear layers except the output layer.

    Raises:
        PokemonGenError: if there are none.
    """
    tables = {id(model.get_input_embeddings().weight)}  # also the output layer's, where they are tied
    found = []
    for name, module in model.named_modules():
        linear = isinstance(module, torch.nn.Linear | Conv1D) and module is not model.get_output_embeddings()
        if linear and id(module.weight) not in tables:
            weight, outputs_last = module.weight, isinstance(module, Conv1D)
            parts = _parts(name.rpartition(".")[2], weight.shape[int(outputs_last)], model.config)
            found.append(HiddenWeight(weight, parts, outputs_last))
    if not found:
        raise PokemonGenError(
            f"training.muon_learning_rate: {model.config.model_type} has no linear layers for Muon. Remove "
            "this setting."
        )
    return found


def _parts(layer: str, outputs: int, config: Any) -> tuple[int, ...]:
    """Return the number of outputs of each matrix in a linear layer, for types whose order is known."""
    match config.model_type, layer:
        case "gpt2", "c_attn":  # queries, keys and values
            return (outputs // 3,) * 3
        case "phi3", "qkv_proj":
            keys = outputs * config.num_key_value_heads
            keys //= config.num_attention_heads + 2 * config.num_key_value_heads
            return (outputs - 2 * keys, keys, keys)
        case (("phi3" | "glm" | "glm4"), "gate_up_proj"):
            return (outputs // 2,) * 2
    return (outputs,)


class Muon(Optimizer):
    """Muon of Jordan et al. 2024, for 2-D parameters, with its author's constants."""

    momentum = 0.95
    iterations = 5
    coefficients = (3.4445, -4.775, 2.0315)
    """Of the quintic polynomial whose iteration brings all singular values near 1 (0.7 to 1.2) fastest."""

    def __init__(
        self, hidden: list[HiddenWeight], learning_rate: float, weight_decay: float, dtype: torch.dtype
    ) -> None:
        """Hold weights.

        Args:
            hidden: the weights to update.
            learning_rate: the size of a step of a square matrix in every direction.
            weight_decay: a step reduces a weight by the share `learning_rate * weight_decay`, as in AdamW.
            dtype: of the orthogonalization: bf16 where the hardware multiplies in it, else fp32.
        """
        weights = [one.weight for one in hidden]
        super().__init__(weights, {"lr": learning_rate, "weight_decay": weight_decay})
        self.dtype = dtype
        self._hidden = dict(zip(weights, hidden, strict=True))

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step along the orthogonalized momentum of the gradients."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients, means = [weight.grad for weight in weights], [self._mean(weight) for weight in weights]
            torch._foreach_lerp_(means, gradients, 1 - self.momentum)
            directions = torch._foreach_lerp(gradients, means, self.momentum)  # Nesterov momentum
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            for matrices in self._by_shape(weights, directions):
                self._move(matrices, group["lr"])

    def _mean(self, weight: Tensor) -> Tensor:
        """Return the average of a weight's gradients, which is zero before the first step."""
        state = self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        mean: Tensor = state["momentum_buffer"]
        return mean

    def _by_shape(self, weights: list[Tensor], directions: Sequence[Tensor]) -> Iterable[list["_Matrix"]]:
        """Return all matrices that the weights store; those of one shape, and its transpose, are together."""
        groups: dict[tuple[int, ...], list[_Matrix]] = defaultdict(list)
        for weight, direction in zip(weights, directions, strict=True):
            hidden = self._hidden[weight]
            axis = int(hidden.outputs_last)
            parts = (whole.split(hidden.parts, axis) for whole in (weight, direction))
            for part, towards in zip(*parts, strict=True):
                scale = max(1, part.shape[axis] / part.shape[1 - axis]) ** 0.5
                groups[tuple(sorted(part.shape))].append(_Matrix(part, towards, scale))
        return groups.values()

    def _move(self, matrices: list["_Matrix"], learning_rate: float | Tensor) -> None:
        """Move matrices of one shape against the orthogonalized parts of their directions."""
        matrices = sorted(matrices, key=lambda one: one.tall)
        wide = sum(not one.tall for one in matrices)
        directions = torch.stack([one.direction.T if one.tall else one.direction for one in matrices])
        moves = self._orthogonalize(directions).to(directions.dtype) * learning_rate  # (N, A, B)
        each = [*moves[:wide].unbind(), *moves[wide:].mT.contiguous().unbind()]
        torch._foreach_mul_(each, [one.scale for one in matrices])
        torch._foreach_sub_([one.part for one in matrices], each)

    def _orthogonalize(self, directions: Tensor) -> Tensor:
        """Return matrices with the same singular vectors and singular values near 1; (N, A, B), A <= B."""
        a, b, c = self.coefficients
        x = directions.to(self.dtype)
        x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)  # no singular value above 1
        for _ in range(self.iterations):
            gram = x @ x.mT
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
        return x


@dataclass(frozen=True)
class _Matrix:
    """A matrix that a weight stores.

    Attributes:
        part: (outputs, inputs) or (inputs, outputs), a view of the weight.
        direction: of the same shape.
        scale: the size of its step relative to that of a square matrix.
    """

    part: Tensor
    direction: Tensor
    scale: float

    @property
    def tall(self) -> bool:
        """Whether it has more rows than columns."""
        return self.part.shape[0] > self.part.shape[1]


class MuonWithAux(Optimizer):
    """Two optimizers in one: the groups of the auxiliary optimizer come first, Muon's last."""

    def __init__(self, rest: Optimizer, muon: Muon) -> None:
        """Move Muon's matrices out of an optimizer of all parameters.

        Args:
            rest: the auxiliary optimizer, which has not stepped yet.
            muon: holds matrices that are each in one of the groups of `rest`.
        """
        taken = {id(matrix) for group in muon.param_groups for matrix in group["params"]}
        for group in rest.param_groups:
            group["params"] = [p for p in group["params"] if id(p) not in taken]
        self.parts = (rest, muon)
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let both optimizers use the groups and the state that are saved and scheduled here."""
        rest, muon = self.parts
        rest.param_groups, muon.param_groups = self.param_groups[:-1], self.param_groups[-1:]
        rest.state = muon.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the saved state of both."""
        super().load_state_dict(state_dict)
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take a step with both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss
