"""Completion of prompts to exactly 400 tokens, greedily or by sampling, with the loop of `decoding.py`.

Sampling uses the Gumbel-max trick: adding Gumbel noise to the logits and taking the largest draws from the
softmax (Gumbel 1954; Maddison et al. 2014, "A* Sampling"). Each sprite has its own noise generator, which is
seeded by `completion.seed` and the tokens of the prompt. So a completion does not depend on the other prompts
in its batch or on their order.
"""

import hashlib
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import find_executable_batch_size
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from pokemon_gen.augmentation import prepend_identity
from pokemon_gen.bars import progress_bar
from pokemon_gen.completion.decoding import can_decode, decode
from pokemon_gen.constants import LENGTH
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.ensemble import CompletionModel, Ensemble, palette_size
from pokemon_gen.settings import CompletionSettings

_log = logging.getLogger(__name__)
_ROWS = 320
"""Maximum rows of a batch: more are hardly faster, and each row needs memory for its keys and values."""


@dataclass(frozen=True)
class Candidates:
    """Several completions of each prompt.

    Attributes:
        sprites: (N, K, 400) tokens; each sprite begins with its unchanged prompt.
        log_likelihood: (N, K) log-likelihoods of the completions, nats/token, under the model's distribution
            at temperature 1, whatever temperature they were drawn at.
    """

    sprites: NDArray[np.int64]
    log_likelihood: NDArray[np.float64]


def complete_prompts(
    model: CompletionModel,
    prompts: Sequence[Sequence[int] | NDArray[Any]] | NDArray[Any],
    settings: CompletionSettings | None = None,
    progress: str = "",
) -> NDArray[np.int64]:
    """Complete each prompt once, to 400 tokens.

    Args:
        model: a causal language model over the palette's tokens, or an ensemble.
        prompts: N rows of 1 to 399 tokens.
        settings: the sampling settings; None completes greedily.
        progress: the title of a progress bar, which counts tokens; empty for no bar.

    Returns:
        (N, 400) tokens; each row begins with its unchanged prompt.

    Raises:
        PokemonGenError: for a prompt without tokens or with more than 399, or with tokens that the model does
            not have.
    """
    single = (settings or CompletionSettings()).single_candidate()
    return draw_candidates(model, prompts, single, progress).sprites[:, 0]


def draw_candidates(
    model: CompletionModel,
    prompts: Sequence[Sequence[int] | NDArray[Any]] | NDArray[Any],
    settings: CompletionSettings,
    progress: str = "",
) -> Candidates:
    """Complete each prompt `settings.candidates` times; see `complete_prompts` for the arguments.

    Prompts of equal length form batches of at most 320 rows, or fewer if memory runs out. The model reads
    each prompt once for all its candidates.
    """
    rows_of_length: dict[int, list[int]] = defaultdict(list)
    for row, prompt in enumerate(prompts):
        _check_prompt(row, prompt, palette_size(model))
        rows_of_length[len(prompt)].append(row)
    model.eval()
    sprites = np.empty((len(prompts), settings.candidates, LENGTH), dtype=np.int64)
    log_likelihood = np.empty(sprites.shape[:2])
    total = sum(settings.candidates * (LENGTH - len(prompt)) for prompt in prompts)
    with progress_bar(total, progress, "token", shown=bool(progress)) as bar:
        for rows in rows_of_length.values():
            batch = torch.tensor(np.stack([np.asarray(prompts[row]) for row in rows]))  # (B, length)
            drawn = _draw_in_memory(model, batch, settings, bar)
            sprites[rows], log_likelihood[rows] = drawn.sprites, drawn.log_likelihood
    return Candidates(sprites, log_likelihood)


def _check_prompt(row: int, prompt: Sequence[int] | NDArray[Any], palette_size: int) -> None:
    if not 1 <= len(prompt) < LENGTH:
        raise PokemonGenError(f"prompt {row + 1}: {len(prompt)} tokens; a prompt has 1 to {LENGTH - 1}")
    for token in prompt:
        if not 0 <= token < palette_size:
            raise PokemonGenError(
                f"prompt {row + 1}: token {token} has no colour: the model's tokens are 0..{palette_size - 1}"
            )


