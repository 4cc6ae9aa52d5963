"""`report/inside.py` and `report/inside_pictures.py`: pictures, attention as bytes, files, and the page."""

import base64
import io
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pokemon_gen.report.inline import HEAT
from pokemon_gen.report.inside import (
    Block,
    Cell,
    Context,
    Contexts,
    InsideContent,
    Scatter,
    Section,
    SpriteAttention,
    Table,
    TextAttention,
    Tiles,
    build_inside,
    file_names,
    write_inside,
)
from pokemon_gen.report.inside_pictures import (
    Point,
    Tile,
    attention_bytes,
    attention_pixels,
    heat_pixels,
    pale_sprite,
    placed,
    sprite_pixels,
)
from pokemon_gen.report.sheets import LINE, PAPER
from pokemon_gen.sprites.loading import Sprites

NAME = "</script><b>bold</b>"
SKIP = 2
START = 250


def random_attention(maps: int, length: int) -> NDArray[np.float32]:
    """Return causal attention that adds up to 1, (maps, length, length)."""
    weights = np.random.default_rng(0).exponential(size=(maps, length, length)) ** 3
    weights *= np.tri(length)
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def decoded(data: bytes, maps: int) -> list[list[list[float]]]:
    """Decode attention one byte at a time, as the docstring of `attention_bytes` describes it."""
    size = len(data) // maps
    found: list[list[list[float]]] = []
    for number in range(maps):
        place = number * size
        rows: list[list[float]] = []
        while place < (number + 1) * size:
            count = len(rows) + 2
            rows.append([(byte / 255) ** 2 for byte in data[place : place + count]])
            place += count
        found.append(rows)
    return found


def test_bytes_hold_the_attention_and_that_to_the_conditioning_tokens() -> None:
    attention = random_attention(3, 9)
    rows = decoded(attention_bytes(attention, SKIP), 3)
    assert [len(row) for row in rows[0]] == list(range(2, 9))
    for number, query in np.ndindex(3, 9 - SKIP):
        weights = attention[number, SKIP + query]
        expected = [weights[:SKIP].sum(), *weights[SKIP : SKIP + query + 1]]
        np.testing.assert_allclose(rows[number][query], expected, atol=0.004)


def test_heat_goes_from_light_to_dark_and_leaves_unknown_values_grey() -> None:
    pixels = heat_pixels(np.array([[0, 1, 2, 5, np.nan]]), 2)
    assert pixels[0, [0, 1, 2, 3]].tolist() == [list(HEAT[n]) for n in (0, 2, 4, 4)]
    assert pixels[0, 4].tolist() == list(PAPER)


def test_attention_is_red_where_it_is_largest_and_pale_where_it_is_zero(few_sprites: Sprites) -> None:
    sprite = few_sprites.tokens("dev")[0]
    pale = pale_sprite(sprite, few_sprites.palette)
    assert pale[sprite == 0].tolist() == [255] * int((sprite == 0).sum())  # white stays white
    weights = np.zeros(31)
    weights[[4, 7]] = 0.4, 0.2
    pixels = attention_pixels(weights, pale).reshape(400, 3)
    assert pixels[4].tolist() == list(LINE)
    assert pixels[5].tolist() == [pale[5]] * 3
    np.testing.assert_allclose(pixels[7], (int(pale[7]) + np.array(LINE)) / 2, atol=0.5)
    assert (pixels[31:] == PAPER).all()


def test_tokens_without_a_colour_are_grey(few_sprites: Sprites) -> None:
    sprite = few_sprites.tokens("dev")[0].copy()
    sprite[21] = len(few_sprites.palette)
    pixels = sprite_pixels(sprite, few_sprites.palette)
    assert pixels[1, 1].tolist() == list(PAPER)
    assert pixels[1, 2].tolist() == few_sprites.palette.rgb[sprite[22]].tolist()


def test_points_keep_their_shape_and_y_points_up() -> None:
    points = [Point(x, y, (0, 0, 0), "") for x, y in ((0, 0), (4, 0), (0, 2))]
    (first, right, up), height = placed(points, 100, 10)
    assert right[0] - first[0] == pytest.approx(80)  # the width without its margins
    assert first[1] - up[1] == pytest.approx(40)
    assert height == pytest.approx(60)


@pytest.fixture
def content(few_sprites: Sprites) -> InsideContent:
    """Return a page with a block of every kind."""
    sprite = few_sprites.tokens("dev")[0]
    pale = pale_sprite(sprite, few_sprites.palette)
    attention = random_attention(2, SKIP + 400)
    tile = Tile(sprite_pixels(sprite, few_sprites.palette), NAME, NAME, START)
    seen = attention[:, SKIP + START, SKIP : SKIP + START + 1]
    maps = [
        Tile(attention_pixels(weights, pale), f"layer 1\n{NAME}\nmost\nconditioning", NAME, START)
        for weights in seen
    ]
    of_text = random_attention(2, 5)
    text_maps = [Tile(heat_pixels(one, 1), NAME, NAME) for one in of_text]
    blocks: list[Block] = [
        SpriteAttention("pixel", NAME, NAME, tile, maps, attention, SKIP, pale, START, 2),
        TextAttention("text", NAME, NAME, list("abc<⏎"), ["first", NAME], text_maps, of_text, 2),
        Tiles("tiles", NAME, NAME, [tile, tile], 3, 2, True, "top"),
        Scatter("points", NAME, NAME, [Point(0, 0, (1, 2, 3), NAME), Point(1, 1, (4, 5, 6), NAME, NAME)]),
        Table("table", NAME, NAME, ["a", "b"], [("1", Cell(NAME))]),
        Contexts("contexts", NAME, NAME, {NAME: [Context(NAME, NAME, NAME, "1.0")]}),
    ]
    sections = [
        Section("first", NAME, blocks[:3], {"attention": attention, "words": np.array(["a", "b"])}),
        Section("second", NAME, blocks[3:], {}),
    ]
    return InsideContent(NAME, [NAME], sections, {NAME: {NAME: NAME}}, f"pokemon-gen inspect '{NAME}'")


