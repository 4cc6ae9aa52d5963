"""`text/corpus.py`: every character of a source arrives once, however the text is cut into pieces."""

import hashlib
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pokemon_gen.sprites.procedural.captions import iterate_captions
from pokemon_gen.text import corpus as corpus_module
from pokemon_gen.text.blocks import read_tokens
from pokemon_gen.text.corpus import open_corpus
from pokemon_gen.text.tokenizers import make_tokenizer
from pokemon_gen.text_settings import CorpusSettings, TokenizerSettings
from tests.builders import error_with
from tests.text.builders import corpus_of, write_corpus

often = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
BOM = b"\xef\xbb\xbf"
FILES = {
    "lines": "alpha\nβeta ∑ 漢字\n🙂🙂 gamma\n",
    "no final newline": "alpha\nbeta",
    "no newline": "one line 漢字 without an end 🙂",
    "Windows": "alpha\r\nβeta\r\n\r\nγ\r\n",
    "carriage returns": "a\rb\r\r\nc\r",
    "empty lines": "\n\n\na\n\n",
    "a mark inside": "a\ufeffb\n",
}
PIECES = [1, 2, 3, 5, 8, 2**20]


@pytest.fixture
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Read files in pieces of a few bytes."""
    monkeypatch.setattr(corpus_module, "PIECE", request.param)
    return int(request.param)


@pytest.mark.parametrize("piece", PIECES, indirect=True)
@pytest.mark.parametrize("mark", [b"", BOM], ids=["plain", "with a mark"])
@pytest.mark.parametrize("name", FILES)
def test_a_text_is_the_same_however_it_is_cut(piece: int, mark: bytes, name: str) -> None:
    corpus = corpus_of(mark + FILES[name].encode())
    expected = FILES[name].replace("\r\n", "\n").replace("\r", "\n")
    assert "".join(corpus.split("all")) == expected
    assert "".join(corpus.split("train")) == expected[: int(0.9 * len(expected))]
    assert "".join(corpus.split("dev")) == expected[int(0.9 * len(expected)) :]


@often
@given(st.text("ab\r\né漢🙂", min_size=1), st.integers(1, 9))
def test_any_text_is_the_same_in_pieces_of_any_size(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_module, "PIECE", size)
        assert "".join(corpus_of(text).split("all")) == text.replace("\r\n", "\n").replace("\r", "\n")


@often
@given(st.text("ab\n", min_size=1), st.sampled_from(["\n\n", "aba", "aa", "b"]), st.integers(1, 5))
def test_documents_are_the_texts_between_the_separators(text: str, separator: str, size: int) -> None:
    """Also where a separator of several characters is cut into two pieces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_module, "PIECE", size)
        corpus = corpus_of(text, separator=separator, split="documents")
        documents = [part for part in text.split(separator) if part]
        assert list(corpus.split("all")) == [document + separator for document in documents]


@pytest.mark.parametrize("piece", [64], indirect=True)
def test_a_long_file_is_read_in_pieces_that_end_at_line_ends(piece: int) -> None:
    pieces = list(corpus_of("a line of words\n" * 40).split("all"))
    assert len(pieces) >= 10
    assert all(part.endswith("\n") for part in pieces)


@pytest.mark.parametrize("piece", [7], indirect=True)
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.999])
def test_train_is_the_beginning_and_dev_the_rest(piece: int, share: float) -> None:
    text = write_corpus(1000)
    corpus = corpus_of(text, train_share=share)
    assert "".join(corpus.split("train")) == text[: int(1000 * share)]
    assert "".join(corpus.split("dev")) == text[int(1000 * share) :]


