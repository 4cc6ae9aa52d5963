"""Files of a checkpoint that are malformed, of another run or hostile: a clear error, and no code is run."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.checkpoints import log_history
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.manifest import MANIFEST_NAME, write_manifest
from pokemon_gen.palette import Palette
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages.submit import submit
from pokemon_gen.training.run import train
from tests.builders import RUN, MakeSettings

pytestmark = pytest.mark.slow  # each test needs a trained run
MALFORMED = {
    "empty": "", "null": "null", "list": "[]", "number": "5", "text": '"x"', "object": "{}",
    "deep": "[" * 100_000, "digits": '{"rgb": ' + "9" * 5000 + "}", "NUL": "\0",
    "infinite": '{"rgb": [[1e999, 0, 0]]}',
    "nested": '{"rgb": {"a": 1}, "members": {"a": 1}, "log_history": 5, "global_step": "x"}',
    "surrogate": '{"rgb": "\\ud800"}',
}  # fmt: skip
CODE = Path("ran")
HOOK = f"open({str(CODE)!r}, 'w')"


@pytest.fixture
def trained(tiny: MakeSettings, few_sprites: Sprites) -> Path:
    """Train a run of four steps, and return its last checkpoint."""
    return train(tiny(), few_sprites).folder / "checkpoint-4"


def refused_or_right(action: Callable[[], Any]) -> None:
    """Do something that may be refused, but only with a message for people."""
    with contextlib.suppress(PokemonGenError):
        action()


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize(
    "name",
    ["palette.json", "sprites.json", "settings.json", "config.json", "trainer_state.json", "environment.json",
     "generation_config.json", MANIFEST_NAME],
)  # fmt: skip
def test_a_malformed_file_of_a_checkpoint_is_refused_or_skipped(
    trained: Path, tiny: MakeSettings, few_sprites: Sprites, name: str, text: str
) -> None:
    (trained / name).write_text(text)
    refused_or_right(lambda: load_checkpoint(trained))
    refused_or_right(lambda: submit(trained, overwrite=True))
    refused_or_right(lambda: train(tiny(training={"max_steps": 6}), few_sprites))
    write_manifest(trained)  # as if it had been saved like this
    refused_or_right(lambda: train(tiny(training={"max_steps": 8}), few_sprites))


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_ensemble_is_refused(trained: Path, text: str) -> None:
    folder = Path(shutil.copytree(trained, "ensemble/best"))
    (folder / "ensemble.json").write_text(text)
    with pytest.raises(PokemonGenError, match=r"ensemble\.json"):
        load_checkpoint(folder)


@pytest.mark.parametrize("member", ["../../..", "/etc", "", ".", "member-0\0", 5, ["a"], {"a": 1}])
def test_a_member_outside_of_its_ensemble_is_refused(trained: Path, member: object) -> None:
    folder = Path("ensemble/best")
    folder.mkdir(parents=True)
    shutil.copy(trained / "settings.json", folder)
    (folder / "ensemble.json").write_text(json.dumps({"members": [{"folder": member}]}))
    with pytest.raises(PokemonGenError, match="ensemble"):
        load_checkpoint(folder)


@pytest.mark.parametrize("step", [0, 3, 10**6, -1, "4", None, 2.5])
def test_a_wrong_step_in_the_state_is_not_continued_from(
    trained: Path, tiny: MakeSettings, few_sprites: Sprites, step: object
) -> None:
    file = trained / "trainer_state.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "global_step": step}))
    write_manifest(trained)
    result = train(tiny(training={"max_steps": 6}), few_sprites)
    assert (result.status, result.step) == ("finished", 6)
    steps = [entry["step"] for entry in log_history(RUN / "checkpoint-6") if "loss" in entry]
    assert steps == [1, 2, 3, 4, 5, 6]  # from checkpoint-2


def test_an_optimizer_of_another_run_is_refused(
    trained: Path, tiny: MakeSettings, few_sprites: Sprites
) -> None:
    wider = {"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2}
    other = train(tiny(name="other", model=wider), few_sprites).folder / "checkpoint-4"
    shutil.copy(other / "optimizer.pt", trained)
    write_manifest(trained)
    with pytest.raises(PokemonGenError, match="optimizer"):
        train(tiny(training={"max_steps": 6}), few_sprites)


class _Code:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return (exec, (HOOK,))


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"])
def test_no_pickled_code_is_run(trained: Path, tiny: MakeSettings, few_sprites: Sprites, name: str) -> None:
    torch.save({"state": _Code()}, trained / name)
    write_manifest(trained)
    refused_or_right(lambda: load_checkpoint(trained))
    refused_or_right(lambda: train(tiny(training={"max_steps": 6}), few_sprites))
    assert not CODE.exists()


def test_no_code_that_a_folder_brings_is_run(trained: Path) -> None:
    (trained / "modeling_mine.py").write_text(HOOK)
    config = json.loads((trained / "config.json").read_text())
    config |= {
        "auto_map": {"AutoModelForCausalLM": "modeling_mine.Mine", "AutoConfig": "modeling_mine.Mine"},
        "trust_remote_code": True,
    }
    for model_type in (config["model_type"], "mine"):
        (trained / "config.json").write_text(json.dumps({**config, "model_type": model_type}))
        refused_or_right(lambda: load_checkpoint(trained))
    assert not CODE.exists()


def test_a_palette_of_absurd_length_is_refused_in_bounded_time(tmp_path: Path) -> None:
    (tmp_path / "palette.json").write_text(json.dumps({"rgb": [[1, 2, 3]] * 1_000_000}))
    with pytest.raises(PokemonGenError, match=r"palette\.json"):
        Palette.load(tmp_path)
