"""The homework's text form: one sprite per line, with its tokens as integers separated by spaces.

The homework's files, its submissions and our own files all have this form, so this module alone reads and
writes it. A reader reports every fault at once, up to a thousand, with line and column, instead of stopping
at the first.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pokemon_gen.constants import LENGTH, PROMPT_LENGTH
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import MOST_PALETTE_BYTES, require_small

FAULTS_SHOWN = 20
"""The number of faults that an error lists before it only counts the rest."""
MOST_FAULTS = 1000
"""The number of faults after which the rest of a file is not read: it is no such file at all."""
MOST_BYTES = 2**28
"""The most bytes of a file of rows: some 160,000 sprites."""
MOST_EXTRA = 10_000
"""The number of tokens beyond the longest line that are still counted."""
WORD_SHOWN = 20
"""The number of characters that an error shows of a word that is not a token."""


@dataclass(frozen=True)
class Fault:
    """A fault in a text file. Line and column (in characters) count from 1."""

    line: int
    column: int
    message: str


def show_faults(path: Path, faults: Sequence[Fault], shown: int | None = None) -> str:
    """Return at most `shown` faults as lines of `file:line:column: message`, and count the rest."""
    listed = faults if shown is None else faults[:shown]
    lines = [f"{path}:{fault.line}:{fault.column}: {fault.message}" for fault in listed]
    if len(faults) > len(listed):
        lines.append(f"... and {len(faults) - len(listed)} more faults")
    return "\n".join(lines)


def parse_rows(
    path: Path, palette_size: int, lengths: Collection[int], exact: bool = False
) -> tuple[list[list[int]], list[Fault]]:
    """Read every line of `path`, and return the rows and all their faults.

    Args:
        path: a UTF-8 text file, with or without a newline at its end.
        palette_size: the number of colours. Tokens must be in 0..palette_size-1.
        lengths: the numbers of tokens that a line may have.
        exact: whether the file must have the form that any reader accepts: tokens in digits without leading
            zeros, one space between two tokens, and none around them. Otherwise several spaces and tabs are
            accepted too.

    Returns:
        One row for each line, and the faults in reading order. A word that is not a token, or a token outside
        the palette, is -1 in its row, so that the positions of the other tokens do not change.

    Raises:
        PokemonGenError: if the file cannot be read as text, or has more than `MOST_FAULTS` faults.
    """
    rows: list[list[int]] = []
    faults: list[Fault] = []
    most = max(lengths) + MOST_EXTRA
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
            if len(row) > most or len(faults) > MOST_FAULTS:
                break
        if not row:
            faults.append(Fault(number, 1, "blank line"))
        elif len(row) not in lengths:
            if len(lengths) < 5:
                expected = " or ".join(map(str, sorted(lengths)))
            else:
                expected = f"{min(lengths)} to {max(lengths)}"
            more = "more than " if len(row) > most else ""
            faults.append(Fault(number, len(line.rstrip()) + 1, f"{more}{len(row)} tokens, not {expected}"))
        rows.append(row)
        if len(faults) > MOST_FAULTS:
            shown = show_faults(path, faults[:FAULTS_SHOWN])
            raise PokemonGenError(f"{shown}\n... and so on: the rest of the file was not looked at")
    return rows, faults


def read_rows(path: Path, palette_size: int, lengths: Collection[int]) -> list[list[int]]:
    """Read a file that must have no faults; see `parse_rows`. Several spaces between tokens are accepted.

    Raises:
        PokemonGenError: listing the faults with file, line and column.
    """
    rows, faults = parse_rows(path, palette_size, lengths)
    if faults:
        raise PokemonGenError(show_faults(path, faults, FAULTS_SHOWN))
    return rows


def read_prompts(path: Path, palette_size: int) -> list[list[int]]:
    """Read prompts of 1 to 399 tokens per line. Of a line of 400 tokens, the first 240 are the prompt.

    Raises:
        PokemonGenError: as `read_prompts_or_sprites`.
    """
    return [prompt_of(row) for row in read_prompts_or_sprites(path, palette_size)]


def prompt_of(row: list[int]) -> list[int]:
    """Return the prompt of a row: of a whole sprite the first 240 tokens, of any other row all of them."""
    return row[:PROMPT_LENGTH] if len(row) == LENGTH else row


def read_prompts_or_sprites(path: Path, palette_size: int) -> list[list[int]]:
    """Read prompts of 1 to 399 tokens per line, or whole sprites of 400.

    Raises:
        PokemonGenError: listing the faults with file, line and column, or if the file has no prompts.
    """
    rows = read_rows(path, palette_size, range(1, LENGTH + 1))
    if not rows:
        raise PokemonGenError(f"{path}: contains no prompts. Write one prompt per line.")
    return rows


def read_colormap(path: Path) -> list[list[int]]:
    """Read a `colormap.txt`, which has one `red green blue` (0..255) per line; return V rows of 3 numbers.

    Raises:
        PokemonGenError: listing the faults with file, line and column, or if the file is too large.
    """
    require_small(path, MOST_PALETTE_BYTES)
    return read_rows(path, 256, (3,))


def row_text(tokens: Iterable[int]) -> str:
    """Return the line of one sprite, without the newline."""
    return " ".join(str(int(token)) for token in tokens)


def rows_text(sprites: Iterable[Iterable[int]]) -> str:
    """Return the text of sprites, one per line, with a newline after each."""
    return "".join(f"{row_text(sprite)}\n" for sprite in sprites)


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file.

    Raises:
        PokemonGenError: if the file cannot be read as text, or is too large.
    """
    require_small(path, MOST_BYTES)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # a lone "\r" does not end a line
            text = file.read().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise PokemonGenError(f"{path}: not a UTF-8 text file (byte {error.start + 1} is invalid)") from error
    except OSError as error:
        raise PokemonGenError(f"{path}: cannot be read: {error.strerror}") from error
    # Only "\n" and "\r\n" end a line; str.splitlines would also split at form feeds and similar characters.
    # The homework's files have no newline after the last line.
    begin, length = 0, len(text.removesuffix("\n"))
    while text and begin <= length:  # a list of all lines would take many times the memory of the text
        end = text.find("\n", begin, length)
        end = length if end < 0 else end
        yield text[begin:end]
        begin = end + 1


