"""`bars.py`: a bar for people, and a few plain lines for log files."""

import io
import sys

import pytest
from tqdm import tqdm

from pokemon_gen.bars import ProgressLines, progress_bar


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def count(seconds_per_step: float, steps: int, capsys: pytest.CaptureFixture[str]) -> list[str]:
    clock = Clock()
    with ProgressLines(steps, "train", "step", clock=clock) as lines:
        for step in range(steps):
            clock.now += seconds_per_step
            lines.set_postfix({"loss": f"{step}"})
            lines.update()
    return capsys.readouterr().err.splitlines()


def test_a_log_gets_a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    lines = count(1.0, 200, capsys)
    assert len(lines) == 10
    assert lines[0] == "train: 20 of 200 step (10%), 0:20, loss 19"
    assert lines[-1].startswith("train: 200 of 200 step (100%), 3:20")


def test_a_slow_loop_writes_every_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(count(10.0, 100, capsys)) == 34  # 1000 seconds, and the last line


def test_a_short_loop_writes_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert count(0.01, 100, capsys) == ["train: 100 of 100 step (100%), 0:01, loss 99"]


def test_no_line_has_a_carriage_return(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(3, "complete", "token") as bar:
        bar.update(3)
    written = capsys.readouterr().err
    assert written == "complete: 3 of 3 token (100%), 0:00\n"


def test_a_terminal_and_a_notebook_keep_their_bars(monkeypatch: pytest.MonkeyPatch) -> None:
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
