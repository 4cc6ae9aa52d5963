"""Speed of our decoding loop relative to `model.generate`: the same greedy tokens, 80 prompts at once.

    uv run python eval/benchmarks/decoding_speed.py gpt2-sample --at-least 3
    uv run python eval/benchmarks/decoding_speed.py llama --at-least 2

The time to read the prompts is not part of the ratio and is printed separately. The rounds alternate, and the
script prints the ratio of the medians and those of the rounds. The weights are fresh, because their values do
not affect the time. But ties are likelier with fresh weights, so the tokens of both sides are compared up to
logits that differ by less than 1e-4.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from common import alternating_orders, argument_parser, compare_rounds, outcome
from machine import describe_machine
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from pokemon_gen.completion.decoding import decode
from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.constants import COMPLETION_LENGTH, PROMPT_LENGTH
from pokemon_gen.models.build import build_model
from pokemon_gen.models.devices import best_device
from pokemon_gen.sprites.loading import load_sprites_of

TIE = 1e-4
"""The difference of two logits below which their tokens count as tied."""
Side = Callable[[PreTrainedModel, Tensor, int], Tensor]
"""A model, prompts (B, T) and the number of new tokens → the new tokens, (B, new tokens)."""


def generate(model: PreTrainedModel, prompts: Tensor, new_tokens: int) -> Tensor:
    """Complete greedily by `generate` of `transformers`; (B, T) → (B, new tokens)."""
    config = GenerationConfig(max_new_tokens=new_tokens, do_sample=False, use_cache=True)
    sprites = model.generate(prompts, attention_mask=torch.ones_like(prompts), generation_config=config)
    return sprites[:, prompts.shape[1] :]


def loop(model: PreTrainedModel, prompts: Tensor, new_tokens: int) -> Tensor:
    """Complete greedily by our loop; (B, T) → (B, new tokens)."""
    return decode(model, prompts, new_tokens, lambda scores, number: scores.argmax(-1))


def timed(side: Side, model: PreTrainedModel, prompts: Tensor) -> tuple[float, float, Tensor]:
    """Return the seconds up to the first token, the seconds of the later tokens, and all new tokens."""
    seconds = []
    for new_tokens in (1, COMPLETION_LENGTH):
        start = time.perf_counter()
        tokens = side(model, prompts, new_tokens).cpu()
        seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1] - seconds[0], tokens


@torch.no_grad()
def count_differing_rows(model: PreTrainedModel, prompts: Tensor, ours: Tensor, theirs: Tensor) -> int:
    """Count the rows whose first difference is more than a tie."""
    count = 0
    for prompt, a, b in zip(prompts, ours, theirs, strict=True):
        different = (a != b).nonzero()
        if len(different):
            first = int(different[0])
            logits = model(torch.cat([prompt, a[:first].to(prompt.device)])[None]).logits[0, -1]  # (V,)
            count += bool(abs(logits[a[first]] - logits[b[first]]) >= TIE)
    return count


@dataclass(frozen=True)
class Comparison:
    """How our loop compares with `generate`.

    Attributes:
        ratio: of the medians.
        ratios: of each round.
        differing: rows whose tokens differ by more than a tie.
        lines: the speed of each side.
    """

    ratio: float
    ratios: list[float]
    differing: int
    lines: list[str]


def compare(config: str, source: str, rounds: int) -> Comparison:
    """Measure both sides in alternation, after a round that warms up."""
    settings = load_settings(config, [f"sprites.source={source}"])
    sprites = load_sprites_of(settings.sprites)
    model = build_model(settings.model, len(sprites.palette), settings.seed).to(best_device()).eval()
    prompts = torch.from_numpy(sprites.tokens("dev")[:80, :PROMPT_LENGTH]).to(model.device)
    sides = {"generate": generate, "loop": loop}
    reading: dict[str, list[float]] = {name: [] for name in sides}
    decoding: dict[str, list[float]] = {name: [] for name in sides}
    tokens = {}
    for number, order in enumerate(alternating_orders(sides, rounds + 1)):
        for name in order:
            first, later, tokens[name] = timed(sides[name], model, prompts)
            if number > 0:
                reading[name].append(first)
                decoding[name].append(later)
    decoded = len(prompts) * (COMPLETION_LENGTH - 1)
    lines = [
        f"{name}: {decoded / statistics.median(decoding[name]):,.0f} tokens/s; reading {len(prompts)} "
        f"prompts {statistics.median(reading[name]):.2f} s"
        for name in sides
    ]
    ratio, ratios = compare_rounds(decoding["generate"], decoding["loop"])
    differing = count_differing_rows(model, prompts, tokens["loop"], tokens["generate"])
    return Comparison(ratio, ratios, differing, lines)


def main() -> None:
    """Measure, print, and compare with the bar."""
    parser = argument_parser(__doc__)
    parser.add_argument("config")
    parser.add_argument("--source", default="procedural")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--at-least", type=float, help="the bar: the least ratio that passes")
    options = parser.parse_args()
    print(describe_machine())
    found = compare(options.config, options.source, options.rounds)
    print(*found.lines, sep="\n")
    per_round = statistics.median(found.ratios)
    print(
        f"{options.config}: {found.ratio:.2f} times as fast as generate (medians), {per_round:.2f} (median "
        f"of the rounds' ratios, {min(found.ratios):.2f} to {max(found.ratios):.2f})"
    )
    print(f"rows that differ, except for ties of {TIE}: {found.differing}")
    if options.at_least:
        passed = min(found.ratio, per_round) >= options.at_least and not found.differing
        print(f"bar {options.at_least}: {outcome(passed)}")


if __name__ == "__main__":
    main()