def _spacing_fault(space: str, exact: bool, inside: bool) -> str | None:
    """Return the fault of the space between two tokens or around them, or None if it is accepted."""
    if space == " " and (inside or not exact):
        return None
    if set(space) <= {" ", "\t"} and not exact:
        return None
    place = "between two tokens" if inside else "around the tokens"
    return f"{_spacing_name(space)} {place}. Separate tokens with one space."


def _spacing_name(space: str) -> str:
    """Return the name of the first character that is not a space, or the number of spaces."""
    special = next((character for character in space if character != " "), None)
    if special:
        return _character_name(special)
    return "a space" if space == " " else f"{len(space)} spaces"


def _character_name(space: str) -> str:
    """Return the name of an invisible character."""
    names = {"\t": "a tab", "\r": "a carriage return that no line feed follows", "\f": "a form feed"}
    number = f"the character {ord(space):#04x}"
    return names.get(space) or unicodedata.name(space, number).lower()


def _parse_token(word: str, palette_size: int, exact: bool) -> tuple[int, str | None]:
    """Return the token of a word (-1 if the word is invalid) and its fault, if it has one."""
    shown = word if len(word) <= WORD_SHOWN else f"{word[:WORD_SHOWN]}..."
    if not re.fullmatch(r"-?[0-9]+", word):  # int() would also accept "1_0", "+1" and "٣"
        return -1, f"{shown!r} is not an integer"
    digits = word.lstrip("0") or "0"
    # int() raises an error for 5,000 digits, so the length is checked first.
    if len(digits) > WORD_SHOWN or not 0 <= int(digits) < palette_size:
        return -1, f"{shown} is not in 0..{palette_size - 1}"
    if exact and word != str(int(digits)):
        return int(digits), f"{shown!r} must be written as {int(digits)}"
    return int(digits), None
