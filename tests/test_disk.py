"""A full disk: one message, nothing half written, and the same command continues once there is space.

The disk is a small tmpfs, in a namespace of its own where the system allows one without being root.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pokemon_gen.models.manifest import fault_of_contents, has_manifest
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.sprites.loading import Sprites
from tests.builders import ROOT, RUN, tiny_settings, write_text_folder

pytestmark = pytest.mark.slow  # a process that imports everything, several times
INSIDE = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
MOUNT = "mkdir -p {folder} && mount -t tmpfs -o size={size}k tmpfs {folder} && "


def can_mount() -> bool:
    """Tell whether a tmpfs can be mounted here."""
    if not shutil.which("unshare"):
        return False
    tried = subprocess.run([*INSIDE, "mount -t tmpfs tmpfs /mnt"], capture_output=True, check=False)
    return tried.returncode == 0


needs_mount = pytest.mark.skipif(not can_mount(), reason="a tmpfs needs root or user namespaces (unshare)")


def run_on_small_disk(folder: str, size: int, settings: str, keep: str) -> subprocess.CompletedProcess[str]:
    """Do a run whose folder is a disk of some KiB; copy what is left of the folder to `keep`."""
    script = (
        f"{MOUNT.format(folder=folder, size=size)} "
        f"{sys.executable} -m pokemon_gen run {settings}; status=$?; cp -a {folder} {keep}; exit $status"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([*INSIDE, script], capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def config(few_sprites: Sprites, own_folder: Path) -> str:
    """Write sprites and a run that saves a checkpoint of about 200 kB at each of eight steps."""
    write_text_folder(few_sprites, Path("few"))
    settings = tiny_settings(training={"max_steps": 8, "save_steps": 1, "eval_steps": 8})
    Path("tiny.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    return "tiny.yaml"


@needs_mount
def test_a_disk_that_fills_up_with_checkpoints_ends_the_run_with_the_last_ones_intact(config: str) -> None:
    done = run_on_small_disk("checkpoints", 900, config, "kept")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "checkpoint-" in message
    assert "could not be written" in message
    assert "MiB are free" in message
    left = valid_checkpoints(Path("kept/tiny"))
    assert left
    assert [has_manifest(one) and fault_of_contents(one) for one in left] == [None] * len(left)
    assert {path.name for path in Path("kept/tiny").glob("checkpoint-*")} == {one.name for one in left}
    shutil.copytree("kept", "checkpoints", dirs_exist_ok=True)  # to a disk with space
    again = subprocess.run(
        [sys.executable, "-m", "pokemon_gen", "run", config], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert valid_checkpoints(RUN)[-1].name == "checkpoint-8"
    assert Path("submissions/tiny.txt").is_file()


@needs_mount
def test_a_disk_without_space_for_the_chosen_checkpoint_keeps_all_others(config: str) -> None:
    """All checkpoints fit, and the copy of the best one does not."""
    whole = subprocess.run(
        [sys.executable, "-m", "pokemon_gen", "train", config], capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert whole.returncode == 0
    files = [path for path in Path("checkpoints").rglob("*") if path.is_file()]
    used = sum(-(-path.stat().st_size // 4096) * 4 for path in files)  # KiB, in pages
    done = run_on_small_disk("checkpoints", used + 60, config, "kept")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr
    left = valid_checkpoints(Path("kept/tiny"))
    assert [one.name for one in left] == [f"checkpoint-{step}" for step in range(1, 9)]
    assert [fault_of_contents(one) for one in left] == [None] * 8
    assert not list(Path("kept/tiny").glob("*best*"))


@needs_mount
@pytest.mark.parametrize(("folder", "size"), [("submissions", 8), ("eval", 8)])
def test_a_full_disk_for_results_is_one_message(config: str, folder: str, size: int) -> None:
    done = run_on_small_disk(folder, size, config, "kept")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr
    assert [path for path in Path("kept").rglob(".*") if path.is_file()] == []  # no hidden remains
    assert not Path("kept/tiny.txt").exists()
