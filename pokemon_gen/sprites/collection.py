"""The common form of every source: three splits of sprites and the palette of their tokens.

A split is one NumPy array, (N, 400). The sprites are few and small, so every stage keeps a split in memory
and indexes it as one array.
"""

import hashlib
import io
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
from pokemon_gen.sprites.folds import copy_groups

SPLITS = ("train", "dev", "test")
FOLD = "fold"
"""The name of the split that `hold_out` takes from train."""
SHOWN = 64
"""The sprites that a notebook shows."""
SPLIT_SIZES = (632, 80, 80)
"""Number of sprites in train, dev and test (homework). Other totals are split in the same proportion."""


@dataclass(frozen=True)
class Sprites:
    """The sprites of one source.

    Attributes:
        splits: (N, 400) tokens of `train`, `dev` and `test`, and of `fold` if a part of train is held out. A
            blind test split has (N, 240).
        palette: the colours of the tokens.
        source: the kind and the place of the source, such as `text:my_sprites`.
        notes: messages for the user about sprites that were left out or changed while reading.
        fold_rows: the rows of train that `hold_out` moved to the fold.
    """

    splits: Mapping[str, NDArray[np.int64]]
    palette: Palette
    source: str
    notes: tuple[str, ...] = ()
    fold_rows: tuple[int, ...] = ()

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(rows)} {split}" for split, rows in self.splits.items())
        return f"Sprites({self.source!r}: {counts}, {len(self.palette)} colours)"

    def _repr_png_(self) -> bytes:
        """Show the first training sprites in a notebook's cell."""
        from pokemon_gen.report.sheets import draw_contact_sheet  # a light module must not load Pillow

        png = io.BytesIO()
        draw_contact_sheet(self.tokens("train")[:SHOWN], self.palette).save(png, format="PNG")
        return png.getvalue()

    def tokens(self, split: str) -> NDArray[np.int64]:
        """Return a copy of the sprites of one split: (N, 400), or (N, 240) for a blind test split."""
        return self.splits[split].copy()

    def prompts(self, split: str) -> NDArray[np.int64]:
        """Return the first 12 rows of each sprite of one split: (N, 240)."""
        return self.tokens(split)[:, :PROMPT_LENGTH]

    def background_share(self) -> float:
        """Return the share (0..1) of background pixels in the train and dev sprites."""
        sprites = np.concatenate([self.tokens("train"), self.tokens("dev")])
        return float((sprites == BACKGROUND).mean())

    @property
    def all_train(self) -> NDArray[np.int64]:
        """The sprites of train in the order of the source, with those of the fold; (N, 400)."""
        if not self.fold_rows:
            return self.tokens("train")
        sprites = np.concatenate([self.tokens("train"), self.tokens(FOLD)])
        in_fold = np.isin(np.arange(len(sprites)), self.fold_rows)
        return sprites[np.argsort(np.argsort(in_fold, kind="stable"))]

    @property
    def origin(self) -> dict[str, str]:
        """The source and its fingerprint, which identify these sprites in every file that depends on them."""
        return {"source": self.source, "fingerprint": self.fingerprint}

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the palette and of every split's tokens.

        The fingerprint identifies the source. A fold that is held out of train therefore does not change it.
        """
        digest = hashlib.sha256(self.palette.rgb.tobytes())
        for split in SPLITS:
            tokens = self.tokens(split) if split != "train" else self.all_train
            digest.update(f"{split} {tokens.shape} ".encode())
            digest.update(tokens.astype("<i8").tobytes())
        return digest.hexdigest()[:16]


def collect(
    rows: Mapping[str, Sequence[Any] | NDArray[Any]],
    palette: Palette,
    source: str,
    notes: Sequence[str] = (),
) -> Sprites:
    """Check the rows of the splits and build `Sprites` from them.

    Args:
        rows: rows of tokens for each of `train`, `dev` and `test`.
        palette: the colours of the tokens.
        source: the kind and the place of the source, for errors.
        notes: messages about the reading. A note is added for every two splits that share sprites.

    Raises:
        PokemonGenError: if a split is empty or missing, a row has a wrong length, or a token is outside the
            palette.
    """
    for split in SPLITS:
        if len(rows.get(split, ())) == 0:
            raise PokemonGenError(f"{source}: the {split} split is empty")
        allowed = (PROMPT_LENGTH, LENGTH) if split == "test" else (LENGTH,)
        _check_rows(rows[split], palette, allowed, f"{source}: {split}")
    splits = {split: np.array(rows[split], dtype=np.int64) for split in SPLITS}
    return Sprites(splits, palette, source, (*notes, *_overlap_notes(rows)))


def _overlap_notes(rows: Mapping[str, Sequence[Any] | NDArray[Any]]) -> Iterator[str]:
    """Yield a note for every two splits that share sprites, because a model must not be measured on train."""
    for first, second in itertools.combinations(SPLITS, 2):
        length = min(len(rows[first][0]), len(rows[second][0]))  # a blind test split has prompts only
        sprites_of_first, sprites_of_second = (
            {tuple(int(token) for token in row[:length]) for row in rows[split]} for split in (first, second)
        )
        count = len(sprites_of_first & sprites_of_second)
        if count:
            noun = "sprite" if length == LENGTH else "prompt"
            verb = "is" if count == 1 else "are"
            yield f"{count_noun(count, noun)} {verb} in both {first} and {second}"


def _check_rows(
    rows: Sequence[Any] | NDArray[Any], palette: Palette, lengths: tuple[int, ...], where: str
) -> None:
    """Check that all rows have one of the allowed lengths, the same one, and only tokens of the palette.

    Raises:
        PokemonGenError: naming the first row at fault.
    """
    for number, row in enumerate(rows, start=1):
        if len(row) not in lengths:
            expected = " or ".join(map(str, lengths))
            raise PokemonGenError(f"{where}, row {number}: {len(row)} tokens, not {expected}")
        if len(row) != len(rows[0]):
            raise PokemonGenError(
                f"{where}, row {number}: {len(row)} tokens, but row 1 has {len(rows[0])}. "
                "Give all rows of a split the same length."
            )
        lowest, highest = min(row), max(row)
        if lowest < 0 or highest >= len(palette):
            bad = lowest if lowest < 0 else highest
            raise PokemonGenError(
                f"{where}, row {number}: token {bad} has no colour, because the palette has {len(palette)} "
                f"(0..{len(palette) - 1}). Use the palette that belongs to these sprites."
            )


def hold_out(sprites: Sprites, count: int, seed: int | None = None) -> Sprites:
    """Move `count` sprites of train, and their copies, to a split of their own, `fold`.

    Args:
        sprites: of a source.
        count: the number of sprites in the fold; copies of its sprites come on top.
        seed: draws the fold from all of train but its last 80 sprites, which many choices of this project
            were made on. None takes the last `count` sprites.

    Raises:
        PokemonGenError: if no sprite would remain in train, or too few to draw from.
    """
    train = sprites.tokens("train")
    if count >= len(train):
        raise PokemonGenError(
            f"{sprites.source}: sprites.fold_size={count} leaves nothing to train on, because train has "
            f"{len(train)} sprites. Use a smaller sprites.fold_size."
        )
    chosen = np.arange(len(train) - count, len(train)) if seed is None else _drawn(sprites, count, seed)
    in_fold = np.isin(np.arange(len(train)), chosen)
    for group in copy_groups(train):
        in_fold[group] = in_fold[group].any()
    if in_fold.all():
        raise PokemonGenError(
            f"{sprites.source}: all sprites of train are copies of those in the fold, so nothing is left to "
            "train on. Check that the sprites differ from each other."
        )
    splits = {**sprites.splits, "train": train[~in_fold], FOLD: train[in_fold]}
    return replace(sprites, splits=splits, fold_rows=tuple(np.flatnonzero(in_fold).tolist()))


def _drawn(sprites: Sprites, count: int, seed: int) -> NDArray[np.int64]:
    """Draw the rows of a fold; see `hold_out`."""
    train = sprites.tokens("train")
    choice = len(train) - SPLIT_SIZES[1]
    if count > choice:
        raise PokemonGenError(
            f"{sprites.source}: sprites.fold_size={count} is too large. sprites.fold_seed draws a fold "
            f"from all but the last {SPLIT_SIZES[1]} sprites of train, which has {len(train)}. Use a smaller "
            "sprites.fold_size, or leave sprites.fold_seed out."
        )
    return np.random.default_rng(seed).permutation(choice)[:count]


def without_duplicates(rows: NDArray[Any]) -> NDArray[np.int64]:
    """Return the index of the first occurrence of each distinct row, in order: (N, ...) → (M,)."""
    _, first = np.unique(rows.reshape(len(rows), -1), axis=0, return_index=True)
    return np.sort(first)


def duplicates_note(count: int) -> list[str]:
    """Return a note about the duplicates that were left out, or no note if there were none."""
    return [f"left out {count_noun(count, 'duplicate')}"] if count else []


def count_noun(count: int, noun: str) -> str:
    """Return a count with its noun, such as `1 picture` or `3 pictures`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def split_rows(
    rows: NDArray[Any], seed: int, source: str, splits: Sequence[str] = SPLITS
) -> dict[str, NDArray[Any]]:
    """Shuffle rows with a seed and split them 632/80/80, or in that proportion.

    Args:
        rows: (N, ...), without duplicates.
        seed: the seed of the shuffling.
        source: the kind and the place of the source, for errors.
        splits: the splits to fill: `train` and at least one of `dev` and `test`.

    Raises:
        PokemonGenError: if there are fewer rows than splits, so that a split would be empty.
    """
    if len(rows) < len(splits):
        raise PokemonGenError(
            f"{source}: {len(rows)} different sprites cannot fill {', '.join(splits[:-1])} and {splits[-1]}. "
            f"Provide at least {len(splits)}."
        )
    sizes = dict(zip(SPLITS, SPLIT_SIZES, strict=True))
    held_out = max(1, round(len(rows) * sizes["dev"] / sum(sizes[split] for split in splits)))
    order = np.random.default_rng(seed).permutation(len(rows))
    ends = [len(rows) - held_out * number for number in range(len(splits) - 1, 0, -1)]
    return {split: rows[part] for split, part in zip(splits, np.split(order, ends), strict=True)}
