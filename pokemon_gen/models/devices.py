"""The device that models run on, and computing there as a CPU does.

A GPU may multiply single-precision numbers in TF32, with ten bits of mantissa. Convolutions do so by default,
which moves an Inception feature by up to 0.1 (`LOG.md`), and an FID with it. Figures that people compare must
not depend on this.
"""

import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from pokemon_gen.errors import PokemonGenError

_BACKENDS = [
    (torch.backends.cuda, "matmul"),
    (torch.backends.cudnn, "conv"),
    (torch.backends.cudnn, "rnn"),
    (torch.backends.mkldnn, "matmul"),
    (torch.backends.mkldnn, "conv"),
    (torch.backends.mkldnn, "rnn"),
]
"""What multiplies single-precision numbers: GPUs may use TF32 for it, and some CPUs bf16."""


def best_device() -> torch.device:
    """Return the accelerator if there is one, else the CPU."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")


def cpu_name() -> str:
    """Return the model of the CPU and, on Linux, the instructions that torch uses on it."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return platform.processor() or platform.machine()
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    model_name = next((line for line in lines if line.startswith("model name")), ":")
    return f"{model_name.split(':')[1].strip()} ({torch.backends.cpu.get_cpu_capability()})"


def describe_memory(device: torch.device) -> str:
    """Return the size of a GPU's memory and what is free, with what to do if another process holds it."""
    if device.type != "cuda":
        return f"the memory of {device.type}"
    free, total = (number / 2**30 for number in torch.cuda.mem_get_info(device))
    return f"the GPU's memory ({total:.1f} GiB; {free:.1f} GiB free; `nvidia-smi` shows who holds the rest)"


def to_best_device(model: PreTrainedModel, what: str) -> PreTrainedModel:
    """Move a model to the accelerator if there is one.

    Args:
        model: to move.
        what: names it in errors.

    Raises:
        PokemonGenError: if it does not fit in memory.
    """
    device = best_device()
    try:
        moved: PreTrainedModel = model.to(device)
    except torch.OutOfMemoryError as error:
        raise PokemonGenError(
            f"{what}: it does not fit in {describe_memory(device)}. End other processes, or use the CPU "
            "(CUDA_VISIBLE_DEVICES=)."
        ) from error
    return moved


@contextmanager
def full_fp32(device: torch.device) -> Iterator[None]:
    """Compute in full single precision on a device, whatever the process has set or is in the middle of."""
    with ExitStack() as stack:
        stack.enter_context(torch.autocast(device.type, enabled=False))
        for parent, name in _BACKENDS:
            stack.enter_context(_full_precision(getattr(parent, name, None)))
        if not hasattr(torch.backends.cudnn, "conv"):  # before torch 2.9
            stack.enter_context(_older_full_precision())
        yield


@contextmanager
def _full_precision(operation: Any) -> Iterator[None]:
    """Let one kind of operation multiply in full precision (torch 2.9 and later)."""
    if not hasattr(operation, "fp32_precision"):
        yield
        return
    before = operation.fp32_precision
    operation.fp32_precision = "ieee"
    try:
        yield
    finally:
        operation.fp32_precision = before


@contextmanager
def _older_full_precision() -> Iterator[None]:
    """Let matrix products and convolutions multiply in full precision."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
