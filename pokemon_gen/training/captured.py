"""Training steps that are captured: forward, backward, clipping and optimizer as one CUDA graph.

`Trainer` stays in charge of batches, callbacks, evaluation, checkpoints and logs. It sees a `training_step`
that returns a loss. It does not step the optimizer, because the graph has already stepped. The gradients'
norm is read only when it is logged. Where a step cannot be captured, it runs as `Trainer` runs it.

Everything random in a step depends on the seed and the number of the step alone. So a resumed run draws what
the run that was never stopped drew, without saving the state of any generator.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainingArguments

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.graphs import Replayed, can_capture
from pokemon_gen.models.hf_compat import one_sprite_a_row
from pokemon_gen.training.arguments import Capture, derived_seed
from pokemon_gen.training.muon import Muon, MuonWithAux

_log = logging.getLogger(__name__)
MOST_GRAPHS = 4
"""The most shapes of a batch that have a graph of their own, since each graph holds memory. The steps of
other shapes are launched kernel by kernel."""


class CapturingTrainer(Trainer):
    """`Trainer` that captures its steps where it can, and draws by the number of the step.

    Attributes:
        capture: whether to capture the steps.
        setting: names what decides this, in messages.
    """

    capture: Capture = "auto"
    setting = "auxiliary training"
    optimizer: Any
    _batch = (-1, 0)
    """The step of the last batch, and its number within that step."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take the arguments of `Trainer`."""
        super().__init__(*args, **kwargs)
        self._steps: CapturedSteps | None = None
        self._first = True
        self._operations: dict[torch.Size, int] = {}

    def draw(self, inputs: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Draw what a step needs, before it: tensors to tensors of the same shapes at every step.

        Args:
            inputs: a batch.
            generator: on the CPU, seeded by the step.
        """
        return inputs

    def model_inputs(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the model's inputs from what `draw` returned; this is part of the step that is captured."""
        return inputs

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Take a step: the model's part of it, or all of it if it is captured.

        The draws depend on the seed and the step alone. A collator would draw ahead of the step by as many
        batches as `DataLoader` fetches early, and a resumed run would draw others.
        """
        step, number = self._batch
        self._batch = (self.state.global_step, number + 1 if step == self.state.global_step else 0)
        inputs = self.draw(inputs, torch.Generator().manual_seed(derived_seed(self.args.seed, *self._batch)))
        seed = derived_seed(self.args.seed, *self._batch, 1)
        if self._first:
            self._first = False
            self._steps = self._capture_if_possible(model)
        if self._steps:
            return self._steps(inputs, num_items_in_batch, seed)
        torch.manual_seed(seed)
        return self.forward_backward(model, inputs, num_items_in_batch)

    def _capture_if_possible(self, model: Any) -> "CapturedSteps | None":
        """Return the captured steps; if they are not captured on a GPU that could, say why."""
        reason = self.why_not_captured()
        if reason is None:
            return CapturedSteps(self, model)
        if can_capture(self.args.device) and self.capture is not False:
            _log.info("%s: a step is launched kernel by kernel, since %s", self.setting, reason)
        return None

    def require_capture(self) -> None:
        """Check, before the training, that steps can be captured if they must be.

        Raises:
            PokemonGenError: naming the reason.
        """
        reason = self.why_not_captured()
        if self.capture is True and reason is not None:
            raise PokemonGenError(
                f"training.capture: true, but steps cannot be captured, since {reason}. Set it to auto."
            )

    def forward_backward(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any) -> Tensor:
        """Compute the loss and its gradients, as `Trainer` does."""
        loss: Tensor = super().training_step(model, self.model_inputs(inputs), num_items_in_batch)
        return loss

    def why_not_captured(self) -> str | None:
        """Return why the steps of this training are not captured; None if they are, as far as is known."""
        if self._steps:
            return self._steps.why_not
        if any(map(_needs_gradients, self.callback_handler.callbacks)):
            return "a callback works with the gradients between two parts of a step"
        return why_not_captured(self.args, self.capture, self.optimizer)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Return the operations of a batch; `Trainer` would count them at every step."""
        main = inputs.get(self.model.main_input_name)
        if main is None:  # a model of the person's own
            return int(super().floating_point_ops(inputs))
        if main.shape not in self._operations:
            self._operations[main.shape] = super().floating_point_ops(inputs)
        return self._operations[main.shape]


def _needs_gradients(callback: TrainerCallback) -> bool:
    """Tell whether a callback is called while the gradients of a step exist."""
    events = ("on_pre_optimizer_step", "on_optimizer_step")
    return any(getattr(type(callback), event) is not getattr(TrainerCallback, event) for event in events)


def why_not_captured(
    arguments: TrainingArguments, capture: Capture, optimizer: Any | None = None
) -> str | None:
    """Return why steps are not captured, in words that follow "since"; None if they are.

    Args:
        arguments: of the training.
        capture: whether to capture steps.
        optimizer: of the training; None if it is not made yet.
    """
    if not can_capture(arguments.device):
        return "there is no NVIDIA GPU here"
    if capture is False:
        return "capture is false"
    if arguments.gradient_accumulation_steps > 1:
        return "training.gradient_accumulation_steps is above 1"
    if arguments.fp16:
        return "the loss scaling of training.fp16 reads numbers back from the GPU"
    if arguments.full_determinism and capture == "auto":
        return "training.full_determinism is true"
    if arguments.torch_empty_cache_steps is not None:
        return "training.torch_empty_cache_steps is set"
    inner = getattr(optimizer, "optimizer", optimizer)  # without accelerate's wrapper
    if inner is not None and not is_capturable(inner):
        return f"the optimizer {type(inner).__name__} cannot be captured"
    return None


def is_capturable(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether an optimizer's step can be part of a CUDA graph: Muon's, or those of torch that say so."""
    if isinstance(optimizer, MuonWithAux):
        return all(map(is_capturable, optimizer.parts))
    if isinstance(optimizer, Muon):
        return True
    of_torch = type(optimizer).__module__.startswith("torch.optim")
    return of_torch and all("capturable" in group for group in optimizer.param_groups)


class CapturedSteps:
    """The steps of one training: a graph for each shape of a batch; the last one of an epoch may be smaller.

    Attributes:
        loss: of the last step, on the device.
        grad_norm: of the last step before clipping, on the device.
        why_not: why a step was not captured; None as long as all are.
    """

    def __init__(self, trainer: CapturingTrainer, model: Any) -> None:
        """Prepare for the first step, when the optimizer has its state.

        Args:
            trainer: whose steps these are.
            model: as `Trainer` wraps it.
        """
        device = trainer.args.device
        self.trainer, self.model = trainer, model
        self.optimizer: torch.optim.Optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
        self.parameters = [p for p in trainer.model.parameters() if p.requires_grad]
        self.rates = [torch.zeros((), device=device) for _ in self.optimizer.param_groups]
        self.loss, self.grad_norm = torch.zeros((), device=device), torch.zeros((), device=device)
        self.why_not: str | None = None
        self._values = [0.0] * len(self.rates)
        # `Trainer` clips after its own step. Here it gets the norm of gradients that are clipped already.
        trainer.accelerator.clip_grad_norm_ = lambda *_, **__: self.grad_norm
        self._steps: dict[Any, tuple[dict[str, Tensor], Replayed]] = {}
        _move_counters(self.optimizer, device)

    def __call__(self, inputs: dict[str, Tensor], num_items: Any, seed: int) -> Tensor:
        """Take a step and return its loss.

        Args:
            inputs: what `CapturingTrainer.draw` returned.
            num_items: the number of predicted tokens, or None, as `Trainer` counts them.
            seed: of everything random in the step.
        """
        given = {**inputs, "num_items": num_items} if isinstance(num_items, Tensor) else inputs
        shapes = tuple((name, value.shape, value.dtype) for name, value in given.items())
        if shapes not in self._steps:
            self._steps[shapes] = self._new_step(given)
        buffers, step = self._steps[shapes]
        for name, value in given.items():
            buffers[name].copy_(value, non_blocking=True)
        self._set_rates()
        step(seed)
        self.why_not = self.why_not or step.why_not
        self.trainer.accelerator.sync_gradients = False  # so that accelerate does not step again
        return self.loss

    def _new_step(self, given: dict[str, Tensor]) -> tuple[dict[str, Tensor], Replayed]:
        """Return the buffers of a batch's shape, and the step that reads them."""
        device, must = self.trainer.args.device, self.trainer.capture is True
        buffers = {name: torch.empty_like(value, device=device) for name, value in given.items()}
        step = Replayed(lambda: self._take(dict(buffers)), device, self.trainer.setting, must)
        if len(self._steps) >= MOST_GRAPHS:
            step.why_not = "batches have too many shapes"
        return buffers, step

    def _take(self, buffers: dict[str, Tensor]) -> None:
        """Take a whole step; this function is captured."""
        num_items = buffers.pop("num_items", None)
        self._drop_gradients()  # also those that a failed capture left, which were never computed
        with one_sprite_a_row():
            loss = self.trainer.forward_backward(self.model, buffers, num_items)
        most = self.trainer.args.max_grad_norm or float("inf")
        self.grad_norm.copy_(torch.nn.utils.clip_grad_norm_(self.parameters, most))
        with _capturable(self.optimizer, self.rates):
            self.optimizer.step()
        self._drop_gradients()
        self.loss.copy_(loss)

    def _drop_gradients(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def _set_rates(self) -> None:
        """Copy the learning rates of now into the tensors that the graph reads."""
        for number, group in enumerate(self.optimizer.param_groups):
            if group["lr"] != self._values[number]:
                self._values[number] = group["lr"]
                self.rates[number].fill_(group["lr"])


@contextmanager
def _capturable(optimizer: torch.optim.Optimizer, rates: list[Tensor]) -> Iterator[None]:
    """Let an optimizer take a step that can be captured: its learning rates are tensors meanwhile.

    Outside, the groups hold plain numbers, as schedules and checkpoints expect.

    Args:
        optimizer: one for which `is_capturable`.
        rates: the learning rate of each group, on the device.
    """
    groups = optimizer.param_groups
    before = [(group["lr"], group.get("capturable")) for group in groups]
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
        if "capturable" in group:
            group["capturable"] = can_capture(rate.device)
    try:
        with warnings.catch_warnings():  # of the steps before the capture
            warnings.filterwarnings("ignore", "This instance was constructed with capturable=True")
            yield
    finally:
        for group, (rate, is_set) in zip(groups, before, strict=True):
            group["lr"] = rate
            if "capturable" in group:
                group["capturable"] = is_set


def _move_counters(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Move the numbers of steps, which a checkpoint of a CPU keeps there, to the device that counts them."""
    for state in optimizer.state.values():
        if isinstance(state.get("step"), Tensor):
            state["step"] = state["step"].to(device)
