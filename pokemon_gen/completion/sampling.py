"""Prompt → completion: exactly 400 tokens back, by the fast loop of `decoding.py`.

Sampling is the Gumbel-max trick: adding Gumbel noise to the logits and taking the largest is drawing
from the softmax (Gumbel 1954; Maddison et al. 2014, "A* Sampling"). The noise comes from a generator
of each sprite's own, seeded by the run's seed and the prompt's tokens, so a sprite's completion does
not depend on which others share its batch, or in which order.
"""

import hashlib
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
from tqdm import tqdm
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
from pokemon_gen.completion.decoding import can_decode, decode
from pokemon_gen.constants import LENGTH
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.ensemble import CompletionModel, Ensemble, palette_size
from pokemon_gen.settings import CompletionSettings

_ROWS = 320
"""Rows of a batch, at most: more are hardly faster, and each row keeps its keys and values."""


@dataclass(frozen=True)
class Candidates:
    """Several completions of each prompt.

    Attributes:
        sprites: (N, K, 400) tokens; each begins with its prompt, untouched.
        log_likelihood: (N, K) of the completion under the model's own distribution (whatever the
            temperature it was drawn at), nats/token.
    """

    sprites: NDArray[np.int64]
    log_likelihood: NDArray[np.float64]


def complete_prompts(
    model: CompletionModel,
    prompts: Sequence[Sequence[int]] | NDArray[Any],
    settings: CompletionSettings | None = None,
    progress: str = "",
) -> NDArray[np.int64]:
    """Complete prompts to whole sprites, one each.

    Args:
        model: a causal language model over the palette's tokens, or an ensemble of them.
        prompts: N rows of 1 to 399 tokens.
        settings: how tokens are chosen; none: greedy.
        progress: the title of a bar, which counts tokens; none: no bar.

    Returns:
        (N, 400) tokens; each row begins with its prompt, untouched.

    Raises:
        PokemonGenError: for a prompt of no or of 400 and more tokens, or tokens the model does not
            have.
    """
    one = (settings or CompletionSettings()).single_candidate()
    return draw_candidates(model, prompts, one, progress).sprites[:, 0]


def draw_candidates(
    model: CompletionModel,
    prompts: Sequence[Sequence[int]] | NDArray[Any],
    settings: CompletionSettings,
    progress: str = "",
) -> Candidates:
    """Complete each prompt `settings.candidates` times; see `complete_prompts`.

    Prompts of one length go through the model together, each read once for all its candidates, in equal
    parts of at most 320 rows, and in smaller ones where memory runs out.
    """
    rows_of_length: dict[int, list[int]] = defaultdict(list)
    for row, prompt in enumerate(prompts):
        _check_prompt(row, prompt, palette_size(model))
        rows_of_length[len(prompt)].append(row)
    model.eval()
    sprites = np.empty((len(prompts), settings.candidates, LENGTH), dtype=np.int64)
    log_likelihood = np.empty(sprites.shape[:2])
    total = sum(settings.candidates * (LENGTH - len(prompt)) for prompt in prompts)
    with tqdm(total=total, desc=progress, unit="token", disable=not progress) as bar:
        for rows in rows_of_length.values():
            batch = torch.tensor(np.stack([np.asarray(prompts[row]) for row in rows]))  # (B, length)
            drawn = _draw_in_memory(model, batch, settings, bar)
            sprites[rows], log_likelihood[rows] = drawn.sprites, drawn.log_likelihood
    return Candidates(sprites, log_likelihood)


def _check_prompt(row: int, prompt: Sequence[int] | NDArray[Any], palette_size: int) -> None:
    if not 1 <= len(prompt) < LENGTH:
        raise PokemonGenError(f"prompt {row + 1}: {len(prompt)} tokens; a prompt has 1 to {LENGTH - 1}")
    if min(prompt) < 0 or max(prompt) >= palette_size:
        raise PokemonGenError(f"prompt {row + 1}: its tokens are not all in 0..{palette_size - 1}")


