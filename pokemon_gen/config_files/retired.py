"""Names and values of settings in earlier versions, and what replaces them.

A config or an override that a person wrote gets an error that names the new setting. The `settings.json`
that version 0.1 saved with a run is translated instead, so that its checkpoints can still be used.
"""

import copy
import logging
from collections.abc import Callable
from typing import Any

from pokemon_gen.config_files.sections import locations, value_at

RENAMED = {
    "sprites.held_out": "sprites.fold_size",
    "detector.held_out": "detector.calibration_share",
    "judge.held_out": "judge.calibration_share",
    "augmentation.places": "augmentation.flips",
    "augmentation.hues": "augmentation.hue_shifts",
    "augmentation.unchanged": "augmentation.identity_prob",
    "detector.generator.parts": "detector.generator.folds",
    "detector.generator.stages": "detector.generator.snapshot_steps",
    "judge.generator.parts": "judge.generator.folds",
    "judge.generator.stages": "judge.generator.snapshot_steps",
    "detector.classifier.enlarge": "detector.classifier.upscale",
    "judge.classifier.enlarge": "judge.classifier.upscale",
    "detector.generator.temperature": "detector.generator.temperatures",
    "judge.generator.temperature": "judge.generator.temperatures",
}
"""Old dotted name → the name since version 0.2."""
CONVERTED: dict[str, Callable[[Any], Any]] = {
    "detector.generator.temperature": lambda temperature: [0.0, temperature],
    "judge.generator.temperature": lambda temperature: [0.0, temperature],
}
"""Old dotted name of a renamed setting whose value changed its form → the conversion of a saved value.

These are settings of detectors and judges that were renamed after 0.2.0 had begun. A run that has them trains
as before.
"""
REMOVED = {
    "training.ema_decay": "averaging the weights gained nothing in any config (LOG.md)",
    "selection.watch_epochs": "select ranks the saved checkpoints after the training",
}
"""Dotted name of a removed setting → why version 0.2 does without it."""
RENAMED_VALUES = {("sprites.source", "generated"): "procedural"}
"""Dotted name and old value → the value since version 0.2."""
RETIRED_VALUES = {
    **{old: f"was renamed to {new} in version 0.2" for old, new in RENAMED_VALUES.items()},
    ("selection.by", "train_loss"): "is no longer a criterion. Use nll, detector or fid.",
    ("selection.by", "accuracy"): "is no longer a criterion. Use nll, detector or fid.",
}
"""Dotted name and old value → what holds since version 0.2."""
REMOVED_CONFIGS = {"qwen3": "fast and quick are of its family"}
"""Name of a config that version 0.1 shipped → what replaces it."""
_log = logging.getLogger(__name__)


def translate(saved: Any) -> Any:
    """Return the saved settings of a run of an earlier version under the names of this version.

    A setting that was removed is left out, with a message if it was in use. Anything but a dictionary is
    returned unchanged.
    """
    if not isinstance(saved, dict):
        return saved
    values = copy.deepcopy(saved)
    for location, message in retired_settings(saved).items():
        section, key, dotted = value_at(values, location[:-1]), location[-1], ".".join(location)
        value = section.pop(key)
        if dotted in RENAMED:
            convert = CONVERTED.get(dotted, lambda same: same)
            section[RENAMED[dotted].rpartition(".")[2]] = convert(value)
            if dotted in CONVERTED and isinstance(section.get("share"), float):
                section["share"] /= 2  # it was that of both ways together, and is that of each temperature
        elif isinstance(value, str) and (dotted, value) in RENAMED_VALUES:
            section[key] = RENAMED_VALUES[dotted, value]
        elif value:
            _log.warning("saved by version 0.1: %s", message)
    return values


def is_of_version_0_1(values: dict[str, Any]) -> bool:
    """Tell whether settings that a run saved have names or values that version 0.2 never wrote."""
    return any(".".join(location) not in CONVERTED for location in retired_settings(values))


def retired_settings(values: dict[str, Any]) -> dict[tuple[str, ...], str]:
    """Return the location of each setting that an earlier version knew, with an error message about it."""
    messages: dict[tuple[str, ...], str] = {}
    for location in locations(values):
        dotted = ".".join(location)
        value = value_at(values, location)
        if dotted in RENAMED:
            messages[location] = f"{dotted} was renamed to {RENAMED[dotted]} in version 0.2"
        elif dotted in REMOVED:
            messages[location] = (
                f"{dotted} was removed in version 0.2: {REMOVED[dotted]}. Remove the setting."
            )
        elif isinstance(value, str) and (dotted, value) in RETIRED_VALUES:
            messages[location] = f"{dotted}: {value} {RETIRED_VALUES[dotted, value]}"
    return messages
