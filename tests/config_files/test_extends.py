"""`extends`: a config takes the settings of another one and changes some of them."""

import json
import shutil
from pathlib import Path

import pytest

from pokemon_gen.config_files.loading import load_judge_settings, load_settings
from pokemon_gen.errors import PokemonGenError
from tests.builders import ROOT

BASE = """\
name: base
model:
  model_type: gpt2
  n_layer: 1
  n_head: 2
training:
  max_steps: 10
  lr_scheduler_type: warmup_stable_decay
  lr_scheduler_kwargs: {num_decay_steps: 0.5, min_lr_ratio: 0.02}
completion:
  do_sample: true
  candidates: 4
  top_p: 0.9
"""


def write(name: str, text: str) -> Path:
    """Write a config into the working directory and return its path."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_record_is_strong_with_five_members() -> None:
    strong, record = load_settings("strong"), load_settings("record")
    assert record.members == 5
    assert {**record.model_dump(), "name": "strong", "members": 1} == strong.model_dump()
    lines = (ROOT / "configs" / "record.yaml").read_text().splitlines()
    settings = [line.partition("#")[0].strip() for line in lines]
    assert [line for line in settings if line] == ["extends: strong", "name: record", "members: 5"]


def test_sections_are_merged_key_by_key() -> None:
    write("base.yaml", BASE)
    child = "extends: base.yaml\nname: child\nmodel:\n  n_layer: 3\ncompletion:\n  top_p: 0.5\n"
    settings = load_settings(write("child.yaml", child))
    assert settings.name == "child"
    assert settings.model == {"model_type": "gpt2", "n_layer": 3, "n_head": 2}
    assert settings.training == load_settings("base.yaml").training
    completion = settings.completion
    assert (completion.do_sample, completion.candidates, completion.top_p) == (True, 4, 0.5)


def test_another_model_type_replaces_the_model_section() -> None:
    write("base.yaml", BASE)
    llama = {"model_type": "llama", "hidden_size": 32}
    child = write("child.yaml", f"extends: base.yaml\nname: child\nmodel: {json.dumps(llama)}\n")
    assert load_settings(child).model == llama
    same = write("same.yaml", "extends: base.yaml\nname: same\nmodel: {model_type: gpt2, n_head: 4}\n")
    assert load_settings(same).model == {"model_type": "gpt2", "n_layer": 1, "n_head": 4}


def test_another_model_type_replaces_the_models_of_a_detector_too() -> None:
    write("base.yaml", f"{BASE}detector: {{classifier: {{steps: 5, model: {{depths: [1, 1, 1]}}}}}}\n")
    resnet = {"model_type": "resnet", "depths": [2]}
    child = f"extends: base.yaml\nname: a\ndetector: {{classifier: {{model: {json.dumps(resnet)}}}}}\n"
    classifier = load_settings(write("child.yaml", child)).detector.classifier
    assert classifier.model == resnet
    assert classifier.steps == 5


def test_a_config_that_is_extended_may_extend_another_one() -> None:
    write("base.yaml", BASE)
    write("middle.yaml", "extends: base.yaml\nname: middle\nseed: 1\ntraining: {max_steps: 20}\n")
    settings = load_settings(write("top.yaml", "extends: middle.yaml\nname: top\nseed: 2\n"))
    assert (settings.name, settings.seed, settings.training["max_steps"]) == ("top", 2, 20)
    assert settings.model["n_layer"] == 1


def test_places_name_the_file_that_holds_the_line() -> None:
    write("base.yaml", BASE)
    child = "extends: base.yaml\nname: child\nmodel:\n  n_layer: 3\n"
    settings = load_settings(write("child.yaml", child), ["seed=1"])
    assert settings.where("name") == "child.yaml:2:1"
    assert settings.where("model.n_layer") == "child.yaml:4:3"
    assert settings.where("model.n_head") == "base.yaml:5:3"
    assert settings.where("training.max_steps") == "base.yaml:7:3"
    assert settings.where("seed") == "command line"


@pytest.mark.parametrize(
    ("base", "child", "place", "fact"),
    [
        ("completion: {tempo: 1}\n", "", "base.yaml:1:14", "completion.tempo"),
        ("", "completion: {tempo: 1}\n", "child.yaml:3:14", "completion.tempo"),
        ("completion: {top_p: 2}\n", "", "base.yaml:1:14", "completion.top_p"),
        ("completion: {top_p: 0.5}\n", "completion: {top_p: 2}\n", "child.yaml:3:14", "completion.top_p"),
        ("augmentation: {places: all}\n", "", "base.yaml:1:16", "augmentation.flips"),
        ("detector: {generator: {snapshot_steps: [3, x]}}\n", "", "base.yaml:1:24", "snapshot_steps"),
    ],
)
def test_a_mistake_is_placed_in_the_file_that_holds_it(base: str, child: str, place: str, fact: str) -> None:
    write("base.yaml", f"{base}model: {{model_type: gpt2}}\n")
    with pytest.raises(PokemonGenError) as caught:
        load_settings(write("child.yaml", f"extends: base.yaml\nname: a\n{child}"))
    assert str(caught.value).startswith(f"{place}: ")
    assert fact in str(caught.value)


@pytest.mark.parametrize(
    ("child", "dropped"),
    [
        ("training: {num_train_epochs: 2}\n", "training.max_steps=10"),
        ("training: {lr_scheduler_type: cosine}\n", "training.lr_scheduler_kwargs"),
        ("completion: {do_sample: false}\n", "completion.candidates=4"),
    ],
)
def test_a_setting_supersedes_settings_of_the_extended_config(
    caplog: pytest.LogCaptureFixture, child: str, dropped: str
) -> None:
    write("base.yaml", BASE)
    settings = load_settings(write("child.yaml", f"extends: base.yaml\nname: a\n{child}"))
    section, key = dropped.partition("=")[0].split(".")
    values = settings.training if section == "training" else settings.completion.model_dump()
    assert values.get(key, 1) == 1
    (message,) = [record.getMessage() for record in caplog.records]
    assert "child.yaml" in message
    assert dropped in message


def test_a_new_schedule_replaces_the_arguments_of_the_old_one(caplog: pytest.LogCaptureFixture) -> None:
    write("base.yaml", BASE)
    schedule = "{lr_scheduler_type: cosine_with_min_lr, lr_scheduler_kwargs: {min_lr_rate: 0.1}}"
    settings = load_settings(write("child.yaml", f"extends: base.yaml\nname: a\ntraining: {schedule}\n"))
    assert settings.training["lr_scheduler_kwargs"] == {"min_lr_rate": 0.1}
    assert settings.training["max_steps"] == 10
    assert not caplog.records


def test_overrides_apply_to_the_merged_settings() -> None:
    settings = load_settings("record", ["members=2", "model.num_hidden_layers=1"])
    assert (settings.members, settings.model["num_hidden_layers"]) == (2, 1)
    assert settings.overridden() == {"members": 5, "model.num_hidden_layers": 4}


def test_the_saved_settings_do_not_contain_extends(tmp_path: Path) -> None:
    record = load_settings("record")
    record.save(tmp_path)
    assert "extends" not in json.loads((tmp_path / "settings.json").read_text())
    assert load_settings(tmp_path).model_dump() == record.model_dump()


def test_a_path_is_relative_to_the_folder_of_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    write("bases/base.yaml", BASE)
    write("mine/child.yaml", "extends: ../bases/base.yaml\nname: child\n")
    write("mine/sibling.yaml", "extends: child\nname: sibling\n")
    assert load_settings("mine/sibling.yaml").model["n_layer"] == 1
    monkeypatch.chdir("mine")
    assert load_settings("sibling.yaml").model["n_layer"] == 1


def test_a_run_can_be_extended(tmp_path: Path) -> None:
    load_settings("quick", ["sprites.seed=7"]).save(tmp_path / "checkpoints" / "a")
    child = write("child.yaml", "extends: checkpoints/a/settings.json\nname: child\n")
    assert load_settings(child).sprites.seed == 7


def test_a_config_can_extend_the_shipped_config_of_the_same_name() -> None:
    own = write("configs/strong.yaml", "extends: strong\nname: strong\nseed: 3\n")
    settings = load_settings("strong")
    assert (settings.seed, settings.model) == (3, load_settings(ROOT / "configs" / "strong.yaml").model)
    assert settings.where("seed") == f"{own}:3:1"
    assert load_settings(ROOT / "configs" / "record.yaml").seed == 0  # extends the config next to it


def test_the_judge_can_be_extended() -> None:
    write("configs/judge.yaml", "extends: judge\njudge: {classifier: {steps: 7}}\n")
    settings = load_judge_settings("procedural")
    assert (settings.judge.classifier.steps, settings.judge.seed) == (7, 1000)


@pytest.mark.parametrize(
    ("files", "start"),
    [
        ({"a.yaml": "b.yaml", "b.yaml": "a.yaml"}, "a.yaml"),
        ({"a.yaml": "a.yaml"}, "a.yaml"),
        ({"a.yaml": "b.yaml", "b.yaml": "c.yaml", "c.yaml": "b.yaml"}, "a.yaml"),
    ],
)
def test_a_circle_is_an_error_that_names_the_files(files: dict[str, str], start: str) -> None:
    for name, base in files.items():
        write(name, f"name: a\nextends: {base}\n")
    with pytest.raises(PokemonGenError, match=r"\w\.yaml:2:1: .*circle") as caught:
        load_settings(start)
    for name in set(files.values()):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("value", "facts"),
    [
        ("strng", ["'strng'", "'strong'", "quick"]),
        ("missing.yaml", ["'missing.yaml'", "relative to"]),
        ("[strong]", ["['strong']", "extends"]),
        ("''", ["extends"]),
        ("7", ["extends", "7"]),
        ("/", ["'/'"]),
        ("a" * 300, ["extends"]),
    ],
)
def test_extends_must_name_a_config(value: str, facts: list[str]) -> None:
    with pytest.raises(PokemonGenError) as caught:
        load_settings(write("child.yaml", f"name: a\nextends: {value}\n"))
    assert str(caught.value).startswith("child.yaml:2:1: extends")
    for fact in facts:
        assert fact in str(caught.value)


def test_a_copy_of_a_config_extends_the_shipped_one(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "record.yaml"
    copy.parent.mkdir()
    shutil.copy(ROOT / "configs" / "record.yaml", copy)
    assert load_settings(copy).model_dump() == load_settings("record").model_dump()


def test_the_saved_settings_of_a_run_extend_nothing(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{\n  "name": "stranger",\n  "extends": "/etc/passwd"\n}')
    with pytest.raises(PokemonGenError, match=r"settings\.json:3:3: extends"):
        load_settings(file)
