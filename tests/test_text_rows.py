"""`text_rows.py`: the homework's text form, and the line and column of every fault."""

from pathlib import Path

import pytest

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.text_rows import parse_rows, read_colormap, read_rows


def faults_of(path: Path, text: str) -> list[tuple[int, int, str]]:
    path.write_bytes(text.encode())
    return [(f.line, f.column, f.message) for f in parse_rows(path, 167, (3,))[1]]


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_last_newline_is_optional(tmp_path: Path, end: str) -> None:
    (tmp_path / "a.txt").write_bytes(f"1 2 3\n4 5 166{end}".encode())
    assert read_rows(tmp_path / "a.txt", 167, (3,)) == [[1, 2, 3], [4, 5, 166]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 2 3\n1 2", (2, 4, "2 tokens, not 3")),
        ("1 2 3 4", (1, 8, "4 tokens, not 3")),
        ("1 2 167", (1, 5, "167 is not in 0..166")),
        ("12 -1 3", (1, 4, "-1 is not in 0..166")),
        ("1 two 3", (1, 3, "'two' is not an integer")),
        ("1 2.0 3", (1, 3, "'2.0' is not an integer")),
        ("1 1_0 3", (1, 3, "'1_0' is not an integer")),
        ("1 ٣ 3", (1, 3, "'٣' is not an integer")),
        (f"1 {'9' * 5000} 3", (1, 3, f"{'9' * 20}... is not in 0..166")),
        (f"1 {'0' * 30}5 x", (1, 35, "'x' is not an integer")),
        (f"1 {'x' * 30} 3", (1, 3, f"'{'x' * 20}...' is not an integer")),
        ("1 2 3\n\n4 5 6", (2, 1, "blank line")),
        ("1 2 3\n\n", (2, 1, "blank line")),
    ],
)
def test_a_fault_has_a_line_and_a_column(tmp_path: Path, text: str, expected: tuple[int, int, str]) -> None:
    assert faults_of(tmp_path / "a.txt", text) == [expected]


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    assert [fault[:2] for fault in faults_of(tmp_path / "a.txt", "x 2 999\n\n1 2 3 4")] == [
        (1, 1),
        (1, 5),
        (2, 1),
        (3, 8),
    ]


def test_an_error_lists_the_first_faults_and_counts_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x\n" * 30)
    with pytest.raises(PokemonGenError) as error:
        read_rows(tmp_path / "a.txt", 167, (1,))
    assert f"{tmp_path / 'a.txt'}:20:1: 'x'" in str(error.value)
    assert "and 10 more faults" in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"1 2 \xff")
    with pytest.raises(PokemonGenError, match=r"a\.txt: .*UTF-8.*byte 5"):
        read_rows(tmp_path / "a.txt", 167, (3,))
    with pytest.raises(PokemonGenError, match=r"b\.txt: cannot be read"):
        read_rows(tmp_path / "b.txt", 167, (3,))


def test_a_colormap_has_three_bytes_per_line(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("255 255 255\n0 0 256")
    with pytest.raises(PokemonGenError, match=r"c\.txt:2:5: 256 .*0\.\.255"):
        read_colormap(tmp_path / "c.txt")


SPACES = {
    "\u00a0": "no-break space",
    "\u3000": "ideographic space",
    "\t": "a tab",
    "  ": "2 spaces",
    "\f": "a form feed",
    "\v": "0x0b",
    "\u2028": "line separator",
    "\r": "a carriage return",
    "\x85": "0x85",
    " \t": "a tab",
}


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_an_exact_file_needs_one_space_between_tokens(tmp_path: Path, space: str) -> None:
    (tmp_path / "a.txt").write_bytes(f"1{space}2 3\n".encode())
    (fault,) = parse_rows(tmp_path / "a.txt", 167, (3,), exact=True)[1]
    assert (fault.line, fault.column) == (1, 2)
    assert SPACES[space] in fault.message


@pytest.mark.parametrize(
    ("text", "column", "fact"),
    [
        (" 1 2 3", 1, "around"),
        ("1 2 3 ", 6, "around"),
        ("1 007 3", 3, "'007' must be written as 7"),
        ("1 -0 3", 3, "'-0' must be written as 0"),
        ("1 00 3", 3, "'00' must be written as 0"),
        ("1 \u200b2 3", 3, "not an integer"),
        ("1 +2 3", 3, "not an integer"),
    ],
)
def test_an_exact_file_needs_plain_numbers(tmp_path: Path, text: str, column: int, fact: str) -> None:
    (tmp_path / "a.txt").write_bytes(text.encode())
    (fault,) = parse_rows(tmp_path / "a.txt", 167, (3,), exact=True)[1]
    assert (fault.line, fault.column) == (1, column)
    assert fact in fault.message


def test_other_files_may_be_aligned_with_spaces_and_tabs(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"  0   7\t255\r\n 12  007  3")
    assert read_colormap(tmp_path / "a.txt") == [[0, 7, 255], [12, 7, 3]]
    for space in ("\u00a0", "\u3000", "\f", "\u2028", "\r"):
        (tmp_path / "a.txt").write_bytes(f"1{space}2 3".encode())
        with pytest.raises(PokemonGenError, match=r"a\.txt:1:2: "):
            read_colormap(tmp_path / "a.txt")


def test_a_file_of_something_else_is_not_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    for line in ("x\n", "\n", "x " * 1000 + "\n"):
        file.write_text(line * 3000)
        with pytest.raises(PokemonGenError, match=r"a\.txt:1:1: (.|\n)*the rest of the file"):
            parse_rows(file, 167, (3,))
    file.write_text("0 " * 3_000_000)
    (fault,) = parse_rows(file, 167, (3,))[1]
    assert (fault.line, fault.message) == (1, "more than 10004 tokens, not 3")
