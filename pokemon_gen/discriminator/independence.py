"""What a detector has in common with a judge, which should be nothing.

A judge likes what a detector of its own kind chose, whatever it looks like. The shipped configs share no
seed, architecture or type of generator with either judge; a run's own settings may.
"""

from typing import Any

from pydantic import ValidationError

from pokemon_gen.settings import DetectorSettings


def shared_settings(detector: Any, judge: Any) -> list[str]:
    """Return what the settings of a detector and a judge have in common, in words.

    Args:
        detector: the saved settings of a detector.
        judge: those of a judge.

    Returns:
        Some of `seed`, which divides the sprites, `architecture` and `type of generator`. Nothing is known,
        and nothing is returned, for settings of an earlier version.
    """
    try:
        ours, theirs = (_settings_of(saved) for saved in (detector, judge))
    except ValidationError:
        return []
    shared = {
        "seed": ours.seed == theirs.seed,
        "architecture": _type(ours.classifier.model) == _type(theirs.classifier.model),
        "type of generator": not _generators(ours).isdisjoint(_generators(theirs)),
    }
    return [name for name, same in shared.items() if same]


def _settings_of(saved: Any) -> DetectorSettings:
    """Return saved settings; those of a judge have fields that a detector lacks."""
    known = {key: saved[key] for key in DetectorSettings.model_fields if key in saved}
    return DetectorSettings.model_validate(known)


def _type(model: dict[str, Any]) -> str:
    return str(model["model_type"])


def _generators(settings: DetectorSettings) -> set[str]:
    return {_type(kind.model) for kind in settings.generators}
