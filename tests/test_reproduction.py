"""`reproduction.py`: the same bytes again, or where and why they differ."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pokemon_gen import reproduction
from pokemon_gen.cli import cli
from pokemon_gen.models.environment import environment
from pokemon_gen.pipeline import run
from pokemon_gen.reproduction import changes, reproduce
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages.submit import submit
from tests.builders import MakeSettings, error_with

pytestmark = pytest.mark.slow  # each test trains
SIDECAR = Path("submissions/tiny.json")
SAMPLED = {"do_sample": True, "temperature": 0.8}


@pytest.fixture
def sidecar(tiny: MakeSettings, few_sprites: Sprites) -> dict[str, Any]:
    """Do a run, and return the sidecar of its submission."""
    run(tiny(completion=SAMPLED))
    content: dict[str, Any] = json.loads(SIDECAR.read_text())
    return content


def write(content: dict[str, Any]) -> None:
    SIDECAR.write_text(json.dumps(content))


def test_a_submission_is_made_again_from_its_sidecar(sidecar: dict[str, Any]) -> None:
    shutil.rmtree("checkpoints")
    made = reproduce(SIDECAR)
    assert made.equal
    assert (made.sha256, made.difference, made.causes) == (sidecar["sha256"], "", [])
    assert made.file.read_bytes() == SIDECAR.with_suffix(".txt").read_bytes()
    assert not Path("eval/results/tiny-reproduced").exists()  # it is not scored
    done = CliRunner().invoke(cli, ["reproduce", str(SIDECAR)])
    assert done.exit_code == 0
    assert sidecar["sha256"] in done.output


def test_a_difference_is_named_with_what_changed(sidecar: dict[str, Any]) -> None:
    sidecar["settings"]["completion"]["seed"] = 1
    sidecar["checkpoint"]["trained_with"]["threads"] = "64"
    sidecar["completed_with"]["torch"] = "1.0"
    sidecar["requirements"] = [*sidecar["requirements"], "gone==1.2"]
    write(sidecar)
    done = CliRunner().invoke(cli, ["reproduce", str(SIDECAR)])
    assert done.exit_code == 1
    assert "first in line 1, token 2" in done.output
    now = environment()
    for fact in (
        f"training, threads: 64, now {now['threads']}",
        f"completing, torch: 1.0, now {now['torch']}",
    ):
        assert fact in done.output
    assert "gone: 1.2, now not installed" in done.output


def test_a_submission_of_a_checkpoint_named_by_hand_is_made_again(sidecar: dict[str, Any]) -> None:
    submit("checkpoints/tiny/checkpoint-2", overwrite=True)
    assert json.loads(SIDECAR.read_text())["sha256"] != sidecar["sha256"]
    assert reproduce(SIDECAR.with_suffix(".txt")).equal


def test_files_that_are_no_sidecars_and_other_sprites_are_refused(
    sidecar: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduction, "run_to_submission", None)  # nothing is trained
    write({**sidecar, "sprites": {**sidecar["sprites"], "fingerprint": "other"}})
    with error_with("tiny.json", "other", "text:few"):
        reproduce(SIDECAR)
    write({**sidecar, "settings": {**sidecar["settings"], "seed": -1}})
    with error_with("tiny.json", "seed"):
        reproduce(SIDECAR)
    write({"settings": {}})
    with error_with("tiny.json", "not the sidecar"):
        reproduce(SIDECAR)
    with error_with("missing.json"):
        reproduce("missing.json")


def test_what_an_earlier_version_did_not_record_is_said(sidecar: dict[str, Any]) -> None:
    del sidecar["completed_with"], sidecar["checkpoint"]["trained_with"]
    assert [cause.partition(":")[0] for cause in changes(sidecar)] == ["training", "completing"]
