"""Our decoding loop against `model.generate`: the same greedy tokens, 80 prompts at once.

    uv run python eval/benchmarks/decoding_speed.py gpt2-sample --at-least 3
    uv run python eval/benchmarks/decoding_speed.py llama --at-least 2

The reading of the prompts is left out of both and stated apart. Rounds alternate; the ratio is of the
medians, and of each round. Weights are fresh: their values change no time, but ties are likelier, so the
tokens are compared up to logits within 1e-4 of each other.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from machine import describe_machine
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from pokemon_gen.completion.decoding import decode
from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.constants import COMPLETION_LENGTH, PROMPT_LENGTH
from pokemon_gen.models.build import build_model
from pokemon_gen.models.loading import best_device
from pokemon_gen.sprites.loading import load_sprites

TIE = 1e-4
Side = Callable[[PreTrainedModel, Tensor, int], Tensor]


def generate(model: PreTrainedModel, prompts: Tensor, new_tokens: int) -> Tensor:
    """Complete by the library's own `generate`, greedily: (B, T) → (B, new tokens)."""
    config = GenerationConfig(max_new_tokens=new_tokens, do_sample=False, use_cache=True)
    whole = model.generate(prompts, attention_mask=torch.ones_like(prompts), generation_config=config)
    return whole[:, prompts.shape[1] :]


def loop(model: PreTrainedModel, prompts: Tensor, new_tokens: int) -> Tensor:
    """Complete by our loop, greedily: (B, T) → (B, new tokens)."""
    return decode(model, prompts, new_tokens, lambda scores, number: scores.argmax(-1))


def timed(side: Side, model: PreTrainedModel, prompts: Tensor) -> tuple[float, float, Tensor]:
    """Return the seconds of reading the prompts, those of the tokens after the first, and all tokens."""
    seconds = []
    for new_tokens in (1, COMPLETION_LENGTH):
        start = time.perf_counter()
        tokens = side(model, prompts, new_tokens).cpu()
        seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1] - seconds[0], tokens


@torch.no_grad()
def rows_that_differ(model: PreTrainedModel, prompts: Tensor, ours: Tensor, theirs: Tensor) -> int:
    """Count the rows whose first difference is more than a tie."""
    count = 0
    for prompt, a, b in zip(prompts, ours, theirs, strict=True):
        different = (a != b).nonzero()
        if len(different):
            first = int(different[0])
            logits = model(torch.cat([prompt, a[:first].to(prompt.device)])[None]).logits[0, -1]
            count += bool(abs(logits[a[first]] - logits[b[first]]) >= TIE)
    return count


def main() -> None:
    """Alternate, print, and compare with the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--source", default="procedural")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--at-least", type=float)
    options = parser.parse_args()
    settings = load_settings(options.config, [f"sprites.source={options.source}"])
    sprites = load_sprites(**settings.sprites.model_dump())
    model = build_model(settings.model, len(sprites.palette), settings.seed).to(best_device()).eval()
    prompts = torch.from_numpy(sprites.tokens("dev")[:80, :PROMPT_LENGTH]).to(model.device)
    print(describe_machine())
    sides = {"generate": generate, "loop": loop}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    tokens = {}
    for number in range(options.rounds + 1):  # the first warms up
        for name in sides if number % 2 else reversed(sides):
            reading, rest, tokens[name] = timed(sides[name], model, prompts)
            if number:
                times[name].append((reading, rest))
    counted = len(prompts) * (COMPLETION_LENGTH - 1)
    for name, found in times.items():
        reading, rest = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{name}: {counted / rest:,.0f} tokens/s; reading {len(prompts)} prompts {reading:.2f} s")
    ratios = [a[1] / b[1] for a, b in zip(times["generate"], times["loop"], strict=True)]
    medians = [statistics.median(found[1] for found in times[name]) for name in sides]
    ratio = medians[0] / medians[1]
    differing = rows_that_differ(model, prompts, tokens["loop"], tokens["generate"])
    print(
        f"{options.config}: {ratio:.2f} times generate (medians), {statistics.median(ratios):.2f} (median of "
        f"the rounds' ratios, {min(ratios):.2f} to {max(ratios):.2f})"
    )
    print(f"rows that differ, ties of {TIE} aside: {differing}")
    if options.at_least:
        passed = min(ratio, statistics.median(ratios)) >= options.at_least and not differing
        print(f"bar {options.at_least}: {'passed' if passed else 'NOT passed'}")


if __name__ == "__main__":
    main()
