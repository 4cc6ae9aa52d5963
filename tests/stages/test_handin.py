"""`stages/handin.py`: the archive runs in an empty folder, and holds neither weights nor sprites."""

import json
import subprocess
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
    }
    assert [name for name in names if name.endswith(".txt")] == ["requirements.txt"]
    assert settings["name"] == "tiny"
    (cell,) = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    assert "SOURCE = 'text:few'" in cell["source"]
    assert json.loads(Path("submissions/tiny.json").read_text())["sha256"] in page
    with error_with("tiny.zip", "--overwrite"):
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
