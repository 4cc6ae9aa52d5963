"""`sprites/pictures.py`: pictures of any size are brought to 20x20, sharp and with closed outlines."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFile

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.sprites.pictures import read_pictures, shrink


def read_images(files: list[Path], *options: bool, **more: bool) -> np.ndarray:
    return read_pictures(files, *options, **more).rgb


def test_transparent_pixels_become_white(tmp_path: Path) -> None:
    Image.new("RGBA", (20, 20), (200, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_images([tmp_path / "clear.png"]) == 255).all()


def test_every_kind_of_picture_keeps_its_colours(tmp_path: Path) -> None:
    grey = np.full((20, 20), 130 * 257, dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "16-bit.png")
    Image.new("CMYK", (20, 20), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg", quality=100)
    indexed = Image.new("P", (20, 20), 1)
    indexed.putpalette([10, 20, 30, 200, 100, 50])
    indexed.save(tmp_path / "indexed.png")
    frames = [indexed, Image.new("RGB", (20, 20), "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    names = ("16-bit.png", "cmyk.jpg", "indexed.png", "moving.gif")
    pictures = read_images([tmp_path / name for name in names])
    expected = [[130, 130, 130], [255, 0, 0], [200, 100, 50], [200, 100, 50]]
    np.testing.assert_allclose(pictures[:, 10, 10], expected, atol=2)


def test_a_small_picture_is_centred_on_white() -> None:
    small = shrink(np.zeros((10, 16, 3)))
    assert (small[5:15, 2:18] == 0).all()
    assert (small == 0).sum() == 10 * 16 * 3


def test_a_wide_picture_keeps_its_aspect_ratio() -> None:
    wide = shrink(np.zeros((100, 200, 3)))
    dark = (wide == 0).all(-1)
    assert dark[5:15].all()
    assert not dark[:5].any()
    assert not dark[15:].any()


@pytest.mark.parametrize("size", [96, 128, 250])
def test_a_thin_outline_stays_sharp_and_closed(size: int) -> None:
    image = Image.new("RGB", (size, size), "white")
    edge = size // 10
    width = max(2, size // 48)  # about 0.4 cells
    draw = ImageDraw.Draw(image)
    draw.ellipse(
        (edge, edge, size - edge, size - edge), fill=(240, 190, 60), outline=(20, 20, 20), width=width
    )
    small = shrink(np.asarray(image))
    dark = small.sum(-1) < 100
    inside = (small == (240, 190, 60)).all(-1)
    white = (small == 255).all(-1)
    assert (dark | inside | white).all()  # sharp: there are no intermediate colours
    assert inside.sum() > 100
    # closed: the inside never touches the white
    for touching in (inside[1:] & white[:-1], inside[:-1] & white[1:], inside[:, 1:] & white[:, :-1]):
        assert not touching.any()
    assert not (inside[:, :-1] & white[:, 1:]).any()


def test_a_picture_with_a_long_side_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture of a few bytes may decode to terabytes, so only its header is read."""
    files = {}
    for name, size in {"tall.png": (1, 20000), "wide.gif": (9000, 1), "large.jpg": (9400, 9400)}.items():
        files[name] = tmp_path / name
        Image.new("L", size).save(files[name])
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    for name, file in files.items():
        with pytest.raises(PokemonGenError, match=rf"{name}: .*4096 pixels"):
            read_images([file])


def test_only_safe_formats_are_opened(tmp_path: Path) -> None:
    """Pillow would pass a PostScript file to another program, whatever its suffix."""
    (tmp_path / "drawing.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\nshowpage\n")
    with pytest.raises(PokemonGenError, match=r"drawing\.png: .*PNG, GIF"):
        read_images([tmp_path / "drawing.png"])


def test_a_gif_that_ends_in_its_second_frame_is_named(tmp_path: Path) -> None:
    """Found by fuzzing: Pillow raises an IndexError when it looks for more frames."""
    file = io.BytesIO()
    first = Image.new("RGB", (20, 20), "red")
    first.save(file, "GIF", save_all=True, append_images=[Image.new("RGB", (20, 20), "blue")])
    whole = file.getvalue()
    for length in range(len(whole)):
        cut = tmp_path / "cut.gif"
        cut.write_bytes(whole[:length])
        with contextlib.suppress(PokemonGenError):
            read_pictures([cut])
