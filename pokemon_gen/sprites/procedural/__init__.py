"""The embedded sprites: creatures drawn by a procedure, which anybody may share.

The steps are those of an artist: choose the kind of creature, sketch its parts, pose it on the frame,
choose colours, then shade and outline it (`bodies` → `sketch` → `schemes` → `shading`). The sprites are not
stored; each call computes them from the seed. `captions` describes them in words.
"""

import itertools

import numpy as np
import numpy.typing as npt

from pokemon_gen.sprites.procedural.bodies import create
from pokemon_gen.sprites.procedural.colours import PALETTE
from pokemon_gen.sprites.procedural.shading import render
from pokemon_gen.sprites.procedural.shapes import SIZE

__all__ = ["PALETTE", "draw_sprites"]


def draw_sprites(count: int = 792, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Draw `count` distinct sprites as rows of tokens, (count, 400) uint8.

    Sprite i depends only on `seed` and i, except when it is redrawn because it duplicates an earlier sprite,
    which is rare.
    """
    sprites = np.zeros((count, SIZE * SIZE), np.uint8)
    seen: set[bytes] = set()
    for index in range(count):
        for attempt in itertools.count():
            sprites[index] = render(*create(seed, index, attempt)).ravel()
            if sprites[index].tobytes() not in seen:
                break
        seen.add(sprites[index].tobytes())
    return sprites
