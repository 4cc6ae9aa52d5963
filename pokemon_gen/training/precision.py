"""Which number format to train in, by the hardware alone: the same machine always gets the same one.

bf16 is chosen only where the hardware multiplies in it: elsewhere it is emulated, slower than fp32. A GPU
without bf16, such as a T4, trains in fp32. Its fp16 multiplies eight times as fast (65 against 8 TFLOP/s),
but needs a scaled loss, whose scale is read back at each step, so that the step cannot be captured as one
CUDA graph. A step of `strong` takes about 15 ms in fp32 there by arithmetic, and launching its kernels one by
one takes longer (`LOG.md`). `training.fp16=true` still trains in fp16, which pays for larger models.

A measurement on a busy machine would choose now one format, now another. To measure once, run
`eval/benchmarks/bf16_speed.py`; `training.bf16=true` or `training.bf16=false` overrides the choice.
"""

from typing import Any

import torch


def choose_precision(on_cpu: bool = False) -> dict[str, bool]:
    """Return `bf16` and `fp16` for `TrainingArguments`; both false is fp32.

    Args:
        on_cpu: train on the CPU also where there is a GPU.
    """
    if torch.cuda.is_available() and not on_cpu:
        return {"bf16": torch.cuda.is_bf16_supported(including_emulation=False), "fp16": False}
    if torch.accelerator.is_available() and not on_cpu:
        return {"bf16": False, "fp16": False}  # Apple's and others: fp32 is always right
    return {"bf16": cpu_multiplies_bf16(), "fp16": False}


def cpu_multiplies_bf16() -> bool:
    """Tell whether this CPU has instructions for bf16 (AVX-512 BF16 or AMX), by its flags."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if capabilities:
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return torch.cpu._is_avx512_bf16_supported()  # before torch 2.12; CPUs with AMX have it too


def can_fp16() -> bool:
    """Tell whether a run in fp16 can be trained here: it needs a GPU."""
    return torch.accelerator.is_available()
