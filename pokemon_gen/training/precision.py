"""Which number format to train in: what the hardware does natively, or what is measured faster.

bf16 only where it is native: an older GPU emulates it, slower than fp32. A T4 has fp16. CPUs differ so
much (AMX, AVX-512 BF16, neither) that a short measurement with the run's own model decides.
"""

import time

import torch
from transformers import PreTrainedModel

from pokemon_gen.constants import LENGTH

FASTER_BY = 1.1
"""bf16 must win by this factor on a CPU, so that noise does not decide between equals."""
ROUNDS = 2
"""Measured steps of each format, alternating; the fastest counts."""

SPRITES = 2
"""Sprites in a measured step: enough to tell, and about a second in all."""


def choose_precision(model: PreTrainedModel, on_cpu: bool = False) -> dict[str, bool]:
    """Return `bf16` and `fp16` for `TrainingArguments`; both false is fp32.

    Args:
        model: the one to be trained; its weights, gradients and random state are left as they are.
        on_cpu: train on the CPU also where there is a GPU.
    """
    if torch.cuda.is_available() and not on_cpu:
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return {"bf16": bf16, "fp16": not bf16}
    if torch.accelerator.is_available() and not on_cpu:
        return {"bf16": False, "fp16": False}  # Apple's and others: fp32 is always right
    return {"bf16": bf16_speedup(model) >= FASTER_BY, "fp16": False}


def can_fp16() -> bool:
    """Tell whether a run in fp16 can be trained here: it needs a GPU."""
    return torch.accelerator.is_available()


def bf16_speedup(model: PreTrainedModel) -> float:
    """Return how many times faster a bf16 forward and backward is on this CPU than one in fp32."""
    tokens = torch.arange(SPRITES * LENGTH).reshape(SPRITES, LENGTH) % model.config.vocab_size
    seconds: dict[bool, list[float]] = {False: [], True: []}
    with torch.random.fork_rng(devices=[]):
        for _ in range(ROUNDS + 1):
            for bf16, times in seconds.items():
                start = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    loss = model(input_ids=tokens, labels=tokens).loss
                loss.backward()
                times.append(time.perf_counter() - start)
    model.zero_grad(set_to_none=True)
    # The first round of each warms up.
    return min(seconds[False][1:]) / min(seconds[True][1:])
