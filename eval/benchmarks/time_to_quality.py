"""How soon a config is as good as the homework's sample, and how much better in the end.

    uv run python eval/benchmarks/time_to_quality.py fast,training.eval_steps=20 strong \
        --source text:../shared/sprites/text --keep FOLDER

Trains `gpt2-sample`, then does all of `pokemon-gen run` with each config, in one process on one machine.
Three times are told. That of the optimizer steps alone (compiling counted) leaves out measuring dev and
saving; on a GPU, a step is over when its kernels are. That of the training counts everything from making
the first model to the last checkpoint, and that of the whole run the detector, selection, submission and
scorecard too. Configs of several members are not judged by steps. The mark is the dev NLL of the completion
that the sample has at the end of its own epochs; a config's, too, is that of its last checkpoints, since
dev has chosen the best. Runs go to folders of their own, since a run that went on would not have all its
time measured; `--keep` leaves them there, for the judge's comparison and others.

Bars: as good as the sample at least 8 times sooner; 0.25 nats/token below it in no more than its own time
(steps on both sides); 0.32 below in no more than 4 times its steps' time by the whole run.
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

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.models.ensemble import Ensemble
from pokemon_gen.models.likelihood import true_completion_nll
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.pipeline import run
from pokemon_gen.sprites.loading import load_sprites
from pokemon_gen.stages.train import train_members

SAMPLE = "gpt2-sample"
BARS = (
    "as good as the sample 8 times sooner",
    "0.25 below it in its own time",
    "0.32 below it in 4 times its time, the whole run counted",
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
    """A config's run.

    Attributes:
        config: its name and what was set.
        moments: of its training; of an ensemble, none but the end of all members'.
        by_steps: whether `moments` count optimizer steps alone; an ensemble's counts all of the training.
        training_seconds: with measuring, saving and compiling.
        seconds: of the whole run.
    """

    config: str
    moments: list[Moment]
    by_steps: bool
    training_seconds: float
    seconds: float


def measure(config: str, source: str, seed: int, keep: Path | None) -> Measured:
    """Do a config's run, perhaps with `,SETTING=VALUE`s after its name, to its end."""
    name, *overrides = config.split(",")
    settings = load_settings(
        name, [f"sprites.source={source}", f"seed={seed}", "training.disable_tqdm=true", *overrides]
    )
    begun = time.perf_counter()
    with _folder_for(f"{settings.name}-seed{seed}", keep) as folder, contextlib.chdir(folder):
        watch = Stopwatch()
        trainings = train_members(settings, callbacks=[watch])
        training_seconds = time.perf_counter() - begun
        if name != SAMPLE:
            run(settings)  # what is left after the training
        seconds = time.perf_counter() - begun
        if settings.members == 1:
            return Measured(config, watch.moments, True, training_seconds, seconds)
        last = [load_checkpoint(valid_checkpoints(training.folder)[-1]).model for training in trainings]
        nll = true_completion_nll(Ensemble(last), load_sprites(source).tokens("dev"))
        steps = sum(training.step for training in trainings)
        return Measured(config, [Moment(training_seconds, steps, nll)], False, training_seconds, seconds)


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


def report(measured: Measured, mark: Moment) -> dict[str, bool]:
    """Print when a config reached the mark and where it ended; return the bars that it passes."""
    end = measured.moments[-1]
    below = mark.nll - end.nll
    times = {"steps": end.seconds} if measured.by_steps else {}
    times |= {"training": measured.training_seconds, "the whole run": measured.seconds}
    spent = ", ".join(f"{what} {spent:.0f} s ({spent / mark.seconds:.2f})" for what, spent in times.items())
    print(
        f"{measured.config}: {end.nll:.4f} at the end, {below:.4f} below the sample, after {end.step} steps; "
        f"times, and as shares of the sample's steps: {spent}"
    )
    passed = {BARS[2]: measured.seconds <= 4 * mark.seconds and below >= 0.32}
    if not measured.by_steps:
        return passed
    passed[BARS[1]] = end.seconds <= mark.seconds and below >= 0.25
    reached = next((moment for moment in measured.moments if moment.nll <= mark.nll), None)
    if reached:
        sooner = mark.seconds / reached.seconds
        print(
            f"{measured.config}: as good as the sample ({reached.nll:.4f}) after {reached.seconds:.0f} s "
            f"({reached.step} steps): {sooner:.1f} times sooner"
        )
        passed[BARS[0]] = sooner >= 8
    return passed


def main() -> None:
    """Train the sample and each config, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("configs", nargs="+", help="CONFIG or CONFIG,SETTING=VALUE,...")
    parser.add_argument("--source", default="procedural")
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
