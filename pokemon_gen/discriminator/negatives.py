"""Corrupted sprites that a detector must learn to reject, in types whose metrics are reported separately.

A detector that is trained on noise alone takes everything else for a Pokémon. So the negative types keep more
and more of a real sprite: from random pixels to the top of one real sprite on the bottom of another. Cheap
tricks, such as the prompt mirrored below itself, keep colours and outlines, and pass a classifier that has
never seen them. The hardest type consists of completions by generators that never saw the sprites;
`generators.py` makes them. Most types keep the prompt, because only completions are classified.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.constants import BACKGROUND, COMPLETION_LENGTH, LENGTH, PROMPT_LENGTH, SIDE

Tokens = NDArray[np.int64]
LEAST_CHANGE = 0.05
"""Share of the completion's pixels above which a sprite counts as corrupted if they differ from the truth."""
PROMPT_ROWS, COMPLETION_ROWS = PROMPT_LENGTH // SIDE, COMPLETION_LENGTH // SIDE
"""Rows of a prompt (12) and of a completion (8)."""
BLOCK = 4
"""Side in pixels of the blocks that a block shuffle moves; a sprite has 25 of them."""


def noise(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Draw every pixel of the completion or of the entire sprite at random; (N, 400) → (N, 400)."""
    drawn = generator.integers(0, palette_size, sprites.shape)
    return _keep_half_of_prompts(sprites, drawn, generator)


def noise_completion(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Draw every pixel of the completion at random; (N, 400) → (N, 400)."""
    drawn = generator.integers(0, palette_size, sprites.shape)
    return np.where(np.arange(LENGTH) < PROMPT_LENGTH, sprites, drawn)


def shuffle_pixels(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Shuffle the pixels of the completion or of the entire sprite."""
    corrupted = sprites.copy()
    entire = generator.random(len(sprites)) < 0.5
    corrupted[entire] = generator.permuted(sprites[entire], axis=1)
    corrupted[~entire, PROMPT_LENGTH:] = generator.permuted(sprites[~entire, PROMPT_LENGTH:], axis=1)
    return corrupted


def shuffle_blocks(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Shuffle blocks of 4x4 pixels, which keeps textures but not shapes."""
    across = SIDE // BLOCK
    blocks = sprites.reshape(-1, across, BLOCK, across, BLOCK).swapaxes(2, 3)  # (N, 5, 5, 4, 4)
    blocks = blocks.reshape(len(sprites), across * across, BLOCK * BLOCK)
    order = generator.permuted(np.tile(np.arange(across * across), (len(sprites), 1)), axis=1)
    blocks = np.take_along_axis(blocks, order[:, :, None], axis=1)
    blocks = blocks.reshape(-1, across, across, BLOCK, BLOCK).swapaxes(2, 3)
    return blocks.reshape(len(sprites), LENGTH)


def cut_to_white(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Replace all rows below the prompt, or below up to three more rows, by background."""
    corrupted = sprites.copy()
    rows = PROMPT_ROWS + generator.integers(0, 4, (len(sprites), 1))
    corrupted[np.arange(LENGTH) // SIDE >= rows] = BACKGROUND
    return corrupted


def splice(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Give each prompt the completion of another sprite; a single sprite stays unchanged."""
    corrupted = sprites.copy()
    if len(sprites) > 1:
        order = generator.permutation(len(sprites))  # each sprite gets the completion of the one before it
        corrupted[order, PROMPT_LENGTH:] = sprites[np.roll(order, 1), PROMPT_LENGTH:]
    return corrupted


def one_colour(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Fill the completion with one colour, of the prompt for half of the sprites, else of the palette."""
    columns = generator.integers(0, PROMPT_LENGTH, len(sprites))
    of_prompt = sprites[np.arange(len(sprites)), columns]
    of_palette = generator.integers(0, palette_size, len(sprites))
    corrupted = sprites.copy()
    chosen = np.where(generator.random(len(sprites)) < 0.5, of_prompt, of_palette)
    corrupted[:, PROMPT_LENGTH:] = chosen[:, None]
    return corrupted


def mirror_rows(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Mirror the last eight rows of the prompt below it."""
    rows = np.tile(np.arange(PROMPT_ROWS)[::-1][:COMPLETION_ROWS], (len(sprites), 1))
    return _with_rows(sprites, rows)


def tile_rows(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Repeat the last one to eight rows of the prompt until the sprite is full."""
    period = generator.integers(1, COMPLETION_ROWS + 1, (len(sprites), 1))
    return _with_rows(sprites, PROMPT_ROWS - period + np.arange(COMPLETION_ROWS) % period)


def copy_rows(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Copy eight successive rows of the prompt below it, sometimes in reverse order."""
    first = generator.integers(0, PROMPT_ROWS - COMPLETION_ROWS + 1, (len(sprites), 1))
    rows = first + np.arange(COMPLETION_ROWS)
    reverse = generator.random((len(sprites), 1)) < 0.5
    return _with_rows(sprites, np.where(reverse, rows[:, ::-1], rows))


def remap_colours(sprites: Tokens, palette_size: int, generator: np.random.Generator) -> Tokens:
    """Permute the colours of the completion or of the entire sprite at random, except the background."""
    maps = np.tile(np.arange(palette_size), (len(sprites), 1))
    maps[:, 1:] = generator.permuted(maps[:, 1:], axis=1)  # (N, V)
    return _keep_half_of_prompts(sprites, np.take_along_axis(maps, sprites, axis=1), generator)


NEGATIVE_TYPES: dict[str, Callable[[Tokens, int, np.random.Generator], Tokens]] = {
    "noise": noise,
    "pixel shuffle": shuffle_pixels,
    "block shuffle": shuffle_blocks,
    "cut to white": cut_to_white,
    "one colour": one_colour,
    "mirrored rows": mirror_rows,
    "tiled rows": tile_rows,
    "copied rows": copy_rows,
    "splice": splice,
    "colour remap": remap_colours,
}
COMPLETIONS = "completions"
"""The negative type of completions by generators, which `generators.py` makes."""
SHARES = {
    COMPLETIONS: 0.39,
    "splice": 0.17,
    "mirrored rows": 0.14,
    "copied rows": 0.06,
    "tiled rows": 0.05,
    "block shuffle": 0.04,
    "colour remap": 0.04,
    "cut to white": 0.04,
    "noise": 0.03,
    "pixel shuffle": 0.02,
    "one colour": 0.02,
}
"""Shares of the negative types among the corrupted training sprites; harder types have larger shares."""


def differs(sprites: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.bool_]:
    """Return whether each completion differs from the truth in more than 5 % of its pixels.

    A corrupted sprite may equal its original, such as after a cut below the last row of a body.

    Args:
        sprites: (N, 400) tokens.
        truth: (N, 400) tokens of the true sprites.

    Returns:
        (N,) booleans.
    """
    different = (sprites[:, PROMPT_LENGTH:] != truth[:, PROMPT_LENGTH:]).sum(1)
    return different > LEAST_CHANGE * COMPLETION_LENGTH


def _with_rows(sprites: Tokens, rows: Tokens) -> Tokens:
    """Complete each sprite by eight rows of its prompt; `rows` is (N, 8)."""
    pictures = sprites.reshape(-1, SIDE, SIDE)
    copied = pictures[np.arange(len(sprites))[:, None], rows].reshape(len(sprites), COMPLETION_LENGTH)
    return np.concatenate([sprites[:, :PROMPT_LENGTH], copied], axis=1)


def _keep_half_of_prompts(sprites: Tokens, corrupted: Tokens, generator: np.random.Generator) -> Tokens:
    """Restore the prompts of a random half of the corrupted sprites."""
    keep = (generator.random((len(sprites), 1)) < 0.5) & (np.arange(LENGTH) < PROMPT_LENGTH)
    return np.where(keep, sprites, corrupted)
