"""`pokemon-gen page`: a trained run → one HTML file in which people paint with the model; no server."""

import logging
from pathlib import Path

from pokemon_gen import __version__
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import write_text
from pokemon_gen.models.ensemble import members_of
from pokemon_gen.models.loading import Checkpoint, load_checkpoint
from pokemon_gen.page.build import Start, build_page
from pokemon_gen.page.export import export_models
from pokemon_gen.palette import Palette
from pokemon_gen.report.html import HtmlPage
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.sprites.procedural import PALETTE, draw_sprites
from pokemon_gen.stages.plans import PagePlan, plan_page

_log = logging.getLogger(__name__)
DEV_STARTS, EMBEDDED_STARTS = 24, 8
"""Sprites to start from: of the run's dev split, and of the procedural sprites."""


def write_page(run: str | Path, *, output: str | Path | None = None, overwrite: bool = False) -> HtmlPage:
    """Write the live page of a run: the model, its palette and sprites to start from, in one HTML file.

    Args:
        run: a checkpoint, or the folder or the name of a run, whose best checkpoint is used.
        output: the HTML file. None: `eval/results/<name>/page.html`, which is replaced.
        overwrite: replace `output` if it exists.

    Raises:
        PokemonGenError: for a missing run, an output that exists, or a model that the page cannot run.
    """
    return run_page(plan_page(run, output, overwrite))


def run_page(plan: PagePlan) -> HtmlPage:
    """Do what a plan says; see `write_page`."""
    checkpoint = load_checkpoint(plan.checkpoint)
    text = build_page(
        checkpoint.settings.name,
        export_models(checkpoint.model),
        checkpoint.palette,
        checkpoint.settings.completion,
        _starts(checkpoint),
        _about(checkpoint),
    )
    write_text(plan.file, text)
    return HtmlPage(plan.file)


def show(run: str | Path) -> HtmlPage:
    """Show the live page of a run in a notebook's cell; see `write_page`."""
    return write_page(run)


def _starts(checkpoint: Checkpoint) -> list[Start]:
    """Return dev sprites of the run, and procedural ones in its palette."""
    starts = []
    try:
        sprites = load_sprites_of(checkpoint.settings.sprites)
        checkpoint.require_palette_of(sprites)
        dev = sprites.tokens("dev")[:DEV_STARTS]
        starts = [Start(f"dev sprite {number}", tokens) for number, tokens in enumerate(dev, start=1)]
    except PokemonGenError as error:
        _log.warning("the page has no dev sprites to start from: %s", error)
    drawn = Palette(PALETTE).rgb[draw_sprites(EMBEDDED_STARTS)]  # (N, 400, 3)
    embedded = checkpoint.palette.to_tokens(drawn)
    return starts + [Start(f"embedded sprite {n}", tokens) for n, tokens in enumerate(embedded, start=1)]


def _about(checkpoint: Checkpoint) -> str:
    """Return what the model is, where it comes from, and that nothing leaves the page."""
    members = members_of(checkpoint.model)
    parameters = sum(parameter.numel() for member in members for parameter in member.parameters())
    kinds = " + ".join(member.config.model_type for member in members)
    source = (checkpoint.provenance["trained_on"] or {}).get("source", checkpoint.settings.sprites.source)
    return (
        f"{kinds}, {parameters / 1e6:.1f} million parameters, trained from scratch on {source}. Checkpoint "
        f"{checkpoint.folder.name} ({checkpoint.provenance['sha256'][:16]}), pokemon_gen {__version__}. The "
        "model runs in this page; nothing is sent anywhere."
    )
