"""Sprites from a folder of the classic text files, one sprite a line.

Either `train.txt`, `dev.txt` and `test.txt`, or one `pixel_color.txt` to be split by a seed; with
`colormap.txt`, one `red green blue` a line.
"""

from pathlib import Path

import numpy as np

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.geometry import LENGTH, PROMPT_LENGTH
from pokemon_gen.palette import Palette
from pokemon_gen.rows import read_colormap, read_rows
from pokemon_gen.sprites.collection import SPLITS, Sprites, check_folder, collect, split_rows

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
    check_folder(folder, source)
    if palette is None:
        if not (folder / COLORMAP_NAME).is_file():
            raise PokemonGenError(f"{source}: has no {COLORMAP_NAME}; name one with sprites.palette=FILE")
        palette = Palette(np.array(read_colormap(folder / COLORMAP_NAME)))
    files = {split: folder / f"{split}.txt" for split in SPLITS}
    missing = [file.name for file in files.values() if not file.is_file()]
    if not missing:
        lengths = {"train": (LENGTH,), "dev": (LENGTH,), "test": (PROMPT_LENGTH, LENGTH)}
        rows = {split: read_rows(file, len(palette), lengths[split]) for split, file in files.items()}
        return collect(rows, palette, source)
    if (folder / WHOLE_NAME).is_file():
        whole = np.array(read_rows(folder / WHOLE_NAME, len(palette), (LENGTH,)), dtype=np.int64)
        return collect(split_rows(whole, seed, source), palette, source)
    raise PokemonGenError(f"{source}: has neither {WHOLE_NAME} nor {', '.join(missing)}")
