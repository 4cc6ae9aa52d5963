"""How fast our training is, alternating in one run: the same model, batch and threads.

    uv run python eval/benchmarks/training_speed.py --source text:../shared/sprites/text
    uv run python eval/benchmarks/training_speed.py --as-shipped --config strong

The first compares our `Trainer` with a bare PyTorch loop, both in fp32 and not compiled (bar: at least 0.95
of its tokens/s); it is meant for configs without Muon. The second compares a run as its config ships it
(precision, compiling, attention, Muon, changes told to the model) with a plain `transformers.Trainer` of the
same model (bar: at least 1.3 times its tokens/s); the first step, in which the model is compiled, is left out
and stated apart. Machines are noisy, so rounds alternate and the ratio is of the medians; each side's own
times are shown too.
"""

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine
from training_runs import time_when_done
from transformers import Trainer, TrainerCallback

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.constants import LENGTH
from pokemon_gen.models.build import build_model
from pokemon_gen.models.hf_compat import quiet
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.loading import Sprites, load_sprites
from pokemon_gen.training.arguments import compile_if_possible, fit_schedule, helper_arguments
from pokemon_gen.training.run import prepare
from pokemon_gen.training.trainer import SpriteDataset, batch_of, make_trainer

BARS = {"bare loop": 0.95, "plain Trainer": 1.3}


class StepTimes(TrainerCallback):
    """Notes when each step ended, the first being the start of the clock."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    @property
    def seconds(self) -> float:
        """Of the steps after the first."""
        return self.ended[-1] - self.ended[0]

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Note the time, for the first step."""
        self.begun = time_when_done()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Note the time."""
        self.ended.append(time_when_done())


def time_trainer(settings: Settings, sprites: Sprites, steps: int, as_shipped: bool = False) -> float:
    """Return the seconds of `steps` steps by our `Trainer`, after one that warms up or compiles."""
    times = StepTimes()
    fields = {
        "max_steps": steps + 1,
        "eval_strategy": "no",
        "logging_strategy": "no",
        "save_strategy": "steps",
        "save_steps": 10**6,  # none but the last, after the clock has stopped
        "report_to": "none",
        "disable_tqdm": True,
    }
    if not as_shipped:
        fields |= {"bf16": False, "torch_compile": False}
    settings = settings.model_copy(update={"training": {**settings.training, **fields}})
    with tempfile.TemporaryDirectory() as folder, quiet():
        model, arguments, settings = prepare(settings, sprites.palette, Path(folder))
        fit_schedule(arguments, steps + 1)
        compile_if_possible(arguments)
        make_trainer(model, arguments, sprites, settings, [times]).train()
    if as_shipped:
        print(f"  bf16: {arguments.bf16}, first step {times.ended[0] - times.begun:.1f} s")
    return times.seconds


def time_plain_trainer(settings: Settings, sprites: Sprites, steps: int) -> float:
    """Return the seconds of `steps` steps by `transformers.Trainer` as it is, after one that warms up."""
    times = StepTimes()
    same = ("per_device_train_batch_size", "learning_rate", "weight_decay")
    with tempfile.TemporaryDirectory() as folder, quiet():
        arguments = helper_arguments(
            folder,
            max_steps=steps + 1,
            disable_tqdm=True,
            **{field: settings.training[field] for field in same},
        )
        Trainer(
            model=build_model(settings.model, len(sprites.palette), settings.seed),
            args=arguments,
            train_dataset=SpriteDataset(sprites.tokens("train")),
            data_collator=batch_of,
            callbacks=[times],
        ).train()
    return times.seconds


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
            ended.append(time_when_done())
            if len(ended) > steps:
                break
    return ended[-1] - ended[0]


def main() -> None:
    """Alternate, print, and compare with the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="gpt2-sample")
    parser.add_argument("--source", default="procedural")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--as-shipped", action="store_true")
    options = parser.parse_args()
    settings = load_settings(options.config, [f"sprites.source={options.source}"])
    sprites = load_sprites(**settings.sprites.model_dump())
    print(describe_machine())
    tokens = options.steps * settings.training["per_device_train_batch_size"] * LENGTH
    ours = partial(time_trainer, as_shipped=options.as_shipped)
    other = "plain Trainer" if options.as_shipped else "bare loop"
    theirs = time_plain_trainer if options.as_shipped else time_bare_loop
    speeds: dict[str, list[float]] = {other: [], "ours": []}
    for number in range(options.rounds):
        for name in speeds if number % 2 else reversed(speeds):  # neither is always the second
            side = ours if name == "ours" else theirs
            speeds[name].append(tokens / side(settings, sprites, options.steps))
        shown = ", ".join(f"{name} {found[-1]:,.0f} tokens/s" for name, found in speeds.items())
        print(f"round {number + 1}: {shown}", flush=True)
    ratio = statistics.median(speeds["ours"]) / statistics.median(speeds[other])
    per_round = statistics.median(a / b for a, b in zip(speeds["ours"], speeds[other], strict=True))
    bar = BARS[other]
    print(
        f"{settings.name}: {ratio:.3f} of the {other} (medians), {per_round:.3f} (median of the rounds' "
        f"ratios); bar {bar}: {'passed' if min(ratio, per_round) >= bar else 'NOT passed'}"
    )


if __name__ == "__main__":
    main()
