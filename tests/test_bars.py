"""`bars.py`: a progress bar in a terminal or a notebook, and a few lines in a log file."""

import io
import sys
import types

import pytest
from tqdm import tqdm

from pokemon_gen.bars import ProgressLines, progress_bar


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines_of(seconds_per_step: float, steps: int, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Count a loop and return the lines that were written."""
    clock = Clock()
    with ProgressLines(steps, "train", "step", clock=clock) as progress:
        for step in range(steps):
            clock.now += seconds_per_step
            progress.set_postfix({"loss": f"{step}"})
            progress.update()
    return capsys.readouterr().err.splitlines()


def test_a_line_is_written_after_each_tenth_of_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(1.0, 200, capsys)
    assert len(lines) == 10
    assert lines[0] == "train: 20 of 200 steps (10 %), 0:20, loss 19"
    assert lines[-1].startswith("train: 200 of 200 steps (100 %), 3:20")


def test_a_slow_loop_writes_a_line_every_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(lines_of(10.0, 100, capsys)) == 34  # one every 30 seconds of 1000, and the last one


def test_a_loop_of_a_second_writes_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines_of(0.01, 100, capsys) == ["train: 100 of 100 steps (100 %), 0:01, loss 99"]


def test_lines_have_no_carriage_returns(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(3, "complete", "token") as bar:
        bar.update(3)
    assert capsys.readouterr().err == "complete: 3 of 3 tokens (100 %), 0:00\n"


def test_a_terminal_and_a_notebook_show_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", Terminal())
        assert isinstance(progress_bar(1, "train", "step"), tqdm)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ipykernel", sys)
        assert isinstance(progress_bar(1, "train", "step"), tqdm)


def test_a_hidden_bar_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(1, "complete", "token", shown=False) as bar:
        bar.update()
    assert capsys.readouterr().err == ""


def test_a_saved_kaggle_notebook_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert isinstance(progress_bar(1, "train", "step"), ProgressLines)


def test_a_notebook_with_widgets_has_its_own_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class NotebookBar(tqdm):  # type: ignore[type-arg]
        pass

    module = types.ModuleType("tqdm.notebook")
    monkeypatch.setattr(module, "tqdm_notebook", NotebookBar, raising=False)
    monkeypatch.setitem(sys.modules, "tqdm.notebook", module)
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    for installed, kind in ((None, tqdm), (object(), NotebookBar)):
        monkeypatch.setattr("pokemon_gen.bars.find_spec", lambda name, found=installed: found)
        with progress_bar(3, "train", "step") as bar:
            assert type(bar) is kind
