"""How different the samples of one prompt are, and how much a sample repeats itself; for texts and sprites.

A model that always writes the same can look good sample by sample, so quality alone chooses too low a
temperature. Self-BLEU is the usual measure for texts: how much of a sample occurs in the others. A sprite has
two counterparts. The mean pairwise distance compares two completions at a time, as the scorecard does. The
patch overlap asks, as self-BLEU does, whether each part of a completion occurs in *any* other one: if the
completions are two groups of copies, their pairwise distance is still half that of different ones, but their
overlap is 1.

All measures depend on the number of samples of a prompt: with more of them, more of each occurs in the
others. So compare values of equal numbers only.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.constants import PROMPT_LENGTH, SIDE
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.pixels import mean_pairwise_distance, new_colour_counts

PATCH = 3
"""Rows and columns of a patch: the smallest that holds a pixel with all its neighbours."""
DISTINCT_WORDS = 2
"""Length of the word sequences of `distinct`, as in distinct-2 of Li et al. 2016."""
REPEATED_WORDS = 4
"""Length of the word sequences of `repetition`, as in seq-rep-4 of Welleck et al. 2020."""
EXTRA = "pip install 'pokemon-gen[text]'"
"""Installs the packages that measure texts."""


def require_package(module: str, package: str, what: str) -> Any:
    """Import a module of the extra `text`.

    Args:
        module: its name.
        package: the package that holds it.
        what: it computes.

    Raises:
        PokemonGenError: if it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise PokemonGenError(
            f"{package}: it computes {what}, and it is not installed. Install it with `{EXTRA}`."
        ) from error


def words(text: str) -> list[str]:
    """Return the words of a text; each punctuation mark is a word of its own."""
    return re.findall(r"\w+|[^\w\s]", text)


def self_bleu(texts: Sequence[str]) -> float:
    """Return the mean BLEU-4 of each text against all others (Zhu et al. 2018, "Texygen").

    BLEU is sacreBLEU's, of `words`, with its exponential smoothing, which gives a little to sequences of
    words that never match. Texts of fewer than four words are compared by shorter sequences.

    Args:
        texts: two or more.

    Returns:
        0 to 1. Lower means more diverse; 1 means that each text occurs in the others. A text without words
        has a BLEU of 0.

    Raises:
        PokemonGenError: for fewer than two texts, or without sacreBLEU.
    """
    _require_two(len(texts))
    bleu = require_package("sacrebleu.metrics", "sacrebleu", "self-BLEU").BLEU(
        effective_order=True, tokenize="none"
    )
    spaced = [" ".join(words(text)) for text in texts]
    scores = [
        bleu.sentence_score(text, spaced[:row] + spaced[row + 1 :]).score for row, text in enumerate(spaced)
    ]
    return float(np.mean(scores)) / 100


def distinct(texts: Sequence[str], length: int = DISTINCT_WORDS) -> float:
    """Return the share of different ones among all sequences of `length` words (Li et al. 2016, distinct-n).

    Returns:
        Above 0 up to 1, where no sequence occurs twice; 0 if no text has `length` words.
    """
    counts = Counter(sequence for text in texts for sequence in _sequences(text, length))
    return len(counts) / max(counts.total(), 1)


def repetition(text: str, length: int = REPEATED_WORDS) -> float:
    """Return the share of a text's sequences of `length` words that occurred in it before.

    This is seq-rep-n of Welleck et al. 2020, "Neural Text Generation with Unlikelihood Training".

    Returns:
        From 0, where no sequence occurs twice, to below 1; 0 if the text has fewer than `length` words.
    """
    counts = Counter(_sequences(text, length))
    return 1 - len(counts) / counts.total() if counts else 0.0


def patch_overlap(sprites: NDArray[Any]) -> float:
    """Return the share of 3x3 patches that are in another completion too, at the same place.

    Args:
        sprites: (K, 400) tokens, two or more completions of one prompt.

    Returns:
        0 to 1. Lower means more diverse; 1 means that each patch occurs in another completion. Patches of the
        background count too, so only values of the same prompts can be compared.

    Raises:
        PokemonGenError: for fewer than two completions.
    """
    _require_two(len(sprites))
    pixels = _completion_rows(sprites)  # (K, 8, 20)
    patches = np.lib.stride_tricks.sliding_window_view(pixels, (PATCH, PATCH), axis=(1, 2))
    flat = patches.reshape(len(sprites), -1, PATCH * PATCH)  # (K, places, 9)
    equal = (flat[:, None] == flat[None]).all(-1)  # (K, K, places)
    equal[np.arange(len(flat)), np.arange(len(flat))] = False
    return float(equal.any(1).mean())


def repeated_pixels(sprites: NDArray[Any]) -> NDArray[np.float64]:
    """Return the share of each completion's pixels that equal the pixel above; (N, 400) → (N,).

    A model that repeats itself draws stripes down to the last row, or nothing at all. Real sprites repeat
    many pixels too, so compare with their value.
    """
    rows = np.asarray(sprites).reshape(len(sprites), -1, SIDE)
    below = PROMPT_LENGTH // SIDE
    equal: NDArray[np.float64] = (rows[:, below:] == rows[:, below - 1 : -1]).mean((1, 2))
    return equal


def text_measures(samples: Sequence[Sequence[str]]) -> dict[str, list[float]]:
    """Return the diversity and the repetition of the samples of each prompt, by the name of the measure.

    Args:
        samples: two or more texts for each of P prompts.

    Raises:
        PokemonGenError: as `self_bleu`.
    """
    return {
        "self_bleu": [self_bleu(texts) for texts in samples],
        "distinct": [distinct(texts) for texts in samples],
        "repetition": [float(np.mean([repetition(text) for text in texts])) for texts in samples],
    }


def sprite_measures(sprites: NDArray[np.int64]) -> dict[str, list[float]]:
    """Return the diversity, repetition and new colours of the completions of each prompt.

    Args:
        sprites: (P, K, 400) tokens, two or more completions of each of P prompts.

    Raises:
        PokemonGenError: for fewer than two completions.
    """
    return {
        "distance": [mean_pairwise_distance(completions) for completions in sprites],
        "patch_overlap": [patch_overlap(completions) for completions in sprites],
        "repeated_pixels": [float(repeated_pixels(completions).mean()) for completions in sprites],
        "new_colours": [float(new_colour_counts(completions).mean()) for completions in sprites],
    }


def _sequences(text: str, length: int) -> Iterator[tuple[str, ...]]:
    """Yield every sequence of `length` words of a text."""
    found = words(text)
    return zip(*(found[start:] for start in range(length)), strict=False)


def _completion_rows(sprites: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(sprites)[:, PROMPT_LENGTH:].reshape(len(sprites), -1, SIDE)


def _require_two(samples: int) -> None:
    if samples < 2:
        raise PokemonGenError(f"diversity: it compares two or more samples of a prompt, not {samples}.")
