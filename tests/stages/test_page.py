"""`stages/page.py`: the page of a run, also without its sprites, and mistakes."""

import json
import re
import shutil
from pathlib import Path

import pytest

from pokemon_gen.models.build import build_model
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages.page import show, write_page
from tests.builders import error_with


def data_of(file: Path) -> dict[str, list[dict[str, str]]]:
    """Return what a page knows of its run."""
    found = re.search(r'id="data">(.*?)</script>', file.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    data: dict[str, list[dict[str, str]]] = json.loads(found[1])
    return data


def test_the_page_holds_the_model_and_dev_sprites(judged: Settings, few_sprites: Sprites) -> None:
    made = write_page("tiny")
    assert made.file == Path("eval/results/tiny/page.html")
    data = data_of(made.file)
    assert data["palette"] == few_sprites.palette.rgb.tolist()
    assert data["members"][0]["family"] == "gpt2"
    names = [start["name"] for start in data["starts"]]
    assert names[:8] == [f"dev sprite {number}" for number in range(1, 9)]
    assert names[8].startswith("embedded")
    assert data["starts"][2]["tokens"] == few_sprites.tokens("dev")[2].tolist()
    assert write_page("tiny").file == made.file  # it is made again
    assert "<iframe" in show("tiny")._repr_html_()


def test_a_run_without_its_sprites_has_a_page(
    judged: Settings, few_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(few_folder)
    names = [start["name"] for start in data_of(write_page("tiny").file)["starts"]]
    assert all(name.startswith("embedded") for name in names)
    assert any("dev sprites" in record.getMessage() for record in caplog.records)


def test_outputs_are_checked_before_anything_is_loaded(judged: Settings) -> None:
    with error_with("mine.png", ".html"):
        write_page("tiny", output="mine.png")
    Path("mine.html").write_text("mine")
    with error_with("mine.html", "--overwrite"):
        write_page("tiny", output="mine.html")
    write_page("tiny", output="mine.html", overwrite=True)
    assert Path("mine.html").stat().st_size > 10_000
    with error_with("nobody"):
        write_page("nobody")


def test_a_family_that_the_page_cannot_run_is_named(judged: Settings) -> None:
    folder = Path("checkpoints/tiny/checkpoint-4")
    fields = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "ffn_dim": 16,
        "word_embed_proj_dim": 16,
    }
    colours = len(load_checkpoint(folder).palette)
    build_model({"model_type": "opt", **fields}, colours, seed=0).save_pretrained(folder)
    with error_with("opt", "gpt2", "stablelm", "pokemon-gen report"):
        write_page(folder)
    assert not Path("eval/results/tiny-checkpoint-4/page.html").exists()
