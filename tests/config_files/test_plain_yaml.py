"""The YAML loader accepts plain values only, and reports each fault with its place."""

import time
from pathlib import Path

import pytest

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.errors import PokemonGenError

HEAD = "name: a\nmodel:\n  model_type: gpt2\n"


TAGS = (
    "!!timestamp x",
    "!!bool maybe",
    '!!int ""',
    '!!float ""',
    "!!set [a]",
    "!!map a",
    "!!omap a",
    "!!pairs a",
)


def bomb() -> str:
    """Return nine levels of anchors, each of which repeats the previous one nine times."""
    lines = ["  b0: &b0 {" + ", ".join(f"k{n}: x" for n in range(9)) + "}"]
    lines += [
        f"  b{level}: &b{level} {{" + ", ".join(f"k{n}: *b{level - 1}" for n in range(9)) + "}"
        for level in range(1, 10)
    ]
    return HEAD + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (HEAD + "  a: &a {b: *a}\n", "4:13"),
        (HEAD + "  <<: *a\n", "4:7"),
        (HEAD + "training: " + "{a: " * 2000 + "1" + "}" * 2000, "4:"),
        (HEAD + "training: " + "[" * 2000 + "]" * 2000, "4:"),
        (HEAD + "seed: !!int x\n", "4:7"),
        (HEAD + "seed: !!float x\n", "4:7"),
        (HEAD + f"seed: {'9' * 5000}\n", "4:7"),
        (HEAD + "seed: !!binary x\n", "4:7"),
        (HEAD + "seed: !!python/object:os.system x\n", "4:7"),
        *((HEAD + f"seed: {tag}\n", "4:7") for tag in TAGS),
    ],
)
def test_a_value_that_is_not_plain_is_an_error_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(PokemonGenError, match=rf"a\.yaml:{place}"):
        load_settings(tmp_path / "a.yaml")


def test_anchors_are_not_expanded(tmp_path: Path) -> None:
    """They would expand to 9 to the power of 10 values."""
    (tmp_path / "a.yaml").write_text(bomb())
    start = time.process_time()
    with pytest.raises(PokemonGenError, match=r"a\.yaml:5:\d+: .*alias"):
        load_settings(tmp_path / "a.yaml")
    assert time.process_time() - start < 5


def test_an_override_must_be_a_plain_value_too() -> None:
    for value in ("*a", "&a [*a]", "9" * 5000, "!!int x", "!!bool maybe", "!!map a", "[" * 3000 + "]" * 3000):
        with pytest.raises(PokemonGenError, match=r"command line: training\.x") as error:
            load_settings("quick", [f"training.x={value}"])
        assert len(str(error.value)) < 300
