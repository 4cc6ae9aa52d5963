"""Everything that only a GPU can tell, in one command: speed, the same numbers as on a CPU, and the tests.

    uv run python eval/benchmarks/gpu.py --source text:FOLDER

The script does one part after another, each in its own process, and prints one table.
`eval/results/gpu.json` keeps the result of every part, so that a script that was cut off resumes with the
parts that are left; --again measures them again. It starts no part that would end after --seconds (480),
stops one that takes longer, and names those that are left.

- *training*: tokens/s of `strong`: a plain `Trainer`; ours uncaptured, captured (as shipped), and compiled as
  well. Bar: 6 times the plain one, as shipped.
- *decoding*: tokens/s of `generate` and of ours, for each shipped config. Bars: 6 times for `gpt2-sample`, 5
  for `llama` and `strong`.
- *strong*: seconds from the start of `pokemon-gen run strong` to its submission, peak memory of the GPU (a T4
  has 15 GB), and the dev NLL. Bar: 60 s.
- *record*: the same. Bar: twice `strong`. Its members are `strong` with five seeds. Bar: the mean dev NLL of
  three is within two standard deviations of the CPU's, 1.203 ± 0.007 over five seeds on an EPYC (`LOG.md`),
  which holds for the homework's sprites only.
- *tests*: `pytest`, with the tests that capture.
- *parity*: Inception features against both libraries on the CPU (`fid_parity.py`). Bar: 1e-4.

The bars are for a GPU like an H100.
"""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from common import alternating_orders, argument_parser, outcome
from decoding_speed import compare
from machine import describe_machine
from rich.console import Console
from rich.table import Table
from training_runs import absolute_source
from training_speed import time_plain_trainer, time_trainer

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.config_files.reading import package_configs, run_names
from pokemon_gen.constants import LENGTH
from pokemon_gen.files import read_json, write_json
from pokemon_gen.models.checkpoints import log_history
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.sprites.loading import load_sprites_of

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "eval" / "results" / "gpu.json"
SECONDS = 480
DECODING_BARS = {"gpt2-sample": 6.0, "llama": 5.0, "strong": 5.0}
NLL_OF_CPU = (1.203, 0.007)
"""Mean and standard deviation of `strong`'s dev NLL over five seeds on a CPU, for the homework's sprites."""
Row: TypeAlias = dict[str, Any]
"""What was measured: `what`, `value`, and where there is a bar, `bar` and, on a GPU, `passed`."""


def row(what: str, value: str, bar: str | None = None, passed: bool | None = None) -> Row:
    """Return one line of the table."""
    return {"what": what, "value": value, "bar": bar, "passed": passed if torch.cuda.is_available() else None}


def measure_training(options: Namespace) -> list[Row]:
    """Compare the training of `strong` with a plain `Trainer`, in alternation."""
    settings = load_settings("strong", [f"sprites.source={options.source}"])
    sprites = load_sprites_of(settings.sprites)
    capture = True if torch.cuda.is_available() else "auto"  # a capture that fails is an error
    ours: dict[str, dict[str, Any]] = {
        "ours, kernel by kernel": {"capture": False, "torch_compile": False},
        "ours, captured": {"capture": capture, "torch_compile": False},
        "ours, captured and compiled": {"capture": capture, "max_steps": 10**6},  # long enough to compile
    }
    sides: dict[str, Callable[..., float]] = {"plain Trainer": partial(time_plain_trainer, settings)}
    sides |= {name: partial(time_trainer, settings.with_training(**ours[name])) for name in ours}
    tokens = options.steps * settings.training["per_device_train_batch_size"] * LENGTH
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for order in alternating_orders(sides, options.rounds):
        for name in order:
            speeds[name].append(tokens / sides[name](sprites, options.steps))
    medians = {name: statistics.median(rates) for name, rates in speeds.items()}
    plain = medians["plain Trainer"]
    rows = [
        row(f"training strong, {name}", f"{rate:,.0f} tokens/s, {rate / plain:.2f}")
        for name, rate in medians.items()
    ]
    shipped = medians["ours, captured"] / plain  # 5,000 steps are too few to compile
    return [
        *rows,
        row("training strong, as shipped", f"{shipped:.2f} times a plain Trainer", "6", shipped >= 6),
    ]


