"""What each idea is worth: a config with and without it, the same training time or steps, several seeds.

    uv run python eval/benchmarks/ablation.py eval/benchmarks/ablation.yaml --source text:FOLDER
    uv run python eval/benchmarks/ablation.py eval/benchmarks/ablation_long.yaml --source text:FOLDER

A YAML names the config to start from, the seconds of training (or its steps, where ideas cost about the
same), what is set always, and each idea's settings. For seconds, the cost of a step of each is measured
first, in rounds one after another (the fastest step of all: what else a machine does only ever adds); then
each gets the steps that fill the seconds, however long they take. The first idea is what the others are
compared with. Compiling, dev and saving are not counted. Train's last 80 sprites are held out and measured
once, at the end; dev is not touched.

Every figure is written down as soon as it is there (`--out`); called again with the same plan and sprites,
on the same kind of machine, it goes on from there.
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
from machine import describe_machine
from training_runs import StepSeconds, absolute_source

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.files import atomic_folder, write_json
from pokemon_gen.models.build import build_model
from pokemon_gen.models.checkpoints import log_history
from pokemon_gen.models.likelihood import true_completion_nll
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import FOLD
from pokemon_gen.sprites.loading import load_sprites
from pokemon_gen.training.arguments import training_arguments
from pokemon_gen.training.run import train

HELD_OUT = 80
WARM_UP = 6
"""Steps before those whose time is taken: the first ones compile and fill caches."""
MEASURED = 16
NOISE = 0.1
"""Steps whose costs differ by a smaller share than this are taken to cost the same."""
LAST = 20
"""Steps at the end whose mean is the training loss."""


def settings_of(plan: dict[str, Any], idea: str, source: str, seed: int, steps: int) -> Settings:
    """Make the settings of one training."""
    quiet = [
        "members=1",
        "training.eval_strategy=no",
        "training.save_strategy=steps",
        "training.save_steps=1000000",  # none but the last
        "training.logging_strategy=steps",
        "training.logging_steps=1",
        "training.disable_tqdm=true",
        "training.report_to=none",
    ]
    run = [
        f"sprites.source={source}",
        f"sprites.fold_size={HELD_OUT}",
        f"seed={seed}",
        f"training.max_steps={steps}",
    ]
    return load_settings(
        plan["config"], [*plan.get("always", []), *(plan["ideas"][idea] or []), *quiet, *run]
    )


def cost_of_a_step(settings: Settings) -> float:
    """Return the seconds of the fastest of some steps."""
    watch = StepSeconds()
    train(settings, callbacks=[watch])
    return min(watch.seconds[WARM_UP:])


def costs_of(settings: dict[str, Settings], rounds: int) -> dict[str, float]:
    """Return the seconds of a step of every idea, the fastest of all rounds."""
    found: dict[str, list[float]] = {idea: [] for idea in settings}
    for number in range(rounds):
        for idea in found if number % 2 else reversed(found):
            with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
                found[idea].append(cost_of_a_step(settings[idea]))
            print(f"a step of {idea}: {found[idea][-1]:.3f} s", flush=True)
    return {idea: min(seconds) for idea, seconds in found.items()}


def steps_of(costs: dict[str, float], seconds: float) -> dict[str, int]:
    """Return the steps that fill the seconds; what costs about as much as the first idea gets as many."""
    first = next(iter(costs.values()))
    alike = {idea: first if abs(cost / first - 1) < NOISE else cost for idea, cost in costs.items()}
    return {idea: round(seconds / cost) for idea, cost in alike.items()}


def learn(settings: Settings, folder: Path) -> dict[str, float]:
    """Train in a folder; return the last steps' training loss and the held-out NLL of the completion."""
    with contextlib.chdir(folder):
        sprites = load_sprites(**settings.sprites.model_dump())
        checkpoint = valid_checkpoints(train(settings, sprites).folder)[-1]
        losses = [entry["loss"] for entry in log_history(checkpoint) if "loss" in entry]
        held_out = true_completion_nll(load_checkpoint(checkpoint).model, sprites.tokens(FOLD))
    return {"train": statistics.mean(losses[-LAST:]), "held_out": held_out}


