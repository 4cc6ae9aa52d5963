"""A description of the machine, which every benchmark prints, because times depend on it."""

import os
import platform
from pathlib import Path

import torch
import transformers


def describe_machine() -> str:
    """Return one line: the CPU, its cores, torch's threads, the GPU if there is one, and the versions."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{_cpu_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads{gpu}; Python "
        f"{platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}"
    )


def _cpu_name() -> str:
    """Return the model of the CPU and, on Linux, the instructions that torch uses on it."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return platform.processor() or platform.machine()
    lines = cpuinfo.read_text().splitlines()
    model_name = next((line for line in lines if line.startswith("model name")), ":")
    return f"{model_name.split(':')[1].strip()} ({torch.backends.cpu.get_cpu_capability()})"
