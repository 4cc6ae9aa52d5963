"""`text_settings.py`: the settings of a run on text, their defaults, and mistakes in them."""

import json
from pathlib import Path
from typing import Any

import pytest

from pokemon_gen.config_files.loading import load_saved, load_settings, load_text_settings
from pokemon_gen.config_files.overrides import override_corpus, override_generation
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.text_settings import CorpusSettings, GenerationSettings, TextSettings
from pokemon_gen.training.arguments import training_arguments
from pokemon_gen.validation import check_fields
from tests.builders import ROOT, error_with

GPT2 = {"model_type": "gpt2"}
TEXT_CONFIGS = sorted((ROOT / "configs/text").glob("*.yaml"))


@pytest.mark.parametrize("config", TEXT_CONFIGS, ids=lambda config: config.stem)
def test_every_shipped_config_is_valid_and_named_as_its_file(config: Path) -> None:
    settings = load_text_settings(config)
    assert settings.name == config.stem
    check_fields(settings)
    arguments = training_arguments(settings, Path("checkpoints"))
    assert arguments.max_steps > 0
    assert load_text_settings(config.stem).model_dump() == settings.model_dump()


def test_measurements_and_checkpoints_are_shares_of_the_run() -> None:
    settings = load_text_settings("captions")
    arguments = training_arguments(settings, Path("checkpoints"))
    assert (arguments.eval_strategy, arguments.eval_steps) == ("steps", 0.1)
    assert (arguments.save_strategy, arguments.save_steps) == ("steps", 0.1)
    assert (arguments.per_device_train_batch_size, arguments.per_device_eval_batch_size) == (16, 64)


@pytest.mark.parametrize(
    ("override", "facts"),
    [
        ("corpus.blocksize=8", ["'corpus.blocksize'", "did you mean 'corpus.block_size'"]),
        ("corpus.block_size=1", ["corpus.block_size", "greater than or equal to 2", "1"]),
        ("corpus.case=Lower", ["corpus.case", "'keep', 'lower' or 'upper'", "'Lower'"]),
        ("corpus.train_share=1", ["corpus.train_share", "less than 1"]),
        ("corpus.blocks=shuffled", ["corpus.blocks", "'random' or 'epochs'"]),
        ("corpus.separator=", ["corpus.separator"]),
        ("corpus.count=many", ["corpus.count", "integer", "'many'"]),
        ("tokeniser.kind=bpe", ["'tokeniser'", "did you mean 'tokenizer'"]),
        ("tokenizer.type=bpe", ["'tokenizer.type'"]),
        ("tokenizer.size=256", ["tokenizer.size", "257"]),
        ("tokenizer.kind=pretrained", ["tokenizer", "source", "needs one"]),
        ("tokenizer.source=gpt2", ["tokenizer", "source", "pretrained"]),
        ("generation.temprature=1", ["'generation.temprature'", "did you mean 'generation.temperature'"]),
        ("generation.temperature=0", ["generation.temperature", "greater than 0"]),
        ("generation.top_p=1.5", ["generation.top_p", "less than or equal to 1"]),
        ("sprites.source=procedural", ["unknown setting 'sprites'"]),
        ("completion.temperature=1", ["unknown setting 'completion'"]),
        ("members=2", ["unknown setting 'members'"]),
        ("name=a/b", ["name", "letters"]),
    ],
)
def test_a_mistake_in_an_override_is_reported(override: str, facts: list[str]) -> None:
    with error_with("command line: ", *facts):
        load_text_settings("captions", [override])


def test_unknown_characters_exist_only_for_a_tokenizer_of_characters() -> None:
    with error_with("command line: ", "tokenizer", "unknown"):
        load_text_settings("captions", ["tokenizer.kind=bpe", "tokenizer.unknown=true"])
    kept = load_text_settings("captions", ["tokenizer.unknown=true"]).tokenizer
    assert (kept.kind, kept.unknown) == ("characters", True)


@pytest.mark.parametrize(
    ("override", "facts"),
    [
        ("model.hiden_size=8", ["did you mean 'model.hidden_size'"]),
        ("training.learnin_rate=1", ["did you mean 'training.learning_rate'"]),
        ("model.vocab_size=9", ["model.vocab_size", "tokenizer"]),
        ("model.eos_token_id=9", ["model.eos_token_id", "text"]),
    ],
)
def test_a_mistaken_field_of_the_library_is_named(override: str, facts: list[str]) -> None:
    with error_with(*facts):
        check_fields(load_text_settings("captions", [override]))


def test_texts_on_the_command_line_keep_all_their_characters() -> None:
    for text in ("file:my book #2.txt", "file:a: b", "hub:./[old]", "file:it's"):
        assert load_text_settings("captions", [f"corpus.source={text}"]).corpus.source == text
    assert load_text_settings("captions", ["corpus.column=12"]).corpus.column == "12"


def test_saved_settings_are_the_same() -> None:
    settings = load_text_settings("captions", ["corpus.separator= | ", "generation.seed=3"])
    settings.save(Path())
    assert load_saved(TextSettings, Path()).model_dump() == settings.model_dump()
    assert json.loads(Path("settings.json").read_text())["corpus"]["separator"] == " | "


def test_what_identifies_a_run_leaves_out_the_place_of_its_text_and_the_generation() -> None:
    settings = load_text_settings("captions")
    moved = load_text_settings("captions", ["corpus.source=file:x.txt", "generation.temperature=0.5"])
    assert settings.fixed() == moved.fixed()
    for override in ("corpus.case=upper", "tokenizer.kind=bpe", "model.hidden_size=8"):
        assert load_text_settings("captions", [override]).fixed() != settings.fixed()


def test_the_case_of_a_corpus_is_that_of_python() -> None:
    for case, expected in (("keep", "Straße"), ("lower", "straße"), ("upper", "STRASSE")):
        assert CorpusSettings(case=case).cased("Straße") == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("function", "known", "good", "bad"),
    [
        (override_corpus, CorpusSettings(case="upper"), "corpus.count=9", "corpus.cont=9"),
        (
            override_generation,
            TextSettings(name="a", model=GPT2),
            "generation.top_k=9",
            "generation.topk=9",
        ),
        (override_generation, None, "generation.top_k=9", "generation.topk=9"),
    ],
)
def test_one_section_can_be_overridden(function: Any, known: Any, good: str, bad: str) -> None:
    changed = function(known, [good])
    section = known if isinstance(known, CorpusSettings) else known.generation if known else type(changed)()
    key = good.partition(".")[2].partition("=")[0]
    assert changed == section.model_copy(update={key: 9})
    for wrong in (bad, "training.max_steps=3"):
        with error_with("command line: ", "unknown setting"):
            function(known, [wrong])
    assert isinstance(override_generation(None, []), GenerationSettings)


def test_a_config_of_text_is_no_config_of_sprites_and_the_reverse() -> None:
    for load, config in ((load_settings, "captions"), (load_text_settings, "quick")):
        with pytest.raises(PokemonGenError, match=config):
            load(config)
