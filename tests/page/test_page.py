"""The live page in a browser: painting, completing, looking inside, saving, links and mistakes.

Each test ends with no console error and no request, which the fixture `page` checks.
"""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.build import build_model
from pokemon_gen.models.ensemble import Ensemble
from pokemon_gen.page.build import Start, build_page
from pokemon_gen.page.export import PageModel, export_models
from pokemon_gen.palette import to_picture
from pokemon_gen.report.html import HtmlPage
from pokemon_gen.settings import CompletionSettings
from pokemon_gen.sprites.loading import Sprites

pytestmark = pytest.mark.browser
SAMPLING = CompletionSettings(do_sample=True, top_p=0.95, seed=3)
SMALL = {
    "model_type": "qwen3", "num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 64,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "initializer_range": 0.3,
}  # fmt: skip
BOARD = "#board"
SLOW = """(() => {
    const send = worker.postMessage.bind(worker);
    worker.postMessage = (message, transfer) => send({ ...message, pace: 20 }, transfer);
})()"""
"""Lets a completion wait 20 ms for each pixel."""


@pytest.fixture
def html(few_sprites: Sprites, own_folder: Path) -> Path:
    """Return the page of an ensemble of two small models."""
    name = "<b>mine</b><!--<script>"
    members = [build_model(SMALL, len(few_sprites.palette), seed=seed).eval() for seed in (1, 2)]
    models = export_models(Ensemble(members))
    starts = [Start(f"sprite {n}", tokens) for n, tokens in enumerate(few_sprites.tokens("dev")[:3])]
    text = build_page(name, models, few_sprites.palette, SAMPLING, starts, "a small model")
    file = own_folder / "page.html"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture
def opened(page: Any, html: Path) -> Any:
    page.set_viewport_size({"width": 1440, "height": 1000})
    page.goto(html.as_uri())
    wait_for(page, "Ready")
    return page


def wait_for(page: Any, words: str) -> str:
    """Wait until the status contains words, and return it."""
    from playwright.sync_api import expect

    expect(page.locator("#status")).to_contain_text(words, timeout=10_000)
    return str(page.inner_text("#status"))


def state(page: Any) -> tuple[list[int], int, int]:
    """Return the tokens, the line and the number of known pixels."""
    tokens, line, filled = page.evaluate("[[...picture().tokens], picture().line, picture().filled]")
    return tokens, line, filled


