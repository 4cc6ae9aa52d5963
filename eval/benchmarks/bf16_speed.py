"""Whether this CPU should train a config in bf16: the speed of its model in bf16, relative to fp32.

    uv run python eval/benchmarks/bf16_speed.py fast

The script measures a forward and backward pass of one training batch, uncompiled: in fp32, and in bf16 by
autocast. The two alternate in one process, the first round warms up, and the fastest round of each counts.
The script prints the override to use: `training.bf16=true` if bf16 is at least 1.1 times as fast, so that
noise does not decide between equals, and else `training.bf16=false`. Without an override, the package does
not measure but chooses by the CPU's flags (`pokemon_gen/training/precision.py`), so that the same machine
always gets the same precision.
"""

import tempfile
import time
from pathlib import Path

import torch
from common import alternating_orders, argument_parser
from machine import describe_machine
from torch import Tensor
from transformers import PreTrainedModel

from pokemon_gen.augmentation import prepend_identity
from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.training.precision import choose_precision
from pokemon_gen.training.run import prepare
from pokemon_gen.training.sprites import SpriteData, batch_of

FASTER_BY = 1.1
"""The least speedup for which bf16 is recommended."""


def fastest_passes(model: PreTrainedModel, tokens: Tensor, rounds: int) -> dict[str, float]:
    """Return the seconds of the fastest forward and backward pass by precision; `tokens` are (B, T)."""
    seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for order in alternating_orders(seconds, rounds + 1):
        for precision in order:
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = model(**batch_of(tokens)).loss
            loss.backward()
            seconds[precision].append(time.perf_counter() - start)
            model.zero_grad(set_to_none=True)
    return {precision: min(times[1:]) for precision, times in seconds.items()}  # without the warm-up


def main() -> None:
    """Measure, and print the ratio and the override to use."""
    parser = argument_parser(__doc__)
    parser.add_argument("config")
    parser.add_argument("--source", default="procedural")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    settings = load_settings(options.config, [f"sprites.source={options.source}", "training.use_cpu=true"])
    sprites = load_sprites_of(settings.sprites)
    with tempfile.TemporaryDirectory() as folder:
        model, arguments, _ = prepare(settings, SpriteData(sprites), Path(folder))
    batch = torch.from_numpy(sprites.tokens("train")[: arguments.train_batch_size])
    print(describe_machine())
    seconds = fastest_passes(model.train(), prepend_identity(model, batch), options.rounds)
    ratio = seconds["fp32"] / seconds["bf16"]
    print(
        f"{settings.name}: bf16 is {ratio:.2f} times as fast as fp32 ({seconds['bf16']:.3f} s and "
        f"{seconds['fp32']:.3f} s for {len(batch)} sprites, the fastest of {options.rounds} rounds)"
    )
    print(f"override to use on this CPU: training.bf16={str(ratio >= FASTER_BY).lower()}")
    default = "bf16" if choose_precision(on_cpu=True)["bf16"] else "fp32"
    print(f"without an override, the package chooses {default} by this CPU's flags")


if __name__ == "__main__":
    main()
