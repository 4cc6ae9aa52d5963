"""`stages/inspect.py` and its parts: what the page shows is what the model computes, and mistakes."""

import base64
import contextlib
import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from pokemon_gen.augmentation import identity_tokens, prepend_identity
from pokemon_gen.cli import cli
from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.interpret.ablation import AblationRow
from pokemon_gen.interpret.activations import add_to_stream, read_activations
from pokemon_gen.interpret.embeddings import DistanceCorrelation
from pokemon_gen.interpret.features import FeatureSettings, SparseAutoencoder
from pokemon_gen.models.ensemble import members_of
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.report.inside import Cell
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages.ensemble import ensemble
from pokemon_gen.stages.inside_parts import ablation_table, affordable, different_features
from pokemon_gen.stages.inside_sprites import _followed, _oklab_table, body_pixel
from pokemon_gen.stages.inside_text import _steered, count_tokens, occurrences
from pokemon_gen.stages.inspect import inspect
from pokemon_gen.stages.plans import InspectionOptions
from pokemon_gen.text.generation import generate
from pokemon_gen.text.loading import load_text_model
from pokemon_gen.text.tokenizers import encode
from pokemon_gen.text.training import train_text
from pokemon_gen.text_settings import GenerationSettings, TextSettings
from pokemon_gen.training.run import train
from tests.builders import NO_DROPOUT, ONE_STEP, TINY_MODEL, error_with, tiny_settings, write_text_folder
from tests.interpret.builders import tiny_model

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


