"""What each idea contributes: a config is trained with and without it, equally long, with several seeds.

    uv run python eval/benchmarks/ablation.py eval/benchmarks/ablation.yaml --source text:FOLDER
    uv run python eval/benchmarks/ablation.py eval/benchmarks/ablation_long.yaml --source text:FOLDER

A plan (YAML) names the config to start from, the seconds of each training, the settings that every training
gets, and the settings of each idea. Where all ideas cost about the same, the plan gives steps in place of
seconds. With seconds, the script first measures what a step of each idea costs, in alternating rounds. The
fastest step counts, because other work on the machine can only make a step slower. Each idea then gets the
steps that fill the seconds at this cost, even if its training takes longer. Compiling, evaluating and saving
are not counted. The first idea is the baseline. Two folds of 80 sprites are held out of train, and each
training is measured on both once, at its end. An idea that helps on one fold alone has not helped. Dev is not
used.

Each result is written to `--out` at once. Another call with the same plan and sprites, on the same kind of
machine, resumes from there.
"""

import argparse
import contextlib
import json
import re
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from common import alternating_orders, argument_parser
from machine import describe_machine
from training_runs import STEPS_ONLY, TWO_FOLDS, StepSeconds, absolute_source, two_folds

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.files import atomic_folder, write_json
from pokemon_gen.models.build import build_model
from pokemon_gen.models.checkpoints import log_history
from pokemon_gen.models.likelihood import true_completion_nll
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites, load_sprites_of
from pokemon_gen.training.arguments import training_arguments
from pokemon_gen.training.run import train

WARM_UP = 6
"""Number of steps before the measured ones; the first steps compile and fill caches."""
MEASURED = 16
"""Number of steps whose time is measured in each round."""
NOISE = 0.1
"""Relative difference below which the costs of two steps count as equal."""
LAST = 20
"""Number of steps at the end of a training whose mean is its training loss."""


def idea_settings(plan: dict[str, Any], idea: str, source: str, seed: int, steps: int) -> Settings:
    """Return the settings of one training of an idea."""
    fields = {**STEPS_ONLY, "logging_strategy": "steps", "logging_steps": 1, "max_steps": steps}
    fixed = [
        "members=1",
        f"sprites.source={source}",
        *TWO_FOLDS,
        f"seed={seed}",
        *(f"training.{field}={json.dumps(value)}" for field, value in fields.items()),
    ]
    return load_settings(plan["config"], [*plan.get("always", []), *(plan["ideas"][idea] or []), *fixed])


def step_cost(settings: Settings) -> float:
    """Train a few steps in a temporary folder; return the seconds of the fastest step after the warm-up."""
    watch = StepSeconds()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        train(settings, callbacks=[watch])
    return min(watch.seconds[WARM_UP:])


def step_costs(settings: dict[str, Settings], rounds: int) -> dict[str, float]:
    """Return the seconds of the fastest step of each idea in all rounds."""
    costs: dict[str, list[float]] = {idea: [] for idea in settings}
    for order in alternating_orders(settings, rounds):
        for idea in order:
            costs[idea].append(step_cost(settings[idea]))
            print(f"a step of {idea}: {costs[idea][-1]:.3f} s", flush=True)
    return {idea: min(seconds) for idea, seconds in costs.items()}


def steps_in(seconds: float, costs: dict[str, float]) -> dict[str, int]:
    """Return the steps that fill the seconds; ideas that cost about as much as the first get equal steps."""
    first = next(iter(costs.values()))
    costs = {idea: first if abs(cost / first - 1) < NOISE else cost for idea, cost in costs.items()}
    return {idea: round(seconds / cost) for idea, cost in costs.items()}


def train_and_measure(settings: Settings, folder: Path) -> dict[str, Any]:
    """Train in a folder; return the training loss of the last steps and each fold's completion NLL."""
    with contextlib.chdir(folder):
        sprites = load_sprites_of(settings.sprites)
        checkpoint = valid_checkpoints(train(settings, sprites).folder)[-1]
        losses = [entry["loss"] for entry in log_history(checkpoint) if "loss" in entry]
        model = load_checkpoint(checkpoint).model
        held_out = [true_completion_nll(model, fold) for fold in two_folds(sprites)]
    return {"train": statistics.mean(losses[-LAST:]), "held_out": held_out}


