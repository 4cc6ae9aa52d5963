"""`stages/inspect.py` and its parts: what the page shows is what the model computes, and mistakes."""

import base64
import contextlib
import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from pokemon_gen.augmentation import identity_tokens, prepend_identity
from pokemon_gen.cli import cli
from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.interpret.activations import read_activations
from pokemon_gen.interpret.features import SparseAutoencoder
from pokemon_gen.models.ensemble import members_of
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages.ensemble import ensemble
from pokemon_gen.stages.inside_parts import different_features
from pokemon_gen.stages.inside_sprites import body_pixel
from pokemon_gen.stages.inside_text import occurrences
from pokemon_gen.stages.inspect import inspect
from pokemon_gen.stages.plans import InspectionOptions
from pokemon_gen.text.generation import generate
from pokemon_gen.text.loading import load_text_model
from pokemon_gen.text.tokenizers import encode
from pokemon_gen.text.training import train_text
from pokemon_gen.text_settings import GenerationSettings, TextSettings
from pokemon_gen.training.run import train
from tests.builders import NO_DROPOUT, ONE_STEP, TINY_MODEL, error_with, tiny_settings, write_text_folder

INSIDE = Path("eval/results/tiny/inside")
FEW: dict[str, Any] = {"features": 2, "feature_steps": 3}
CORPUS = "a blue cat\nthe blue dog\na red cat\none blue fox\nmy blue hat\n" * 12


