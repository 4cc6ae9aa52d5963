"""`sprites/palette_files.py`: palettes in the formats of drawing programs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.sprites.loading import Sprites, load_palette, load_sprites
from pokemon_gen.sprites.palette_files import read_palette_file
from tests.builders import write_rows

THREE = [[255, 255, 255], [0, 0, 0], [0, 0, 200]]
TEXTS = {
    "three.hex": "ffffff\n000000\n0000C8\n",
    "hash.hex": "#ffffff\n#000000\n#0000c8",
    "three.gpl": "GIMP Palette\nName: three\nColumns: 3\n#\n255 255 255 white\n  0   0   0\tblack\n0 0 200\n",
    "three.pal": "JASC-PAL\n0100\n3\n255 255 255\n0 0 0\n0 0 200\n",
    "three.txt": "255 255 255\n0 0 0\n0 0 200",
    "three.json": '{"rgb": [[255, 255, 255], [0, 0, 0], [0, 0, 200]]}',
    "filled.hex": "ffffff\n000000\n0000c8\n000000\n000000\n",
    "aseprite.gpl": "GIMP Palette\nChannels: RGBA\n#\n255 255 255 255 a\n0 0 0 255 b\n0 0 200 255 c\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_colours_keep_the_order_of_the_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TEXTS[name])
    assert load_palette(str(tmp_path / name)).rgb.tolist() == THREE


def test_a_picture_of_a_palette_is_read_row_by_row(tmp_path: Path) -> None:
    pixels = np.array([[[255, 255, 255, 255], [0, 0, 0, 255]], [[9, 9, 9, 0], [0, 0, 200, 255]]], np.uint8)
    Image.fromarray(pixels.repeat(4, 0).repeat(4, 1)).save(tmp_path / "three.png")
    assert load_palette(str(tmp_path / "three.png")).rgb.tolist() == THREE


def test_sprites_may_use_a_palette_file(few_sprites: Sprites, few_folder: Path) -> None:
    lines = ["".join(f"{part:02x}" for part in colour) for colour in few_sprites.palette.rgb.tolist()]
    Path("all.hex").write_text("\n".join(lines))
    (few_folder / "colormap.txt").unlink()
    assert load_sprites(f"text:{few_folder}", palette="all.hex").fingerprint == few_sprites.fingerprint


@pytest.mark.parametrize(
    ("name", "text", "facts"),
    [
        ("a.hex", "ffffff\nfff\n", r"a\.hex:2:1: 'fff' .*six digits"),
        ("a.hex", "ffffff\n", r"a\.hex: 1 colour\b.*two"),
        ("a.hex", "\n", r"a\.hex: no colours\b.*two"),
        ("a.gpl", "ffffff\n", r"a\.gpl:1:1: .*'GIMP Palette'"),
        ("a.gpl", "GIMP Palette\n1 2\n", r"a\.gpl:2:1: '1 2' .*red green blue"),
        ("a.pal", "RIFF....", r"a\.pal:1:1: .*RIFF"),
        ("a.pal", "PAL\n", r"a\.pal:1:1: .*'JASC-PAL'"),
        (
            "a.pal",
            "JASC-PAL\n0100\n255 0 0\n0 255 0\n0 0 255\n",
            r"a\.pal:3:1: '255 0 0' .*number of colours, 2",
        ),
        ("a.pal", "JASC-PAL\n0100\n5\n255 0 0\n0 255 0\n", r"a\.pal:3:1: '5' .*, 2"),
        ("a.hex", "ffffff\nffffff\nff0000\n", r"a\.hex: .*twice, as tokens 0 and 1"),
        ("a.gpl", "GIMP Palette\n\u0663 \u0663 \u0663\n", r"a\.gpl:2:1: "),
        ("a.txt", "1 1 1\n1 1 1\n", r"a\.txt: .*twice"),
        ("a.pal", "JASC-PAL\n0100\n1\n1 2 300\n", r"a\.pal:4:1: '1 2 300' .*0\.\.255"),
        ("a.ase", "x", r"a\.ase: not a palette.*\.hex"),
    ],
)
def test_an_invalid_palette_is_named(tmp_path: Path, name: str, text: str, facts: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(PokemonGenError, match=facts):
        read_palette_file(tmp_path / name)
    with pytest.raises(PokemonGenError, match=name):
        load_palette(str(tmp_path / name))


@pytest.mark.parametrize(
    "value", ["1e400", "1180591620717411303424", "9" * 5000, "-1", "null", '"x"', "0.5", "true", '"0"', "300"]
)
def test_invalid_numbers_of_a_colour_are_an_error(tmp_path: Path, value: str) -> None:
    (tmp_path / "palette.json").write_text(f'{{"rgb": [[{value}, 0, 0], [1, 1, 1]]}}')
    with pytest.raises(PokemonGenError, match=r"palette\.json: "):
        load_palette(str(tmp_path / "palette.json"))


def test_a_missing_palette_is_named() -> None:
    for place in ("palette.png", "nowhere.hex"):
        with pytest.raises(PokemonGenError, match=f"{place}: .*no such file"):
            load_palette(place)


def test_an_unknown_format_names_the_known_formats() -> None:
    write_rows(Path("palette.aseprite"), [[1]])
    with pytest.raises(PokemonGenError, match=r"palette\.aseprite: .*\.hex, \.gpl, \.pal, \.png"):
        load_palette("palette.aseprite")


@pytest.mark.parametrize("suffix", [".txt", ".hex", ".gpl", ".pal", ".json"])
def test_a_file_much_larger_than_a_palette_is_not_read(tmp_path: Path, suffix: str) -> None:
    """A colour map of ten million rows took four minutes and 2 GB."""
    file = tmp_path / f"colours{suffix}"
    with file.open("wb") as stream:
        stream.truncate(60_000_000)
    with pytest.raises(PokemonGenError, match="60,000,000 bytes"):
        read_palette_file(file)


def test_many_copies_at_the_end_are_dropped_in_a_moment(tmp_path: Path) -> None:
    file = tmp_path / "colours.hex"
    file.write_text("ff0000\n" + "00ff00\n" * 140_000)
    assert read_palette_file(file).rgb.tolist() == [[255, 0, 0], [0, 255, 0]]
