"""Builders that tests share: very small settings, sprites and runs on disk. They import no torch."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from safetensors.numpy import save_file

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.palette import Palette
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import Sprites

MakeSettings: TypeAlias = Callable[..., Settings]
"""The type of the fixture `tiny`."""
RUN = Path("checkpoints/tiny")
"""The folder of the run that `tiny_settings` describes."""
ROOT = Path(__file__).parent.parent
REAL_SPRITES = ROOT.parent / "shared" / "sprites"

needs_real_sprites = pytest.mark.skipif(
    not REAL_SPRITES.is_dir(), reason=f"the real sprites are not here ({REAL_SPRITES.name}/ is missing)"
)
RUN_CONFIGS = sorted(file for file in (ROOT / "configs").glob("*.yaml") if not file.stem.startswith("judge"))

TINY_MODEL = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 16}
NO_DROPOUT = dict.fromkeys(("attn_pdrop", "resid_pdrop", "embd_pdrop"), 0.0)
"""Fields of GPT-2."""
ONE_STEP = {"max_steps": 1, "save_steps": 1, "eval_steps": 1}
TINY_DETECTOR: dict[str, Any] = {
    "calibration_share": 0.25,
    "generator": {"model": TINY_MODEL, "snapshot_steps": [2], "batch_size": 8},
    "classifier": {
        "model": {
            "model_type": "resnet",
            "embedding_size": 8,
            "hidden_sizes": [8],
            "depths": [1],
            "layer_type": "basic",
        },
        "upscale": 2,
        "steps": 3,
        "batch_size": 16,
    },
}


def tiny_settings(**sections: Any) -> Settings:
    """Make settings of a run that trains on `few` in a second; a keyword replaces a section."""
    training = {
        "max_steps": 4,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-2,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "save_strategy": "steps",
        "save_steps": 2,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "report_to": "none",
        "bf16": False,
    }
    values = {
        "name": "tiny",
        "sprites": {"source": "text:few"},
        "model": dict(TINY_MODEL),
        "detector": TINY_DETECTOR,
        "selection": {"by": "nll"},  # a detector's generators take ten seconds even here
        **sections,
        "training": {**training, **sections.get("training", {})},
    }
    return Settings.model_validate(values)


def without_precision(settings: Settings) -> Settings:
    """Return settings that do not set the precision, so that it is chosen."""
    training = {key: value for key, value in settings.training.items() if key != "bf16"}
    return settings.model_copy(update={"training": training})


def tiny_judge_overrides() -> list[str]:
    """Return overrides that make the judge as small as `TINY_DETECTOR`."""
    return [f"judge.{key}={json.dumps(value)}" for key, value in TINY_DETECTOR.items()]


@contextmanager
def error_with(*facts: str) -> Iterator[None]:
    """Expect a `PokemonGenError` whose message contains each of these texts."""
    with pytest.raises(PokemonGenError) as caught:
        yield
    message = str(caught.value)
    missing = [fact for fact in facts if fact not in message]
    assert not missing, f"the error does not name {missing}: {message}"


def make_run(folder: Path, nll: dict[int, float], kept: list[int]) -> Path:
    """Write a run's folder with valid checkpoints that cannot be loaded.

    Args:
        folder: of the run.
        nll: step → the dev NLL of the completion that was logged there.
        kept: the steps of the checkpoints.
    """
    # The NLL of all tokens is lowest where that of the completion is highest.
    history = [
        {"step": step, "eval_completion_nll": value, "eval_nll": 9 - value} for step, value in nll.items()
    ]
    for step in kept:
        checkpoint = folder / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        save_file({"weight": np.zeros(1, np.float32)}, checkpoint / "model.safetensors")
        for name in ("palette.json", "settings.json", "config.json", "sprites.json"):
            (checkpoint / name).write_text("{}")
        (checkpoint / "optimizer.pt").touch()
        logged = [entry for entry in history if entry["step"] <= step]
        (checkpoint / "trainer_state.json").write_text(
            json.dumps({"global_step": step, "log_history": logged})
        )
    return folder


def write_text_folder(sprites: Sprites, folder: Path) -> Path:
    """Write sprites as the homework's text files, whose last line has no newline."""
    folder.mkdir(exist_ok=True)
    for split in ("train", "dev", "test"):
        write_rows(folder / f"{split}.txt", sprites.tokens(split))
    write_palette(folder / "colormap.txt", sprites.palette)
    return folder


def write_rows(path: Path, rows: Any) -> Path:
    path.write_text("\n".join(" ".join(map(str, row)) for row in rows))
    return path


def write_palette(path: Path, palette: Palette) -> Path:
    return write_rows(path, palette.rgb.tolist())
