"""`folds.py`: copies of a sprite are found, and stay together."""

import numpy as np
import pytest

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.sprites.collection import hold_out
from pokemon_gen.sprites.folds import copies_of, copy_groups, random_folds
from pokemon_gen.sprites.loading import Sprites, load_sprites
from tests.builders import error_with


@pytest.fixture
def with_copies(few_sprites: Sprites) -> Sprites:
    """Return 20 sprites; 20 and 21 are copies of the first one, mirrored and recoloured, 22 of the second."""
    train = few_sprites.tokens("train")[:20]
    mirrored = train[0].reshape(20, 20)[:, ::-1].reshape(400)
    recoloured = (train[0] + 1) % 167
    both = (train[1].reshape(20, 20)[:, ::-1].reshape(400) + 5) % 167
    copies = np.stack([mirrored, recoloured, both])
    splits = {**few_sprites.splits, "train": np.concatenate([train, copies])}
    return Sprites(splits, few_sprites.palette, "few")


def test_equal_mirrored_and_recoloured_sprites_are_copies(with_copies: Sprites) -> None:
    groups = [group.tolist() for group in copy_groups(with_copies.tokens("train"))]
    assert groups[:3] == [[0, 20, 21], [1, 22], [2]]
    assert len(groups) == 20


def test_copies_of_other_sprites_are_found(with_copies: Sprites) -> None:
    train = with_copies.tokens("train")
    assert copies_of(train[[5, 22, 20, 20]], train[:5]).tolist() == [1, 2, 3]
    assert copies_of(train[[20, 21]], train[1:5]).tolist() == []  # of each other only


@pytest.mark.parametrize("source", ["procedural"])
def test_the_shipped_sprites_have_no_copies(source: str) -> None:
    sprites = load_sprites(source).tokens("train")
    assert len(copy_groups(sprites)) == len(sprites)


@pytest.mark.parametrize("seed", range(5))
def test_folds_have_their_shares_and_copies_stay_together(with_copies: Sprites, seed: int) -> None:
    train = with_copies.tokens("train")
    folds = random_folds(train, [0.5, 0.25, 0.25], seed)
    assert sorted(np.concatenate(folds).tolist()) == list(range(23))
    for fold, share in zip(folds, (0.5, 0.25, 0.25), strict=True):
        assert len(fold) == pytest.approx(share * 23, abs=3)
        assert len({0, 20, 21} & set(fold.tolist())) in (0, 3)
        assert len({1, 22} & set(fold.tolist())) in (0, 2)
    other = random_folds(train, [0.5, 0.25, 0.25], seed + 100)
    assert any(set(a.tolist()) != set(b.tolist()) for a, b in zip(folds, other, strict=True))


def test_a_fold_takes_the_copies_of_its_sprites(with_copies: Sprites) -> None:
    """The last three sprites of train are copies of the first two."""
    held_out = hold_out(with_copies, 3)
    train = with_copies.tokens("train")
    np.testing.assert_array_equal(held_out.tokens("train"), train[2:20])
    np.testing.assert_array_equal(held_out.tokens("fold"), train[[0, 1, 20, 21, 22]])
    assert held_out.fingerprint == with_copies.fingerprint


def test_a_drawn_fold_leaves_out_the_last_sprites_and_keeps_the_fingerprint(procedural: Sprites) -> None:
    first, second = (hold_out(procedural, 80, seed) for seed in (1, 2))
    for held_out in (first, second):
        assert held_out.tokens("train").shape == (552, 400)
        np.testing.assert_array_equal(held_out.tokens("train")[-80:], procedural.tokens("train")[-80:])
        np.testing.assert_array_equal(held_out.all_train, procedural.tokens("train"))
        assert held_out.fingerprint == procedural.fingerprint
    assert not np.array_equal(first.tokens("fold"), second.tokens("fold"))
    with error_with("fold_size=553", "632", "fold_seed"):
        hold_out(procedural, 553, 0)
    with error_with("fold_seed", "fold_size"):
        load_settings("quick", ["sprites.fold_seed=1"])
