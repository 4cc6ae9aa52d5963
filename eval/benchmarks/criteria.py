"""What a checkpoint should be chosen by: each criterion's rank correlation with the judge's verdict.

    uv run python eval/benchmarks/criteria.py text:../shared/sprites/text \
        checkpoints/bench-llama-text-seed0 checkpoints/bench-gpt2-sample-text-seed2 --every 4

Every checkpoint completes the dev prompts; detector, distance in its features, NLL, training loss and
accuracy are set beside the judge's mean probability and detection rate on the same completions. Signs are
turned so that +1 is a criterion that ranks as the judge does. What each would have chosen is printed with the
judge's verdict on it. The judge is only asked here, in a study of criteria, and by no run.
"""

import argparse
from pathlib import Path

from machine import describe_machine
from scipy import stats

from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.constants import PROMPT_LENGTH
from pokemon_gen.discriminator.classifier import Classifier
from pokemon_gen.discriminator.detector import detector_for
from pokemon_gen.discriminator.judge import Judge, JudgeResult, find_judge
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.selection import HIGHER_IS_BETTER, CheckpointMetrics, measure_checkpoint
from pokemon_gen.sprites.loading import Sprites, load_sprites
from pokemon_gen.stages.detector import detector as train_detector

CRITERIA = ("detector", "distance", "nll", "train_loss", "accuracy")


def follow(
    run: Path, sprites: Sprites, detector: Classifier, judge: Judge, every: int
) -> list[tuple[CheckpointMetrics, JudgeResult]]:
    """Measure a run's checkpoints, the last and every so many before it."""
    dev = sprites.tokens("dev")
    found = []
    for folder in valid_checkpoints(run)[::-1][::every][::-1]:
        checkpoint = load_checkpoint(folder)
        completed = complete_prompts(checkpoint.model, dev[:, :PROMPT_LENGTH], checkpoint.settings.completion)
        figures = measure_checkpoint(checkpoint, completed, dev, detector, None)
        found.append((figures, judge.evaluate(completed)))
        values = " ".join(f"{name} {getattr(figures, name):.4f}" for name in CRITERIA)
        result = found[-1][1]
        print(f"{folder.name}: {values}; judge {result.mean_probability:.3f}, PDR {result.rate:.3f}")
    return found


def study(run: Path, found: list[tuple[CheckpointMetrics, JudgeResult]]) -> None:
    """Print the correlations, and what each criterion would have chosen."""
    print(f"{run.name}, {len(found)} checkpoints: Spearman with the judge's mean probability, with its PDR")
    judged = [result.mean_probability for _, result in found]
    rates = [result.rate for _, result in found]
    for name in CRITERIA:
        sign = 1 if name in HIGHER_IS_BETTER else -1
        values = [sign * getattr(figures, name) for figures, _ in found]
        with_mean, with_rate = (stats.spearmanr(values, side).statistic for side in (judged, rates))
        chosen = max(range(len(values)), key=values.__getitem__)
        best = found[chosen][0]
        print(f"  {name:<11} {with_mean:+.3f} {with_rate:+.3f}; chooses step {best.step}: "
              f"judge {judged[chosen]:.3f}, PDR {rates[chosen]:.3f}, NLL {best.nll:.4f}")  # fmt: skip
    print(f"  highest: judge {max(judged):.3f}, PDR {max(rates):.3f}")


def main() -> None:
    """Study every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--every", type=int, default=1, help="of a run of more than 20 checkpoints")
    parser.add_argument("--detector-seed", type=int, default=0)
    options = parser.parse_args()
    print(describe_machine())
    sprites = load_sprites(options.source)
    overrides = [f"name=criteria-{options.detector_seed}", f"sprites.source={options.source}"]
    settings = load_settings("llama", [*overrides, f"detector.seed={options.detector_seed}"])
    trained = train_detector(settings, sprites)
    detector, judge = detector_for(trained.folder.parent, sprites), find_judge(sprites)
    if detector is None or isinstance(judge, str):
        raise SystemExit(f"train the judge first: pokemon-gen judge {options.source}")
    for run in options.runs:
        every = options.every if len(valid_checkpoints(run)) > 20 else 1
        study(run, follow(run, sprites, detector, judge, every))


if __name__ == "__main__":
    main()
