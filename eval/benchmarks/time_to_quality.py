r"""How soon a config is as good as the homework's sample, and how much better it is in the end.

    uv run python eval/benchmarks/time_to_quality.py fast,training.eval_steps=20 strong \
        --source text:FOLDER --keep FOLDER

The script trains `gpt2-sample` and then does all stages of `pokemon-gen run` with each config, in one process
on one machine. It reports three times:

- *steps*: the optimizer steps, including compiling, without evaluating and saving. On a GPU, a step ends when
  its kernels have finished. An ensemble is not measured by its steps.
- *training*: everything from making the first model to the last checkpoint.
- *full run*: the training, the detector, the selection, the submission and the scorecard.

The mark is the dev NLL of the completion that the sample has at the end of its own epochs. The NLL of a
config, too, is that of its last checkpoints: the best ones are chosen on dev, so their dev NLL would be too
low. Each run trains in a new folder, because a resumed run would not have all of its time measured. `--keep`
keeps these folders, for example for `judge_quality.py`.

Bars: a config is as good as the sample at least 8 times sooner; it is 0.25 nats/token below the sample in at
most the sample's time (steps on both sides); its full run is 0.32 nats/token below the sample in at most
4 times the time of the sample's steps.
"""

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import argument_parser
from machine import describe_machine
from training_runs import StepSeconds, absolute_source

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.models.ensemble import Ensemble
from pokemon_gen.models.likelihood import true_completion_nll
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.pipeline import run
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.stages.train import train_members

SAMPLE = "gpt2-sample"
SOONER = "as good as the sample 8 times sooner"
IN_ITS_TIME = "0.25 nats/token below the sample in its own time"
IN_FOUR_TIMES = "0.32 nats/token below the sample in 4 times its time, counting the full run"
BARS = (SOONER, IN_ITS_TIME, IN_FOUR_TIMES)


@dataclass(frozen=True)
class Evaluation:
    """An evaluation on dev during a training.

    Attributes:
        seconds: of training before it.
        step: optimizer steps before it.
        nll: of the completion, in nats/token.
    """

    seconds: float
    step: int
    nll: float


class Stopwatch(StepSeconds):
    """Callback that records the duration of each step and the result of each evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.evaluations: list[Evaluation] = []

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **kwargs: Any) -> None:
        """Record the dev NLL of the completion."""
        nll = metrics["eval_completion_nll"]
        self.evaluations.append(Evaluation(sum(self.seconds), state.global_step, nll))


@dataclass(frozen=True)
class MeasuredRun:
    """The run of a config.

    Attributes:
        config: its name and overrides.
        evaluations: of its training. An ensemble has one, after the training of all members.
        by_steps: whether the seconds of `evaluations` count only optimizer steps; those of an ensemble count
            the training.
        training_seconds: of the training, including compiling, evaluating and saving.
        seconds: of the full run.
    """

    config: str
    evaluations: list[Evaluation]
    by_steps: bool
    training_seconds: float
    seconds: float


def measure(config: str, source: str, seed: int, keep: Path | None) -> MeasuredRun:
    """Do the full run of a config, `NAME` or `NAME,SETTING=VALUE,...`; of the sample, only the training."""
    name, *overrides = config.split(",")
    settings = load_settings(
        name, [f"sprites.source={source}", f"seed={seed}", "training.disable_tqdm=true", *overrides]
    )
    start = time.perf_counter()
    with _new_folder(f"{settings.name}-seed{seed}", keep) as folder, contextlib.chdir(folder):
        watch = Stopwatch()
        trainings = train_members(settings, callbacks=[watch])
        training_seconds = time.perf_counter() - start
        if name != SAMPLE:
            run(settings)  # the stages after the training
        seconds = time.perf_counter() - start
        if settings.members == 1:
            return MeasuredRun(config, watch.evaluations, True, training_seconds, seconds)
        last = [load_checkpoint(valid_checkpoints(training.folder)[-1]).model for training in trainings]
        nll = true_completion_nll(Ensemble(last), load_sprites_of(settings.sprites).tokens("dev"))
        end = Evaluation(training_seconds, sum(training.step for training in trainings), nll)
        return MeasuredRun(config, [end], False, training_seconds, seconds)


@contextlib.contextmanager
def _new_folder(run_name: str, keep: Path | None) -> Iterator[Path]:
    """Yield a new folder: a numbered one in `keep`, or a temporary one without `keep`."""
    if keep:
        folder = keep / f"{sum(1 for _ in keep.iterdir())}-{run_name}"
        folder.mkdir()
        yield folder
    else:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)


def report(measured: MeasuredRun, mark: Evaluation) -> dict[str, bool]:
    """Print when a run reached the mark and how it ended; return whether it passes each bar it is held to."""
    end = measured.evaluations[-1]
    below = mark.nll - end.nll
    times = {"steps": end.seconds} if measured.by_steps else {}
    times |= {"training": measured.training_seconds, "full run": measured.seconds}
    shown = ", ".join(
        f"{part} {seconds:.0f} s ({seconds / mark.seconds:.2f})" for part, seconds in times.items()
    )
    print(
        f"{measured.config}: {end.nll:.4f} at the end, {below:.4f} below the sample, after {end.step} steps; "
        f"times, and their ratio to the sample's steps: {shown}"
    )
    passed = {IN_FOUR_TIMES: measured.seconds <= 4 * mark.seconds and below >= 0.32}
    if not measured.by_steps:
        return passed
    passed[IN_ITS_TIME] = end.seconds <= mark.seconds and below >= 0.25
    reached = next((evaluation for evaluation in measured.evaluations if evaluation.nll <= mark.nll), None)
    if reached:
        sooner = mark.seconds / reached.seconds
        print(
            f"{measured.config}: as good as the sample ({reached.nll:.4f}) after {reached.seconds:.0f} s "
            f"({reached.step} steps): {sooner:.1f} times sooner"
        )
        passed[SOONER] = sooner >= 8
    return passed


def main() -> None:
    """Train the sample, do the run of each config, print, and compare with the bars."""
    parser = argument_parser(__doc__)
    parser.add_argument("configs", nargs="+", help="CONFIG or CONFIG,SETTING=VALUE,...")
    parser.add_argument("--source", default="procedural")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--keep", type=Path, help="keep the runs in this new folder")
    options = parser.parse_args()
    if options.keep:
        options.keep = options.keep.resolve()
        if options.keep.exists():
            parser.error(f"--keep {options.keep}: this folder already exists. Pass another one.")
        options.keep.mkdir(parents=True)
    source = absolute_source(options.source)
    print(describe_machine())
    for seed in options.seeds:
        mark = measure(SAMPLE, source, seed, options.keep).evaluations[-1]
        print(
            f"seed {seed}: {SAMPLE}: {mark.nll:.4f} after {mark.seconds:.0f} s ({mark.step} steps)",
            flush=True,
        )
        passing: dict[str, list[str]] = {bar: [] for bar in BARS}
        for config in options.configs:
            for bar, passed in report(measure(config, source, seed, options.keep), mark).items():
                passing[bar] += [config] if passed else []
            sys.stdout.flush()
        for bar, configs in passing.items():
            print(f"seed {seed}: {bar}: {'passed by ' + ' and '.join(configs) if configs else 'NOT passed'}")


if __name__ == "__main__":
    main()