def measure_decoding(options: Namespace) -> list[Row]:
    """Compare the decoding of each shipped config with `generate`, in alternation."""
    rows = []
    names = [name for name in run_names(package_configs()) if name != "record"]
    for name in names:
        found = compare(name, options.source, options.rounds)
        bar = DECODING_BARS.get(name)
        passed = None if bar is None else found.ratio >= bar and not found.differing
        value = f"{found.ratio:.2f} times generate; {found.differing} rows differ"
        rows.append(row(f"decoding {name}", value, None if bar is None else f"{bar:g}", passed))
    return rows


class PeakMemory(threading.Thread):
    """Watches the memory of the GPU, whoever uses it, until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.gib = 0.0

    def run(self) -> None:
        """Look twice a second."""
        while torch.cuda.is_available() and not self.ended.wait(0.5):
            free, total = torch.cuda.mem_get_info()
            self.gib = max(self.gib, (total - free) / 2**30)


def run_config(config: str, options: Namespace) -> tuple[float, float, Path]:
    """Do all stages of a run; return the seconds to its submission, the GPU's peak GiB, and its folder."""
    folder = Path(tempfile.mkdtemp(prefix=f"{config}-", dir=options.work))
    command = [sys.executable, "-m", "pokemon_gen", "run", config, f"sprites.source={options.source}"]
    memory, started = PeakMemory(), time.time()
    memory.start()
    subprocess.run(command, cwd=folder, check=True, env=with_package())
    memory.ended.set()
    seconds = (folder / "submissions" / f"{config}.txt").stat().st_mtime - started
    return seconds, memory.gib, folder / "checkpoints" / config


def with_package() -> dict[str, str]:
    """Return the environment in which this package is found, installed or not."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}


def dev_nll(run: Path) -> float:
    """Return the dev NLL of the completion at the end of a training, in nats/token."""
    history = log_history(valid_checkpoints(run)[-1])
    return [entry["eval_completion_nll"] for entry in history if "eval_completion_nll" in entry][-1]


def measure_strong(options: Namespace) -> list[Row]:
    """Time `strong` from start to submission."""
    seconds, memory, run = run_config("strong", options)
    return [
        row("strong, start to submission", f"{seconds:.0f} s", "60 s", seconds <= 60),
        row("strong, peak GPU memory", f"{memory:.1f} GiB", "15 GiB (T4)", memory <= 15),
        {**row("strong, dev NLL, seed 0", f"{dev_nll(run):.4f}"), "seconds": seconds},
    ]


def measure_record(options: Namespace) -> list[Row]:
    """Time `record` from start to submission, in relation to `strong`."""
    seconds, memory, run = run_config("record", options)
    strong = [one["seconds"] for one in options.results.get("strong", []) if "seconds" in one]
    ratio = seconds / strong[0] if strong else None
    shown = f"{seconds:.0f} s" + (f", {ratio:.2f} times strong" if ratio else "")
    return [
        row("record, start to submission", shown, "2 times strong", None if ratio is None else ratio <= 2),
        row("record, peak GPU memory", f"{memory:.1f} GiB", "15 GiB (T4)", memory <= 15),
        compare_seeds([dev_nll(member) for member in sorted(run.glob("member-*"))], options.source),
    ]


def compare_seeds(nlls: list[float], source: str) -> Row:
    """Compare the dev NLL of `strong` with three seeds, which are members of `record`, with the CPU's."""
    mean, (expected, deviation) = statistics.mean(nlls[:3]), NLL_OF_CPU
    near = abs(mean - expected) <= 2 * deviation if source.startswith(("text:", "hub:")) else None
    shown = f"{mean:.4f}; all members: {', '.join(f'{nll:.4f}' for nll in nlls)}"
    bar = f"{expected} ± {2 * deviation:.3f}, on the homework's sprites"
    return row("strong, mean dev NLL of three seeds", shown, bar, near)


def measure_parity(options: Namespace) -> list[Row]:
    """Compare Inception features and FID with both libraries, which compute on the CPU."""
    script = str(Path(__file__).parent / "fid_parity.py")
    done = subprocess.run(
        [sys.executable, script, options.source],
        check=True,
        capture_output=True,
        text=True,
        env=with_package(),
    )
    lines = [line for line in done.stdout.splitlines() if "features differ by" in line]
    found = [re.split(r": |; bars: ", line) for line in lines]
    return [row(f"parity, {one[0]}", ": ".join(one[1:-1]), "1e-4", one[-1] == "passed") for one in found]


