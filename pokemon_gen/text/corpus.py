"""A corpus: a text that is read in pieces, as often as needed, and never held in memory as a whole.

A file is read once to count its characters, and once for each of its parts to turn it into tokens. A corpus
is identified by the fingerprint of its text, so that a run notices if a file has changed.
"""

import codecs
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.sprites.procedural.captions import ALPHABET, Style, iterate_captions
from pokemon_gen.text.columns import documents_of_column
from pokemon_gen.text_settings import CorpusSettings

USAGE = "Use captions, riddles, file:PATH or hub:ID_OR_FOLDER"
CAPTIONS_IN_MEMORY = 200_000
"""The most captions that are held in memory: some 20 MB."""
PIECE = 2**20
"""The most characters of a file that are read at once."""
LONGEST_DOCUMENT = 2**24
"""The most characters of a document of a file: a text without separators is not held in memory as a whole."""
LONGEST_LINE = 2**16
"""The most characters of a line of dev; a longer one is read in parts."""
CODE_POINTS = 0x110000
"""The number of characters of Unicode."""


@dataclass(frozen=True)
class Survey:
    """What one reading of a corpus counts.

    Attributes:
        characters: their number.
        documents: their number, if the corpus is read by documents; else 0.
        counts: (1,114,112) how often each character of Unicode occurs.
        fingerprint: 16 hexadecimal digits of the SHA-256 of the text.
    """

    characters: int
    documents: int
    counts: NDArray[np.int64]
    fingerprint: str

    @property
    def alphabet(self) -> str:
        """The different characters, sorted by their number in Unicode."""
        return "".join(map(chr, np.flatnonzero(self.counts)))


@dataclass(frozen=True)
class Corpus:
    """A text in pieces, divided into train and dev.

    Attributes:
        settings: of the corpus.
        pieces: returns the pieces of the text in their order. With `split: documents`, each piece is a
            document with its separator.
    """

    settings: CorpusSettings
    pieces: Callable[[], Iterator[str]]

    @cached_property
    def survey(self) -> Survey:
        """What the text holds.

        Raises:
            PokemonGenError: if it is empty, or a single document that should be divided.
        """
        counts, digest, documents = np.zeros(CODE_POINTS, np.int64), hashlib.sha256(), 0
        for piece in self.pieces():
            count_characters(piece, counts)
            digest.update(piece.encode())
            documents += 1
        if not counts.any():
            raise PokemonGenError(f"{self.settings.source}: the text is empty. Use a longer one.")
        by_documents = self.settings.split == "documents"
        if by_documents and documents == 1:
            raise _not_divided(self.settings, "is a single document")
        return Survey(int(counts.sum()), documents * by_documents, counts, digest.hexdigest()[:16])

    @property
    def origin(self) -> dict[str, str]:
        """The source and the fingerprint of the text, which a checkpoint records."""
        return {"source": self.settings.source, "fingerprint": self.survey.fingerprint}

    @property
    def common_alphabet(self) -> str:
        """The characters of all captions and riddles, for one of these; else an empty text."""
        return self.settings.cased(ALPHABET) if self.settings.source in get_args(Style) else ""

    def split(self, name: str) -> Iterator[str]:
        """Yield the pieces of `train` or `dev`, or of `all`."""
        if name == "all":
            yield from self.pieces()
            return
        train = name == "train"
        if self.settings.split == "order":
            yield from self._part(train)
            return
        drawn = np.random.default_rng(self.settings.seed).random(self.survey.documents)
        for piece, number in zip(self.pieces(), drawn, strict=True):
            if (number < self.settings.train_share) == train:
                yield piece

    def lines(self) -> Iterator[str]:
        """Yield the lines of dev that are not empty, without separators.

        The first one is left out if there are others, because it may begin inside a line of the text.

        Raises:
            PokemonGenError: if all lines are empty.
        """
        separator = self.settings.cased(self.settings.separator)
        parts = split_at(self.split("dev"), separator, LONGEST_LINE)
        lines = (line for line in parts if line.strip())
        first, second = next(lines, None), next(lines, None)
        if first is None:
            raise PokemonGenError(f"{self.settings.source}: dev has only empty lines. Use a longer text.")
        yield first if second is None else second
        yield from lines

    def _part(self, train: bool) -> Iterator[str]:
        """Yield the pieces before the end of train, or those after it."""
        left = int(self.survey.characters * self.settings.train_share)  # as nanoGPT counts
        for piece in self.pieces():
            part = piece[:left] if train else piece[left:]
            left = max(0, left - len(piece))
            if part:
                yield part
            if train and not left:
                return