def one_step_of_text(model: dict[str, Any]) -> TextSettings:
    """Return settings of a run on `corpus.txt` of one step."""
    return TextSettings.model_validate(
        {
            "name": "tiny",
            "model": model,
            "corpus": {"source": "file:corpus.txt", "block_size": 12, "train_share": 0.5},
            "training": {
                **ONE_STEP,
                "per_device_train_batch_size": 4,
                "report_to": "none",
                "bf16": False,
            },
        }
    )


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    with contextlib.chdir(folder):
        Path("corpus.txt").write_text(CORPUS)
        train_text(one_step_of_text({**TINY_MODEL, **NO_DROPOUT, "n_layer": 2}))
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
    for row, feature in enumerate(arrays["shown"][:4]):
        direction, largest = autoencoder.decoder[feature].detach(), float(arrays["top_value"][feature, 0])
        for number, strength in enumerate((0.5, 1.0), start=1):
            with add_to_stream(model, 0, direction, strength * largest):
                steered = complete_prompts(model, prompt)[0]
            np.testing.assert_array_equal(arrays["steered"][row, number], steered)


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
    states = read_activations(text_model.model, encode(text_model.tokenizer, "one blue", "test")[None]).hidden
    other = read_activations(text_model.model, encode(text_model.tokenizer, "a blue", "test")[None]).hidden
    first, second = states[:, 0, -1], other[:, 0, -1]  # (L + 1, D)
    cosines = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    found = [list(embeddings["word_contexts"]).index(text) for text in ("one blue", "a blue")]
    np.testing.assert_allclose(embeddings["word_similarity"][:, found[0], found[1]], cosines, atol=1e-5)
    half = prompt[: len(tokens) // 2]
    greedy = GenerationSettings(do_sample=False, max_new_tokens=60)
    features = arrays_of("features")
    texts = [generate(text_model, half, greedy)[0]]
    autoencoder = SparseAutoencoder.load(INSIDE / "autoencoder")
    for feature in features["shown"][:3]:
        direction, largest = autoencoder.decoder[feature].detach(), float(features["top_value"][feature, 0])
        for strength in (0.5, 1.0):
            with add_to_stream(text_model.model, 0, direction, strength * largest):
                texts += generate(text_model, half, greedy)
    assert features["steered"].tolist() == texts
    assert len(texts) > 1


@pytest.mark.slow
def test_a_text_is_steered_after_the_chosen_layer(text_run: None) -> None:
    """The model has large weights, so that it writes another text after another layer."""
    text_model = load_text_model("tiny")
    torch.manual_seed(0)
    for parameter in text_model.model.parameters():
        if parameter.ndim == 2:
            parameter.data.normal_(std=1)
    autoencoder = SparseAutoencoder(16, FeatureSettings(features=4, active=2))
    view: Any = SimpleNamespace(
        text_model=text_model,
        model=text_model.model,
        tokens=encode(text_model.tokenizer, "a red", "test"),
        layer=1,
    )
    top = SimpleNamespace(values=np.full((4, 1), 12.0))
    features: Any = SimpleNamespace(autoencoder=autoencoder, shown=[2], top=top)
    greedy = GenerationSettings(do_sample=False, max_new_tokens=60)

    def steered(layer: int, scale: float) -> str:
        with add_to_stream(text_model.model, layer, autoencoder.decoder[2].detach(), scale):
            return generate(text_model, "a ", greedy)[0]

    texts = _steered(view, features)[1]
    assert texts == [generate(text_model, "a ", greedy)[0], steered(0, 6), steered(0, 12)]
    assert len(set(texts)) == 3
    assert not {steered(1, 6), steered(1, 12)} & set(texts)
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
        ({"sprite": 0}, ["--sprite: 0", "1 to 8"]),
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
def test_a_model_of_capitals_is_inspected_with_any_prompt(own_folder: Path) -> None:
    Path("corpus.txt").write_text(CORPUS)
    settings = one_step_of_text({**TINY_MODEL, **NO_DROPOUT, "n_layer": 2})
    corpus = settings.corpus.model_copy(update={"case": "upper"})
    train_text(settings.model_copy(update={"corpus": corpus}))
    inspect("tiny", InspectionOptions(prompt="a blue", word="blue", **FEW))
    assert "The prompt is “A BLUE”" in (INSIDE / "page.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_only_an_inspection_is_replaced(text_run: None) -> None:
    Path("mine").mkdir()
    with error_with("mine", "--overwrite"):
        inspect("tiny", output="mine")
    with error_with("mine", "no inspection"):
        inspect("tiny", output="mine", overwrite=True)
    Path(".other").mkdir()
    Path("page.html").touch()
    for output in (".", "mine/..", "../" + Path.cwd().name):
        with error_with(f"--output {Path(output)}", "working directory"):
            inspect("tiny", output=output, overwrite=True)
    shutil.copytree(INSIDE, "other")
    (Path("other") / "old.png").touch()
    page = inspect("tiny", InspectionOptions(**FEW), output="other", overwrite=True)
    assert page.file == Path("other/page.html")
    assert not (Path("other") / "old.png").exists()
    assert Path(".other").is_dir()


@pytest.mark.slow
def test_the_page_says_how_much_of_the_prompt_the_model_read(text_run: None) -> None:
    options = InspectionOptions(prompt="a blue cat the red dog", **FEW)
    html = inspect("tiny", options).file.read_text(encoding="utf-8")
    assert "“a blue cat t”: its first 12 of 22 tokens" in html


@pytest.mark.slow
def test_a_folder_of_others_without_a_corpus_is_an_error(text_run: None) -> None:
    shutil.copytree(next(Path("checkpoints/tiny").glob("checkpoint-*")), "theirs")
    (Path("theirs") / "settings.json").unlink()
    with error_with("theirs", "corpus is not known"):
        inspect("theirs")


@pytest.mark.slow
def test_data_that_changed_since_the_training_are_refused(plain_folder: Path, text_run: None) -> None:
    Path("corpus.txt").write_text(CORPUS + "a red fox\n")
    with error_with("other data", "corpus.txt"):
        inspect("tiny")
    shutil.rmtree("checkpoints")
    shutil.copytree(plain_folder, Path(), dirs_exist_ok=True)
    train = Path("few/train.txt")
    train.write_text("\n".join(train.read_text().splitlines()[::-1]))
    with error_with("other data", "text:few"):
        inspect("tiny")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "missing"),
    [
        (
            {
                "model_type": "cohere", "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16,
                "num_key_value_heads": 2, "intermediate_size": 16,
            },
            {"lens": "logit lens cannot read it"},
        ),
        (
            {"model_type": "mamba", "num_hidden_layers": 1, "hidden_size": 16, "state_size": 4},
            {"attention": "no attention", "ablation": "num_attention_heads"},
        ),
    ],
    ids=["cohere", "mamba"],
)  # fmt: skip
def test_parts_that_do_not_fit_a_model_are_left_out_with_the_reason(
    model: dict[str, Any], missing: dict[str, str], own_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Path("corpus.txt").write_text("a blue cat and the dog; " * 20)  # one line, so there is no second text
    train_text(one_step_of_text(model))
    with caplog.at_level("WARNING", logger="pokemon_gen"):
        page = inspect("tiny", InspectionOptions(**FEW)).file.read_text(encoding="utf-8")
    for section in ("attention", "embeddings", "lens", "features", "ablation"):
        part = page.partition(f'<section id="{section}">')[2].partition("</section>")[0]
        assert (missing.get(section, "does not fit this model") in part) == (section in missing)
        assert (INSIDE / f"{section}.npz").is_file() == (section not in missing)
        assert any(message.startswith(f"{section} is left out") for message in caplog.messages) == (
            section in missing
        )
    assert (INSIDE / "ablation.csv").is_file() == ("ablation" not in missing)
    assert "What a feature writes" in page
    assert "Features of" not in page


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


def test_no_line_is_read_after_the_last_shown_occurrence() -> None:
    def lines() -> Iterator[str]:
        for number in range(60):
            yield f"{number} red"
        raise AssertionError("one line too many")

    assert occurrences(lines(), "red") == [f"{number} red" for number in range(60)]


def test_tokens_are_counted_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pokemon_gen.stages.inside_text.COUNTED", 3)
    assert count_tokens(np.array([4, 0, 4, 1, 4, 0, 4], np.uint8), 6).tolist() == [2, 1, 0, 0, 4, 0]


def test_attention_of_long_blocks_is_read_of_few() -> None:
    model = tiny_model("gpt2")  # two layers of four heads
    assert [affordable(model, length, 100) for length in (400, 1024, 4096, 8192)] == [100, 16, 1, 1]


def row_of(head: int, change: float, **groups: float) -> AblationRow:
    return AblationRow("head", 0, head, change, 0.01, groups)


def test_only_heads_that_help_are_named_and_empty_groups_are_left_out() -> None:
    nan = float("nan")
    table = ablation_table(
        [row_of(0, -0.2, ink=nan, inside=0.1), row_of(1, -0.1, ink=nan, inside=-0.3)], "two"
    )
    assert "ink" not in [*table.columns, *table.note.split()]
    assert "inside: layer 1, head 1 (+0.100)" in table.note
    assert "-0.100" not in table.note
    assert [[isinstance(cell, Cell) for cell in row] for row in table.rows] == [
        [False, False, True],
        [False] * 3,
    ]
    table = ablation_table([row_of(0, 0.3, inside=-0.1), row_of(1, 0.2, inside=-0.2)], "two")
    assert "layer 1, head 1 (+0.300)" in table.note
    assert "inside" not in table.note
    assert not any(isinstance(cell, Cell) for row in table.rows for cell in row)


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.1, 0.3), "rise together"),
        ((-0.3, -0.1), "run against each other"),
        ((-0.1, 0.1), "no clear relation"),
    ],
)
def test_a_correlation_is_named_by_its_sign(interval: tuple[float, float], words: str) -> None:
    assert words in _oklab_table(DistanceCorrelation(sum(interval) / 2, interval, 0.5), 9, 10).note


