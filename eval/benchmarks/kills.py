"""Kill `pokemon-gen run` at many moments; the same command must end with what it makes undisturbed.

    uv run python eval/benchmarks/kills.py --kills 50

Half of the kills come after a random time, and half at a moment: as soon as a file or folder of a kind
appears, such as the weights of a checkpoint whose other files are not written yet. A killed run is started
again in its folder, where the next kill waits, and now and then a new folder is begun. A run that comes to
its end must have the weights, the optimizer, the log and the submission of one that was never killed, bit by
bit. Bar: every kill survived, every end equal.

The run is small: a GPT-2 of 32 dimensions, 12 steps with six checkpoints, Muon, dropout and augmentation,
and a detector that chooses among candidates.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import argument_parser, outcome
from machine import describe_machine

from pokemon_gen.models.checkpoints import STATE_NAME, log_history
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.sprites.loading import load_sprites

ROOT = Path(__file__).parent.parent.parent
CONFIG = """\
name: small
sprites: {source: text:few}
model: {model_type: gpt2, n_embd: 32, n_layer: 1, n_head: 2, resid_pdrop: 0.1}
augmentation: {flips: all, hue_shifts: 6}
completion: {do_sample: true, candidates: 2}
selection: {by: detector}
training:
  max_steps: 12
  save_strategy: steps
  save_steps: 2
  eval_strategy: steps
  eval_steps: 4
  per_device_train_batch_size: 8
  muon_learning_rate: 0.01
  report_to: none
detector:
  generator:
    {model: {model_type: gpt2, n_embd: 16, n_layer: 1, n_head: 1}, snapshot_steps: [4], temperatures: [1.0]}
  classifier: {steps: 4, batch_size: 8}
