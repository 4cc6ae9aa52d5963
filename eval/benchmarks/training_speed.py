"""Our `Trainer` against a bare PyTorch loop: the same model, batch and threads, alternating in one run.

    uv run python eval/benchmarks/training_speed.py --source text:../shared/sprites/text

Bar: at least 0.95 of the bare loop's tokens/s. Machines are noisy, so rounds alternate and the ratio is of
the medians; each side's own times are shown too.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine
from transformers import TrainerCallback

from pokemon_gen.arguments import fit_schedule, training_arguments
from pokemon_gen.config_files import load_settings
from pokemon_gen.geometry import LENGTH
from pokemon_gen.models import build_model, quiet
from pokemon_gen.settings import Settings
from pokemon_gen.sprites import Sprites, load_sprites
from pokemon_gen.trainer import make_trainer

BAR = 0.95


class StepTimes(TrainerCallback):
    """Notes when each step ended, the first being the start of the clock."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Note the time."""
        self.ended.append(time.perf_counter())


def time_trainer(settings: Settings, sprites: Sprites, steps: int) -> float:
    """Return the seconds of `steps` steps by our `Trainer`, after one that warms up."""
    times = StepTimes()
    fields = {
        "max_steps": steps + 1,
        "eval_strategy": "no",
        "logging_strategy": "no",
        "save_strategy": "steps",
        "save_steps": 10**6,  # none but the last, after the clock has stopped
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": False,
    }
    settings = settings.model_copy(update={"training": {**settings.training, **fields}})
    with tempfile.TemporaryDirectory() as folder, quiet():
        arguments = training_arguments(settings, Path(folder))
        fit_schedule(arguments, steps + 1)
        model = build_model(settings.model, len(sprites.palette), settings.seed)
        make_trainer(model, arguments, sprites, settings, [times]).train()
    return times.ended[-1] - times.ended[0]


def time_bare_loop(settings: Settings, sprites: Sprites, steps: int) -> float:
    """Return the seconds of `steps` steps by the homework's kind of loop, after one that warms up."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build_model(settings.model, len(sprites.palette), settings.seed).to(device).train()
    rate, decay = settings.training["learning_rate"], settings.training["weight_decay"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    batch_size = settings.training["per_device_train_batch_size"]
    data = torch.utils.data.TensorDataset(torch.from_numpy(sprites.tokens("train")))
    ended: list[float] = []
    while len(ended) <= steps:
        for (tokens,) in torch.utils.data.DataLoader(data, batch_size, shuffle=True):
            batch = tokens.to(device)
            loss = model(input_ids=batch, labels=batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            ended.append(time.perf_counter())
            if len(ended) > steps:
                break
    return ended[-1] - ended[0]


def main() -> None:
    """Alternate, print, and compare with the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="gpt2-sample")
    parser.add_argument("--source", default="generated")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    settings = load_settings(options.config, [f"sprites.source={options.source}"])
    sprites = load_sprites(**settings.sprites.model_dump())
    print(describe_machine())
    tokens = options.steps * settings.training["per_device_train_batch_size"] * LENGTH
    bare: list[float] = []
    ours: list[float] = []
    for number in range(options.rounds):
        sides = [(bare, time_bare_loop), (ours, time_trainer)]
        for speeds, timed in sides if number % 2 else reversed(sides):  # neither is always the second
            speeds.append(tokens / timed(settings, sprites, options.steps))
        print(f"round {number + 1}: bare loop {bare[-1]:,.0f} tokens/s, Trainer {ours[-1]:,.0f} tokens/s")
    ratio = statistics.median(ours) / statistics.median(bare)
    per_round = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
    print(
        f"{settings.name}: Trainer {ratio:.3f} of the bare loop (medians), {per_round:.3f} (median of the "
        f"rounds' ratios); bar {BAR}: {'passed' if min(ratio, per_round) >= BAR else 'NOT passed'}"
    )


if __name__ == "__main__":
    main()