def _draw_in_memory(
    model: CompletionModel, prompts: Tensor, settings: CompletionSettings, bar: Any
) -> Candidates:
    """Complete prompts of one length, (B, length), in equal batches as large as memory allows."""

    def in_batches(batch_size: int) -> Candidates:
        if batch_size < largest:
            _log.info("completing %d prompts at a time instead of %d, to fit in memory", batch_size, largest)
        batches = [_draw(model, batch, settings, bar) for batch in prompts.split(batch_size)]
        return Candidates(
            np.concatenate([batch.sprites for batch in batches]),
            np.concatenate([batch.log_likelihood for batch in batches]),
        )

    batches = math.ceil(len(prompts) / (_ROWS // settings.candidates))
    largest = math.ceil(len(prompts) / batches)
    try:
        drawn: Candidates = find_executable_batch_size(in_batches, starting_batch_size=largest)()
    except RuntimeError as error:
        if "reached zero" not in str(error):  # accelerate's message when a batch of one does not fit
            raise
        advice = "Lower completion.candidates." if settings.candidates > 1 else "Use a smaller model."
        raise PokemonGenError(
            f"completion.candidates={settings.candidates}: the completions of one prompt do not fit in "
            f"memory. {advice}"
        ) from error
    return drawn


def _draw(model: CompletionModel, prompts: Tensor, settings: CompletionSettings, bar: Any) -> Candidates:
    """Complete a batch of prompts of one length, (B, length), K times each."""
    repeats, new_tokens = settings.candidates, LENGTH - prompts.shape[1]
    sampler = TokenSampler(prompts, settings, (new_tokens, palette_size(model)), model.device)
    prompts = prompts.to(model.device)
    repeated = prompts.repeat_interleave(repeats, dim=0)  # (B * K, length)
    likelihoods = torch.zeros(len(repeated), new_tokens, device=model.device)

    def choose(scores: Tensor, number: Tensor) -> Tensor:
        chosen = sampler(scores, number).argmax(-1)  # (B * K,)
        likelihoods.index_copy_(1, number, scores.log_softmax(-1).gather(1, chosen[:, None]))
        return chosen

    def advance() -> None:
        bar.update(len(repeated))

    if can_decode(model):
        _log.debug("completing with a key-value cache of fixed size, on %s", model.device)
        sprites = torch.cat([repeated, decode(model, prompts, new_tokens, choose, repeats, advance)], dim=1)
    elif isinstance(model, Ensemble):
        raise PokemonGenError(
            "ensemble: a member does not cache keys and values, so the members cannot decode together. Use "
            "members with a key-value cache, such as gpt2 or llama."
        )
    else:
        _log.info("%s: completing by `generate`, since it has no key-value cache", model.config.model_type)

        def choose_and_advance(scores: Tensor, number: Tensor) -> Tensor:
            advance()
            return choose(scores, number)

        sprites = _generate(model, repeated, choose_and_advance)
    log_likelihood = likelihoods.mean(1)  # (B * K,)
    shape = (len(prompts), repeats)
    return Candidates(
        sprites.view(*shape, LENGTH).cpu().numpy(), log_likelihood.view(shape).cpu().double().numpy()
    )


@torch.no_grad()
def _generate(model: PreTrainedModel, prompts: Tensor, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Complete by `generate`, for models without a key-value cache: (B, length) → (B, 400)."""
    # There is no end token, so a sprite cannot end early. Options such as `num_beams` keep their defaults.
    config = GenerationConfig(max_new_tokens=LENGTH - prompts.shape[1], do_sample=False)
    inputs = prepend_identity(model, prompts)
    generated: Any = model.generate(
        inputs,
        attention_mask=torch.ones_like(inputs),  # there is no padding
        generation_config=config,
        logits_processor=LogitsProcessorList([ForcedToken(choose, inputs.shape[1], palette_size(model))]),
    )
    sprites: Tensor = generated[:, -LENGTH:]
    return sprites


class TokenSampler:
    """Changes scores so that the largest one is the token to take: the likeliest token, or a draw."""

    def __init__(
        self, prompts: Tensor, settings: CompletionSettings, shape: tuple[int, int], device: torch.device
    ) -> None:
        """Draw the noise.

        Args:
            prompts: (B, length) tokens, which seed the noise.
            settings: the sampling settings. Greedy settings leave the scores unchanged.
            shape: the number of new tokens and V, the number of colours.
            device: the device of the scores.
        """
        self.warpers: list[LogitsProcessor] = []
        self.noise: Tensor | None = None  # (B * K, new tokens, V)
        if not settings.do_sample:
            return
        self.warpers.append(TemperatureLogitsWarper(settings.temperature))
        if settings.top_k:
            self.warpers.append(TopKLogitsWarper(settings.top_k))
        if settings.top_p < 1:
            self.warpers.append(TopPLogitsWarper(settings.top_p))
        noise = np.concatenate(
            [_noise(prompt, settings.seed, (settings.candidates, *shape)) for prompt in prompts.numpy()]
        )
        self.noise = torch.from_numpy(noise).to(device)

    def __call__(self, scores: Tensor, number: Tensor) -> Tensor:
        """Return the changed scores of one new token.

        Args:
            scores: (B * K, V) logits.
            number: (1,), the number of the new token, from 0.
        """
        for warper in self.warpers:
            scores = warper(None, scores)  # these warpers ignore the tokens
        return scores if self.noise is None else scores + self.noise.index_select(1, number)[:, 0]


class ForcedToken(LogitsProcessor):
    """Forces `generate` to take the tokens that a function chooses."""

    def __init__(
        self, choose: Callable[[Tensor, Tensor], Tensor], input_length: int, palette_size: int
    ) -> None:
        """Store the arguments.

        Args:
            choose: chooses the next token of each row from (B, V) logits and the number of the new token.
            input_length: the number of tokens that `generate` starts from.
            palette_size: V, the number of colours.
        """
        self.choose = choose
        self.input_length = input_length
        self.palette_size = palette_size

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores that are 0 for the chosen token and minus infinity for all others.

        Args:
            input_ids: (B, T) tokens so far, conditioning tokens included.
            scores: (B, V + conditioning tokens) logits of the next token.
        """
        number = torch.tensor([input_ids.shape[1] - self.input_length], device=scores.device)
        chosen = self.choose(scores[:, : self.palette_size], number)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen[:, None], 0)


def _noise(prompt: NDArray[Any], seed: int, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return the Gumbel noise of one sprite, (K, new tokens, V), from the seed and the prompt alone.

    The noise of the first candidates does not depend on the number of candidates.
    """
    digest = hashlib.sha256(prompt.astype("<i8").tobytes()).digest()
    generator = np.random.default_rng([seed, *np.frombuffer(digest, dtype="<u4").tolist()])
    return generator.gumbel(size=shape).astype(np.float32)
