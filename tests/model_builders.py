"""Builders that need torch: small models, weights of checkpoints, callbacks, a stand-in for Inception."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel, TrainerCallback

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
    "stablelm": {"model_type": "stablelm", **LLAMA_LIKE, "qk_layernorm": True, "hidden_dropout": 0.3},
    "gpt_neox": {
        "model_type": "gpt_neox",
        "num_hidden_layers": 1,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_attention_heads": 2,
    },
}
V = 9
TIE = 1e-4
"""The difference of two logits below which either token may be taken."""


def weights_of(checkpoint: Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint by their names."""
    return load_file(checkpoint / "model.safetensors")


def assert_weights_equal(checkpoint: Path, expected: dict[str, Tensor]) -> None:
    """Check that a checkpoint has exactly these weights, to the last bit."""
    weights = weights_of(checkpoint)
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=0, msg=name)


class SendSignal(TrainerCallback):
    """Sends a signal to this process in the middle of a step, counted from 1, and counts the saves."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGINT) -> None:
        self.step, self.number, self.saves = step, number, 0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step - 1:
            os.kill(os.getpid(), self.number)

    def on_save(self, *args: Any, **kwargs: Any) -> None:
        self.saves += 1


class RecordInputs(TrainerCallback):
    """Keeps the tokens of every forward pass, (B, T), in training and in evaluation."""

    def __init__(self) -> None:
        self.inputs: list[Tensor] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any) -> None:
        def keep(module: Any, args: Any, options: Any) -> None:
            self.inputs.append(options["input_ids"].detach().cpu().clone())

        model.register_forward_pre_hook(keep, with_kwargs=True)


def sharp_model(model_type: str) -> PreTrainedModel:
    """Return a model whose predictions differ clearly, so that no two tokens tie."""
    model = build_model(MODEL_TYPES[model_type], V, seed=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(20)
    return model


def assert_same_but_for_ties(model: PreTrainedModel, tokens: Tensor, ours: Tensor, theirs: Tensor) -> None:
    """Check that the logits of the first two tokens that differ in a row are nearly equal."""
    for row in range(len(tokens)):
        different = (ours[row] != theirs[row]).nonzero()
        if len(different):
            first = int(different[0])
            with torch.no_grad():
                logits = model(torch.cat([tokens[row], ours[row, :first]])[None]).logits[0, -1]
            assert abs(logits[ours[row, first]] - logits[theirs[row, first]]) < TIE


class Projection(Inception):
    """Stands in for Inception's network: random projections of the pixels, which take no time."""

    def __init__(self) -> None:
        self.protocol, self.weights_sha256 = "pytorch-fid", "none"
        self.matrix = np.random.default_rng(0).normal(size=(1200, 64)) / 1200

    def features(self, pictures: np.ndarray, name: str = "", progress: bool = False) -> np.ndarray:
        return pictures.reshape(len(pictures), -1).astype(float) @ self.matrix

    def cached_features(self, pictures: np.ndarray, name: str, folder: Path) -> np.ndarray:
        return self.features(pictures)
