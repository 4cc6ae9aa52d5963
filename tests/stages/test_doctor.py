"""`pokemon-gen doctor`: facts about the machine, and estimates that follow from steps that were measured."""

from pathlib import Path

import pytest
import torch

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.models.graphs import can_capture
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.stages import doctor as stage
from pokemon_gen.stages.doctor import doctor
from pokemon_gen.training.probe import StepProbe, probe_steps
from pokemon_gen.training.sprites import SpriteData
from tests.builders import MakeSettings


def test_a_probe_measures_real_steps_and_leaves_nothing(tiny: MakeSettings, few_sprites: Sprites) -> None:
    probe = probe_steps(tiny(), SpriteData(few_sprites), budget=0.2)
    assert probe.steps >= 1
    assert 0 < probe.seconds < 5
    assert probe.precision == "fp32"
    captured = can_capture(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    assert (probe.not_captured is None) == captured
    assert not Path("checkpoints").exists()


def test_times_follow_from_the_steps_of_each_config(monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[str] = []

    def probe(settings: Settings, sprites: Sprites, budget: float) -> StepProbe:
        probed.append(settings.name)
        return StepProbe(0.1, 5, "fp32", "there is no NVIDIA GPU here", 0)

    monkeypatch.setattr(stage, "probe_steps", probe)
    monkeypatch.setattr(stage, "can_compile", lambda: False)
    diagnosis = doctor()
    estimates = {estimate.name: estimate for estimate in diagnosis.estimates}
    assert len(probed) == len(estimates) - 1  # the steps of `record` are those of `strong`
    assert estimates["llama"].training == pytest.approx(480 * 0.1)
    assert estimates["record"].training == pytest.approx(5 * estimates["strong"].training)
    strong = load_settings("strong").training["max_steps"]
    assert estimates["strong"].training == pytest.approx(strong * 0.1)
    assert all(estimate.total > estimate.training for estimate in diagnosis.estimates)
    for fact in ("CPU", "GPU", "precision", "steps as one CUDA graph", "free disk", "versions"):
        assert diagnosis.facts[fact]


def test_a_compiled_run_pays_for_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = StepProbe(0.1, 5, "fp32", "there is no NVIDIA GPU here", 0)
    monkeypatch.setattr(stage, "probe_steps", lambda *_: probe)
    monkeypatch.setattr(stage, "can_compile", lambda: True)
    strong = next(estimate for estimate in doctor().estimates if estimate.name == "strong")
    assert strong.training == pytest.approx(5000 * 0.1 * 0.8 + 20)


def test_a_config_that_does_not_fit_is_named_and_the_facts_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> StepProbe:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(stage, "probe_steps", full)
    diagnosis = doctor()
    assert diagnosis.estimates == []
    assert "strong" in diagnosis.facts["too large for this GPU now"]
    assert diagnosis.facts["CPU"]


def test_members_that_train_together_take_at_most_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "probe_steps", lambda *_: StepProbe(0.002, 5, "bf16", None, 2**30))
    rows = {estimate.name: estimate.row for estimate in doctor().estimates}
    assert rows["record"][2].startswith("at most")
    assert not rows["strong"][2].startswith("at most")
    assert "1.0 GiB" in rows["strong"][1]
