"""The examination of a detector or judge on dev sprites, before anything is measured with it.

A judge that passes noise, or that cannot tell the completions of a small model, says nothing about better
ones. So each classifier is examined on sprites that it has never seen: real ones, every negative type,
completions by its own generators, and, for a judge, completions by the homework's sample model. The
separation of each set, the share that passes the threshold, and the calibration are saved with it. A judge
that breaks one of the limits below cannot be relied on; each scorecard that uses it says so first and gives
no verdict.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pokemon_gen.constants import MEASURING_SEED
from pokemon_gen.discriminator.classifier import Classifier
from pokemon_gen.discriminator.generators import CompletedPrompts
from pokemon_gen.discriminator.negatives import (
    COMPLETIONS,
    NEGATIVE_TYPES,
    differs,
    noise_completion,
)
from pokemon_gen.discriminator.separation import calibration_error, separation, wilson_interval

SAMPLE = "sample"
"""The set of completions by the homework's sample model."""
NOISE, SPLICE = "noisy completion", "splice"
REFERENCES = (NOISE, SPLICE, SAMPLE)
"""The sets that a scorecard shows beside the completions."""
MOST_NOISE = 0.05
"""The largest share of sprites with a completion of noise that may pass a judge that can be relied on."""
MOST_SPLICES = 0.30
"""The largest share of splices that may pass."""
REAL_RATES = (0.80, 0.98)
"""The limits of the share of real dev sprites that passes; 95 % of the calibration sprites do."""
LEAST_SAMPLE_AUC = 0.90
"""The smallest AUC of real dev sprites against the completions of the homework's sample."""
DRAWS = 5
"""Corruptions of each dev sprite in the sets whose rate has a limit. With one of each of 80 sprites, chance
would decide: a rate of 25 % then has a standard deviation of 5 %."""
ENOUGH = 50
"""Dev sprites from which on their rate itself is compared with its limits. Of fewer, all may well pass a good
judge, so only the rate's interval is compared."""
CLEARLY = 0.80
"""The AUC below which a judge is said to hardly distinguish a set from real sprites."""
FEW = 60
"""The number of training sprites below which a classifier learns little more than what noise looks like."""


@dataclass(frozen=True)
class SetMetrics:
    """The metrics of a classifier on one set of sprites that are not real.

    Attributes:
        negative_type: the name of the set.
        n: the number of its sprites.
        auc: the probability that a real dev sprite gets a higher score than one of the set.
        auc_interval: the 95 % interval of the AUC.
        passing: the share of the set that passes the threshold.
    """

    negative_type: str
    n: int
    auc: float
    auc_interval: tuple[float, float]
    passing: float


@dataclass(frozen=True)
class Examination:
    """The metrics of a classifier on dev.

    Attributes:
        real_passing: the share of real dev sprites that pass the threshold; the target is 0.95.
        sets: the metrics on each set of sprites that are not real.
        calibration_error: the expected calibration error on real sprites and completions.
        probabilities: (N + M,) of the N real, then of the M completed sprites, for the calibration plot.
        labels: (N + M,) 1 for real sprites, 0 for completed ones.
    """

    real_passing: float
    sets: list[SetMetrics]
    calibration_error: float
    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]

    def as_metadata(self) -> dict[str, Any]:
        """Return the metrics as plain values for JSON."""
        return {
            "dev": int(self.labels.sum()),
            "dev_passing": self.real_passing,
            "negative_types": [asdict(metrics) for metrics in self.sets],
            "calibration_error": self.calibration_error,
        }


def examine(
    classifier: Classifier, dev: NDArray[np.int64], completions: Mapping[str, CompletedPrompts]
) -> Examination:
    """Examine a classifier on dev.

    Args:
        classifier: a detector or a judge.
        dev: (N, 400) real sprites.
        completions: of dev prompts by each kind of models, under the name of their set; `completions` by
            generators, and `sample` if there are any.
    """
    real = classifier.log_odds(dev)
    sprites_of_sets = {**_corrupted(dev, len(classifier.palette)), **completions}
    scores = {
        name: classifier.log_odds(one.sprites) for name, one in sprites_of_sets.items() if len(one.rows)
    }
    sets = []
    for name, of_set in scores.items():
        if len(of_set) < 2:
            continue  # a cut can leave all of a few sprites unchanged
        found = separation(real, of_set, sprites_of_sets[name].rows)
        passing = float(classifier.passes(of_set).mean())
        sets.append(SetMetrics(name, len(of_set), found.auc, found.interval, passing))
    probabilities = special.expit(np.concatenate([real, scores[COMPLETIONS]]))
    labels = np.repeat([1, 0], [len(real), len(scores[COMPLETIONS])])
    return Examination(
        real_passing=float(classifier.passes(real).mean()),
        sets=sets,
        calibration_error=calibration_error(probabilities, labels),
        probabilities=probabilities,
        labels=labels,
    )


