"""What safe saving costs: checkpoints with a manifest, hashes and checks, and those of `transformers` alone.

    uv run python eval/benchmarks/saving_overhead.py --config fast --source text:FOLDER

Both sides train the same model and save a checkpoint at each step, by turns in one process. What a safe
checkpoint takes beyond a plain one is compared with the training between two checkpoints of the config. Bar:
at most 3 %.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import alternating_orders, argument_parser, outcome
from machine import describe_machine
from transformers import Trainer, TrainerCallback

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.models.hf_compat import quiet
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.training.run import prepare
from pokemon_gen.training.sprites import SpriteData, SpriteTrainer

BAR = 0.03
STEPS = 8
"""Steps of each round; the first two are not counted."""


class SafeSaves(SpriteTrainer):
    """Our `Trainer`, which records the seconds that each checkpoint takes."""

    seconds: list[float]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        begun = time.perf_counter()
        super()._save_checkpoint(model, trial)
        self.seconds.append(time.perf_counter() - begun)


class PlainSaves(SafeSaves):
    """The same without what we add to the saving of a checkpoint."""

    @contextmanager
    def saving(self, folder: Path) -> Iterator[None]:
        """Do nothing around it."""
        yield

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        """Save the weights alone."""
        Trainer.save_model(self, *args, **kwargs)


class StepTimes(TrainerCallback):
    """Records the seconds of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.begun = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Stop it, before anything is saved."""
        self.seconds.append(time.perf_counter() - self.begun)


def measure(side: type[SafeSaves], settings: Settings, sprites: Sprites) -> tuple[float, float]:
    """Return the median seconds of a checkpoint, and of a step."""
    with tempfile.TemporaryDirectory() as folder, quiet():
        model, arguments, prepared = prepare(settings, SpriteData(sprites), Path(folder))
        trainer = SpriteData(sprites).trainer(model, arguments, prepared)
        trainer.__class__ = side
        assert isinstance(trainer, SafeSaves)
        times = StepTimes()
        trainer.seconds = []
        trainer.add_callback(times)
        trainer.train()
        return statistics.median(trainer.seconds[2:]), statistics.median(times.seconds[2:])


def main() -> None:
    """Measure both sides by turns, and print the overhead."""
    parser = argument_parser(__doc__)
    parser.add_argument("--config", default="fast")
    parser.add_argument("--source", default="procedural")
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    print(describe_machine())
    shipped = load_settings(options.config, [f"sprites.source={options.source}"]).each_member()[0]
    between = shipped.training["save_steps"] * shipped.training["max_steps"]
    every_step = {"max_steps": STEPS, "save_steps": 1, "eval_strategy": "no", "torch_compile": False}
    settings = shipped.with_training(**every_step, logging_strategy="no", report_to="none", disable_tqdm=True)
    sprites = load_sprites_of(settings.sprites)
    saves: dict[type[SafeSaves], list[float]] = {SafeSaves: [], PlainSaves: []}
    steps = []
    for order in alternating_orders(saves, options.rounds):
        for side in order:
            save, step = measure(side, settings, sprites)
            saves[side].append(save)
            steps.append(step)
    safe, plain = (statistics.median(saves[side]) for side in (SafeSaves, PlainSaves))
    share = (safe - plain) / (between * statistics.median(steps))
    print(f"a checkpoint: {1000 * safe:.0f} ms, without safety {1000 * plain:.0f} ms")
    print(f"the {between:.0f} steps between two: {between * statistics.median(steps):.1f} s (not compiled)")
    print(f"overhead: {100 * share:.2f} % of the training: {outcome(share <= BAR)}")


if __name__ == "__main__":
    main()
