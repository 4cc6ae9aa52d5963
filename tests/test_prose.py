"""Prose in plain English: the words in `WORDS` occur nowhere in the package, the docs or the log."""

import re
from pathlib import Path

import pytest

from tests.builders import ROOT

WORDS = (
    r"told|anew|by heart|lay down|lend|lends|lent|mend|mends|mended|so many|goes on|stands? beside|made even|"
    r"what is there|as it is|spoilt?|nothing says"
)
FILES = [
    *sorted((ROOT / "pokemon_gen").rglob("*.py")),
    *sorted((ROOT / "configs").glob("*.yaml")),
    *sorted((ROOT / "eval").rglob("*.py")),
    *sorted((ROOT / "eval").rglob("*.yaml")),
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_words_of_the_old_dialect_are_gone(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    found = [
        f"{number}: {line.strip()}"
        for number, line in enumerate(lines, start=1)
        if re.search(rf"\b({WORDS})\b", line, re.IGNORECASE)
    ]
    assert not found


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    paragraphs = re.split(r"\n\s*\n", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    prose = [part for part in paragraphs if not re.match(r"\s*(\||-|#|!\[|\d\.)", part)]
    assert max(len(part.strip().splitlines()) for part in prose) <= 5


def test_every_linked_page_exists() -> None:
    for file in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        text = re.sub(r"```.*?```", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text):
            assert (file.parent / target).exists(), f"{file.name}: {target}"
