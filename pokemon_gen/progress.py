"""The progress of a run: the number of the current stage, and an estimate of the remaining time.

A training's duration follows from its own speed once it runs. The durations of the other stages are
estimated from their settings, with times measured for `quick` on two otherwise idle CPU cores, of which a
GPU takes a share. The estimate is then scaled by the ratio of actual to expected time in the stages so far.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from pokemon_gen.settings import DetectorSettings, GeneratorSettings, Settings

_log = logging.getLogger(__name__)
SECONDS_A_GENERATOR_STEP = 0.1
"""Seconds for one optimizer step of a very small generator."""
SECONDS_A_WEIGHT = 3e-7
"""Seconds that a step takes more for each weight of a square hidden matrix in each layer, and each sprite."""
SECONDS_A_COMPLETED_ROUND = 8.0
"""Seconds for a generator of the default size to complete its fold of train once."""
SECONDS_A_CLASSIFIER_STEP = 0.06
"""Seconds for one optimizer step of a detector's classifier."""
SECONDS_TO_MEASURE = 0.5
"""Seconds to measure the likelihood of dev under one checkpoint."""
SECONDS_TO_COMPARE = 2.5
"""Seconds to rank one checkpoint by the detector, with one completion of each prompt."""
SECONDS_TO_COMPLETE = 4.0
"""Seconds for one model to complete the prompts of a split, with four candidates each."""
SECONDS_TO_SCORE = 12.0
"""Seconds to compute a scorecard without FID, in addition to the completions of dev."""
SECONDS_TO_REPORT = 12.0
"""Seconds to write a report, in addition to the completions of dev."""
SECONDS_OF_FID = 150.0
"""Seconds to compute FID."""
SECONDS_TO_START = 15.0
"""Seconds to import everything and to load the sprites."""
STEP_OF_QUICK = 0.1
"""Seconds for one optimizer step of `quick` where these times hold: the Cascade Lake took 0.17, and 1.7 times
as long for its detector (`LOG.md`)."""
SHARE_ON_A_GPU = 0.1
"""The share of these times that an NVIDIA GPU is expected to take: an H200 takes 0.05 of them for `strong`'s
detector (`LOG.md`)."""
CHECKPOINTS_EXPECTED = 5
"""Typical number of checkpoints that a run chooses from."""


class RunProgress:
    """The stages of a run, with the time that each has taken or is expected to take."""

    def __init__(
        self, stages: Mapping[str, float | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Store the plan of the stages.

        Args:
            stages: title of each stage → the seconds it is expected to take, in order. None stands for a
                training: it takes as long as the previous training, and its duration is unknown before
                the first one.
            clock: returns the current time in seconds.
        """
        self.stages, self.clock = dict(stages), clock
        self.current: str | None = None
        self.begun = 0.0
        self.taken: dict[str, float] = {}

    def begin(self, title: str) -> None:
        """Begin a stage, and log its number and the remaining time."""
        if self.current is not None:
            self.taken[self.current] = self.clock() - self.begun
        self.current, self.begun = title, self.clock()
        number = list(self.stages).index(title) + 1
        seconds = self._remaining(including=title)
        remaining = "" if seconds is None else f" (about {show_seconds(seconds)} left in all)"
        _log.info("stage %d of %d: %s%s", number, len(self.stages), title, remaining)

    def left_after(self, training: float) -> float:
        """Return the seconds from the end of the current stage, a training, to the end of the run.

        Args:
            training: the seconds that this training takes; later trainings are expected to take as long.
        """
        return self._remaining(training=training) or 0.0

    def _remaining(self, including: str | None = None, training: float | None = None) -> float | None:
        """Return the seconds of the remaining stages, or None if the duration of one is unknown.

        Args:
            including: the current stage, to count it too.
            training: the seconds that a training takes. By default, as long as the last one took.
        """
        titles = list(self.stages)
        start = titles.index(str(self.current)) + (including is None)
        trainings = [title for title in self.taken if self.stages[title] is None]
        if training is None and trainings:
            training = self.taken[trainings[-1]]
        seconds = 0.0
        for title in titles[start:]:
            expected = self.stages[title]
            if expected is None and training is None:
                return None
            seconds += training or 0.0 if expected is None else expected * self._slowness()
        return seconds

    def _slowness(self) -> float:
        """Return the ratio of actual to expected time in the stages so far.

        A stage that took less than a tenth of its time does not count: an earlier run had finished it.
        """
        expected = {title: self.stages[title] or 0.0 for title in self.taken}
        measured = [title for title, seconds in expected.items() if self.taken[title] > 0.1 * seconds > 0]
        if not measured:
            return 1.0
        return sum(self.taken[title] for title in measured) / sum(expected[title] for title in measured)


def show_seconds(seconds: float) -> str:
    """Return a duration, rounded as an estimate should be: `40 s`, `3 min`, `2 h 10 min`."""
    if seconds < 55:
        return f"{max(5, 5 * round(seconds / 5))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def detector_seconds(settings: DetectorSettings) -> float:
    """Return the approximate seconds that the training of a detector takes on two CPU cores."""
    classifier = settings.classifier
    generators = sum(_generator_seconds(kind) for kind in settings.generators)
    return generators + classifier.networks * classifier.steps * SECONDS_A_CLASSIFIER_STEP


def _generator_seconds(kind: GeneratorSettings) -> float:
    """Return the approximate seconds that the generators of one kind take to train and to complete."""
    step, default = _step_seconds(kind), _step_seconds(GeneratorSettings())
    rounds = len(kind.snapshot_steps) * len(kind.temperatures) * kind.share
    # Drawing a token reads the weights, but computes little.
    completing = rounds * SECONDS_A_COMPLETED_ROUND * (step / default) ** 0.5
    return kind.folds * (kind.snapshot_steps[-1] * step + completing)


def _step_seconds(kind: GeneratorSettings) -> float:
    """Return the approximate seconds of a generator's optimizer step."""
    fields: Mapping[str, Any] = kind.model
    width = fields.get("hidden_size") or fields.get("n_embd") or 64
    layers = fields.get("num_hidden_layers") or fields.get("n_layer") or 2
    return SECONDS_A_GENERATOR_STEP + SECONDS_A_WEIGHT * kind.batch_size * layers * width**2


def stage_seconds(settings: Settings, detector: bool, fid: bool) -> dict[str, float]:
    """Return the stages after the training, and the approximate seconds of each on two CPU cores.

    Args:
        settings: of the run.
        detector: whether the run needs one.
        fid: whether FID is computed.
    """
    completing = SECONDS_TO_COMPLETE * settings.members
    checkpoints = CHECKPOINTS_EXPECTED * settings.members
    select_each = SECONDS_TO_MEASURE if settings.selection.by == "nll" else SECONDS_TO_COMPARE
    stages = {"detector": detector_seconds(settings.detector)} if detector else {}
    return stages | {
        "select": checkpoints * select_each,
        "submit": completing,
        "score": SECONDS_TO_SCORE + completing + (SECONDS_OF_FID if fid else 0.0),
        "report": SECONDS_TO_REPORT + completing,
    }
