"""Small models with everything that the engine has, and `engine.js` running them in a page."""

import base64
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from pokemon_gen.augmentation import ConditioningTokens, prepend_identity, strip_conditioning
from pokemon_gen.models.build import build_model
from pokemon_gen.page.export import PageModel
from tests.model_builders import V

_LLAMA_LIKE = {
    "num_hidden_layers": 2,
    "hidden_size": 20,
    "intermediate_size": 36,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
ODD_MODELS: dict[str, dict[str, Any]] = {
    "gpt2": {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 20, "n_inner": 36},
    "llama": {"model_type": "llama", **_LLAMA_LIKE, "head_dim": 6, "attention_bias": True, "mlp_bias": True},
    "mistral": {
        "model_type": "mistral",
        **_LLAMA_LIKE,
        "head_dim": 6,
        "sliding_window": 43,
        "tie_word_embeddings": True,
    },
    "qwen3": {
        "model_type": "qwen3",
        **_LLAMA_LIKE,
        "head_dim": 6,
        "use_sliding_window": True,
        "sliding_window": 30,
        "max_window_layers": 1,
    },
    "stablelm": {
        "model_type": "stablelm",
        **_LLAMA_LIKE,
        "hidden_size": 24,
        "qk_layernorm": True,
        "use_qkv_bias": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.7},
    },
}
"""One model of each family: odd sizes, biases, windows, partial rotation."""
CONDITIONING = ConditioningTokens(6, (V, V + 2))
SCRIPTS = {
    name: files("pokemon_gen.page").joinpath(name).read_text("utf-8") for name in ("engine.js", "worker.js")
}
GREEDY = {"count": 1, "temperature": 0, "topK": 0, "topP": 1, "seed": 0, "members": 1}
_LOAD = """([members, simd]) => {
    const bytes = (text) => Uint8Array.fromBase64(text).buffer;
    const decoded = members.map(([spec, weights]) => ({ spec, weights: bytes(weights) }));
    globalThis.engine = new Engine(decoded, simd);
    return engine.simd;
}"""
_LOGITS = """(tokens) => {
    const decoder = engine.decoders[0];
    return allLogits(decoder, new Cache(decoder, 1), tokens).map((row) => [...row]);
}"""
_COMPLETE = """(request) => {
    const drawn = [...engine.complete(request)].filter(Boolean);
    return drawn.map(({ tokens, logProbs }) => [[...tokens], [...logProbs]]);
}"""
_INSPECT = """([tokens, members]) => {
    const { nll, probabilities, rows } = engine.inspect(tokens, members);
    return [[...nll], [...probabilities], rows];
}"""
_ATTEND = """([tokens, position]) => {
    const { layers, heads, weights } = engine.attend(tokens, position);
    return [layers, heads, [...weights]];
}"""


def odd_model(family: str, seed: int = 1) -> PreTrainedModel:
    """Return a model of `ODD_MODELS` whose every weight is random, and whose predictions differ clearly."""
    model = build_model(ODD_MODELS[family], V, seed=seed, conditioning=CONDITIONING).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise * 0.4 if parameter.ndim == 2 else parameter + 0.3 * noise)
    return model


@torch.no_grad()
def torch_logits(model: PreTrainedModel, tokens: NDArray[Any]) -> Tensor:
    """Return the logits of the next colour after each of T tokens, (T, V)."""
    inputs = prepend_identity(model, torch.as_tensor(tokens)[None])
    return strip_conditioning(model(input_ids=inputs).logits, len(tokens), V)[0]


class PageEngine:
    """`engine.js` in a page, with models loaded."""

    def __init__(self, page: Any, models: list[PageModel], simd: bool = True) -> None:
        """Load models into an empty page."""
        self.page = page
        page.add_script_tag(content=SCRIPTS["engine.js"])
        self.simd: bool = page.evaluate(_LOAD, [as_arguments(models), simd])

    def logits(self, tokens: NDArray[Any]) -> NDArray[np.float64]:
        """Return the first model's logits after each of T tokens, (T, V)."""
        return np.array(self.page.evaluate(_LOGITS, tokens.tolist()))

    def complete(self, prompt: NDArray[Any], **changed: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return completed sprites (count, 400) and the drawn colours' log-probabilities (count, new)."""
        drawn = self.page.evaluate(_COMPLETE, {**GREEDY, "prompt": prompt.tolist(), **changed})
        tokens = np.array([row for row, _ in drawn]).T
        prompts = np.tile(prompt, (len(tokens), 1))
        return np.concatenate([prompts, tokens], axis=1), np.array([row for _, row in drawn]).T

    def inspect(
        self, tokens: NDArray[Any], members: int = 1
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the NLL (T,) and the probabilities (rows, V) of the pixels."""
        nll, probabilities, rows = self.page.evaluate(_INSPECT, [tokens.tolist(), members])
        return np.array(nll), np.array(probabilities).reshape(rows, V)

    def attend(self, tokens: NDArray[Any], position: int) -> NDArray[np.float64]:
        """Return the attention that predicts one pixel, (layers, heads, position)."""
        layers, heads, weights = self.page.evaluate(_ATTEND, [tokens.tolist(), position])
        return np.array(weights).reshape(layers, heads, position)


def as_arguments(models: list[PageModel]) -> list[Any]:
    """Return models as a page takes them: the description, and the weights as base64."""
    return [[model.spec, base64.b64encode(model.weights).decode()] for model in models]
