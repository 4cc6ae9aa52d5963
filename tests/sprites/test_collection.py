"""`sprites/`: every source gives the same thing; what does not fit is refused."""

import numpy as np
import pytest

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.sprites.collection import collect, split_rows
from pokemon_gen.sprites.loading import Sprites, load_sprites


def test_the_dataset_has_the_homeworks_form(few_sprites: Sprites) -> None:
    assert list(few_sprites.splits) == ["train", "dev", "test"]
    assert few_sprites.tokens("train").shape == (24, 400)
    assert few_sprites.prompts("dev").shape == (8, 240)
    assert few_sprites.tokens("test").shape == (6, 240)


def test_the_fingerprint_follows_the_tokens_and_the_palette(few_sprites: Sprites) -> None:
    def fingerprint(change: int) -> str:
        rows = {split: few_sprites.tokens(split).copy() for split in few_sprites.splits}
        rows["dev"][0, 0] += change
        return collect(rows, few_sprites.palette, "again").fingerprint

    assert fingerprint(0) == few_sprites.fingerprint
    assert fingerprint(1) != few_sprites.fingerprint


@pytest.mark.parametrize(
    ("split", "rows", "message"),
    [
        ("dev", [], "few: the dev split is empty"),
        ("train", [[0] * 399], "few: train, row 1: 399 tokens, not 400"),
        ("test", [[0] * 239], "few: test, row 1: 239 tokens, not 240 or 400"),
        ("test", [[0] * 240, [0] * 400], "few: test, row 2: 400 tokens"),
        (
            "dev",
            [[0] * 400, [167] + [0] * 399],
            r"few: dev, row 2: token 167 has no colour: .* 167 \(0\.\.166\)",
        ),
        ("dev", [[-1] * 400], "few: dev, row 1: token -1 has no colour"),
    ],
)
def test_splits_at_fault_are_named(
    few_sprites: Sprites, split: str, rows: list[list[int]], message: str
) -> None:
    splits = {name: few_sprites.tokens(name) for name in few_sprites.splits} | {split: rows}
    with pytest.raises(PokemonGenError, match=message):
        collect(splits, few_sprites.palette, "few")


@pytest.mark.parametrize(("count", "sizes"), [(792, (632, 80, 80)), (99, (79, 10, 10)), (3, (1, 1, 1))])
def test_one_piece_is_split_as_the_homework_or_in_proportion(count: int, sizes: tuple[int, ...]) -> None:
    rows = np.arange(count)[:, None]
    splits = split_rows(rows, 5, "whole")
    assert tuple(len(part) for part in splits.values()) == sizes
    assert sorted(np.concatenate(list(splits.values())).ravel()) == list(range(count))
    np.testing.assert_array_equal(split_rows(rows, 5, "whole")["train"], splits["train"])
    if count > 3:
        assert (split_rows(rows, 6, "whole")["train"] != splits["train"]).any()


def test_two_sprites_cannot_be_split() -> None:
    with pytest.raises(PokemonGenError, match="2 different sprites cannot fill train, dev and test"):
        split_rows(np.zeros((2, 400)), 0, "whole")


@pytest.mark.parametrize("source", ["proceduarl", "text", "text:", "procedural:x", "zip:here"])
def test_what_is_no_source_is_refused(source: str) -> None:
    with pytest.raises(PokemonGenError, match="is no source of sprites"):
        load_sprites(source)
