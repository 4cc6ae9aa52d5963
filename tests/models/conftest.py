"""The fixtures that the tests of the models share: a checkpoint with fresh weights."""

from pathlib import Path

import pytest

from pokemon_gen.models.build import build_model
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.loading import Sprites
from tests.builders import TINY_MODEL


@pytest.fixture
def checkpoint(few_sprites: Sprites, tmp_path: Path) -> Path:
    """Return the folder of a checkpoint that is not part of a run."""
    folder = tmp_path / "checkpoint"
    build_model(TINY_MODEL, len(few_sprites.palette), seed=0).save_pretrained(folder)
    few_sprites.palette.save(folder)
    Settings(name="tiny", model=TINY_MODEL).save(folder)
    return folder
