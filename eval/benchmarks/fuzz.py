"""Fuzz the readers with a coverage-guided fuzzer; none may crash, hang, or fill the memory.

    uv run --with atheris python eval/benchmarks/fuzz.py --inputs 1000000

Each reader of `tests/fuzzing.py` gets its share of the inputs, in a process of its own. Bars: no error but
`PokemonGenError`, at most a second for an input, at most 512 MiB for the readers beside what the packages
take. An input that breaks one is kept as `crash-...`; it becomes a test (`tests/test_fuzz.py`).
"""

import argparse
import importlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from common import argument_parser, outcome

SECONDS_PER_INPUT = 1
MEMORY = 512
"""MiB that the readers may take beside what is taken before the first input."""
SHARES = {
    "text": 0.25,
    "submission": 0.2,
    "settings": 0.15,
    "palette": 0.2,
    "picture": 0.1,
    "checkpoint": 0.1,
}
"""Shares of the inputs. Settings and pictures are slow to read."""


def fuzz(target: str, inputs: int) -> None:
    """Fuzz one reader in this process, which libFuzzer ends."""
    atheris = importlib.import_module("atheris")  # an extra package, without types
    sys.path.insert(0, str(Path(__file__).parent.parent.parent))  # some packages install tests of their own

    with atheris.instrument_imports(include=["pokemon_gen", "yaml", "PIL"]):
        from tests import fuzzing
    with tempfile.TemporaryDirectory(dir=_memory_folder()) as temporary:
        folder, corpus = Path(temporary, "work"), Path(temporary, "corpus")
        folder.mkdir()
        corpus.mkdir()
        for number, seed in enumerate(fuzzing.SEEDS[target]):
            (corpus / str(number)).write_bytes(seed)
        limits = [f"-runs={inputs}", f"-timeout={SECONDS_PER_INPUT}", "-max_len=8192", "-seed=1"]
        limits.append(f"-rss_limit_mb={_memory_taken() + MEMORY}")
        atheris.Setup(
            [sys.argv[0], *limits, str(corpus)],
            lambda data: fuzzing.throw(fuzzing.TARGETS[target], data, folder),
        )
        atheris.Fuzz()


def _memory_folder() -> str | None:
    """Return a folder that needs no disk, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _memory_taken() -> int:
    """Return the memory of this process, in MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) // 1024  # type: ignore[union-attr]


def result_of(target: str, inputs: int) -> tuple[int, str]:
    """Fuzz one reader in a process of its own; return its exit status and the end of what it said."""
    command = [sys.executable, __file__, "--reader", target, "--inputs", str(inputs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    return done.returncode, done.stderr


def main() -> None:
    """Fuzz every reader, or one."""
    parser = argument_parser(__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all readers together")
    parser.add_argument("--reader", choices=SHARES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        fuzz(options.reader, options.inputs)
        return
    broken = []
    for target, share in SHARES.items():
        status, said = result_of(target, round(share * options.inputs))
        done = re.search(r"Done (\d+) runs in (\d+) second", said)
        print(
            f"{target}: {f'{done[1]} inputs in {done[2]} s' if done else f'ended with status {status}'}",
            flush=True,
        )
        if status or not done:
            broken.append(target)
            print(said[said.find("Traceback") :][:3000] if "Traceback" in said else said[-3000:])
    from machine import describe_machine  # imports torch, whose memory would count as each reader's

    print(describe_machine())
    print(outcome(not broken))


if __name__ == "__main__":
    main()
