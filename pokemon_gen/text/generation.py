"""Continuing a text: sampling from a model token by token.

As in nanoGPT, a model of block size T predicts from the last T tokens, so a text can be longer than a block.
Until then keys and values are cached, where the type has a cache. Sample N depends on the seed and on N
alone, not on how many samples are drawn.
"""

from collections.abc import Callable, Collection
from inspect import signature

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    DynamicCache,
    LogitsProcessor,
    PreTrainedTokenizerFast,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from pokemon_gen.completion.decoding import can_decode
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.text.loading import TextModel
from pokemon_gen.text.tokenizers import decode, encode
from pokemon_gen.text_settings import GenerationSettings

INCOMPLETE = "\ufffd"
"""What a tokenizer of bytes returns for a character whose last bytes are yet to come."""


def generate(
    text_model: TextModel,
    prompt: str,
    settings: GenerationSettings,
    samples: int = 1,
    separator: str = "\n",
    show: Callable[[str], object] | None = None,
    ends: Collection[int] = (),
) -> list[str]:
    """Continue a prompt.

    Args:
        text_model: the model.
        prompt: at least one character.
        settings: how tokens are chosen, and how many.
        samples: the number of continuations.
        separator: ends a sample if `settings.stop_at_separator`; it is not part of it.
        show: is called with each new part of the text, for one sample.
        ends: tokens that end a sample and are not part of it, such as the end of an answer.

    Returns:
        The continuations without the prompt, in the order of the samples.

    Raises:
        PokemonGenError: for an empty prompt, or a character that the tokenizer lacks.
    """
    tokens = encode(text_model.tokenizer, prompt, "prompt")
    if not len(tokens):
        raise PokemonGenError("prompt: it is empty. Give at least one character.")
    stop = separator if settings.stop_at_separator else None
    sampler = _Sampler(text_model, settings, samples)
    shown = show if samples == 1 else None
    writers = [_Writer(text_model.tokenizer, tokens.tolist(), stop, shown) for _ in range(samples)]
    all_tokens = torch.tensor(tokens, device=text_model.model.device).repeat(samples, 1)  # (S, T)
    for _ in range(settings.max_new_tokens):
        chosen = sampler(all_tokens)  # (S,)
        all_tokens = torch.cat([all_tokens, chosen[:, None]], dim=1)
        for writer, token in zip(writers, chosen.tolist(), strict=True):
            writer.ended = writer.ended or token in ends
            writer.add(token)
        if all(writer.ended for writer in writers):
            break
    return [writer.end() for writer in writers]


def continue_tokens(
    text_model: TextModel, prompt: NDArray[np.int64], settings: GenerationSettings, samples: int
) -> NDArray[np.int64]:
    """Continue the tokens of a prompt, (T,), by `settings.max_new_tokens` each: → (samples, new tokens).

    Sample N has the tokens that sample N of `generate` has, which can be others than those of its text.
    """
    sampler = _Sampler(text_model, settings, samples)
    tokens = torch.tensor(prompt, device=text_model.model.device).repeat(samples, 1)  # (S, T)
    for _ in range(settings.max_new_tokens):
        tokens = torch.cat([tokens, sampler(tokens)[:, None]], dim=1)
    new: NDArray[np.int64] = tokens[:, len(prompt) :].cpu().numpy()
    return new


class _Writer:
    """Turns the tokens of one sample into text as they come."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        prompt: list[int],
        stop: str | None,
        show: Callable[[str], object] | None,
    ) -> None:
        self.tokenizer, self.stop, self.show = tokenizer, stop, show
        # Decoded with the prompt: some tokenizers leave out a space before the first token.
        self.tokens = list(prompt)
        self.prompt_length = len(decode(tokenizer, prompt))
        self.shown = 0
        self.ended = False

    def add(self, token: int) -> None:
        """Take a token, unless the sample has ended."""
        if self.ended:
            return
        self.tokens.append(token)
        if not (self.stop or self.show):
            return
        text = self._text()
        self.ended = bool(self.stop and self.stop in text)
        if not self.ended and not text.endswith(INCOMPLETE):
            self._show_up_to(len(text) - self._beginning_of_stop(text), text)

    def end(self) -> str:
        """Return the text, and show what is left of it."""
        text = self._text()
        if self.stop and self.stop in text:
            text = text[: text.index(self.stop)]
        self._show_up_to(len(text), text)
        return text

    def _text(self) -> str:
        """Return the text of all tokens after the prompt."""
        return decode(self.tokenizer, self.tokens)[self.prompt_length :]

    def _beginning_of_stop(self, text: str) -> int:
        """Return how many characters at the end of a text may begin the separator, which is not shown."""
        lengths = range(len(self.stop or "") - 1, 0, -1)
        return next((length for length in lengths if text.endswith(str(self.stop)[:length])), 0)

    def _show_up_to(self, end: int, text: str) -> None:
        if self.show and end > self.shown:
            self.show(text[self.shown : end])
            self.shown = end


class _Sampler:
    """Chooses the next token of each sample."""

    def __init__(self, text_model: TextModel, settings: GenerationSettings, samples: int) -> None:
        self.model, self.context = text_model.model, text_model.context
        self.settings = settings
        self.generators = [np.random.default_rng([settings.seed, sample]) for sample in range(samples)]
        self.warpers: list[LogitsProcessor] = [TemperatureLogitsWarper(settings.temperature)]
        if settings.top_k:
            self.warpers.append(TopKLogitsWarper(settings.top_k))
        if settings.top_p < 1:
            self.warpers.append(TopPLogitsWarper(settings.top_p))
        parameters = signature(self.model.forward).parameters
        self.argument = "cache" if "cache" in parameters else "past_key_values"  # before transformers 5.24
        self.cache = DynamicCache(config=self.model.config) if can_decode(self.model) else None

    @torch.no_grad()
    def __call__(self, tokens: Tensor) -> Tensor:
        """Return the next token of each sample: (S, T) → (S,)."""
        scores = self._logits(tokens).float()  # (S, V)
        if not self.settings.do_sample:
            return scores.argmax(-1)
        for warper in self.warpers:
            scores = warper(None, scores)  # these warpers ignore the tokens
        noise = np.stack([generator.gumbel(size=scores.shape[1]) for generator in self.generators])
        return (scores + torch.from_numpy(noise).to(scores)).argmax(-1)

    def _logits(self, tokens: Tensor) -> Tensor:
        """Return the logits after the last token: (S, T) → (S, V)."""
        if self.cache is None or (self.context and tokens.shape[1] > self.context):
            window = tokens if self.context is None else tokens[:, -self.context :]
            return self.model(window).logits[:, -1]
        new = tokens[:, self.cache.get_seq_length() :]
        return self.model(new, **{self.argument: self.cache, "use_cache": True}).logits[:, -1]
