"""Builders for the tests of the scorecard: a judge with a fixed rate, bars, and a call with defaults."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pokemon_gen.discriminator.judge import Explanation, Judge, JudgeResult
from pokemon_gen.discriminator.separation import Separation, separation
from pokemon_gen.evaluation.scorecard import ScorecardInputs, make_scorecard
from pokemon_gen.palette import Palette

BASELINES = {"2026": {"simple": {"fid": 1e6, "pdr": 0.1}, "strong": {"fid": 1.0, "pdr": 0.85}}}


class FixedRateJudge(Judge):
    """A judge that passes a fixed share of any sprites, the first ones; `reasons` make it unreliable."""

    def __init__(self, share: float, palette: Palette | None = None, reasons: Sequence[str] = ()) -> None:
        self.share = share
        self.fixed_palette = palette
        self.reasons = list(reasons)

    @property
    def palette(self) -> Any:
        return self.fixed_palette

    @property
    def fingerprint(self) -> str:
        return "fixed-rate"

    @property
    def metadata(self) -> dict[str, Any]:
        sets = {"noisy completion": (1.0, 0.0), "splice": (0.9, 0.2), "cut to white": (1.0, 0.1)}
        entries = [{"negative_type": name, "auc": a, "passing": p} for name, (a, p) in sets.items()]
        return {"negative_types": entries, "dev_passing": 0.9, "train": 100}

    @property
    def failures(self) -> list[str]:
        return self.reasons

    def compare(self, sprites: Any, real: Any, paired: bool) -> Separation:
        """Compare by the sum of the tokens."""
        prompts = np.arange(len(sprites)) if paired else None
        return separation(real.sum(1).astype(float), sprites.sum(1).astype(float), prompts)

    def features(self, sprites: Any) -> Any:
        return sprites[:, 240:].astype(float)

    def explain(self, sprites: Any) -> Explanation:
        count = len(sprites)
        return Explanation(np.arange(count), np.arange(count) < self.share * count, np.ones((count, 20, 20)))

    def evaluate(self, sprites: Any) -> JudgeResult:
        passed = np.arange(len(sprites)) < self.share * len(sprites)
        return JudgeResult(passed, float(passed.mean()), 0.7, 0.9, 0.5, self.fingerprint)


def scorecard_of(inputs: ScorecardInputs, **metadata: Any) -> dict[str, Any]:
    """Return the scorecard with `BASELINES`; keywords add metadata."""
    return make_scorecard(inputs, BASELINES, {"name": "x", "other_data": False, **metadata})
