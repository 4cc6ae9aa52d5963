"""`text/columns.py`: the texts of a data set's column, from local files of each kind."""

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from pokemon_gen.text.corpus import open_corpus
from pokemon_gen.text_settings import CorpusSettings
from tests.builders import error_with

STORIES = ["a cat\nand a dog", "a é story", "漢字 🙂"]
ROWS: dict[str, list[Any]] = {"number": [1, 2, 3], "story": STORIES, "title": ["x", "y", "z"]}


def write_split(kind: str, rows: dict[str, list[Any]], name: str = "train") -> None:
    """Write a split of the data set `stories` as a file of this kind."""
    Path("stories").mkdir(exist_ok=True)
    table, file = Dataset.from_dict(rows), Path("stories", f"{name}.{kind}")
    write = {"jsonl": table.to_json, "csv": table.to_csv, "parquet": table.to_parquet}
    write[kind](file)


def texts(column: str | None = None, **settings: Any) -> list[str]:
    return list(open_corpus(CorpusSettings(source="hub:./stories", column=column, **settings)).split("all"))


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_the_texts_of_a_column_are_joined_by_the_separator(kind: str) -> None:
    write_split(kind, ROWS)
    assert texts("story", separator="<|end|>") == [f"{story}<|end|>" for story in STORIES]
    assert texts("title", case="upper") == ["X\n", "Y\n", "Z\n"]


def test_the_only_column_of_texts_needs_no_name() -> None:
    write_split("parquet", {"number": [1, 2, 3], "story": STORIES})
    assert texts() == [f"{story}\n" for story in STORIES]


def test_the_split_train_is_read_where_there_are_several() -> None:
    write_split("jsonl", {"story": ["of test"]}, "test")
    write_split("jsonl", {"story": ["of train"]})
    assert texts() == ["of train\n"]


def test_the_only_split_is_read_whatever_its_name() -> None:
    write_split("jsonl", {"story": ["of test"]}, "test")
    assert texts() == ["of test\n"]


@pytest.mark.parametrize(
    ("rows", "column", "facts"),
    [
        (ROWS, None, ["story, title", "corpus.column=NAME"]),
        (ROWS, "storie", ["'storie'", "did you mean 'story'", "number, story, title"]),
        (ROWS, "number", ["train, row 1", "'number'", "int"]),
        ({"number": [1, 2]}, None, ["no column of texts"]),
        ({"story": ["a", None, "b"]}, None, ["train, row 2", "'story'", "NoneType"]),
        ({"story": [["a"], ["b"]]}, "story", ["train, row 1", "'story'", "list"]),
    ],
)
def test_a_column_that_is_no_text_is_named(
    rows: dict[str, list[Any]], column: str | None, facts: list[str]
) -> None:
    write_split("jsonl", rows)
    with error_with("hub:./stories: ", *facts):
        texts(column)


def test_a_data_set_that_is_missing_is_one_message() -> None:
    with error_with("hub:./nowhere", "no such folder"):
        list(open_corpus(CorpusSettings(source="hub:./nowhere")).split("all"))
    with error_with("hub:some/stories", "corpus.source=captions", "file:PATH"):
        list(open_corpus(CorpusSettings(source="hub:some/stories")).split("all"))
