"""The classic text form: one sprite a line, its tokens as integers between spaces.

The homework's files, its submissions and our own are all of this form, so it is read in one place,
and every fault is found at once, with its line and column, instead of the first alone.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pokemon_gen.constants import LENGTH, PROMPT_LENGTH
from pokemon_gen.errors import PokemonGenError

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
    path: Path, palette_size: int, lengths: Collection[int], exact: bool = False
) -> tuple[list[list[int]], list[Fault]]:
    """Read every line of `path`: the rows, and all their faults.

    Args:
        path: a UTF-8 text file, with or without a newline at its end.
        palette_size: tokens must lie in 0..palette_size-1.
        lengths: how many tokens a line may have.
        exact: hold the file to the form that any reader takes: tokens in digits without leading zeros, one
            space between two, none around them. Otherwise several spaces and tabs will do.

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
        for match in re.finditer(r"\S+|\s+", line):
            word = match.group()
            if word.isspace():
                problem = _spacing_fault(word, exact, inside=match.start() > 0 and match.end() < len(line))
            else:
                token, problem = _parse_token(word, palette_size, exact)
                row.append(token)
            if problem:
                faults.append(Fault(number, match.start() + 1, problem))
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
    """Read a file without faults; see `parse_rows`. Tokens may be several spaces apart.

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
        with path.open(encoding="utf-8-sig", newline="") as file:  # as they are: a lone "\r" ends no line
            text = file.read().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise PokemonGenError(
            f"{path}: not a UTF-8 text file (byte {error.start + 1} cannot be read)"
        ) from error
    except OSError as error:
        raise PokemonGenError(f"{path}: cannot be read: {error.strerror}") from error
    # Only "\n" and "\r\n" end a line: str.splitlines would also split at form feeds and such. The classic
    # files have no newline at the very end.
    return text.removesuffix("\n").split("\n") if text else []


def _spacing_fault(space: str, exact: bool, inside: bool) -> str | None:
    """Return what is wrong with the space between two tokens or around them; None if it will do."""
    if space == " " and (inside or not exact):
        return None
    if set(space) <= {" ", "\t"} and not exact:
        return None
    odd = next((character for character in space if character != " "), None)
    what = _character(odd) if odd else "a space" if space == " " else f"{len(space)} spaces"
    return f"{what} {'between two tokens' if inside else 'around the tokens'}: one space separates them"


def _character(space: str) -> str:
    """Return what a character that shows as nothing is called."""
    names = {"\t": "a tab", "\r": "a carriage return that no line feed follows", "\f": "a form feed"}
    number = f"the character {ord(space):#04x}"
    return names.get(space) or unicodedata.name(space, number).lower()


def _parse_token(word: str, palette_size: int, exact: bool) -> tuple[int, str | None]:
    """Return the token (-1 if it is none) and what is wrong with it."""
    shown = word if len(word) <= WORD_SHOWN else f"{word[:WORD_SHOWN]}..."
    if not re.fullmatch(r"-?[0-9]+", word):  # int() would also take "1_0", "+1" and "٣"
        return -1, f"{shown!r} is not an integer"
    digits = word.lstrip("0") or "0"
    if len(digits) > WORD_SHOWN or not 0 <= int(digits) < palette_size:  # int() takes no 5,000 digits
        return -1, f"{shown} is not in 0..{palette_size - 1}"
    if exact and word != str(int(digits)):
        return int(digits), f"{shown!r} is written {int(digits)}"
    return int(digits), None
