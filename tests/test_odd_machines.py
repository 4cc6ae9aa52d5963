"""Machines that refuse something: locked folders, no temporary folder, remains of killed processes."""

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pokemon_gen import cli, files
from pokemon_gen.files import atomic_file, atomic_folder, require_absent, write_text
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.pipeline import run
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages.complete import run_completion
from pokemon_gen.stages.plans import plan_completion
from pokemon_gen.stages.submit import submit
from pokemon_gen.training.run import train
from tests.builders import ROOT, RUN, TINY_MODEL, MakeSettings, error_with, write_text_folder
from tests.models.test_locks import Holder

NO_PROCESS = 2**22 + 1
"""More than the largest number of a process on Linux."""


@pytest.mark.parametrize("place", ["submissions", "eval/results"])
def test_a_run_that_could_not_write_its_results_is_refused_before_the_training(
    tiny: MakeSettings, few_folder: Path, place: str
) -> None:
    Path(place).parent.mkdir(exist_ok=True)
    Path(place).write_text("a file in the place of the folder")
    with error_with(place):
        run(tiny())
    assert not RUN.exists()


def test_a_folder_that_must_not_be_written_to_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it exists already, or would be made in such a folder."""
    Path("locked").mkdir()
    monkeypatch.setattr(os, "access", lambda place, _: Path(place).name != "locked")
    for file in ("locked/a.txt", "locked/new/a.txt"):
        with error_with("locked: ", "cannot be written"):
            require_absent(Path(file), overwrite=True)
    require_absent(Path("free/a.txt"), overwrite=False)


@pytest.mark.slow
def test_a_submission_is_refused_while_a_run_is_written(tiny: MakeSettings, few_sprites: Sprites) -> None:
    train(tiny(), few_sprites)
    with Holder(str(RUN)) as holder, error_with(f"process {holder.pid} on "):
        submit("tiny")
    assert not Path("submissions").exists()


@pytest.mark.slow
def test_a_run_that_can_only_be_read_is_submitted(
    tiny: MakeSettings, few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny(), few_sprites)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "checkpoints/tiny/.lock")

    monkeypatch.setattr("pokemon_gen.models.locks.FileLock.acquire", refuse)
    assert submit("tiny").file.is_file()


@pytest.mark.slow
def test_completions_that_are_made_at_once_get_names_of_their_own(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    train(tiny(), few_sprites)
    plans = [plan_completion("tiny", None, None, [], None, overwrite=False) for _ in range(2)]
    made = [run_completion(plan, None).picture.name for plan in plans]
    assert made == ["completions-test.png", "completions-test-2.png"]


def test_the_remains_of_a_killed_process_are_removed_by_the_next_one() -> None:
    """A process of another machine may be alive, so its files have a day."""
    here, there = files._HOST, "0" * 8
    dead = [Path(f".mine-{here}-{NO_PROCESS}-0123abcd.txt"), Path(f".other-{here}-{NO_PROCESS}-0123abcd")]
    dead_folder = Path(f".best-{here}-{NO_PROCESS}-0123abcd")
    dead_folder.mkdir()
    (dead_folder / "new").touch()
    alive = [
        Path(f".mine-{here}-{os.getpid()}-0123abcd.txt"),
        Path(f".mine-{there}-{NO_PROCESS}-0123abcd.txt"),
    ]
    old = Path(f".old-{there}-{NO_PROCESS}-0123abcd.txt")
    for file in (*dead, *alive, old, Path(".mine-99999999999-0123abcd.txt")):
        file.touch()
    os.utime(old, (0, 0))
    write_text(Path("mine.txt"), "x")
    assert [file.exists() for file in (*dead, *alive, old)] == [False, False, True, True, False]
    assert not dead_folder.exists()


def test_an_old_folder_is_left_or_comes_back_if_it_cannot_be_replaced() -> None:
    best = Path("best")
    best.mkdir()
    (best / "old").touch()
    with pytest.raises(FileNotFoundError), atomic_folder(best):
        pass  # no new folder
    assert (best / "old").exists()
    best.rename(f".best-{files._HOST}-{NO_PROCESS}-0123abcd.old")  # killed between two renames
    files._cleaned.clear()
    write_text(Path("other.txt"), "x")  # removes what others left, but not the only copy of a folder
    Path("other.txt").unlink()
    with contextlib.suppress(KeyboardInterrupt), atomic_folder(best) as temporary:
        assert (best / "old").exists()
        assert not temporary.exists()
        raise KeyboardInterrupt
    assert (best / "old").exists()
    with atomic_folder(best) as temporary:
        temporary.mkdir()
        (temporary / "new").touch()
    assert [path.name for path in best.iterdir()] == ["new"]
    assert [path.name for path in Path().iterdir()] == ["best"]


def test_a_new_folder_leaves_other_hidden_folders_alone() -> None:
    mine = [Path(".git"), Path(".git-old")]
    for folder in mine:
        folder.mkdir()
        (folder / "kept").touch()
    for _ in range(2):
        with atomic_folder(Path("git")) as temporary:
            temporary.mkdir()
    assert [(folder / "kept").exists() for folder in mine] == [True, True]
    assert sorted(path.name for path in Path().iterdir()) == [".git", ".git-old", "git"]


def test_an_error_of_a_write_names_the_file_and_not_the_temporary_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(path: Path, **_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(PermissionError) as caught, atomic_file(Path("mine.txt")):
        pass
    assert caught.value.filename == "mine.txt"


@pytest.mark.slow
def test_weights_that_must_not_be_read_are_not_called_missing(
    tiny: MakeSettings, few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train(tiny(), few_sprites).folder / "checkpoint-4"
    usual = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.suffix == ".safetensors":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return usual(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError, match=r"Permission denied: .*safetensors"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("error", "facts"),
    [
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), ["TMPDIR"]),
        (OSError(errno.ENOSPC, "No space left on device"), ["No space left", "MiB are free in", "TMPDIR"]),
    ],
    ids=["no temporary folder", "a full disk"],
)
def test_an_error_without_a_file_says_what_to_do(
    error: OSError, facts: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "cli", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    message = capsys.readouterr().err
    for fact in facts:
        assert fact in message


def test_a_name_too_long_for_its_files_is_refused() -> None:
    Settings(name="a" * 100, model=TINY_MODEL)
    with pytest.raises(ValueError, match="at most 100"):
        Settings(name="a" * 101, model=TINY_MODEL)


ENVIRONMENTS: dict[str, dict[str, str | None]] = {
    "an ASCII locale": {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "no home": {"HOME": None, "USER": None},
    "a home that is a file": {"HOME": "a-file", "XDG_CACHE_HOME": "a-file"},
    "a TMPDIR that does not exist": {"TMPDIR": "/no/such/folder"},
}


@pytest.mark.slow
@pytest.mark.parametrize("changes", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_commands_work_in_odd_environments_and_folders(
    few_sprites: Sprites, own_folder: Path, changes: dict[str, str | None]
) -> None:
    folder = own_folder / "wé ird 'q' 100% $HOME #2"
    folder.mkdir()
    write_text_folder(few_sprites, folder / "mine é")
    (folder / "a-file").touch()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **changes}
    kept = {name: value for name, value in environment.items() if value is not None}
    done = subprocess.run(
        [sys.executable, "-m", "pokemon_gen", "sprites", "text:mine é"],
        cwd=folder, env=kept, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert [line.split()[1] for line in done.stdout.splitlines()[:3]] == [b"24", b"8", b"6"]
    assert list(folder.rglob("*.png"))
