"""What each idea is worth: a config with and without it, the same training time, several seeds.

    cd eval/benchmarks; uv run python ablation.py ablation.yaml --source text:../../../shared/sprites/text

A YAML names the config to start from, the seconds of training, and each idea's settings. First the cost of
a step of each is measured, in rounds one after another (the median of a round, of the fastest round); then
each gets the steps that fill the seconds, so that what else the machine does changes no figure. Compiling,
dev and saving are not counted. Train's last 80 sprites are held out and measured once, at the end; dev is not
touched.

Every figure is written down as soon as it is there (`--out`), and what is there is not trained again.
"""

import argparse
import contextlib
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import yaml
from machine import describe_machine
from training_runs import StepSeconds, absolute_source

from pokemon_gen.config_files import load_settings
from pokemon_gen.files import write_json
from pokemon_gen.models import load_checkpoint, true_completion_nll
from pokemon_gen.runs import log_history, whole_checkpoints
from pokemon_gen.settings import Settings
from pokemon_gen.sprites import load_sprites
from pokemon_gen.sprites.collection import FOLD
from pokemon_gen.training import train

HELD_OUT = 80
WARM_UP = 6
"""Steps before those whose time is taken: the first ones compile and fill caches."""
MEASURED = 16


def settings_of(plan: dict[str, Any], idea: str, source: str, seed: int, steps: int) -> Settings:
    """Make the settings of one training."""
    quiet = [
        "members=1",
        "training.eval_strategy=no",
        "training.save_strategy=steps",
        "training.save_steps=1.0",
        "training.disable_tqdm=true",
        "training.report_to=none",
    ]
    run = [
        f"sprites.source={source}",
        f"sprites.held_out={HELD_OUT}",
        f"seed={seed}",
        f"training.max_steps={steps}",
    ]
    return load_settings(
        plan["config"], [*plan.get("always", []), *quiet, *run, *(plan["ideas"][idea] or [])]
    )


def cost_of_a_step(settings: Settings) -> float:
    """Return the seconds of a step, the median of some."""
    watch = StepSeconds()
    train(settings, callbacks=[watch])
    return statistics.median(watch.seconds[WARM_UP:])


def costs_of(plan: dict[str, Any], source: str, rounds: int) -> dict[str, float]:
    """Return the seconds of a step of every idea, those of its fastest round."""
    found: dict[str, list[float]] = {idea: [] for idea in plan["ideas"]}
    for number in range(rounds):
        for idea in found if number % 2 else reversed(found):
            with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
                found[idea].append(cost_of_a_step(settings_of(plan, idea, source, 0, WARM_UP + MEASURED)))
            print(f"a step of {idea}: {found[idea][-1]:.3f} s", flush=True)
    return {idea: min(seconds) for idea, seconds in found.items()}


def learn(settings: Settings) -> dict[str, float]:
    """Train, and return the training loss of the end and the held-out NLL of the completion, nats/token."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        checkpoint = whole_checkpoints(train(settings).folder)[-1]
        losses = [entry["loss"] for entry in log_history(checkpoint) if "loss" in entry]
        sprites = load_sprites(**settings.sprites.model_dump())
        held_out = true_completion_nll(load_checkpoint(checkpoint).model, sprites.tokens(FOLD))
    return {"train": losses[-1], "held_out": held_out}


def table(plan: dict[str, Any], found: dict[str, Any], seeds: list[int]) -> str:
    """Return what is there as Markdown: mean ± standard deviation over the seeds."""
    lines = [
        "| idea | s a step | steps | train | held out, each seed | mean ± std |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for idea in plan["ideas"]:
        runs = [
            found["runs"][f"{idea}, seed {seed}"] for seed in seeds if f"{idea}, seed {seed}" in found["runs"]
        ]
        if not runs:
            continue
        nlls = [run["held_out"] for run in runs]
        spread = f"{statistics.mean(nlls):.4f} ± {statistics.stdev(nlls):.4f}" if len(nlls) > 1 else "–"
        trained = statistics.mean(run["train"] for run in runs)
        each = ", ".join(f"{nll:.4f}" for nll in nlls)
        cost, steps = found["costs"][idea], found["steps"][idea]
        lines.append(f"| {idea} | {cost:.3f} | {steps} | {trained:.3f} | {each} | {spread} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--source", default="generated")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, help="where the figures go (eval/results/PLAN.json)")
    options = parser.parse_args()
    plan = yaml.safe_load(options.plan.read_text())
    source = absolute_source(options.source)
    out = (options.out or Path("eval/results") / f"{options.plan.stem}.json").resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(out.read_text()) if out.is_file() else {"runs": {}}
    print(describe_machine())
    if "costs" not in found or set(found["costs"]) != set(plan["ideas"]):
        found["costs"] = costs_of(plan, source, options.rounds)
        found["steps"] = {idea: round(plan["seconds"] / cost) for idea, cost in found["costs"].items()}
        write_json(out, found)
    for seed in options.seeds:
        for idea in plan["ideas"]:
            key = f"{idea}, seed {seed}"
            if key not in found["runs"]:
                found["runs"][key] = learn(settings_of(plan, idea, source, seed, found["steps"][idea]))
                write_json(out, found)
                print(f"{key}: {found['runs'][key]['held_out']:.4f}", flush=True)
    print(table(plan, found, options.seeds))


if __name__ == "__main__":
    main()
