r"""Whether the sharp judge can tell: its AUC on corrupted dev sprites, and on completions of many models.

    uv run python eval/benchmarks/judge_quality.py text:FOLDER --sample checkpoints/gpt2-sample \
        --runs checkpoints/mistral checkpoints/fast checkpoints/strong

The runs are those of the shipped configs, worst first. Each completes the dev prompts with its chosen
checkpoint, one draw each, and once more as its config says (the best of several, ranked by its detector).
Three judges with seeds of their own are trained, which takes up to an hour each; those in `--work` are
reused. For each judge, a table has the AUC with its 95 % interval, the share of prompts whose real completion
is preferred, the PDR, the mean distance of the completions to the nearest training sprite (any orientation,
any hue), their diversity, and their new colours (not in the prompt). Bars:

- The AUC is at least 0.99 for noise and one colour, 0.95 for rows of the prompt that are mirrored or tiled,
  0.93 for the sample's greedy completions, and 0.88 for splices.
- Each run has a lower AUC than the one before it.
- The judges' AUCs differ by at most 0.03 in each set.
- The last run has an AUC of at most 0.62 with the completion settings of its config.
"""

import contextlib
import itertools
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from common import argument_parser, outcome
from machine import describe_machine
from numpy.typing import NDArray
from training_runs import absolute_source

from pokemon_gen.completion.reranking import complete_best
from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.discriminator.detector import ranking
from pokemon_gen.discriminator.judge import Judge
from pokemon_gen.evaluation.memorisation import nearest_train_distance
from pokemon_gen.evaluation.pixels import mean_pairwise_distance, new_colours
from pokemon_gen.models.checkpoints import require_trained_on
from pokemon_gen.models.choice import resolve_checkpoint
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites
from pokemon_gen.stages.judge import judge as train_judge

SEEDS = 3
LEAST_AUC = {
    "noisy completion": 0.99,
    "one colour": 0.99,
    "mirrored rows": 0.95,
    "tiled rows": 0.95,
    "splice": 0.88,
    "sample": 0.93,
}
"""The bar of each set."""
COLUMNS = (
    "completions of dev", "AUC", "real preferred", "PDR", "nearest train distance", "diversity", "new colours"
)  # fmt: skip
LARGEST_SPREAD = 0.03
MOST_AUC_OF_BEST = 0.62


def complete_runs(sample: Path, runs: list[Path], sprites: Sprites) -> dict[str, NDArray[np.int64]]:
    """Return the dev completions of the sample, and of each run: one draw, and as its config says."""
    prompts = sprites.prompts("dev")
    model = load_checkpoint(resolve_checkpoint(valid_checkpoints(sample)[-1])).model
    completed = {"sample": complete_prompts(model, prompts)}
    for run in runs:
        checkpoint = load_checkpoint(resolve_checkpoint(run))
        require_trained_on(checkpoint.folder, sprites.origin)
        completion, detector = ranking(checkpoint, checkpoint.settings.completion)
        completed[run.name] = complete_prompts(checkpoint.model, prompts, completion)
        if detector:
            best = complete_best(checkpoint.model, prompts, completion, detector)
            completed[f"{run.name}, best of {completion.candidates}"] = best
    return completed


def measure(
    judge: Judge, completed: Mapping[str, NDArray[np.int64]], dev: NDArray[np.int64]
) -> dict[str, float]:
    """Return the AUC of each set: those of the judge's examination, and the completions."""
    found = {entry["negative_type"]: float(entry["auc"]) for entry in judge.metadata["negative_types"]}
    return found | {name: judge.compare(rows, dev, paired=True).auc for name, rows in completed.items()}


def print_table(judge: Judge, completed: Mapping[str, NDArray[np.int64]], sprites: Sprites) -> None:
    """Print a Markdown table of what one judge, and metrics without a judge, say of each set."""
    dev, train = sprites.tokens("dev"), sprites.tokens("train")
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for name, rows in {"real dev sprites": dev, **completed}.items():
        found, result = judge.compare(rows, dev, paired=True), judge.evaluate(rows)
        nearest = nearest_train_distance(rows, train, sprites.palette).mean()
        low, high = found.interval
        print(
            f"| {name} | {found.auc:.3f} ({low:.3f} to {high:.3f}) | {found.preferred:.3f} | "
            f"{result.rate:.3f} ({result.low:.3f} to {result.high:.3f}) | {nearest:.3f} | "
            f"{mean_pairwise_distance(rows):.3f} | {new_colours(rows):.2f} |",
            flush=True,
        )


def main() -> None:
    """Train the judges that are missing, print their AUCs, and compare them with the bars."""
    parser = argument_parser(__doc__)
    parser.add_argument("source")
    parser.add_argument("--sample", type=Path, required=True)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--work", type=Path, default=Path("eval/results/judge_quality"))
    options = parser.parse_args()
    print(describe_machine())
    source = absolute_source(options.source)
    sprites = load_sprites(source)
    completed = complete_runs(options.sample, options.runs, sprites)
    aucs = []
    for seed in range(options.seeds):
        work = options.work / f"seed-{seed}"
        work.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        with contextlib.chdir(work):
            made = train_judge(source, [f"judge.seed={2000 + seed}"], sprites=sprites, sharp=True)
            judge = Judge.load(made.folder)
        minutes = "existed" if made.kept else f"{(time.monotonic() - begun) / 60:.1f} min"
        print(
            f"judge {judge.fingerprint}, seed {seed}: {minutes}; {judge.failures or 'reliable'}", flush=True
        )
        print_table(judge, completed, sprites)
        aucs.append(measure(judge, completed, sprites.tokens("dev")))
    compare_with_bars(aucs, [run.name for run in options.runs])


def compare_with_bars(aucs: list[dict[str, float]], runs: list[str]) -> None:
    """Print the AUC of each set by each judge, and the outcome of each bar."""
    for name in aucs[0]:
        values = [auc[name] for auc in aucs]
        spread = max(values) - min(values)
        line = f"{name}: {', '.join(f'{value:.3f}' for value in values)}; spread {spread:.3f} "
        line += outcome(spread <= LARGEST_SPREAD)
        if name in LEAST_AUC:
            line += f"; bar {LEAST_AUC[name]} {outcome(min(values) >= LEAST_AUC[name])}"
        print(line)
    for worse, better in itertools.pairwise(runs):
        print(f"{worse} > {better}: {outcome(all(auc[worse] > auc[better] for auc in aucs))}")
    best = next((name for name in aucs[0] if name.startswith(f"{runs[-1]}, best of")), runs[-1])
    most = max(auc[best] for auc in aucs)
    print(f"{best}: at most {most:.3f}, bar {MOST_AUC_OF_BEST}: {outcome(most <= MOST_AUC_OF_BEST)}")


if __name__ == "__main__":
    main()
