"""Builders that tests of text share: a small file of text, settings of a run on it, and a model of it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pokemon_gen.models.build import build_text_model
from pokemon_gen.text.corpus import Corpus, open_corpus
from pokemon_gen.text.loading import TextModel
from pokemon_gen.text.training import TextData, load_text_data
from pokemon_gen.text_settings import CorpusSettings, TextSettings
from tests.builders import NO_DROPOUT, TINY_MODEL

BLOCK = 8
RUN = Path("checkpoints/tiny")
MODEL = {**TINY_MODEL, **NO_DROPOUT}
SCRATCH_MODEL = {
    "model_type": "scratch",
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "hidden_size": 16,
    "intermediate_size": 32,
}
UNLIMITED = {"model_type": "bloom", "n_layer": 1, "n_head": 2, "hidden_size": 16}
"""A type that has no positions, so that it reads a text of any length."""
ONE_STEP = {"max_steps": 1, "save_steps": 1, "eval_steps": 1}


def write_corpus(characters: int = 600, seed: int = 0, file: str = "corpus.txt") -> str:
    """Write a file of random words, and return its text."""
    text = "".join(np.random.default_rng(seed).choice(list("abcdeé \n"), characters))
    Path(file).write_text(text, encoding="utf-8", newline="")
    return text


def corpus_of(data: str | bytes, **settings: Any) -> Corpus:
    """Return the corpus of a file that holds this text or these bytes."""
    Path("some.txt").write_bytes(data.encode() if isinstance(data, str) else data)
    return open_corpus(CorpusSettings(source="file:some.txt", **settings))


def text_settings(**sections: Any) -> TextSettings:
    """Make settings of a run that trains on `corpus.txt` in a second; a keyword replaces a section."""
    training = {
        "max_steps": 4,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "eval_steps": 2,
        "save_steps": 2,
        "logging_steps": 1,
        "report_to": "none",
        "bf16": False,
    }
    values = {
        "name": "tiny",
        "model": MODEL,
        **sections,
        "corpus": {"source": "file:corpus.txt", "block_size": BLOCK, **sections.get("corpus", {})},
        "training": {**training, **sections.get("training", {})},
    }
    return TextSettings.model_validate(values)


def fresh_model(data: TextData, settings: TextSettings, sharpness: float = 1.0) -> TextModel:
    """Return a model with random weights; the larger the sharpness, the more its predictions differ."""
    model = build_text_model(settings.model, len(data.tokenizer), settings.corpus.block_size, settings.seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(sharpness if parameter.ndim == 2 else 1)
    return TextModel(model.eval(), data.tokenizer, settings, settings.name, "built by a test")


def fresh_text_model(sharpness: float = 30.0, **sections: Any) -> TextModel:
    """Return a model with random weights of a new `corpus.txt`."""
    write_corpus()
    settings = text_settings(**sections)
    return fresh_model(load_text_data(settings), settings, sharpness)