def tap(page: Any, position: int) -> None:
    side = page.evaluate("cell")
    page.click(BOARD, position={"x": (position % 20 + 0.5) * side, "y": (position // 20 + 0.5) * side})


def complete(page: Any) -> list[int]:
    page.click("#complete")
    wait_for(page, "Done")
    return state(page)[0]


def download(page: Any, button: str) -> bytes:
    with page.expect_download() as saved:
        page.click(button)
    return Path(saved.value.path()).read_bytes()


def test_candidates_begin_with_the_prompt_and_the_seed_determines_them(
    opened: Any, few_sprites: Sprites
) -> None:
    prompt = few_sprites.tokens("dev")[0, :240].tolist()
    first = complete(opened)
    assert first[:240] == prompt
    assert state(opened)[1:] == (240, 400)
    assert opened.locator("#candidates button").count() == 8
    assert complete(opened) == first
    opened.fill("#seed", "4")
    assert complete(opened) != first
    opened.click("#candidates button:nth-child(3)")
    kept, _, _ = state(opened)
    assert kept == opened.evaluate("[...candidates.tokens[2]]") != first
    for _ in range(2):
        opened.keyboard.press("Control+z")
    assert state(opened)[0] != kept


def test_all_members_can_be_asked(opened: Any) -> None:
    one = complete(opened)
    opened.select_option("#members", "2")
    assert complete(opened) != one


def test_painting_changes_pixels_and_moves_the_line_below_it(opened: Any) -> None:
    before, _, _ = state(opened)
    opened.click("#palette button:nth-child(7)")
    colour = int(opened.get_attribute("#palette button:nth-child(7)", "data-token"))
    tap(opened, 45)
    assert state(opened)[0][45] == colour != before[45]
    opened.click("#mirror")
    tap(opened, 60)
    tokens, _, _ = state(opened)
    assert tokens[60] == tokens[79] == colour
    tap(opened, 300)  # below the line: what is before it becomes known
    assert state(opened)[1:] == (320, 320)  # mirrored: both ends of row 15
    opened.click("[data-tool=erase]")
    opened.click("#mirror")
    tap(opened, 250)
    assert state(opened)[2] == 250
    assert complete(opened)[:250] == [*tokens[:240], *state(opened)[0][240:250]]  # a half-painted row


def test_fill_and_pick(opened: Any) -> None:
    opened.click("#blank")
    opened.click("#palette button:nth-child(9)")
    colour = int(opened.get_attribute("#palette button:nth-child(9)", "data-token"))
    opened.click("[data-tool=fill]")
    tap(opened, 0)
    tokens, _, filled = state(opened)
    assert set(tokens[:filled]) == {colour}
    opened.click("#palette button:nth-child(1)")
    opened.click("[data-tool=pick]")
    tap(opened, 7)
    assert opened.get_attribute("#palette button:nth-child(9)", "aria-checked") == "true"


def test_the_line_is_dragged(opened: Any) -> None:
    side = opened.evaluate("cell")
    grip, board = opened.locator("#grip").bounding_box(), opened.locator(BOARD).bounding_box()
    opened.mouse.move(grip["x"] + 5, grip["y"] + 11)
    opened.mouse.down()
    opened.mouse.move(grip["x"] + 5, board["y"] + 5 * side)
    opened.mouse.up()
    assert state(opened)[1:] == (100, 100)
    opened.locator("#rows").fill("0")
    opened.click("#complete")
    assert "at least one pixel" in wait_for(opened, "begin with")


def test_a_pixel_shows_its_likeliest_colours_and_another_one_can_be_put_there(opened: Any) -> None:
    first = complete(opened)
    opened.click("[data-tool=ask]")
    tap(opened, 260)
    rows = opened.locator("#likeliest button")
    rows.first.wait_for()
    assert rows.count() == 10
    shares = [float(re.findall(r"([\d.]+) %", text)[0]) for text in rows.all_inner_texts()]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 100.5
    names = rows.all_inner_texts()
    other = next(n for n, text in enumerate(names) if "✓" not in text)
    rows.nth(other).click()
    wait_for(opened, "Done")
    tokens, _, filled = state(opened)
    assert filled == 400
    assert tokens[:260] == first[:260]
    assert tokens[260] != first[260]


def test_surprise_and_attention_are_drawn(opened: Any) -> None:
    complete(opened)
    plain = opened.locator(BOARD).screenshot()
    opened.click("#surprise")
    opened.wait_for_timeout(500)
    surprise = opened.locator(BOARD).screenshot()
    assert "nats" in opened.inner_text("#legend")
    assert surprise != plain
    opened.click("#attention")
    opened.click("[data-tool=ask]")
    tap(opened, 300)
    opened.locator("#layer option").nth(2).wait_for(state="attached")  # "all" and two layers
    opened.select_option("#head", "1")
    assert "row 16, column 1" in opened.inner_text("#legend")
    values = opened.evaluate("[...overlay.values]")
    assert max(values[300:]) == 0 < max(values[:300])
    opened.click("#attention")
    opened.wait_for_timeout(300)
    assert opened.evaluate("overlay") is None


def test_a_running_completion_stops(opened: Any) -> None:
    opened.evaluate(SLOW)
    opened.click("#complete")
    wait_for(opened, "Painting")
    opened.wait_for_timeout(200)
    opened.keyboard.press("Escape")
    wait_for(opened, "Stopped")
    _, _, filled = state(opened)
    assert 240 < filled < 400


@pytest.mark.parametrize("action", ["paint", "undo", "open", "line", "start", "link"])
def test_what_is_done_while_a_completion_runs_stays(opened: Any, action: str) -> None:
    before = state(opened)
    opened.evaluate(SLOW)
    link = opened.evaluate("fragment()")
    opened.click("#complete")
    wait_for(opened, "Painting")
    opened.wait_for_timeout(200)
    if action == "paint":
        tap(opened, 45)
    elif action == "undo":
        opened.keyboard.press("Control+z")
    elif action == "open":
        Image.new("RGB", (20, 20), "red").save("red.png")
        opened.set_input_files("#file", "red.png")
        wait_for(opened, "Opened")
    elif action == "line":
        opened.locator("#rows").fill("5")
    elif action == "start":
        opened.click("#starts button:nth-child(2)")
    else:
        opened.evaluate(f"location.hash = {link!r}")
        opened.wait_for_timeout(100)
    assert opened.is_disabled("#stop")
    after = state(opened)
    if action in ("undo", "link"):
        assert (after[0][:240], *after[1:]) == (before[0][:240], 240, 240)
    else:
        assert after != before
    opened.wait_for_timeout(400)  # what the worker painted meanwhile
    assert state(opened) == after


def test_a_long_stroke_waits_for_one_answer_at_most(opened: Any) -> None:
    opened.click("#surprise")
    opened.evaluate("""(() => {
        const send = worker.postMessage.bind(worker);
        globalThis.sent = 0;
        worker.postMessage = (message, transfer) => {
            if (message.type === "inspect") sent++;
            send(message, transfer);
        };
    })()""")
    opened.evaluate("for (let i = 0; i < 200; i++) use(i, i === 0)")
    opened.wait_for_timeout(500)
    assert 1 <= opened.evaluate("sent") <= 3
    assert opened.evaluate("overlay.values[0] === 0 && Math.max(...overlay.values) > 0")


def test_painting_far_below_the_line_says_that_hidden_pixels_are_given(opened: Any) -> None:
    tap(opened, 245)
    assert "given" not in opened.inner_text("#status")  # five pixels of the same row, in plain sight
    tap(opened, 300)
    assert "54 pixels" in wait_for(opened, "given")
    opened.keyboard.press("Control+z")
    assert state(opened)[1:] == (246, 246)


def test_a_click_on_the_grip_is_no_step(opened: Any) -> None:
    opened.click("#grip")
    assert opened.is_disabled("#undo")
    assert state(opened)[1] == 240


def focused(page: Any) -> str:
    """Return the id of the element that the keyboard is at, or of the one around it that has an id."""
    return str(page.evaluate("document.activeElement.closest('[id]')?.id ?? document.activeElement.tagName"))


def test_the_keyboard_keeps_its_place(opened: Any) -> None:
    opened.evaluate(SLOW)
    opened.focus("#complete")
    opened.keyboard.press("Enter")
    wait_for(opened, "Painting")
    opened.focus("#stop")
    opened.keyboard.press("Enter")
    wait_for(opened, "Stopped")
    assert focused(opened) == "complete"
    opened.keyboard.press("Enter")
    opened.focus("#candidates button:nth-child(3)")
    wait_for(opened, "Done")
    assert focused(opened) == "candidates"
    assert opened.evaluate("document.activeElement.matches(':nth-child(3)')")
    opened.evaluate("lookInto(300)")
    opened.locator("#likeliest button").nth(4).focus()
    opened.keyboard.press("Enter")
    wait_for(opened, "Done")
    opened.wait_for_function("!looking")
    assert focused(opened) == "likeliest"
    while opened.is_enabled("#undo"):
        opened.focus("#undo")
        opened.keyboard.press("Enter")
        opened.wait_for_timeout(50)
    assert focused(opened) == "board"


def test_the_board_says_what_the_keyboard_does(opened: Any) -> None:
    opened.focus(BOARD)
    assert opened.evaluate("cursor") == 240
    opened.keyboard.press("ArrowUp")
    assert "row 12, column 1" in opened.inner_text("#status")
    opened.keyboard.press("Space")
    colour = opened.evaluate("PALETTE.hex(colour)")
    assert opened.inner_text("#status") == f"row 12, column 1: {colour}"
    opened.keyboard.press("f")
    assert "Fill" in opened.inner_text("#status")


def test_painting_below_the_line_of_a_finished_picture_is_explained(opened: Any) -> None:
    complete(opened)
    tap(opened, 300)
    assert "line" in wait_for(opened, "again")
    tap(opened, 45)
    opened.keyboard.press("Control+z")


def test_at_temperature_zero_there_is_one_candidate(opened: Any) -> None:
    opened.fill("#temperature", "0")
    complete(opened)
    assert opened.locator("#candidates button").count() == 1
    assert "equal" in opened.inner_text("#status")
    assert opened.input_value("#count") == "8"


def test_escape_ends_a_question(opened: Any) -> None:
    opened.click("[data-tool=ask]")
    tap(opened, 100)
    opened.locator("#likeliest button").first.wait_for()
    opened.keyboard.press("Escape")
    opened.locator("#likeliest button").first.wait_for(state="detached")


def test_a_drag_of_the_slider_is_one_step(opened: Any) -> None:
    before = state(opened)
    slider = opened.locator("#rows").bounding_box()
    middle = slider["y"] + slider["height"] / 2
    opened.mouse.move(slider["x"] + slider["width"] * 0.6, middle)
    opened.mouse.down()
    for share in (0.5, 0.4, 0.3):
        opened.mouse.move(slider["x"] + slider["width"] * share, middle)
    opened.mouse.up()
    assert state(opened)[1] < 200
    opened.keyboard.press("Control+z")
    assert state(opened) == before


def test_a_drag_there_and_back_does_not_join_the_next_one(opened: Any) -> None:
    slider = opened.locator("#rows").bounding_box()
    middle = slider["y"] + slider["height"] / 2
    for shares in ((0.6, 0.7, 0.6), (0.6, 0.4)):
        opened.mouse.move(slider["x"] + slider["width"] * shares[0], middle)
        opened.mouse.down()
        for share in shares[1:]:
            opened.mouse.move(slider["x"] + slider["width"] * share, middle)
        opened.mouse.up()
    assert opened.evaluate("moving") is False
    assert opened.evaluate("history_.before.length") == 2


def test_numbers_without_a_fraction_are_rounded(opened: Any) -> None:
    for field, value in (("top-k", "2.5"), ("count", "2.4"), ("seed", "1.6")):
        opened.fill(f"#{field}", value)
    assert opened.evaluate("[settings().topK, settings().count, settings().seed]") == [3, 2, 2]


def test_a_candidate_keeps_the_line(opened: Any) -> None:
    complete(opened)
    opened.click("[data-tool=erase]")
    tap(opened, 325)
    complete(opened)
    opened.click("#candidates button:nth-child(2)")
    assert state(opened)[1:] == (240, 400)


def test_an_open_pixel_does_not_show_what_is_hidden(opened: Any) -> None:
    before = opened.evaluate("[colour, history_.before.length]")
    for tool in ("pick", "fill"):
        opened.click(f"[data-tool={tool}]")
        tap(opened, 330)
        wait_for(opened, "open")
    assert opened.evaluate("colour") == before[0]


def test_pictures_are_saved(opened: Any, few_sprites: Sprites) -> None:
    assert opened.is_disabled("#png-1")
    tokens = np.array(complete(opened))
    expected = to_picture(tokens, few_sprites.palette)
    for button, factor in (("#png-1", 1), ("#png-16", 16)):
        with Image.open(io.BytesIO(download(opened, button))) as saved:
            np.testing.assert_array_equal(
                np.asarray(saved.convert("RGB")), expected.repeat(factor, 0).repeat(factor, 1)
            )
    with Image.open(io.BytesIO(download(opened, "#gif"))) as moving:
        assert getattr(moving, "n_frames", 1) == 41  # 160 pixels, four at a time, and the prompt
        moving.seek(40)
        last = np.asarray(moving.convert("RGB"))
        np.testing.assert_array_equal(last[5::10, 5::10], expected)
        moving.seek(0)
        first = np.asarray(moving.convert("RGB"))[5::10, 5::10]
        np.testing.assert_array_equal(first[:12], expected[:12])
        assert (first[12:] == first[12, 0]).all()


def test_a_link_reproduces_the_picture_and_the_settings(opened: Any, html: Path) -> None:
    opened.fill("#temperature", "0.8")
    tokens = complete(opened)
    opened.evaluate("navigator.clipboard.writeText = async (text) => { globalThis.copied = text; }")
    opened.click("#copy-link")
    wait_for(opened, "Copied")
    link = opened.evaluate("copied")
    opened.goto("about:blank")
    opened.goto(link)
    wait_for(opened, "Ready")
    assert state(opened) == (tokens, 240, 400)
    assert opened.input_value("#temperature") == "0.8"
    assert complete(opened) == tokens


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda link: re.sub("palette=[0-9a-f]{4}", "palette=0000", link), "another palette"),
        (lambda link: re.sub("pixels=....", "pixels=____", link), "colour"),
        (lambda link: re.sub("pixels=.*", "pixels=!", link), "damaged"),
        (lambda link: re.sub("line=240", "line=-3", link), "damaged"),
    ],
    ids=["palette", "colour", "pixels", "line"],
)
def test_a_wrong_link_is_explained(opened: Any, html: Path, change: Any, fact: str) -> None:
    link = f"{html.as_uri()}#{opened.evaluate('fragment()')}"
    opened.goto("about:blank")
    opened.goto(change(link))
    opened.wait_for_timeout(1000)  # also after the model is loaded
    assert fact in opened.inner_text("#status")


