"""A checkpoint's folder: the names of its files, what makes it valid, and its fingerprint.

A machine may be taken away in the middle of a write, and a mounted drive receives the files of a folder in
any order. So a checkpoint is valid only if every file that it is loaded from is complete and has the size
that its manifest (`manifest.py`) says. This module loads no torch, so that a wrong path is answered at once;
`loading.py` loads the model.
"""

import hashlib
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from pokemon_gen.constants import PALETTE_NAME, SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json
from pokemon_gen.models.manifest import MANIFEST_NAME, fault_of_sizes

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
SPRITES_NAME = "sprites.json"
"""The source and the fingerprint of the sprites that the model was trained on."""
CORPUS_NAME = "corpus.json"
"""The source and the fingerprint of the corpus that a model of text was trained on."""
TOKENIZER_NAME = "tokenizer.json"
"""The tokenizer of a model of text, as `tokenizers` saves it."""
_OF_DATA = {"sprites": (PALETTE_NAME, SPRITES_NAME), "text": (TOKENIZER_NAME, CORPUS_NAME)}
"""What a model learned from → what it cannot be used without, and the file that identifies the data."""
EXTENSIONS_NAME = "extensions.json"
"""A person's own code that the model was trained with, if there was any."""
ENSEMBLE_NAME = "ensemble.json"
"""In an ensemble's `best/`: which of its folders are the members."""
STATE_NAME = "trainer_state.json"
"""The state of `Trainer`, the last file of a checkpoint to be written but its manifest: what is written after
it must not be needed to resume."""
UNLOGGED_NAME = "unlogged_loss.json"
"""The sum of the losses since the last log; only training needs it. Earlier versions wrote none."""
OPTIMIZER_NAME = "optimizer.pt"
SCALER_NAME = "scaler.pt"
_RESUMED_FROM = (OPTIMIZER_NAME, "scheduler.pt", "rng_state.pth")
"""Files that training resumes from, as `Trainer` names them; each is a zip file that ends with its index."""


def is_checkpoint(path: Path) -> bool:
    """Tell whether a path is named as `Trainer` names a checkpoint."""
    return re.fullmatch(r"checkpoint-[0-9]+", path.name) is not None


