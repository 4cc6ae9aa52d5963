"""Overrides change single settings, and a mistake in one is reported as such."""

import re
from pathlib import Path

import pytest

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.config_files.overrides import override_sprites
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.settings import SpriteSettings
from pokemon_gen.training.arguments import training_arguments
from pokemon_gen.validation import check_settings
from tests.config_files.configs import GOOD, load


def test_overrides_win(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD, "training.learning_rate=2e-3", "name=other", "sprites.seed=7")
    assert settings.training["learning_rate"] == 2e-3
    assert (settings.name, settings.sprites.seed) == ("other", 7)
    assert settings.overridden() == {"training.learning_rate": 3e-4, "name": "good", "sprites.seed": None}


@pytest.mark.parametrize(
    ("override", "facts"),
    [
        ("completion.topk=3", ["command line: ", "'completion.topk'", "'completion.top_k'"]),
        ("completion.top_k=many", ["command line: completion.top_k: ", "integer", "'many'"]),
        ("learning_rate", ["'learning_rate'", "dotted.name=value"]),
        ("=3", ["'=3'", "dotted.name=value"]),
        ("name.first=x", ["command line: name.first: ", "section"]),
        ("seed=[", ["command line: seed: ", "'['", "YAML"]),
        ("completion={topk: 3}", ["command line: ", "'completion.topk'"]),
        ("seed=010", ["command line: seed: ", "integer", "'010'"]),  # 8 in YAML 1.1
        ("extends=strong", ["command line: extends", "strong"]),
    ],
)
def test_a_mistake_in_an_override_is_reported(tmp_path: Path, override: str, facts: list[str]) -> None:
    with pytest.raises(PokemonGenError) as caught:
        load(tmp_path, GOOD, override)
    for fact in facts:
        assert fact in str(caught.value)


def test_an_overridden_section_comes_from_the_command_line(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD, "model={model_type: gpt2, n_head: 2}")
    assert settings.where("model.n_head") == "command line"
    assert settings.where("training.learning_rate").endswith("run.yaml:6:3")


def test_sprites_of_a_source_can_be_overridden() -> None:
    known = SpriteSettings(source="images:x", seed=3)
    assert override_sprites(known, ["sprites.colours=8"]) == known.model_copy(update={"colours": 8})
    with pytest.raises(PokemonGenError, match=r"'sprites\.colors'.*'sprites\.colours'"):
        override_sprites(known, ["sprites.colors=8"])


def test_texts_on_the_command_line_keep_all_their_characters() -> None:
    """In YAML, ` #` begins a comment and `a: b` is a section; both occur in the names of folders."""
    for text in ("images:my art #2", "images:a: b", "text:[old]", "images:it's", "12", "true", "images:{a}"):
        assert load_settings("quick", [f"sprites.source={text}"]).sprites.source == text
    assert load_settings("quick", ["sprites.palette=my #1.hex"]).sprites.palette == "my #1.hex"
    assert load_settings("quick", ["sprites.palette=null"]).sprites.palette is None
    assert load_settings("quick", ["name=12"]).name == "12"
    for text in ("a #2", "#2", "v1: test", "7", "true", "@home", "%x", '"a" b', "*me"):
        assert load_settings("quick", [f"training.run_name={text}"]).training["run_name"] == text
    known = override_sprites(SpriteSettings(), ["sprites.source=images:my art #2"])
    assert known.source == "images:my art #2"


def test_one_word_replaces_the_model_section() -> None:
    gpt2, quick = load_settings("gpt2-sample"), load_settings("quick", ["model=gpt2"])
    assert quick.model == gpt2.model
    assert quick.training == load_settings("quick").training
    assert load_settings("quick", ["model=strong"]).model == load_settings("strong").model
    deeper = load_settings("quick", ["model.n_layer=3", "model=gpt2"])
    assert deeper.model == {**gpt2.model, "n_layer": 3}
    with pytest.raises(PokemonGenError, match=r"command line: model: .*'gpt3'.*'gpt2'"):
        load_settings("quick", ["model=gpt3"])


def test_the_model_of_an_extending_config_can_be_named() -> None:
    assert load_settings("quick", ["model=record"]).model == load_settings("strong").model


def test_configs_without_a_model_do_not_prevent_model_overrides() -> None:
    Path("configs").mkdir()
    for number, text in enumerate(("model: gpt2\n", "model: {n_layer: 2}\n", "name: a\n")):
        Path(f"configs/a{number}.yaml").write_text(text)
    assert load_settings("quick", ["model=gpt2"]).model["model_type"] == "gpt2"


