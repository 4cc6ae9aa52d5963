"""Small decoder-only transformers, trained from scratch, that finish pixel art.

Every verb of the command line is a Python call of the same name (`sprites` and `ensemble`, which are rooms
of this package, are `preview` and `assemble`):

    from pokemon_gen import load_settings, run
    run(load_settings("quick", ["training.learning_rate=1e-3"]))

Names are loaded when they are first used, so that `pokemon-gen check` need not wait for torch.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "PokemonGenError": "errors",
    "Palette": "palette",
    "Settings": "settings",
    "load_settings": "config_files.loading",
    "load_sprites": "sprites.loading",
    "build_model": "models.build",
    "load_checkpoint": "models.build",
    "train": "pipeline",
    "train_members": "pipeline",
    "complete_prompts": "completion.sampling",
    "check": "submission",
    "choose_checkpoint": "models.folders",
    "draw_contact_sheet": "report.sheets",
    "draw_completions": "report.sheets",
    "complete": "stages.complete",
    "preview": "stages.sprites",
    "submit": "stages.complete",
    "detector": "stages.detector",
    "judge": "stages.detector",
    "select": "stages.detector",
    "score": "stages.score",
    "assemble": "stages.ensemble",
    "run": "pipeline",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Load a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
