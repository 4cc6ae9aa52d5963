"""What a figure was measured on: without it a figure says nothing."""

import os
import platform
from pathlib import Path

import torch
import transformers


def describe_machine() -> str:
    """Return one line: CPU, cores used, GPU if there is one, versions."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{_cpu_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads{gpu}; Python "
        f"{platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}"
    )


def _cpu_name() -> str:
    facts = Path("/proc/cpuinfo")
    if not facts.is_file():
        return platform.processor() or platform.machine()
    name = next((line for line in facts.read_text().splitlines() if line.startswith("model name")), ":")
    extra = torch.backends.cpu.get_cpu_capability()
    return f"{name.split(':')[1].strip()} ({extra})"
