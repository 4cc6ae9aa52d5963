"""Plans of studies: what they may say, and the settings of each run."""

from pathlib import Path

import pytest

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.build import build_model, build_text_model
from pokemon_gen.settings import Settings
from pokemon_gen.study.plan import load_plan, run_name, settings_of
from pokemon_gen.study.runs import members_of_plan
from pokemon_gen.study_settings import slug
from pokemon_gen.text_settings import TextSettings
from pokemon_gen.training.arguments import training_arguments
from tests.builders import ROOT

PLANS = sorted([*(ROOT / "configs" / "studies").glob("*.yaml"), *(ROOT / "eval" / "studies").glob("*.yaml")])
PLAN = """\
name: mine
base: quick
always: [training.max_steps=3]
seeds: [4, 5]
variants:
  width:
    96: []
    48: [model.hidden_size=48, seed=9]
  start:
    tuned: {start_from: width/96, overrides: [sprites.seed=1]}
"""


def write(text: str) -> Path:
    Path("mine.yaml").write_text(text)
    return Path("mine.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("file", PLANS, ids=lambda file: f"{file.parent.parent.name}-{file.stem}")
def test_every_variant_of_a_shipped_plan_makes_a_model(file: Path) -> None:
    plan = load_plan(file)
    for group, members in plan.variants.items():
        for name in members:
            settings = settings_of(plan, group, name, 0)
            assert training_arguments(settings, Path("unused")).seed == 0
            if settings.start_from is None and isinstance(settings, TextSettings):
                assert build_text_model(settings.model, 80, settings.corpus.block_size, 0), name
            elif settings.start_from is None:
                assert build_model(settings.model, 167, 0), name


def test_a_run_has_the_overrides_of_its_variant_its_seed_and_a_name_of_its_own() -> None:
    plan = load_plan(write(PLAN))
    settings = settings_of(plan, "width", "48", 5)
    assert isinstance(settings, Settings)
    assert (settings.name, settings.seed) == ("mine.width.48.5", 5)
    assert (settings.model["hidden_size"], settings.training["max_steps"]) == (48, 3)
    assert settings_of(plan, "width", "96", 4).model["hidden_size"] == 96


def test_a_variant_starts_from_the_run_of_the_same_seed_which_is_trained_before_it() -> None:
    plan = load_plan(write(PLAN))
    assert settings_of(plan, "start", "tuned", 5).start_from == run_name(plan, "width", "96", 5)
    order = [(member.seed, member.variant) for member in members_of_plan(plan)]
    assert order == [(4, "96"), (4, "48"), (4, "tuned"), (5, "96"), (5, "48"), (5, "tuned")]


def test_the_source_of_a_plan_holds_for_all_runs_but_those_with_their_own() -> None:
    plan = load_plan(write(PLAN + "    other: [sprites.source=images:art]\n"), ("source=text:mine",))
    assert isinstance(first := settings_of(plan, "width", "96", 4), Settings)
    assert isinstance(other := settings_of(plan, "start", "other", 4), Settings)
    assert (first.sprites.source, other.sprites.source) == ("text:mine", "images:art")


@pytest.mark.parametrize(
    ("old", "new", "facts"),
    [
        ("width/96,", "width/97,", ["start/tuned", "width/96"]),
        ("always:", "alwais:", ["mine.yaml:3", "always"]),
        ("name: mine", "name: a/b", ["mine.yaml:1"]),
        ("base: quick", "base: quik", ["quik", "quick"]),
        ("model.hidden_size=48", "model.hiden_size=48", ["width/48", "model.hidden_size"]),
        ("seeds: [4, 5]", "seeds: []", ["seeds"]),
        ("seeds: [4, 5]", "prompts: [a]", ["text"]),
        ("base: quick", "base: captions\nlearns: text\nfolds: true", ["folds", "sprites"]),
        ("base: quick", "base: quick\nfolds: true\ncompletions: 2", ["folds", "completions"]),
        ("  start:", "  wi/dth:", ["wi/dth"]),
        ("    48:", "    '9 6': []\n    9+6: []\n    48:", ["width/9+6", "width/9 6"]),
        ("    48:", "    '***': []\n    48:", ["width/***"]),
    ],
)
def test_mistakes_name_their_place(old: str, new: str, facts: list[str]) -> None:
    file = write(PLAN.replace(old, new))
    with pytest.raises(PokemonGenError) as caught:
        settings_of(load_plan(file), "width", "48", 4)
    for fact in facts:
        assert fact in str(caught.value)


def test_variants_that_start_from_each_other_are_refused() -> None:
    circle = PLAN.replace("96: []", "96: {start_from: start/tuned}")
    with pytest.raises(PokemonGenError, match="circle"):
        members_of_plan(load_plan(write(circle)))


def test_any_words_become_a_part_of_a_name() -> None:
    assert slug("lr 1e-3, (AdamW)") == "lr-1e-3-AdamW"
