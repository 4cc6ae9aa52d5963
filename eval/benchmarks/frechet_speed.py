"""Speed and agreement of our exact Fréchet distance, compared with the textbook's matrix square root.

    uv run python eval/benchmarks/frechet_speed.py

The two sides alternate in one process. Bars: our distance of 80 and 632 samples of 2048 dimensions takes less
than 100 ms, and is at least 100 times faster than `scipy.linalg.sqrtm` of the 2048 x 2048 product. Both agree
to 1e-6 where both covariances have full rank. Where the rank is lower, the square root is inaccurate, so the
two answers are only printed.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
from common import argument_parser, outcome
from machine import describe_machine
from numpy.typing import NDArray
from scipy import linalg

from pokemon_gen.evaluation.frechet import frechet_distance

ROUNDS = 3


def by_matrix_root(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the Fréchet distance by the textbook formula; (N, D), (M, D)."""
    sx, sy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.trace(linalg.sqrtm(sx @ sy)).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(sx) + np.trace(sy) - 2 * root)


def timed(function: Callable[[], float]) -> tuple[float, float]:
    """Return the result of a function and the seconds that it took."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def main() -> None:
    """Measure both sides in alternation, print, and compare with the bars."""
    argument_parser(__doc__).parse_args()
    print(describe_machine())
    generator = np.random.default_rng(0)
    x, y = generator.random((80, 2048)), generator.random((632, 2048)) + 0.1
    frechet_distance(x, y)  # the first call loads LAPACK
    exact, roots = [], []
    for _ in range(ROUNDS):
        exact.append(timed(lambda: frechet_distance(x, y)))
        roots.append(timed(lambda: by_matrix_root(x, y)))
    fast, slow = (statistics.median(seconds for _, seconds in side) for side in (exact, roots))
    print(f"80 against 632, 2048 dims: {fast * 1e3:.1f} ms; root {slow:.1f} s; {slow / fast:.0f} times")
    print(f"  answers {exact[0][0]:.6f} and {roots[0][0]:.6f} (covariances of rank 79 and 631)")
    # The means are alike and the covariances are not, so that the trace of the root determines the distance.
    x, y = generator.normal(size=(700, 256)), generator.normal(size=(900, 256))
    y = y @ generator.normal(size=(256, 256)) / 16
    by_ours, by_root = frechet_distance(x, y), by_matrix_root(x, y)
    difference = abs(by_ours - by_root) / by_root
    print(f"full rank, 256 dims: {by_ours:.8f} and {by_root:.8f}, relative difference {difference:.1e}")
    print(f"bars: {outcome(fast < 0.1 and slow / fast >= 100 and difference <= 1e-6)}")


if __name__ == "__main__":
    main()
