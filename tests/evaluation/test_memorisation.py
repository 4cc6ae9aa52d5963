"""`memorisation.py`: memorised completions are detected in any orientation and hue."""

import numpy as np

from pokemon_gen.augmentation import flip_table, hue_shift_table
from pokemon_gen.evaluation.memorisation import memorisation_check, nearest_train_distance
from pokemon_gen.evaluation.pixels import nearest_distances
from pokemon_gen.sprites.loading import Sprites


def test_a_flipped_training_sprite_in_another_hue_has_distance_zero(procedural: Sprites) -> None:
    train, palette = procedural.tokens("train")[:8], procedural.palette
    augmented = hue_shift_table(palette, 12)[5][train[:, flip_table("all")[6]]]
    assert (nearest_distances(augmented, train) > 0.1).all()
    assert (nearest_train_distance(augmented, train, palette) == 0).all()
    assert (nearest_train_distance(train[:4], train[4:], palette) > 0).all()


def test_memorised_completions_differ_from_real_sprites_and_new_ones_do_not(procedural: Sprites) -> None:
    sprites, real = procedural.tokens("train"), procedural.tokens("dev")[:40]
    memorised, new = sprites[:40], sprites[40:80]
    train = np.concatenate([memorised, sprites[80:]])
    check = memorisation_check(memorised, real, train, procedural.palette)
    assert check["completions"] == 0
    assert check["p_value"] < 1e-6
    check = memorisation_check(new, real, train, procedural.palette)
    assert check["completions"] > 0.1
    assert check["p_value"] > 0.01
    assert len(check["distances"]["completions"]) == len(check["distances"]["real"]) == 40
