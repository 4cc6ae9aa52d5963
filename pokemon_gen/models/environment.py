"""What the last bits of a result depend on besides settings and seed: versions, processor and threads.

Sums of floating-point numbers depend on their order, and the order on all of these. So a checkpoint records
with what it was trained, and a submission with what it was completed; `pokemon-gen reproduce` compares them.
"""

import platform
from importlib.metadata import version

import torch

from pokemon_gen.models.devices import best_device, cpu_name

ENVIRONMENT_NAME = "environment.json"
"""The file of a checkpoint that says with what it was trained. Earlier versions wrote none."""
VERSIONS = ("torch", "transformers", "accelerate", "numpy")
"""The libraries whose versions change the results."""


def environment() -> dict[str, str]:
    """Return what a result of this process depends on: name → value."""
    device = best_device()
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "Python": platform.python_version(),
        **{name: version(name) for name in VERSIONS},
        "device": gpu,
        "CPU": cpu_name(),
        "threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.machine()}",
    }
