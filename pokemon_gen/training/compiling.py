"""Whether this machine can compile a model: `torch.compile` needs a C++ compiler, or a GPU and Triton.

Compiled, the small operations between products of matrices are fused, and a step of a small model is up to a
quarter shorter (`LOG.md`). Where nothing can be compiled `torch.compile` fails at the first step, after
a minute, with pages of trace; a config that asks for it must run there all the same.
"""

import functools

import torch

from pokemon_gen.models.loading import best_device


@functools.cache
def can_compile() -> bool:
    """Tell whether a function of one line compiles here and runs; takes a few seconds, the first time."""
    ones = torch.ones(8, device=best_device())
    try:
        return bool(torch.compile(_twice, dynamic=False)(ones).sum() == 16)
    except Exception:  # the compiler's, Triton's and the backend's own errors have nothing in common
        return False


def prepare_compiling() -> None:
    """Make ready for a model that is to be compiled, whatever was compiled before in this process.

    Dropout is drawn by torch's own kernels: then a seed draws the same, compiled or not, and on a CPU the
    compiled drawing is slower. What of a model cannot be compiled runs as it is, without a word.
    """
    import torch._dynamo.config  # slow to load, and most runs compile nothing
    import torch._inductor.config

    torch.compiler.reset()  # after eight models of one class nothing more would be compiled
    torch._inductor.config.fallback_random = True
    torch._dynamo.config.suppress_errors = True


def _twice(numbers: torch.Tensor) -> torch.Tensor:
    return numbers + numbers
