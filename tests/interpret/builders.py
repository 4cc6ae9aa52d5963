"""Very small decoders of many types, with two layers, four heads and clear predictions, and a custom type."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

VOCABULARY, LAYERS, HEADS, WIDTH = 11, 2, 4, 16
SIZES = {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": WIDTH}
GROUPED = {**SIZES, "num_key_value_heads": 2, "intermediate_size": 24}
FIELDS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH},
    "llama": GROUPED,
    "mistral": {**GROUPED, "sliding_window": 5},
    "qwen3": {**GROUPED, "head_dim": 8},
    "stablelm": {**GROUPED, "qk_layernorm": True},
    "gpt_neox": {**SIZES, "intermediate_size": 24},
    "phi": GROUPED,
    "opt": {**SIZES, "ffn_dim": 24, "word_embed_proj_dim": WIDTH, "max_position_embeddings": 64},
}
UNUSUAL: dict[str, dict[str, Any]] = {
    "openai-gpt": FIELDS["gpt2"],
    "mamba": {"num_hidden_layers": LAYERS, "hidden_size": WIDTH, "state_size": 4},
    "rwkv": {"num_hidden_layers": LAYERS, "hidden_size": WIDTH, "attention_hidden_size": WIDTH},
}
"""Types whose layers return lists, and that have no attention."""
MODEL_TYPES = [*FIELDS, "custom"]


class CustomConfig(PretrainedConfig):
    model_type = "custom"

    def __init__(self, **fields: Any) -> None:
        self.num_hidden_layers, self.num_attention_heads, self.hidden_size = LAYERS, HEADS, WIDTH
        self.vocab_size = VOCABULARY
        super().__init__(**fields)


class CustomAttention(nn.Module):
    """Attention whose parts have unusual names, and which returns its output alone."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(WIDTH, 3 * WIDTH)
        self.merge = nn.Linear(WIDTH, WIDTH)

    def forward(self, stream: Tensor) -> Tensor:
        query, key, value = self.mix(stream).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        heads = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.merge(heads.transpose(1, 2).flatten(-2))


class CustomLayer(nn.Module):
    """A layer that takes its input by name and returns a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = CustomAttention()
        self.ffn = nn.Sequential(nn.Linear(WIDTH, 24), nn.GELU(), nn.Linear(24, WIDTH))

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, None]:
        hidden_states = hidden_states + self.attention(hidden_states)
        return hidden_states + self.ffn(hidden_states), None


class CustomForCausalLM(PreTrainedModel):
    """A model that uses nothing of `transformers` but its base class; it has no final norm.

    `unused` is a list as long as that of the layers, before them.
    """

    config_class = CustomConfig

    def __init__(self, config: CustomConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.unused = nn.ModuleList(nn.Linear(1, 1) for _ in range(LAYERS))
        self.blocks = nn.ModuleList(CustomLayer() for _ in range(LAYERS))
        self.lm_head = nn.Linear(WIDTH, VOCABULARY)
        self.post_init()

    def forward(self, input_ids: Tensor) -> CausalLMOutput:
        hidden = self.embed_tokens(input_ids)
        for block in self.blocks:
            hidden, _ = block(hidden_states=hidden)
        return CausalLMOutput(logits=self.lm_head(hidden))


def tiny_model(model_type: str, **fields: Any) -> PreTrainedModel:
    """Return a seeded model in eval mode, whose weights are large enough for clear predictions."""
    torch.manual_seed(0)
    if model_type == "custom":
        model = CustomForCausalLM(CustomConfig())
    else:
        no_special = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
        sizes = {"vocab_size": VOCABULARY, **(FIELDS | UNUSUAL)[model_type], **fields}
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **sizes, **no_special))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=0.4)
            else:  # biases and norms too, so that a part that is left out is noticed
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model.eval()


def random_tokens(rows: int = 3, length: int = 9) -> Tensor:
    """Return seeded tokens, (rows, length)."""
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits_of(model: PreTrainedModel, tokens: Tensor) -> Tensor:
    """Return the logits of one pass, (N, T, V)."""
    logits: Tensor = model(input_ids=tokens).logits
    return logits


@torch.no_grad()
def erase_head(projection: nn.Module, head: int) -> None:
    """Erase the weights of an output projection that read a head, for good."""
    weight = projection.get_parameter("weight")
    inputs = weight if type(projection).__name__ == "Conv1D" else weight.T  # (inputs, outputs)
    inputs.unflatten(0, (HEADS, -1))[head] = 0
