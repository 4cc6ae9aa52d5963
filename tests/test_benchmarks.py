"""Short forms of the benchmarks that try to break the package: kills, and breaks that tests must notice."""

import os
import subprocess
import sys

import pytest

from tests.builders import ROOT

pytestmark = pytest.mark.slow


def run_benchmark(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a benchmark in a process of its own."""
    command = [sys.executable, str(ROOT / "eval/benchmarks" / name), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_a_run_that_is_killed_twice_ends_as_one_that_is_not() -> None:
    done = run_benchmark("kills.py", "--kills", "2")
    assert done.returncode == 0, done.stderr
    assert "2 kills" in done.stdout
    assert "0 faults" in done.stdout


def test_the_tests_notice_a_break_and_every_break_fits_the_code() -> None:
    """A break of the form of a submission, whose tests are fast."""
    done = run_benchmark("mutations.py", "more than 400 tokens")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 breaks were caught" in done.stdout
