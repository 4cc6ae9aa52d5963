"""Every shipped config trains for two steps, with its own model, batch size and optimizer."""

from pathlib import Path

import pytest

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.training.run import train
from tests.builders import RUN_CONFIGS

TWO_STEPS = [
    "training.max_steps=2",
    "training.torch_compile=false",  # compiling would take longer than all the rest; see `test_compiling.py`
    "training.eval_strategy=no",
    "training.save_strategy=steps",
    "training.save_steps=2",
]


@pytest.mark.parametrize("config", RUN_CONFIGS, ids=lambda c: c.stem)
def test_a_config_trains_for_two_steps(config: Path, few_sprites: Sprites) -> None:
    member = load_settings(config, TWO_STEPS).each_member()[0]  # the members of an ensemble train alike
    result = train(member, few_sprites)
    assert (result.status, result.step) == ("finished", 2)
    if config.stem == "strong":
        saves = round(1 / load_settings(config).training["save_steps"])  # a share of the run
        assert _size_of_a_run(result.folder / "checkpoint-2", saves) < 200e6


def _size_of_a_run(checkpoint: Path, saves: int) -> float:
    """Return the bytes of a run's checkpoints, the chosen one and a detector."""
    files = {file.name: file.stat().st_size for file in checkpoint.iterdir()}
    detector = 5e6  # three small networks take 3.4 MB
    return saves * sum(files.values()) + files["model.safetensors"] + detector
