"""`report/comparison.py`, `charts.py` and `inline.py`: differences, lines and pictures of the pages."""

import base64
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from jinja2 import Environment, FileSystemLoader
from PIL import Image

from pokemon_gen.palette import to_picture
from pokemon_gen.report.charts import Series, line_chart, logged_series
from pokemon_gen.report.comparison import compared_rows, difference_of, differing_settings
from pokemon_gen.report.html import TEMPLATES
from pokemon_gen.report.inline import equal_pixels, heat_address, sprite_address
from pokemon_gen.report.scorecard_rows import NLL, MetricRow, number, scorecard_rows
from pokemon_gen.sprites.loading import Sprites
from tests.evaluation.builders import FixedRateJudge, scorecard_of


def row(estimate: float, low: float, high: float) -> MetricRow:
    return MetricRow("x", "", "", estimate=estimate, interval=(low, high), better="higher")


def picture_of(address: str) -> Image.Image:
    head, _, content = address.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_the_interval_of_a_difference_follows_from_both() -> None:
    """MOVER: the squares of the two half-widths that face each other add up."""
    found = difference_of(row(1, 0.7, 1.4), row(2, 1.6, 2.3))
    assert found == pytest.approx((1, 1 - np.hypot(0.4, 0.4), 1 + np.hypot(0.3, 0.3)))


def test_only_a_difference_beyond_its_interval_is_called_one() -> None:
    nll = np.linspace(1, 2, 40)
    better, same = nll - 0.1, nll + np.tile([0.5, -0.5], 20)
    rows = compared_rows([_card(1.5), _card(1.4), _card(1.5)], {NLL: [nll, better, same]})
    (compared,) = [one for one in rows if one.metric == NLL]
    assert [cell.kind for cell in compared.cells] == ["none", "better", "same"]
    rows = compared_rows([_card(1.5), _card(1.7)], {NLL: [nll, better]})
    (compared,) = [one for one in rows if one.metric == NLL]
    assert "-0.1 (-0.1 to -0.1)" in compared.cells[1].words  # of the same sprites, not of the scorecards


def _card(nll: float) -> dict[str, Any]:
    """Return a scorecard that has nothing but a likelihood."""
    gone = {"not_computed": "missing"}
    plain: dict[str, Any] = {"completions": 0.5, "completions_interval": None, "real": 0.5}
    plain |= {"real_interval": None, "real_sprites": "dev"}
    return {
        "name": "x", "n": 40, "paired": gone, "unpaired": gone, "pdr": gone, "auc": gone, "sliced": gone,
        "judge": {"missing": "missing"}, "nll": nll, "nll_interval": None,
        "pixel_accuracy": 0.3, "pixel_accuracy_interval": None, "diversity": plain,
        "new_colours": plain, "nearest_training_completion": {**plain, "p": 0.5},
        "verdicts": {"not_judged": "missing"}, "warnings": [], "checkpoint": None, "truth": "dev",
    }  # fmt: skip


def test_values_of_different_judges_are_not_compared(inputs: Any) -> None:
    first = scorecard_of(replace(inputs, judge=FixedRateJudge(0.8)))
    other = {**first, "pdr": {**first["pdr"], "judge": "another", "rate": 0.1, "interval": [0.0, 0.2]}}
    other["judge"] = {**first["judge"], "fingerprint": "another"}
    cells = {one.metric: one.cells[1] for one in compared_rows([first, other])}
    (pdr,) = [cell for metric, cell in cells.items() if metric.startswith("PDR")]
    assert pdr.kind == "unknown"
    assert "judge" in pdr.words
    assert {one.metric for one in compared_rows([first, first])} == {
        one.name for one in scorecard_rows(first) if one.metric
    }


def test_settings_that_differ_are_named_by_their_dotted_names() -> None:
    first = {"seed": 0, "training": {"steps": 1, "rate": 2}}
    other = {"seed": 0, "training": {"steps": 3, "rate": 2}, "extra": {"a": 1}}
    assert differing_settings([first, other]) == [
        ("training.steps", ["1", "3"]),
        ("extra.a", ["not set", "1"]),
    ]


@pytest.mark.parametrize(("step", "anchor"), [(1, "start"), (100, "end")])
def test_the_label_of_a_mark_stays_inside_the_chart(step: int, anchor: str) -> None:
    points = [(float(x), 1.0 / x) for x in range(1, 101)]
    chart = line_chart("loss", [Series("loss", points)], (step, "chosen checkpoint"))
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    page = environment.from_string(
        '{% from "parts.html.j2" import chart with context %}{{ chart(one) }}', {"number": number}
    )
    drawn = page.render(one=chart)
    assert f'text-anchor="{anchor}">chosen checkpoint' in drawn


def test_a_chart_has_words_and_a_table() -> None:
    history = [{"step": 2, "loss": 1.0}, {"step": 1, "loss": 3.0}, {"step": 3, "loss": float("nan")}]
    series = [logged_series(history, "loss", "training loss"), Series("nothing", [])]
    chart = line_chart("Loss", series, (2, "chosen"))
    assert chart is not None
    assert chart.table == [(1, [3.0]), (2, [1.0])]
    assert "3.000 at 1" in chart.words
    assert "chosen at 2" in chart.words
    assert line_chart("Loss", [Series("nothing", [])]) is None


def test_pictures_keep_every_pixel(few_sprites: Sprites) -> None:
    sprite = few_sprites.tokens("dev")[0]
    shown = np.asarray(picture_of(sprite_address(sprite, few_sprites.palette)).convert("RGB"))
    np.testing.assert_array_equal(shown, to_picture(sprite, few_sprites.palette))
    values = np.linspace(0, 4, 400)
    values[0] = np.nan
    heat = np.asarray(picture_of(heat_address(values, 4.0)).convert("RGBA")).astype(int)
    assert heat[0, 0, 3] == 0
    light = heat.reshape(400, 4)[1:, :3].sum(1)
    assert (np.diff(light) <= 0).all()
    assert light[0] - light[-1] > 200
    assert equal_pixels(sprite, np.where(np.arange(400) < 100, sprite + 1, sprite)) == 0.75
