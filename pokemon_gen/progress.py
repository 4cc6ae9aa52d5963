"""Where a run stands: which stage of how many, and about how long is left in all.

How long a training takes is known once it has begun, from its own steps. What the other stages take is
expected from their settings, as measured with `quick` on two calm CPU cores, and corrected by what those
before them took.
"""

import logging
import time
from collections.abc import Callable, Mapping

from pokemon_gen.settings import DetectorSettings

_log = logging.getLogger(__name__)
SECONDS_A_GENERATOR_STEP = 0.13
SECONDS_A_COMPLETED_ROUND = 8.0
"""Each time a generator completes its part of train."""
SECONDS_A_CLASSIFIER_STEP = 0.06
SECONDS_TO_MEASURE = 0.5
"""The likelihood of dev under a checkpoint."""
SECONDS_TO_COMPARE = 2.5
"""A checkpoint by the detector: one completion of each prompt."""
SECONDS_TO_COMPLETE = 4.0
"""The prompts of a split, four candidates each, by one model."""
SECONDS_TO_SCORE = 12.0
"""Beside completing dev; without FID."""
SECONDS_OF_FID = 150.0
CHECKPOINTS_EXPECTED = 5
"""Checkpoints of a run to choose among, about."""


class RunProgress:
    """Counts the stages of a run, and says at each how long is left."""

    def __init__(
        self, stages: Mapping[str, float | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Know what is ahead.

        Args:
            stages: each stage's title, in order, and the seconds it is expected to take; None: as long as
                those with None before it, which is not known before one has been done.
            clock: tells the seconds.
        """
        self.stages, self.clock = dict(stages), clock
        self.current: str | None = None
        self.begun = 0.0
        self.taken: dict[str, float] = {}

    def begin(self, title: str) -> None:
        """Begin a stage, and log where the run stands."""
        if self.current is not None:
            self.taken[self.current] = self.clock() - self.begun
        self.current, self.begun = title, self.clock()
        number = list(self.stages).index(title) + 1
        left = self._ahead(including=title)
        known = "" if left is None else f" (about {show_seconds(left)} left in all)"
        _log.info("stage %d of %d: %s%s", number, len(self.stages), title, known)

    def left_after(self, training: float) -> float:
        """Return the seconds that are left after the running stage, a training that takes so many in all."""
        return self._ahead(training=training) or 0.0

    def _ahead(self, including: str | None = None, training: float | None = None) -> float | None:
        """Return the seconds of the stages ahead; None if one is not known yet."""
        titles = list(self.stages)
        start = titles.index(str(self.current)) + (including is None)
        unmeasured = [title for title in self.taken if self.stages[title] is None]
        if training is None and unmeasured:
            training = self.taken[unmeasured[-1]]
        seconds = 0.0
        for title in titles[start:]:
            expected = self.stages[title]
            if expected is None and training is None:
                return None
            seconds += training or 0.0 if expected is None else expected * self._slowness()
        return seconds

    def _slowness(self) -> float:
        """Return how much longer the stages so far took than was expected; those done before do not count."""
        expected = {title: self.stages[title] or 0.0 for title in self.taken}
        done = [title for title, seconds in expected.items() if self.taken[title] > 0.1 * seconds > 0]
        return (
            sum(self.taken[title] for title in done) / sum(expected[title] for title in done) if done else 1.0
        )


def show_seconds(seconds: float) -> str:
    """Return a time in words that promise no more than an estimate can: `40 s`, `3 min`, `2 h 10 min`."""
    if seconds < 55:
        return f"{max(5, 5 * round(seconds / 5))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def detector_seconds(settings: DetectorSettings) -> float:
    """Return the seconds that a detector's training takes on two CPU cores, about."""
    generator = settings.generator
    rounds = generator.folds * len(generator.snapshot_steps) * generator.share
    return (
        generator.folds * generator.snapshot_steps[-1] * SECONDS_A_GENERATOR_STEP
        + rounds * SECONDS_A_COMPLETED_ROUND
        + settings.classifier.steps * SECONDS_A_CLASSIFIER_STEP
    )