def test_an_overridden_model_type_names_the_fields_of_the_old_type() -> None:
    with pytest.raises(PokemonGenError) as caught:
        check_settings(load_settings("quick", ["model.model_type=gpt2"]))
    for fact in ("command line: ", "qwen3", "model.intermediate_size", "model.head_dim", "`model=gpt2`"):
        assert fact in str(caught.value)
    check_settings(load_settings("quick", ["model.model_type=llama"]))  # has the same fields


@pytest.mark.parametrize(
    ("config", "override", "superseded"),
    [
        ("quick", "training.lr_scheduler_type=cosine", "training.lr_scheduler_kwargs"),
        ("quick", "training.num_train_epochs=2", "training.max_steps"),
        ("quick", "completion.do_sample=false", "completion.candidates"),
    ],
)
def test_an_override_supersedes_settings_that_belong_to_the_old_value(
    caplog: pytest.LogCaptureFixture, config: str, override: str, superseded: str
) -> None:
    settings = load_settings(config, [override])
    section, key = superseded.split(".")
    if section == "training":
        assert key not in settings.training
        training_arguments(settings, Path("run"))
    assert settings.completion.candidates == (1 if section == "completion" else 4)
    (message,) = [record.getMessage() for record in caplog.records]
    assert superseded in message
    assert override.partition("=")[0] in message


def test_an_overridden_setting_is_not_superseded(caplog: pytest.LogCaptureFixture) -> None:
    kwargs = "training.lr_scheduler_kwargs={min_lr_rate: 0.1}"
    both = ["training.lr_scheduler_type=cosine_with_min_lr", kwargs]
    assert load_settings("quick", both).training["lr_scheduler_kwargs"] == {"min_lr_rate": 0.1}
    same = "training.lr_scheduler_type=warmup_stable_decay"
    settings = load_settings("quick", [same, "training.num_train_epochs=2", "training.max_steps=7"])
    assert settings.training["lr_scheduler_kwargs"]["num_decay_steps"] == 0.5
    assert settings.training["max_steps"] == 7
    assert not caplog.records


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("learning_rate=1e-3", "training.learning_rate"),
        ("learnin_rate=1e-3", "training.learning_rate"),
        ("max_steps=5", "training.max_steps"),
        ("hue_shift=3", "augmentation.hue_shifts"),
        ("temperature=1", "completion.temperature"),
        ("source=images:art", "sprites.source"),
        ("training.learnin_rate=1", "training.learning_rate"),
        ("detector.learning_rate=1", "detector.generator.learning_rate"),
        ("completon.top_p=1", "completion"),
        ("batch_size=8", "training.per_device_train_batch_size"),
        ("training.batch_size=8", "training.per_device_train_batch_size"),
        ("epochs=3", "training.num_train_epochs"),
        ("training.epochs=3", "training.num_train_epochs"),
        ("lr=1", "training.learning_rate"),
        ("hidden_size=64", "model.hidden_size"),
        ("TRAINING.max_steps=5", "training"),
        ("training.Max_Steps=5", "training.max_steps"),
        ("extend=strong", "extends"),
    ],
)
def test_the_error_for_an_unknown_setting_names_the_nearest_one(override: str, meant: str) -> None:
    with pytest.raises(PokemonGenError, match=rf"command line: .*'{re.escape(meant)}'"):
        check_settings(load_settings("quick", [override]))


@pytest.mark.parametrize(
    ("override", "facts"),
    [
        ("training.lr_scheduler_type=cosin", ["training.lr_scheduler_type", "'cosin'", "cosine"]),
        ("training.eval_strategy=epohc", ["training.eval_strategy", "'epohc'", "epoch"]),
        ("training.optim=adamw", ["training.optim", "'adamw'", "adamw_torch"]),
        ("training.max_steps=0", ["training.max_steps", "-1", "not 0"]),
        ("training.per_device_train_batch_size=0", ["training.per_device_train_batch_size", "at least 1"]),
        (
            "training.metric_for_best_model=nll_completion",
            ["training.metric_for_best_model", "'completion_nll'"],
        ),
        ("training.greater_is_better=true", ["training.greater_is_better", "false", "completion_nll"]),
        ("training.save_strategy=no", ["training.save_strategy", "'no'", "epoch"]),
        ("training.save_strategy=best", ["training.save_strategy", "'best'", "`select`"]),
        ("training.output_dir=x", ["training.output_dir", "`name`"]),
        ("selection.on=fold", ["sprites.fold_size"]),
        ("detector.classifier.model.dephts=[1]", ["'detector.classifier.model.depths'"]),
        ("seed=4294967296", ["seed", "4294967296"]),
        ("name=member-0", ["name", "member-0"]),
    ],
)
def test_an_impossible_value_is_reported_without_torch(override: str, facts: list[str]) -> None:
    with pytest.raises(PokemonGenError) as caught:
        check_settings(load_settings("quick", [override]))
    for fact in facts:
        assert fact in str(caught.value)
