"""The live page's engine in headless Chromium, compared with PyTorch: arithmetic, completions, times, size.

    uv run python eval/benchmarks/page_engine.py text:FOLDER checkpoints/strong checkpoints/mistral
    uv run python eval/benchmarks/page_engine.py text:FOLDER checkpoints/strong --times-only

For each run (or checkpoint) it prints

- the largest difference of logits on dev sprites, weights in fp32 (bar: 1e-3);
- the dev NLL of the completions with the weights of the page, fp16, less PyTorch's (bar: within 0.002);
- greedy completions of the dev prompts, weights in fp32: equal to PyTorch's up to ties, that is, up to the
  first token whose two best logits are less than 1e-4 apart;
- seconds from the start of loading to the first pixel, to one entire candidate, and to eight of them
  (bars: 1, 2 and 8 on two cores), and the rate at which the prompt is read;
- the size of the weights in the page, as base64 (bar for the entire page: 12 MB).
"""

import argparse
import base64
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from common import argument_parser, outcome
from machine import describe_machine
from numpy.typing import NDArray
from playwright.sync_api import sync_playwright

from pokemon_gen.augmentation import prepend_identity, strip_conditioning
from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.constants import LENGTH, PROMPT_LENGTH
from pokemon_gen.models.ensemble import CompletionModel, average_probabilities, members_of, palette_size
from pokemon_gen.models.likelihood import true_completion_nll
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.page.export import PageModel, Precision, export_models
from pokemon_gen.sprites.loading import load_sprites

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
TIE = 1e-4
"""Two logits that are closer than this may change places by rounding."""
ROUNDS = 5
_DECODE = "(text) => Uint8Array.fromBase64(text).buffer"
_LOAD = f"""([members]) => {{
    const bytes = {_DECODE};
    globalThis.engine = new Engine(members.map(([spec, text]) => ({{ spec, weights: bytes(text) }})));
}}"""
_LOGITS = """([sprite]) => engine.decoders.map((decoder) =>
    allLogits(decoder, new Cache(decoder, 1), sprite).map((row) => [...row]))"""
_NLL = "([sprites, members]) => sprites.map((sprite) => [...engine.inspect(sprite, members).nll])"
_GREEDY = """([prompts, members]) => prompts.map((prompt) => {
    const request = { prompt, count: 1, temperature: 0, topK: 0, topP: 1, seed: 0, members };
    return [...engine.complete(request)].filter(Boolean).map(({ tokens }) => tokens[0]);
})"""
_TIMES = f"""async ([source, members, prompt, count]) => {{
    const bytes = {_DECODE};
    const start = performance.now(), times = {{}};
    const worker = new Worker(URL.createObjectURL(new Blob([source])));
    const loaded = members.map(([spec, text]) => ({{ spec, weights: bytes(text) }}));
    worker.postMessage({{ type: "load", id: 0, members: loaded }});
    worker.postMessage({{ type: "complete", id: 1, prompt, count, temperature: 1, topK: 0, topP: 1, seed: 1,
        members: 1, pace: 0 }});
    await new Promise((resolve, reject) => {{
        worker.onmessage = ({{ data }}) => {{
            if (data.type === "error") reject(new Error(data.message));
            if (data.type === "loaded") times.simd = data.simd;
            const name = data.type === "tokens" ? "first" : data.type;
            times[name] ??= (performance.now() - start) / 1000;
            if (data.type === "completed") resolve();
        }};
    }});
    worker.terminate();
    return times;
}}"""


def script(name: str) -> str:
    """Return the text of one of the page's scripts."""
    return files("pokemon_gen.page").joinpath(name).read_text("utf-8")


def as_arguments(models: list[PageModel]) -> list[Any]:
    """Return models as a page takes them: the description, and the weights as base64."""
    return [[model.spec, base64.b64encode(model.weights).decode()] for model in models]


@contextmanager
def engine_page(browser: Any, model: CompletionModel, precision: Precision) -> Iterator[Any]:
    """Yield a page with a model loaded into `engine`."""
    page = browser.new_page()
    page.add_script_tag(content=script("engine.js"))
    page.evaluate(_LOAD, [as_arguments(export_models(model, precision))])
    yield page
    page.close()


@torch.no_grad()
def torch_logits(model: CompletionModel, sprites: NDArray[np.int64]) -> list[torch.Tensor]:
    """Return each member's logits, (N, 400, V)."""
    tokens = torch.from_numpy(sprites)
    return [
        strip_conditioning(
            member(input_ids=prepend_identity(member, tokens)).logits, LENGTH, palette_size(model)
        )
        for member in members_of(model)
    ]


def check_logits(page: Any, model: CompletionModel, sprites: NDArray[np.int64]) -> None:
    """Print the largest difference of logits on a few sprites, and compare with the bar."""
    worst = 0.0
    for sprite in sprites:
        expected = torch_logits(model, sprite[None])
        for ours, theirs in zip(page.evaluate(_LOGITS, [sprite.tolist()]), expected, strict=True):
            worst = max(worst, float(np.abs(np.array(ours) - theirs[0].numpy()).max()))
    print(f"  logits, fp32: {worst:.1e} apart at most; bar 1e-3: {outcome(worst <= 1e-3)}")