def open_corpus(settings: CorpusSettings) -> Corpus:
    """Return the corpus that settings describe; nothing but the beginning of a file is read yet.

    Raises:
        PokemonGenError: for an unknown source, a file that is missing or not text, or a data set without a
            column of texts.
    """
    kind, _, place = settings.source.partition(":")
    documents: Callable[[], Iterator[str]]
    if settings.source in get_args(Style):
        documents = partial(_captions, settings.count, settings.seed, cast(Style, settings.source))
    elif kind == "file" and place:
        file = _require_file(Path(place))
        if settings.split == "order":
            return Corpus(settings, lambda: map(settings.cased, _read(file)))
        documents = partial(_documents_of, file, settings)
    elif kind == "hub" and place:
        documents = documents_of_column(place, settings.column)
    else:
        raise PokemonGenError(f"corpus.source: {settings.source!r} is not a corpus. {USAGE}.")
    return Corpus(settings, lambda: (settings.cased(text + settings.separator) for text in documents()))


@lru_cache(maxsize=2)  # of a transfer from captions to riddles
def _all_captions(count: int, seed: int, style: Style) -> list[str]:
    """Write captions once: it takes longer than to read them."""
    return list(iterate_captions(count, seed, style))


def _captions(count: int, seed: int, style: Style) -> Iterator[str]:
    """Yield captions, which are held in memory if they are few enough."""
    if count <= CAPTIONS_IN_MEMORY:
        yield from _all_captions(count, seed, style)
    else:
        yield from iterate_captions(count, seed, style)


def count_characters(text: str, counts: NDArray[np.int64]) -> None:
    """Add to `counts`, (1,114,112), how often each character of Unicode occurs in a text."""
    found = np.bincount(code_points(text))  # no longer than it must be: a corpus may have millions of texts
    counts[: len(found)] += found


def code_points(text: str) -> NDArray[np.uint32]:
    """Return the number in Unicode of each character of a text."""
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def _require_file(file: Path) -> Path:
    """Check that a file exists and is not empty.

    Raises:
        PokemonGenError: naming it.
    """
    if not file.is_file():
        problem = "is a folder" if file.is_dir() else "there is no such file"
        raise PokemonGenError(f"{file}: {problem}. Name a text file: corpus.source=file:PATH.")
    if not file.stat().st_size:
        raise PokemonGenError(f"{file}: the file is empty. Use a longer text.")
    return file


def _read(file: Path) -> Iterator[str]:
    r"""Yield a text file in pieces of about `PIECE` bytes that end at line ends, if lines are shorter.

    A piece ends at the end of a line, so that no word is cut before it becomes tokens. As when Python reads a
    text, a byte order mark is left out, and line ends of other systems become "\n".

    Raises:
        PokemonGenError: for bytes that are not UTF-8, or zeros, as in a binary file.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    rest, read = "", 0
    with file.open("rb") as stream:
        while data := stream.read(PIECE):
            try:
                rest += decoder.decode(data)
            except UnicodeDecodeError as error:
                undecoded = read + len(data) - len(error.object)  # some bytes may be of the last piece
                raise _not_text(file, undecoded + error.start) from error
            if b"\0" in data:
                raise _not_text(file, read + data.index(0))
            read += len(data)
            end = rest.rfind("\n") + 1 or len(rest.rstrip("\r"))
            yield _with_line_ends(rest[:end])
            rest = rest[end:]
    if decoder.getstate()[0]:
        raise _not_text(file, read - len(decoder.getstate()[0]))
    if rest:
        yield _with_line_ends(rest)


def _with_line_ends(text: str) -> str:
    r"""Return a text whose lines end with "\n", as when Python reads it."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _not_text(file: Path, byte: int) -> PokemonGenError:
    return PokemonGenError(
        f"{file}: byte {byte:,} is not text in UTF-8. Save the file as UTF-8, or use a text file."
    )


def _documents_of(file: Path, settings: CorpusSettings) -> Iterator[str]:
    """Yield the texts between the separators of a file; empty ones are left out.

    Raises:
        PokemonGenError: for one of more than `LONGEST_DOCUMENT` characters.
    """
    for document in split_at(_read(file), settings.separator, LONGEST_DOCUMENT):
        if len(document) >= LONGEST_DOCUMENT:
            raise _not_divided(settings, f"has {LONGEST_DOCUMENT:,} characters without a separator")
        if document:
            yield document


def _not_divided(settings: CorpusSettings, problem: str) -> PokemonGenError:
    return PokemonGenError(
        f"{settings.source}: the text {problem}, with {settings.separator!r} as the separator, so it "
        "cannot be divided by documents. Name what is between them (corpus.separator=...), or set "
        "corpus.split=order."
    )


def split_at(pieces: Iterable[str], separator: str, longest: int) -> Iterator[str]:
    """Yield the texts between the separators of a stream; one of more than `longest` characters in parts."""
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split(separator)
        *parts, rest = _in_parts(rest, longest)
        for text in whole:
            yield from _in_parts(text, longest)
        yield from parts
    if rest:
        yield rest


def _in_parts(text: str, longest: int) -> list[str]:
    """Return a text in parts of at most `longest` characters."""
    return [text[start : start + longest] for start in range(0, max(len(text), 1), longest)]
