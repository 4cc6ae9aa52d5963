"""The embedded sprites: creatures drawn by a procedure, which anybody may share.

The steps are those of an artist: choose the kind of creature, sketch its parts, pose it on the frame,
choose colours, then shade and outline it (`bodies` → `sketch` → `schemes` → `shading`). The sprites are not
stored; each call computes them from the seed.
"""

import itertools

import numpy as np
import numpy.typing as npt

from pokemon_gen.sprites.procedural.bodies import draw_body
from pokemon_gen.sprites.procedural.colours import PALETTE
from pokemon_gen.sprites.procedural.dice import Dice
from pokemon_gen.sprites.procedural.schemes import choose_scheme
from pokemon_gen.sprites.procedural.shading import render
from pokemon_gen.sprites.procedural.shapes import SIZE
from pokemon_gen.sprites.procedural.sketch import pose

__all__ = ["PALETTE", "draw_sprites"]


def _draw(seed: int, index: int, attempt: int) -> npt.NDArray[np.uint8]:
    """Draw one sprite as a row of tokens, (400,). Each attempt gives a different sprite."""
    dice = Dice(np.random.default_rng([seed, index, attempt]))
    sketch = pose(draw_body(dice), dice)
    return render(sketch, choose_scheme(dice), dice).ravel()


def draw_sprites(count: int = 792, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Draw `count` distinct sprites as rows of tokens, (count, 400) uint8.

    Sprite i depends only on `seed` and i, except when it is redrawn because it duplicates an earlier sprite,
    which is rare.
    """
    sprites = np.zeros((count, SIZE * SIZE), np.uint8)
    seen: set[bytes] = set()
    for index in range(count):
        for attempt in itertools.count():
            sprites[index] = _draw(seed, index, attempt)
            if sprites[index].tobytes() not in seen:
                break
        seen.add(sprites[index].tobytes())
    return sprites
