"""`model_type: scratch`: a Transformer decoder written from its equations, small enough to read.

Every line of `forward` is one equation. For tokens x, T of them, with positions p:

    X  = E[x] + P[p]                                       embeddings of tokens and positions, (T, D)
    Q, K, V = X W_Q, X W_K, X W_V                          for each head, (T, d) with d = D / heads
    S  = softmax(Q Kᵀ / √d + M)                            M is −∞ above the diagonal: no later tokens
    A  = X + [S_1 V_1; ...; S_H V_H] W_O                   a residual connection around the attention
    A  = LayerNorm(A)                                      if `layer_norm`
    H  = A + relu(A W_1 + b_1) W_2 + b_2                   a residual connection around the MLP
    H  = LayerNorm(H)                                      if `layer_norm`; H is the X of the next layer
    logits = H W_U                                         (T, V)

One head gives single-head attention. The norms follow the residual connections, as in the first Transformer
(Vaswani et al. 2017, "Attention Is All You Need"); GPT-2 and later models have them before. There is no
dropout, no tied table and no cache: those are in the other types. It is a `PreTrainedModel`, so everything
that works with GPT-2 works with it, on text and on sprites.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutput

from pokemon_gen.constants import SCRATCH


class ScratchConfig(PreTrainedConfig):
    """The sizes of the Transformer from the equations."""

    model_type = "scratch"  # a literal, which `config_files/fields.py` reads without importing this module
    vocab_size: int = 167
    max_position_embeddings: int = 400
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    hidden_size: int = 128
    intermediate_size: int = 512
    layer_norm: bool = True
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False


class Attention(nn.Module):
    """Causal attention with one head or more: (B, T, D) → (B, T, D) and the weights S, (B, heads, T, T)."""

    def __init__(self, config: ScratchConfig) -> None:
        """Make the matrices W_Q, W_K, W_V and W_O, each (D, D); each head has its columns of the first three.

        Raises:
            ValueError: if the heads do not divide the width.
        """
        super().__init__()
        width, heads = config.hidden_size, config.num_attention_heads
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.heads, self.head_width = heads, width // heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend to the tokens up to each token."""
        q, k, v = self._split(self.query(x)), self._split(self.key(x)), self._split(self.value(x))
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        scores = q @ k.transpose(-1, -2) / self.head_width**0.5  # (B, heads, T, T)
        weights = scores.masked_fill(later, -torch.inf).softmax(-1)
        attended = (weights @ v).transpose(1, 2).flatten(2)  # (B, T, D)
        return self.output(attended), weights

    def _split(self, x: Tensor) -> Tensor:
        """Give each head its part of the width: (B, T, D) → (B, heads, T, d)."""
        return x.unflatten(2, (self.heads, self.head_width)).transpose(1, 2)


class Mlp(nn.Module):
    """relu(A W_1 + b_1) W_2 + b_2: (B, T, D) → (B, T, D)."""

    def __init__(self, config: ScratchConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.hidden_size, config.intermediate_size)
        self.outer = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, a: Tensor) -> Tensor:
        """Transform every token by itself."""
        transformed: Tensor = self.outer(self.inner(a).relu())
        return transformed


class Layer(nn.Module):
    """One layer: attention and MLP, each with its residual connection and, if `layer_norm`, its norm."""

    def __init__(self, config: ScratchConfig) -> None:
        super().__init__()
        self.attention, self.mlp = Attention(config), Mlp(config)
        norm = nn.LayerNorm if config.layer_norm else nn.Identity
        self.norm_a, self.norm_h = norm(config.hidden_size), norm(config.hidden_size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next X, (B, T, D), and the weights of the attention, (B, heads, T, T)."""
        attended, weights = self.attention(x)
        a = self.norm_a(x + attended)
        return self.norm_h(a + self.mlp(a)), weights


class ScratchForCausalLM(PreTrainedModel, GenerationMixin):
    """The Transformer from the equations, with logits of the next token."""

    config_class = ScratchConfig
    _no_split_modules = ("Layer",)

    def __init__(self, config: ScratchConfig) -> None:
        super().__init__(config)
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.unembedding = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Draw matrices from a normal distribution; biases are 0, and norms change nothing at first."""
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
        bias = getattr(module, "bias", None)
        if isinstance(bias, Tensor):
            nn.init.zeros_(bias)

    def get_input_embeddings(self) -> nn.Module:
        """Return the table E."""
        return self.tokens

    def set_input_embeddings(self, table: nn.Embedding) -> None:
        """Replace the table E."""
        self.tokens = table

    def get_output_embeddings(self) -> nn.Module:
        """Return the matrix W_U."""
        return self.unembedding

    def set_output_embeddings(self, matrix: nn.Linear) -> None:
        """Replace the matrix W_U."""
        self.unembedding = matrix

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        **kwargs: Any,
    ) -> CausalLMOutput:
        """Return logits, (B, T, V), and the loss if there are labels, which `loss_function` shifts.

        Args:
            input_ids: (B, T) tokens, without padding.
            labels: (B, T) tokens; −100 is not predicted.
            output_attentions: return the weights S of each layer, (B, heads, T, T).
            output_hidden_states: return X before the first layer and after each layer, (B, T, D).
            kwargs: arguments of the loss; others of `transformers`, such as a mask of padding, are ignored.
        """
        x = self.tokens(input_ids) + self.positions.weight[: input_ids.shape[1]]
        states, attentions = [x], []
        for layer in self.layers:
            x, weights = layer(x)
            states.append(x)
            attentions.append(weights)
        logits = self.unembedding(x)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutput(
            loss=loss,
            logits=logits,
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


def register_scratch() -> None:
    """Make `AutoModelForCausalLM` know the type; loading and building call this first."""
    AutoConfig.register(SCRATCH, ScratchConfig, exist_ok=True)
    AutoModelForCausalLM.register(ScratchConfig, ScratchForCausalLM, exist_ok=True)
