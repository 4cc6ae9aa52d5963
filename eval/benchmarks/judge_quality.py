"""Whether the judge can be fooled: real dev sprites, corrupted ones, completions of good and bad models.

    uv run python eval/benchmarks/judge_quality.py text:../shared/sprites/text \
        --sample checkpoints/bench-gpt2-sample-text-seed2 --series checkpoints/bench-llama-text-seed0

The runs are those that `dev_nll.py` leaves. Bars: AUC against noise, shuffles and cuts at least 0.99, against
splices 0.85; the sample's greedy completions pass less often than real dev sprites, by more than both 95 %
intervals; over the series' checkpoints up to the lowest NLL, Spearman's rank correlation between the judge's
mean probability and -NLL is at least 0.8.
"""

import argparse
from pathlib import Path

from machine import describe_machine
from rich.console import Console
from scipy import stats

from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.constants import PROMPT_LENGTH
from pokemon_gen.discriminator.judge import Judge, JudgeResult
from pokemon_gen.models.likelihood import true_completion_nll
from pokemon_gen.models.loading import Checkpoint, load_checkpoint
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.report.tables import negative_types_table
from pokemon_gen.settings import CompletionSettings
from pokemon_gen.sprites.loading import load_sprites
from pokemon_gen.stages.judge import judge as train_judge

LEAST_AUC = {
    "noise": 0.99,
    "pixel shuffle": 0.99,
    "block shuffle": 0.99,
    "cut to white": 0.99,
    "splice": 0.85,
}


def bar(passed: bool) -> str:
    """Return the word for a bar."""
    return "passed" if passed else "MISSED"


def show(name: str, result: JudgeResult) -> None:
    """Print the judge's evaluation of one set of sprites."""
    print(f"{name}: PDR {result.rate:.3f} ({result.low:.3f} to {result.high:.3f}), mean probability "
          f"{result.mean_probability:.3f}")  # fmt: skip


def main() -> None:
    """Train the judge if need be, and ask it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--sample", type=Path, required=True)
    parser.add_argument("--series", type=Path, required=True)
    options = parser.parse_args()
    print(describe_machine())
    made = train_judge(options.source)
    Console().print(negative_types_table(made.metadata))
    for one in made.metadata["negative_types"]:
        if one["negative_type"] in LEAST_AUC:
            least = LEAST_AUC[one["negative_type"]]
            auc = one["auc"]
            print(f"  {one['negative_type']}: AUC {auc:.4f}, bar {least}: {bar(auc >= least)}")
    judge = Judge.load(made.folder)
    dev = load_sprites(options.source).tokens("dev")

    def judged(checkpoint: Checkpoint, how: CompletionSettings) -> JudgeResult:
        return judge.evaluate(complete_prompts(checkpoint.model, dev[:, :PROMPT_LENGTH], how))

    real = judge.evaluate(dev)
    sample = judged(load_checkpoint(valid_checkpoints(options.sample)[-1]), CompletionSettings())
    show("real dev sprites", real)
    show(f"{options.sample.name}, greedy", sample)
    print(f"  bar: {bar(sample.high < real.low)}")

    nll, probability = [], []
    for folder in valid_checkpoints(options.series):
        checkpoint = load_checkpoint(folder)
        result = judged(checkpoint, checkpoint.settings.completion)
        nll.append(true_completion_nll(checkpoint.model, dev))
        probability.append(result.mean_probability)
        show(f"{folder.name}, NLL {nll[-1]:.4f}", result)
    best = nll.index(min(nll)) + 1
    rho = stats.spearmanr(probability[:best], [-value for value in nll[:best]]).statistic
    print(f"Spearman over {best} checkpoints: {rho:.3f}; bar 0.8 over 10: {bar(rho >= 0.8 and best >= 10)}")


if __name__ == "__main__":
    main()
