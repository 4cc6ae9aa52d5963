"""Progress of long loops: a bar in a terminal or a notebook, plain lines anywhere else.

A bar redraws itself with carriage returns. In a log file (Kaggle's, a CI server's) that becomes one endless
line, so there a line is written after every tenth of the work, and at least every 30 seconds.
"""

import os
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

LINE_SECONDS = 30.0
"""A line is written at least this often."""
LEAST_SECONDS = 2.0
"""Lines are never closer together than this: a loop of a few seconds writes its last line alone."""


def progress_bar(total: int, title: str, unit: str, start: int = 0, shown: bool = True) -> Any:
    """Return a counter for a loop: it has `update()`, `set_postfix()` and `close()`, and is a context.

    Args:
        total: steps of the whole loop.
        title: what the loop does.
        unit: the name of one step.
        start: steps that were done before.
        shown: False shows nothing.
    """
    if not shown or is_interactive():
        return _bar_class()(total=total, initial=start, desc=title, unit=unit, disable=not shown)
    return ProgressLines(total, title, unit, start)


def _bar_class() -> type[Any]:
    """Return the kind of bar: a notebook's own where its widgets are installed, as on Colab and Kaggle."""
    if "ipykernel" in sys.modules and find_spec("ipywidgets"):
        from tqdm.notebook import tqdm_notebook  # imports IPython

        notebook_bar: type[Any] = tqdm_notebook
        return notebook_bar
    return tqdm


def is_interactive() -> bool:
    """Tell whether a person watches: the error stream is a terminal, or this is a notebook.

    A saved Kaggle notebook runs in the background, and its log shows a bar as one endless line.
    """
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE") == "Batch":
        return False
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class ProgressLines:
    """Counts a loop and writes lines such as `train: 300 of 1500 steps (20 %), 1:12, loss 1.312`."""

    def __init__(
        self,
        total: int,
        title: str,
        unit: str,
        start: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to count; see `progress_bar`. `clock` returns seconds."""
        self.total, self.desc, self.unit, self.n, self.clock = total, title, unit, start, clock
        self.begun = self.written = clock()
        self.last_line = start
        self.postfix: dict[str, str] = {}

    def update(self, steps: int = 1) -> None:
        """Count steps, and write a line if it is time."""
        self.n += steps
        waited = self.clock() - self.written
        tenth = self.n - self.last_line >= self.total / 10
        if waited >= LINE_SECONDS or (tenth and waited >= LEAST_SECONDS):
            self._write()

    def set_postfix(self, values: dict[str, str]) -> None:
        """Set what follows the count in the next lines."""
        self.postfix = values

    def close(self) -> None:
        """Write the last line."""
        if self.n > self.last_line:
            self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self) -> None:
        minutes, seconds = divmod(round(self.clock() - self.begun), 60)
        share = f" ({100 * self.n / self.total:.0f} %)" if self.total else ""
        values = "".join(f", {name} {value}" for name, value in self.postfix.items())
        line = f"{self.desc}: {self.n} of {self.total} {self.unit}s{share}, {minutes}:{seconds:02d}{values}\n"
        sys.stderr.write(line)
        sys.stderr.flush()
        self.written, self.last_line = self.clock(), self.n
