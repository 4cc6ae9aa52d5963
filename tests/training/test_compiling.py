import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pokemon_gen.settings import Settings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.training.compiling import can_compile
from pokemon_gen.training.run import train

Make = Callable[..., Settings]
COMPILED = {"max_steps": 3, "eval_steps": 3, "save_steps": 3, "torch_compile": True}


def test_a_config_that_asks_for_compiling_runs_without_a_compiler(tiny: Make, tmp_path: Path) -> None:
    config = tmp_path / "compiled.yaml"
    config.write_text(json.dumps(tiny(training=COMPILED).model_dump(mode="json")))  # JSON is YAML
    # In a process of its own: what torch has found out about compilers it keeps.
    nowhere = {"CXX": str(tmp_path / "no-compiler"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "pokemon_gen", "train", str(config)],
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "cache").rglob("*.so"))  # nothing was compiled indeed
    assert "Traceback" not in done.stderr + done.stdout
    assert (Path("checkpoints") / "tiny" / "checkpoint-3").is_dir()


def test_a_compiled_training_learns_what_another_does(tiny: Make, few_sprites: Sprites) -> None:
    if not can_compile():
        pytest.skip("this machine has no C++ compiler")
    plain = train(tiny(training={**COMPILED, "torch_compile": False}), few_sprites)
    before = torch._dynamo.utils.counters["frames"]["ok"]
    compiled = train(tiny(name="compiled", training=COMPILED), few_sprites)
    assert torch._dynamo.utils.counters["frames"]["ok"] > before  # it was compiled indeed
    assert compiled.dev_completion_nll == pytest.approx(plain.dev_completion_nll, abs=1e-4)
