"""Speed of our training relative to a baseline with the same model, batch and threads.

    uv run python eval/benchmarks/training_speed.py --source text:FOLDER
    uv run python eval/benchmarks/training_speed.py --as-shipped --config strong

The first command compares our `Trainer` with a bare PyTorch loop, both in fp32 and uncompiled (bar: at least
0.95 of its tokens/s). It is meant for configs without Muon. The second compares a run as its config ships it
(precision, compiling, attention, Muon, conditioning) with a plain `transformers.Trainer` of the same model
(bar: at least 1.3 times its tokens/s, or 6 on an NVIDIA GPU). The first step, which compiles the model, is
printed separately, and the first five are not counted. The two sides alternate in one process, because
machines are noisy. The ratio is that of the medians, and the tokens/s of each side are printed for every
round.
"""

import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import alternating_orders, argument_parser, compare_rounds, outcome
from machine import describe_machine
from training_runs import STEPS_ONLY, synchronized_time
from transformers import Trainer, TrainerCallback

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.constants import LENGTH
from pokemon_gen.models.build import build_model
from pokemon_gen.models.graphs import WARM_UP
from pokemon_gen.models.hf_compat import quiet
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.training.arguments import fit_schedule, helper_arguments
from pokemon_gen.training.captured import why_not_captured
from pokemon_gen.training.compiling import compile_if_possible
from pokemon_gen.training.extensions import Extensions
from pokemon_gen.training.run import prepare
from pokemon_gen.training.sprites import SpriteData, SpriteDataset, batch_of

UNCOUNTED = WARM_UP + 2
"""The steps before the clock starts: the first one compiles, and a GPU captures a later one."""
AS_A_BARE_LOOP = {"bf16": False, "torch_compile": False, "capture": False}
BARS = {"bare loop": 0.95, "plain Trainer": 6.0 if torch.cuda.is_available() else 1.3}
"""The least ratio to each baseline that passes."""


class CountedSteps(TrainerCallback):
    """Callback that times the steps after the uncounted ones; a GPU is waited for only before and after."""

    def __init__(self, steps: int) -> None:
        self.last = UNCOUNTED + steps

    @property
    def seconds(self) -> float:
        """The seconds of all counted steps."""
        return self.end - self.counted_from

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Record the time before the first step."""
        self.start = synchronized_time()

    def on_step_end(self, args: Any, state: Any, *rest: Any, **kwargs: Any) -> None:
        """Record the time after the first step, the uncounted ones and the last one."""
        if state.global_step == 1:
            self.first_step = synchronized_time() - self.start
        if state.global_step == UNCOUNTED:
            self.counted_from = synchronized_time()
        if state.global_step == self.last:
            self.end = synchronized_time()


def time_trainer(settings: Settings, sprites: Sprites, steps: int) -> float:
    """Return the seconds of `steps` steps of our `Trainer`, after those that warm up, compile and capture."""
    watch = CountedSteps(steps)
    # The last checkpoint is saved after the clock has stopped.
    timed = settings.with_training(**STEPS_ONLY, max_steps=watch.last, logging_strategy="no")
    with tempfile.TemporaryDirectory() as folder, quiet():
        model, arguments, timed = prepare(timed, SpriteData(sprites), Path(folder))
        fit_schedule(arguments, watch.last)
        steps = settings.training.get("max_steps", watch.last)  # those of the config decide whether it pays
        compile_if_possible(model, arguments, steps, why_not_captured(arguments, arguments.capture) is None)
        SpriteData(sprites).trainer(model, arguments, timed, Extensions(callbacks=[watch])).train()
    print(f"  bf16: {arguments.bf16}, first step {watch.first_step:.1f} s")
    return watch.seconds


def time_plain_trainer(settings: Settings, sprites: Sprites, steps: int) -> float:
    """Return the seconds of `steps` steps of a plain `transformers.Trainer`, after those that warm up."""
    watch = CountedSteps(steps)
    shared = ("per_device_train_batch_size", "learning_rate", "weight_decay")
    with tempfile.TemporaryDirectory() as folder, quiet():
        arguments = helper_arguments(
            folder,
            settings.seed,
            max_steps=watch.last,
            disable_tqdm=True,
            **{field: settings.training[field] for field in shared},
        )
        Trainer(
            model=build_model(settings.model, len(sprites.palette), settings.seed),
            args=arguments,
            train_dataset=SpriteDataset(sprites.tokens("train")),
            data_collator=batch_of,
            callbacks=[watch],
        ).train()
    return watch.seconds


def time_bare_loop(settings: Settings, sprites: Sprites, steps: int) -> float:
    """Return the seconds of `steps` steps of a loop like the homework's, after those that warm up."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build_model(settings.model, len(sprites.palette), settings.seed).to(device).train()
    rate, decay = settings.training["learning_rate"], settings.training["weight_decay"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    batch_size = settings.training["per_device_train_batch_size"]
    data = torch.utils.data.TensorDataset(torch.from_numpy(sprites.tokens("train")))
    ends: list[float] = []
    while len(ends) < UNCOUNTED + steps:
        for (tokens,) in torch.utils.data.DataLoader(data, batch_size, shuffle=True):
            batch = tokens.to(device)  # (B, 400)
            loss = model(input_ids=batch, labels=batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            ends.append(synchronized_time())
            if len(ends) == UNCOUNTED + steps:
                break
    return ends[-1] - ends[UNCOUNTED - 1]


def main() -> None:
    """Measure both sides in alternation, print, and compare with the bar."""
    parser = argument_parser(__doc__)
    parser.add_argument("--config", default="gpt2-sample")
    parser.add_argument("--source", default="procedural")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--as-shipped", action="store_true", help="compare with a plain Trainer")
    options = parser.parse_args()
    settings = load_settings(options.config, [f"sprites.source={options.source}"])
    sprites = load_sprites_of(settings.sprites)
    print(describe_machine())
    tokens = options.steps * settings.training["per_device_train_batch_size"] * LENGTH
    baseline = "plain Trainer" if options.as_shipped else "bare loop"
    ours = settings if options.as_shipped else settings.with_training(**AS_A_BARE_LOOP)
    sides: dict[str, Callable[[Sprites, int], float]] = {
        baseline: partial(time_plain_trainer if options.as_shipped else time_bare_loop, settings),
        "ours": partial(time_trainer, ours),
    }
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for number, order in enumerate(alternating_orders(sides, options.rounds), start=1):
        for name in order:
            speeds[name].append(tokens / sides[name](sprites, options.steps))
        shown = ", ".join(f"{name} {rates[-1]:,.0f} tokens/s" for name, rates in speeds.items())
        print(f"round {number}: {shown}", flush=True)
    ratio, ratios = compare_rounds(speeds["ours"], speeds[baseline])
    per_round = statistics.median(ratios)
    bar = BARS[baseline]
    print(
        f"{settings.name}: {ratio:.3f} of the {baseline} (medians), {per_round:.3f} (median of the rounds' "
        f"ratios); bar {bar}: {outcome(min(ratio, per_round) >= bar)}"
    )


if __name__ == "__main__":
    main()