def step_of(checkpoint: Path) -> int:
    """Return the optimizer steps after which a checkpoint was saved."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def learned_from(folder: Path) -> Literal["sprites", "text"]:
    """Return what the model of a checkpoint learned from, by the files of the folder."""
    return "text" if any((folder / name).is_file() for name in _OF_DATA["text"]) else "sprites"


def is_valid(checkpoint: Path) -> bool:
    """Tell whether every file that a checkpoint is loaded from is complete."""
    return fault_of(checkpoint) is None


def fault_of(checkpoint: Path) -> str | None:
    """Return why a checkpoint is not valid, in words; None if it is."""
    written = [CONFIG_NAME, SETTINGS_NAME, *_OF_DATA[learned_from(checkpoint)], STATE_NAME]
    if (checkpoint / EXTENSIONS_NAME).exists():
        written.append(EXTENSIONS_NAME)
    damaged = [name for name in written if not _parses(checkpoint / name)]
    if not damaged and is_checkpoint(checkpoint) and not _has_step(checkpoint):
        return f"{STATE_NAME} is of another step, or damaged"
    if not _opens(checkpoint / WEIGHTS_NAME):
        damaged.append(WEIGHTS_NAME)
    if damaged:
        return f"{damaged[0]} is missing or cut off"
    return fault_of_sizes(checkpoint, [*written, WEIGHTS_NAME])


def has_state(checkpoint: Path) -> bool:
    """Tell whether the state of `Trainer`, the last file to be written, is complete."""
    return _parses(checkpoint / STATE_NAME)


def can_resume_from(checkpoint: Path, fp16: bool) -> bool:
    """Tell whether a valid checkpoint also has every file that training resumes from, undamaged.

    `Trainer` silently restarts a schedule, a random stream or a loss scale whose file is missing.

    Args:
        checkpoint: its folder.
        fp16: whether the run trains in fp16, whose loss scale is saved too.
    """
    needed = (*_RESUMED_FROM, SCALER_NAME) if fp16 else _RESUMED_FROM
    return all(zipfile.is_zipfile(checkpoint / name) for name in needed)


def log_history(checkpoint: Path) -> list[dict[str, Any]]:
    """Return everything that was logged up to a checkpoint, oldest first; each entry has its `step`."""
    history: list[dict[str, Any]] = read_json(checkpoint / STATE_NAME)["log_history"]
    return history


def read_unlogged_loss(checkpoint: Path) -> tuple[float, int] | None:
    """Return the sum of the losses that were not logged before a checkpoint, and the step of the last log.

    Raises:
        TypeError, KeyError: if the file is malformed.
    """
    file = checkpoint / UNLOGGED_NAME
    if not file.is_file():
        return None
    unlogged = read_json(file)
    return float(unlogged["sum"]), int(unlogged["after_step"])


def is_loadable(folder: Path) -> bool:
    """Tell whether a folder is meant as a checkpoint: of one model, or of an ensemble."""
    return any((folder / name).is_file() for name in (CONFIG_NAME, WEIGHTS_NAME, ENSEMBLE_NAME))


def is_ensemble(folder: Path) -> bool:
    """Tell whether a folder holds a checkpoint of an ensemble."""
    return (folder / ENSEMBLE_NAME).is_file()


def require_parts(folder: Path) -> None:
    """Check that a checkpoint of one model has all of its parts.

    Raises:
        PokemonGenError: naming the first part that is missing.
    """
    if is_ensemble(folder):
        return
    for name in (CONFIG_NAME, WEIGHTS_NAME, _OF_DATA[learned_from(folder)][0], SETTINGS_NAME):
        if not (folder / name).is_file():
            raise PokemonGenError(f"{folder}: not a checkpoint: it has no {name}")


def member_folders(folder: Path) -> list[Path]:
    """Return the folders of an ensemble's members.

    Raises:
        PokemonGenError: if `ensemble.json` is damaged.
    """
    return [folder / member["folder"] for member in read_members(folder)]


def read_members(folder: Path) -> list[dict[str, Any]]:
    """Return what an ensemble records of each member: its folder, its origin and why it was chosen.

    Raises:
        PokemonGenError: if `ensemble.json` is damaged.
    """
    file = folder / ENSEMBLE_NAME
    try:
        members: list[dict[str, Any]] = read_json(file)["members"]
        folders = [member["folder"] for member in members]
    except (KeyError, TypeError) as error:
        raise PokemonGenError(f"{file}: it does not describe an ensemble") from error
    if not folders:
        raise PokemonGenError(f"{file}: it names no members")
    for name in folders:  # an ensemble that somebody shared must not reach outside its folder
        if not isinstance(name, str) or not re.fullmatch(r"[\w-][\w.-]*", name):
            raise PokemonGenError(f"{file}: {name!r} is not the name of a folder inside {folder}")
    return members


def trained_on(checkpoint: Path) -> dict[str, str]:
    """Return the source and the fingerprint of the data that a checkpoint was trained on, if recorded."""
    file = checkpoint / _OF_DATA[learned_from(checkpoint)][1]
    return read_json(file) if file.is_file() else {}


def require_trained_on(
    checkpoint: Path,
    origin: Mapping[str, str],
    remedy: str = "Restore the data, or train the run again.",
) -> None:
    """Check that data are still those that a checkpoint was trained on; else dev may hold what it learned.

    Args:
        checkpoint: its folder.
        origin: source and fingerprint of the data, `Sprites.origin` or `Corpus.origin`.
        remedy: what a person can do.

    Raises:
        PokemonGenError: naming both fingerprints.
    """
    known = trained_on(checkpoint)
    if known.get("fingerprint") != origin["fingerprint"]:
        raise PokemonGenError(
            f"{checkpoint}: it was trained on other data ({known.get('source')}, fingerprint "
            f"{known.get('fingerprint')}) than {origin['source']} holds now ({origin['fingerprint']}), so "
            f"dev may hold what it learned. {remedy}"
        )


def is_of_others(folder: Path) -> bool:
    """Tell whether a folder holds a model that this package has not trained: it has no settings."""
    return (folder / CONFIG_NAME).is_file() and not (folder / SETTINGS_NAME).is_file()


def copy_checkpoint(checkpoint: Path, folder: Path) -> None:
    """Copy the files that a checkpoint is loaded from to a new folder; only training needs the others."""
    folder.mkdir(parents=True)
    for file in checkpoint.iterdir():
        if file.suffix in (".json", ".safetensors") and file.name not in (MANIFEST_NAME, UNLOGGED_NAME):
            shutil.copy2(file, folder)


def fingerprint_checkpoint(folder: Path) -> str:
    """Return the SHA-256 of a checkpoint's weights, config and palette (or tokenizer), 64 hexadecimal digits.

    The fingerprint of an ensemble is the SHA-256 of its members' fingerprints, in their order.
    """
    digest = hashlib.sha256()
    if is_ensemble(folder):
        for member in member_folders(folder):
            digest.update(fingerprint_checkpoint(member).encode())
        return digest.hexdigest()
    for name in (WEIGHTS_NAME, CONFIG_NAME, _OF_DATA[learned_from(folder)][0]):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _has_step(checkpoint: Path) -> bool:
    """Tell whether the state of `Trainer` is that of the step in the folder's name."""
    state = read_json(checkpoint / STATE_NAME)
    logged = state.get("log_history") if isinstance(state, dict) else None
    entries = logged if isinstance(logged, list) else [None]
    is_log = all(isinstance(one, dict) and type(one.get("step")) is int for one in entries)
    return is_log and type(state.get("global_step")) is int and state["global_step"] == step_of(checkpoint)


def _parses(file: Path) -> bool:
    try:
        read_json(file)
    except PokemonGenError:
        return False
    return True


def _opens(weights: Path) -> bool:
    """Tell whether a file of weights is as long as its header says."""
    try:
        with safe_open(weights, "numpy"):
            return True
    except (OSError, SafetensorError):
        return False
