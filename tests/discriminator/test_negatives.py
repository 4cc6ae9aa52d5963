"""`negatives.py`: each negative type corrupts what its name says and keeps the rest."""

import numpy as np
import pytest

from pokemon_gen.discriminator import negatives
from pokemon_gen.discriminator.negatives import NEGATIVE_TYPES, differs
from pokemon_gen.sprites.loading import Sprites


@pytest.fixture
def sprites(procedural: Sprites) -> np.ndarray:
    return procedural.tokens("train")[:60]


def corrupt(kind: str, sprites: np.ndarray, palette_size: int, generator: np.random.Generator) -> np.ndarray:
    """Return corrupted sprites, without those that stay equal."""
    corrupted = NEGATIVE_TYPES[kind](sprites, palette_size, generator)
    return corrupted[differs(corrupted, sprites)]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("negative_type", NEGATIVE_TYPES)
def test_corrupted_sprites_are_valid_and_differ_from_the_originals(
    negative_type: str, sprites: np.ndarray
) -> None:
    before = sprites.copy()
    corrupted = corrupt(negative_type, sprites, 167, rng())
    np.testing.assert_array_equal(sprites, before)
    assert len(corrupted) > 50
    assert corrupted.shape[1] == 400
    assert corrupted.min() >= 0
    assert corrupted.max() < 167
    originals = {sprite.tobytes() for sprite in sprites}
    assert not any(sprite.tobytes() in originals for sprite in corrupted)
    np.testing.assert_array_equal(corrupted, corrupt(negative_type, sprites, 167, rng()))


@pytest.mark.parametrize(
    "negative_type",
    ["cut to white", "splice", "one colour", "mirrored rows", "tiled rows", "copied rows"],
)
def test_types_that_change_the_completion_alone_keep_every_prompt(
    negative_type: str, sprites: np.ndarray
) -> None:
    corrupted = NEGATIVE_TYPES[negative_type](sprites, 167, rng())
    np.testing.assert_array_equal(corrupted[:, :240], sprites[:, :240])


@pytest.mark.parametrize("negative_type", ["noise", "pixel shuffle", "colour remap"])
def test_other_types_keep_about_half_of_the_prompts(negative_type: str, sprites: np.ndarray) -> None:
    kept = (NEGATIVE_TYPES[negative_type](sprites, 167, rng())[:, :240] == sprites[:, :240]).all(1)
    assert 0.2 < kept.mean() < 0.8


def test_shuffles_keep_the_pixels(sprites: np.ndarray) -> None:
    for negative_type in ("pixel shuffle", "block shuffle"):
        corrupted = NEGATIVE_TYPES[negative_type](sprites, 167, rng())
        np.testing.assert_array_equal(np.sort(corrupted, axis=1), np.sort(sprites, axis=1))


def test_a_splice_takes_the_completion_of_another_sprite(sprites: np.ndarray) -> None:
    corrupted = NEGATIVE_TYPES["splice"](sprites, 167, rng())
    completions = {sprite[240:].tobytes() for sprite in sprites}
    assert all(sprite[240:].tobytes() in completions for sprite in corrupted)
    np.testing.assert_array_equal(negatives.splice(sprites[:1], 167, rng()), sprites[:1])


def rows_of_completions(negative_type: str) -> list[list[int]]:
    """Return the row of the prompt that each row of a completion copies, for sprites of numbered rows."""
    numbered = np.tile(np.repeat(np.arange(20), 20), (200, 1))
    corrupted = NEGATIVE_TYPES[negative_type](numbered, 167, rng()).reshape(-1, 20, 20)
    assert (corrupted == corrupted[:, :, :1]).all()  # whole rows
    return corrupted[:, 12:, 0].tolist()


def test_mirrored_rows_are_those_of_the_prompt_from_below() -> None:
    assert rows_of_completions("mirrored rows")[0] == [11, 10, 9, 8, 7, 6, 5, 4]


def test_tiled_rows_repeat_the_last_rows_of_the_prompt() -> None:
    periods = set()
    for rows in rows_of_completions("tiled rows"):
        period = len(set(rows))
        assert rows == [12 - period + row % period for row in range(8)]
        periods.add(period)
    assert periods == set(range(1, 9))


def test_copied_rows_follow_each_other_in_either_direction() -> None:
    found = {tuple(rows) for rows in rows_of_completions("copied rows")}
    forwards = {tuple(range(first, first + 8)) for first in range(5)}
    assert found == forwards | {rows[::-1] for rows in forwards}


def test_one_colour_is_of_the_prompt_or_of_the_palette(sprites: np.ndarray) -> None:
    corrupted = NEGATIVE_TYPES["one colour"](sprites, 167, rng())
    assert (corrupted[:, 240:] == corrupted[:, 240:241]).all()
    of_prompt = [row[240] in row[:240] for row in corrupted]
    assert 0.4 < np.mean(of_prompt) < 0.9


def test_a_cut_leaves_background_and_unchanged_sprites_are_dropped(sprites: np.ndarray) -> None:
    corrupted = NEGATIVE_TYPES["cut to white"](sprites, 167, rng())
    assert (corrupted[:, 300:] == 0).all()
    empty = np.zeros((2, 400), dtype=np.int64)
    assert len(corrupt("cut to white", empty, 167, rng())) == 0


def test_a_colour_remap_is_one_to_one_and_keeps_the_background(sprites: np.ndarray) -> None:
    corrupted = NEGATIVE_TYPES["colour remap"](sprites, 167, rng())
    for sprite, other in zip(sprites, corrupted, strict=True):
        pairs = set(zip(sprite[240:].tolist(), other[240:].tolist(), strict=True))
        assert len({old for old, _ in pairs}) == len({new for _, new in pairs}) == len(pairs)
        assert all((old == 0) == (new == 0) for old, new in pairs)


def test_a_sprite_is_corrupted_if_more_than_five_percent_of_its_completion_differ() -> None:
    truth = np.zeros((2, 400), dtype=np.int64)
    sprites = truth.copy()
    sprites[0, 240:248] = 1  # 8 of 160 pixels: exactly 5 %
    sprites[1, 240:249] = 1
    sprites[:, :100] = 5  # prompts do not count
    assert differs(sprites, truth).tolist() == [False, True]