def test_a_link_of_a_page_with_other_models_keeps_the_choice_of_this_one(opened: Any) -> None:
    link = opened.evaluate("fragment()").replace("members=1", "members=5").replace("line=240", "line=400")
    complete(opened)
    opened.evaluate(f"location.hash = {link!r}")
    opened.wait_for_timeout(200)
    assert opened.input_value("#members") == "1"
    assert state(opened)[1:] == (240, 240)
    assert opened.locator("#candidates button").count() == 0


def test_single_letters_work_on_the_picture_alone(opened: Any) -> None:
    opened.focus("#upload")
    opened.keyboard.press("e")
    assert opened.evaluate("tool") == "paint"
    opened.focus(BOARD)
    opened.keyboard.press("e")
    assert opened.evaluate("tool") == "erase"


def test_an_uploaded_picture_is_mapped_to_the_palette(
    opened: Any, few_sprites: Sprites, own_folder: Path
) -> None:
    sprite = few_sprites.tokens("train")[0]
    picture = Image.fromarray(to_picture(sprite, few_sprites.palette)).resize(
        (60, 60), Image.Resampling.NEAREST
    )
    picture.save("cat.png")
    opened.set_input_files("#file", "cat.png")
    wait_for(opened, "enlarged 3 times")
    tokens, line, filled = state(opened)
    assert tokens == sprite.tolist()
    assert (line, filled) == (240, 240)
    picture.resize((50, 33)).save("odd.png")
    opened.set_input_files("#file", "odd.png")
    assert "padded" in wait_for(opened, "50×33")