def arrays_of(section: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a section."""
    with np.load(INSIDE / f"{section}.npz") as arrays:
        return dict(arrays)


def inspected(folder: Path, few_sprites: Sprites, settings: Settings, options: InspectionOptions) -> Path:
    """Train a run in a folder, inspect it, and return the folder."""
    with contextlib.chdir(folder):
        write_text_folder(few_sprites, Path("few"))
        train(settings)
        inspect("tiny", options)
    return folder


@pytest.fixture(scope="module")
def plain_folder(few_sprites: Sprites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = InspectionOptions(sprite=2, pixel="3,5", **FEW)
    return inspected(tmp_path_factory.mktemp("plain"), few_sprites, tiny_settings(training=ONE_STEP), options)


@pytest.fixture(scope="module")
def conditioned_folder(few_sprites: Sprites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = tiny_settings(training=ONE_STEP, augmentation={"flips": "mirror", "hue_shifts": 2})
    return inspected(tmp_path_factory.mktemp("conditioned"), few_sprites, settings, InspectionOptions(**FEW))


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    with contextlib.chdir(folder):
        Path("corpus.txt").write_text(CORPUS)
        settings = TextSettings.model_validate(
            {
                "name": "tiny",
                "model": {**TINY_MODEL, **NO_DROPOUT, "n_layer": 2},
                "corpus": {"source": "file:corpus.txt", "block_size": 12, "train_share": 0.5},
                "training": {
                    **ONE_STEP,
                    "per_device_train_batch_size": 4,
                    "report_to": "none",
                    "bf16": False,
                },
            }
        )
        train_text(settings)
        inspect("tiny", InspectionOptions(word="blue", **FEW))
    return folder


@pytest.fixture(params=["plain_folder", "conditioned_folder"])
def run(request: pytest.FixtureRequest, own_folder: Path) -> tuple[Any, int]:
    """Copy an inspected run of sprites here; return its model and the number of the inspected sprite."""
    shutil.copytree(request.getfixturevalue(request.param), own_folder, dirs_exist_ok=True)
    return load_checkpoint("tiny").model, 2 if request.param == "plain_folder" else 1


@pytest.fixture
def text_run(text_folder: Path, own_folder: Path) -> None:
    """Copy an inspected run of text here."""
    shutil.copytree(text_folder, own_folder, dirs_exist_ok=True)


def inputs(model: Any, sprites: NDArray[np.int64]) -> torch.Tensor:
    return prepend_identity(model, torch.from_numpy(sprites))


@pytest.mark.slow
def test_the_attention_is_that_of_the_model_and_is_in_the_page(
    run: tuple[Any, int], few_sprites: Sprites
) -> None:
    model, number = run
    sprite = few_sprites.tokens("dev")[number - 1]
    attentions = read_activations(model, inputs(model, sprite[None]), attentions=True).attentions
    assert attentions is not None
    arrays = arrays_of("attention")
    np.testing.assert_allclose(arrays["attention"], attentions[:, 0], atol=1e-6)
    html = (INSIDE / "page.html").read_text(encoding="utf-8")
    found = re.search(r'id="sprite-attention">(.*?)</script>', html, re.DOTALL)
    assert found
    data = json.loads(found[1])
    skip = len(identity_tokens(model))
    assert data["skip"] == skip
    if number == 2:
        assert data["start"] == 2 * 20 + 4
    assert "conditioning tokens precede" in html or not skip
    levels = np.frombuffer(base64.b64decode(data["attention"]), np.uint8)
    query, size = 333, 400 * 403 // 2
    start = query * (query + 3) // 2
    second_head = (levels[size + start + 1 : size + start + 2 + query] / 255) ** 2
    np.testing.assert_allclose(second_head, attentions[0, 0, 1, skip + query, skip:][: query + 1], atol=0.004)
    assert not re.search(r'(src|href)="(?!data:|#)', html)


@pytest.mark.slow
def test_the_last_layer_paints_what_the_model_predicts(run: tuple[Any, int], few_sprites: Sprites) -> None:
    model, number = run
    sprite = few_sprites.tokens("dev")[number - 1]
    with torch.no_grad():
        predicted = model(inputs(model, sprite[None])).logits[0].argmax(-1).numpy()
    painted = arrays_of("lens")["painted"][-1]
    assert painted[0] == sprite[0]
    assert (painted[1:] == predicted[len(identity_tokens(model)) : -1]).all()


@pytest.mark.slow
def test_the_saved_autoencoder_gives_the_shown_activations(
    run: tuple[Any, int], few_sprites: Sprites
) -> None:
    model, _ = run
    arrays = arrays_of("features")
    autoencoder = SparseAutoencoder.load(INSIDE / "autoencoder")
    skip = len(identity_tokens(model))
    hidden = read_activations(model, inputs(model, arrays["dev_sprites"])).hidden[1][:, skip:]
    for feature in arrays["shown"]:
        states = hidden[arrays["top_sprite"][feature], arrays["top_pixel"][feature]]
        values = autoencoder.encode(torch.from_numpy(states))[:, feature]
        np.testing.assert_allclose(values.detach(), arrays["top_value"][feature], rtol=1e-3, atol=1e-4)
        assert (np.diff(arrays["top_value"][feature]) <= 0).all()
    prompt = arrays["dev_sprites"][:1, :240]
    np.testing.assert_array_equal(arrays["steered"][0, 0], complete_prompts(model, prompt)[0])
    assert (arrays["steered"][:, :, :240] == prompt).all()


@pytest.mark.slow
def test_the_table_of_the_ablation_is_in_a_file(run: tuple[Any, int]) -> None:
    with (INSIDE / "ablation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["what"], row["head"]) for row in rows] == [
        ("head", "0"), ("head", "1"), ("attention", ""), ("mlp", ""), ("layer", ""),
    ]  # fmt: skip
    arrays = arrays_of("ablation")
    np.testing.assert_allclose([float(row["change"]) for row in rows], arrays["change"])
    np.testing.assert_allclose([float(row["mirror"]) for row in rows], arrays["change in mirror"])


@pytest.mark.slow
def test_every_file_that_the_page_names_exists(run: tuple[Any, int]) -> None:
    html = (INSIDE / "page.html").read_text(encoding="utf-8")
    names = re.findall(r"[a-z0-9-]+\.(?:png|npz)", html.partition("<summary>Files")[2])
    assert len(names) > 10
    for name in names:
        assert (INSIDE / name).stat().st_size > 0


@pytest.mark.slow
def test_a_text_shows_its_attention_words_and_continuations(text_run: None) -> None:
    text_model = load_text_model("tiny")
    prompt = CORPUS[len(CORPUS) // 2 :].split("\n")[1]  # the first line may be cut
    tokens = encode(text_model.tokenizer, prompt, "test")
    attentions = read_activations(text_model.model, tokens[None], attentions=True).attentions
    assert attentions is not None
    arrays = arrays_of("attention")
    np.testing.assert_array_equal(arrays["tokens"], tokens)
    np.testing.assert_allclose(arrays["attention"], attentions[:, 0], atol=1e-6)
    embeddings = arrays_of("embeddings")
    assert sorted(embeddings["word_contexts"]) == ["a blue", "my blue", "one blue", "the blue"]
    assert embeddings["word_similarity"].shape == (3, 4, 4)
    np.testing.assert_allclose(embeddings["word_similarity"][0], 1, atol=0.5)  # only the position differs
    half = prompt[: len(tokens) // 2]
    greedy = GenerationSettings(do_sample=False, max_new_tokens=60)
    assert arrays_of("features")["steered"][0] == generate(text_model, half, greedy)[0]
    html = (INSIDE / "page.html").read_text(encoding="utf-8")
    assert 'id="text-attention"' in html
    assert not re.search(r'(src|href)="(?!data:|#)', html)


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"pixel": "21,1"}, ["--pixel", "'21,1'", "1 to 20"]),
        ({"pixel": "3"}, ["--pixel", "ROW,COLUMN"]),
        ({"features": 0}, ["--features", "1 to 100"]),
        ({"feature_steps": 0}, ["--feature-steps", "1 or more"]),
    ],
)
def test_options_out_of_range_are_errors(options: dict[str, Any], facts: list[str]) -> None:
    with error_with(*facts):
        InspectionOptions(**options)


@pytest.mark.slow
def test_options_that_do_not_fit_the_run_are_errors(run: tuple[Any, int]) -> None:
    for options, facts in (
        ({"sprite": 9}, ["--sprite: 9", "1 to 8"]),
        ({"token": 167}, ["--token: 167", "0 to 166"]),
        ({"layer": 2}, ["--layer: 2", "1 to 1"]),
        ({"prompt": "a"}, ["--prompt", "sprites"]),
    ):
        with error_with(*facts):
            inspect("tiny", InspectionOptions(**options))
    with error_with("nobody"):
        inspect("nobody")


@pytest.mark.slow
def test_options_that_do_not_fit_a_text_are_errors(text_run: None) -> None:
    for options, facts in (
        ({"sprite": 1}, ["--sprite", "text"]),
        ({"word": "red"}, ["--word", "'red'", "1 different", "at least 4"]),
        ({"prompt": "b"}, ["--prompt", "1 tokens", "at least 2"]),
        ({"prompt": "Q"}, ["--prompt", "'Q'"]),
        ({"layer": 3}, ["--layer: 3", "1 to 2"]),
    ):
        with error_with(*facts):
            inspect("tiny", InspectionOptions(**options))


@pytest.mark.slow
def test_only_an_inspection_is_replaced(text_run: None) -> None:
    Path("mine").mkdir()
    with error_with("mine", "--overwrite"):
        inspect("tiny", output="mine")
    with error_with("mine", "no inspection"):
        inspect("tiny", output="mine", overwrite=True)
    shutil.copytree(INSIDE, "other")
    (Path("other") / "old.png").touch()
    page = inspect("tiny", InspectionOptions(**FEW), output="other", overwrite=True)
    assert page.file == Path("other/page.html")
    assert not (Path("other") / "old.png").exists()


@pytest.mark.slow
def test_of_an_ensemble_the_first_member_is_inspected(plain_folder: Path, own_folder: Path) -> None:
    shutil.copytree(plain_folder, own_folder, dirs_exist_ok=True)
    first = tiny_settings(training=ONE_STEP, seed=7, name="first")
    train(first)
    ensemble("both", ["first", "tiny"])
    page = inspect("both", InspectionOptions(**FEW)).file
    html = page.read_text(encoding="utf-8")
    assert "ensemble of 2 models" in html
    model = members_of(load_checkpoint("first").model)[0]
    embeddings = model.get_input_embeddings().weight.detach().numpy()
    with np.load(page.parent / "embeddings.npz") as arrays:
        np.testing.assert_array_equal(arrays["embeddings"], embeddings)


@pytest.mark.slow
def test_the_command_takes_the_options(text_run: None) -> None:
    words = ["inspect", "tiny", "--prompt", "a red cat", "--features", "1", "--feature-steps", "2"]
    done = CliRunner().invoke(cli, [*words, "--output", "mine"], catch_exceptions=False)
    assert done.stdout.splitlines()[-1] == "mine/page.html"
    html = (Path("mine") / "page.html").read_text(encoding="utf-8")
    assert "pokemon-gen inspect tiny --prompt &#39;a red cat&#39; --features 1 --feature-steps 2" in html
    with error_with("--pixel", "1 to 20"):
        CliRunner().invoke(cli, ["inspect", "tiny", "--pixel", "0,3"], catch_exceptions=False)


def test_the_first_pixel_is_one_of_the_body() -> None:
    sprite = np.zeros(400, dtype=np.int64)
    assert body_pixel(sprite) == 12 * 20 + 10
    sprite[[0, 11 * 20 + 7, 399]] = 1
    assert body_pixel(sprite) == 11 * 20 + 7


def test_occurrences_are_of_words_and_differ() -> None:
    lines = ["a red cat, a red dog", "a redder cat", "the red", "a red dog", "red"]
    assert occurrences(lines, "red") == ["a red", "a red cat, a red", "the red", "red"]
    with error_with("'redder'", "1 different"):
        occurrences(lines, "redder")


def test_features_of_the_same_places_are_shown_once() -> None:
    places = np.array([[0, 1, 2, 3], [3, 2, 1, 9], [3, 2, 8, 9], [4, 5, 6, 7], [8, 9, 20, 21]])
    # Of 0, the first feature shares three places, so it is left out; 2 shares three with 1 as well.
    assert different_features([1, 0, 2, 3, 4], places, 5) == [1, 3, 4]
    assert different_features([0, 2, 3, 4], places, 2) == [0, 2]