def test_only_active_rare_features_are_followed() -> None:
    autoencoder = SparseAutoencoder(8, FeatureSettings(features=6, active=2))
    states = np.random.default_rng(0).normal(size=(2, 1, 400, 8)).astype(np.float32)
    view: Any = SimpleNamespace(dev_states=states, layer=1, first=0)
    with torch.no_grad():
        active = (autoencoder.encode(torch.from_numpy(states[1, 0])) > 0).any(0).numpy()
    for density, most in ((np.ones(6), 0), (np.array([1, 1, 0.05, 1, 0.01, 1]), 2)):
        features: Any = SimpleNamespace(autoencoder=autoencoder, report=SimpleNamespace(density=density))
        followed, activations = _followed(view, features)
        assert set(followed) == set(np.flatnonzero((density <= 0.1) & active))
        assert len(followed) <= most
        assert activations.shape == (2, 400, len(followed))


def test_features_of_the_same_places_are_shown_once() -> None:
    places = np.array([[0, 1, 2, 3], [3, 2, 1, 9], [3, 2, 8, 9], [4, 5, 6, 7], [8, 9, 20, 21]])
    # Of 0, the first feature shares three places, so it is left out; 2 shares three with 1 as well.
    assert different_features([1, 0, 2, 3, 4], places, 5) == [1, 3, 4]
    assert different_features([0, 2, 3, 4], places, 2) == [0, 2]
