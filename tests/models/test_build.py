"""`models.py`: any decoder-only type, checked fields, no special tokens; checkpoints whole or refused."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from pokemon_gen.augmentation import ConditioningTokens
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.build import build_model
from pokemon_gen.models.checkpoints import fingerprint_checkpoint
from pokemon_gen.models.choice import choose_checkpoint
from pokemon_gen.models.ensemble import members_of
from pokemon_gen.models.likelihood import completion_nll, token_nll
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.palette import Palette
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.training.run import train
from tests.builders import TINY_MODEL, tiny_settings
from tests.model_builders import MODEL_TYPES


@pytest.mark.parametrize("family", MODEL_TYPES)
def test_every_family_fits_the_palette_and_the_sprite(family: str) -> None:
    model = build_model(MODEL_TYPES[family], 7, seed=0)
    logits = model(torch.zeros(1, 400, dtype=torch.long)).logits
    assert logits.shape == (1, 400, 7)
    assert model.config.max_position_embeddings == 400


@pytest.mark.parametrize("family", MODEL_TYPES)
def test_no_token_is_special(family: str) -> None:
    model = build_model(MODEL_TYPES[family], 7, seed=0)
    for holder in (model.config, model.generation_config):
        assert (holder.bos_token_id, holder.eos_token_id, holder.pad_token_id) == (None, None, None)


def test_a_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, same, other = (build_model(TINY_MODEL, 7, seed).lm_head.weight for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_key_that_is_missing_is_not_called_unknown() -> None:
    llama = {"model_type": "llama", "hidden_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1}
    with pytest.raises(PokemonGenError, match=r"Missing required keys .*factor") as found:
        build_model({**llama, "rope_parameters": {"rope_type": "linear", "rope_theta": 1e4}}, 7, seed=0)
    assert "unknown" not in str(found.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_layers": 2}, r"unknown setting 'model\.n_layers' for gpt2; did you mean 'model\.n_layer'"),
        ({"vocab_size": 9}, r"model\.vocab_size cannot be set: it comes from the palette"),
        ({"eos_token_id": 2}, r"model\.eos_token_id cannot be set: it is none"),
        ({"n_positions": 399}, r"model: gpt2 cannot be built .*399 positions cannot hold 400 tokens"),
        ({"n_head": 3}, r"model: gpt2 cannot be built from this"),
        ({"n_embd": "wide"}, r"model: gpt2 cannot be built from this: .*"),
        ({"activation_function": "gelly"}, r"model: gpt2 cannot be built from this: unknown 'gelly'"),
        ({"model_type": "gtp2"}, r"'gtp2' is no causal model of transformers; did you mean 'gpt2'"),
    ],
)
def test_a_mistaken_field_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PokemonGenError, match=message):
        build_model({**TINY_MODEL, **change}, 7, seed=0)


def test_a_model_that_sees_later_tokens_is_refused() -> None:
    bert = {
        "model_type": "bert",
        "num_hidden_layers": 1,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    with pytest.raises(PokemonGenError, match="sees later tokens; it is not decoder-only"):
        build_model(bert, 7, seed=0)


def test_nll_is_of_the_next_token_in_nats() -> None:
    tokens = torch.tensor([[3, 1, 2]])
    logits = torch.zeros(1, 3, 4)
    logits[0, 0, 1] = 100  # sure of token 1 after the first, undecided after the second
    nll = token_nll(logits, tokens)
    torch.testing.assert_close(nll, torch.tensor([[0.0, 4.0]]).clamp(max=torch.tensor(4.0).log()))


def test_the_completions_part_is_the_last_160_tokens() -> None:
    nll = torch.arange(399)[None]  # entry t is of token t + 1
    assert completion_nll(nll)[0, 0] + 1 == 240
    assert completion_nll(nll).shape == (1, 160)


@pytest.fixture
def checkpoint(few_sprites: Sprites, tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    build_model(TINY_MODEL, len(few_sprites.palette), seed=0).save_pretrained(folder)
    few_sprites.palette.save(folder)
    Settings(name="tiny", model=TINY_MODEL).save(folder)
    return folder


def test_a_checkpoint_alone_has_all_that_is_needed(
    checkpoint: Path, few_sprites: Sprites, tmp_path: Path
) -> None:
    moved = shutil.move(checkpoint, tmp_path / "elsewhere")
    loaded = load_checkpoint(moved)
    assert loaded.palette == few_sprites.palette
    assert loaded.settings.model == TINY_MODEL
    assert not loaded.model.training


def test_a_fingerprint_is_of_weights_and_palette(checkpoint: Path) -> None:
    before = fingerprint_checkpoint(checkpoint)
    assert fingerprint_checkpoint(checkpoint) == before
    (checkpoint / "palette.json").write_text('{"rgb": [[255, 255, 255], [0, 0, 0]]}')
    assert fingerprint_checkpoint(checkpoint) != before


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "palette.json", "settings.json"])
def test_what_a_checkpoint_lacks_is_named(checkpoint: Path, name: str) -> None:
    (checkpoint / name).unlink()
    with pytest.raises(PokemonGenError, match=f"no checkpoint: it has no {name}"):
        load_checkpoint(checkpoint)


def test_broken_weights_are_an_error_that_names_the_folder(checkpoint: Path) -> None:
    weights = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(PokemonGenError, match="checkpoint: the model cannot be loaded"):
        load_checkpoint(checkpoint)


def test_a_model_of_another_palette_is_refused(checkpoint: Path) -> None:
    Palette(torch.eye(3).int().numpy()).save(checkpoint)
    with pytest.raises(PokemonGenError, match="knows 167 colours and the palette has 3"):
        load_checkpoint(checkpoint)


def test_no_code_of_a_checkpoint_is_run(checkpoint: Path) -> None:
    (checkpoint / "evil.py").write_text("raise SystemExit('the code was run')")
    config = json.loads((checkpoint / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"}
    (checkpoint / "config.json").write_text(json.dumps(config))
    assert members_of(load_checkpoint(checkpoint).model)[0].config.model_type == "gpt2"


def change_weights(checkpoint: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    change(weights)
    save_file(weights, checkpoint / "model.safetensors", {"format": "pt"})


def test_missing_and_unexpected_weights_are_named(checkpoint: Path) -> None:
    """`from_pretrained` would put random numbers in their place."""
    lost = "transformer.h.0.mlp.c_fc.weight"
    change_weights(checkpoint, lambda weights: weights.update(odd=weights.pop(lost)))
    with pytest.raises(PokemonGenError) as error:
        load_checkpoint(checkpoint)
    for fact in ("model.safetensors", f"missing: {lost}", "unexpected: odd"):
        assert fact in str(error.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_named(checkpoint: Path, value: float) -> None:
    def corrupt(weights: dict[str, torch.Tensor]) -> None:
        weights["transformer.ln_f.weight"][3] = value

    change_weights(checkpoint, corrupt)
    with pytest.raises(PokemonGenError, match=r"transformer\.ln_f\.weight.*diverged"):
        load_checkpoint(checkpoint)


LLAMA = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 32}


@pytest.mark.parametrize(
    "model",
    [
        {"model_type": "llama", **LLAMA, "num_attention_heads": 3, "num_key_value_heads": 2, "head_dim": 8},
        {"model_type": "gptj", "n_embd": 32, "n_layer": 1, "n_head": 4},
        {"model_type": "jamba", **LLAMA, "num_hidden_layers": 2, "num_attention_heads": 2},
        {"model_type": "gpt_neox", **LLAMA, "num_attention_heads": 5},
        {"model_type": "mistral", **LLAMA, "num_attention_heads": 2, "num_key_value_heads": 0},
        {"model_type": "qwen3", **LLAMA, "num_attention_heads": 4, "num_key_value_heads": 3, "head_dim": 8},
        {**TINY_MODEL, "resid_pdrop": 5.0},
        {"model_type": "bloom", "hidden_size": 30, "n_layer": 1, "n_head": 4},
    ],
    ids=lambda model: model["model_type"],
)
def test_fields_that_do_not_fit_together_are_an_error(model: dict[str, Any]) -> None:
    with pytest.raises(PokemonGenError, match=rf"^model: {model['model_type']} can(not)? be built from this"):
        build_model(model, 167, 0)


def test_a_model_that_memory_does_not_hold_is_refused() -> None:
    """The defaults of a type are those of a model of billions, and the system would kill the process."""
    with pytest.raises(PokemonGenError, match=r"model: llama .* billion weights.*hidden_size=16384"):
        build_model({"model_type": "llama", "hidden_size": 16384, "intermediate_size": 65536}, 167, 0)


def test_plain_generate_draws_colours_alone(tmp_path: Path) -> None:
    """A checkpoint with conditioning tokens, loaded without this package: 187 tokens, 167 of them colours."""
    told = ConditioningTokens(20, (167, 175))
    model = build_model({**TINY_MODEL}, 167, seed=0, conditioning=told)
    with torch.no_grad():  # make the conditioning tokens the likeliest by far
        model.lm_head.weight[167:] *= 100
    model.save_pretrained(tmp_path / "shared")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "shared")
    prefix = plain.config.identity_tokens
    prompt = torch.tensor([[*prefix, *range(240)]]).clamp(max=175)
    prompt[0, 2:] %= 167
    drawn = plain.generate(prompt, max_new_tokens=20, do_sample=True)[0, prompt.shape[1] :]
    assert len(drawn) == 20
    assert int(drawn.max()) < 167


def test_a_checkpoint_is_loaded_by_its_runs_name(few_sprites: Sprites, few_folder: Path) -> None:
    train(tiny_settings(), few_sprites)
    by_name, by_folder = load_checkpoint("tiny"), load_checkpoint("checkpoints/tiny")
    assert by_name.folder == by_folder.folder == choose_checkpoint("tiny").folder
    with pytest.raises(PokemonGenError, match="tinny: no such checkpoint or run; did you mean 'tiny'"):
        load_checkpoint("tinny")
