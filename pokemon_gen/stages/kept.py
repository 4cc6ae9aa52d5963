"""A run's submission that exists already: kept if it is of the same run, and never replaced unasked."""

from pathlib import Path
from typing import Any

from pokemon_gen.config_files.retired import translate
from pokemon_gen.constants import SUBMISSIONS
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json
from pokemon_gen.settings import Settings


def submission_files(name: str) -> tuple[Path, Path, Path]:
    """Return the paths of a run's submission, its sidecar and its picture."""
    file, sidecar, picture = (SUBMISSIONS / f"{name}.{kind}" for kind in ("txt", "json", "png"))
    return file, sidecar, picture


def kept_submission(settings: Settings) -> dict[str, Any] | None:
    """Return the sidecar of a run's submission if the submission exists.

    Raises:
        PokemonGenError: for a submission of other settings, or one that lacks a file.
    """
    file, sidecar, picture = submission_files(settings.name)
    if not file.exists():
        return None
    for part in (sidecar, picture):
        if not part.is_file():
            raise PokemonGenError(
                f"{file} exists without its {part.name}, and is kept. {_how_to_replace(settings)}"
            )
    metadata: dict[str, Any] = read_json(sidecar)
    try:
        same = settings.same_as(translate(metadata["settings"]))
        metadata["sprites"]["fingerprint"], metadata["checkpoint"]["folder"]
        metadata["checkpoint"]["chosen_for"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise PokemonGenError(
            f"{sidecar}: not the sidecar of a submission. {_how_to_replace(settings)}"
        ) from error
    if not same:
        raise other_submission(settings)
    return metadata


def other_submission(settings: Settings) -> PokemonGenError:
    """Return the error of a submission that exists and belongs to another run."""
    file = submission_files(settings.name)[0]
    return PokemonGenError(
        f"{file} exists with other settings or sprites, and is kept. {_how_to_replace(settings)}"
    )


def _how_to_replace(settings: Settings) -> str:
    """Return what to do about a submission that exists."""
    return (
        "Choose another name (name=...), start the run again (--overwrite), or replace the submission alone "
        f"(`pokemon-gen submit checkpoints/{settings.name} --overwrite`)."
    )
