"""How well a continuation fits its prompt: the cosine of their embeddings.

WordLlama is the embedding model, because its weights are in its package: 16 MB, so it needs neither a network
nor a GPU. It averages one vector of each token, and so it measures whether prompt and continuation have the
same topic, not whether one follows from the other. Compare the values with those of true continuations, and
of true continuations of other prompts.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.study.diversity import require_package

MODEL = "l2_supercat"
"""The name of WordLlama's default model."""


@dataclass(frozen=True)
class Embedder:
    """An embedding model of texts.

    Attributes:
        name: of the model and its package, with the version.
        model: WordLlama's.
    """

    name: str
    model: Any

    def coherence(self, prompts: Sequence[str], continuations: Sequence[str]) -> NDArray[np.float64]:
        """Return the cosine between the embeddings of each prompt and its continuation.

        Args:
            prompts: N texts.
            continuations: of the prompts, in their order.

        Returns:
            (N,) from -1 to 1; 0 where a text has no token.
        """
        return _cosines(self._embed(prompts), self._embed(continuations))

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the embedding of each text, (N, 256)."""
        return np.asarray(self.model.embed(list(texts)), dtype=np.float64)


def load_embedder() -> Embedder:
    """Load the embedding model from its package, in a few seconds.

    Raises:
        PokemonGenError: without WordLlama.
    """
    with _root_logger_unchanged():  # WordLlama gives it a handler, which would print our messages twice
        package = require_package("wordllama", "wordllama", "the coherence of texts")
    # WordLlama 0.4.0 looks for its tokenizer in a folder `tokenizer`, but the package has `tokenizers`. As a
    # cache, the same folder is read by its right name.
    model = package.WordLlama.load(MODEL, cache_dir=Path(package.__file__).parent, disable_download=True)
    return Embedder(f"WordLlama {package.__version__}, {MODEL}", model)


def find_embedder() -> Embedder | str:
    """Return the embedding model, or the reason why there is none and the command that installs it."""
    try:
        return load_embedder()
    except PokemonGenError as error:
        return str(error)


@contextmanager
def _root_logger_unchanged() -> Iterator[None]:
    """Restore the handlers and the level of the root logger at the end."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def _cosines(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosine between each two rows; 0 for a row of zeros: (N, D), (N, D) → (N,)."""
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    cosines: NDArray[np.float64] = (x * y).sum(1) / np.where(lengths > 0, lengths, 1)
    return cosines
