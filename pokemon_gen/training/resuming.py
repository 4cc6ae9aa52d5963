"""Where a run starts: from scratch, or from its last checkpoint, and whether it may.

A run resumes with the settings it started with, except for its length, what is only observed, and how it is
computed. Loads no torch, so that another run under the same name is reported before anything is loaded.
"""

import logging
from pathlib import Path
from typing import Any

from pokemon_gen.config_files.loading import load_saved
from pokemon_gen.config_files.retired import is_of_version_0_1
from pokemon_gen.constants import CHECKPOINTS, SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_object
from pokemon_gen.models.checkpoints import (
    OPTIMIZER_NAME,
    can_resume_from,
    fault_of,
    has_state,
    is_checkpoint,
    learned_from,
    trained_on,
)
from pokemon_gen.models.manifest import fault_of_contents, has_manifest
from pokemon_gen.models.runs import (
    DETECTOR_NAME,
    contents,
    last_checkpoint,
    member_runs,
    named_checkpoints,
    valid_checkpoints,
)
from pokemon_gen.settings import PRECISION, RunKind, RunSettings, Settings
from pokemon_gen.training.members import check_members

_log = logging.getLogger(__name__)
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
    "capture",
    "callbacks",
}
"""Fields of `training:` that may differ when a run is resumed."""


def check_same_run(settings: RunSettings) -> None:
    """Check that a run of this name, if there is one, may be resumed with these settings.

    Each member of an ensemble is checked.

    Raises:
        PokemonGenError: if it has other settings, naming them, or if the folder holds something else.
    """
    if isinstance(settings, Settings) and settings.members > 1:
        check_members(settings, overwrite=False)
    for member in settings.each_member():
        saved = last_checkpoint(CHECKPOINTS / member.name)
        if saved:
            before = _settings_before(type(settings), saved)
            _refuse_changes(member.name, _changed_settings(before, _with_saved_precision(member, before)))


def starting_point(
    settings: RunKind, fingerprint: str, noun: str, overwrite: bool
) -> tuple[Path | None, RunKind]:
    """Return the checkpoint that a run resumes from, if it does, and the settings it then has.

    Args:
        settings: the run.
        fingerprint: of its training data.
        noun: what its training samples are called, in the plural.
        overwrite: start again.

    Raises:
        PokemonGenError: for a run of other settings or data, or a folder that holds something else.
    """
    folder = CHECKPOINTS / settings.name
    checkpoint = None if overwrite else last_checkpoint(folder)
    if checkpoint:
        return checkpoint, _resumed_settings(settings, checkpoint, fingerprint, noun)
    if not overwrite:
        _refuse_other_contents(folder)
    return None, settings


def _resumed_settings(settings: RunKind, checkpoint: Path, fingerprint: str, noun: str) -> RunKind:
    """Return the settings to resume with: the same run, perhaps longer, in the precision it started with."""
    before = _settings_before(type(settings), checkpoint)
    settings = _with_saved_precision(settings, before)
    changed = _changed_settings(before, settings)
    trained = trained_on(checkpoint).get("fingerprint")
    if trained != fingerprint:
        changed.append(f"the {noun} themselves (fingerprint was {trained}, is {fingerprint})")
    _refuse_changes(settings.name, changed)
    return settings


def resumable_checkpoint(run: Path, fp16: bool) -> Path:
    """Return the latest checkpoint that a run can resume from; those that are damaged are named.

    Args:
        run: its folder, with one valid checkpoint or more.
        fp16: whether the run trains in fp16.

    Raises:
        PokemonGenError: if every checkpoint lacks a file that training resumes from.
    """
    for checkpoint in named_checkpoints(run)[::-1]:
        fault = fault_of(checkpoint) or fault_of_contents(checkpoint)
        if fault is None and can_resume_from(checkpoint, fp16):
            return checkpoint
        fault = fault or "a file that training resumes from is missing or cut off"
        _log.warning("%s is skipped: %s", checkpoint, fault)
    checkpoints = valid_checkpoints(run)[::-1]
    why = "it and every checkpoint before it are damaged"
    if not any((checkpoint / OPTIMIZER_NAME).exists() for checkpoint in checkpoints):
        why = "it was saved without its optimizer (training.save_only_model)"
    raise PokemonGenError(
        f"{checkpoints[0]}: the run cannot resume from it: {why}. Start again with --overwrite."
    )


