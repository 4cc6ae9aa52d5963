"""The fixtures that tests share: an empty working directory, and the embedded sprites.

No test needs a network. The few that need the real sprites skip, saying why, where they are missing.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

# Before any package of Hugging Face is imported: no network, and no data sets cached by other runs.
if "PYTEST_XDIST_WORKER" in os.environ:  # several processes with many threads each would wait for one another
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_CACHE"] = tempfile.mkdtemp(prefix="pokemon-gen-tests-")

import pytest

from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import collect
from pokemon_gen.sprites.loading import Sprites, load_sprites
from tests.browser import browser, page  # noqa: F401  # once for all tests: a second Playwright cannot start
from tests.builders import tiny_settings, write_text_folder


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every test in an empty working directory, so that outputs never meet."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def procedural() -> Sprites:
    return load_sprites("procedural")


@pytest.fixture(scope="session")
def few_sprites(procedural: Sprites) -> Sprites:
    """24 sprites to train on, 8 of dev, 6 blind test prompts."""
    rows = {
        "train": procedural.tokens("train")[:24],
        "dev": procedural.tokens("dev")[:8],
        "test": procedural.prompts("test")[:6],
    }
    return collect(rows, procedural.palette, "few")


@pytest.fixture
def few_folder(few_sprites: Sprites, own_folder: Path) -> Path:
    """Return the same few sprites as a folder of the classic text files, `few` in the working directory."""
    write_text_folder(few_sprites, own_folder / "few")
    return Path("few")


@pytest.fixture
def tiny(few_folder: Path) -> Callable[..., Settings]:
    """Return `tiny_settings`, with its sprites in place."""
    return tiny_settings
