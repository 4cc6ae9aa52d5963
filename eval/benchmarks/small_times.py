"""Waits that recur many times a day: checking a submission, and drawing the procedural sprites.

    uv run python eval/benchmarks/small_times.py

Bars: `pokemon-gen check` takes less than 0.5 s of CPU; drawing 792 sprites takes less than 3 s.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import argument_parser, outcome
from machine import describe_machine

from pokemon_gen.constants import PROMPT_LENGTH
from pokemon_gen.sprites.procedural import draw_sprites
from pokemon_gen.submission import write

ROUNDS = 9


def check_cpu_seconds(file: Path) -> float:
    """Return the CPU seconds, user and system, of one `pokemon-gen check`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "pokemon_gen", "check", str(file)], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def drawing_seconds() -> float:
    """Return the wall-clock seconds of drawing the procedural sprites once."""
    start = time.perf_counter()
    draw_sprites()
    return time.perf_counter() - start


def main() -> None:
    """Measure, print, and compare with the bars."""
    argument_parser(__doc__).parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "good.txt"
        sprites = np.random.default_rng(0).integers(0, 167, (80, 400))
        write(file, sprites, sprites[:, :PROMPT_LENGTH], 167, {})
        checking = [check_cpu_seconds(file) for _ in range(ROUNDS)]
    drawing = [drawing_seconds() for _ in range(ROUNDS)]
    for name, times, bar in (("check, CPU", checking, 0.5), ("792 sprites", drawing, 3.0)):
        median = statistics.median(times)
        print(
            f"{name}: median {median:.2f} s (min {min(times):.2f}, max {max(times):.2f}, {ROUNDS} rounds); "
            f"bar {bar} s: {outcome(median < bar)}"
        )


if __name__ == "__main__":
    main()
