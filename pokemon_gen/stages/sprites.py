"""`pokemon-gen sprites`: count the sprites of a source and draw a contact sheet. It needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pokemon_gen.report.sheets import draw_contact_sheet, save_picture
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.stages.plans import plan_preview

SHEET_SPRITES = 128
"""Sprites on a contact sheet: eight rows."""


@dataclass(frozen=True)
class SourcePreview:
    """The sprites of a source, the size of each split, and a contact sheet of the first ones of `train`."""

    sprites: Sprites
    counts: dict[str, int]
    picture: Path


def preview(
    source: str,
    overrides: Sequence[str] = (),
    output: str | Path | None = None,
    overwrite: bool = False,
) -> SourcePreview:
    """Load a source of sprites, count them, and draw a contact sheet.

    Args:
        source: as `load_sprites` takes it.
        overrides: `sprites.colours=64` and the like.
        output: the PNG of the contact sheet; None: in `eval/results/sprites/`, numbered.
        overwrite: replace a contact sheet that exists.

    Raises:
        PokemonGenError: for a bad source, or a contact sheet that exists.
    """
    settings, picture = plan_preview(source, overrides, output, overwrite)
    sprites = load_sprites_of(settings)
    save_picture(draw_contact_sheet(sprites.tokens("train")[:SHEET_SPRITES], sprites.palette), picture)
    counts = {split: len(rows) for split, rows in sprites.splits.items()}
    return SourcePreview(sprites, counts, picture)
