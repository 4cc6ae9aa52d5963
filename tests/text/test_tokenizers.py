"""`text/tokenizers.py`: tokens of a text, and the text of tokens, which is always the same text again."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from pokemon_gen.text import corpus as corpus_module
from pokemon_gen.text.blocks import read_tokens
from pokemon_gen.text.tokenizers import (
    UNKNOWN,
    Position,
    alphabet_table,
    decode,
    encode,
    load_tokenizer,
    make_tokenizer,
    token_rows,
    visible,
)
from pokemon_gen.text_settings import TokenizerSettings
from tests.builders import error_with
from tests.text.builders import corpus_of

often = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = "zebra apple é漢🙂 <unk>\tZ  a\n" * 20
ALPHABET = "".join(sorted(set(TEXT)))


def tokenizer_of_text(text: str = TEXT, **fields: Any) -> PreTrainedTokenizerFast:
    return make_tokenizer(TokenizerSettings(**fields), corpus_of(text))


@pytest.fixture(scope="module")
def characters(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    with contextlib.chdir(tmp_path_factory.mktemp("characters")):
        return tokenizer_of_text()


@pytest.fixture(scope="module")
def byte_pairs(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    with contextlib.chdir(tmp_path_factory.mktemp("byte_pairs")):
        return tokenizer_of_text(kind="bpe", size=300)


def test_the_tokens_are_the_sorted_characters_of_the_corpus(characters: PreTrainedTokenizerFast) -> None:
    """As in nanoGPT: `chars = sorted(set(data))`, and token i is character i."""
    assert characters.get_vocab() == {character: number for number, character in enumerate(ALPHABET)}
    assert encode(characters, "a Z", "here").tolist() == [ALPHABET.index(one) for one in "a Z"]


@often
@given(st.text(ALPHABET))
def test_the_table_gives_the_tokens_of_the_tokenizer_itself(
    characters: PreTrainedTokenizerFast, text: str
) -> None:
    tokens = encode(characters, text, "here")
    assert tokens.tolist() == characters.encode(text, add_special_tokens=False)
    assert decode(characters, tokens.tolist()) == text


@often
@given(st.text())
def test_byte_pairs_give_any_text_back(byte_pairs: PreTrainedTokenizerFast, text: str) -> None:
    assert decode(byte_pairs, encode(byte_pairs, text, "here").tolist()) == text


def test_byte_pairs_have_the_size_that_is_asked_for(byte_pairs: PreTrainedTokenizerFast) -> None:
    text = " ".join(f"word{number}" for number in range(2000))
    for size in (257, 300, 700):
        tokenizer = tokenizer_of_text(text, kind="bpe", size=size)
        assert len(tokenizer) == size
        assert len(encode(tokenizer, text, "here")) < len(text)
    assert len(encode(byte_pairs, "\u0394", "here")) == 2  # a character that the text lacks: its two bytes


def test_byte_pairs_are_learned_from_train_and_are_the_same_each_time() -> None:
    text = "ab" * 450 + "xyz" * 34  # dev, its last tenth, has other letters
    tokenizer = tokenizer_of_text(text, kind="bpe", size=300)
    assert tokenizer.get_vocab() == tokenizer_of_text(text, kind="bpe", size=300).get_vocab()
    assert "ab" in tokenizer.get_vocab()
    assert not {"xy", "yz", "xyz"} & set(tokenizer.get_vocab())


@pytest.mark.parametrize(
    "fields",
    [{}, {"unknown": True}, {"kind": "bpe", "size": 280}],
    ids=["characters", "unknown", "bpe"],
)
def test_a_saved_tokenizer_is_the_same_without_this_package(fields: dict[str, Any]) -> None:
    tokenizer = tokenizer_of_text(**fields)
    tokenizer.save_pretrained("saved")
    for again in (AutoTokenizer.from_pretrained("saved"), load_tokenizer("saved")):
        assert again.get_vocab() == tokenizer.get_vocab()
        assert again.encode(TEXT, add_special_tokens=False) == encode(tokenizer, TEXT, "here").tolist()
        assert again.decode(again.encode(TEXT, add_special_tokens=False)) == TEXT
        assert encode(again, TEXT, "here").tolist() == encode(tokenizer, TEXT, "here").tolist()


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("abc", ["'c'", "line 1, column 3"]),
        ("ab\nab\n a€b", ["'€'", "line 3, column 3"]),
        ("\n\n\x00", [r"'\x00'", "line 3, column 1"]),
    ],
)
def test_an_unknown_character_is_named_with_its_place(text: str, facts: list[str]) -> None:
    with error_with("prompt: ", "tokenizer.unknown=true", "tokenizer.kind=bpe", *facts):
        encode(tokenizer_of_text("ab \n" * 9), text, "prompt")


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_the_place_of_an_unknown_character_counts_from_the_beginning_of_the_text(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tokenizer_of_text("ab\n" * 9)
    monkeypatch.setattr(corpus_module, "PIECE", size)
    with error_with("some.txt: all: ", "line 3, column 5", "'€'"):
        read_tokens(corpus_of("ab\na\nbbab€b"), "all", tokenizer)


@given(st.text("a\n"), st.text("a\n"))
def test_a_position_after_two_pieces_is_that_after_both(first: str, second: str) -> None:
    position = Position().after(first).after(second)
    lines = (first + second).split("\n")
    assert position == Position(len(lines), len(lines[-1]) + 1)


def test_a_character_that_train_lacks_is_unknown_on_request() -> None:
    text = "abab" * 9 + "cdab"  # dev is its last tenth
    tokenizer = tokenizer_of_text(text, unknown=True)
    assert tokenizer.get_vocab() == {UNKNOWN: 0, "a": 1, "b": 2}
    assert encode(tokenizer, "acbd€", "here").tolist() == [1, 0, 2, 0, 0]
    assert tokenizer.encode("acbd€", add_special_tokens=False) == [1, 0, 2, 0, 0]
    assert decode(tokenizer, [1, 0]) == f"a{UNKNOWN}"
    assert encode(tokenizer_of_text(text), "cd", "here").tolist() == [2, 3]


@pytest.mark.parametrize("fields", [{}, {"unknown": True}, {"kind": "bpe", "size": 300}])
def test_a_byte_that_is_not_utf_8_is_named(fields: dict[str, Any]) -> None:
    """A terminal passes such a byte on as a lone surrogate (PEP 383)."""
    with error_with("prompt: ", r"'\udcff'", "character 3"):
        encode(tokenizer_of_text(**fields), "ab\udcff", "prompt")


def test_a_pretrained_tokenizer_comes_from_a_folder(byte_pairs: PreTrainedTokenizerFast) -> None:
    byte_pairs.save_pretrained("given")
    tokenizer = tokenizer_of_text(kind="pretrained", source="given")
    assert encode(tokenizer, TEXT, "here").tolist() == encode(byte_pairs, TEXT, "here").tolist()


def test_tokens_that_are_words_have_no_table() -> None:
    """Only a tokenizer of single characters may be replaced by one."""
    words = Tokenizer(models.WordLevel({"a": 0, "word": 1}, unk_token="a"))
    assert alphabet_table(PreTrainedTokenizerFast(tokenizer_object=words)) is None


def test_a_tokenizer_that_cannot_be_loaded_is_one_message() -> None:
    with error_with("openai/nothing: ", "the hub gives no such tokenizer", "network"):
        load_tokenizer("openai/nothing")
    Path("empty").mkdir()
    with error_with("empty: it holds no tokenizer", "tokenizer.json"):
        load_tokenizer("empty")
    ByT5Tokenizer().save_pretrained("python")
    with error_with("python: ByT5Tokenizer", "tokenizer.kind=bpe"):
        load_tokenizer("python")


def test_the_rows_of_a_text_are_its_tokens(characters: PreTrainedTokenizerFast) -> None:
    rows = token_rows(characters, np.array([ALPHABET.index("a"), ALPHABET.index("\n")]))
    assert [(row["place"], row["text"]) for row in rows] == [(0, "a"), (1, "\n")]
    assert [visible(row["text"]) for row in rows] == ["'a'", r"'\n'"]