def replaced_by_training(run: Path) -> list[Path]:
    """Return what a new training replaces in a run's folder: everything but its detector."""
    return [path for path in contents(run) if path.name != DETECTOR_NAME]


def _refuse_other_contents(folder: Path) -> None:
    """Let a run start only in a folder that is empty, or that a kill before the first checkpoint left."""
    members = len(member_runs(folder))
    if members:
        raise PokemonGenError(
            f"{folder} holds an ensemble, and is kept. Resume it with members={members}, choose another name "
            "(name=...), or start again with --overwrite."
        )
    kept = [
        path
        for path in replaced_by_training(folder)
        if path.name not in (SETTINGS_NAME, "runs")
        and not (path.is_file() and path.name.startswith(".settings-"))  # a write was cut off
        and not (is_checkpoint(path) and _is_cut_off(path))
    ]
    if kept:
        raise PokemonGenError(
            f"{folder} exists and is kept: a run cannot resume from {kept[0].name}. Choose another name "
            "(name=...), or start again with --overwrite."
        )


def _is_cut_off(checkpoint: Path) -> bool:
    """Tell whether a kill or an incomplete copy left a checkpoint that nothing can be loaded from."""
    fault = fault_of(checkpoint) if has_manifest(checkpoint) else None
    if fault:
        _log.warning("%s is replaced: %s", checkpoint, fault)
    return fault is not None or not has_state(checkpoint)


def _settings_before(kind: type[RunKind], checkpoint: Path) -> RunKind:
    """Return the settings that a run was trained with.

    Raises:
        PokemonGenError: for a run on other data than its kind, or of version 0.1, which drew the order of
            the sprites from another seed.
    """
    if learned_from(checkpoint) != kind.learns:
        raise PokemonGenError(
            f"{checkpoint.parent} holds a run on {learned_from(checkpoint)}, not on {kind.learns}, and is "
            "kept. Choose another name (name=...), or start again with --overwrite."
        )
    settings = load_saved(kind, checkpoint)
    if is_of_version_0_1(read_object(checkpoint / SETTINGS_NAME)):
        raise PokemonGenError(
            f"{checkpoint.parent} was trained by version 0.1, and this version cannot resume it exactly. You "
            "can still complete, select and score it. To train, choose another name (name=...), or start "
            "again with --overwrite."
        )
    return settings


def _refuse_changes(name: str, changed: list[str]) -> None:
    """Refuse to resume a run of which something has changed."""
    if changed:
        raise PokemonGenError(
            f"{CHECKPOINTS / name} holds a run of other settings: {', '.join(changed)}. Choose another name "
            "(name=...), or start again with --overwrite."
        )


def _changed_settings(before: RunSettings, now: RunSettings) -> list[str]:
    """Return, in words, the settings that make this another run."""
    old, new = _fixed_settings(before), _fixed_settings(now)
    different = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    return [f"{key} (was {old.get(key)}, is {new.get(key)})" for key in different]


def _fixed_settings(settings: RunSettings) -> dict[str, Any]:
    """Return dotted name → value of every setting that must not change within a run."""
    sections = settings.fixed()
    flat = {
        f"{section}.{key}": value for section, fields in sections.items() for key, value in fields.items()
    }
    fixed = {key: value for key, value in flat.items() if key.removeprefix("training.") not in _MAY_CHANGE}
    return {"seed": settings.seed, "start_from": settings.start_from, **fixed}


def _with_saved_precision(settings: RunKind, saved: RunSettings) -> RunKind:
    """Return settings with the precision of a saved run where they leave it open."""
    left_open = {key: saved.training[key] for key in PRECISION if key not in settings.training}
    return settings.with_training(**left_open)
