"""Characters at nanoGPT's CPU setting: our training against a bare loop, in one run, alternating.

    uv run python eval/benchmarks/nanogpt.py --corpus tinyshakespeare.txt
    uv run python eval/benchmarks/nanogpt.py --corpus tinyshakespeare.txt --recipe shakespeare --rounds 1

The bare loop is what a person writes without a `Trainer`: the same GPT-2 of `transformers`, batches of random
blocks, AdamW with nanoGPT's schedule, and nanoGPT's evaluations (every 250 steps, 20 batches of train and of
dev). Both sides train 2,000 steps, and their time includes their own evaluations and, on our side, all
checkpoints. Both models are then measured on all of dev. nanoGPT's README states a loss of 1.88 after about
three minutes.

With `--recipe CONFIG`, that config (such as `shakespeare`) is trained too, and its time is compared with the
bare loop's: the bar is a loss below 1.60 in four times its time.
"""

import contextlib
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import alternating_orders, argument_parser, outcome
from machine import describe_machine

from pokemon_gen.config_files.loading import load_text_settings
from pokemon_gen.models.build import build_text_model
from pokemon_gen.text.blocks import AdjacentBlocks, RandomBlocks, batches
from pokemon_gen.text.loading import load_text_model
from pokemon_gen.text.training import TextData, load_text_data, train_text

STATED_LOSS = 1.88
"""The validation loss that nanoGPT's README gives for this setting, in nats/token."""
RECIPE_LOSS, RECIPE_TIME = 1.60, 4.0
"""The bar of our own recipe: a loss below this, in at most so much of the bare loop's time."""
EVAL_EVERY, EVAL_BATCHES = 250, 20
"""nanoGPT's evaluations: the steps between two of them, and the batches of each part."""


def bare_loop(data: TextData, overrides: list[str], seed: int) -> tuple[float, float]:
    """Train as a person would by hand; return the seconds and the loss on all of dev."""
    settings = load_text_settings("nanogpt", overrides)
    training, block = settings.training, settings.corpus.block_size
    begin = time.perf_counter()
    model = build_text_model(settings.model, len(data.tokenizer), block, seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=training["learning_rate"], betas=(0.9, 0.99), weight_decay=0.1
    )
    steps, size = training["max_steps"], training["per_device_train_batch_size"]
    blocks = RandomBlocks(data.train, block, steps * size, seed)
    for step in range(steps):
        if step % EVAL_EVERY == 0:
            estimate(model, data, block, size)
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps, training["learning_rate"], training["warmup_steps"])
        batch = blocks.__getitems__(list(range(step * size, (step + 1) * size)))
        loss = loss_of(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - begin
    return seconds, loss_on_dev(model, data, block)


def rate(step: int, steps: int, highest: float, warmup: int) -> float:
    """Return nanoGPT's learning rate: a linear warm-up, then a cosine to a tenth."""
    if step < warmup:
        return highest * (step + 1) / warmup
    share = (step - warmup) / (steps - warmup)
    return highest * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * share)))


def loss_of(model: Any, batch: torch.Tensor) -> torch.Tensor:
    """Return the mean loss of a batch of blocks, (B, block + 1)."""
    logits = model(batch[:, :-1]).logits
    loss: torch.Tensor = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
    return loss


@torch.no_grad()
def estimate(model: Any, data: TextData, block: int, size: int) -> None:
    """Measure train and dev as nanoGPT does; the values are not used, only their time."""
    model.eval()
    for stream in (data.train, data.dev):
        blocks = RandomBlocks(stream, block, EVAL_BATCHES * size, 1)
        for number in range(EVAL_BATCHES):
            loss_of(model, blocks.__getitems__(list(range(number * size, (number + 1) * size))))
    model.train()


@torch.no_grad()
def loss_on_dev(model: Any, data: TextData, block: int) -> float:
    """Return the loss on all blocks of dev, in nats/token."""
    model.eval()
    dev = AdjacentBlocks(data.dev, block)
    return sum(float(loss_of(model, batch)) * len(batch) for batch in batches(dev, 128)) / len(dev)


def ours(config: str, data: TextData, overrides: list[str], seed: int) -> tuple[float, float]:
    """Train a config in an empty folder; return the seconds and its best checkpoint's loss on all of dev."""
    settings = load_text_settings(config, [*overrides, f"seed={seed}"])
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        begin = time.perf_counter()
        train_text(settings, data)
        seconds = time.perf_counter() - begin
        return seconds, loss_on_dev(load_text_model(settings.name).model, data, settings.corpus.block_size)


def main() -> None:
    """Train both sides alternately, and compare losses and times."""
    parser = argument_parser(__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--recipe", help="a config to train too, once a round")
    parser.add_argument("overrides", nargs="*", help="of both sides, such as training.max_steps=200")
    options = parser.parse_args()
    print(describe_machine())
    overrides = [f"corpus.source=file:{options.corpus.resolve()}", *options.overrides]
    data = load_text_data(load_text_settings("nanogpt", overrides))
    recipe = load_text_settings(options.recipe, overrides) if options.recipe else None
    of_recipe = load_text_data(recipe) if recipe else None
    found: dict[str, list[tuple[float, float]]] = {"bare": [], "ours": [], "recipe": []}
    for number, order in enumerate(alternating_orders(["bare", "ours"], options.rounds)):
        for side in order:
            run = (
                bare_loop(data, overrides, number)
                if side == "bare"
                else ours("nanogpt", data, overrides, number)
            )
            found[side].append(run)
            print(f"round {number + 1}, {side}: {run[0]:.1f} s, loss {run[1]:.4f}", flush=True)
        if of_recipe:
            found["recipe"].append(ours(options.recipe, of_recipe, [overrides[0]], number))
            seconds, loss = found["recipe"][-1]
            print(f"round {number + 1}, {options.recipe}: {seconds:.1f} s, loss {loss:.4f}", flush=True)
    bare = sum(seconds for seconds, _ in found["bare"])
    ratio = sum(seconds for seconds, _ in found["ours"]) / bare
    worst = max(loss for _, loss in found["ours"])
    print(f"ours: {ratio:.2f} of the bare loop's time, loss at most {worst:.4f}")
    print(f"at most {STATED_LOSS} in at most its time: {outcome(worst <= STATED_LOSS and ratio <= 1)}")
    if found["recipe"]:
        ratio = sum(seconds for seconds, _ in found["recipe"]) / bare
        worst = max(loss for _, loss in found["recipe"])
        print(f"{options.recipe}: {ratio:.2f} of the bare loop's time, loss at most {worst:.4f}")
        passed = worst < RECIPE_LOSS and ratio <= RECIPE_TIME
        print(f"below {RECIPE_LOSS} in {RECIPE_TIME:g} times its time: {outcome(passed)}")


if __name__ == "__main__":
    main()