"""
MOMENTS = (
    "checkpoints/small/checkpoint-*/model.safetensors",
    "checkpoints/small/checkpoint-*/optimizer.pt",
    "checkpoints/small/checkpoint-*/trainer_state.json",
    "checkpoints/small/checkpoint-8",
    "checkpoints/small/detector",
    "checkpoints/small/detector/classifier.json",
    "checkpoints/small/.best",
    "checkpoints/small/best",
    "checkpoints/small/selection.json",
    "submissions/small.png",
    "submissions/.small-*.txt",
    "submissions/small.json",
    "eval/results/small/.scorecard-*.json",
    "eval/results/small/.report-*.html",
)
"""What appears during a run, as patterns of paths below its working directory."""
IN_A_ROW = 4
"""Kills of one run, after which it goes to its end."""
LIMIT = 1800
"""Seconds that a run may take to its end."""
POLL = 0.002
"""Seconds between two looks at the working directory."""


@dataclass
class Tally:
    """What happened: kills by their moments, runs that ended, and faults in words."""

    kills: Counter[str] = field(default_factory=Counter)
    ends: int = 0
    faults: list[str] = field(default_factory=list)


def write_few_sprites(folder: Path) -> None:
    """Write some of the embedded sprites as text, so that nothing but the run itself takes long."""
    folder.mkdir(exist_ok=True)
    sprites = load_sprites("procedural")
    splits = [("train", sprites.tokens("train")[:24]), ("dev", sprites.tokens("dev")[:8])]
    splits += [("test", sprites.prompts("test")[:6]), ("colormap", sprites.palette.rgb)]
    for name, rows in splits:
        np.savetxt(folder / f"{name}.txt", rows, fmt="%d")


def start(folder: Path) -> "subprocess.Popen[bytes]":
    """Start the run in a folder, in a session of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.yaml").write_text(CONFIG, encoding="utf-8")
    write_few_sprites(folder / "few")
    return subprocess.Popen(
        [sys.executable, "-m", "pokemon_gen", "run", "small.yaml"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL, stderr=(folder / "stderr.txt").open("wb"), start_new_session=True,
    )  # fmt: skip


def kill_at(folder: Path, moment: str | float) -> bool:
    """Start the run and kill it at a moment, a pattern or seconds; tell whether that was before its end."""
    before = saved_at(folder)
    present = set(folder.glob(moment)) if isinstance(moment, str) else set()
    process, begun = start(folder), time.monotonic()
    while process.poll() is None:
        passed = time.monotonic() - begun > moment if isinstance(moment, float) else False
        if passed or (isinstance(moment, str) and set(folder.glob(moment)) - present):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if before.items() - saved_at(folder).items():
                raise SystemExit(f"{folder}: checkpoints were trained again after a kill")
            return True
        time.sleep(POLL)
    return False


def saved_at(folder: Path) -> dict[str, int]:
    """Return when each valid checkpoint of a run was saved: name → nanoseconds."""
    checkpoints = valid_checkpoints(folder / "checkpoints/small")
    return {one.name: (one / STATE_NAME).stat().st_mtime_ns for one in checkpoints}


def ended(folder: Path) -> str:
    """Run to the end; return nothing, or what went wrong: also steps that were trained again."""
    before = saved_at(folder)
    status = start(folder).wait(LIMIT)
    again = sorted(before.items() - saved_at(folder).items())
    if again:
        return f"trained again: {again}"
    text = (folder / "stderr.txt").read_text(encoding="utf-8", errors="replace")
    return "" if status == 0 else f"exit status {status}: {text[-500:]}"


def result_of(folder: Path) -> dict[str, str]:
    """Return fingerprints of everything that a run must end with."""
    last = valid_checkpoints(folder / "checkpoints/small")[-1]
    optimizer = torch.load(last / "optimizer.pt", weights_only=True)
    log = [{k: v for k, v in entry.items() if not _is_time(k)} for entry in log_history(last)]
    submission = (folder / "submissions/small.txt").read_bytes()
    return {
        "step": last.name,
        "weights": hashlib.sha256((last / "model.safetensors").read_bytes()).hexdigest(),
        "optimizer": hashlib.sha256(repr(_plain(optimizer)).encode()).hexdigest(),
        "log": json.dumps(log),
        "submission": hashlib.sha256(submission).hexdigest(),
        "report": str((folder / "eval/results/small/report.html").is_file()),
    }


def _is_time(key: str) -> bool:
    return "runtime" in key or "per_second" in key


def _plain(value: Any) -> Any:
    """Return nested states as plain values that can be compared by their text."""
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.cpu().reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Return the names of what differs, with the entries of a log that do."""
    names = [name for name in expected if expected[name] != found[name]]
    if "log" in names:
        pairs = zip_longest(json.loads(expected["log"]), json.loads(found["log"]))
        names += [f"{before} became {now}" for before, now in pairs if before != now]
    return names


def moments(whole: float, seed: int) -> Iterator[str | float]:
    """Yield moments for ever: times within the seconds of a whole run, and appearances, by turns."""
    draw = random.Random(seed)
    while True:
        named = [*MOMENTS]
        draw.shuffle(named)
        for moment in named:
            yield draw.uniform(0.1 * whole, whole)
            yield moment


def kill_many(count: int, whole: float, seed: int, work: Path, expected: dict[str, str]) -> Tally:
    """Kill runs `count` times, one after another; a run that ends is checked, and a new one begins."""
    tally, number, history = Tally(), 0, []
    for moment in moments(whole, seed):
        folder = work / f"run-{number}"
        killed = kill_at(folder, moment)
        if killed:
            tally.kills[moment if isinstance(moment, str) else "a random time"] += 1
            history.append(moment)
        last = sum(tally.kills.values()) == count
        if last or not killed or len(history) == IN_A_ROW:  # to the end, and on with a new folder
            fault = ended(folder)
            differing = [] if fault else differences(expected, result_of(folder))
            tally.ends += 1
            if fault or differing:
                tally.faults.append(f"run-{number} after {history}: {fault or differing}")
            print(f"run-{number}: killed at {history}; {fault or differing or 'equal'}", flush=True)
            number, history = number + 1, []
        if last:
            break
    return tally


def main() -> None:
    """Kill, and print what was survived."""
    parser = argument_parser(__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        begun = time.monotonic()
        fault = ended(work / "undisturbed")
        whole = time.monotonic() - begun
        if fault:
            raise SystemExit(fault)
        print(f"undisturbed: {whole:.0f} s", flush=True)
        tally = kill_many(options.kills, whole, options.seed, work, result_of(work / "undisturbed"))
    for moment, count in sorted(tally.kills.items()):
        print(f"{count:3} x {moment}")
    print(f"{sum(tally.kills.values())} kills, {tally.ends} runs ended; {len(tally.faults)} faults")
    for fault in tally.faults:
        print(f"  {fault}")
    print(outcome(not tally.faults))


if __name__ == "__main__":
    main()
