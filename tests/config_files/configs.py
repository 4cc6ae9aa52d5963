"""A small valid config, and a function that loads a variant of it."""

from pathlib import Path

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.settings import Settings

GOOD = """\
name: good
model:
  model_type: gpt2
  n_layer: 1
training:
  learning_rate: 3e-4
completion:
  temperature: 1
"""


def load(folder: Path, text: str, *overrides: str) -> Settings:
    """Write `run.yaml` into a folder and load it."""
    (folder / "run.yaml").write_text(text)
    return load_settings(folder / "run.yaml", overrides)