def measure_tests(options: Namespace) -> list[Row]:
    """Run the tests, those that capture included."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=with_package())
    summary = next((line for line in done.stdout.splitlines()[::-1] if " passed" in line), done.stdout[-300:])
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return [
        row("tests", summary.strip("= "), "all pass", done.returncode == 0),
        *(row("", one) for one in failed),
    ]


PARTS: dict[str, tuple[Callable[[Namespace], list[Row]], int]] = {
    "training": (measure_training, 75),
    "decoding": (measure_decoding, 60),
    "strong": (measure_strong, 70),
    "record": (measure_record, 130),
    "tests": (measure_tests, 100),
    "parity": (measure_parity, 40),
}
"""The parts in order, with the seconds that each is expected to take on an H100."""


def do_part(name: str, options: Namespace, limit: float) -> None:
    """Do a part in a process of its own, for at most `limit` seconds, and keep its rows."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        words = ["--part", name, "--rows", file.name, "--source", options.source, "--work", options.work]
        words += ["--rounds", str(options.rounds), "--steps", str(options.steps)]
        words += ["--results", str(options.results_file)]
        part = subprocess.Popen(
            [sys.executable, __file__, *words], env=with_package(), start_new_session=True
        )
        try:
            status = part.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(part.pid, signal.SIGKILL)  # with the runs and tests that it started
            print(f"part {name} was stopped after {limit:.0f} s", flush=True)
            return
        if status:
            print(f"part {name} failed with exit status {status}; see above", flush=True)
            return
        results = read_json(options.results_file)
        results[name] = read_json(Path(file.name))
        write_json(options.results_file, results)


def show(results: dict[str, Any], left: list[str]) -> None:
    """Print the table of all parts that are done, and name the others."""
    print(results["machine"])
    table = Table()
    for column in ("part", "measured", "value", "bar", "outcome"):
        table.add_column(column)
    for name in PARTS:
        for one in results.get(name, []):
            verdict = "" if one["passed"] is None else outcome(one["passed"])
            table.add_row(name, one["what"], one["value"], one["bar"] or "", verdict)
    Console(width=150).print(table)
    if left:
        print(f"left: {', '.join(left)}. The same command resumes with them.")


def main() -> None:
    """Do the parts that are left, and print the table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--source", default="procedural")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument(
        "--seconds",
        type=int,
        default=SECONDS,
        help="start no part that would end later, and stop one that does",
    )
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--again", action="store_true", help="measure parts that are done, too")
    parser.add_argument("--part", choices=list(PARTS), help="used by the script itself")
    parser.add_argument("--rows", type=Path, help="used by the script itself")
    parser.add_argument("--work", help="folder for the runs; default: a temporary one")
    parser.add_argument("--results", type=Path, default=RESULTS, dest="results_file")
    options = parser.parse_args()
    options.source = absolute_source(options.source)
    if options.part:
        options.results = read_json(options.results_file)
        options.rows.write_text(json.dumps(PARTS[options.part][0](options)), encoding="utf-8")
        return
    this = {"machine": describe_machine(), "source": options.source}
    results = read_json(options.results_file) if options.results_file.is_file() else {}
    if any(results.get(key) != value for key, value in this.items()):
        results = this  # those of another machine are not mixed with ours
    if options.again:
        results = {name: rows for name, rows in results.items() if name not in options.only}
    write_json(options.results_file, results)
    if not torch.cuda.is_available():
        print("note: there is no NVIDIA GPU here, so the bars do not apply")
    end = time.perf_counter() + options.seconds
    with tempfile.TemporaryDirectory() as temporary:
        options.work = options.work or temporary
        for name in options.only:
            left = end - time.perf_counter()
            if name not in read_json(options.results_file) and left >= PARTS[name][1]:
                print(f"part {name} ...", flush=True)
                do_part(name, options, left)
    results = read_json(options.results_file)
    show(results, [name for name in options.only if name not in results])


if __name__ == "__main__":
    main()
