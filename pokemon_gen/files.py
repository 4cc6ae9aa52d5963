"""Reading and writing files so that no output is incomplete and none is replaced without permission.

Every output goes to a temporary file in the same folder, which then gets the output's name. The
operating system renames a file completely or not at all, so a killed process leaves either the old file
or none.
"""

import contextlib
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psutil import pid_exists
from safetensors import SafetensorError

from pokemon_gen.errors import PokemonGenError, first_line

PACKAGE = Path(__file__).parent
"""The folder of this package."""


MOST_PALETTE_BYTES = 2**20
"""The most bytes of a palette in text form: 4096 colours take up to 200,000."""
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
"""Names this machine, or this container, in temporary files."""
_TEMPORARY = re.compile(r"\.(.+)-([0-9a-f]{8})-([0-9]{1,9})-[0-9a-f]{8}(\.[^.]*)?")
"""The names of temporary files and folders: the final name, the machine, the process and a random number."""
_OLD = ".old"
"""The suffix of a folder that makes place for a new one."""
_cleaned: set[Path] = set()
"""The folders from which this process has removed what others left."""
_WRITE_FAILED = re.compile("inline_container|PytorchStreamWriter|write failed")
"""What torch says if `torch.save` cannot write."""


def shipped(name: str) -> tuple[Path, Path]:
    """Return the places of a file or folder that comes with the package: in a checkout, and installed."""
    return PACKAGE.parent / name, PACKAGE / name


def require_small(file: Path, most: int) -> None:
    """Refuse a file with more than `most` bytes before it is read into memory.

    Raises:
        PokemonGenError: naming the file and the limit.
    """
    if file.exists() and not file.is_file() and not file.is_dir():
        raise PokemonGenError(f"{file}: not a regular file")
    if file.is_file() and file.stat().st_size > most:
        raise PokemonGenError(
            f"{file}: {file.stat().st_size:,} bytes are too many for such a file (at most {most:,})"
        )


def require_absent(path: Path, overwrite: bool) -> None:
    """Check that a new file can be written, before the work that it is to hold.

    Raises:
        PokemonGenError: if it exists and must not be replaced, or its folder cannot be written to.
    """
    if path.exists() and not overwrite:
        raise PokemonGenError(f"{path} already exists. Pass --overwrite to replace it.")
    require_writable(path.parent)


def require_writable(folder: Path) -> None:
    """Check that files can be written to a folder, which need not exist yet.

    Raises:
        PokemonGenError: naming the folder, or the one that it would be made in.
    """
    places = (folder, *folder.parents)
    place = next((place for place in places if place.exists() or place.is_symlink()), folder)
    if not place.is_dir():
        raise PokemonGenError(f"{place}: not a folder, so nothing can be written to {folder}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PokemonGenError(
            f"{place}: files cannot be written to this folder. Change its permissions, or use another folder."
        )


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to `path` when the block ends without an error.

    What killed processes left in its folder is deleted.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_remains(path.parent)
    # The temporary file keeps the suffix, because Pillow chooses the image format by it.
    temporary = path.with_name(_temporary_name(path.stem) + path.suffix)
    try:
        temporary.touch(exist_ok=False)  # `touch` respects the user's umask; `tempfile` does not
    except OSError as error:  # of the file itself, whose name people know
        raise OSError(error.errno, error.strerror, str(path)) from None
    mode = temporary.stat().st_mode
    try:
        yield temporary
        temporary.chmod(mode)  # safetensors replaces the file by one that only its owner can read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary_name(name: str) -> str:
    """Return a name that no other file has, as `_TEMPORARY` reads it; nobody's own file is called so."""
    return f".{name}-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}"


