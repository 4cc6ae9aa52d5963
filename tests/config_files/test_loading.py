"""`config_files.py` and `settings.py`: every mistake is named with its place and the nearest right name."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pokemon_gen.config_files.loading import load_settings, override_sprites
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.build import build_model
from pokemon_gen.settings import Settings, SpriteSettings
from pokemon_gen.stages.plans import check_settings
from pokemon_gen.training.arguments import training_arguments
from tests.conftest import ROOT, RUN_CONFIGS

GOOD = """\
name: good
model:
  model_type: gpt2
  n_layer: 1
training:
  learning_rate: 3e-4
completion:
  temperature: 1
"""


def load(folder: Path, text: str, *overrides: str) -> Settings:
    (folder / "run.yaml").write_text(text)
    return load_settings(folder / "run.yaml", overrides)


def test_a_config_is_read(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD)
    assert settings.training["learning_rate"] == 3e-4  # a string to YAML 1.1
    assert settings.completion.temperature == 1.0
    words = load(tmp_path, GOOD, "training.eval_strategy=no", "completion.do_sample=true")
    assert words.training["eval_strategy"] == "no"  # false to YAML 1.1
    assert words.completion.do_sample is True
    assert load(tmp_path, GOOD, "name=2026-11-26").name == "2026-11-26"  # a date to YAML 1.1
    for word in ("12:30", "1:30.5", "0x1F"):  # 750, 90.5 and 31
        assert load(tmp_path, GOOD, f"training.run_name={word}").training["run_name"] == word
    for text, number in (("1_000", 1000), ("-3", -3), ("0", 0), ("2.", 2.0), (".5", 0.5), ("1.5e-3", 0.0015)):
        assert load(tmp_path, GOOD, f"training.x={text}").training["x"] == number
    assert settings.sprites.source == "procedural"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "temperature",
            "temprature",
            r"run\.yaml:8:3: unknown setting 'completion.temprature'; did you mean "
            r"'completion\.temperature'",
        ),
        ("name: good", "nmae: good", r"run\.yaml:1:1: unknown setting 'nmae'; did you mean 'name'"),
        ("training:", "trainings:", r"run\.yaml:5:1: unknown setting 'trainings'; did you mean 'training'"),
        ("temperature: 1", "temperature: hot", r"run\.yaml:8:3: completion\.temperature: .*not 'hot'"),
        ("temperature: 1", "temperature: 0", r"run\.yaml:8:3: completion\.temperature: .*greater than 0"),
        ("temperature: 1", "top_p: 1.5", r"completion\.top_p: .*less than or equal to 1"),
        ("temperature: 1", "do_sample: 1", r"completion\.do_sample: .*boolean, not 1"),
        ("name: good", "name: ../up", r"run\.yaml:1:1: name: use letters"),
        ("model_type: gpt2", "n_head: 2", r"run\.yaml:2:1: model: needs model_type"),
        ("name: good\n", "", r"'name' is missing"),
        ("  n_layer: 1", "  n_layer: [1", r"run\.yaml:\d+:\d+: "),
        ("  n_layer: 1", "  n_layer: 1\n  n_layer: 2", r"run\.yaml:5:3: 'n_layer' stands here a second time"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(PokemonGenError, match=message):
        load(tmp_path, GOOD.replace(old, new))


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(PokemonGenError) as error:
        load(
            tmp_path, GOOD.replace("temperature: 1", "tempo: 1").replace("name: good", "name: good\nsede: 1")
        )
    assert len(str(error.value).splitlines()) == 2


def test_overrides_win(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD, "training.learning_rate=2e-3", "name=other", "sprites.seed=7")
    assert settings.training["learning_rate"] == 2e-3
    assert (settings.name, settings.sprites.seed) == ("other", 7)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("completion.topk=3", r"command line: unknown setting 'completion\.topk'.*'completion\.top_k'"),
        ("completion.top_k=many", r"command line: completion\.top_k: .*integer"),
        ("learning_rate", r"'learning_rate' is no override"),
        ("name.first=x", r"command line: name\.first: name is no section"),
        ("seed=[", r"command line: seed: '\[' is not a YAML value"),
        ("completion={topk: 3}", r"^command line: unknown setting 'completion\.topk'"),
        ("seed=010", r"command line: seed: .*integer, not '010'"),  # 8 to YAML 1.1
    ],
)
def test_a_mistaken_override_is_named(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(PokemonGenError, match=message):
        load(tmp_path, GOOD, override)


def test_a_mistake_in_an_overridden_section_is_the_overrides(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD, "model={model_type: gpt2, n_head: 2}")
    assert settings.where("model.n_head") == "command line"
    assert str(settings.where("training.learning_rate")).endswith("run.yaml:6:3")


def test_a_configs_name_may_have_a_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/quick.v2.yaml").write_text(GOOD)
    assert load_settings("quick.v2").name == "good"
    with pytest.raises(PokemonGenError, match=r"quick\.bak: no such config or run; did you mean 'quick"):
        load_settings("quick.bak")


def test_saved_settings_are_a_config(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD)
    settings.save(tmp_path)
    assert load_settings(tmp_path / "settings.json").model_dump() == settings.model_dump()


def test_a_shipped_config_is_found_by_its_name() -> None:
    assert load_settings("quick").name == "quick"
    assert load_settings("configs/quick.yaml").name == "quick"
    with pytest.raises(
        PokemonGenError, match=r"quack: no such config or run; did you mean 'quick'\? \(shipped: fast"
    ):
        load_settings("quack")


@pytest.mark.parametrize("config", RUN_CONFIGS, ids=lambda c: c.stem)
def test_a_shipped_config_is_short_and_named_as_its_file(config: Path) -> None:
    lines = [line for line in config.read_text().splitlines() if line.strip()]
    assert 10 <= len(lines) <= 40
    assert load_settings(config).name == config.stem


def test_configs_that_are_meant_alike_differ_only_in_what_they_say() -> None:
    strong, record, fast = (load_settings(name) for name in ("strong", "record", "fast"))
    assert {**record.model_dump(), "name": "strong", "members": 1} == strong.model_dump()
    assert {**fast.training, "max_steps": strong.training["max_steps"]} == strong.training
    for section in ("augmentation", "completion", "selection", "detector"):
        assert getattr(fast, section) == getattr(strong, section)


@pytest.mark.parametrize(
    "plan", sorted((ROOT / "eval" / "benchmarks").glob("*.yaml")), ids=lambda plan: plan.stem
)
def test_every_idea_of_an_ablation_makes_a_model(plan: Path) -> None:
    facts = yaml.safe_load(plan.read_text())
    for idea, overrides in facts["ideas"].items():
        settings = load_settings(facts["config"], [*facts.get("always", []), *(overrides or [])])
        assert build_model(settings.model, 167, 0), idea
        training_arguments(settings, Path("unused"))


def test_a_source_has_its_own_settings() -> None:
    known = SpriteSettings(source="images:x", seed=3)
    assert override_sprites(known, ["sprites.colours=8"]) == known.model_copy(update={"colours": 8})
    with pytest.raises(PokemonGenError, match=r"unknown setting 'sprites\.colors'.*'sprites\.colours'"):
        override_sprites(known, ["sprites.colors=8"])


def test_texts_on_the_command_line_are_taken_as_they_are() -> None:
    """To YAML, ` #` begins a comment and `a: b` is a section; both occur in the names of folders."""
    for text in ("images:my art #2", "images:a: b", "text:[old]", "images:it's", "12", "true", "images:{a}"):
        assert load_settings("quick", [f"sprites.source={text}"]).sprites.source == text
    assert load_settings("quick", ["sprites.palette=my #1.hex"]).sprites.palette == "my #1.hex"
    assert load_settings("quick", ["sprites.palette=null"]).sprites.palette is None
    assert load_settings("quick", ["name=12"]).name == "12"
    assert load_settings("quick", ["training.run_name=a #2"]).training["run_name"] == "a #2"
    for text in ("#2", "v1: test", "7", "true", "@home", "%x", '"a" b', "*me"):
        assert load_settings("quick", [f"training.run_name={text}"]).training["run_name"] == text
    known = override_sprites(SpriteSettings(), ["sprites.source=images:my art #2"])
    assert known.source == "images:my art #2"


def test_a_family_is_changed_by_one_word() -> None:
    gpt2, quick = load_settings("gpt2-sample"), load_settings("quick", ["model=gpt2"])
    assert quick.model == gpt2.model
    assert quick.training == load_settings("quick").training
    assert load_settings("quick", ["model=strong"]).model == load_settings("strong").model
    deeper = load_settings("quick", ["model.n_layer=3", "model=gpt2"])
    assert deeper.model == {**gpt2.model, "n_layer": 3}
    with pytest.raises(PokemonGenError, match=r"no shipped config has a model 'gpt3'; did you mean 'gpt2'"):
        load_settings("quick", ["model=gpt3"])


def test_another_type_alone_says_which_fields_are_the_old_ones() -> None:
    with pytest.raises(PokemonGenError) as error:
        check_settings(load_settings("quick", ["model.model_type=gpt2"]))
    for fact in ("command line: ", "qwen3", "model.intermediate_size", "model.head_dim", "`model=gpt2`"):
        assert fact in str(error.value)
    check_settings(load_settings("quick", ["model.model_type=llama"]))  # has the same fields


@pytest.mark.parametrize(
    ("config", "override", "superseded"),
    [
        ("quick", "training.lr_scheduler_type=cosine", "training.lr_scheduler_kwargs"),
        ("quick", "training.num_train_epochs=2", "training.max_steps"),
        ("quick", "completion.do_sample=false", "completion.candidates"),
    ],
)
def test_an_override_supersedes_what_belonged_to_the_old_value(
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


def test_what_is_asked_for_is_not_superseded(caplog: pytest.LogCaptureFixture) -> None:
    kwargs = "training.lr_scheduler_kwargs={min_lr_rate: 0.1}"
    asked = ["training.lr_scheduler_type=cosine_with_min_lr", kwargs]
    assert load_settings("quick", asked).training["lr_scheduler_kwargs"] == {"min_lr_rate": 0.1}
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
        ("hues=3", "augmentation.hue_shifts"),
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
    ],
)
def test_a_setting_without_its_section_is_found(override: str, meant: str) -> None:
    with pytest.raises(PokemonGenError, match=rf"did you mean '{re.escape(meant)}'"):
        check_settings(load_settings("quick", [override]))


@pytest.mark.parametrize(
    ("override", "facts"),
    [
        ("training.lr_scheduler_type=cosin", ["training.lr_scheduler_type", "cosine"]),
        ("training.eval_strategy=epohc", ["training.eval_strategy", "epoch"]),
        ("training.optim=adamw", ["training.optim", "adamw_torch"]),
        ("training.max_steps=0", ["training.max_steps", "-1"]),
        ("training.per_device_train_batch_size=0", ["at least one sprite"]),
        (
            "training.metric_for_best_model=nll_completion",
            ["training.metric_for_best_model", "completion_nll"],
        ),
        ("training.save_strategy=no", ["training.save_strategy"]),
        ("selection.on=fold", ["sprites.fold_size"]),
        ("detector.classifier.model.dephts=[1]", ["did you mean 'detector.classifier.model.depths'"]),
        ("seed=4294967296", ["seed"]),
        ("name=member-0", ["name"]),
    ],
)
def test_a_value_that_cannot_be_is_answered_without_torch(override: str, facts: list[str]) -> None:
    with pytest.raises(PokemonGenError, match="") as error:
        check_settings(load_settings("quick", [override]))
    assert all(fact in str(error.value) for fact in facts)


def test_a_broken_config_beside_is_no_hindrance() -> None:
    Path("configs").mkdir()
    for number, text in enumerate(("model: gpt2\n", "model: {n_layer: 2}\n", "name: a\n")):
        Path(f"configs/a{number}.yaml").write_text(text)
    assert load_settings("quick", ["model=gpt2"]).model["model_type"] == "gpt2"


def test_the_judges_config_is_no_runs() -> None:
    with pytest.raises(PokemonGenError, match="pokemon-gen judge SOURCE"):
        load_settings("judge")


def test_a_config_has_a_size(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: b\n" * 100_000)
    with pytest.raises(PokemonGenError, match=r"a\.yaml: no config: .* bytes"):
        load_settings(tmp_path / "a.yaml")


def test_a_run_is_a_config(tiny: Callable[..., Settings]) -> None:
    """`train NAME` resumes the run of that name; a config of the name comes first."""
    folder = Path("checkpoints/cmp_llama")
    tiny(name="cmp_llama").save(folder)
    for place in ("cmp_llama", "checkpoints/cmp_llama", "checkpoints/cmp_llama/settings.json"):
        assert load_settings(place).model_dump() == tiny(name="cmp_llama").model_dump()
    tiny(name="quick").save(Path("checkpoints/quick"))
    assert load_settings("quick").model["model_type"] == "qwen3"
    with pytest.raises(PokemonGenError, match=r"did you mean 'cmp_llama'\?.*runs: .*cmp_llama"):
        load_settings("cmp_lama")
