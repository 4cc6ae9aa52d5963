"""Builders for the tests of the scorecard: a judge with a fixed rate, bars, and a call with defaults."""

from typing import Any

import numpy as np

from pokemon_gen.discriminator.judge import Judge, JudgeResult
from pokemon_gen.evaluation.scorecard import ScorecardInputs, make_scorecard
from pokemon_gen.palette import Palette

BASELINES = {"2026": {"simple": {"fid": 1e6, "pdr": 0.1}, "strong": {"fid": 1.0, "pdr": 0.85}}}


class FixedRateJudge(Judge):
    """A judge that passes a fixed share of any sprites, the first ones."""

    def __init__(self, share: float, palette: Palette | None = None) -> None:
        self.share = share
        self.fixed_palette = palette

    @property
    def palette(self) -> Any:
        return self.fixed_palette

    @property
    def fingerprint(self) -> str:
        return "fixed-rate"

    def evaluate(self, sprites: Any) -> JudgeResult:
        passed = np.arange(len(sprites)) < self.share * len(sprites)
        return JudgeResult(passed, float(passed.mean()), 0.7, 0.9, 0.5, (0.4, 0.6), self.fingerprint)


def scorecard_of(inputs: ScorecardInputs, **metadata: Any) -> dict[str, Any]:
    """Return the scorecard with `BASELINES`; keywords add metadata."""
    return make_scorecard(inputs, BASELINES, {"name": "x", "other_data": False, **metadata})
