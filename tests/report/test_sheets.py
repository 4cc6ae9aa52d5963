"""`report/sheets.py`: the pixels of sheets, and the line between prompt and completion."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pokemon_gen.palette import to_picture
from pokemon_gen.report.sheets import (
    BAR,
    CAPTION,
    GUTTER,
    LINE,
    PAPER,
    draw_completions,
    draw_contact_sheet,
    draw_explained,
    save_picture,
)
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
    scale, top = (sheet.shape[1] - GUTTER) // 8 // 20, GUTTER + CAPTION
    tile = sheet[top : top + 20 * scale, GUTTER : GUTTER + 20 * scale]
    red = (tile == LINE).all(-1)
    row, column = divmod(length, 20)
    assert red[row * scale, column * scale :].all()
    if column:
        assert red[(row + 1) * scale - 1, : column * scale].all()
    centres = tile[scale // 2 :: scale, scale // 2 :: scale]
    np.testing.assert_array_equal(
        centres, to_picture(sprites[0], few_sprites.palette)
    )  # the line hides no pixel


def test_variants_have_a_row_each_after_the_truth(few_sprites: Sprites) -> None:
    sprites = few_sprites.tokens("train")[:6].reshape(2, 3, 400)
    truth = [few_sprites.tokens("dev")[0], None]
    scores = [["real 0.9", "real 0.5", "real 0.1"]] * 2
    sheet = np.asarray(draw_completions(sprites, few_sprites.palette, [240] * 2, scores, truth))
    scale = (sheet.shape[1] - GUTTER) // 4 // 20
    side = 20 * scale + GUTTER

    def shown(row: int, column: int) -> np.ndarray:
        top, left = row * (side + CAPTION) + GUTTER + CAPTION, column * side + GUTTER
        return sheet[
            top + scale // 2 : top + 20 * scale : scale, left + scale // 2 : left + 20 * scale : scale
        ]

    for place, sprite in {(0, 0): truth[0], (0, 1): sprites[0, 0], (1, 3): sprites[1, 2]}.items():
        np.testing.assert_array_equal(shown(*place), to_picture(sprite, few_sprites.palette))
    assert (shown(1, 0)[12:] == PAPER).all()  # no truth
    assert (sheet[GUTTER : GUTTER + CAPTION] != PAPER).any()  # numbers and scores


def test_a_picture_is_saved_as_png(few_sprites: Sprites, tmp_path: Path) -> None:
    picture = draw_contact_sheet(few_sprites.tokens("dev"), few_sprites.palette)
    save_picture(picture, tmp_path / "new" / "sheet.png")
    with Image.open(tmp_path / "new" / "sheet.png") as read:
        assert read.format == "PNG"
        assert read.size == picture.size


def test_an_explained_sheet_shows_a_sprite_a_bar_and_a_map(few_sprites: Sprites) -> None:
    sprites = few_sprites.tokens("train")[:2]
    maps = np.zeros((2, 20, 20))
    maps[0, 15, 3] = maps[1, 2, 7] = 1
    picture = np.array(draw_explained(sprites, few_sprites.palette, np.array([True, False]), maps))
    side = (picture.shape[1] - 3 * GUTTER) // 2
    scale, top = side // 20, GUTTER
    for number, (row, column) in enumerate([(15, 3), (2, 7)]):
        left = GUTTER + number * (side + GUTTER)
        tile = picture[top : top + 2 * side + BAR, left : left + side]
        pixel = to_picture(sprites[number], few_sprites.palette)[0, 0]
        np.testing.assert_array_equal(tile[1, 1], pixel)
        np.testing.assert_array_equal(tile[side + 1, 5], PAPER if number == 0 else LINE)
        heat = tile[side + BAR :][scale // 2 :: scale, scale // 2 :: scale]
        red = (heat == LINE).all(-1)
        assert np.argwhere(red).tolist() == [[row, column]]
