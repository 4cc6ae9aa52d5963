"""What a new user waits for: a fresh clone, its packages, `pokemon-gen run`, and the tests.

    python eval/benchmarks/fresh_clone.py

Bars, once the packages are installed: `uv run pokemon-gen run`, from training to scorecard, takes at most
6 minutes, and `uv run pytest` at most 5 minutes.
The script needs only git and uv, so it cannot describe the machine. Run another benchmark on the same machine
for the description.
"""

import os
import subprocess
import tempfile
import time
from pathlib import Path

from common import argument_parser, outcome

ROOT = Path(__file__).parent.parent.parent
BARS = {"uv run pokemon-gen run": 360, "uv run pytest": 300}
"""Seconds that each command may take."""


def seconds(command: str, folder: str) -> float:
    """Run a command in the clone, show its output, and return its wall-clock seconds."""
    start = time.perf_counter()
    subprocess.run(command.split(), cwd=folder, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    return time.perf_counter() - start


def main() -> None:
    """Clone the last commit, measure, print, and compare with the bars."""
    argument_parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone = f"{folder}/pokemon_gen"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), clone], check=True)
        packages = seconds("uv sync --quiet", clone)
        times = {command: seconds(command, clone) for command in BARS}
    print(f"packages {packages:.0f} s")
    for command, wall_clock in times.items():
        print(f"{command}: {wall_clock:.0f} s; bar {BARS[command]} s: {outcome(wall_clock <= BARS[command])}")


if __name__ == "__main__":
    main()
