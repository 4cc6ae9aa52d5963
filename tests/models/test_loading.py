"""`models/loading.py` and `models/checkpoints.py`: a checkpoint is complete and valid, or it is refused."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.checkpoints import fingerprint_checkpoint
from pokemon_gen.models.choice import choose_checkpoint
from pokemon_gen.models.ensemble import members_of
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.palette import Palette
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.training.run import train
from tests.builders import TINY_MODEL, error_with, tiny_settings
from tests.model_builders import weights_of


def change_weights(checkpoint: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    """Load the weights of a checkpoint, change them in place, and save them."""
    weights = weights_of(checkpoint)
    change(weights)
    save_file(weights, checkpoint / "model.safetensors", {"format": "pt"})


def test_a_checkpoint_needs_nothing_outside_its_folder(
    checkpoint: Path, few_sprites: Sprites, tmp_path: Path
) -> None:
    moved = shutil.move(checkpoint, tmp_path / "elsewhere")
    loaded = load_checkpoint(moved)
    assert loaded.palette == few_sprites.palette
    assert loaded.settings.model == TINY_MODEL
    assert not loaded.model.training


def test_a_checkpoint_shows_its_folder_and_its_model(checkpoint: Path) -> None:
    shown = repr(load_checkpoint(checkpoint))
    assert "\n" not in shown
    for fact in ("Checkpoint", str(checkpoint), "gpt2", "167 colours"):
        assert fact in shown


def test_the_fingerprint_depends_on_weights_and_palette(checkpoint: Path) -> None:
    before, bias = fingerprint_checkpoint(checkpoint), "transformer.ln_f.bias"
    assert fingerprint_checkpoint(checkpoint) == before
    palette = (checkpoint / "palette.json").read_text()
    (checkpoint / "palette.json").write_text('{"rgb": [[255, 255, 255], [0, 0, 0]]}')
    assert fingerprint_checkpoint(checkpoint) != before
    (checkpoint / "palette.json").write_text(palette)
    change_weights(checkpoint, lambda weights: weights.update({bias: weights[bias] + 1}))
    assert fingerprint_checkpoint(checkpoint) != before


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "palette.json", "settings.json"])
def test_a_missing_part_of_a_checkpoint_is_named(checkpoint: Path, name: str) -> None:
    (checkpoint / name).unlink()
    with error_with(str(checkpoint), "not a checkpoint", name):
        load_checkpoint(checkpoint)


def test_broken_weights_are_an_error_that_names_the_folder(checkpoint: Path) -> None:
    weights = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with error_with(str(checkpoint), "the model cannot be loaded"):
        load_checkpoint(checkpoint)


def test_missing_and_unexpected_weights_are_named(checkpoint: Path) -> None:
    """`from_pretrained` would put random numbers in their place."""
    lost = "transformer.h.0.mlp.c_fc.weight"
    change_weights(checkpoint, lambda weights: weights.update(odd=weights.pop(lost)))
    with error_with(str(checkpoint / "model.safetensors"), f"missing: {lost}", "unexpected: odd"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_named(checkpoint: Path, value: float) -> None:
    def corrupt(weights: dict[str, Tensor]) -> None:
        weights["transformer.ln_f.weight"][3] = value

    change_weights(checkpoint, corrupt)
    with error_with(str(checkpoint), "transformer.ln_f.weight", "diverged", "training.learning_rate"):
        load_checkpoint(checkpoint)


def test_a_palette_of_another_size_than_the_models_is_refused(checkpoint: Path) -> None:
    Palette(torch.eye(3).int().numpy()).save(checkpoint)
    with error_with(str(checkpoint), "167 colours", "3"):
        load_checkpoint(checkpoint)


def test_sprites_of_another_palette_are_refused(checkpoint: Path, few_sprites: Sprites) -> None:
    Palette(few_sprites.palette.rgb[::-1]).save(checkpoint)
    loaded = load_checkpoint(checkpoint)
    with pytest.raises(PokemonGenError) as caught:
        loaded.require_palette_of(few_sprites)
    for palette in (loaded.palette, few_sprites.palette):
        assert palette.fingerprint in str(caught.value)


def test_the_code_in_a_checkpoint_is_not_run(checkpoint: Path) -> None:
    (checkpoint / "evil.py").write_text("raise SystemExit('the code was run')")
    config = json.loads((checkpoint / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"}
    (checkpoint / "config.json").write_text(json.dumps(config))
    assert members_of(load_checkpoint(checkpoint).model)[0].config.model_type == "gpt2"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
        ({"attn_implementation": "somebody/kernel"}, "attn_implementation"),
        ({"text_config": {"quantization_config": {}}}, "text_config.quantization_config"),
        ({"transformers_weights": "other.safetensors"}, "transformers_weights"),
    ],
)
def test_a_config_that_may_load_code_from_elsewhere_is_refused(
    checkpoint: Path, change: dict[str, Any], key: str
) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | change))
    with error_with(str(checkpoint / "config.json"), key):
        load_checkpoint(checkpoint)


def test_a_config_that_is_not_an_object_is_named(checkpoint: Path) -> None:
    (checkpoint / "config.json").write_text("[]")
    with error_with(str(checkpoint / "config.json"), "object"):
        load_checkpoint(checkpoint)


def test_an_adapter_is_refused(checkpoint: Path) -> None:
    """`from_pretrained` would load the base model that the adapter names."""
    (checkpoint / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/model"}')
    with error_with(str(checkpoint / "adapter_config.json"), "adapter"):
        load_checkpoint(checkpoint)


def test_a_checkpoint_is_loaded_by_the_name_of_its_run(few_sprites: Sprites, few_folder: Path) -> None:
    train(tiny_settings(), few_sprites)
    by_name, by_folder = load_checkpoint("tiny"), load_checkpoint("checkpoints/tiny")
    assert by_name.folder == by_folder.folder == choose_checkpoint("tiny").folder
    with error_with("tinny", "no such checkpoint or run", "did you mean 'tiny'"):
        load_checkpoint("tinny")
