"""`text/loading.py`: models of text from runs and from folders, and what is no model of text."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from pokemon_gen.text import loading
from pokemon_gen.text.loading import load_text_model, tokenizer_of
from pokemon_gen.text.training import train_text
from pokemon_gen.training.run import train
from tests.builders import ROOT, MakeSettings, error_with
from tests.text.builders import (
    BLOCK,
    MODEL,
    ONE_STEP,
    RUN,
    SCRATCH_MODEL,
    fresh_text_model,
    text_settings,
    write_corpus,
)

TOKENS = torch.tensor([[0, 1, 2, 3, 4]])


@pytest.mark.parametrize("model", [MODEL, SCRATCH_MODEL], ids=lambda model: model["model_type"])
def test_a_run_is_loaded_by_its_name_its_folder_and_its_checkpoint(model: dict[str, Any]) -> None:
    write_corpus()
    train_text(text_settings(model=model, training=ONE_STEP))
    named, folder, checkpoint = (load_text_model(place) for place in ("tiny", RUN, RUN / "checkpoint-1"))
    assert named.model.config.model_type == model["model_type"]
    assert not named.model.training
    for other in (folder, checkpoint):
        assert torch.equal(named.model(TOKENS).logits, other.model(TOKENS).logits)
        assert (other.name, other.context) == ("tiny", BLOCK)
    assert tokenizer_of("tiny").get_vocab() == named.tokenizer.get_vocab()


@pytest.mark.slow  # it imports torch again
def test_a_model_in_the_equations_is_loaded_by_a_process_that_has_built_none() -> None:
    write_corpus()
    train_text(text_settings(model=SCRATCH_MODEL, training=ONE_STEP))
    code = "from pokemon_gen.text.loading import load_text_model; print(load_text_model('tiny').reason)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "lowest dev NLL" in done.stdout


def test_a_model_of_others_is_loaded_from_its_folder() -> None:
    built = fresh_text_model()
    built.model.save_pretrained("given")
    built.tokenizer.save_pretrained("given")
    loaded = load_text_model("given")
    assert torch.equal(loaded.model(TOKENS).logits, built.model(TOKENS).logits)
    assert (loaded.settings, loaded.name) == (None, "given")
    assert loaded.context == built.model.config.max_position_embeddings == BLOCK
    assert tokenizer_of("given").get_vocab() == built.tokenizer.get_vocab()


def test_a_tokenizer_of_more_tokens_than_the_model_is_refused() -> None:
    fresh_text_model().model.save_pretrained("given")
    fresh_text_model(tokenizer={"kind": "bpe", "size": 257}).tokenizer.save_pretrained("given")
    with error_with("given: ", "8 tokens", "257", "tokenizer.json"):
        load_text_model("given")


def test_a_run_on_sprites_is_no_model_of_text(tiny: MakeSettings, few_sprites: Any) -> None:
    train(tiny(training=ONE_STEP), few_sprites)
    for load in (load_text_model, tokenizer_of):
        with error_with("checkpoint-1", "sprites, not text"):
            load("tiny")


def test_a_place_without_a_model_is_one_message() -> None:
    Path("empty").mkdir()
    with error_with("empty"):
        load_text_model("empty")
    for load in (load_text_model, tokenizer_of):
        with error_with("openai/nothing", "hub"):
            load("openai/nothing")


def test_a_model_of_the_hub_is_loaded_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    built = fresh_text_model()
    built.tokenizer.save_pretrained("saved")
    asked: list[tuple[str, dict[str, Any]]] = []

    def download(name: str, **options: Any) -> Any:
        asked.append((name, options))
        return built.model

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", download)
    monkeypatch.setattr(loading, "load_tokenizer", lambda place: built.tokenizer)
    assert load_text_model("owner/model").model is built.model
    assert asked == [("owner/model", {"use_safetensors": True, "trust_remote_code": False})]