def results_table(results: dict[str, Any], steps: dict[str, int], seeds: list[int]) -> str:
    """Return the existing results as a Markdown table: mean ± standard deviation over the seeds, by fold."""
    lines = [
        "| idea | s a step | steps | train | both folds, each seed | fold 1 | fold 2 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for idea in steps:
        names = [run_name(idea, seed) for seed in seeds]
        runs = [results["runs"][name] for name in names if name in results["runs"]]
        if not runs:
            continue
        by_fold = [mean_and_spread([run["held_out"][fold] for run in runs]) for fold in range(2)]
        loss = statistics.mean(run["train"] for run in runs)
        each = ", ".join(f"{statistics.mean(run['held_out']):.4f}" for run in runs)
        cost = f"{results['costs'][idea]:.3f}" if "costs" in results else "–"
        lines.append(f"| {idea} | {cost} | {steps[idea]} | {loss:.3f} | {each} | {' | '.join(by_fold)} |")
    return "\n".join(lines)


def mean_and_spread(values: list[float]) -> str:
    """Return `mean ± standard deviation`; a single value has no deviation."""
    mean = f"{statistics.mean(values):.4f}"
    return f"{mean} ± {statistics.stdev(values):.4f}" if len(values) > 1 else mean


def run_name(idea: str, seed: int) -> str:
    """Return the name of a run in the results."""
    return f"{idea}, seed {seed}"


def kept_folder(keep: Path, name: str) -> Path:
    """Return the folder in which a run is kept."""
    return keep / re.sub(r"\W+", "-", name)


@contextlib.contextmanager
def training_folder(keep: Path | None, name: str) -> Iterator[Path]:
    """Yield an empty folder to train in: a folder that is kept, or a temporary one without `keep`."""
    if not keep:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    kept = kept_folder(keep, name)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(kept) as temporary:  # otherwise an interrupted run would look like a finished one
        temporary.mkdir()
        yield temporary


def parse_arguments() -> tuple[argparse.Namespace, dict[str, Any], Path]:
    """Return the options, the plan, and the file of the results; exit with an error for an invalid plan."""
    parser = argument_parser(__doc__)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--source", default="procedural")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=2, help="how often the cost of a step is measured")
    parser.add_argument("--out", type=Path, help="file of the results (default: eval/results/PLAN.json)")
    parser.add_argument("--keep", type=Path, help="keep the trained runs in KEEP/PLAN/IDEA-SEED")
    options = parser.parse_args()
    plan = yaml.safe_load(options.plan.read_text())
    if missing := {"config", "ideas"} - set(plan):
        parser.error(
            f"{options.plan}: {' and '.join(sorted(missing))} not set. A plan sets `config` and `ideas`."
        )
    if ("seconds" in plan) == ("steps" in plan):
        parser.error(
            f"{options.plan}: the length of the training is unclear. Set either `seconds` or `steps`."
        )
    out = (options.out or Path("eval/results") / f"{options.plan.stem}.json").resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    return options, plan, out


def load_results(out: Path, plan: dict[str, Any], sprites: Sprites, machine: str) -> dict[str, Any]:
    """Return the results of an earlier call, or empty ones.

    They hold the plan, the sprites' fingerprint, the machine, `costs` by idea, and `runs` by name. The script
    exits with an error if they are not comparable with this call.
    """
    folds = list(TWO_FOLDS)
    conditions = {"plan": plan, "sprites": sprites.fingerprint, "folds": folds, "machine": machine}
    results: dict[str, Any] = json.loads(out.read_text()) if out.is_file() else {**conditions, "runs": {}}
    if {key: results.get(key) for key in conditions} != conditions:
        raise SystemExit(
            f"{out}: the results are of another plan, other sprites, other folds or another machine. Pass "
            "another --out."
        )
    return results


def main() -> None:
    """Measure what the results lack, and print the table."""
    options, plan, out = parse_arguments()
    keep = options.keep and options.keep / options.plan.stem
    source, machine = absolute_source(options.source), describe_machine()
    sprites = load_sprites(source)
    results = load_results(out, plan, sprites, machine)
    print(machine)
    short = {idea: idea_settings(plan, idea, source, 0, WARM_UP + MEASURED) for idea in plan["ideas"]}
    for settings in short.values():  # so that invalid settings are reported before anything is measured
        training_arguments(settings, out.parent)
        build_model(settings.model, len(sprites.palette), settings.seed)
    if "steps" in plan:
        steps = dict.fromkeys(plan["ideas"], plan["steps"])
    else:
        if "costs" not in results:
            results["costs"] = step_costs(short, options.rounds)
            write_json(out, results)
        steps = steps_in(plan["seconds"], results["costs"])
    for seed in options.seeds:
        for idea in plan["ideas"]:
            name = run_name(idea, seed)
            if name not in results["runs"] or (keep and not kept_folder(keep, name).exists()):
                settings = idea_settings(plan, idea, source, seed, steps[idea])
                with training_folder(keep, name) as folder:
                    results["runs"][name] = train_and_measure(settings, folder)
                write_json(out, results)
                nlls = results["runs"][name]["held_out"]
                print(f"{name}: {nlls[0]:.4f} and {nlls[1]:.4f}", flush=True)
    print(results_table(results, steps, options.seeds))


if __name__ == "__main__":
    main()
