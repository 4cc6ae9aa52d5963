"""`stages/report.py` and `stages/compare.py`: the pages of a run, what is missing, and mistakes."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from pokemon_gen.evaluation.inspection import completions_sha256, inspect_run
from pokemon_gen.evaluation.scorecard import SCHEMA
from pokemon_gen.models.choice import resolve_checkpoint
from pokemon_gen.models.manifest import MANIFEST_NAME
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages import report as report_stage
from pokemon_gen.stages.compare import compare
from pokemon_gen.stages.report import current_report, write_report
from pokemon_gen.stages.score import score
from pokemon_gen.stages.select import select
from tests.builders import error_with


def missing(page: str) -> list[str]:
    """Return what a page says is missing."""
    return re.findall(r'<p class="missing">(.*?)</p>', page, re.DOTALL)


@pytest.mark.slow
def test_a_report_shows_everything_of_a_run(judged: Settings, few_sprites: Sprites) -> None:
    select("tiny", by="nll")
    score("tiny")
    made = write_report("tiny")
    assert made.file == Path("eval/results/tiny/report.html")
    page = made.file.read_text(encoding="utf-8")
    assert page.count('class="card"') == len(few_sprites.tokens("dev"))
    assert "AUC, real against completed" in page
    assert "step 2" in page  # a checkpoint beside the chosen one
    assert "step 4" in page
    assert "pokemon-gen run settings.json" in page
    assert "&#34;seed&#34;: 0" in page
    assert not any("scorecard" in words or "criterion" in words for words in missing(page))
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # nothing is requested
    assert "<iframe" in made._repr_html_()
    assert write_report("tiny").file == made.file


@pytest.mark.slow
def test_a_report_holds_until_something_that_it_shows_changes(
    judged: Settings, few_sprites: Sprites, procedural: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert current_report("tiny", few_sprites) is None
    made = write_report("tiny")
    assert current_report("tiny", few_sprites) == made
    assert current_report("tiny", procedural) is None
    with monkeypatch.context() as patch:
        patch.setattr(report_stage, "templates_sha256", lambda: "other")
        assert current_report("tiny", few_sprites) is None
    score("tiny")
    assert current_report("tiny", few_sprites) is None
    write_report("tiny")
    select("tiny", by="nll")
    assert current_report("tiny", few_sprites) is None


@pytest.mark.slow
def test_what_is_missing_is_named_with_its_command(judged: Settings) -> None:
    shutil.rmtree("checkpoints/tiny/detector")
    words = " ".join(missing(write_report("tiny").file.read_text(encoding="utf-8")))
    for command in ("score tiny", "detector tiny", "select tiny"):
        assert f"pokemon-gen {command}" in words
    checkpoint = Path(shutil.copytree("checkpoints/tiny/checkpoint-4", "alone"))
    (checkpoint / "trainer_state.json").unlink()
    page = write_report("alone").file.read_text(encoding="utf-8")
    assert any("cannot be shown" in sentence for sentence in missing(page))


@pytest.mark.slow
def test_a_scorecard_of_other_completions_is_named(judged: Settings) -> None:
    score("tiny")
    found = inspect_run(resolve_checkpoint("tiny"))
    file = Path("eval/results/tiny/scorecard.json")
    assert completions_sha256(found.completions) in file.read_text()
    file.write_text(file.read_text().replace(completions_sha256(found.completions), "0" * 64))
    page = write_report("tiny").file.read_text(encoding="utf-8")
    assert any("other completions" in sentence for sentence in missing(page))
    (verdict,) = re.findall(r'class="verdict">(.*?)</p>', page)
    assert verdict.startswith("About other completions")
    compared = compare(["tiny", "checkpoints/tiny/checkpoint-2"]).file.read_text(encoding="utf-8")
    assert any("other completions" in sentence and "name=tiny" in sentence for sentence in missing(compared))


@pytest.mark.slow
def test_checkpoints_that_cannot_be_loaded_are_said_to_be_missing(
    judged: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_stage, "snapshots", lambda *_: [])
    page = write_report("tiny").file.read_text(encoding="utf-8")
    assert any("No checkpoint" in sentence for sentence in missing(page))


@pytest.mark.slow
def test_a_report_of_a_checkpoint_is_about_that_one(judged: Settings) -> None:
    select("tiny", by="nll")
    folder = "checkpoints/tiny/checkpoint-2"
    page = write_report(folder).file.read_text(encoding="utf-8")
    assert "chosen checkpoint at 2." in page  # the curve in words
    assert any(f"pokemon-gen score {folder} --overwrite" in sentence for sentence in missing(page))
    assert f"pokemon-gen report {folder}" in page


@pytest.mark.slow
def test_a_scorecard_of_an_earlier_version_counts_as_missing(judged: Settings) -> None:
    file = score("tiny").file
    file.write_text(file.read_text().replace(f'"schema": {SCHEMA}', '"schema": 5'))
    for made in (write_report("tiny"), compare(["tiny", "checkpoints/tiny/checkpoint-2"])):
        words = " ".join(missing(made.file.read_text(encoding="utf-8")))
        assert "no scorecard of this version" in words
        assert "--overwrite" in words


@pytest.mark.slow
def test_runs_are_compared_prompt_by_prompt(judged: Settings, few_sprites: Sprites) -> None:
    shutil.copytree("checkpoints/tiny", "checkpoints/twin")
    score("tiny")
    made = compare(["tiny", "checkpoints/tiny/checkpoint-2", "twin"])
    assert made.file == Path("eval/results/tiny-vs-tiny-checkpoint-2-vs-twin/compare.html")
    page = made.file.read_text(encoding="utf-8")
    scored = [
        sentence for sentence in missing(page) if "pokemon-gen score" in sentence and "twin" in sentence
    ]
    assert any("name=twin" in sentence for sentence in scored)
    (remarks,) = re.findall("<details><summary>Notes of the scorecards.*?</details>", page, re.DOTALL)
    assert "<h3>tiny</h3>" in remarks
    assert "FID" in remarks
    assert page.count("truth</figcaption>") == len(few_sprites.tokens("dev"))
    assert not re.search(r'(src|href)="(?!data:|#)', page)


@pytest.mark.slow
def test_runs_of_other_sprites_have_no_prompts_in_common(judged: Settings) -> None:
    other = Path(shutil.copytree("few", "other"))
    rows = np.loadtxt(other / "dev.txt", dtype=int)[::-1]
    np.savetxt(other / "dev.txt", rows, fmt="%d")
    shutil.copytree("checkpoints/tiny", "checkpoints/twin")
    for file in Path("checkpoints/twin").rglob(MANIFEST_NAME):
        file.unlink()  # its files are changed here
    for file in Path("checkpoints/twin").rglob("*.json"):
        file.write_text(file.read_text().replace("text:few", "text:other"))
    page = compare(["tiny", "twin"]).file.read_text(encoding="utf-8")
    assert any("other dev sprites" in sentence for sentence in missing(page))
    assert "truth</figcaption>" not in page


def test_mistakes_are_answered_before_anything_is_loaded(judged: Settings) -> None:
    with error_with("nobody"):
        write_report("nobody")
    with error_with("report.pdf", ".html"):
        write_report("tiny", output="report.pdf")
    with error_with("two or more runs"):
        compare(["tiny"])
    with error_with("tiny is given twice"):
        compare(["tiny", "checkpoints/tiny"])
    chosen = resolve_checkpoint("tiny").folder
    with error_with("given twice"):
        compare(["tiny", chosen])
    Path("mine.html").write_text("mine")
    with error_with("mine.html", "--overwrite"):
        compare(["tiny", "checkpoints/tiny/checkpoint-2"], output="mine.html")
    shutil.rmtree("few")
    with error_with("few"):
        write_report("tiny")
