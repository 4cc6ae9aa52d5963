"""`locks.py`: one writer a run; the second is told which process is the first, and changes nothing."""

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.locks import writing_to
from pokemon_gen.pipeline import run
from pokemon_gen.settings import Settings
from pokemon_gen.stages.complete import complete
from pokemon_gen.stages.detector import detector
from pokemon_gen.stages.ensemble import ensemble
from pokemon_gen.stages.judge import judge
from pokemon_gen.stages.score import score
from pokemon_gen.stages.select import select
from pokemon_gen.stages.train import train_members
from pokemon_gen.training.run import train
from tests.builders import tiny_judge_overrides

Make = Callable[..., Settings]
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


def files_of(folder: str) -> dict[Path, int]:
    files = (path for path in Path(folder).rglob("*") if path.is_file() and ".lock" not in path.name)
    return {path: path.stat().st_mtime_ns for path in files}


def test_a_second_writer_changes_nothing(tiny: Make, few_folder: Path) -> None:
    """Whatever writes into a run's folder is refused, whatever reads is not."""
    once = tiny(training={"max_steps": 1, "save_steps": 1, "eval_steps": 1})
    train(once)
    folder = judge(f"text:{few_folder}", tiny_judge_overrides()).folder
    before = files_of("checkpoints")
    writers: list[Callable[[], Any]] = [
        lambda: run(once),
        lambda: run(once, overwrite=True),
        lambda: train(tiny()),
        lambda: train(once, overwrite=True),
        lambda: train_members(tiny(members=2), overwrite=True),
        lambda: train(tiny(name="tiny/member-0")),
        lambda: detector(once),
        lambda: select("tiny"),
    ]
    with Holder("checkpoints/tiny") as holder:
        for write in writers:
            with pytest.raises(
                PokemonGenError, match=rf"checkpoints/tiny: .*process {holder.pid} on "
            ) as told:
                write()
            assert "name=" in str(told.value)
        assert files_of("checkpoints") == before
        complete("tiny", split="dev")
        score("tiny")
    with Holder("checkpoints/both"), pytest.raises(PokemonGenError, match="another process"):
        ensemble("both", ["tiny", "tiny"])
    with Holder(str(folder)), pytest.raises(PokemonGenError, match="another process"):
        judge(f"text:{few_folder}", [*tiny_judge_overrides(), "judge.seed=5"], overwrite=True)
    assert files_of("checkpoints") == before


def test_a_lock_dies_with_its_holder(tiny: Make, few_folder: Path) -> None:
    with Holder("checkpoints/tiny"):
        pass
    assert train(tiny()).status == "finished"
    assert not Path("checkpoints/tiny/.lock-holder.json").exists()


def test_a_second_writer_before_the_first_checkpoint_is_refused(tiny: Make, few_folder: Path) -> None:
    """The folder holds settings alone then, and a second training would empty it."""
    Path("checkpoints/tiny").mkdir(parents=True)
    tiny().save(Path("checkpoints/tiny"))
    before = files_of("checkpoints")
    with Holder("checkpoints/tiny"), pytest.raises(PokemonGenError, match="Nothing was changed"):
        train(tiny(seed=3))
    assert files_of("checkpoints") == before


def test_a_lock_leaves_nothing_where_nothing_was_made() -> None:
    with writing_to(Path("checkpoints/a/member-0")):
        assert Path("checkpoints/a/.lock").exists()
    assert not Path("checkpoints").exists()


def test_the_process_that_holds_a_lock_may_take_it_again() -> None:
    run_folder = Path("checkpoints/a")
    with writing_to(run_folder), writing_to(run_folder / "member-1"):
        (run_folder / "made").touch()
    assert not (run_folder / ".lock-holder.json").exists()
    with writing_to(run_folder):
        pass
    assert (run_folder / "made").exists()


@pytest.mark.parametrize("error", [NotImplementedError(), OSError(errno.ENOLCK, "No locks available")])
def test_without_locks_a_run_goes_on_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """Some network file systems have none."""

    def none(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("pokemon_gen.models.locks.FileLock.acquire", none)
    with writing_to(Path("checkpoints/a")):
        Path("checkpoints/a/made").touch()
    assert any("no locks" in record.getMessage() for record in caplog.records)
