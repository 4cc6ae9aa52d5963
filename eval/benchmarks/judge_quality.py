r"""Whether the judge can be fooled: real dev sprites, corrupted ones, and completions of good and bad models.

    uv run python eval/benchmarks/judge_quality.py text:FOLDER \
        --sample checkpoints/bench-gpt2-sample-text-seed2 --series checkpoints/bench-llama-text-seed0

`dev_nll.py` trains these runs. Bars:

- The AUC is at least 0.99 for noise, shuffles and cuts, and at least 0.85 for splices.
- The sample's greedy completions pass less often than real dev sprites; the 95 % intervals do not overlap.
- Over the checkpoints of the series up to the lowest NLL, at least 10, Spearman's rank correlation between
  the judge's mean probability and -NLL is at least 0.8.
"""

from pathlib import Path

from common import argument_parser, outcome
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
"""The bar of each negative type."""


def show(name: str, result: JudgeResult) -> None:
    """Print the judge's evaluation of one set of sprites."""
    print(f"{name}: PDR {result.rate:.3f} ({result.low:.3f} to {result.high:.3f}), mean probability "
          f"{result.mean_probability:.3f}")  # fmt: skip


def main() -> None:
    """Train the judge if it is missing, evaluate, print, and compare with the bars."""
    parser = argument_parser(__doc__)
    parser.add_argument("source")
    parser.add_argument("--sample", type=Path, required=True)
    parser.add_argument("--series", type=Path, required=True)
    options = parser.parse_args()
    print(describe_machine())
    trained = train_judge(options.source)
    Console().print(negative_types_table(trained.metadata))
    for metrics in trained.metadata["negative_types"]:
        name, auc = metrics["negative_type"], metrics["auc"]
        if name in LEAST_AUC:
            print(f"  {name}: AUC {auc:.4f}, bar {LEAST_AUC[name]}: {outcome(auc >= LEAST_AUC[name])}")
    judge = Judge.load(trained.folder)
    dev = load_sprites(options.source).tokens("dev")

    def evaluate(checkpoint: Checkpoint, settings: CompletionSettings) -> JudgeResult:
        return judge.evaluate(complete_prompts(checkpoint.model, dev[:, :PROMPT_LENGTH], settings))

    real = judge.evaluate(dev)
    sample = evaluate(load_checkpoint(valid_checkpoints(options.sample)[-1]), CompletionSettings())
    show("real dev sprites", real)
    show(f"{options.sample.name}, greedy", sample)
    print(f"  bar: {outcome(sample.high < real.low)}")

    nlls, probabilities = [], []
    for folder in valid_checkpoints(options.series):
        checkpoint = load_checkpoint(folder)
        result = evaluate(checkpoint, checkpoint.settings.completion)
        nlls.append(true_completion_nll(checkpoint.model, dev))
        probabilities.append(result.mean_probability)
        show(f"{folder.name}, NLL {nlls[-1]:.4f}", result)
    count = nlls.index(min(nlls)) + 1  # after the lowest NLL, the model overfits
    rho = stats.spearmanr(probabilities[:count], [-nll for nll in nlls[:count]]).statistic
    passed = rho >= 0.8 and count >= 10
    print(f"Spearman over {count} checkpoints: {rho:.3f}; bar 0.8 over 10 or more: {outcome(passed)}")


if __name__ == "__main__":
    main()
