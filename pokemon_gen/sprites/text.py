"""Sprites from a folder of text files in the homework's form, one sprite per line.

The folder has either `train.txt`, `dev.txt` and `test.txt` (or other usual names of the splits, such as
`val.txt`), or one `pixel_color.txt`, which is split with a seed. Its `colormap.txt` has one `red green
blue` per line.
"""

from pathlib import Path

import numpy as np

from pokemon_gen.constants import LENGTH, PROMPT_LENGTH
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.palette import Palette
from pokemon_gen.sprites.collection import (
    SPLITS,
    Sprites,
    collect,
    duplicates_note,
    split_rows,
    without_duplicates,
)
from pokemon_gen.sprites.palette_files import read_palette_file
from pokemon_gen.sprites.sources import find_splits
from pokemon_gen.text_rows import read_rows

COLORMAP_NAME = "colormap.txt"
UNSPLIT_NAME = "pixel_color.txt"
"""The file of all sprites, which has no splits."""
LENGTHS = {"train": (LENGTH,), "dev": (LENGTH,), "test": (PROMPT_LENGTH, LENGTH)}
"""The number of tokens that a line of each split may have."""


def load_text(folder: Path, palette: Palette | None, seed: int) -> Sprites:
    """Load the sprites of a folder of text files.

    Args:
        folder: the folder of the files.
        palette: the palette of the tokens; None means the folder's `colormap.txt`.
        seed: the seed that splits a `pixel_color.txt`.

    Raises:
        PokemonGenError: if a file is missing or invalid. The message lists faults with line and column.
    """
    source = f"text:{folder}"
    if palette is None:
        palette = _read_palette(folder, source)
    splits = find_splits([file.stem for file in folder.glob("*.txt")], source)
    missing = [f"{split}.txt" for split in SPLITS if split not in splits]
    has_unsplit = (folder / UNSPLIT_NAME).is_file()
    if not missing:
        return _load_splits(folder, splits, palette, source, has_unsplit)
    if not has_unsplit:
        raise PokemonGenError(
            f"{source}: has neither {UNSPLIT_NAME} nor {', '.join(missing)}. Add {UNSPLIT_NAME}, or a file "
            "for each split."
        )
    if splits:
        raise PokemonGenError(
            f"{source}: has {UNSPLIT_NAME} and {', '.join(f'{name}.txt' for name in splits.values())}, but "
            f"not {', '.join(missing)}. Keep either {UNSPLIT_NAME} or a file for each split."
        )
    return _load_unsplit(folder / UNSPLIT_NAME, palette, source, seed)


def _read_palette(folder: Path, source: str) -> Palette:
    """Read the folder's `colormap.txt`."""
    file = folder / COLORMAP_NAME
    if not file.is_file():
        raise PokemonGenError(f"{source}: has no {COLORMAP_NAME}. Pass a palette with sprites.palette=FILE.")
    return read_palette_file(file)


def _load_splits(
    folder: Path, splits: dict[str, str], palette: Palette, source: str, has_unsplit: bool
) -> Sprites:
    """Load one file per split."""
    files = {split: folder / f"{splits[split]}.txt" for split in SPLITS}
    rows = {split: read_rows(file, len(palette), LENGTHS[split]) for split, file in files.items()}
    names = ", ".join(file.name for file in files.values())
    notes = [f"left out {UNSPLIT_NAME}, because the folder has {names}"] if has_unsplit else []
    return collect(rows, palette, source, notes)


def _load_unsplit(file: Path, palette: Palette, source: str, seed: int) -> Sprites:
    """Load one file of all sprites, drop its duplicates and split it with a seed."""
    rows = np.array(read_rows(file, len(palette), (LENGTH,)), dtype=np.int64)
    kept = without_duplicates(rows)
    notes = duplicates_note(len(rows) - len(kept))
    return collect(split_rows(rows[kept], seed, source), palette, source, notes)
