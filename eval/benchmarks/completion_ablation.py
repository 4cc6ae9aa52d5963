"""What each part of a way of completing is worth: several trained models, and sprites that nobody learned.

    uv run python eval/benchmarks/ablation.py eval/benchmarks/ablation_strong.yaml \
        --source text:FOLDER --keep KEPT
    uv run python eval/benchmarks/completion_ablation.py eval/benchmarks/completion_ablation.yaml \
        --source text:FOLDER --checkpoints KEPT/ablation_strong/all-of-it-*/checkpoints/strong/checkpoint-*

A YAML names the config to start from and each idea's settings. The models complete train's last 80 sprites,
which they must not have learned; detector and judge are trained without them too (once; they are kept in
`--work`). Each model draws with a seed of its own, so that ± tells of models and draws together. Nothing
here is of dev. Beside the judge's figures stand those that it does not see: colours that a prompt has not,
all colours of a completion, how varied completions are, and how far from the nearest of train, any way up.
"""

import argparse
import contextlib
import statistics
from pathlib import Path

import numpy as np
import yaml
from ablation import HELD_OUT
from machine import describe_machine
from numpy.typing import NDArray
from training_runs import absolute_source

from pokemon_gen.completion.reranking import complete_best
from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.constants import PROMPT_LENGTH
from pokemon_gen.discriminator.detector import load_detector
from pokemon_gen.discriminator.judge import Judge
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.memorisation import nearest_train_distance
from pokemon_gen.evaluation.pixels import mean_pairwise_distance, new_colours
from pokemon_gen.models.loading import Checkpoint, load_checkpoint, require_trained_on
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import FOLD, Sprites
from pokemon_gen.sprites.loading import load_sprites
from pokemon_gen.stages.detector import detector as train_detector
from pokemon_gen.stages.judge import judge as train_judge

FIGURES = ("mean probability", "PDR", "new colours", "colours", "diversity", "nearest of train")


def figures(made: NDArray[np.int64], judge: Judge, sprites: Sprites) -> tuple[float, ...]:
    """Return the figures of one model's completions, (N, 400), in the order of `FIGURES`."""
    result = judge.evaluate(made)
    return (
        result.mean_probability,
        result.rate,
        new_colours(made),
        float(np.mean([len(np.unique(one[PROMPT_LENGTH:])) for one in made])),
        mean_pairwise_distance(made),
        float(nearest_train_distance(made, sprites.tokens("train"), sprites.palette).mean()),
    )


def row(name: str, found: list[tuple[float, ...]]) -> str:
    """Return a row of a Markdown table: mean ± standard deviation over the models."""

    def cell(values: tuple[float, ...]) -> str:
        mean = f"{statistics.mean(values):.3f}"
        return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean

    return f"| {name} | {' | '.join(cell(values) for values in zip(*found, strict=True))} |"


def load_model(folder: Path, sprites: Sprites) -> Checkpoint:
    """Load a checkpoint that has not learned the sprites to be completed."""
    require_trained_on(folder, sprites)
    checkpoint = load_checkpoint(folder)
    if checkpoint.settings.sprites.fold_size < HELD_OUT:
        raise PokemonGenError(f"{folder}: was trained on the fold too; it needs sprites.fold_size={HELD_OUT}")
    return checkpoint


def main() -> None:
    """Complete in every way by every model, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--source", default="procedural")
    parser.add_argument("--checkpoints", nargs="+", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("eval/results/completion_ablation"))
    options = parser.parse_args()
    plan = yaml.safe_load(options.plan.read_text())
    fold = [f"sprites.source={absolute_source(options.source)}", f"sprites.fold_size={HELD_OUT}"]
    ways: dict[str, Settings] = {
        idea: load_settings(plan["config"], [*(changes or []), *fold])
        for idea, changes in plan["ideas"].items()
    }
    first = next(iter(ways.values()))
    sprites = load_sprites(**first.sprites.model_dump())
    models = [load_model(folder, sprites).model for folder in options.checkpoints]
    work = options.work / sprites.fingerprint
    work.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(work):
        detector = load_detector(train_detector(first, sprites).folder.parent)
        judge = Judge.load(train_judge(first.sprites.source, fold[1:]).folder)
    print(f"{describe_machine()}; {len(models)} models; judge {judge.fingerprint}")
    print(f"| | {' | '.join(FIGURES)} |\n|{' --- |' * (1 + len(FIGURES))}", flush=True)
    truth = sprites.tokens(FOLD)
    print(row("the real sprites", [figures(truth, judge, sprites)]))
    for idea, settings in ways.items():
        found = []
        for seed, model in enumerate(models):
            how = settings.completion.model_copy(update={"seed": seed})
            made = complete_best(model, truth[:, :PROMPT_LENGTH], how, detector)
            found.append(figures(made, judge, sprites))
        print(row(idea, found), flush=True)


if __name__ == "__main__":
    main()
