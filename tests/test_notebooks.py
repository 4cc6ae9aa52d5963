"""The notebooks run from the first cell to the last, and are committed without outputs."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pokemon_gen.sprites.loading import Sprites
from tests.builders import ROOT, tiny_judge_overrides, tiny_settings, write_text_folder

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
NOTEBOOKS = [
    file for folder in ("", "courses") for file in sorted((ROOT / "notebooks" / folder).glob("*.ipynb"))
]
HOSTS = ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE")


def read(name: str) -> Any:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def execute(notebook: Any, folder: Path, parameters: dict[str, Any]) -> str:
    """Execute a notebook in a folder with other parameters, and return everything that it printed."""
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    for name in parameters:
        assert f"{name} = " in cell.source
    cell.source = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text", "") for output in outputs)


@pytest.fixture(autouse=True)
def neither_colab_nor_kaggle(monkeypatch: pytest.MonkeyPatch) -> None:
    for host in HOSTS:
        monkeypatch.delenv(host, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the kernel, since tests run side by side
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_committed_without_outputs(file: Path) -> None:
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    if file.stem == "pokemon_gen":  # each cell says its job
        assert all(cell.source.startswith("# ") for cell in cells)


@pytest.mark.slow
def test_the_notebook_goes_from_the_sprites_to_the_archive(few_sprites: Sprites, own_folder: Path) -> None:
    write_text_folder(few_sprites, own_folder / "few")
    settings = tiny_settings().model_dump(mode="json")
    (own_folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    parameters = {
        "CONFIG": "tiny.yaml",
        "SOURCE": "text:few",
        "NAME": "mine",
        "OVERRIDES": ["completion.do_sample=true"],
        "JUDGE": True,
        "JUDGE_OVERRIDES": tiny_judge_overrides(),
        "REPOSITORY": "URL",
    }
    notebook = read("pokemon_gen")
    printed = execute(notebook, own_folder, parameters)
    assert "ok: 6 sprites x 400 tokens, prompts kept" in printed
    made = [
        "submissions/mine.txt",
        "submissions/mine.zip",
        "eval/results/mine/page.html",
        "eval/results/mine/report.html",
    ]
    assert [file for file in made if not (own_folder / file).is_file()] == []
    shown = [set(output.get("data", {})) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("text/html" in kinds for kinds in shown) >= 3  # the run, the report and the page
    assert any("image/png" in kinds for kinds in shown)  # the sprites
    again = execute(read("pokemon_gen"), own_folder, parameters)  # as after an interruption
    assert "ok: 6 sprites x 400 tokens, prompts kept" in again


@pytest.mark.slow
def test_the_notebook_that_teaches_runs(own_folder: Path) -> None:
    notebook = read("under_the_hood")
    printed = execute(notebook, own_folder, {"STEPS": 12, "MEMORISE_STEPS": 40})
    assert "shifted twice: dev NLL of the next pixel" in printed
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 12


@pytest.mark.slow
def test_the_notebook_on_understanding_transformers_runs(own_folder: Path) -> None:
    notebook = read("courses/understanding_transformers")
    parameters = {"CAPTIONS": 300, "STEPS": 30, "SPRITE_STEPS": 1, "FEATURE_STEPS": 20, "SHOWN_SPRITES": 4}
    printed = execute(notebook, own_folder, parameters)
    assert printed.count("round trip equal: True") == 3
    assert "<user>here is a serpent. what is on its back?</user>\n<assistant>" in printed
    assert pictures_of(notebook) >= 15  # 8 of text, and at least 7 of sprites


@pytest.mark.slow
def test_the_notebook_on_nanogpt_runs(own_folder: Path) -> None:
    notebook = read("courses/nanogpt_captions")
    parameters = {
        "SOURCE": "captions",
        "CAPTIONS": 300,
        "STEPS": 20,
        "STUDY_STEPS": 5,
        "SEEDS": [0],
        "SAMPLE_LENGTH": 20,
        "SAMPLED_PROMPTS": 2,
    }
    printed = execute(notebook, own_folder, parameters)
    places = re.search(r"([\d,]+) characters - 64 = ([\d,]+) places", printed)
    assert places is not None
    characters, starts = (int(number.replace(",", "")) for number in places.groups())
    assert characters - starts == 64
    losses = re.search(r"= ([\d.]+) nats/token; a fresh model: ([\d.]+)", printed)
    assert losses is not None
    uniform, fresh = map(float, losses.groups())
    assert fresh == pytest.approx(uniform, abs=0.2)  # nothing is learned yet
    assert pictures_of(notebook) == 4
    assert (own_folder / "eval/results/nanogpt-study/study.html").is_file()


@pytest.mark.slow
def test_the_notebook_on_a_mini_gpt_runs_and_writes_its_report(own_folder: Path) -> None:
    notebook = read("courses/mini_gpt_report")
    parameters = {
        "SOURCE": "captions",
        "TEST_SOURCE": "",
        "CAPTIONS": 200,
        "STEPS": 10,
        "SEEDS": [0],
        "LAYERS": 1,
        "WIDTH": 16,
        "NAME": "mini",
        "PROMPT": "a round ",
    }
    printed = execute(notebook, own_folder, parameters)
    assert re.search(r"^0 of \d+ test sentences are in the corpus", printed, flags=re.MULTILINE)
    assert pictures_of(notebook) == 2
    report = (own_folder / "eval/results/mini/report.md").read_text(encoding="utf-8")
    measured = re.search(r"On a text that no choice has seen: (.+)\.\n", report)
    assert measured is not None
    assert measured[1] in printed
    assert (own_folder / "eval/results/mini/study.html").is_file()


@pytest.mark.slow
def test_the_notebook_on_the_equations_agrees_with_the_module(own_folder: Path) -> None:
    notebook = read("courses/equations_and_transfer")
    parameters = {
        "CAPTIONS": 200,
        "STEPS": 10,
        "FINE_TUNING_STEPS": 10,
        "SEEDS": [0],
        "LAYERS": 1,
        "WIDTH": 16,
        "PRETRAINED": "missing-folder",
    }
    printed = execute(notebook, own_folder, parameters)
    assert len(re.findall(r"largest difference \de[-+]\d\d", printed)) == 4  # X, S, H and the logits
    assert "change of the logits at each place: ['0.00', '0.00', '0.00', '0.00', " in printed
    assert "GPT-2, fine-tuned on B is left out: " in printed
    assert pictures_of(notebook) == 2


def pictures_of(notebook: Any) -> int:
    """Return how many pictures an executed notebook shows."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)
