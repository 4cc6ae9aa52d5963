"""`study/coherence.py`: cosines by hand, the package's own weights, and what is said without them."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pokemon_gen.study.coherence import Embedder, find_embedder, load_embedder

PACKAGE = """
import logging
logging.basicConfig(level=logging.INFO)
__version__ = "9.9"
class WordLlama:
    @staticmethod
    def load(name, **options):
        return {"name": name, **options}
"""


class Letters:
    """Embeds a text as its numbers of the letters a and b."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([[text.count("a"), text.count("b")] for text in texts], np.float32)


def test_coherence_is_the_cosine_of_the_embeddings() -> None:
    found = Embedder("letters", Letters()).coherence(["a", "ab", "aa", "a"], ["ab", "bbaa", "b", ""])
    assert found == pytest.approx([np.sqrt(0.5), 1, 0, 0])


def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wordllama", None)
    found = find_embedder()
    assert isinstance(found, str)
    assert "wordllama" in found
    assert "pip install 'pokemon-gen[text]'" in found


def test_the_weights_are_those_in_the_package_and_the_root_logger_keeps_its_handlers(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_folder / "wordllama").mkdir()
    (own_folder / "wordllama" / "__init__.py").write_text(PACKAGE)
    monkeypatch.setitem(sys.modules, "wordllama", None)  # so that the real module returns after the test
    del sys.modules["wordllama"]
    monkeypatch.syspath_prepend(own_folder)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])  # pytest's, in whose presence `basicConfig` does nothing
    level = root.level
    found = load_embedder()
    assert (root.handlers, root.level) == ([], level)
    assert found.model["cache_dir"] == own_folder / "wordllama"
    assert found.model["disable_download"] is True
    assert "9.9" in found.name


def test_a_text_fits_one_of_its_topic_better() -> None:
    pytest.importorskip("wordllama")
    topics = ["The dog chased a cat across the garden.", "Share prices fell as the bank raised rates."]
    continued = ["Then the puppy barked at the kitten.", "Investors sold stocks and bonds."]
    embedder = load_embedder()
    assert (embedder.coherence(topics, continued) > embedder.coherence(topics, continued[::-1]) + 0.1).all()
