"""Builders of models that tests share: small ones of each type, sharp ones, and a stand-in for Inception."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from pokemon_gen.evaluation.inception import Inception
from pokemon_gen.models.build import build_model
from tests.builders import TINY_MODEL

LLAMA_LIKE = {
    "num_hidden_layers": 1,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
MODEL_TYPES: dict[str, dict[str, Any]] = {
    "gpt2": TINY_MODEL,
    "llama": {"model_type": "llama", **LLAMA_LIKE},
    "mistral": {"model_type": "mistral", **LLAMA_LIKE, "sliding_window": 40},
    "qwen3": {"model_type": "qwen3", **LLAMA_LIKE, "head_dim": 8},
    "gpt_neox": {
        "model_type": "gpt_neox",
        "num_hidden_layers": 1,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_attention_heads": 2,
    },
}


V = 9


def sharp_model(model_type: str) -> PreTrainedModel:
    """Return a model whose predictions differ clearly, so that no two tokens tie."""
    model = build_model(MODEL_TYPES[model_type], V, seed=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(20)
    return model


class Projection(Inception):
    """Stands in for the network alone: random projections of the pixels, computed at once."""

    def __init__(self) -> None:
        self.protocol, self.weights_sha256 = "pytorch-fid", "none"
        self.matrix = np.random.default_rng(0).normal(size=(1200, 64)) / 1200

    def features(self, pictures: np.ndarray, name: str = "", progress: bool = False) -> np.ndarray:
        return pictures.reshape(len(pictures), -1).astype(float) @ self.matrix

    def cached_features(self, pictures: np.ndarray, name: str, folder: Path) -> np.ndarray:
        return self.features(pictures)
