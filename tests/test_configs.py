"""Every shipped config trains: two steps of it, with its own model, batch and optimizer."""

from pathlib import Path

import pytest

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.training.run import train
from tests.conftest import RUN_CONFIGS

TWO_STEPS = [
    "training.max_steps=2",
    "training.torch_compile=false",  # `test_compiling.py` compiles; here it would take longer than all else
    "training.eval_strategy=no",
    "training.save_strategy=steps",
    "training.save_steps=2",
]


@pytest.mark.parametrize("config", RUN_CONFIGS, ids=lambda c: c.stem)
def test_two_steps(config: Path, few_sprites: Sprites) -> None:
    settings = load_settings(config, TWO_STEPS)
    result = train(settings, few_sprites)
    assert (result.status, result.step) == ("finished", 2)
