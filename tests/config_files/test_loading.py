"""Configs: every mistake is reported with its place and the nearest known name."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pokemon_gen.config_files.loading import load_judge_settings, load_settings
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.settings import Settings
from tests.builders import RUN_CONFIGS
from tests.config_files.configs import GOOD, load


def test_values_are_read_as_they_look(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD)
    assert settings.training["learning_rate"] == 3e-4  # a text in YAML 1.1
    assert settings.completion.temperature == 1.0
    words = load(tmp_path, GOOD, "training.eval_strategy=no", "completion.do_sample=true")
    assert words.training["eval_strategy"] == "no"  # false in YAML 1.1
    assert words.completion.do_sample is True
    assert load(tmp_path, GOOD, "name=2026-11-26").name == "2026-11-26"  # a date in YAML 1.1
    for word in ("12:30", "1:30.5", "0x1F"):  # 750, 90.5 and 31 in YAML 1.1
        assert load(tmp_path, GOOD, f"training.run_name={word}").training["run_name"] == word
    for text, number in (("1_000", 1000), ("-3", -3), ("0", 0), ("2.", 2.0), (".5", 0.5), ("1.5e-3", 0.0015)):
        assert load(tmp_path, GOOD, f"training.x={text}").training["x"] == number
    assert settings.sprites.source == "procedural"


@pytest.mark.parametrize(
    ("old", "new", "facts"),
    [
        (
            "temperature",
            "temprature",
            ["run.yaml:8:3", "'completion.temprature'", "'completion.temperature'"],
        ),
        ("name: good", "nmae: good", ["run.yaml:1:1", "'nmae'", "'name'"]),
        ("training:", "trainings:", ["run.yaml:5:1", "'trainings'", "'training'"]),
        ("temperature: 1", "temperature: hot", ["run.yaml:8:3", "completion.temperature", "'hot'"]),
        ("temperature: 1", "temperature: 0", ["run.yaml:8:3", "completion.temperature", "greater than 0"]),
        ("temperature: 1", "top_p: 1.5", ["completion.top_p", "1.5", "less than or equal to 1"]),
        ("temperature: 1", "do_sample: 1", ["completion.do_sample", "boolean", "not 1"]),
        ("name: good", "name: ../up", ["run.yaml:1:1", "name", "letters", "../up"]),
        ("model_type: gpt2", "n_head: 2", ["run.yaml:2:1", "model", "model_type"]),
        ("name: good\n", "", ["'name'", "missing"]),
        ("  n_layer: 1", "  n_layer: [1", ["run.yaml:5:9"]),
        ("  n_layer: 1", "  n_layer: 1\n  n_layer: 2", ["run.yaml:5:3", "'n_layer'"]),
    ],
)
def test_a_mistake_is_reported_with_its_place(tmp_path: Path, old: str, new: str, facts: list[str]) -> None:
    assert old in GOOD
    with pytest.raises(PokemonGenError) as caught:
        load(tmp_path, GOOD.replace(old, new))
    for fact in facts:
        assert fact in str(caught.value)


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("temperature: 1", "tempo: 1").replace("name: good", "name: good\nsede: 1")
    with pytest.raises(PokemonGenError) as caught:
        load(tmp_path, text)
    assert len(str(caught.value).splitlines()) == 2


def test_the_name_of_a_config_may_contain_a_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/quick.v2.yaml").write_text(GOOD)
    assert load_settings("quick.v2").name == "good"
    with pytest.raises(PokemonGenError, match=r"quick\.bak.*'quick"):
        load_settings("quick.bak")


def test_saved_settings_are_a_config(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD)
    settings.save(tmp_path)
    assert load_settings(tmp_path / "settings.json").model_dump() == settings.model_dump()


def test_a_shipped_config_is_found_by_its_name() -> None:
    assert load_settings("quick").name == "quick"
    assert load_settings("configs/quick.yaml").name == "quick"
    with pytest.raises(PokemonGenError, match=r"quack.*'quick'.*fast, gpt2-sample, llama"):
        load_settings("quack")


@pytest.mark.parametrize("config", RUN_CONFIGS, ids=lambda c: c.stem)
def test_a_shipped_config_is_short_and_named_like_its_file(config: Path) -> None:
    lines = [line for line in config.read_text().splitlines() if line.strip()]
    assert len(lines) <= 56  # one screen
    assert load_settings(config).name == config.stem


def test_fast_differs_from_strong_only_in_its_model_its_detector_and_its_lengths() -> None:
    strong, fast = load_settings("strong"), load_settings("fast")
    assert {**fast.training, "max_steps": strong.training["max_steps"]} == strong.training
    assert (fast.augmentation, fast.selection) == (strong.augmentation, strong.selection)
    assert (
        fast.completion.model_copy(update={"candidates": strong.completion.candidates}) == strong.completion
    )


def test_the_config_of_the_judge_is_not_the_config_of_a_run() -> None:
    with pytest.raises(PokemonGenError, match="pokemon-gen judge SOURCE"):
        load_settings("judge")


def test_the_source_of_the_judge_is_an_override() -> None:
    settings = load_judge_settings("images:my art #2", ["sprites.colours=8", "judge.classifier.steps=7"])
    assert (settings.sprites.source, settings.sprites.colours) == ("images:my art #2", 8)
    assert settings.judge.classifier.steps == 7
    assert settings.where("sprites.source") == "command line"
    assert re.search(r"judge\.yaml:\d+:3$", settings.where("judge.seed"))


def test_a_large_file_is_not_a_config(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: b\n" * 100_001)
    with pytest.raises(PokemonGenError, match=r"a\.yaml: .*100,000 bytes"):
        load_settings(tmp_path / "a.yaml")


def test_a_list_is_not_a_config(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- a\n")
    with pytest.raises(PokemonGenError, match=r"a\.yaml:1:1: .*key: value"):
        load_settings(tmp_path / "a.yaml")


def test_a_run_is_a_config(tiny: Callable[..., Settings]) -> None:
    """`train NAME` resumes the run with that name; a config with that name comes first."""
    folder = Path("checkpoints/cmp_llama")
    tiny(name="cmp_llama").save(folder)
    for place in ("cmp_llama", "checkpoints/cmp_llama", "checkpoints/cmp_llama/settings.json"):
        assert load_settings(place).model_dump() == tiny(name="cmp_llama").model_dump()
    tiny(name="quick").save(Path("checkpoints/quick"))
    assert load_settings("quick").model["model_type"] == "qwen3"
    with pytest.raises(PokemonGenError, match=r"cmp_lama.*'cmp_llama'.*runs: .*cmp_llama"):
        load_settings("cmp_lama")
