"""What every source gives: three splits of sprites, and the palette their tokens point into.

A split is one NumPy array, (N, 400): sprites are few and small, and every stage indexes them as a whole.
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.constants import BACKGROUND, LENGTH, PROMPT_LENGTH
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.palette import Palette

SPLITS = ("train", "dev", "test")
FOLD = "fold"
"""The split that `hold_out` takes from train."""
SPLIT_SIZES = (632, 80, 80)
"""Sprites in train, dev and test (homework); other counts are split in this proportion."""


@dataclass(frozen=True)
class Sprites:
    """Sprites of one source.

    Attributes:
        splits: (N, 400) tokens of `train`, `dev` and `test`, and of `fold` if a part of train is held out; a
            blind test has (N, 240).
        palette: the colours of the tokens.
        source: where they come from: kind and place.
        notes: what was left out or changed while reading, for people.
    """

    splits: Mapping[str, NDArray[np.int64]]
    palette: Palette
    source: str
    notes: tuple[str, ...] = ()

    def tokens(self, split: str) -> NDArray[np.int64]:
        """Return one split's sprites: (N, 400), or (N, 240) for a blind test."""
        return self.splits[split]

    def prompts(self, split: str) -> NDArray[np.int64]:
        """Return the first 12 rows of one split's sprites: (N, 240)."""
        return self.tokens(split)[:, :PROMPT_LENGTH]

    def background_share(self) -> float:
        """Return the share (0..1) of the train and dev sprites' pixels that are background."""
        whole = np.concatenate([self.tokens("train"), self.tokens("dev")])
        return float((whole == BACKGROUND).mean())

    @property
    def origin(self) -> dict[str, str]:
        """Source and fingerprint, as every file that depends on these sprites names them."""
        return {"source": self.source, "fingerprint": self.fingerprint}

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the palette and every split's tokens.

        It names the source: train is hashed whole, whatever is held out of it.
        """
        digest = hashlib.sha256(self.palette.rgb.tobytes())
        for split in SPLITS:
            tokens = self.tokens(split)
            if split == "train" and FOLD in self.splits:
                tokens = np.concatenate([tokens, self.tokens(FOLD)])
            digest.update(f"{split} {tokens.shape} ".encode())
            digest.update(tokens.astype("<i8").tobytes())
        return digest.hexdigest()[:16]


def collect(
    rows: Mapping[str, Sequence[Any] | NDArray[Any]],
    palette: Palette,
    source: str,
    notes: Sequence[str] = (),
) -> Sprites:
    """Check the splits' rows and make `Sprites` of them.

    Args:
        rows: for each of `train`, `dev` and `test`, rows of tokens.
        palette: what the tokens point into.
        source: named in errors.
        notes: what was left out or changed while reading. One is added if the same sprite is in two splits.

    Raises:
        PokemonGenError: for an empty or missing split, a row of another length, or a token that
            the palette does not have.
    """
    for split in SPLITS:
        if len(rows.get(split, ())) == 0:
            raise PokemonGenError(f"{source}: the {split} split is empty")
        allowed = (PROMPT_LENGTH, LENGTH) if split == "test" else (LENGTH,)
        _check_rows(rows[split], palette, allowed, f"{source}: {split}")
    splits = {split: np.array(rows[split], dtype=np.int64) for split in SPLITS}
    return Sprites(splits, palette, source, (*notes, *_shared(rows)))


def _shared(rows: Mapping[str, Sequence[Any] | NDArray[Any]]) -> Iterator[str]:
    """Yield a note for each two splits that share sprites: what was trained on measures nothing."""
    for one, other in itertools.combinations(SPLITS, 2):
        length = min(len(rows[one][0]), len(rows[other][0]))  # of a blind test, the tops alone
        first, second = (
            {tuple(int(token) for token in row[:length]) for row in rows[split]} for split in (one, other)
        )
        count = len(first & second)
        if count:
            what = "sprite" if length == LENGTH else "prompt"
            yield f"{count} {f'{what} is' if count == 1 else f'{what}s are'} both in {one} and in {other}"


def hold_out(sprites: Sprites, count: int) -> Sprites:
    """Move the last `count` sprites of train to a split of their own, `fold`.

    Raises:
        PokemonGenError: if that would leave nothing to train on.
    """
    train = sprites.tokens("train")
    left = len(train) - count
    if left < 1:
        raise PokemonGenError(
            f"{sprites.source}: sprites.fold_size={count} would leave nothing of the {len(train)} in train"
        )
    return replace(sprites, splits={**sprites.splits, "train": train[:left], FOLD: train[left:]})


def _check_rows(
    rows: Sequence[Any] | NDArray[Any], palette: Palette, lengths: tuple[int, ...], where: str
) -> None:
    expected = " or ".join(map(str, lengths))
    for number, row in enumerate(rows, start=1):
        if len(row) not in lengths or len(row) != len(rows[0]):
            like = f", and row 1 has {len(rows[0])}" if len(row) in lengths else ""
            raise PokemonGenError(f"{where}, row {number}: {len(row)} tokens, not {expected}{like}")
        lowest, highest = min(row), max(row)
        if lowest < 0 or highest >= len(palette):
            bad = lowest if lowest < 0 else highest
            raise PokemonGenError(
                f"{where}, row {number}: token {bad} has no colour: the palette has {len(palette)} "
                f"(0..{len(palette) - 1}). Is it the palette of these sprites?"
            )


def without_duplicates(rows: NDArray[Any]) -> NDArray[np.int64]:
    """Return which rows come for the first time, in their order: (N, ...) → (M,) indices."""
    _, first = np.unique(rows.reshape(len(rows), -1), axis=0, return_index=True)
    return np.sort(first)


def duplicates_note(count: int) -> list[str]:
    """Return a note of duplicates that were left out, if there are any."""
    return [f"left out {count} {'duplicate' if count == 1 else 'duplicates'}"] if count else []


def split_rows(
    rows: NDArray[Any], seed: int, source: str, splits: Sequence[str] = SPLITS
) -> dict[str, NDArray[Any]]:
    """Shuffle rows by a seed and split them 632/80/80, or in that proportion.

    Args:
        rows: (N, ...), without duplicates.
        seed: of the shuffling.
        source: named in errors.
        splits: `train` and what else is to be filled.

    Raises:
        PokemonGenError: for fewer than three rows, which leave a split empty.
    """
    if len(rows) < len(splits):
        raise PokemonGenError(
            f"{source}: {len(rows)} different sprites cannot fill {', '.join(splits[:-1])} and {splits[-1]}"
        )
    sizes = dict(zip(SPLITS, SPLIT_SIZES, strict=True))
    held_out = max(1, round(len(rows) * sizes["dev"] / sum(sizes[split] for split in splits)))
    order = np.random.default_rng(seed).permutation(len(rows))
    ends = [len(rows) - held_out * number for number in range(len(splits) - 1, 0, -1)]
    return {split: rows[part] for split, part in zip(splits, np.split(order, ends), strict=True)}
