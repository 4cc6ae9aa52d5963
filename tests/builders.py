"""Builders that tests share: very small settings, and sprites on disk. They import no torch."""

import json
from pathlib import Path
from typing import Any

import pytest

from pokemon_gen.palette import Palette
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import Sprites

ROOT = Path(__file__).parent.parent
REAL_SPRITES = ROOT.parent / "shared" / "sprites"

needs_real_sprites = pytest.mark.skipif(
    not REAL_SPRITES.is_dir(), reason=f"the real sprites are not here ({REAL_SPRITES.name}/ is missing)"
)
RUN_CONFIGS = sorted(file for file in (ROOT / "configs").glob("*.yaml") if file.stem != "judge")

TINY_MODEL = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 16}
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
    """Make settings of a run that trains on `few` in a second; keywords replace whole sections."""
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
    """Return settings that leave the precision to be chosen."""
    unsaid = {key: value for key, value in settings.training.items() if key != "bf16"}
    return settings.model_copy(update={"training": unsaid})


def tiny_judge_overrides() -> list[str]:
    """Make the judge as small as `TINY_DETECTOR`."""
    return [f"judge.{key}={json.dumps(value)}" for key, value in TINY_DETECTOR.items()]


def write_text_folder(sprites: Sprites, folder: Path) -> Path:
    """Write sprites in the classic form: no newline at the end of the last line."""
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
