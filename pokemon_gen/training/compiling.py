"""Compiling a model: whether this machine can, and which parts of the model pay for it.

Compilation fuses the small operations between matrix products, which makes a step of a small model up to a
quarter shorter (`LOG.md`). The layers of a decoder are alike, so one of them is compiled and its code serves
all: that takes a third of the time that the compilation of the whole model takes, and a step is as fast or
faster. Where nothing can be compiled, `torch.compile` fails at the first step, after a minute, with pages of
traceback; a config that asks for it must still run there.
"""

import functools
import logging

import torch
from transformers import PreTrainedModel, TrainingArguments

from pokemon_gen.models.devices import best_device

_log = logging.getLogger(__name__)
STEPS_ON_A_GPU = 20_000
"""The least steps of a run whose captured steps are compiled. Such a step takes 3.4 ms, and 2.0 ms compiled
(a prototype on an H100, `LOG.md`), so that fewer steps do not repay some 20 s of compiling."""
_WITH_GRAPHS = ("reduce-overhead", "max-autotune")
"""The modes of `torch.compile` that capture CUDA graphs of their own."""


def compile_if_possible(
    model: PreTrainedModel, arguments: TrainingArguments, max_steps: int, captured: bool
) -> None:
    """Compile the layers of a model if the arguments ask for it, where that is possible and pays.

    A model without repeated layers is left to `Trainer`, which compiles all of it.

    Args:
        model: to train.
        arguments: of the training. `torch_compile` is off afterwards, unless `Trainer` compiles the model.
        max_steps: of the whole run.
        captured: whether the steps are captured as a CUDA graph.
    """
    if not arguments.torch_compile:
        return
    layers = _repeated_layers(model)
    if captured and arguments.torch_compile_mode in _WITH_GRAPHS:
        arguments.torch_compile_mode = None  # a graph cannot hold another one, and needs none
    if not pays_to_compile(max_steps, captured):
        _log.debug("training.torch_compile: a captured run of %d steps is shorter uncompiled", max_steps)
    elif can_compile():
        _prepare_compiling()
        if not layers:
            return
        for layer in layers:
            layer.compile(backend=arguments.torch_compile_backend, mode=arguments.torch_compile_mode)
    else:
        _log.info("training.torch_compile: there is no compiler here, so the model runs uncompiled")
    arguments.torch_compile = False
    arguments.torch_compile_backend = arguments.torch_compile_mode = None


def pays_to_compile(steps: int, captured: bool) -> bool:
    """Tell whether a run is shorter compiled: with captured steps, if there are many of them."""
    return not captured or steps >= STEPS_ON_A_GPU


def _repeated_layers(model: PreTrainedModel) -> list[torch.nn.Module]:
    """Return the layers of a decoder, or an empty list if the model keeps them in another way."""
    count = getattr(model.config, "num_hidden_layers", None)
    lists = (module for module in model.modules() if isinstance(module, torch.nn.ModuleList))
    return next((list(layers) for layers in lists if len(layers) == count), [])


@functools.cache
def can_compile() -> bool:
    """Tell whether a function of one line compiles and runs here; takes a few seconds, the first time."""
    ones = torch.ones(8, device=best_device())
    try:
        return bool(torch.compile(_double, dynamic=False)(ones).sum() == 16)
    except Exception:  # noqa: BLE001 (the errors of compilers, Triton and backends have no common base)
        return False


def _prepare_compiling() -> None:
    """Prepare for compiling a model, whatever this process compiled before.

    Dropout is drawn by torch's own kernels: a seed then draws the same mask with and without compilation,
    and on a CPU the compiled drawing is slower. Parts of a model that cannot be compiled run uncompiled.
    """
    import torch._dynamo.config  # slow to import, and most runs compile nothing
    import torch._inductor.config

    torch.compiler.reset()  # after eight models of one class, nothing more would be compiled
    torch._inductor.config.fallback_random = True
    torch._dynamo.config.suppress_errors = True


def _double(numbers: torch.Tensor) -> torch.Tensor:
    return numbers + numbers
