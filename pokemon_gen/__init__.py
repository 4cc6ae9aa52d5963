"""Small decoder-only transformers, trained from scratch, that complete pixel art.

Every command of the command line is a Python call (`sprites` is `preview`, `text train` is `train_text` and
`study` is `run_study`, since `sprites`, `text` and `study` are packages here):

    from pokemon_gen import load_settings, run
    run(load_settings("quick", ["training.learning_rate=1e-3"]))

Names are imported when they are first used, so that `pokemon-gen check` need not wait for torch. Type
checkers and editors see the real imports.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pokemon_gen.completion.sampling import complete_prompts as complete_prompts
    from pokemon_gen.config_files.loading import load_settings as load_settings
    from pokemon_gen.errors import PokemonGenError as PokemonGenError
    from pokemon_gen.evaluation.metrics import fid as fid
    from pokemon_gen.evaluation.metrics import kid as kid
    from pokemon_gen.evaluation.metrics import score_arrays as score_arrays
    from pokemon_gen.models.build import build_model as build_model
    from pokemon_gen.models.choice import choose_checkpoint as choose_checkpoint
    from pokemon_gen.models.loading import Checkpoint as Checkpoint
    from pokemon_gen.models.loading import load_checkpoint as load_checkpoint
    from pokemon_gen.palette import Palette as Palette
    from pokemon_gen.pipeline import run as run
    from pokemon_gen.report.sheets import draw_completions as draw_completions
    from pokemon_gen.report.sheets import draw_contact_sheet as draw_contact_sheet
    from pokemon_gen.reproduction import reproduce as reproduce
    from pokemon_gen.settings import Settings as Settings
    from pokemon_gen.sprites.collection import Sprites as Sprites
    from pokemon_gen.sprites.collection import collect as collect
    from pokemon_gen.sprites.loading import load_sprites as load_sprites
    from pokemon_gen.stages.compare import compare as compare
    from pokemon_gen.stages.complete import complete as complete
    from pokemon_gen.stages.detector import detector as detector
    from pokemon_gen.stages.doctor import doctor as doctor
    from pokemon_gen.stages.ensemble import ensemble as ensemble
    from pokemon_gen.stages.handin import handin as handin
    from pokemon_gen.stages.inspect import inspect as inspect
    from pokemon_gen.stages.judge import judge as judge
    from pokemon_gen.stages.page import show as show
    from pokemon_gen.stages.page import write_page as write_page
    from pokemon_gen.stages.report import write_report as write_report
    from pokemon_gen.stages.score import score as score
    from pokemon_gen.stages.select import select as select
    from pokemon_gen.stages.sprites import preview as preview
    from pokemon_gen.stages.study import run_study as run_study
    from pokemon_gen.stages.submit import submit as submit
    from pokemon_gen.stages.train import train_members as train_members
    from pokemon_gen.submission import check as check
    from pokemon_gen.text.training import train_text as train_text
    from pokemon_gen.training.run import train as train

_MODULES = {
    "Checkpoint": "models.loading",
    "Palette": "palette",
    "PokemonGenError": "errors",
    "Settings": "settings",
    "Sprites": "sprites.collection",
    "build_model": "models.build",
    "check": "submission",
    "choose_checkpoint": "models.choice",
    "collect": "sprites.collection",
    "compare": "stages.compare",
    "complete": "stages.complete",
    "complete_prompts": "completion.sampling",
    "detector": "stages.detector",
    "doctor": "stages.doctor",
    "draw_completions": "report.sheets",
    "draw_contact_sheet": "report.sheets",
    "ensemble": "stages.ensemble",
    "fid": "evaluation.metrics",
    "handin": "stages.handin",
    "inspect": "stages.inspect",
    "judge": "stages.judge",
    "kid": "evaluation.metrics",
    "load_checkpoint": "models.loading",
    "load_settings": "config_files.loading",
    "load_sprites": "sprites.loading",
    "preview": "stages.sprites",
    "reproduce": "reproduction",
    "run": "pipeline",
    "run_study": "stages.study",
    "score": "stages.score",
    "score_arrays": "evaluation.metrics",
    "select": "stages.select",
    "show": "stages.page",
    "submit": "stages.submit",
    "train": "training.run",
    "train_members": "stages.train",
    "train_text": "text.training",
    "write_page": "stages.page",
    "write_report": "stages.report",
}
"""Each public name's module."""

__all__ = [*_MODULES, "__version__"]

try:
    __version__ = version("pokemon-gen")
except PackageNotFoundError:  # run from a folder without being installed
    __version__ = "0+unknown"


def __dir__() -> list[str]:
    """Return the public names, for completion in an editor or a notebook."""
    return sorted([*globals(), *_MODULES])


def __getattr__(name: str) -> object:
    """Import a public name from its module.

    Raises:
        AttributeError: for any other name.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
