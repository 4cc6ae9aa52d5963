"""Loading the sprites or the palette of any source.

The source's name selects the loader: `procedural`, `hub:`, `text:` or `images:`. All loaders return
`Sprites`.
"""

import logging
from pathlib import Path

import numpy as np

from pokemon_gen.constants import PALETTE_NAME
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.palette import Palette
from pokemon_gen.settings import SpriteSettings
from pokemon_gen.sprites.collection import SPLIT_SIZES, SPLITS, Sprites, collect, hold_out
from pokemon_gen.sprites.images import load_images
from pokemon_gen.sprites.palette_files import read_palette_file
from pokemon_gen.sprites.procedural import PALETTE, draw_sprites
from pokemon_gen.sprites.sources import PALETTE_FILES, check_palette, parse_source
from pokemon_gen.sprites.text import load_text

_log = logging.getLogger(__name__)

__all__ = ["Sprites", "load_palette", "load_sprites", "load_sprites_of"]


def load_sprites_of(settings: SpriteSettings) -> Sprites:
    """Load the sprites that a `sprites:` section describes; see `load_sprites`."""
    return load_sprites(**settings.model_dump())


def load_sprites(
    source: str = "procedural",
    *,
    palette: str | None = None,
    seed: int = 0,
    colours: int = 167,
    skip_bad_images: bool = False,
    fold_size: int = 0,
    fold_seed: int | None = None,
) -> Sprites:
    """Load the sprites of a source.

    Args:
        source: `procedural`, `hub:ID_OR_FOLDER`, `text:FOLDER` or `images:FOLDER`; a folder alone is also
            accepted, and its files decide its kind.
        palette: the palette, as `load_palette` takes it. None means the source's own palette, or one that is
            learned from its images.
        seed: the seed that draws the procedural sprites, and splits a source that has no splits.
        colours: the size of a palette that is learned from images.
        skip_bad_images: whether files that are not images are left out instead of raising an error.
        fold_size: the number of sprites of train that are moved to the split `fold`.
        fold_seed: draws these sprites; None takes the last ones. See `hold_out`.

    Raises:
        PokemonGenError: if the source is unknown, missing, empty or invalid.
    """
    kind, place = parse_source(source)
    if kind == "procedural" and palette is not None:
        raise PokemonGenError(
            f"sprites.palette: {palette} cannot be used, because the procedural sprites have their own "
            "palette. Leave sprites.palette out."
        )
    given_palette = load_palette(palette) if palette else None
    if kind == "hub":
        from pokemon_gen.sprites.hub import load_hub  # imports `datasets`, which takes seconds

        sprites = load_hub(place, given_palette)
    elif kind == "text":
        sprites = load_text(Path(place), given_palette, seed)
    elif kind == "images":
        sprites = load_images(
            Path(place), given_palette, seed=seed, colours=colours, skip_bad_images=skip_bad_images
        )
    else:
        parts = np.split(draw_sprites(sum(SPLIT_SIZES), seed), np.cumsum(SPLIT_SIZES)[:-1])
        sprites = collect(dict(zip(SPLITS, parts, strict=True)), Palette(PALETTE), source)
    for note in sprites.notes:
        _log.info("%s: %s", sprites.source, note)
    return hold_out(sprites, fold_size, fold_seed) if fold_size else sprites


def load_palette(place: str) -> Palette:
    """Load a palette from a file (`PALETTE_FILES`), a checkpoint's folder or a colormap data set.

    Raises:
        PokemonGenError: if the palette is missing or invalid.
    """
    check_palette(place)
    path = Path(place)
    if not place.startswith("hub:"):
        if path.suffix.lower() in PALETTE_FILES and not path.is_dir():
            return read_palette_file(path)
        if (path / PALETTE_NAME).is_file():
            return Palette.load(path)
    from pokemon_gen.sprites.hub import load_hub_palette  # imports `datasets`, which takes seconds

    return load_hub_palette(place.removeprefix("hub:"))
