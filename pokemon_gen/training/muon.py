"""Muon for the matrices, another optimizer for all else, as one optimizer that `Trainer` can hold.

Muon makes each step of a matrix about equally large in all its directions (Jordan et al. 2024, "Muon: An
optimizer for hidden layers in neural networks"), so that a model learns more from each step. It is made for
matrices between hidden layers alone; embeddings, the output's table, norms and biases stay with what
`training.optim` names. Some types keep several matrices in one weight (GPT-2 queries, keys and values; Phi-3
also a gated MLP's gate and up): where it is known how they lie there (`_parts`), each is made even by itself,
as if the model had them apart. Made even together, they hold one another back (`LOG.md`).

`torch.optim.Muon` takes the same steps where a weight is one matrix of (outputs, inputs) (a test holds both
together), but always multiplies in bf16. A CPU that
has none natively needs nearly two seconds for one step of `strong`'s matrices that way, where fp32 takes 0.05
(`LOG.md`); so the format is an argument here.
"""

from collections.abc import Callable
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
    """A weight that Muon is made for.

    Attributes:
        weight: (outputs, inputs), or (inputs, outputs).
        parts: outputs of the matrices that it holds, one after another.
        outputs_last: whether `weight` is (inputs, outputs), as GPT-2's `Conv1D` has it.
    """

    weight: Tensor
    parts: tuple[int, ...]
    outputs_last: bool


def hidden_weights(model: PreTrainedModel) -> list[HiddenWeight]:
    """Return the weights that Muon is made for: of linear layers, but for the one that says the next token.

    Raises:
        PokemonGenError: if there are none.
    """
    tables = {id(model.get_input_embeddings().weight)}  # the output's too, where they are tied
    found = []
    for name, module in model.named_modules():
        linear = isinstance(module, torch.nn.Linear | Conv1D) and module is not model.get_output_embeddings()
        if linear and id(module.weight) not in tables:
            weight, outputs_last = module.weight, isinstance(module, Conv1D)
            parts = _parts(name.rpartition(".")[2], weight.shape[int(outputs_last)], model.config)
            found.append(HiddenWeight(weight, parts, outputs_last))
    if not found:
        raise PokemonGenError(f"training.muon_learning_rate: {model.config.model_type} has no linear layers")
    return found


def _parts(layer: str, outputs: int, config: Any) -> tuple[int, ...]:
    """Return the outputs of each matrix in a linear layer, for types whose code says how they lie in it."""
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
    """Of the quintic whose iteration brings all singular values near 1 (from 0.7 to 1.2), soonest."""

    def __init__(
        self, hidden: list[HiddenWeight], learning_rate: float, weight_decay: float, dtype: torch.dtype
    ) -> None:
        """Take weights.

        Args:
            hidden: to be learned.
            learning_rate: at which a step moves a square matrix by about that in every direction.
            weight_decay: a step takes off `learning_rate * weight_decay`, as in AdamW.
            dtype: that directions are made even in: bf16 where it is native, else fp32.
        """
        weights = [one.weight for one in hidden]
        super().__init__(weights, {"lr": learning_rate, "weight_decay": weight_decay})
        self.dtype = dtype
        self._hidden = dict(zip(weights, hidden, strict=True))

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step along the gradients' running mean, made even."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight)
                mean = state["momentum_buffer"]
                mean.lerp_(weight.grad, 1 - self.momentum)
                direction = weight.grad.lerp(mean, self.momentum)  # Nesterov's look ahead
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                self._move(self._hidden[weight], direction, group["lr"])

    def _move(self, hidden: HiddenWeight, direction: Tensor, learning_rate: float) -> None:
        """Move each matrix that a weight holds against its part of a direction, made even."""
        axis = int(hidden.outputs_last)
        parts = (whole.split(hidden.parts, axis) for whole in (hidden.weight, direction))
        for matrix, towards in zip(*parts, strict=True):
            outputs, inputs = matrix.shape[axis], matrix.shape[1 - axis]
            matrix.add_(self._orthogonalize(towards), alpha=-learning_rate * max(1, outputs / inputs) ** 0.5)

    def _orthogonalize(self, direction: Tensor) -> Tensor:
        """Return a matrix of the same singular directions, (A, B), all about equally large."""
        a, b, c = self.coefficients
        tall = direction.shape[0] > direction.shape[1]
        even = (direction.T if tall else direction).to(self.dtype)
        even = even / even.norm().clamp(min=1e-7)  # no singular value above 1
        for _ in range(self.iterations):
            gram = even @ even.T
            even = torch.addmm(even, torch.addmm(gram, gram, gram, beta=b, alpha=c), even, beta=a)
        return even.T if tall else even


class MuonWithAux(Optimizer):
    """Two optimizers in one: the rest's groups of parameters come first, Muon's last."""

    def __init__(self, rest: Optimizer, muon: Muon) -> None:
        """Take Muon's matrices from an optimizer of all parameters.

        Args:
            rest: an optimizer that has not stepped yet.
            muon: of matrices that are each in one of its groups.
        """
        taken = {id(matrix) for group in muon.param_groups for matrix in group["params"]}
        for group in rest.param_groups:
            group["params"] = [p for p in group["params"] if id(p) not in taken]
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
