"""Sprites from a folder of the classic text files, one sprite a line.

Either `train.txt`, `dev.txt` and `test.txt` (or by their other usual names, such as `val.txt`), or one
`pixel_color.txt` to be split by a seed; with `colormap.txt`, one `red green blue` a line.
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
from pokemon_gen.sprites.sources import find_splits
from pokemon_gen.text_rows import read_colormap, read_rows

COLORMAP_NAME = "colormap.txt"
WHOLE_NAME = "pixel_color.txt"


def load_text(folder: Path, palette: Palette | None, seed: int) -> Sprites:
    """Load the sprites of a folder of text files.

    Args:
        folder: holds the files.
        palette: none: the folder's `colormap.txt`.
        seed: splits a `pixel_color.txt`.

    Raises:
        PokemonGenError: for missing files, and for every fault in them with line and column.
    """
    source = f"text:{folder}"
    if palette is None:
        if not (folder / COLORMAP_NAME).is_file():
            raise PokemonGenError(f"{source}: has no {COLORMAP_NAME}; name one with sprites.palette=FILE")
        palette = Palette(np.array(read_colormap(folder / COLORMAP_NAME)))
    found = find_splits([file.stem for file in folder.glob("*.txt")], source)
    missing = [f"{split}.txt" for split in SPLITS if split not in found]
    if not missing:
        files = {split: folder / f"{found[split]}.txt" for split in SPLITS}
        lengths = {"train": (LENGTH,), "dev": (LENGTH,), "test": (PROMPT_LENGTH, LENGTH)}
        rows = {split: read_rows(file, len(palette), lengths[split]) for split, file in files.items()}
        notes = [f"left out {WHOLE_NAME}: the splits are there"] if (folder / WHOLE_NAME).is_file() else []
        return collect(rows, palette, source, notes)
    if (folder / WHOLE_NAME).is_file():
        if found:
            raise PokemonGenError(
                f"{source}: has {WHOLE_NAME} and {', '.join(f'{name}.txt' for name in found.values())}, but "
                f"no {', '.join(missing)}: keep the one or the others"
            )
        whole = np.array(read_rows(folder / WHOLE_NAME, len(palette), (LENGTH,)), dtype=np.int64)
        kept = without_duplicates(whole)
        notes = duplicates_note(len(whole) - len(kept))
        return collect(split_rows(whole[kept], seed, source), palette, source, notes)
    raise PokemonGenError(f"{source}: has neither {WHOLE_NAME} nor {', '.join(missing)}")
