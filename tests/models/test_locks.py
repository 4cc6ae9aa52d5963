"""`models/locks.py`: a run has one writer; a second one is refused, and its error names the first one."""

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pokemon_gen.models.locks import writing_to
from pokemon_gen.pipeline import run
from pokemon_gen.stages.complete import complete
from pokemon_gen.stages.detector import detector
from pokemon_gen.stages.ensemble import ensemble
from pokemon_gen.stages.judge import judge
from pokemon_gen.stages.score import score
from pokemon_gen.stages.select import select
from pokemon_gen.stages.train import train_members
from pokemon_gen.training.run import train
from tests.builders import ONE_STEP, RUN, MakeSettings, error_with, tiny_judge_overrides

HOLD = """
import sys, time
from pathlib import Path
from pokemon_gen.models.locks import writing_to
with writing_to(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


class Holder:
    """Another process that holds the lock of a run until the block ends."""

    def __init__(self, run: str) -> None:
        self.run = run

    def __enter__(self) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, self.run], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def modification_times(folder: str) -> dict[Path, int]:
    """Return the time of the last change of each file in a folder, without the locks."""
    files = (path for path in Path(folder).rglob("*") if path.is_file() and ".lock" not in path.name)
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.slow
def test_a_second_writer_is_refused_and_changes_nothing(tiny: MakeSettings, few_folder: Path) -> None:
    """Commands that only read a run's folder still work."""
    settings = tiny(training=ONE_STEP)
    train(settings)
    folder = judge(f"text:{few_folder}", tiny_judge_overrides()).folder
    before = modification_times("checkpoints")
    writers: list[Callable[[], Any]] = [
        lambda: run(settings),
        lambda: run(settings, overwrite=True),
        lambda: train(tiny()),
        lambda: train(settings, overwrite=True),
        lambda: train_members(tiny(members=2), overwrite=True),
        lambda: train(tiny(name="tiny/member-0")),
        lambda: detector(settings),
        lambda: select("tiny"),
    ]
    with Holder("checkpoints/tiny") as holder:
        for write in writers:
            with error_with("checkpoints/tiny", f"process {holder.pid} on ", "name=..."):
                write()
        assert modification_times("checkpoints") == before
        complete("tiny", split="dev")
        score("tiny")
    with Holder("checkpoints/both") as holder, error_with("checkpoints/both", f"process {holder.pid} on "):
        ensemble("both", ["tiny", "tiny"])
    with Holder(str(folder)) as holder, error_with(str(folder), f"process {holder.pid} on "):
        judge(f"text:{few_folder}", [*tiny_judge_overrides(), "judge.seed=5"], overwrite=True)
    assert modification_times("checkpoints") == before


def test_a_lock_ends_with_the_process_that_holds_it(tiny: MakeSettings, few_folder: Path) -> None:
    with Holder("checkpoints/tiny"):
        pass
    assert train(tiny()).status == "finished"
    assert not (RUN / ".lock-holder.json").exists()


def test_a_second_writer_is_refused_before_the_first_checkpoint(tiny: MakeSettings, few_folder: Path) -> None:
    """The folder holds only settings then, and a second training would empty it."""
    RUN.mkdir(parents=True)
    tiny().save(RUN)
    before = modification_times("checkpoints")
    with Holder("checkpoints/tiny"), error_with("checkpoints/tiny", "Nothing was changed"):
        train(tiny(seed=3))
    assert modification_times("checkpoints") == before


def test_a_folder_that_holds_only_its_lock_is_removed() -> None:
    with writing_to(Path("checkpoints/a/member-0")):
        assert Path("checkpoints/a/.lock").exists()
    assert not Path("checkpoints").exists()


def test_the_process_that_holds_a_lock_may_take_it_again() -> None:
    run_folder = Path("checkpoints/a")
    with writing_to(run_folder), writing_to(run_folder / "member-1"):
        (run_folder / "result").touch()
    assert not (run_folder / ".lock-holder.json").exists()
    with writing_to(run_folder):
        pass
    assert (run_folder / "result").exists()


@pytest.mark.parametrize("error", [NotImplementedError(), OSError(errno.ENOLCK, "No locks available")])
def test_on_a_file_system_without_locks_a_warning_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """Such as some network file systems."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("pokemon_gen.models.locks.FileLock.acquire", fail)
    with writing_to(Path("checkpoints/a")):
        Path("checkpoints/a/result").touch()
    assert any("no locks" in record.getMessage() for record in caplog.records)
