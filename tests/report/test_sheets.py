"""`report/sheets.py`: the pixels of sheets, and the line between prompt and completion."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pokemon_gen.palette import to_picture
from pokemon_gen.report.sheets import GUTTER, LINE, PAPER, draw_completions, draw_contact_sheet, save_picture
from pokemon_gen.sprites.loading import Sprites


def test_a_sheet_shows_every_sprite_upscaled(few_sprites: Sprites) -> None:
    tokens = few_sprites.tokens("train")
    sheet = np.asarray(draw_contact_sheet(tokens, few_sprites.palette))
    assert sheet.shape == (2 * 106 + 6, 16 * 106 + 6, 3)
    top, left = GUTTER + 106, GUTTER + 2 * 106  # second row, third column: sprite 18
    shown = sheet[top + 2 : top + 100 : 5, left + 2 : left + 100 : 5]
    np.testing.assert_array_equal(shown, to_picture(tokens[18], few_sprites.palette))


def test_a_blind_test_sprite_shows_paper_below_its_prompt(few_sprites: Sprites) -> None:
    sheet = np.asarray(draw_contact_sheet(few_sprites.tokens("test")[:1], few_sprites.palette))
    assert (sheet[GUTTER + 12 * 16 : GUTTER + 20 * 16, GUTTER : GUTTER + 320] == PAPER).all()


@pytest.mark.parametrize("length", [1, 20, 240, 245, 399])
def test_a_line_separates_prompt_and_completion(few_sprites: Sprites, length: int) -> None:
    sprites = few_sprites.tokens("dev")
    sheet = np.asarray(draw_completions(sprites, few_sprites.palette, [length] * 8))
    scale = (sheet.shape[1] - GUTTER) // 8 // 20
    tile = sheet[GUTTER : GUTTER + 20 * scale, GUTTER : GUTTER + 20 * scale]
    red = (tile == LINE).all(-1)
    row, column = divmod(length, 20)
    assert red[row * scale, column * scale :].all()
    if column:
        assert red[(row + 1) * scale - 1, : column * scale].all()
    centres = tile[scale // 2 :: scale, scale // 2 :: scale]
    np.testing.assert_array_equal(
        centres, to_picture(sprites[0], few_sprites.palette)
    )  # the line hides no pixel


def test_a_picture_is_saved_as_png(few_sprites: Sprites, tmp_path: Path) -> None:
    picture = draw_contact_sheet(few_sprites.tokens("dev"), few_sprites.palette)
    save_picture(picture, tmp_path / "new" / "sheet.png")
    with Image.open(tmp_path / "new" / "sheet.png") as read:
        assert read.format == "PNG"
        assert read.size == picture.size