@pytest.mark.parametrize("event", ["paste", "drop"])
def test_a_picture_is_pasted_or_dropped(opened: Any, few_sprites: Sprites, event: str) -> None:
    sprite = few_sprites.tokens("train")[1]
    buffer = io.BytesIO()
    Image.fromarray(to_picture(sprite, few_sprites.palette)).save(buffer, "PNG")
    opened.evaluate(
        """([event, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(bytes)], "cat.png", { type: "image/png" }));
            const fields = { bubbles: true, cancelable: true, clipboardData: data, dataTransfer: data };
            const type = event === "paste" ? ClipboardEvent : DragEvent;
            document.body.dispatchEvent(new type(event, fields));
        }""",
        [event, list(buffer.getvalue())],
    )
    wait_for(opened, "Opened")
    assert state(opened)[0] == sprite.tolist()


def test_a_huge_picture_is_read_without_a_long_freeze(opened: Any) -> None:
    """Enlarged pixel art of 16 million pixels, all of which are compared."""
    Image.new("RGB", (4000, 4000), (200, 30, 30)).save("huge.png")
    opened.set_input_files("#file", "huge.png")
    wait_for(opened, "enlarged 200 times")


@pytest.mark.parametrize("kind", ["text", "large", "animated"])
def test_odd_files_are_explained(opened: Any, kind: str) -> None:
    if kind == "text":
        Path("cat.png").write_text("not a picture")
        opened.set_input_files("#file", "cat.png")
        assert "cat.png" in wait_for(opened, "not a picture")
    elif kind == "large":
        Image.new("1", (10_000, 10)).save("wide.png")
        opened.set_input_files("#file", "wide.png")
        assert "10000" in wait_for(opened, "too large")
    else:
        frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
        for name in ("moving.gif", "moving.png", "moving.webp"):
            frames[0].save(name, save_all=True, append_images=frames[1:], lossless=True)
            opened.set_input_files("#file", name)
            wait_for(opened, "first frame")
            tokens, _, _ = state(opened)
            assert len(set(tokens)) == 1
        frames[0].save("still.gif")
        opened.set_input_files("#file", "still.gif")
        assert "first frame" not in wait_for(opened, "Opened the picture; its")


