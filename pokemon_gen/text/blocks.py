"""Tokens of a corpus, and the blocks that a model learns from.

A block is `block_size` tokens, and the token after each of them, which is predicted. Random blocks start
anywhere (nanoGPT's way): block i of a run depends on the seed and on i alone, so that a resumed run draws
what the run that was never stopped drew, and no list of places is kept, however long the corpus is.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.text.corpus import Corpus
from pokemon_gen.text.tokenizers import Position, alphabet_table, encode_characters

IN_MEMORY = 2**26
"""The most tokens of a corpus that are held in memory; those of a longer one are in a temporary file."""
COUNTED = 10_000_000
"""The most drawn blocks of which the distinct ones are counted; of more, their expected number is given."""


@dataclass(frozen=True)
class TokenStream:
    """The tokens of one part of a corpus.

    Attributes:
        tokens: (N,) in the smallest integers that hold them.
        characters: that they stand for.
    """

    tokens: NDArray[Any]
    characters: int

    def windows(self, starts: NDArray[np.int64], length: int) -> Tensor:
        """Return the tokens from each start on: (B,) → (B, length)."""
        return torch.from_numpy(self.tokens[starts[:, None] + np.arange(length)].astype(np.int64))


def read_tokens(corpus: Corpus, split: str, tokenizer: PreTrainedTokenizerFast) -> TokenStream:
    """Turn `train` or `dev` into tokens, piece by piece.

    Raises:
        PokemonGenError: for a character that the tokenizer lacks.
    """
    dtype = np.min_scalar_type(len(tokenizer) - 1)
    table = alphabet_table(tokenizer)
    parts: list[NDArray[Any]] = []
    held = characters = 0
    start = Position()
    spilled = _Spilled(dtype)
    for piece in corpus.split(split):
        if table is None:
            tokens = np.array(tokenizer.encode(piece, add_special_tokens=False), dtype)
        else:
            where = f"{corpus.settings.source}: {split}"
            tokens = encode_characters(table, piece, where, start).astype(dtype)
            start = start.after(piece)
        parts.append(tokens)
        held, characters = held + len(tokens), characters + len(piece)
        if held > IN_MEMORY:
            spilled.add(parts)
            parts, held = [], 0
    if spilled.count:
        spilled.add(parts)
        return TokenStream(spilled.tokens(), characters)
    return TokenStream(np.concatenate(parts) if parts else np.zeros(0, dtype), characters)


class _Spilled:
    """Tokens in a temporary file, which the system removes when the process ends."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype, self.count = dtype, 0
        self.file: Any = None

    def add(self, parts: list[NDArray[Any]]) -> None:
        """Write more tokens to the file."""
        self.file = self.file or tempfile.TemporaryFile(dir=Path.cwd())  # noqa: SIM115 (lives as long as this)
        for part in parts:
            self.file.write(part.tobytes())
            self.count += len(part)

    def tokens(self) -> NDArray[Any]:
        """Return all tokens, which are read from the file when they are used."""
        self.file.flush()
        return np.memmap(self.file, self.dtype, "r", shape=(self.count,))


class RandomBlocks(torch.utils.data.Dataset[Tensor]):
    """Blocks that start anywhere in a stream of tokens."""

    def __init__(self, stream: TokenStream, block_size: int, count: int, seed: int) -> None:
        """Draw `count` blocks of a stream."""
        self.stream, self.block_size, self.count, self.seed = stream, block_size, count, seed
        self.places = len(stream.tokens) - block_size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Tensor:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: list[int]) -> Tensor:
        """Return blocks, (B, block_size + 1)."""
        return self.stream.windows(self.starts(np.array(numbers)), self.block_size + 1)

    def starts(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place of each block's first token: (B,) → (B,)."""
        mixed = _mix(numbers.astype(np.uint64) + _mix(np.array(self.seed, np.uint64)))
        return (mixed % np.uint64(self.places)).astype(np.int64)


def _mix(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a random-looking number of 64 bits for each number: SplitMix64 (Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        mixed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


class AdjacentBlocks(torch.utils.data.Dataset[Tensor]):
    """A stream of tokens cut into blocks that do not overlap; what does not fill the last one is left out."""

    def __init__(self, stream: TokenStream, block_size: int, most: int = 0) -> None:
        """Cut a stream, and take `most` of its blocks, evenly spaced; 0 takes all of them."""
        self.stream, self.block_size = stream, block_size
        self.all_blocks = (len(stream.tokens) - 1) // block_size
        self.count = min(most or self.all_blocks, self.all_blocks)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Tensor:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: list[int]) -> Tensor:
        """Return blocks, (B, block_size + 1)."""
        spaced = np.array(numbers) * self.all_blocks // self.count
        return self.stream.windows(spaced * self.block_size, self.block_size + 1)


def require_block(stream: TokenStream, block_size: int, where: str) -> None:
    """Check that a part of a corpus fills a block.

    Raises:
        PokemonGenError: naming the part, its tokens and those of a block.
    """
    if len(stream.tokens) <= block_size:
        raise PokemonGenError(
            f"{where}: {len(stream.tokens)} tokens do not fill a block, which takes {block_size + 1}. Use a "
            "longer text, or a smaller corpus.block_size."
        )


@dataclass(frozen=True)
class Seen:
    """What a training has seen.

    Attributes:
        blocks: that were read.
        tokens: that were predicted.
        epochs: how often that is all of train.
        distinct: how many of the blocks differ in their place.
        possible: how many places a block can have.
    """

    blocks: int
    tokens: int
    epochs: float
    distinct: int
    possible: int

    def __str__(self) -> str:
        """Return this in a sentence."""
        return (
            f"Seen: {self.tokens:,} tokens in {self.blocks:,} blocks ({self.epochs:.2f} epochs of train), "
            f"{self.distinct:,} different ones of {self.possible:,}"
        )


def count_seen(dataset: RandomBlocks | AdjacentBlocks, blocks: int) -> Seen:
    """Return what a training has seen after some blocks."""
    train = len(dataset.stream.tokens)
    tokens = blocks * dataset.block_size
    if isinstance(dataset, AdjacentBlocks):
        return Seen(blocks, tokens, tokens / train, min(blocks, len(dataset)), len(dataset))
    if blocks <= COUNTED:
        distinct = len(np.unique(dataset.starts(np.arange(blocks))))
    else:  # of N places, each is missed by all draws with probability (1 − 1/N)^blocks
        distinct = round(-dataset.places * np.expm1(blocks * np.log1p(-1 / dataset.places)))
    return Seen(blocks, tokens, tokens / train, distinct, dataset.places)


def batches(dataset: AdjacentBlocks, size: int) -> Iterator[Tensor]:
    """Yield the blocks of a data set in batches, (B, block_size + 1), in their order."""
    for start in range(0, len(dataset), size):
        yield dataset.__getitems__(list(range(start, min(start + size, len(dataset)))))
