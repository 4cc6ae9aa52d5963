"""The dev NLL that a config reaches, in nats/token, for one or more sources and seeds.

    uv run python eval/benchmarks/dev_nll.py gpt2-sample text:FOLDER --at-most 1.56
    uv run python eval/benchmarks/dev_nll.py llama text:FOLDER --at-most 1.40
    uv run python eval/benchmarks/dev_nll.py gpt2-sample text:FOLDER procedural

The last command compares the procedural sprites with the real ones (bar: within 20 %). The runs are kept in
`checkpoints/`: a second call only reads them, and an interrupted call is resumed. For ensembles, use
`time_to_quality.py`.
"""

import statistics
import time
from typing import Any

from common import argument_parser, outcome
from machine import describe_machine

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.models.checkpoints import log_history
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.training.run import train


def measure(config: str, source: str, seed: int) -> dict[str, Any]:
    """Train one run; return its dev NLL at the end, the lowest one of its evaluations, and its time."""
    kind = source.partition(":")[0]
    overrides = [f"sprites.source={source}", f"seed={seed}", f"name=bench-{config}-{kind}-seed{seed}"]
    start = time.perf_counter()
    result = train(load_settings(config, overrides))
    log = log_history(valid_checkpoints(result.folder)[-1])
    evaluations = [entry for entry in log if "eval_completion_nll" in entry]
    lowest = min(evaluations, key=lambda entry: entry["eval_completion_nll"])
    return {
        "end": result.dev_completion_nll,
        "end_all": result.dev_nll,
        "lowest": lowest["eval_completion_nll"],
        "lowest_step": lowest["step"],
        "seconds": time.perf_counter() - start,
        "status": result.status,
    }


def main() -> None:
    """Measure each source with each seed, print, and compare with the bars."""
    parser = argument_parser(__doc__)
    parser.add_argument("config")
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--at-most", type=float, help="the bar: the highest mean completion NLL that passes")
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
            print(f"bar {options.at_most}: {outcome(end <= options.at_most)}")
        means.append((source, end, end_all))
    first, first_end, first_all = means[0]
    for source, end, end_all in means[1:]:
        inside = abs(end / first_end - 1) <= 0.2 and abs(end_all / first_all - 1) <= 0.2
        print(
            f"{source} compared with {first}: completion {end / first_end - 1:+.1%}, all tokens "
            f"{end_all / first_all - 1:+.1%}; bar ±20 %: {outcome(inside)}"
        )


if __name__ == "__main__":
    main()
