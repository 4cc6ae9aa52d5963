"""Palettes as drawing programs write them: `.hex`, `.gpl` (GIMP), `.pal` (JASC, Paint Shop Pro) and `.png`.

A colour's place in the file is its token; the first one is the background. Programs fill a palette up with
one colour: repeats at the end are dropped, but one that has another colour behind it would shift that one's
token, and is an error. In a picture, each colour counts where it comes first.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.palette import Palette
from pokemon_gen.sprites.images import open_picture
from pokemon_gen.sprites.sources import PALETTE_FILES
from pokemon_gen.text_rows import Fault, read_colormap, show_faults

MOST_COLOURS = 4096
"""Colours that a palette may have: as many as `sprites.colours`."""
Colour = tuple[int, int, int]


def read_palette_file(path: Path) -> Palette:
    """Read a palette from a file, by its suffix.

    Raises:
        PokemonGenError: for another suffix, a file at fault (with line and column), or too many colours.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        return Palette.load(path)
    if suffix == ".txt":
        return _palette(path, read_colormap(path))
    if suffix not in PALETTE_FILES:
        raise PokemonGenError(f"{path}: not a palette: {', '.join(PALETTE_FILES)} are read")
    colours = list(dict.fromkeys(_picture(path))) if suffix == ".png" else _unrepeated(_lines(path, suffix))
    if len(colours) > MOST_COLOURS:
        raise PokemonGenError(f"{path}: {len(colours)} colours; a palette has at most {MOST_COLOURS}")
    if len(colours) < 2:
        raise PokemonGenError(f"{path}: a palette has two or more colours, and this file has {len(colours)}")
    return _palette(path, colours)


def _palette(path: Path, colours: Sequence[Sequence[int]]) -> Palette:
    try:
        return Palette(np.array(colours))
    except PokemonGenError as error:
        raise PokemonGenError(f"{path}: {error}") from error


def _unrepeated(colours: Iterator[Colour]) -> list[Colour]:
    """Drop the colours at the end that came before."""
    kept = list(colours)
    while kept and kept[-1] in kept[:-1]:
        kept.pop()
    return kept


def _picture(path: Path) -> Iterator[Colour]:
    """Yield a picture's pixels, row by row; those that are transparent are no colours."""
    with open_picture(path) as image:
        rgba = image.convert("RGBA")
    if rgba.getcolors(MOST_COLOURS + 1) is None:
        raise PokemonGenError(f"{path}: more than {MOST_COLOURS} colours, which is no palette's picture")
    pixels = np.asarray(rgba).reshape(-1, 4)
    _, first = np.unique(np.ascontiguousarray(pixels).view(np.uint32), return_index=True)
    for red, green, blue, alpha in pixels[np.sort(first)].tolist():
        if alpha:
            yield red, green, blue


def _lines(path: Path, suffix: str) -> Iterator[Colour]:
    if path.is_file() and path.read_bytes()[:4] == b"RIFF":
        raise PokemonGenError(f"{path}:1:1: a RIFF palette; save it as JASC-PAL or .hex")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a UTF-8 text file"
        raise PokemonGenError(f"{path}: cannot be read: {reason}") from error
    head = {".gpl": "GIMP Palette", ".pal": "JASC-PAL"}.get(suffix)
    if head and (not lines or lines[0].strip() != head):
        raise PokemonGenError(f"{path}:1:1: not a {suffix} palette: its first line should be {head!r}")
    start = {".gpl": 1, ".pal": 3}.get(suffix, 0)  # of a .pal, the second is its version, the third a count
    pattern, form = _FORMS[suffix]
    faults = []
    count = 0
    if suffix == ".pal" and (len(lines) < 3 or lines[1].strip() != "0100"):
        raise PokemonGenError(f"{path}:2:1: not a .pal palette: '0100' and the number of colours come next")
    for number, line in enumerate(lines[start:], start=start + 1):
        if not line.strip() or _is_comment(line, suffix):
            continue
        found = pattern.match(line)
        colour = tuple(int(part, 16 if suffix == ".hex" else 10) for part in found.groups()) if found else ()
        if not found or max(colour) > 255:
            faults.append(Fault(number, 1, f"{line.strip()[:20]!r} is no colour: {form}"))
        else:
            count += 1
            yield colour[0], colour[1], colour[2]
    if suffix == ".pal" and lines[2].strip() != str(count):
        faults.append(Fault(3, 1, f"{lines[2].strip()[:20]!r} should be the number of colours, {count}"))
    if faults:
        raise PokemonGenError(show_faults(path, faults, 20))


def _is_comment(line: str, suffix: str) -> bool:
    if suffix == ".gpl":
        return re.match(r"\s*#|[A-Za-z]+:", line) is not None
    return line.lstrip().startswith(";")


_NUMBER = r"([0-9]{1,3})"
_THREE = (re.compile(rf"\s*{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}(?![0-9])"), "red green blue, each 0..255")
_FORMS = {
    ".hex": (
        re.compile(r"\s*#?([0-9A-Fa-f]{2})([0-9A-Fa-f]{2})([0-9A-Fa-f]{2})\s*$"),
        "six digits, such as ff8800",
    ),
    ".gpl": _THREE,
    ".pal": _THREE,
}
