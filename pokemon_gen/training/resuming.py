"""Whether a run may be resumed: with the settings it was begun with, but for its length and its watching.

Loads no torch, so that another run under the same name is answered before anything is loaded.
"""

from typing import Any

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.constants import CHECKPOINTS, SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.runs import last_checkpoint
from pokemon_gen.settings import PRECISION, WHERE_SPRITES_LIE, Settings

# What may differ when a run is continued: how long it is, what is only watched, and how it is computed.
_MAY_CHANGE = {
    "num_train_epochs",
    "max_steps",
    "logging_strategy",
    "logging_steps",
    "eval_strategy",
    "eval_steps",
    "save_strategy",
    "save_steps",
    "save_total_limit",
    "per_device_eval_batch_size",
    "report_to",
    "disable_tqdm",
    "torch_compile",
    "torch_compile_backend",
    "torch_compile_mode",
    "attn_implementation",
}


def check_same_run(settings: Settings) -> None:
    """Make sure that a run of this name, if there is one, may be resumed with these settings.

    Raises:
        PokemonGenError: if it has other settings, naming them.
    """
    saved = last_checkpoint(CHECKPOINTS / settings.name)
    if saved:
        before = load_settings(saved / SETTINGS_NAME)
        chosen = {k: before.training[k] for k in PRECISION if k not in settings.training}
        refuse_changes(settings.name, changed_settings(before, with_precision(settings, chosen)))


def refuse_changes(name: str, changed: list[str]) -> None:
    """Refuse to resume a run of which something has changed.

    Args:
        name: the run's.
        changed: what is different, in words.
    """
    if changed:
        raise PokemonGenError(
            f"{CHECKPOINTS / name} holds a run of other settings: {', '.join(changed)}. "
            "Choose another name (name=...), or --overwrite to begin anew"
        )


def changed_settings(before: Settings, now: Settings) -> list[str]:
    """Return what makes these the settings of another run, in words."""
    old, new = _what_must_stay(before), _what_must_stay(now)
    different = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    return [f"{key} (was {old.get(key)}, is {new.get(key)})" for key in different]


def with_precision(settings: Settings, precision: dict[str, Any]) -> Settings:
    """Return settings whose `training:` says the precision, `bf16` and `fp16`."""
    return settings.model_copy(update={"training": {**settings.training, **precision}})


def _what_must_stay(settings: Settings) -> dict[str, Any]:
    sections = {
        "sprites": settings.sprites.model_dump(exclude=WHERE_SPRITES_LIE),
        "model": settings.model,
        "training": settings.training,
        "augmentation": settings.augmentation.model_dump(),
    }
    flat = {
        f"{section}.{key}": value for section, fields in sections.items() for key, value in fields.items()
    }
    stays = {key: value for key, value in flat.items() if key.removeprefix("training.") not in _MAY_CHANGE}
    return {"seed": settings.seed, **stays}
