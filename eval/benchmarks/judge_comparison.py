"""What the judge says of finished runs, beside the homework's sample, real sprites and spliced ones.

    uv run python eval/benchmarks/judge_comparison.py text:../shared/sprites/text \
        --sample checkpoints/bench-gpt2-sample-text-seed0 --runs checkpoints/strong

Each run completes the dev prompts by its chosen checkpoint, as its config says. Bar: a run closes at least
60 % of the gap between the sample and the real dev sprites, in mean probability and in PDR. Splices are
real prompts with another sprite's bottom. Intervals are 95 %: Wilson's for rates, a bootstrap's for means;
those of the splices are of one splicing of dev, since five of the same sprites are not five times the
sprites. Beside them stand the NLL of the true completions, how far completions are from the nearest of
train (any way up, any hue), how varied they are, and the colours of each that its prompt has not.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine
from numpy.typing import NDArray

from pokemon_gen.completion.reranking import complete_best
from pokemon_gen.constants import PROMPT_LENGTH
from pokemon_gen.discriminator.detector import ranking
from pokemon_gen.discriminator.judge import Judge, JudgeResult
from pokemon_gen.discriminator.negatives import splice
from pokemon_gen.evaluation.memorisation import nearest_train_distance
from pokemon_gen.evaluation.pixels import mean_pairwise_distance, new_colours
from pokemon_gen.models.choice import choose_checkpoint
from pokemon_gen.models.likelihood import true_completion_nll
from pokemon_gen.models.loading import load_checkpoint, require_trained_on
from pokemon_gen.sprites.loading import load_sprites
from pokemon_gen.stages.judge import judge as train_judge

BAR = 0.6
SPLICES = 5
"""Splicings of dev, so that their rate is no matter of one shuffle."""


@dataclass(frozen=True)
class Judged:
    """A set of sprites and what is known of it."""

    name: str
    result: JudgeResult
    nll: float | None
    nearest: float
    diversity: float
    new_colours: float

    def row(self) -> str:
        """Return a row of a Markdown table."""
        result = self.result
        nll = "–" if self.nll is None else f"{self.nll:.4f}"
        low, high = result.mean_interval
        return (
            f"| {self.name} | {len(result.passed)} | "
            f"{result.mean_probability:.3f} ({low:.3f} to {high:.3f}) | "
            f"{result.rate:.3f} ({result.low:.3f} to {result.high:.3f}) | {nll} | "
            f"{self.nearest:.3f} | {self.diversity:.3f} | {self.new_colours:.2f} |"
        )


def mean_of(results: Sequence[JudgeResult]) -> JudgeResult:
    """Return the mean of what the judge says of several splicings of the same sprites, intervals too."""

    def mean(figure: str) -> Any:
        return np.mean([getattr(result, figure) for result in results], axis=0)

    return JudgeResult(
        passed=np.concatenate([result.passed for result in results]),
        rate=mean("rate"),
        low=mean("low"),
        high=mean("high"),
        mean_probability=mean("mean_probability"),
        mean_interval=tuple(mean("mean_interval")),
        judge=results[0].judge,
    )


def closed(run: float, sample: float, real: float) -> float:
    """Return the share of the gap between the sample and the real sprites that a run closes; NaN: no gap."""
    return (run - sample) / (real - sample) if real != sample else float("nan")


def main() -> None:
    """Judge everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--sample", type=Path, required=True)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    options = parser.parse_args()
    judge = Judge.load(train_judge(options.source).folder)
    sprites = load_sprites(options.source)
    dev, train = sprites.tokens("dev"), sprites.tokens("train")

    def judged(name: str, made: NDArray[Any], nll: float | None = None, sets: int = 1) -> Judged:
        result = mean_of([judge.evaluate(part) for part in np.split(made, sets)])
        nearest = float(nearest_train_distance(made, train, sprites.palette).mean())
        return Judged(name, result, nll, nearest, mean_pairwise_distance(made), new_colours(made))

    def of_run(run: Path) -> Judged:
        checkpoint = load_checkpoint(choose_checkpoint(run).folder)
        checkpoint.require_palette_of(sprites)
        require_trained_on(checkpoint.folder, sprites)
        how = checkpoint.settings.completion
        how, detector = ranking(checkpoint, how)
        made = complete_best(checkpoint.model, dev[:, :PROMPT_LENGTH], how, detector)
        return judged(run.name, made, true_completion_nll(checkpoint.model, dev))

    generator = np.random.default_rng(0)
    splices = np.concatenate([splice(dev, len(sprites.palette), generator) for _ in range(SPLICES)])
    print(f"{describe_machine()}; judge {judge.fingerprint}")
    print("| completions | n | mean probability | PDR | NLL | nearest of train | diversity | new colours |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    real, sample = judged("real dev sprites", dev), of_run(options.sample)
    runs = [of_run(run) for run in options.runs]
    for one in (real, *runs, sample, judged("splices", splices, sets=SPLICES)):
        print(one.row())
    for run in runs:
        shares = [
            closed(*(getattr(one.result, figure) for one in (run, sample, real)))
            for figure in ("mean_probability", "rate")
        ]
        word = "passed" if min(shares) >= BAR else "MISSED"
        print(
            f"{run.name} closes {shares[0]:.0%} of the gap in mean probability and {shares[1]:.0%} in PDR; "
            f"bar {BAR:.0%}: {word}"
        )


if __name__ == "__main__":
    main()