def check_greedy(page: Any, model: CompletionModel, sprites: NDArray[np.int64], precision: str) -> None:
    """Print how many greedy completions equal PyTorch's, up to ties."""
    prompts = sprites[:, :PROMPT_LENGTH]
    theirs = complete_prompts(model, prompts)
    drawn = page.evaluate(_GREEDY, [prompts.tolist(), len(members_of(model))])
    ours = np.concatenate([prompts, np.array(drawn)], axis=1)
    best = average_probabilities(torch_logits(model, theirs)).topk(2).values
    gaps = (best[..., 0] - best[..., 1]).numpy()[:, :-1]  # (N, 399), of tokens 1 to 399
    differing = [row for row in range(len(ours)) if (ours[row] != theirs[row]).any()]
    first = [int((ours[row] != theirs[row]).argmax()) for row in differing]
    real = [gaps[row, token - 1] for row, token in zip(differing, first, strict=True)]
    wrong = [gap for gap in real if gap > TIE]
    print(
        f"  greedy, {precision}: {len(ours) - len(differing)} of {len(ours)} completions equal, "
        f"{len(differing) - len(wrong)} differ from a tie on, {len(wrong)} elsewhere"
        + (f" (largest gap {max(wrong):.1e})" if wrong else "")
        + ("; bar 0: " + outcome(not wrong) if precision == "fp32" else "")
    )


def check_nll(page: Any, model: CompletionModel, sprites: NDArray[np.int64]) -> None:
    """Print the dev NLL of the true completions by the page and by PyTorch."""
    expected = true_completion_nll(model, sprites)
    found = np.array(page.evaluate(_NLL, [sprites.tolist(), len(members_of(model))]))
    difference = float(found[:, PROMPT_LENGTH:].mean()) - expected
    print(
        f"  dev NLL: PyTorch {expected:.5f}, the page in fp16 {difference:+.5f}; bar ±0.002: "
        f"{outcome(abs(difference) <= 0.002)}"
    )


def measure_times(browser: Any, models: list[PageModel], prompt: list[int]) -> None:
    """Print the seconds to the first pixel and to whole candidates, in a worker as in the page."""
    members = as_arguments(models)
    print(f"  weights in the page: {sum(len(text) for _, text in members) / 1e6:.2f} MB; bar 12 MB")
    source = script("engine.js") + script("worker.js")
    page = browser.new_page()
    runs = {
        count: [page.evaluate(_TIMES, [source, members, prompt, count]) for _ in range(ROUNDS)]
        for count in (1, 8)
    }
    page.close()
    for count, name, bar in ((8, "first", 1), (1, "completed", 2), (8, "completed", 8)):
        times = [run[name] for run in runs[count]]
        median = statistics.median(times)
        what = "first pixel" if name == "first" else f"{count} candidate{'s' * (count > 1)}"
        print(
            f"  {what}: median {median:.2f} s (min {min(times):.2f}, max {max(times):.2f}, {ROUNDS} rounds); "
            f"bar {bar} s: {outcome(median <= bar)}"
        )
    tensors = models[0].spec["tensors"]
    weights = sum(np.prod(part["shape"]) for name, part in tensors.items() if len(part["shape"]) == 2)
    reading = statistics.median(run["first"] - run["loaded"] for run in runs[8])
    drawing = statistics.median(run["completed"] - run["first"] for run in runs[8])
    new = 8 * (LENGTH - len(prompt))
    print(
        f"  loading {statistics.median(run['loaded'] for run in runs[8]):.2f} s, SIMD {runs[8][0]['simd']}; "
        f"the prompt {2e-9 * weights * len(prompt) / reading:.1f} GFLOP/s, eight candidates "
        f"{2e-9 * weights * new / drawing:.1f} GFLOP/s (matrices only)"
    )


def measure(browser: Any, place: str, sprites: NDArray[np.int64], options: argparse.Namespace) -> None:
    """Measure one run and print."""
    model = load_checkpoint(place).model
    print(f"{place}: {'+'.join(member.config.model_type for member in members_of(model))}")
    if not options.times_only:
        with engine_page(browser, model, "fp32") as page:
            check_logits(page, model, sprites[:4])
            check_greedy(page, model, sprites, "fp32")
        with engine_page(browser, model, "fp16") as page:
            check_nll(page, model, sprites)
            check_greedy(page, model, sprites, "fp16")
    measure_times(browser, export_models(model)[:1], sprites[0, :PROMPT_LENGTH].tolist())


def main() -> None:
    """Measure each run, print, and compare with the bars."""
    parser = argument_parser(__doc__)
    parser.add_argument("source", help="of the sprites that the runs were trained on")
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--times-only", action="store_true")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    print(describe_machine())
    sprites = load_sprites(options.source).tokens("dev")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=FLAGS)
        print(f"Chromium {browser.version}; {len(sprites)} dev sprites")
        for place in options.runs:
            measure(browser, place, sprites, options)
        browser.close()


if __name__ == "__main__":
    main()