def test_documents_are_drawn_for_dev_from_all_of_the_text() -> None:
    documents = [f"document {number}\n" for number in range(1000)]
    corpus = corpus_of("".join(documents), split="documents", seed=3)
    train, dev = list(corpus.split("train")), list(corpus.split("dev"))
    assert sorted([*train, *dev]) == sorted(documents)
    assert [document for document in documents if document in set(train)] == train  # in their order
    assert 70 < len(dev) < 130  # 100 ± 3 standard deviations of a binomial of 1,000 and 0.1
    assert {documents.index(document) // 250 for document in dev} == {0, 1, 2, 3}
    again = corpus_of("".join(documents), split="documents", seed=3)
    other = corpus_of("".join(documents), split="documents", seed=4)
    assert list(again.split("dev")) == dev != list(other.split("dev"))


@pytest.mark.parametrize("piece", [3], indirect=True)
def test_the_case_is_that_of_python(piece: int) -> None:
    text = "Straße İstanbul\nÉÀ ab\n"
    for case, expected in (("keep", text), ("lower", text.lower()), ("upper", text.upper())):
        corpus = corpus_of(text, case=case)
        assert "".join(corpus.split("all")) == expected
        assert corpus.survey.alphabet == "".join(sorted(set(expected)))


def test_the_separator_has_the_case_of_the_text() -> None:
    corpus = corpus_of("a END b END c", case="lower", split="documents", separator="END")
    assert list(corpus.split("all")) == ["a end", " b end", " cend"]
    assert corpus.settings.cased(corpus.settings.separator) == "end"


def test_a_survey_counts_every_character() -> None:
    text = "Aé漢🙂a\n" * 3 + "z"
    survey = corpus_of(text).survey
    assert {chr(place): int(survey.counts[place]) for place in survey.counts.nonzero()[0]} == Counter(text)
    assert survey.characters == len(text)
    assert survey.alphabet == "\nAazé漢🙂"
    assert survey.fingerprint == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_a_corpus_is_recognised_by_its_text_and_not_by_its_place() -> None:
    text = write_corpus(file="here.txt")
    Path("there.txt").write_text(text)
    here, there = (open_corpus(CorpusSettings(source=f"file:{name}.txt")) for name in ("here", "there"))
    assert here.origin["fingerprint"] == there.origin["fingerprint"]
    assert corpus_of(text + ".").origin["fingerprint"] != here.origin["fingerprint"]


def test_a_corpus_of_many_short_texts_is_surveyed_in_seconds() -> None:
    """A table of all of Unicode for each text would take a minute."""
    corpus = corpus_of("🙂\n" * 10_000, split="documents")
    begun = time.process_time()
    assert corpus.survey.documents == 10_000
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("style", ["captions", "riddles"])
def test_captions_are_joined_by_the_separator(style: str) -> None:
    corpus = open_corpus(CorpusSettings(source=style, count=12, seed=5, separator=" | "))
    expected = list(iterate_captions(12, 5, style))  # type: ignore[arg-type]
    assert list(corpus.split("all")) == [f"{caption} | " for caption in expected]
    assert len(set(expected)) == 12


def test_more_captions_than_are_held_in_memory_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = open_corpus(CorpusSettings(count=6, seed=6))
    held = list(corpus.split("all"))
    monkeypatch.setattr(corpus_module, "CAPTIONS_IN_MEMORY", 5)
    assert list(corpus.split("all")) == held


@pytest.mark.parametrize(
    ("data", "facts"),
    [
        (b"", ["some.txt", "empty"]),
        (BOM, ["file:some.txt", "empty"]),
        (b"\0" * 20, ["some.txt", "byte 0 "]),
        (b"text\nand \0 zeros", ["some.txt", "byte 9 "]),
        (b"text \xff", ["some.txt", "byte 5 "]),
        (BOM + b"text \xff", ["some.txt", "byte 8 "]),
        ("漢".encode()[:2], ["some.txt", "byte 0 "]),
        (b"text " + "🙂".encode()[:3], ["some.txt", "byte 5 "]),
        ("text".encode("utf-16"), ["some.txt", "byte 0 "]),
        ("é".encode("latin-1") + b" text", ["some.txt", "byte 0 "]),
    ],
    ids=[
        "empty",
        "mark",
        "zeros",
        "a zero",
        "ff",
        "ff after a mark",
        "2 of 3",
        "3 of 4",
        "utf-16",
        "latin-1",
    ],
)
@pytest.mark.parametrize("piece", [1, 2, 3, 2**20], indirect=True)
def test_a_file_that_is_not_text_is_named_with_the_byte(piece: int, data: bytes, facts: list[str]) -> None:
    with error_with(*facts):
        corpus_of(data).survey  # noqa: B018 (read at its first use)


@pytest.mark.parametrize(
    ("source", "facts"),
    [
        ("file:nowhere.txt", ["nowhere.txt", "no such file"]),
        ("file:.", [".: is a folder"]),
        ("file:", ["corpus.source", "'file:'"]),
        ("hub:", ["corpus.source", "'hub:'"]),
        ("captoins", ["corpus.source", "'captoins'", "captions, riddles, file:PATH or hub:"]),
        ("text:folder", ["corpus.source", "'text:folder'"]),
    ],
)
def test_an_unknown_source_is_an_error(source: str, facts: list[str]) -> None:
    with error_with(*facts):
        open_corpus(CorpusSettings(source=source))


MEASURE = """
import resource, sys
from pokemon_gen.text.blocks import read_tokens
from pokemon_gen.text.corpus import open_corpus
from pokemon_gen.text.tokenizers import make_tokenizer
from pokemon_gen.text_settings import CorpusSettings, TokenizerSettings
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
corpus = open_corpus(CorpusSettings(source=f"file:{sys.argv[1]}"))
tokenizer = make_tokenizer(TokenizerSettings(), corpus)
streams = [read_tokens(corpus, split, tokenizer) for split in ("train", "dev")]
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(grown * 1024, *(len(stream.tokens) for stream in streams))
"""


@pytest.mark.slow
def test_a_file_of_120_mb_is_not_held_in_memory(own_folder: Path) -> None:
    size, line = 120_000_000, b"every line of this file has 40 letters.\n"
    with Path("large.txt").open("wb") as file:
        for _ in range(100):
            file.write(line * (size // len(line) // 100))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, "large.txt"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(corpus_module.__file__).parents[2])},
    )
    grown, train, dev = map(int, done.stdout.split())
    assert (train, dev) == (size * 9 // 10, size // 10)
    assert grown < size


def test_the_tokens_of_a_part_stand_for_its_text() -> None:
    text = write_corpus(500)
    corpus = corpus_of(text)
    stream = read_tokens(corpus, "dev", make_tokenizer(TokenizerSettings(), corpus))
    assert "".join(corpus.survey.alphabet[token] for token in stream.tokens) == text[450:]
    assert stream.characters == 50


def test_lines_of_dev_end_at_the_separator(monkeypatch: pytest.MonkeyPatch, own_folder: Path) -> None:
    monkeypatch.setattr("pokemon_gen.text.corpus.LONGEST_LINE", 3)
    corpus = corpus_of("x" * 10 + "onexyes||two||three||  ||four||", separator="||", train_share=0.26)
    assert list(corpus.lines()) == ["xye", "s", "two", "thr", "ee", "fou", "r"]
    upper = corpus_of("axbxcxd", separator="x", case="upper", train_share=0.2)
    assert list(upper.lines()) == ["C", "D"]
    assert list(corpus_of("aaaaaab", train_share=0.9).lines()) == ["b"]
    with error_with("only empty lines"):
        list(corpus_of("aaaa\n\n\n", train_share=0.6).lines())


def test_a_text_that_separators_do_not_divide_is_refused(
    monkeypatch: pytest.MonkeyPatch, own_folder: Path
) -> None:
    for text in ("one text", "one text\n"):
        with error_with("some.txt", "single", r"'\n'", "corpus.separator", "corpus.split=order"):
            corpus_of(text, split="documents").survey.characters  # noqa: B018 (surveys)
    assert corpus_of("one\ntwo", split="documents").survey.documents == 2
    monkeypatch.setattr("pokemon_gen.text.corpus.LONGEST_DOCUMENT", 5)
    assert list(corpus_of("four\nfour", split="documents").split("all")) == ["four\n", "four\n"]
    with error_with("some.txt", "5", "';'", "corpus.split=order"):
        corpus_of("four\nfour", split="documents", separator=";").survey.characters  # noqa: B018 (surveys)
