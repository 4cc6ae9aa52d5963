"""Writing files so that nothing half-written is ever left, and nothing is replaced unasked.

Every output goes to a temporary file beside its place and is renamed into it, which the operating
system does at once or not at all: a kill in the middle leaves the old file, or none.
"""

import json
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pokemon_gen.errors import PokemonGenError


def require_absent(path: Path, overwrite: bool) -> None:
    """Raise `PokemonGenError` if `path` exists and may not be replaced."""
    if path.exists() and not overwrite:
        raise PokemonGenError(f"{path} exists and is kept; --overwrite replaces it")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept, since Pillow chooses the format by it.
    aside = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    aside.touch(exist_ok=False)  # unlike `tempfile`, with the permissions that the user's umask gives
    mode = aside.stat().st_mode
    try:
        yield aside
        aside.chmod(mode)  # some writers (safetensors) replace the file by one that its owner alone can read
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a path to make another folder at, which takes the place of `folder` when the block ends.

    What a kill left there before is thrown away; until then the old folder stands.
    """
    aside = folder.with_name(f".{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    yield aside
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def share_files(folder: Path, like: Path) -> None:
    """Give every file of a folder the permissions of `like`, a file that this package has written.

    safetensors writes files that their owner alone can read, so that a colleague cannot load them.
    """
    mode = like.stat().st_mode
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(mode)


def remove(paths: Iterable[Path]) -> None:
    """Throw away files and folders; those that are not there are passed over."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def number_file(path: Path, *beside: str) -> Path:
    """Return the path itself or, if it exists, the first of `name-2`, `name-3`, ... that does not.

    Args:
        path: of a file to be made.
        beside: suffixes of files that will be made beside it, and must not exist either.
    """
    numbered, number = path, 1
    while any(file.exists() for file in (numbered, *map(numbered.with_suffix, beside))):
        number += 1
        numbered = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return numbered


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path`, whole or not at all."""
    with atomic_file(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path`, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; raises `PokemonGenError` naming the file, the line and the column of a fault."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PokemonGenError(f"{path}: cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise PokemonGenError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise PokemonGenError(f"{path}: not a UTF-8 text file") from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise PokemonGenError(f"{path}: a number in it has too many digits") from error
    except RecursionError as error:
        raise PokemonGenError(f"{path}: nested too deeply") from error
