"""What a token is: a character, a piece learned by byte pair encoding, or that of a pretrained tokenizer.

All are made with `tokenizers` and saved as a `PreTrainedTokenizerFast`, so that `AutoTokenizer` loads them
from a checkpoint without this package. They add no token of their own: there is no begin or end, and text is
tokens and nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pokemon_gen.errors import PokemonGenError, first_line
from pokemon_gen.models.checkpoints import TOKENIZER_NAME
from pokemon_gen.models.hf_compat import quiet
from pokemon_gen.text.corpus import CODE_POINTS, Corpus, code_points, count_characters
from pokemon_gen.text_settings import TokenizerSettings

UNKNOWN = "<unk>"
"""The token of a character that is not in the alphabet, on request."""
SHOWN = 12
"""The most characters that an error names."""


def make_tokenizer(settings: TokenizerSettings, corpus: Corpus) -> PreTrainedTokenizerFast:
    """Make the tokenizer that settings describe.

    The alphabet of `characters` is that of the whole corpus, as in nanoGPT; with `unknown: true` it is that
    of train. Captions and riddles have one alphabet, so that a model of the one can read the other. Byte pair
    encoding learns from train.

    Raises:
        PokemonGenError: for a pretrained tokenizer that cannot be loaded.
    """
    if settings.kind == "pretrained":
        return load_tokenizer(str(settings.source))
    if settings.kind == "bpe":
        return _byte_pairs(settings.size, corpus.split("train"))
    if not settings.unknown:
        return _characters("".join(sorted({*corpus.survey.alphabet, *corpus.common_alphabet})), unknown=False)
    counts = np.zeros(CODE_POINTS, np.int64)
    for piece in corpus.split("train"):
        count_characters(piece, counts)
    return _characters("".join(map(chr, np.flatnonzero(counts))), unknown=True)


def load_tokenizer(place: str | Path) -> PreTrainedTokenizerFast:
    """Load a tokenizer from a folder, or by the id of a model on the hub. No code of others is run.

    Raises:
        PokemonGenError: if it cannot be loaded.
    """
    local = Path(place).is_dir()
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                str(place), trust_remote_code=False, local_files_only=local
            )
    except Exception as error:  # the hub's client and the packages under it have no common base error
        reason = first_line(error)
        what = "it holds no tokenizer" if local else "it is no folder, and the hub gives no such tokenizer"
        raise PokemonGenError(
            f"{place}: {what}: {reason} Name a folder with {TOKENIZER_NAME}, or log in and check the network."
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise PokemonGenError(
            f"{place}: {type(tokenizer).__name__} is written in Python and has no {TOKENIZER_NAME}, which a "
            "checkpoint needs. Use another tokenizer, or learn one: tokenizer.kind=bpe."
        )
    return tokenizer


def _characters(alphabet: str, unknown: bool) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose tokens are the characters of an alphabet, in its order."""
    pieces = [*([UNKNOWN] if unknown else []), *alphabet]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return _fast(tokenizer)


def _byte_pairs(size: int, pieces: Iterable[str]) -> PreTrainedTokenizerFast:
    """Learn a BPE of `size` tokens (Sennrich et al. 2016) on bytes, as in GPT-2 (Radford et al. 2019)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(pieces, trainer)
    return _fast(tokenizer)


def _fast(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)


def alphabet_table(tokenizer: PreTrainedTokenizerFast) -> NDArray[np.int32] | None:
    """Return the token of each character of Unicode, (1,114,112), −1 where there is none.

    Returns:
        None if some token is not a single character, so that a text is not turned into tokens one by one.
    """
    vocabulary = tokenizer.get_vocab()
    characters = {piece: token for piece, token in vocabulary.items() if piece != UNKNOWN}
    by_words = isinstance(tokenizer.backend_tokenizer.model, models.WordLevel)
    if not by_words or any(len(piece) != 1 for piece in characters):
        return None
    table = np.full(CODE_POINTS, vocabulary.get(UNKNOWN, -1), np.int32)
    table[[ord(piece) for piece in characters]] = list(characters.values())
    return table


def encode(tokenizer: PreTrainedTokenizerFast, text: str, where: str) -> NDArray[np.int64]:
    """Return the tokens of a text.

    Args:
        tokenizer: of the model.
        text: any text.
        where: names the text in errors.

    Raises:
        PokemonGenError: for a character that the tokenizer lacks, with its place.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:  # of a terminal, or of a file's name: a byte that is not UTF-8
        raise PokemonGenError(
            f"{where}: {text[error.start]!r} (character {error.start + 1}) is not text in UTF-8. Replace it."
        ) from error
    table = alphabet_table(tokenizer)
    if table is None:
        return np.array(tokenizer.encode(text, add_special_tokens=False), np.int64)
    return encode_characters(table, text, where).astype(np.int64)


def knows(tokenizer: PreTrainedTokenizerFast, text: str) -> bool:
    """Tell whether a tokenizer has a token for each character of a text."""
    table = alphabet_table(tokenizer)
    return table is None or bool((table[code_points(text)] >= 0).all())


@dataclass(frozen=True)
class Position:
    """A place in a text that is read in pieces: line and column, both from 1."""

    line: int = 1
    column: int = 1

    def after(self, text: str) -> "Position":
        """Return the place after a text that begins here."""
        lines, last = text.count("\n"), text.rfind("\n")
        return Position(self.line + lines, len(text) - last if lines else self.column + len(text))


def encode_characters(
    table: NDArray[np.int32], text: str, where: str, start: Position = Position()
) -> NDArray[np.int32]:
    """Return the tokens of a text, by the table of `alphabet_table`.

    Args:
        table: character → token.
        text: any text, or a piece of one.
        where: names the text in errors.
        start: the place of the piece in the text.

    Raises:
        PokemonGenError: for a character that is not in the table, with its place.
    """
    tokens = table[code_points(text)]
    if (tokens < 0).any():
        place = int(np.argmax(tokens < 0))
        at = start.after(text[:place])
        known = "".join(map(chr, np.flatnonzero(table >= 0)[:SHOWN]))
        raise PokemonGenError(
            f"{where}: line {at.line}, column {at.column}: the character {text[place]!r} is not among the "
            f"{int((table >= 0).sum())} that the tokenizer knows ({known!r}, ...). Replace it, or train with "
            "tokenizer.unknown=true or tokenizer.kind=bpe."
        )
    return tokens


def token_rows(tokenizer: PreTrainedTokenizerFast, tokens: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return a row for each token of a text: its place, its number and the text that it stands for."""
    return [
        {"place": place, "token": int(token), "text": decode(tokenizer, [int(token)])}
        for place, token in enumerate(tokens)
    ]


def decode(tokenizer: PreTrainedTokenizerFast, tokens: Iterable[int]) -> str:
    """Return the text of tokens, with nothing added, left out or tidied."""
    text: str = tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text


def visible(text: str) -> str:
    """Return a text in quotes, with escapes for line breaks and other characters that cannot be seen."""
    return repr(text)
