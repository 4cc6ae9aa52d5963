r"""Which criterion should choose a checkpoint: the rank correlation of each criterion with the judge.

    uv run python eval/benchmarks/criteria.py text:FOLDER \
        checkpoints/bench-llama-text-seed0 checkpoints/bench-gpt2-sample-text-seed2 --every 4

Every checkpoint completes the dev prompts. The criteria are the detector, the Fréchet distance in its
features, the NLL, the training loss and the pixel accuracy. The script correlates them with the judge's mean
probability and detection rate (PDR) on the same completions. Signs are chosen so that +1 means that a
criterion ranks as the judge does. The script also prints which checkpoint each criterion would choose, and
the judge's result for it. Only this study compares criteria with the judge; no run uses the judge to choose.
"""

from pathlib import Path

from common import argument_parser
from machine import describe_machine
from scipy import stats

from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.constants import PROMPT_LENGTH
from pokemon_gen.discriminator.classifier import Classifier
from pokemon_gen.discriminator.detector import load_detector
from pokemon_gen.discriminator.judge import Judge, JudgeResult, find_judge
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.selection import HIGHER_IS_BETTER, CheckpointMetrics, measure_checkpoint
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites
from pokemon_gen.stages.detector import detector as train_detector

CRITERIA = ("detector", "distance", "nll", "train_loss", "accuracy")
HIGHER = HIGHER_IS_BETTER | {"accuracy"}
"""The criteria whose higher values are better; accuracy is studied here and is not a criterion of a run."""


def measure_run(
    run: Path, sprites: Sprites, detector: Classifier, judge: Judge, every: int
) -> list[tuple[CheckpointMetrics, JudgeResult]]:
    """Measure every `every`-th checkpoint of a run, counted back from the last one, in the order of steps."""
    dev = sprites.tokens("dev")
    measured = []
    for folder in valid_checkpoints(run)[::-1][::every][::-1]:
        checkpoint = load_checkpoint(folder)
        completed = complete_prompts(checkpoint.model, dev[:, :PROMPT_LENGTH], checkpoint.settings.completion)
        metrics = measure_checkpoint(checkpoint, completed, dev, detector, None)
        result = judge.evaluate(completed)
        measured.append((metrics, result))
        values = " ".join(f"{name} {getattr(metrics, name):.4f}" for name in CRITERIA)
        print(f"{folder.name}: {values}; judge {result.mean_probability:.3f}, PDR {result.rate:.3f}")
    return measured


def study(run: Path, measured: list[tuple[CheckpointMetrics, JudgeResult]]) -> None:
    """Print the correlations, and the checkpoint that each criterion would choose."""
    print(
        f"{run.name}, {len(measured)} checkpoints: Spearman's correlation with the judge's mean probability "
        "and with its PDR"
    )
    probabilities = [result.mean_probability for _, result in measured]
    rates = [result.rate for _, result in measured]
    for name in CRITERIA:
        sign = 1 if name in HIGHER else -1
        values = [sign * getattr(metrics, name) for metrics, _ in measured]
        with_mean, with_rate = (stats.spearmanr(values, side).statistic for side in (probabilities, rates))
        chosen = max(range(len(values)), key=values.__getitem__)
        best = measured[chosen][0]
        print(f"  {name:<11} {with_mean:+.3f} {with_rate:+.3f}; chooses step {best.step}: "
              f"judge {probabilities[chosen]:.3f}, PDR {rates[chosen]:.3f}, NLL {best.nll:.4f}")  # fmt: skip
    print(f"  highest: judge {max(probabilities):.3f}, PDR {max(rates):.3f}")


def main() -> None:
    """Study every run."""
    parser = argument_parser(__doc__)
    parser.add_argument("source")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument(
        "--every", type=int, default=1, help="measure every EVERY-th checkpoint of runs with more than 20"
    )
    parser.add_argument("--detector-seed", type=int, default=0)
    options = parser.parse_args()
    print(describe_machine())
    sprites = load_sprites(options.source)
    overrides = [f"name=criteria-{options.detector_seed}", f"sprites.source={options.source}"]
    settings = load_settings("llama", [*overrides, f"detector.seed={options.detector_seed}"])
    trained = train_detector(settings, sprites)
    detector, judge = load_detector(trained.folder.parent), find_judge(sprites)
    if isinstance(judge, str):
        raise SystemExit(judge)  # the reason, with the command that trains the judge
    for run in options.runs:
        every = options.every if len(valid_checkpoints(run)) > 20 else 1
        study(run, measure_run(run, sprites, detector, judge, every))


if __name__ == "__main__":
    main()
