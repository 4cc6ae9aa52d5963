"""The progress of a run: the number of the stage, and the remaining time."""

import logging

import pytest

from pokemon_gen import pipeline
from pokemon_gen.progress import SHARE_ON_A_GPU, RunProgress, detector_seconds, show_seconds
from pokemon_gen.settings import DetectorSettings, Settings


def test_stages_are_counted_and_the_remaining_time_is_corrected(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    progress = RunProgress({"train": None, "detector": 100.0, "select": 10.0, "score": 40.0}, lambda: now[0])
    with caplog.at_level(logging.INFO, logger="pokemon_gen"):
        progress.begin("train")
        assert progress.left_after(600.0) == 150.0
        now[0] = 600.0
        progress.begin("detector")
        now[0] += 200.0  # twice as long as expected
        progress.begin("select")
    messages = [record.getMessage() for record in caplog.records]
    assert [message.partition(" (")[0] for message in messages] == [
        "stage 1 of 4: train",
        "stage 2 of 4: detector",
        "stage 3 of 4: select",
    ]
    assert "left" not in messages[0]  # nothing is known yet
    assert "2 min left" in messages[1]  # 150 s
    assert "2 min left" in messages[2]  # twice 50 s


def test_a_member_is_expected_to_take_as_long_as_the_previous_one(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    progress = RunProgress({"one": None, "two": None, "three": None, "score": 60.0}, lambda: now[0])
    with caplog.at_level(logging.INFO, logger="pokemon_gen"):
        progress.begin("one")
        assert progress.left_after(300.0) == 660.0
        now[0] = 600.0
        progress.begin("two")
    assert "21 min left" in caplog.records[-1].getMessage()


def test_a_stage_that_was_finished_earlier_does_not_count(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    progress = RunProgress({"detector": 100.0, "select": 100.0}, lambda: now[0])
    progress.begin("detector")
    now[0] = 0.5  # an earlier run had trained the detector
    with caplog.at_level(logging.INFO, logger="pokemon_gen"):
        progress.begin("select")
    assert "2 min left" in caplog.records[-1].getMessage()


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "5 s"), (38, "40 s"), (61, "1 min"), (3600, "60 min"), (9000, "2 h 30 min")]
)
def test_durations_are_rounded(seconds: float, words: str) -> None:
    assert show_seconds(seconds) == words


def test_a_gpu_is_expected_to_take_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = []
    for gpu in (False, True):
        monkeypatch.setattr(pipeline, "can_capture", lambda device, gpu=gpu: gpu)
        stages = pipeline._progress(Settings(name="x", model={"model_type": "gpt2"})).stages
        seconds.append(stages["score"] or 0.0)
    assert seconds[1] == pytest.approx(SHARE_ON_A_GPU * seconds[0])


def test_a_longer_detector_is_expected_to_take_longer() -> None:
    longer = DetectorSettings.model_validate({"classifier": {"steps": 3000}})
    assert detector_seconds(longer) > 1.5 * detector_seconds(DetectorSettings())