def test_the_keyboard_suffices(opened: Any) -> None:
    opened.focus(BOARD)
    for key in ("b", *["ArrowUp"] * 20, *["ArrowLeft"] * 20, "ArrowRight", "ArrowDown", "Space"):
        opened.keyboard.press(key)
    colour = opened.evaluate("colour")
    assert state(opened)[0][21] == colour
    opened.keyboard.press("c")
    wait_for(opened, "Done")
    opened.keyboard.press("i")
    opened.keyboard.press("Enter")
    opened.locator("#likeliest button").first.wait_for()
    opened.keyboard.press("s")
    opened.wait_for_timeout(300)
    assert "Surprise" in opened.inner_text("#legend")
    reached = set()
    for _ in range(60):
        opened.keyboard.press("Tab")
        reached.add(opened.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert {"complete", "temperature", "surprise", "png-1", "board", "rows"} <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_the_page_fits_the_screen(page: Any, html: Path, width: int, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(html.as_uri())
    wait_for(page, "Ready")
    assert len(complete(page)) == 400
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("cell") == int(page.evaluate("cell"))
    assert page.inner_text("h1") == page.evaluate("DATA.name") == "<b>mine</b><!--<script>"


def test_the_page_runs_in_a_frame_of_a_notebook(page: Any, html: Path) -> None:
    page.set_content(HtmlPage(html)._repr_html_())
    frame = page.frame_locator("iframe")
    from playwright.sync_api import expect

    expect(frame.locator("#status")).to_contain_text("Ready", timeout=10_000)
    frame.locator("#complete").click()
    expect(frame.locator("#status")).to_contain_text("Done", timeout=10_000)
    frame.locator("#copy-link").click()
    expect(frame.locator("#status")).to_contain_text("page.html")


def test_a_page_that_is_too_large_says_its_size(few_sprites: Sprites) -> None:
    model = PageModel({}, bytes(90_000_000))
    with pytest.raises(PokemonGenError, match="120 MB"):
        build_page("huge", [model], few_sprites.palette, SAMPLING, [], "")
