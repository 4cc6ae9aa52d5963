"""Whether this machine can compile a model: `torch.compile` needs a C++ compiler, or a GPU with Triton.

Compilation fuses the small operations between matrix products, which makes a step of a small model up to a
quarter shorter (`LOG.md`). Where nothing can be compiled, `torch.compile` fails at the first step, after a
minute, with pages of traceback; a config that asks for it must still run there.
"""

import functools

import torch

from pokemon_gen.models.devices import best_device


@functools.cache
def can_compile() -> bool:
    """Tell whether a function of one line compiles and runs here; takes a few seconds, the first time."""
    ones = torch.ones(8, device=best_device())
    try:
        return bool(torch.compile(_double, dynamic=False)(ones).sum() == 16)
    except Exception:  # noqa: BLE001 (the errors of compilers, Triton and backends have no common base)
        return False


def prepare_compiling() -> None:
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
