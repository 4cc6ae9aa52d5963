"""The classic text form: one sprite a line, its tokens as integers between spaces.

The homework's files, its submissions and our own are all of this form, so it is read in one place,
and every fault is found at once, with its line and column, instead of the first alone.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.geometry import LENGTH, PROMPT_LENGTH

FAULTS_SHOWN = 20
"""How many faults an error lists before it only counts the rest."""
WORD_SHOWN = 20
"""How many characters of a word that is no token an error shows."""


@dataclass(frozen=True)
class Fault:
    """Something wrong in a text file; line and column (in characters) count from 1."""

    line: int
    column: int
    message: str


def show_faults(path: Path, faults: Sequence[Fault], shown: int | None = None) -> str:
    """Return the faults as lines of `file:line:column: message`, at most `shown` of them."""
    listed = faults if shown is None else faults[:shown]
    lines = [f"{path}:{fault.line}:{fault.column}: {fault.message}" for fault in listed]
    if len(faults) > len(listed):
        lines.append(f"... and {len(faults) - len(listed)} more faults")
    return "\n".join(lines)


def parse_rows(
    path: Path, palette_size: int, lengths: Collection[int]
) -> tuple[list[list[int]], list[Fault]]:
    """Read every line of `path`: the rows, and all their faults.

    Args:
        path: a UTF-8 text file, with or without a newline at its end.
        palette_size: tokens must lie in 0..palette_size-1.
        lengths: how many tokens a line may have.

    Returns:
        The rows as they stand (a word or a token outside the palette as -1, so that positions
        keep), one for each line, and the faults in reading order.

    Raises:
        PokemonGenError: if the file cannot be read as text.
    """
    rows: list[list[int]] = []
    faults: list[Fault] = []
    for number, line in enumerate(_lines(path), start=1):
        row: list[int] = []
        for match in re.finditer(r"\S+", line):
            token, problem = _parse_token(match.group(), palette_size)
            if problem:
                faults.append(Fault(number, match.start() + 1, problem))
            row.append(token)
        if not row:
            faults.append(Fault(number, 1, "blank line"))
        elif len(row) not in lengths:
            expected = (
                " or ".join(map(str, sorted(lengths)))
                if len(lengths) < 5
                else (f"{min(lengths)} to {max(lengths)}")
            )
            faults.append(Fault(number, len(line.rstrip()) + 1, f"{len(row)} tokens, not {expected}"))
        rows.append(row)
    return rows, faults


def read_rows(path: Path, palette_size: int, lengths: Collection[int]) -> list[list[int]]:
    """Read a file without faults; see `parse_rows`.

    Raises:
        PokemonGenError: listing the faults with file, line and column.
    """
    rows, faults = parse_rows(path, palette_size, lengths)
    if faults:
        raise PokemonGenError(show_faults(path, faults, FAULTS_SHOWN))
    return rows


def read_prompts(path: Path, palette_size: int) -> list[list[int]]:
    """Read prompts, 1 to 399 tokens a line; of a whole sprite the first 240 count.

    Raises:
        PokemonGenError: listing the faults with file, line and column, or if there is no prompt.
    """
    rows = read_rows(path, palette_size, range(1, LENGTH + 1))
    if not rows:
        raise PokemonGenError(f"{path}: no prompts in it")
    return [row[:PROMPT_LENGTH] if len(row) == LENGTH else row for row in rows]


def read_colormap(path: Path) -> list[list[int]]:
    """Read a `colormap.txt`: one `red green blue` a line, 0..255; returns V rows of 3.

    Raises:
        PokemonGenError: listing the faults with file, line and column.
    """
    return read_rows(path, 256, (3,))


def row_text(tokens: Iterable[int]) -> str:
    """Return one sprite's line, without the newline."""
    return " ".join(str(int(token)) for token in tokens)


def rows_text(sprites: Iterable[Iterable[int]]) -> str:
    """Return sprites in the classic form, a line each, every line ended."""
    return "".join(f"{row_text(sprite)}\n" for sprite in sprites)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PokemonGenError(
            f"{path}: not a UTF-8 text file (byte {error.start + 1} cannot be read)"
        ) from error
    except OSError as error:
        raise PokemonGenError(f"{path}: cannot be read: {error.strerror}") from error
    # Only "\n" ends a line (universal newlines have made it so of "\r\n"): str.splitlines would
    # also split at form feeds and such. The classic files have no newline at the very end.
    return text.removesuffix("\n").split("\n") if text else []


def _parse_token(word: str, palette_size: int) -> tuple[int, str | None]:
    """Return the token (-1 if it is none) and what is wrong with it."""
    shown = word if len(word) <= WORD_SHOWN else f"{word[:WORD_SHOWN]}..."
    if not re.fullmatch(r"-?[0-9]+", word):  # int() would also take "1_0", "+1" and "٣"
        return -1, f"{shown!r} is not an integer"
    digits = word.lstrip("0") or "0"
    if len(digits) > WORD_SHOWN or not 0 <= int(digits) < palette_size:  # int() takes no 5,000 digits
        return -1, f"{shown} is not in 0..{palette_size - 1}"
    return int(digits), None