def _corrupted(dev: NDArray[np.int64], palette_size: int) -> dict[str, CompletedPrompts]:
    """Return dev sprites corrupted in every way, without those that stay equal."""
    generator = np.random.default_rng(MEASURING_SEED)
    kinds = {**NEGATIVE_TYPES, NOISE: noise_completion}
    of_kinds = {}
    for name, corrupt in kinds.items():
        draws = DRAWS if name in (NOISE, SPLICE) else 1
        sprites = np.concatenate([corrupt(dev, palette_size, generator) for _ in range(draws)])
        rows = np.tile(np.arange(len(dev)), draws)
        changed = differs(sprites, dev[rows])
        of_kinds[name] = CompletedPrompts(sprites[changed], rows[changed])
    return of_kinds


def failures(metadata: Mapping[str, Any]) -> list[str]:
    """Return why a judge cannot be relied on, in words; empty for a judge that passed its examination.

    Args:
        metadata: of the judge, with the entries of `Examination.as_metadata`. A judge of an earlier version
            was not examined, which is a reason too.
    """
    sets = {entry["negative_type"]: entry for entry in metadata.get("negative_types", [])}
    if "calibration_error" not in metadata:
        return ["an earlier version did not examine it: train it again with --overwrite"]
    found = []
    for name, most in ((NOISE, MOST_NOISE), (SPLICE, MOST_SPLICES)):
        if name not in sets:
            found.append(f"there are too few dev sprites to examine it on {_PLURAL[name]}")
            continue
        passing = sets[name]["passing"]
        if passing > most:
            found.append(f"{passing:.0%} of {_PLURAL[name]} pass it (at most {most:.0%} may)")
    low, high = REAL_RATES
    rate = metadata["dev_passing"]
    at_least, at_most = wilson_interval(rate * metadata["dev"], metadata["dev"])
    if at_most < low or at_least > high or (metadata["dev"] >= ENOUGH and not low <= rate <= high):
        found.append(
            f"{rate:.0%} of {metadata['dev']} real dev sprites pass it ({low:.0%} to {high:.0%} must)"
        )
    if SAMPLE in sets and sets[SAMPLE]["auc"] < LEAST_SAMPLE_AUC:
        found.append(
            f"its AUC against the homework's sample is {sets[SAMPLE]['auc']:.2f} "
            f"(at least {LEAST_SAMPLE_AUC:.2f})"
        )
    return found


_PLURAL = {NOISE: "completions of noise", SPLICE: "splices"}


def limits(metadata: Mapping[str, Any]) -> list[str]:
    """Return what a judge tells from real sprites only badly, or was not examined on, in words."""
    similar = [
        f"{entry['negative_type']} (AUC {entry['auc']:.2f})"
        for entry in metadata.get("negative_types", [])
        if entry["auc"] < CLEARLY
    ]
    found = [f"its AUC is below {CLEARLY:.2f} for {', '.join(similar)}"] if similar else []
    if SAMPLE not in {entry["negative_type"] for entry in metadata.get("negative_types", [])}:
        found.append("it was not examined on the homework's sample")
    if not metadata.get("settings", {}).get("more_generators"):
        found.append(
            "it learned from one kind of small models; the sharp judge (`pokemon-gen judge SOURCE --sharp`) "
            "sees more in completions of models like `fast`"
        )
    if metadata.get("train", FEW) < FEW:
        found.append(few_sprites(metadata["train"]))
    return found


def few_sprites(count: int) -> str:
    """Return in words what a classifier of fewer than 60 training sprites can and cannot do."""
    return (
        f"{count} training sprites teach a classifier to tell noise and flat colours from sprites, but "
        f"hardly the completions of a good model; provide {FEW} or more for that"
    )
