r"""The judge's evaluation of finished runs, of the homework's sample, of real sprites, and of spliced ones.

    uv run python eval/benchmarks/judge_comparison.py text:FOLDER \
        --sample checkpoints/bench-gpt2-sample-text-seed0 --runs checkpoints/strong

Each run completes the dev prompts with its chosen checkpoint and the completion settings of its config. Bar:
a run closes at least 60 % of the gap between the sample and the real dev sprites, both in mean probability
and in PDR. A splice is a real prompt with the completion of another sprite. Intervals are 95 %: Wilson's for
rates, a bootstrap's for means. The intervals of the splices are those of one splicing of dev, because five
splicings of the same sprites do not count as five times as many sprites. The table also has the NLL of the
true completions, the mean distance of the completions to the nearest training sprite (any orientation, any
hue), their diversity, and their new colours (not in the prompt).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import argument_parser, outcome
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
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites
from pokemon_gen.stages.judge import judge as train_judge

BAR = 0.6
SPLICES = 5
"""Number of splicings of dev, so that the PDR of the splices does not depend on one shuffle."""
COLUMNS = (
    "completions", "n", "mean probability", "PDR", "NLL", "nearest train distance", "diversity", "new colours"
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """The metrics of a set of sprites; `nll` is None for sprites that no model completed."""

    name: str
    result: JudgeResult
    nll: float | None
    nearest: float
    diversity: float
    new_colours: float

    def __str__(self) -> str:
        """Return the row of the Markdown table."""
        result = self.result
        nll = "–" if self.nll is None else f"{self.nll:.4f}"
        low, high = result.mean_interval
        return (
            f"| {self.name} | {len(result.passed)} | "
            f"{result.mean_probability:.3f} ({low:.3f} to {high:.3f}) | "
            f"{result.rate:.3f} ({result.low:.3f} to {result.high:.3f}) | {nll} | "
            f"{self.nearest:.3f} | {self.diversity:.3f} | {self.new_colours:.2f} |"
        )


@dataclass(frozen=True)
class Comparison:
    """The judge, and the sprites on which everything is compared."""

    judge: Judge
    sprites: Sprites

    def measure(self, name: str, completed: NDArray[Any], nll: float | None = None, sets: int = 1) -> Row:
        """Return the metrics of completions, (N, 400), that consist of `sets` equal parts."""
        result = mean_result([self.judge.evaluate(part) for part in np.split(completed, sets)])
        distances = nearest_train_distance(completed, self.sprites.tokens("train"), self.sprites.palette)
        diversity = mean_pairwise_distance(completed)
        return Row(name, result, nll, float(distances.mean()), diversity, new_colours(completed))

    def measure_run(self, run: Path) -> Row:
        """Complete the dev prompts with the chosen checkpoint of a run, and return the metrics."""
        dev = self.sprites.tokens("dev")
        checkpoint = load_checkpoint(choose_checkpoint(run).folder)
        checkpoint.require_palette_of(self.sprites)
        require_trained_on(checkpoint.folder, self.sprites)
        completion, detector = ranking(checkpoint, checkpoint.settings.completion)
        completed = complete_best(checkpoint.model, dev[:, :PROMPT_LENGTH], completion, detector)
        return self.measure(run.name, completed, true_completion_nll(checkpoint.model, dev))

    def measure_splices(self) -> Row:
        """Splice the dev sprites `SPLICES` times, and return the metrics."""
        dev, generator = self.sprites.tokens("dev"), np.random.default_rng(0)
        splices = [splice(dev, len(self.sprites.palette), generator) for _ in range(SPLICES)]
        return self.measure("splices", np.concatenate(splices), sets=SPLICES)


def mean_result(results: Sequence[JudgeResult]) -> JudgeResult:
    """Return the mean of the judge's results, intervals included, for splicings of the same sprites."""

    def mean(field: str) -> Any:
        return np.mean([getattr(result, field) for result in results], axis=0)

    return JudgeResult(
        passed=np.concatenate([result.passed for result in results]),
        rate=mean("rate"),
        low=mean("low"),
        high=mean("high"),
        mean_probability=mean("mean_probability"),
        mean_interval=tuple(mean("mean_interval")),
        judge=results[0].judge,
    )


def closed_share(run: float, sample: float, real: float) -> float:
    """Return the share of the gap between the sample and real sprites that a run closes; NaN for no gap."""
    return (run - sample) / (real - sample) if real != sample else float("nan")


def main() -> None:
    """Evaluate all sets of sprites, print the table, and compare the runs with the bar."""
    parser = argument_parser(__doc__)
    parser.add_argument("source")
    parser.add_argument("--sample", type=Path, required=True)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    options = parser.parse_args()
    judge = Judge.load(train_judge(options.source).folder)
    comparison = Comparison(judge, load_sprites(options.source))
    print(f"{describe_machine()}; judge {judge.fingerprint}")
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    real = comparison.measure("real dev sprites", comparison.sprites.tokens("dev"))
    sample = comparison.measure_run(options.sample)
    runs = [comparison.measure_run(run) for run in options.runs]
    print(*(real, *runs, sample, comparison.measure_splices()), sep="\n")
    for run in runs:
        in_probability, in_rate = (
            closed_share(*(getattr(row.result, field) for row in (run, sample, real)))
            for field in ("mean_probability", "rate")
        )
        print(
            f"{run.name} closes {in_probability:.0%} of the gap in mean probability, {in_rate:.0%} in PDR; "
            f"bar {BAR:.0%}: {outcome(min(in_probability, in_rate) >= BAR)}"
        )


if __name__ == "__main__":
    main()
