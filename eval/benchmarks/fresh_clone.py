"""What a newcomer waits for: a fresh clone, the packages, `pokemon-gen run`, the tests.

    python eval/benchmarks/fresh_clone.py

Bars, once the packages are there: `uv run pokemon-gen run`, from training to scorecard, at most 6 minutes;
`uv run pytest` at most 6.
Needs git and uv alone, so it describes no machine itself: run it beside a benchmark that does.
"""

import os
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def seconds(command: str, folder: str) -> float:
    """Run a command in the clone and return its wall-clock seconds; its output is shown."""
    start = time.perf_counter()
    subprocess.run(command.split(), cwd=folder, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    return time.perf_counter() - start


def main() -> None:
    """Clone what is committed, measure, print, and compare with the bars."""
    with tempfile.TemporaryDirectory() as place:
        clone = f"{place}/pokemon_gen"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), clone], check=True)
        packages = seconds("uv sync --quiet", clone)
        run = seconds("uv run pokemon-gen run", clone)
        tests = seconds("uv run pytest", clone)
    print(f"packages {packages:.0f} s")
    for name, taken, bar in (("uv run pokemon-gen run", run, 360), ("uv run pytest", tests, 360)):
        print(f"{name}: {taken:.0f} s; bar {bar} s: {'passed' if taken <= bar else 'NOT passed'}")


if __name__ == "__main__":
    main()
