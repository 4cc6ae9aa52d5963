"""`sprites/collection.py`: the common form of all sources, and the checks of its rows."""

from dataclasses import replace

import numpy as np
import pytest

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.palette import Palette
from pokemon_gen.sprites.collection import collect, hold_out, split_rows
from pokemon_gen.sprites.loading import Sprites, load_sprites


def test_sprites_have_the_homeworks_splits_and_lengths(few_sprites: Sprites) -> None:
    assert list(few_sprites.splits) == ["train", "dev", "test"]
    assert few_sprites.tokens("train").shape == (24, 400)
    assert few_sprites.prompts("dev").shape == (8, 240)
    assert few_sprites.tokens("test").shape == (6, 240)


def test_the_repr_names_the_source_and_counts_the_sprites(few_sprites: Sprites) -> None:
    assert repr(few_sprites) == "Sprites('few': 24 train, 8 dev, 6 test, 167 colours)"
    expected = "Sprites('few': 20 train, 8 dev, 6 test, 4 fold, 167 colours)"
    assert repr(hold_out(few_sprites, 4)) == expected


def test_the_fingerprint_depends_on_the_tokens(few_sprites: Sprites) -> None:
    def fingerprint(change: int) -> str:
        rows = {split: few_sprites.tokens(split).copy() for split in few_sprites.splits}
        rows["dev"][0, 0] += change
        return collect(rows, few_sprites.palette, "again").fingerprint

    assert fingerprint(0) == few_sprites.fingerprint
    assert fingerprint(1) != few_sprites.fingerprint


def test_the_fingerprint_depends_on_the_palette(few_sprites: Sprites) -> None:
    other = replace(few_sprites, palette=Palette(few_sprites.palette.rgb[::-1]))
    assert other.fingerprint != few_sprites.fingerprint


def test_a_fold_takes_the_last_training_sprites_and_keeps_the_fingerprint(few_sprites: Sprites) -> None:
    held_out = hold_out(few_sprites, 4)
    train = few_sprites.tokens("train")
    np.testing.assert_array_equal(held_out.tokens("train"), train[:20])
    np.testing.assert_array_equal(held_out.tokens("fold"), train[20:])
    assert held_out.fingerprint == few_sprites.fingerprint


def test_a_fold_must_leave_sprites_to_train_on(few_sprites: Sprites) -> None:
    with pytest.raises(PokemonGenError, match=r"few: sprites\.fold_size=24 .* 24 sprites"):
        hold_out(few_sprites, 24)


@pytest.mark.parametrize(
    ("split", "rows", "facts"),
    [
        ("dev", [], "few: .*dev.* empty"),
        ("train", [[0] * 399], r"few: train, row 1: 399 tokens\b.* 400"),
        ("test", [[0] * 239], r"few: test, row 1: 239 tokens\b.* 240 or 400"),
        ("test", [[0] * 240, [0] * 400], r"few: test, row 2: 400 tokens\b.* 240"),
        ("dev", [[0] * 400, [167] + [0] * 399], r"few: dev, row 2: token 167\b.* 167 \(0\.\.166\)"),
        ("dev", [[-1] * 400], r"few: dev, row 1: token -1\b"),
    ],
)
def test_an_invalid_row_is_named(few_sprites: Sprites, split: str, rows: list[list[int]], facts: str) -> None:
    splits = {name: few_sprites.tokens(name) for name in few_sprites.splits} | {split: rows}
    with pytest.raises(PokemonGenError, match=facts):
        collect(splits, few_sprites.palette, "few")


@pytest.mark.parametrize(("count", "sizes"), [(792, (632, 80, 80)), (99, (79, 10, 10)), (3, (1, 1, 1))])
def test_sprites_are_split_like_the_homework_or_in_proportion(count: int, sizes: tuple[int, ...]) -> None:
    rows = np.arange(count)[:, None]
    splits = split_rows(rows, 5, "mine")
    assert tuple(len(part) for part in splits.values()) == sizes
    assert sorted(np.concatenate(list(splits.values())).ravel()) == list(range(count))
    np.testing.assert_array_equal(split_rows(rows, 5, "mine")["train"], splits["train"])
    if count > 3:
        assert (split_rows(rows, 6, "mine")["train"] != splits["train"]).any()


def test_two_sprites_are_too_few_for_three_splits() -> None:
    with pytest.raises(PokemonGenError, match=r"mine: 2 .*train, dev and test.* 3"):
        split_rows(np.zeros((2, 400)), 0, "mine")


@pytest.mark.parametrize("source", ["proceduarl", "text", "text:", "procedural:x", "zip:here"])
def test_an_unknown_source_is_refused(source: str) -> None:
    with pytest.raises(PokemonGenError, match=f"{source}.*procedural.*hub:.*text:.*images:"):
        load_sprites(source)
