r"""What each completion setting contributes: trained models complete sprites that they have not learned.

    uv run pokemon-gen study eval/studies/strong.yaml source=text:FOLDER
    uv run python eval/benchmarks/completion_ablation.py eval/benchmarks/completion_ablation.yaml \
        --source text:FOLDER --checkpoints checkpoints/strong-ablation.ideas.unchanged.*/checkpoint-*

A plan (YAML) names the config to start from and the settings of each idea. The models complete two folds of
80 sprites, which must be held out from their training. The config's detector and the sharp judge are trained
without these sprites too, once; they are kept in `--work`. Dev is not used. Each model samples with a
different seed, so ± covers the variation of both models and samples. The AUC (real against completed; 0.5:
no difference) is given for each fold, because an idea that helps on one fold alone has not helped. The
other metrics are those of both folds: the PDR, and what the judge does not capture: the new colours of a
completion (not in its prompt), all colours of a completion, the diversity of the completions, and their
distance to the nearest training sprite in any orientation and hue.
"""

import contextlib
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from common import argument_parser
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
from pokemon_gen.models.checkpoints import require_trained_on
from pokemon_gen.models.loading import Checkpoint, load_checkpoint
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.stages.detector import detector as train_detector
from pokemon_gen.stages.judge import judge as train_judge
from pokemon_gen.study.measures import TWO_FOLDS, two_folds

METRICS = (
    "AUC, fold 1",
    "AUC, fold 2",
    "PDR",
    "new colours",
    "colours",
    "diversity",
    "nearest train distance",
)


def measure(
    folds: Sequence[NDArray[np.int64]], truth: Sequence[NDArray[np.int64]], judge: Judge, sprites: Sprites
) -> tuple[float, ...]:
    """Return the metrics of one model's completions of both folds, in the order of `METRICS`."""
    completed = np.concatenate(folds)
    return (
        *(judge.compare(*sides, paired=True).auc for sides in zip(folds, truth, strict=True)),
        judge.evaluate(completed).rate,
        new_colours(completed),
        float(np.mean([len(np.unique(row[PROMPT_LENGTH:])) for row in completed])),
        mean_pairwise_distance(completed),
        float(nearest_train_distance(completed, sprites.tokens("train"), sprites.palette).mean()),
    )


def table_row(name: str, models: list[tuple[float, ...]]) -> str:
    """Return a row of a Markdown table: mean ± standard deviation over the models."""

    def cell(values: tuple[float, ...]) -> str:
        mean = f"{statistics.mean(values):.3f}"
        return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean

    return f"| {name} | {' | '.join(cell(values) for values in zip(*models, strict=True))} |"


def load_model(folder: Path, sprites: Sprites) -> Checkpoint:
    """Load a checkpoint, and check that the held-out sprites were not in its training."""
    require_trained_on(folder, sprites.origin)
    checkpoint = load_checkpoint(folder)
    if load_sprites_of(checkpoint.settings.sprites).fold_rows != sprites.fold_rows:
        raise PokemonGenError(
            f"{folder}: this checkpoint was trained on sprites of these folds. Train one with {TWO_FOLDS}."
        )
    return checkpoint


def main() -> None:
    """Complete with every model and the settings of every idea, and print the table."""
    parser = argument_parser(__doc__)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--source", default="procedural")
    parser.add_argument("--checkpoints", nargs="+", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("eval/results/completion_ablation"))
    options = parser.parse_args()
    plan = yaml.safe_load(options.plan.read_text())
    fold = [f"sprites.source={absolute_source(options.source)}", *TWO_FOLDS]
    ideas: dict[str, Settings] = {
        idea: load_settings(plan["config"], [*(overrides or []), *fold])
        for idea, overrides in plan["ideas"].items()
    }
    first = next(iter(ideas.values()))
    sprites = load_sprites_of(first.sprites)
    models = [load_model(folder, sprites).model for folder in options.checkpoints]
    work = options.work / sprites.fingerprint
    work.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(work):
        detector = load_detector(train_detector(first, sprites).folder.parent)
        judge = Judge.load(train_judge(first.sprites.source, fold[1:], sharp=True).folder)
    print(f"{describe_machine()}; {len(models)} models; judge {judge.fingerprint}")
    print(f"| | {' | '.join(METRICS)} |\n|{' --- |' * (1 + len(METRICS))}", flush=True)
    truth = two_folds(sprites)
    print(table_row("real sprites", [measure(truth, truth, judge, sprites)]))
    for idea, settings in ideas.items():
        measured = []
        for seed, model in enumerate(models):
            completion = settings.completion.model_copy(update={"seed": seed})
            completed = [
                complete_best(model, fold[:, :PROMPT_LENGTH], completion, detector) for fold in truth
            ]
            measured.append(measure(completed, truth, judge, sprites))
        print(table_row(idea, measured), flush=True)


if __name__ == "__main__":
    main()
