"""One writer per run: a lock on its folder, which ends with the process that holds it.

Two processes that train under one name would mix the checkpoints of two seeds, and the second would empty
the folder of the first. So every process that writes to a run's folder holds `checkpoints/<name>/.lock`
meanwhile; reading needs no lock. The lock belongs to the operating system (`filelock`), so a killed process
leaves none.
"""

import contextlib
import errno
import logging
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json, write_json
from pokemon_gen.models.runs import HOLDER_NAME, LOCK_NAME, run_root

_log = logging.getLogger(__name__)
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}
"""The error numbers of network file systems that have no locks."""


@contextmanager
def writing_to(run: Path) -> Iterator[None]:
    """Hold the lock of a run's folder; the process that holds it may take it again.

    A member of an ensemble shares the ensemble's lock. A folder that holds only its lock in the end is
    removed, so that a mistaken command leaves nothing.

    Raises:
        PokemonGenError: if another process holds the lock, naming that process.
    """
    root = run_root(run)
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / LOCK_NAME, timeout=0, is_singleton=True)
    try:
        lock.acquire()
    except Timeout:
        raise PokemonGenError(
            f"{root}: another process is writing to this run: {_holder(root)}. Nothing was changed. "
            "Wait until it ends, stop it, or choose another name (name=...)."
        ) from None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise OSError(error.errno, error.strerror, str(root)) from None  # not the name of the lock
        _log.warning(
            "%s: this file system has no locks, so a second process with this name would not be noticed",
            root,
        )
        yield
        return
    try:
        if lock.lock_counter == 1:
            write_json(root / HOLDER_NAME, _this_process())
        yield
    finally:
        if lock.lock_counter == 1:
            (root / HOLDER_NAME).unlink(missing_ok=True)
            _remove_empty(root)
        lock.release()


@contextmanager
def writing_for(run: Path) -> Iterator[None]:
    """Hold the lock of a run while its results are written elsewhere; one that is only read needs no lock.

    Raises:
        PokemonGenError: if another process writes to the run, or writes its results.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(writing_to(run))
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
        yield


def _remove_empty(root: Path) -> None:
    """Remove a folder that holds only its lock, and the folder of all runs if that is empty then."""
    if set(root.iterdir()) == {root / LOCK_NAME}:
        with contextlib.suppress(OSError):  # another process waits, or Windows keeps an open file
            (root / LOCK_NAME).unlink()
            root.rmdir()
            root.parent.rmdir()


def _this_process() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _holder(root: Path) -> str:
    """Describe the process that holds a run's lock, as far as its file does."""
    try:
        holder = read_json(root / HOLDER_NAME)
        return f"process {holder['pid']} on {holder['host']}, since {holder['since']} ({holder['command']})"
    except (PokemonGenError, KeyError, TypeError):
        return "an unknown process"
