"""How soon a config is as good as the homework's sample, and how much better in the end.

    uv run python eval/benchmarks/time_to_quality.py fast strong --source text:../shared/sprites/text
    uv run python eval/benchmarks/time_to_quality.py fast,training.max_steps=280 fast --keep FOLDER

Trains `gpt2-sample`, then each config, in one process on one machine. Two times are told. That of the
optimizer steps alone (compiling counted) leaves out measuring dev, at each epoch of the sample and every 20
steps of a config of one member, and saving; on a GPU, a step is over when its kernels are. The other counts
everything, from making the first model to the last checkpoint. Configs of several members are judged by it
alone; they measure dev as their config says. The mark is the dev NLL of the completion that the sample has at
the end of its own epochs. Runs go to folders of their own, since a run that went on would not have all its
time measured; `--keep` leaves them there, for the judge's comparison and others.

Bars: as good as the sample at least 8 times sooner; 0.25 nats/token below it in no more than its own time
(steps on both sides); 0.32 below in no more than 4 times its steps' time, everything counted.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import describe_machine
from training_runs import StepSeconds, absolute_source

from pokemon_gen.config_files import load_settings
from pokemon_gen.models import load_checkpoint, true_completion_nll
from pokemon_gen.pipeline import train_members
from pokemon_gen.runs import whole_checkpoints
from pokemon_gen.sprites import load_sprites
from pokemon_gen.stages.assembling import assemble
from pokemon_gen.training import train

SAMPLE = "gpt2-sample"
BARS = (
    "as good as the sample 8 times sooner",
    "0.25 below it in its own time",
    "0.32 below it in 4 times its time, everything counted",
)


@dataclass(frozen=True)
class Moment:
    """An evaluation: seconds of training before it, optimizer steps, and what dev said."""

    seconds: float
    step: int
    nll: float


class Stopwatch(StepSeconds):
    """Notes, too, what each evaluation finds."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[Moment] = []

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **kwargs: Any) -> None:
        """Note the dev NLL of the completion."""
        self.moments.append(Moment(sum(self.seconds), state.global_step, metrics["eval_completion_nll"]))


@dataclass(frozen=True)
class Measured:
    """A config's training: its moments, and the seconds of everything."""

    config: str
    moments: list[Moment]
    seconds: float


def measure(config: str, source: str, seed: int, keep: Path | None) -> Measured:
    """Train a config, perhaps followed by `,SETTING=VALUE`s, to its end, all members of it."""
    name, *overrides = config.split(",")
    overrides = [f"sprites.source={source}", f"seed={seed}", "training.disable_tqdm=true", *overrides]
    settings = load_settings(name, overrides)
    if settings.members == 1 and name != SAMPLE:  # epochs are long for what is over in a minute
        overrides += ["training.eval_strategy=steps", "training.eval_steps=20"]
        settings = load_settings(name, overrides)
    begun = time.perf_counter()
    with _folder_for(f"{settings.name}-seed{seed}", keep) as folder, contextlib.chdir(folder):
        if settings.members == 1:
            watch = Stopwatch()
            train(settings, callbacks=[watch])
            return Measured(config, watch.moments, time.perf_counter() - begun)
        trainings = train_members(settings)
        seconds = time.perf_counter() - begun
        # The last, as of the sample: what dev has chosen would be flattered by dev.
        last = [whole_checkpoints(training.folder)[-1] for training in trainings]
        best = assemble(settings.name, last, settings=settings).folder
        nll = true_completion_nll(load_checkpoint(best).model, load_sprites(source).tokens("dev"))
        steps = sum(training.step for training in trainings)
        return Measured(config, [Moment(seconds, steps, nll)], seconds)


@contextlib.contextmanager
def _folder_for(run: str, keep: Path | None) -> Iterator[Path]:
    """Give a new folder: one of `keep`, numbered in the order of the runs, or one that is thrown away."""
    if keep:
        folder = keep / f"{sum(1 for _ in keep.iterdir())}-{run}"
        folder.mkdir()
        yield folder
    else:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)


def report(run: Measured, mark: Moment) -> dict[str, bool]:
    """Print when a config reached the mark and where it ended; return the bars that it passes."""
    end = run.moments[-1]
    below = mark.nll - end.nll
    print(
        f"{run.config}: {end.nll:.4f} at the end, {below:.4f} below the sample, after {end.step} steps; "
        f"{end.seconds:.0f} s, {end.seconds / mark.seconds:.2f} of the sample's ({run.seconds:.0f} s with "
        f"all, {run.seconds / mark.seconds:.2f})"
    )
    passed = {
        BARS[1]: end.seconds <= mark.seconds and below >= 0.25,
        BARS[2]: run.seconds <= 4 * mark.seconds and below >= 0.32,
    }
    reached = next((moment for moment in run.moments if moment.nll <= mark.nll), None)
    if reached:
        sooner = mark.seconds / reached.seconds
        print(
            f"{run.config}: as good as the sample ({reached.nll:.4f}) after {reached.seconds:.0f} s "
            f"({reached.step} steps): {sooner:.1f} times sooner"
        )
        passed[BARS[0]] = sooner >= 8
    return passed


def main() -> None:
    """Train the sample and each config, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("configs", nargs="+", help="CONFIG or CONFIG,SETTING=VALUE,...")
    parser.add_argument("--source", default="generated")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--keep", type=Path, help="a folder that is not there yet")
    options = parser.parse_args()
    if options.keep:
        options.keep = options.keep.resolve()
        if options.keep.exists():
            parser.error(f"--keep {options.keep}: is there already")
        options.keep.mkdir(parents=True)
    source = absolute_source(options.source)
    print(describe_machine())
    for seed in options.seeds:
        mark = measure(SAMPLE, source, seed, options.keep).moments[-1]
        print(
            f"seed {seed}: {SAMPLE}: {mark.nll:.4f} after {mark.seconds:.0f} s ({mark.step} steps)",
            flush=True,
        )
        passed: dict[str, list[str]] = {bar: [] for bar in BARS}
        for config in options.configs:
            for bar, has_passed in report(measure(config, source, seed, options.keep), mark).items():
                passed[bar] += [config] if has_passed else []
            sys.stdout.flush()
        for bar, configs in passed.items():
            print(f"seed {seed}: {bar}: {'passed by ' + ' and '.join(configs) if configs else 'NOT passed'}")


if __name__ == "__main__":
    main()
