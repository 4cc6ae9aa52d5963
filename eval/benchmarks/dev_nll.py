"""What a config reaches: dev NLL in nats/token, for one or more sources and seeds.

    uv run python eval/benchmarks/dev_nll.py gpt2-sample text:../shared/sprites/text --at-most 1.56
    uv run python eval/benchmarks/dev_nll.py llama text:../shared/sprites/text --at-most 1.40
    uv run python eval/benchmarks/dev_nll.py gpt2-sample text:../shared/sprites/text procedural

The last compares the embedded sprites with the real ones (bar: within 20 %). Runs are kept in `checkpoints/`,
so that a second call only reads them, and an interrupted one goes on. For ensembles: `time_to_quality.py`.
"""

import argparse
import statistics
import time
from typing import Any

from machine import describe_machine

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.models.checkpoints import log_history
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.training.run import train


def measure(config: str, source: str, seed: int) -> dict[str, Any]:
    """Train one run and return its figures: those at the end, and the lowest on the way."""
    kind = source.partition(":")[0]
    overrides = [f"sprites.source={source}", f"seed={seed}", f"name=bench-{config}-{kind}-seed{seed}"]
    start = time.perf_counter()
    result = train(load_settings(config, overrides))
    history = [e for e in log_history(valid_checkpoints(result.folder)[-1]) if "eval_completion_nll" in e]
    lowest = min(history, key=lambda entry: entry["eval_completion_nll"])
    return {
        "end": result.dev_completion_nll,
        "end_all": result.dev_nll,
        "lowest": lowest["eval_completion_nll"],
        "lowest_step": lowest["step"],
        "seconds": time.perf_counter() - start,
        "status": result.status,
    }


def main() -> None:
    """Measure each source with each seed, print, and compare with the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--at-most", type=float)
    options = parser.parse_args()
    print(describe_machine())
    means: list[tuple[str, float, float]] = []
    for source in options.sources:
        runs = [measure(options.config, source, seed) for seed in options.seeds]
        for seed, run in zip(options.seeds, runs, strict=True):
            print(
                f"{options.config} on {source}, seed {seed}: completion {run['end']:.4f} at the end, "
                f"{run['lowest']:.4f} lowest (step {run['lowest_step']}); all tokens {run['end_all']:.4f}; "
                f"{run['seconds']:.0f} s ({run['status']})"
            )
        end, end_all = (statistics.fmean(run[key] for run in runs) for key in ("end", "end_all"))
        spread = statistics.stdev(run["end"] for run in runs) if len(runs) > 1 else float("nan")
        print(f"{options.config} on {source}: completion {end:.4f} ± {spread:.4f} over {len(runs)} seeds")
        if options.at_most:
            print(f"bar {options.at_most}: {'passed' if end <= options.at_most else 'NOT passed'}")
        means.append((source, end, end_all))
    first, first_end, first_all = means[0]
    for source, end, end_all in means[1:]:
        inside = abs(end / first_end - 1) <= 0.2 and abs(end_all / first_all - 1) <= 0.2
        print(
            f"{source} against {first}: completion {end / first_end - 1:+.1%}, all tokens "
            f"{end_all / first_all - 1:+.1%}; bar ±20 %: {'passed' if inside else 'NOT passed'}"
        )


if __name__ == "__main__":
    main()
