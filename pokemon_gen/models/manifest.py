"""The manifest of a checkpoint: the size and the SHA-256 of each of its files, written last.

A killed process, a full disk or a drive that synchronises files one by one leaves checkpoints of which some
files are missing, cut off or old. The manifest tells them from complete ones: sizes whenever a checkpoint is
looked for, which costs nothing, and hashes before a training resumes from one.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from pokemon_gen.constants import SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import file_sha256, read_json, write_json

MANIFEST_NAME = "manifest.json"
"""The last file of a checkpoint to be written. Checkpoints of earlier versions have none."""


def write_manifest(folder: Path) -> None:
    """Write the manifest of all files that a folder holds now, except the settings, which people edit."""
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": file_sha256(file)}
        for file in sorted(folder.iterdir())
        if file.is_file() and file.name not in (MANIFEST_NAME, SETTINGS_NAME)
    }
    write_json(folder / MANIFEST_NAME, {"files": files})


def has_manifest(folder: Path) -> bool:
    """Tell whether a folder has a manifest."""
    return (folder / MANIFEST_NAME).is_file()


def fault_of_sizes(folder: Path, names: Collection[str] | None = None) -> str | None:
    """Return which file is missing or has another size than the manifest says; None if all are right.

    Args:
        folder: one without a manifest, as earlier versions wrote them, has no fault.
        names: of the files to look at; None looks at all.
    """
    if not has_manifest(folder):
        return None
    try:
        for name, entry in _entries(folder).items():
            if names is not None and name not in names:
                continue
            file = folder / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != entry["bytes"]:
                return f"{name} has {file.stat().st_size:,} bytes instead of {entry['bytes']:,}"
    except (PokemonGenError, AttributeError, KeyError, TypeError):
        return f"{MANIFEST_NAME} is damaged"
    return None


def fault_of_contents(folder: Path) -> str | None:
    """Return which file differs from what the manifest says, in size or content; None if none does."""
    fault = fault_of_sizes(folder)
    if fault or not has_manifest(folder):
        return fault
    entries = _entries(folder).items()
    changed = (name for name, entry in entries if file_sha256(folder / name) != entry.get("sha256"))
    name = next(changed, None)
    return f"{name} was changed after it was saved" if name else None


def _entries(folder: Path) -> dict[str, dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = read_json(folder / MANIFEST_NAME)["files"]
    return entries
