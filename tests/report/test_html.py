"""`report/html.py`: the report in a browser, and names that are not markup.

Each test in a browser ends with no console error and no request, which the fixture `page` checks.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pokemon_gen.report.html import (
    ComparedRun,
    HtmlPage,
    ReportContent,
    build_comparison,
    build_report,
)
from pokemon_gen.report.scorecard_rows import NLL
from pokemon_gen.sprites.loading import Sprites

NAME = "<script>alert(1)</script>"


@pytest.fixture
def content(few_sprites: Sprites) -> ReportContent:
    """Return a report of four prompts with three candidates each."""
    truth = few_sprites.tokens("dev")[:4]
    candidates = np.stack([truth, truth[::-1], truth], axis=1)
    generator = np.random.default_rng(0)
    surprise = generator.exponential(size=(4, 400))
    surprise[:, 0] = np.nan
    logged = {"eval_nll": 2.0, "eval_completion_nll": 1.5}
    history = [{"step": step, "loss": 3 / step, **logged} for step in (1, 2)]
    selection = {
        "by": "nll", "reason": "step 2 (lowest NLL)", "chosen": "checkpoint-2",
        "checkpoints": [{"checkpoint": f"checkpoint-{n}", "step": n, "nll": 1.5} for n in (2, 1)],
    }  # fmt: skip
    return ReportContent(
        name=NAME, palette=few_sprites.palette, truth=truth, candidates=candidates,
        probability=np.array([[0.9, 0.5, 0.1], [0.2, 0.1, 0.1], [0.7, 0.6, 0.5], [0.4, 0.3, 0.2]]),
        nll=np.ones((4, 3)), nearest=truth, distance=np.array([0, 0.2, 0.5, 1]), surprise=surprise,
        scorecard=None, steps=[1, 2], learned=[truth, truth], chosen=2, history=history,
        selection=selection, facts={"Model": {"type": "gpt2"}}, settings={"name": NAME},
        commands=["pokemon-gen run settings.json"],
        missing={
            "scorecard": "There is no scorecard.", "judge": "", "completions": "", "detector": "",
            "learned": "", "curves": "", "selection": "",
        },
        made_from="0" * 64,
    )  # fmt: skip


def test_names_and_settings_are_no_markup(content: ReportContent) -> None:
    html = build_report(content)
    assert NAME not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "There is no scorecard." in html


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_a_card_opens_turns_and_closes(
    page: Any, content: ReportContent, own_folder: Path, width: int, scheme: str
) -> None:
    (own_folder / "report.html").write_text(build_report(content), encoding="utf-8")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((own_folder / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    order = "[...document.querySelectorAll('#grid > li')].map((li) => Number(li.dataset.number))"
    assert page.evaluate(order) == [1, 2, 3, 4]
    page.click("[data-sort=score]")
    assert page.evaluate(order) == [1, 3, 4, 2]
    page.focus("#grid li:nth-child(2) button")
    page.keyboard.press("Enter")
    opened = "[...document.querySelectorAll('dialog[open]')].map((dialog) => dialog.id)"
    assert page.evaluate(opened) == ["card-3"]
    page.click("dialog[open]", position={"x": 4, "y": 4})  # its padding
    assert len(page.evaluate(opened)) == 1
    page.click("dialog[open] [data-turn='1']")
    assert page.evaluate(opened) == ["card-4"]  # the next in the order that is shown
    page.keyboard.press("Escape")
    assert page.evaluate(opened) == []
    whole = "[...document.querySelectorAll('.sprite img')].every((i) => i.clientWidth % 20 === 0)"
    assert page.evaluate(whole)  # whole factors


@pytest.mark.browser
def test_links_to_sections_work_in_a_frame_of_a_notebook(
    page: Any, content: ReportContent, own_folder: Path
) -> None:
    from playwright.sync_api import expect

    (own_folder / "report.html").write_text(build_report(content), encoding="utf-8")
    page.set_content(HtmlPage(own_folder / "report.html")._repr_html_())
    frame = page.frame_locator("iframe")
    frame.locator("nav a", has_text="Make it again").click()
    expect(frame.locator("#again h2")).to_be_in_viewport()
    expect(frame.locator("#again")).to_be_focused()
    assert frame.locator("h1").inner_text() == NAME


def test_runs_without_scorecards_are_compared_by_their_prompts(
    content: ReportContent, few_sprites: Sprites
) -> None:
    runs = [
        ComparedRun(
            name, content.truth, {NLL: np.ones(4)}, content.history, None, f"{name} has no scorecard.", {}, {}
        )
        for name in ("first", "other")
    ]
    html = build_comparison(runs, content.truth, few_sprites.palette, [])
    assert html.count("truth</figcaption>") == 4
    assert "other has no scorecard." in html
    without = build_comparison(runs, None, few_sprites.palette, ["other has another palette."])
    assert "truth</figcaption>" not in without
    assert "another palette" in without
