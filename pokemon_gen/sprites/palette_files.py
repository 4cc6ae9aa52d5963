"""Palettes in drawing programs' formats: `.hex`, `.gpl` (GIMP), `.pal` (JASC, Paint Shop Pro) and `.png`.

The position of a colour in the file is its token, and the first colour is the background. Some programs
fill a palette up with copies of one colour. Copies at the end are therefore dropped. A copy with another
colour after it would change that colour's token, so it is an error. In a picture, each colour counts at its
first pixel.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import MOST_PALETTE_BYTES, require_small
from pokemon_gen.palette import Palette
from pokemon_gen.sprites.pictures import open_picture
from pokemon_gen.sprites.sources import PALETTE_FILES
from pokemon_gen.text_rows import FAULTS_SHOWN, Fault, read_colormap, show_faults

MOST_COLOURS = 4096
"""The largest number of colours in a palette file; `sprites.colours` has the same limit."""
Colour = tuple[int, int, int]

_NUMBER = r"([0-9]{1,3})"
_NUMBERS = (re.compile(rf"\s*{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}(?![0-9])"), "red green blue, each 0..255")
_FORMS = {
    ".hex": (
        re.compile(r"\s*#?([0-9A-Fa-f]{2})([0-9A-Fa-f]{2})([0-9A-Fa-f]{2})\s*$"),
        "six digits, such as ff8800",
    ),
    ".gpl": _NUMBERS,
    ".pal": _NUMBERS,
}
"""The pattern of a colour's line in each format, and its description for errors."""
_FIRST_LINES = {".gpl": "GIMP Palette", ".pal": "JASC-PAL"}
_HEADER_LINES = {".gpl": 1, ".pal": 3}
"""Number of lines before the colours. Line 2 of a `.pal` is its version, line 3 its number of colours."""


def read_palette_file(path: Path) -> Palette:
    """Read a palette from a file whose suffix names its format.

    Raises:
        PokemonGenError: if the suffix is unknown, the file is invalid (with line and column), or it has too
            few or too many colours.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        return Palette.load(path)
    if suffix == ".txt":
        return _palette(path, read_colormap(path))
    if suffix not in PALETTE_FILES:
        raise PokemonGenError(f"{path}: not a palette file. Use one of {', '.join(PALETTE_FILES)}.")
    if suffix == ".png":
        colours = list(dict.fromkeys(_read_picture(path)))
    else:
        colours = _without_final_copies(_read_lines(path, suffix))
    if len(colours) > MOST_COLOURS:
        raise PokemonGenError(f"{path}: {len(colours)} colours. Use at most {MOST_COLOURS}.")
    if len(colours) < 2:
        count = "1 colour" if len(colours) == 1 else "no colours"
        raise PokemonGenError(f"{path}: {count}. Provide at least two.")
    return _palette(path, colours)


def _palette(path: Path, colours: Sequence[Sequence[int]]) -> Palette:
    """Return a palette of these colours, and name the file if they are invalid."""
    try:
        return Palette(np.array(colours))
    except PokemonGenError as error:
        raise PokemonGenError(f"{path}: {error}") from error


def _without_final_copies(colours: Iterator[Colour]) -> list[Colour]:
    """Drop the colours at the end that already occur earlier."""
    kept = list(colours)
    counts = Counter(kept)
    while kept and counts[kept[-1]] > 1:
        counts[kept.pop()] -= 1
    return kept


def _read_picture(path: Path) -> Iterator[Colour]:
    """Yield the distinct colours of a picture in the order of its pixels, without transparent pixels."""
    with open_picture(path) as image:
        rgba = image.convert("RGBA")
    if rgba.getcolors(MOST_COLOURS + 1) is None:
        raise PokemonGenError(f"{path}: more than {MOST_COLOURS} colours. Use a picture of a palette.")
    pixels = np.asarray(rgba).reshape(-1, 4)
    _, first = np.unique(np.ascontiguousarray(pixels).view(np.uint32), return_index=True)
    for red, green, blue, alpha in pixels[np.sort(first)].tolist():
        if alpha:
            yield red, green, blue


def _read_lines(path: Path, suffix: str) -> Iterator[Colour]:
    """Yield the colours of a text file, and report all its faults at the end.

    Raises:
        PokemonGenError: listing the faults with file, line and column.
    """
    lines = _text_lines(path)
    _check_header(path, suffix, lines)
    header_lines = _HEADER_LINES.get(suffix, 0)
    pattern, form = _FORMS[suffix]
    faults = []
    count = 0
    for number, line in enumerate(lines[header_lines:], start=header_lines + 1):
        if not line.strip() or _is_comment(line, suffix):
            continue
        match = pattern.match(line)
        colour = tuple(int(part, 16 if suffix == ".hex" else 10) for part in match.groups()) if match else ()
        if not match or max(colour) > 255:
            faults.append(Fault(number, 1, f"{line.strip()[:20]!r} is not a colour. Write {form}."))
        else:
            count += 1
            yield colour[0], colour[1], colour[2]
    if suffix == ".pal" and lines[2].strip() != str(count):
        faults.append(Fault(3, 1, f"{lines[2].strip()[:20]!r} is not the number of colours, {count}"))
    if faults:
        raise PokemonGenError(show_faults(path, faults, FAULTS_SHOWN))


def _text_lines(path: Path) -> list[str]:
    """Return the lines of a text file.

    Raises:
        PokemonGenError: if it cannot be read as text, or is too large.
    """
    require_small(path, MOST_PALETTE_BYTES)
    if path.is_file() and path.read_bytes()[:4] == b"RIFF":
        raise PokemonGenError(f"{path}:1:1: RIFF palettes are not supported. Save it as JASC-PAL or .hex.")
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a UTF-8 text file"
        raise PokemonGenError(f"{path}: cannot be read: {reason}") from error


def _check_header(path: Path, suffix: str, lines: list[str]) -> None:
    """Check the lines before the colours.

    Raises:
        PokemonGenError: if the file is not of the format that its suffix names.
    """
    first_line = _FIRST_LINES.get(suffix)
    if first_line and (not lines or lines[0].strip() != first_line):
        raise PokemonGenError(f"{path}:1:1: not a {suffix} palette. Its first line must be {first_line!r}.")
    if suffix == ".pal" and (len(lines) < 3 or lines[1].strip() != "0100"):
        raise PokemonGenError(
            f"{path}:2:1: not a .pal palette. Its second line must be '0100', and its third line the number "
            "of colours."
        )


def _is_comment(line: str, suffix: str) -> bool:
    if suffix == ".gpl":
        return re.match(r"\s*#|[A-Za-z]+:", line) is not None
    return line.lstrip().startswith(";")
