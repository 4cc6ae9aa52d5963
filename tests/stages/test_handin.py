"""`stages/handin.py`: the archive runs in an empty folder, and holds neither weights nor sprites."""

import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from pokemon_gen.settings import Settings
from pokemon_gen.stages import handin as stage
from pokemon_gen.stages.handin import handin
from pokemon_gen.stages.submit import submit
from tests.builders import error_with


@pytest.fixture
def submitted(judged: Settings) -> Settings:
    submit("tiny")
    return judged


@pytest.mark.slow
def test_the_archive_is_tried_and_complete(submitted: Settings) -> None:
    made = handin("tiny")
    assert made.file == Path("submissions/tiny.zip")
    with zipfile.ZipFile(made.file) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        settings = yaml.safe_load(archive.read("run.yaml"))
        notebook = json.loads(archive.read("pokemon_gen.ipynb"))
        assert "CONFIG = 'run.yaml'" not in archive.read("notebooks/pokemon_gen.ipynb").decode()
        project = tomllib.loads(archive.read("pyproject.toml").decode())["project"]
        requirements = archive.read("requirements.txt").decode().split()
        page = archive.read("REPRODUCE.md").decode()
    needed = {
        "tiny.json",
        "requirements.txt",
        "configs/quick.yaml",
        "pokemon_gen/cli.py",
        "pokemon_gen/page/engine.js",
    }
    assert needed <= names
    assert {name.rpartition(".")[2] for name in names} <= {
        "py",
        "js",
        "css",
        "j2",
        "yaml",
        "typed",
        "ipynb",
        "json",
        "txt",
        "md",
        "toml",
    }
    assert project["dependencies"] == requirements != []
    assert settings == json.loads(Path("submissions/tiny.json").read_text())["settings"]
    assert [name for name in names if name.endswith(".txt")] == ["requirements.txt"]
    assert settings["name"] == "tiny"
    (cell,) = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    assert "SOURCE = 'text:few'" in cell["source"]
    assert json.loads(Path("submissions/tiny.json").read_text())["sha256"] in page
    with error_with("tiny.zip", "--overwrite"):
        handin("tiny")


@pytest.mark.slow
def test_the_archive_hands_itself_in(submitted: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notebook does so. The package may not be installed there; its pyproject.toml has the versions."""
    with zipfile.ZipFile(handin("tiny").file) as archive:
        archive.extractall("unpacked")
    for folder in ("few", "checkpoints", "submissions"):
        shutil.copytree(folder, f"unpacked/{folder}", dirs_exist_ok=True)
    code = "import pokemon_gen; print(*pokemon_gen.handin('tiny', overwrite=True).names)"
    monkeypatch.setenv("PYTHONPATH", str(Path("unpacked").resolve()))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd="unpacked", capture_output=True, text=True, check=True
    )
    assert "notebooks/pokemon_gen.ipynb" in done.stdout


def test_the_settings_are_those_of_the_submission(
    submitted: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_try", lambda *_: None)
    submit("tiny", overrides=["completion.seed=7"], overwrite=True)
    with zipfile.ZipFile(handin("tiny").file) as archive:
        assert yaml.safe_load(archive.read("run.yaml"))["completion"]["seed"] == 7


def test_a_palette_file_is_packed(submitted: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_try", lambda *_: None)
    Path("mine.hex").write_text("ff0000\n")
    sidecar = Path("submissions/tiny.json")
    made = json.loads(sidecar.read_text())
    made["settings"]["sprites"]["palette"] = "mine.hex"
    sidecar.write_text(json.dumps(made))
    assert "mine.hex" in handin("tiny").names


@pytest.mark.parametrize("files", [("palette.json", "weights.bin"), ("train.parquet", "README.md")])
def test_a_folder_s_palette_is_packed(
    submitted: Settings, monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...]
) -> None:
    """Of a checkpoint, its palette; a data set of colours whole."""
    monkeypatch.setattr(stage, "_try", lambda *_: None)
    Path("colours/.git").mkdir(parents=True)
    for name in (*files, ".git/config.txt", "photograph.jpg"):
        Path("colours", name).write_text("x")
    sidecar = Path("submissions/tiny.json")
    made = json.loads(sidecar.read_text())
    made["settings"]["sprites"]["palette"] = "colours"
    sidecar.write_text(json.dumps(made))
    packed = {name for name in handin("tiny").names if name.startswith("colours/")}
    assert packed == (
        {"colours/palette.json"} if "palette.json" in files else {f"colours/{f}" for f in files}
    )


def test_a_submission_of_another_checkpoint_is_refused(submitted: Settings) -> None:
    first = next(iter(sorted(Path("checkpoints/tiny").glob("checkpoint-*"))))
    submit(first, overwrite=True)
    with error_with("tiny.txt", str(first), "submit"):
        handin("tiny")


def test_a_notebook_whose_first_cells_fail_is_not_handed_in(
    submitted: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = stage._notebook
    broken = lambda settings: usual(settings).replace("import pokemon_gen", "import pokemon_gone", 1)  # noqa: E731
    monkeypatch.setattr(stage, "_notebook", broken)
    with error_with("does not run", "pokemon_gone"):
        handin("tiny")


def test_an_archive_that_does_not_run_is_not_written(
    submitted: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "TRIAL", "raise SystemExit('no module named torch')")
    with error_with("does not run", "no module named torch"):
        handin("tiny", output="mine.zip")
    assert not list(Path().glob("*.zip"))


def test_a_trial_that_hangs_is_stopped(submitted: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "CHECK_SECONDS", 1)
    monkeypatch.setattr(stage, "TRIAL", "import time; time.sleep(60)")
    with error_with("does not run", "minutes"):
        handin("tiny")
    assert subprocess.run(["pgrep", "-f", "time.sleep(60)"], capture_output=True, check=False).stdout == b""


def test_a_run_without_a_submission_is_named(judged: Settings) -> None:
    with error_with("submissions/tiny.txt", "pokemon-gen submit tiny"):
        handin("tiny")
    submit("tiny")
    with error_with("mine.rar", ".zip"):
        handin("tiny", output="mine.rar")