def _remove_remains(folder: Path) -> None:
    """Delete the temporary files and folders in a folder that killed processes left, once in this process.

    A process of another machine cannot be asked whether it runs, so its files have a day. An old folder
    without a new one is the only copy, which `atomic_folder` gives its name back.
    """
    if folder.absolute() in _cleaned:
        return
    _cleaned.add(folder.absolute())
    with contextlib.suppress(OSError):  # a folder of another user
        for path in list(folder.iterdir()):
            written = _TEMPORARY.fullmatch(path.name)
            if written is None or (written[4] == _OLD and not (folder / written[1]).exists()):
                continue
            is_ours = written[2] == _HOST
            if not pid_exists(int(written[3])) if is_ours else path.stat().st_mtime < time.time() - 86_400:
                remove([path])


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a path for a new folder, which replaces `folder` when the block ends without an error.

    The old folder stays until then, under its own name or, for a moment, under a temporary one; after a kill
    in that moment it gets its name back. What killed processes left beside it is deleted.

    Args:
        folder: its last part is a name, which `.` and `..` are not.
    """
    name = _temporary_name(folder.name)
    temporary, old = folder.with_name(name), folder.with_name(name + _OLD)
    _restore(folder)
    _remove_remains(folder.parent)
    try:
        yield temporary
        if folder.exists():
            folder.rename(old)
        try:
            temporary.rename(folder)
        except BaseException:
            if old.exists():
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _restore(folder: Path) -> None:
    """Give a folder its name back if a process was killed while it replaced the folder."""
    if folder.exists() or not folder.parent.is_dir():
        return
    for path in folder.parent.iterdir():
        written = _TEMPORARY.fullmatch(path.name)
        if written is not None and (written[1], written[4]) == (folder.name, _OLD):
            path.rename(folder)
            return


@contextmanager
def folder_or_nothing(folder: Path) -> Iterator[None]:
    """Remove a folder again if the block cannot write all of its files, as on a full disk.

    safetensors and torch do not raise `OSError` then.

    Raises:
        PokemonGenError: with the reason and the space that is left.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _WRITE_FAILED.search(str(error)):
            raise
        shutil.rmtree(folder, ignore_errors=True)
        free = shutil.disk_usage(folder.parent).free / 2**20
        raise PokemonGenError(
            f"{folder}: it could not be written: {first_line(error)} ({free:,.0f} MiB are free there now). "
            "What was saved before is kept. Free some space and run the same command again."
        ) from error


def share_files(folder: Path, like: Path) -> None:
    """Give every file of a folder the permissions of `like`, a file that this package has written.

    Without this, a colleague could not load a checkpoint, because safetensors writes files that only
    their owner can read.
    """
    mode = like.stat().st_mode
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(mode)


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def remove(paths: Iterable[Path]) -> None:
    """Delete files and folders. Paths that do not exist are skipped."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def number_file(path: Path, *suffixes: str) -> Path:
    """Return the path itself or, if it exists, the first of `name-2`, `name-3`, ... that does not exist.

    Args:
        path: the path of a new file.
        suffixes: suffixes of other new files with the same stem, which must not exist either.
    """
    numbered, number = path, 1
    while any(file.exists() for file in (numbered, *map(numbered.with_suffix, suffixes))):
        number += 1
        numbered = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return numbered


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, completely or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path`, completely or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        PokemonGenError: as `read_json`, and for another JSON value.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise PokemonGenError(f"{path}:1:1: this is not a JSON object")
    return value


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        PokemonGenError: for a file that cannot be read, or is not JSON (with line and column).
    """
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError as error:  # "\ud800" is half of a character
        raise PokemonGenError(f"{path}: a string in it is not text: {error.reason}") from error
    except OSError as error:
        raise PokemonGenError(f"{path}: cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise PokemonGenError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise PokemonGenError(f"{path}: not a UTF-8 text file") from error
    except ValueError as error:  # an integer with more digits than Python converts
        raise PokemonGenError(f"{path}: a number has too many digits") from error
    except RecursionError as error:
        raise PokemonGenError(f"{path}: the JSON is nested too deeply") from error
