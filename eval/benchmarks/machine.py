"""A description of the machine, which every benchmark prints, because times depend on it."""

import os
import platform

import torch
import transformers

from pokemon_gen.models.devices import cpu_name


def describe_machine() -> str:
    """Return one line: the CPU, its cores, torch's threads, the GPU if there is one, and the versions."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{cpu_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads{gpu}; Python "
        f"{platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}"
    )
