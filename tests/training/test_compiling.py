"""`training/compiling.py`: a model is compiled where a compiler exists, and trains without one elsewhere."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments

from pokemon_gen.models.build import build_model
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.training.compiling import can_compile, compile_if_possible
from pokemon_gen.training.run import train
from tests.builders import RUN, MakeSettings

COMPILED = {"max_steps": 3, "eval_steps": 3, "save_steps": 3, "torch_compile": True}


@pytest.mark.slow
def test_a_config_that_asks_for_compilation_runs_without_a_compiler(
    tiny: MakeSettings, tmp_path: Path
) -> None:
    config = tmp_path / "compiled.yaml"
    config.write_text(json.dumps(tiny(training=COMPILED).model_dump(mode="json")))  # JSON is YAML
    # A new process, because torch remembers which compilers it found.
    no_compiler = {
        "CXX": str(tmp_path / "missing"),
        "CUDA_VISIBLE_DEVICES": "",  # a GPU has a compiler of its own
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "pokemon_gen", "train", str(config)],
        env={**os.environ, **no_compiler},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "cache").rglob("*.so"))  # nothing was compiled
    assert "Traceback" not in done.stderr + done.stdout
    assert (RUN / "checkpoint-3").is_dir()


@pytest.mark.slow
def test_a_compiled_model_learns_what_an_uncompiled_one_does(
    tiny: MakeSettings, few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_compile():
        pytest.skip("this machine has no C++ compiler")
    uncompiled = train(tiny(training={**COMPILED, "torch_compile": False}), few_sprites)
    monkeypatch.setattr("pokemon_gen.training.compiling.STEPS_ON_A_GPU", 0)
    before = torch._dynamo.utils.counters["frames"]["ok"]
    compiled = train(tiny(name="compiled", training=COMPILED), few_sprites)
    assert torch._dynamo.utils.counters["frames"]["ok"] > before  # something was compiled
    assert compiled.dev_completion_nll == pytest.approx(uncompiled.dev_completion_nll, abs=1e-4)


@pytest.mark.parametrize(
    ("steps", "captured", "compiled"), [(100, False, 2), (100, True, 0), (20_000, True, 2)]
)
def test_a_captured_run_is_compiled_only_if_it_is_long(
    steps: int, captured: bool, compiled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pokemon_gen.training.compiling.can_compile", lambda: True)
    calls: list[Any] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda *_, **options: calls.append(options))
    model = build_model({"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 16}, 9, 0)
    arguments = TrainingArguments(torch_compile=True, torch_compile_mode="reduce-overhead", use_cpu=True)
    compile_if_possible(model, arguments, steps, captured)
    assert len(calls) == compiled
    assert not arguments.torch_compile
    assert all((options["mode"] is None) == captured for options in calls)