def table(found: dict[str, Any], steps: dict[str, int], seeds: list[int]) -> str:
    """Return what is there as Markdown: mean ± standard deviation over the seeds."""
    lines = [
        "| idea | s a step | steps | train | held out, each seed | mean ± std |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for idea in steps:
        names = [name_of(idea, seed) for seed in seeds]
        runs = [found["runs"][name] for name in names if name in found["runs"]]
        if not runs:
            continue
        nlls = [run["held_out"] for run in runs]
        spread = f"{statistics.mean(nlls):.4f} ± {statistics.stdev(nlls):.4f}" if len(nlls) > 1 else "–"
        trained = statistics.mean(run["train"] for run in runs)
        each = ", ".join(f"{nll:.4f}" for nll in nlls)
        cost = f"{found['costs'][idea]:.3f}" if "costs" in found else "–"
        lines.append(f"| {idea} | {cost} | {steps[idea]} | {trained:.3f} | {each} | {spread} |")
    return "\n".join(lines)


def name_of(idea: str, seed: int) -> str:
    """Return the name of a run, under which its figures are kept."""
    return f"{idea}, seed {seed}"


def kept_as(keep: Path, name: str) -> Path:
    """Return the folder that a run of this name is kept in."""
    return keep / re.sub(r"\W+", "-", name)


@contextlib.contextmanager
def folder_of(keep: Path | None, name: str) -> Iterator[Path]:
    """Make the folder that a run is trained in: an empty one that is kept, or one for the moment."""
    if not keep:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    kept = kept_as(keep, name)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(kept) as aside:  # half a run would be taken for a whole one
        aside.mkdir()
        yield aside


def main() -> None:
    """Measure what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--source", default="procedural")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, help="where the figures go (eval/results/PLAN.json)")
    parser.add_argument("--keep", type=Path, help="where the trained runs stay: KEEP/PLAN/IDEA-SEED")
    options = parser.parse_args()
    plan = yaml.safe_load(options.plan.read_text())
    if missing := {"config", "ideas"} - set(plan):
        parser.error(f"{options.plan}: says nothing of {', '.join(sorted(missing))}")
    if ("seconds" in plan) == ("steps" in plan):
        parser.error(f"{options.plan}: say how long to train, by `seconds` or by `steps`")
    keep = options.keep and options.keep / options.plan.stem
    source, machine = absolute_source(options.source), describe_machine()
    sprites = load_sprites(source)
    out = (options.out or Path("eval/results") / f"{options.plan.stem}.json").resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    about = {"plan": plan, "sprites": sprites.fingerprint, "machine": machine}
    found = json.loads(out.read_text()) if out.is_file() else {**about, "runs": {}}
    if {key: found[key] for key in about} != about:
        parser.error(
            f"{out} holds figures of another plan, other sprites or another machine: give another --out"
        )
    print(machine)
    short = {idea: settings_of(plan, idea, source, 0, WARM_UP + MEASURED) for idea in plan["ideas"]}
    for settings in short.values():  # a mistake is told before anything is measured
        training_arguments(settings, out.parent)
        build_model(settings.model, len(sprites.palette), settings.seed)
    if "steps" in plan:
        steps = dict.fromkeys(plan["ideas"], plan["steps"])
    else:
        if "costs" not in found:
            found["costs"] = costs_of(short, options.rounds)
            write_json(out, found)
        steps = steps_of(found["costs"], plan["seconds"])
    for seed in options.seeds:
        for idea in plan["ideas"]:
            name = name_of(idea, seed)
            if name not in found["runs"] or (keep and not kept_as(keep, name).exists()):
                settings = settings_of(plan, idea, source, seed, steps[idea])
                with folder_of(keep, name) as folder:
                    found["runs"][name] = learn(settings, folder)
                write_json(out, found)
                print(f"{name}: {found['runs'][name]['held_out']:.4f}", flush=True)
    print(table(found, steps, options.seeds))


if __name__ == "__main__":
    main()
