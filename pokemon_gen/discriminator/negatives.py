"""Sprites that are none: what a detector must learn to refuse, in families that are reported apart.

A detector trained on noise alone calls everything else a Pokémon, so each family keeps more of a real
sprite than the one before: from random pixels to a real top on another sprite's real bottom. The hardest
family, completions by generators that never saw the sprites, is made where models are trained
(`generators.py`). Most families corrupt either the whole sprite or the completion's rows alone, since a
completion is what will be judged.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.constants import BACKGROUND, COMPLETION_LENGTH, LENGTH, PROMPT_LENGTH, SIDE

Tokens = NDArray[np.int64]
LEAST_CHANGE = 0.05
"""Share of the completion's pixels that must differ from the truth, for a sprite to count as corrupted."""
BLOCK = 4
"""Pixels along each side of the blocks that a block shuffle moves: 25 of them make a sprite."""


def noise(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Draw every pixel of the completion, or of the whole sprite, at random; (N, 400) → (N, 400)."""
    drawn = generator.integers(0, palette_size, sprites.shape)
    return _whole_or_completion(sprites, drawn, generator)


def noise_completion(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Draw every pixel of the completion at random; (N, 400) → (N, 400)."""
    drawn = generator.integers(0, palette_size, sprites.shape)
    return np.where(np.arange(LENGTH) < PROMPT_LENGTH, sprites, drawn)


def shuffle_pixels(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Shuffle the pixels of the completion, or of the whole sprite."""
    corrupted = sprites.copy()
    whole = generator.random(len(sprites)) < 0.5
    corrupted[whole] = generator.permuted(sprites[whole], axis=1)
    corrupted[~whole, PROMPT_LENGTH:] = generator.permuted(sprites[~whole, PROMPT_LENGTH:], axis=1)
    return corrupted


def shuffle_blocks(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Shuffle blocks of 4x4 pixels: textures stay, bodies fall apart."""
    across = SIDE // BLOCK
    blocks = sprites.reshape(-1, across, BLOCK, across, BLOCK).swapaxes(2, 3)  # (N, 5, 5, 4, 4)
    blocks = blocks.reshape(len(sprites), across * across, BLOCK * BLOCK)
    order = generator.permuted(np.tile(np.arange(across * across), (len(sprites), 1)), axis=1)
    blocks = np.take_along_axis(blocks, order[:, :, None], axis=1)
    blocks = blocks.reshape(-1, across, across, BLOCK, BLOCK).swapaxes(2, 3)
    return blocks.reshape(len(sprites), LENGTH)


def cut_to_white(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Let the sprite end at the prompt's last row, or up to three rows later: the rest is background."""
    corrupted = sprites.copy()
    rows = PROMPT_LENGTH // SIDE + generator.integers(0, 4, (len(sprites), 1))
    corrupted[np.arange(LENGTH) // SIDE >= rows] = BACKGROUND
    return corrupted


def splice(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Give each prompt another sprite's completion; needs two or more sprites."""
    corrupted = sprites.copy()
    if len(sprites) > 1:
        order = generator.permutation(len(sprites))  # each takes the completion of the next in the order
        corrupted[order, PROMPT_LENGTH:] = sprites[np.roll(order, 1), PROMPT_LENGTH:]
    return corrupted


def remap_colours(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Exchange the colours of the completion, or of the whole sprite, for random others; white stays."""
    maps = np.tile(np.arange(palette_size), (len(sprites), 1))
    maps[:, 1:] = generator.permuted(maps[:, 1:], axis=1)  # (N, V)
    return _whole_or_completion(sprites, np.take_along_axis(maps, sprites, axis=1), generator)


NEGATIVE_TYPES: dict[str, Callable[[Tokens, int, np.random.Generator], Tokens]] = {
    "noise": noise,
    "pixel shuffle": shuffle_pixels,
    "block shuffle": shuffle_blocks,
    "cut to white": cut_to_white,
    "splice": splice,
    "colour remap": remap_colours,
}
COMPLETIONS = "completions"
"""The family of completions by generators, made elsewhere."""
SHARES = {
    COMPLETIONS: 0.40,
    "splice": 0.26,
    "block shuffle": 0.08,
    "colour remap": 0.08,
    "noise": 0.06,
    "pixel shuffle": 0.06,
    "cut to white": 0.06,
}
"""Of the corrupted sprites that are learned from: the harder a family is to tell, the more of it."""


def corrupt(kind: str, sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Return corrupted sprites of one family, (M, 400), M <= N.

    Those that came out like the sprite they were made of (a cut below a body's end) are left out.
    """
    corrupted = NEGATIVE_TYPES[kind](sprites, palette_size, generator)
    return corrupted[differs(corrupted, sprites)]


def differs(sprites: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which completions differ from the truth in more than 5 % of their pixels; (N, 400) → (N,)."""
    changed = (sprites[:, PROMPT_LENGTH:] != truth[:, PROMPT_LENGTH:]).sum(1)
    return changed > LEAST_CHANGE * COMPLETION_LENGTH


def _whole_or_completion(sprites: Tokens, corrupted: Tokens, generator: np.random.Generator) -> Tokens:
    """Keep the prompts of a random half of the sprites."""
    keep = (generator.random((len(sprites), 1)) < 0.5) & (np.arange(LENGTH) < PROMPT_LENGTH)
    return np.where(keep, sprites, corrupted)
