"""The fixtures that the tests of the stages share: a run with a fold, its detector and the judge."""

import contextlib
import shutil
from pathlib import Path

import pytest

from pokemon_gen.settings import Settings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages.detector import detector
from pokemon_gen.stages.judge import judge
from pokemon_gen.training.run import train
from tests.builders import tiny_judge_overrides, tiny_settings, write_text_folder

FOLD = {"source": "text:few", "fold_size": 6}


@pytest.fixture(scope="session")
def judged_folder(few_sprites: Sprites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run with a fold, its detector and the judge, once."""
    folder = tmp_path_factory.mktemp("judged")
    with contextlib.chdir(folder):
        write_text_folder(few_sprites, Path("few"))
        settings = tiny_settings(sprites=FOLD)
        train(settings)
        detector(settings)
        judge("text:few", tiny_judge_overrides())
    return folder


@pytest.fixture
def judged(judged_folder: Path, own_folder: Path) -> Settings:
    """Copy that run to the working directory and return its settings."""
    shutil.copytree(judged_folder, own_folder, dirs_exist_ok=True)
    return tiny_settings(sprites=FOLD)
