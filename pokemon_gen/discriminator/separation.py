"""How well scores separate real sprites from others: AUC, preferred pairs and rates, with 95 % intervals.

AUC is the probability that a real sprite gets a higher score than another one; at 0.5 the scores do not
distinguish them. It needs no threshold, so it can still show differences where nearly everything passes one.
Real and completed sprites of the same prompts are not independent: a sprite with a strange prompt gets low
scores with all its completions. The interval takes that into account.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.report.plots import calibration_bins

CONFIDENCE = 0.95
"""The confidence level of the intervals."""
LEAST_VARIANCE = 1e-9
"""The variance of an AUC below which it comes from rounding: scores that are all equal or all ordered."""
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Separation:
    """How well the scores of real sprites are separated from those of others.

    Attributes:
        auc: the probability that a real sprite gets the higher score, where equal scores count half.
        interval: the 95 % interval of the AUC.
        preferred: the share of prompts whose real sprite gets the higher score; None if the sprites have
            other prompts.
        preferred_interval: Wilson's 95 % interval of this share, where all others of a prompt are one trial.
    """

    auc: float
    interval: tuple[float, float]
    preferred: float | None
    preferred_interval: tuple[float, float] | None


def separation(real: Scores, others: Scores, prompts: NDArray[np.int64] | None) -> Separation:
    """Compare the scores of real sprites with those of others.

    The interval of the AUC is that of clustered data (Obuchowski 1997, "Nonparametric analysis of clustered
    ROC curve data"), on the scale of log-odds. A cluster is a real sprite with all others of its prompt; if
    every sprite is a cluster, the interval is DeLong's (DeLong et al. 1988).

    Args:
        real: (N,) scores of real sprites.
        others: (M,) scores of other sprites.
        prompts: (M,) the real sprite, 0 to N - 1, that has the prompt of each other sprite; None if no
            prompts are shared.

    Raises:
        PokemonGenError: for fewer than two sprites in either.
    """
    n, m = len(real), len(others)
    if min(n, m) < 2:
        raise PokemonGenError(f"an AUC needs two or more sprites of either kind, not {n} real and {m} others")
    wins = (real[:, None] > others) + 0.5 * (real[:, None] == others)  # (N, M)
    area = float(wins.mean())
    of_real, of_others = (wins.mean(1) - area) / n, (wins.mean(0) - area) / m
    if prompts is None:
        variance = sum(_variance_of_sum(parts) for parts in (of_real, of_others))
    else:
        variance = _variance_of_sum(of_real + np.bincount(prompts, of_others, minlength=n))
    interval = _interval_of_share(area, variance, min(n, m))
    if prompts is None:
        return Separation(area, interval, None, None)
    preferred = float(wins[prompts, np.arange(m)].mean())
    trials = len(np.unique(prompts))
    return Separation(area, interval, preferred, wilson_interval(preferred * trials, trials))


def _variance_of_sum(clusters: Scores) -> float:
    """Return the variance of the sum of clusters, (C,), whose values are independent of each other."""
    return float(clusters.var(ddof=1) * len(clusters))


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of the share of successes (Wilson 1927), which may be halves."""
    z = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))
    share = successes / trials
    centre = share + z**2 / (2 * trials)
    margin = z * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    width = 1 + z**2 / trials
    low = 0.0 if successes == 0 else float((centre - margin) / width)  # rounding would give -1e-17
    high = 1.0 if successes == trials else float((centre + margin) / width)
    return low, high


def calibration_error(probabilities: Scores, labels: NDArray[np.int64]) -> float:
    """Return the expected calibration error (Guo et al. 2017), where real and other sprites weigh the same.

    Args:
        probabilities: (N,) predicted probabilities of being real.
        labels: (N,) 1 for real sprites, 0 for others.
    """
    _, real, probability = calibration_bins(probabilities, labels)
    return float(np.abs(real - probability).sum())


def _interval_of_share(share: float, variance: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of an AUC from its variance; without any variance, by Wilson's formula."""
    if not 0 < share < 1 or variance < LEAST_VARIANCE:
        return wilson_interval(share * count, count)
    z = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))
    centre, error = special.logit(share), np.sqrt(variance) / (share * (1 - share))
    low, high = special.expit([centre - z * error, centre + z * error])
    return float(low), float(high)