def test_every_array_and_every_picture_is_a_file(content: InsideContent, own_folder: Path) -> None:
    page = write_inside(content, own_folder)
    names = ["first-pixel.png", "first-text.png", "first-tiles.png", "second-points.png", "first.npz"]
    assert file_names(content) == names
    assert sorted(file.name for file in own_folder.iterdir()) == sorted([*names, "page.html"])
    with np.load(own_folder / "first.npz") as arrays:
        assert set(arrays) == set(content.sections[0].arrays)
        for name, array in content.sections[0].arrays.items():
            np.testing.assert_array_equal(arrays[name], array)
    assert page.file.read_text(encoding="utf-8") == build_inside(content)


def test_a_png_shows_the_pixels_of_its_tiles(content: InsideContent, own_folder: Path) -> None:
    write_inside(content, own_folder)
    tiles = content.sections[0].blocks[2]
    assert isinstance(tiles, Tiles)
    upscaled = tiles.tiles[0].pixels.repeat(6, 0).repeat(6, 1)
    picture = np.asarray(Image.open(own_folder / "first-tiles.png"))
    found = [
        (y, x)
        for y in range(picture.shape[0] - 120)
        for x in (12,)
        if np.array_equal(picture[y : y + 60, x : x + 120], upscaled[:60])
    ]
    assert len(found) == 1  # the upper half, which has no frame


def test_names_are_no_markup_and_the_page_requests_nothing(content: InsideContent) -> None:
    html = build_inside(content)
    assert NAME not in html
    assert "</script><b" not in html
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    assert "default-src 'none'" in unescape(html)


def test_the_page_holds_the_bytes_that_its_script_draws(content: InsideContent) -> None:
    html = build_inside(content)
    for kind, block in (("sprite", content.sections[0].blocks[0]), ("text", content.sections[0].blocks[1])):
        found = re.search(rf'id="{kind}-attention">(.*?)</script>', html, re.DOTALL)
        assert found
        assert isinstance(block, SpriteAttention | TextAttention)
        skip = SKIP if kind == "sprite" else 0
        data = json.loads(found[1])
        assert base64.b64decode(data["attention"]) == attention_bytes(block.attention, skip)


def pixels_of(address: str) -> NDArray[np.uint8]:
    """Return the RGB bytes of a `data:` address."""
    data = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_an_address_holds_every_pixel() -> None:
    pixels = np.random.default_rng(0).integers(256, size=(20, 20, 3), dtype=np.uint8)  # over 256 colours
    np.testing.assert_array_equal(pixels_of(Tile(pixels, "", "").address), pixels)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_a_pixel_is_chosen_by_a_click_or_by_keys(
    page: Any, content: InsideContent, own_folder: Path, width: int, scheme: str
) -> None:
    block = content.sections[0].blocks[0]
    assert isinstance(block, SpriteAttention)
    file = write_inside(content, own_folder).file
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    def assert_drawn(pixel: int) -> None:
        row, column = divmod(pixel, 20)
        assert f"row {row + 1}, column {column + 1}" in page.inner_text("#chosen-pixel")
        for number in range(2):
            drawn = pixels_of(page.get_attribute(f"[data-map='{number}']", "src"))
            weights = block.attention[number, SKIP + pixel, SKIP : SKIP + pixel + 1]
            expected = attention_pixels(weights, block.pale)
            np.testing.assert_allclose(drawn.astype(int), expected, atol=8)  # attention is rounded to bytes

    page.click("#chooser img", position={"x": 5 * 12 + 6, "y": 15 * 12 + 6})
    assert_drawn(15 * 20 + 5)
    page.focus("#chooser")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    assert_drawn(14 * 20 + 6)


@pytest.mark.browser
def test_a_token_and_a_head_are_chosen(page: Any, content: InsideContent, own_folder: Path) -> None:
    block = content.sections[0].blocks[1]
    assert isinstance(block, TextAttention)
    page.goto(write_inside(content, own_folder).file.as_uri())
    page.select_option("#head", "1")
    page.click("#tokens [data-place='3']")
    weights = block.attention[1, 3, :4]
    best = int(weights.argmax())
    words = page.inner_text("#chosen-token")
    assert words.startswith(f"Token 4 “<” looks most at token {best + 1} ")
    strengths = "(tokens) => tokens.map((one) => parseInt(one.style.getPropertyValue('--strength')))"
    strength = page.eval_on_selector_all("#tokens .token", strengths)
    np.testing.assert_allclose(strength, [*(100 * weights / weights.max()), 0], atol=2)
    drawn = pixels_of(page.get_attribute("#matrix", "src"))
    seen = np.where(np.tri(5, dtype=bool), block.attention[1], np.nan)
    np.testing.assert_allclose(drawn.astype(int), heat_pixels(seen, 1).astype(int), atol=8)