def _draw_in_memory(
    model: CompletionModel, prompts: Tensor, settings: CompletionSettings, bar: Any
) -> Candidates:
    """Complete prompts of one length, (B, length), in equal parts, as large as may be and memory allows."""

    def in_batches(batch_size: int) -> Candidates:
        parts = [_draw(model, part, settings, bar) for part in prompts.split(batch_size)]
        return Candidates(
            np.concatenate([part.sprites for part in parts]),
            np.concatenate([part.log_likelihood for part in parts]),
        )

    parts = math.ceil(len(prompts) / (_ROWS // settings.candidates))
    batch_size = math.ceil(len(prompts) / parts)
    try:
        drawn: Candidates = find_executable_batch_size(in_batches, starting_batch_size=batch_size)()
    except RuntimeError as error:
        if "reached zero" not in str(error):  # that is all accelerate says
            raise
        fewer = "; fewer (completion.candidates) may fit" if settings.candidates > 1 else ""
        reason = f"memory does not hold one prompt's {settings.candidates} completions{fewer}"
        raise PokemonGenError(reason) from error
    return drawn


def _draw(model: CompletionModel, prompts: Tensor, settings: CompletionSettings, bar: Any) -> Candidates:
    """Complete a batch of prompts of one length, (B, length), K times each."""
    repeats, new_tokens = settings.candidates, LENGTH - prompts.shape[1]
    shift = TokenSampler(prompts, settings, (new_tokens, palette_size(model)), model.device)
    likelihoods: list[Tensor] = []

    def choose(scores: Tensor, number: int) -> Tensor:
        chosen = shift(scores, number).argmax(-1)  # (B * K,)
        likelihoods.append(scores.log_softmax(-1).gather(1, chosen[:, None])[:, 0])
        bar.update(len(chosen))
        return chosen

    prompts = prompts.to(model.device)
    given = prompts.repeat_interleave(repeats, dim=0)
    if can_decode(model):
        whole = torch.cat([given, decode(model, prompts, new_tokens, choose, repeats)], dim=1)
    elif isinstance(model, Ensemble):
        raise PokemonGenError("an ensemble's members must keep their past as keys and values; one does not")
    else:
        whole = _generate(model, given, choose)
    log_likelihood = torch.stack(likelihoods).mean(0)  # (B * K,)
    shape = (len(prompts), repeats)
    return Candidates(
        whole.view(*shape, LENGTH).cpu().numpy(), log_likelihood.view(shape).cpu().double().numpy()
    )


@torch.no_grad()
def _generate(model: PreTrainedModel, prompts: Tensor, choose: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Complete by `generate`, for models whose past is no keys and values: (B, length) → (B, 400)."""
    # Nothing can end a sprite early: there is no end token. `num_beams` and the like keep defaults.
    config = GenerationConfig(max_new_tokens=LENGTH - prompts.shape[1], do_sample=False)
    given = prepend_identity(model, prompts)
    generated: Any = model.generate(
        given,
        attention_mask=torch.ones_like(given),  # nothing is padding
        generation_config=config,
        logits_processor=LogitsProcessorList([ForcedToken(choose, given.shape[1], palette_size(model))]),
    )
    sprites: Tensor = generated[:, -LENGTH:]
    return sprites


class TokenSampler:
    """Shifts scores so that the largest is the token to take: greedy as they are, or a draw."""

    def __init__(
        self, prompts: Tensor, settings: CompletionSettings, shape: tuple[int, int], device: torch.device
    ) -> None:
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

    def __call__(self, scores: Tensor, number: int) -> Tensor:
        """Shift the scores, (B * K, V), of the completion's token of this number."""
        for warper in self.warpers:
            scores = warper(None, scores)  # these look at the scores alone
        return scores if self.noise is None else scores + self.noise[:, number]


class ForcedToken(LogitsProcessor):
    """Leaves `generate` no choice but the token chosen."""

    def __init__(self, choose: Callable[[Tensor, int], Tensor], given: int, palette_size: int) -> None:
        self.choose = choose
        self.given = given
        self.palette_size = palette_size

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        chosen = self.choose(scores[:, : self.palette_size], input_ids.shape[1] - self.given)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen[:, None], 0)


def _noise(prompt: NDArray[Any], seed: int, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return one sprite's Gumbel noise, (K, new tokens, V), from the seed and its prompt alone.

    The first candidates are the same however many follow.
    """
    digest = hashlib.sha256(prompt.astype("<i8").tobytes()).digest()
    generator = np.random.default_rng([seed, *np.frombuffer(digest, dtype="<u4").tolist()])
    return generator.gumbel(size=shape).astype(np.float32)
