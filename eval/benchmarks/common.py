"""What all benchmarks share: the command line, the order of the rounds, and the outcome of a bar.

The module imports only the standard library, so that `fresh_clone.py` runs without the packages. It lets the
other benchmarks find this package where it is not installed.
"""

import argparse
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

Side = TypeVar("Side")
sys.path.append(str(Path(__file__).parent.parent.parent))


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser that shows a script's docstring as its help, with the line breaks kept."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def alternating_orders(sides: Iterable[Side], rounds: int) -> Iterator[list[Side]]:
    """Yield the sides of each round; every other round reverses them, so that no side is always second."""
    order = list(sides)
    for number in range(rounds):
        yield order[::-1] if number % 2 else order


def compare_rounds(numerators: Sequence[float], denominators: Sequence[float]) -> tuple[float, list[float]]:
    """Return the ratio of two sides' medians, and the ratio of each round.

    A machine can be slow for some of the rounds. The two sides of one round are close in time, so a bar asks
    that both the ratio of the medians and the median of the rounds' ratios reach it.
    """
    ratio = statistics.median(numerators) / statistics.median(denominators)
    return ratio, [a / b for a, b in zip(numerators, denominators, strict=True)]


def outcome(passed: bool) -> str:
    """Return the word for the outcome of a bar."""
    return "passed" if passed else "NOT passed"
