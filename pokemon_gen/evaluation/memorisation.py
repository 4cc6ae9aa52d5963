"""The memorisation check: whether completions are closer to training sprites than real sprites are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pokemon_gen.augmentation import flip_table, hue_shift_table
from pokemon_gen.evaluation.jackknife import mean_with_reference
from pokemon_gen.evaluation.pixels import nearest_rows
from pokemon_gen.palette import Palette

Tokens = NDArray[np.int64]
HUES = 12
"""Hue shifts of the training sprites that the check searches, as many as the config `strong` trains on."""


def memorisation_check(completions: Tokens, real: Tokens, train: Tokens, palette: Palette) -> dict[str, Any]:
    """Compare the distances to the nearest training sprite of completions and of real sprites.

    Memorised completions have much smaller distances. The check compares the distributions and not only the
    means, because the means can agree if a quarter of the completions is memorised and the rest is far from
    train. The two-sample Kolmogorov-Smirnov test assumes independent samples. Completions and true sprites of
    the same prompts are not quite independent, which makes p slightly too large.

    Args:
        completions: (N, 400) completed sprites.
        real: (M, 400) real sprites that are not in train.
        train: (K, 400) training sprites.
        palette: the colours of all of them.

    Returns:
        The mean distances `completions` and `real` with their 95 % intervals, all `distances`, and the test's
        `statistic` and `p_value`.
    """
    sprites = np.concatenate([completions, real])  # one pass over the augmented training sprites
    nearest = nearest_train_distance(sprites, train, palette)
    of_completions, of_real = np.split(nearest, [len(completions)])
    distances = {"completions": of_completions, "real": of_real}
    test = stats.ks_2samp(of_completions, of_real)
    return {
        **mean_with_reference(of_completions, of_real),
        "distances": {name: values.tolist() for name, values in distances.items()},
        "statistic": float(test.statistic),
        "p_value": float(test.pvalue),
    }


def nearest_train_distance(sprites: Tokens, train: Tokens, palette: Palette) -> NDArray[np.float64]:
    """Return the distance from each completion to the nearest completion of a training sprite.

    The search includes the training sprites with all the flips and hue shifts that the config `strong`
    augments with, because a blue training sprite upside down is memorised too. It is the same for all models,
    so that their values are comparable.

    Args:
        sprites: (N, 400) tokens.
        train: (M, 400) tokens.
        palette: the colours of both.

    Returns:
        (N,) shares of pixels that differ, the minimum over eight flips and `HUES` hue shifts.
    """
    return nearest_train_sprites(sprites, train, palette)[0]


def nearest_train_sprites(
    sprites: Tokens, train: Tokens, palette: Palette
) -> tuple[NDArray[np.float64], Tokens]:
    """Return the distances of `nearest_train_distance`, (N,), and the training sprites found, (N, 400).

    A training sprite is returned in the orientation and hue in which it is nearest.
    """
    small = np.int16  # a palette has at most 4096 colours; int16 reads a quarter of the memory
    sprites, hue_shifts = sprites.astype(small), hue_shift_table(palette, HUES).astype(small)
    distance, nearest = np.full(len(sprites), np.inf), np.zeros(sprites.shape, dtype=np.int64)
    for flip in flip_table("all"):
        flipped = train[:, flip]
        for colours in hue_shifts:
            augmented = colours[flipped]
            found, rows = nearest_rows(sprites, augmented)
            nearer = found < distance
            distance[nearer], nearest[nearer] = found[nearer], augmented[rows[nearer]]
    return distance, nearest
