"""How well a model predicts a text: perplexity, and bits per character.

Perplexity is exp of the mean NLL of a token, so models of different tokenizers have perplexities that cannot
be compared; bits per character can. The text is read in blocks that do not overlap, as dev is during
training: a token at the beginning of a block is predicted from few others.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pokemon_gen.bars import progress_bar
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.jackknife import error_of_mean
from pokemon_gen.models.checkpoints import require_trained_on
from pokemon_gen.models.likelihood import sequences_at_once
from pokemon_gen.text.blocks import AdjacentBlocks, TokenStream, batches, read_tokens
from pokemon_gen.text.corpus import Corpus, open_corpus
from pokemon_gen.text.loading import TextModel
from pokemon_gen.text.training import bits_per_character
from pokemon_gen.text_settings import CorpusSettings

_TOKENS = 2**14
"""The most tokens in a forward pass."""
_OF_TEXT = ("source", "column", "count", "seed", "separator", "case", "split")
"""Settings of a corpus that its text depends on."""
_LARGEST_EXPONENT = math.log(sys.float_info.max)
"""About 709.8; `math.exp` raises an error above it."""


@dataclass(frozen=True)
class TextScore:
    """The likelihood of a text under a model.

    Attributes:
        nll: mean over all predicted tokens, in nats/token.
        error: its standard error, from the means of the blocks; None for a single block.
        perplexity: exp of it; infinite above 709 nats/token, which a model that diverged can have.
        bits_per_character: of the text.
        tokens: that were predicted.
        characters: of the text, of which less than a block at the end is not predicted.
    """

    nll: float
    error: float | None
    perplexity: float
    bits_per_character: float
    tokens: int
    characters: int

    def __str__(self) -> str:
        """Return the figures in one line."""
        spread = "" if self.error is None else f" ± {1.96 * self.error:.4f}"
        return (
            f"NLL {self.nll:.4f}{spread} nats/token, perplexity {self.perplexity:.3f}, "
            f"{self.bits_per_character:.4f} bits per character ({self.tokens:,} tokens, "
            f"{self.characters:,} characters)"
        )


def score_corpus(text_model: TextModel, settings: CorpusSettings, split: str = "dev") -> TextScore:
    """Return the likelihood of a corpus under a model.

    Args:
        text_model: the model.
        settings: of the corpus; `block_size` is how many tokens the model reads at once. A text that does not
            fill a block is one shorter block.
        split: `train`, `dev` or `all`.

    Raises:
        PokemonGenError: for a character that the model's tokenizer lacks, a text of less than two tokens, or
            blocks longer than the model reads; or if the corpus is that of the run, but its text has changed.
    """
    block_size, context = settings.block_size, text_model.context
    if context and block_size > context:
        raise PokemonGenError(
            f"corpus.block_size: {text_model.name} reads {context} tokens at once, fewer than {block_size}. "
            f"Use {context} at most."
        )
    corpus = open_corpus(settings)
    _require_same_text(text_model, corpus)
    stream = read_tokens(corpus, split, text_model.tokenizer)
    if len(stream.tokens) < 2:
        raise PokemonGenError(
            f"{settings.source}: {split}: {len(stream.tokens)} tokens; a score takes 2. Use a longer text."
        )
    block_size = min(block_size, len(stream.tokens) - 1)
    # One number for each block: those of all tokens of a long text would fill the memory.
    by_block = np.concatenate([nll.mean(1) for nll in nll_of_blocks(text_model, stream, block_size)])
    mean = float(by_block.mean())
    return TextScore(
        nll=mean,
        error=error_of_mean(by_block),
        perplexity=math.exp(mean) if mean < _LARGEST_EXPONENT else math.inf,
        bits_per_character=bits_per_character(mean, stream),
        tokens=by_block.size * block_size,
        characters=stream.characters,
    )


def _require_same_text(text_model: TextModel, corpus: Corpus) -> None:
    """Check that the corpus of a run still holds the text that its model was trained on."""
    if text_model.folder is None or text_model.settings is None:
        return
    if all(getattr(corpus.settings, name) == getattr(text_model.settings.corpus, name) for name in _OF_TEXT):
        remedy = "Restore it, or name the new text: pokemon-gen text score RUN corpus.source=... --split all."
        require_trained_on(text_model.folder, corpus.origin, remedy)


@torch.no_grad()
def nll_of_blocks(
    text_model: TextModel, stream: TokenStream, block_size: int
) -> Iterator[NDArray[np.float64]]:
    """Yield the NLL of every predicted token of a text, in nats: batches of blocks, (B, block_size) each."""
    blocks = AdjacentBlocks(stream, block_size)
    size = sequences_at_once(text_model.model.config.vocab_size, block_size)
    with progress_bar(len(blocks), "score", "block") as bar:
        for batch in batches(blocks, min(size, max(1, _TOKENS // block_size))):
            batch = batch.to(text_model.model.device)  # (B, block_size + 1)
            logits = text_model.model(batch[:, :-1]).logits.float().transpose(1, 2)
            nll = torch.nn.functional.cross_entropy(logits, batch[:, 1:], reduction="none")
            yield nll.double().cpu().numpy()
            bar.update(len(batch))
