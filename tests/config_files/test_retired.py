"""Settings of earlier versions are errors that say what they are called now."""

import json
from pathlib import Path

import pytest

from pokemon_gen.config_files.loading import load_judge_settings, load_settings
from pokemon_gen.config_files.overrides import override_sprites
from pokemon_gen.config_files.retired import REMOVED, RENAMED, RETIRED_VALUES, is_of_version_0_1
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.settings import SpriteSettings
from tests.builders import error_with
from tests.config_files.configs import GOOD, load


def assert_names(message: str, place: str, old: str, new: str) -> None:
    """Check that an error names the place of a setting, its old name and its new one."""
    assert message.startswith(f"{place}: {old} ")
    assert new in message


def yaml_lines(dotted: str, value: str) -> str:
    """Return the lines of one nested setting."""
    keys = dotted.split(".")
    lines = [f"{'  ' * level}{key}:" for level, key in enumerate(keys)]
    return "\n".join(lines) + f" {value}\n"


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_renamed_setting_in_a_config_names_the_new_one(tmp_path: Path, old: str, new: str) -> None:
    depth = old.count(".")
    place = f"{1 + depth}:{1 + 2 * depth}"
    if old.startswith("judge."):
        Path("configs").mkdir()
        Path("configs/judge.yaml").write_text(yaml_lines(old, "1"))
        with pytest.raises(PokemonGenError) as caught:
            load_judge_settings("procedural")
        assert_names(str(caught.value), f"configs/judge.yaml:{place}", old, new)
    else:
        with pytest.raises(PokemonGenError) as caught:
            load(tmp_path, yaml_lines(old, "1") + "name: a\nmodel: {model_type: gpt2}\n")
        assert_names(str(caught.value), f"{tmp_path}/run.yaml:{place}", old, new)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_renamed_setting_in_an_override_names_the_new_one(old: str, new: str) -> None:
    is_judge = old.startswith("judge.")
    with pytest.raises(PokemonGenError) as caught:
        load_judge_settings("procedural", [f"{old}=1"]) if is_judge else load_settings("quick", [f"{old}=1"])
    assert_names(str(caught.value), "command line", old, new)


@pytest.mark.parametrize("name", RENAMED.values())
def test_the_new_name_of_a_setting_exists(name: str) -> None:
    value = "[5]" if name.endswith(("snapshot_steps", "temperatures")) else "0.5"
    value = (
        value
        if name.endswith(("steps", "share", "prob", "temperatures"))
        else "none"
        if name.endswith("flips")
        else "2"
    )
    if name.startswith("judge."):
        load_judge_settings("procedural", [f"{name}={value}"])
    else:
        load_settings("quick", [f"{name}={value}"])


@pytest.mark.parametrize(("name", "reason"), REMOVED.items())
def test_a_removed_setting_says_why(tmp_path: Path, name: str, reason: str) -> None:
    section, key = name.split(".")
    text = GOOD if section == "training" else f"{GOOD}{section}:\n"
    text = text.replace(f"{section}:\n", f"{section}:\n  {key}: 1\n")
    line = text.splitlines().index(f"  {key}: 1") + 1
    with pytest.raises(PokemonGenError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/run.yaml:{line}:3: {name} was removed in version 0.2")
    assert reason in str(caught.value)
    with pytest.raises(PokemonGenError) as caught:
        load_settings("quick", [f"{name}=1"])
    assert str(caught.value).startswith(f"command line: {name} was removed")


@pytest.mark.parametrize(("setting", "message"), RETIRED_VALUES.items())
def test_an_old_value_says_what_replaces_it(tmp_path: Path, setting: tuple[str, str], message: str) -> None:
    name, value = setting
    with pytest.raises(PokemonGenError) as caught:
        load_settings("quick", [f"{name}={value}"])
    assert str(caught.value) == f"command line: {name}: {value} {message}"
    section, key = name.split(".")
    with pytest.raises(PokemonGenError) as caught:
        load(tmp_path, f"{GOOD}{section}:\n  {key}: {value}\n")
    assert str(caught.value) == f"{tmp_path}/run.yaml:10:3: {name}: {value} {message}"


def test_old_settings_in_an_overridden_section_are_reported() -> None:
    with pytest.raises(PokemonGenError, match=r"command line: augmentation\.places .* augmentation\.flips"):
        load_settings("quick", ["augmentation={places: all}"])


def test_old_settings_of_a_sprite_source_are_reported() -> None:
    with pytest.raises(PokemonGenError, match=r"command line: sprites\.held_out .* sprites\.fold_size"):
        override_sprites(SpriteSettings(), ["sprites.held_out=8"])
    with pytest.raises(PokemonGenError, match=r"command line: sprites\.source: generated .*procedural"):
        override_sprites(SpriteSettings(), ["sprites.source=generated"])
    with pytest.raises(PokemonGenError, match=r"command line: sprites\.source: generated .*procedural"):
        load_judge_settings("generated")


def test_the_settings_of_a_run_of_version_0_1_are_translated(tmp_path: Path) -> None:
    saved = json.loads(load_settings("quick", ["sprites.fold_size=80"]).model_dump_json())
    saved["sprites"] |= {"source": "generated", "held_out": saved["sprites"].pop("fold_size")}
    saved["detector"]["classifier"]["enlarge"] = saved["detector"]["classifier"].pop("upscale")
    saved["selection"] |= {"by": "accuracy", "watch_epochs": 2}
    saved["training"]["ema_decay"] = 0.99
    (tmp_path / "settings.json").write_text(json.dumps(saved, indent=2))
    expected = load_settings("quick", ["sprites.fold_size=80", "sprites.source=procedural"])
    assert load_settings(tmp_path).model_dump() == expected.model_dump()
    (tmp_path / "mine.yaml").write_text(json.dumps(saved, indent=2))
    with pytest.raises(PokemonGenError) as caught:
        load_settings(tmp_path / "mine.yaml")
    assert len(str(caught.value).splitlines()) == 6


def test_a_saved_temperature_of_generators_becomes_a_list(tmp_path: Path) -> None:
    saved = json.loads(load_settings("quick").model_dump_json())
    saved["detector"]["generator"].pop("temperatures")
    saved["detector"]["generator"] |= {"temperature": 0.8, "share": 0.5}
    assert not is_of_version_0_1(saved)  # a training does not depend on it, so the run can resume
    (tmp_path / "settings.json").write_text(json.dumps(saved))
    generator = load_settings(tmp_path).detector.generator
    assert (generator.temperatures, generator.share) == ((0.0, 0.8), 0.25)


def test_a_config_that_was_removed_names_what_replaces_it() -> None:
    with error_with("qwen3", "fast", "quick"):
        load_settings("qwen3")


def test_other_mistakes_are_reported_along_with_old_settings(tmp_path: Path) -> None:
    text = GOOD.replace("temperature: 1", "tempo: 1") + "augmentation:\n  places: all\n"
    with pytest.raises(PokemonGenError) as caught:
        load(tmp_path, text)
    assert len(str(caught.value).splitlines()) == 2
