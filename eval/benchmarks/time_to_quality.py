"""How soon a config is as good as the homework's sample, and how much better in the end.

    uv run python eval/benchmarks/time_to_quality.py fast --source text:../shared/sprites/text
    uv run python eval/benchmarks/time_to_quality.py fast,training.max_steps=280 fast,training.max_steps=2200

Trains `gpt2-sample`, then each config, in one process on one machine. Time is that of the optimizer steps
alone (compiling counted): measuring dev, at each epoch of the sample and every 20 steps of a config, is left
out, and so is saving. On a GPU, a step is over when its kernels are.
The mark is the dev NLL of the completion that the sample has at the end of its own epochs. Runs go to a
folder of their own and are thrown away: a run that went on would not have all its time measured.
"""

import argparse
import contextlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine
from transformers import TrainerCallback

from pokemon_gen.config_files import load_settings
from pokemon_gen.training import train

SAMPLE = "gpt2-sample"


@dataclass(frozen=True)
class Moment:
    """An evaluation: seconds of training before it, optimizer steps, and what dev said."""

    seconds: float
    step: int
    nll: float


class Stopwatch(TrainerCallback):
    """Sums the seconds of optimizer steps and notes what each evaluation finds."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.moments: list[Moment] = []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.begun = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Stop the clock."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - self.begun

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **kwargs: Any) -> None:
        """Note the dev NLL of the completion."""
        self.moments.append(Moment(self.seconds, state.global_step, metrics["eval_completion_nll"]))


def measure(config: str, source: str, seed: int) -> list[Moment]:
    """Train a config, perhaps followed by `,SETTING=VALUE`s, to its end and return every evaluation."""
    config, *overrides = config.split(",")
    # Epochs are long for what is over in a minute.
    often = ["training.eval_strategy=steps", "training.eval_steps=20"] if config != SAMPLE else []
    settings = load_settings(
        config, [f"sprites.source={source}", f"seed={seed}", "training.disable_tqdm=true", *often, *overrides]
    )
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        train(settings, callbacks=[watch])
    return watch.moments


def report(config: str, moments: list[Moment], mark: Moment) -> None:
    """Print when a config reached the mark, and where it ended."""
    end = moments[-1]
    print(
        f"{config}: {end.nll:.4f} at the end, {mark.nll - end.nll:.4f} below the sample, after "
        f"{end.seconds:.0f} s ({end.step} steps), {end.seconds / mark.seconds:.2f} of the sample's time"
    )
    reached = next((moment for moment in moments if moment.nll <= mark.nll), None)
    if reached is None:
        print(f"{config}: never as good as the sample")
        return
    print(
        f"{config}: as good as the sample ({reached.nll:.4f}) after {reached.seconds:.0f} s ({reached.step} "
        f"steps): {mark.seconds / reached.seconds:.1f} times sooner"
    )


def main() -> None:
    """Train the sample and each config, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="+", help="CONFIG or CONFIG,SETTING=VALUE,...")
    parser.add_argument("--source", default="generated")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    options = parser.parse_args()
    kind, _, place = options.source.partition(":")
    source = f"{kind}:{Path(place).resolve()}" if kind in ("text", "images") else options.source
    print(describe_machine())
    for seed in options.seeds:
        mark = measure(SAMPLE, source, seed)[-1]
        print(
            f"seed {seed}: {SAMPLE}: {mark.nll:.4f} after {mark.seconds:.0f} s ({mark.step} steps)",
            flush=True,
        )
        for config in options.configs:
            report(config, measure(config, source, seed), mark)


if __name__ == "__main__":
    main()
