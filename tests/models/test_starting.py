"""`start_from`: a training starts from the weights of another model, whatever its palette."""

import logging
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from pokemon_gen.augmentation import NO_CONDITIONING, prepend_identity
from pokemon_gen.constants import CHECKPOINTS
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.build import build_model, positions_of
from pokemon_gen.models.ensemble import members_of, palette_size
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.starting import rearrange_tokens, start_from_sprites
from pokemon_gen.palette import Palette
from pokemon_gen.settings import AugmentationSettings
from pokemon_gen.sprites.collection import Sprites, collect
from pokemon_gen.training.run import train
from pokemon_gen.training.sprites import augmentation_of
from tests.builders import ONE_STEP, MakeSettings, error_with
from tests.model_builders import LLAMA_LIKE

FLIPS = AugmentationSettings(flips="mirror")


MIRROR = {"flips": "mirror"}


@pytest.fixture
def base(tiny: MakeSettings, few_sprites: Sprites) -> str:
    train(tiny(name="base", training=ONE_STEP), few_sprites)
    return "base"


def test_the_same_palette_starts_with_the_same_predictions(base: str, few_sprites: Sprites) -> None:
    loaded = load_checkpoint(base).model
    started = start_from_sprites(base, {}, few_sprites.palette, NO_CONDITIONING).eval()
    tokens = torch.from_numpy(few_sprites.tokens("dev")[:2])
    with torch.no_grad():
        assert torch.equal(started(tokens).logits, loaded(tokens).logits.cpu())


def test_a_colour_starts_as_the_nearest_one_of_the_base_and_the_background_as_itself(
    base: str, few_sprites: Sprites, caplog: pytest.LogCaptureFixture
) -> None:
    """The new palette is the old one in another order, one level darker, with a dark background."""
    order = np.random.default_rng(0).permutation(np.arange(1, len(few_sprites.palette)))[:40]
    rgb = few_sprites.palette.rgb[order].astype(np.int64)
    other = Palette(np.concatenate([[[0, 0, 1]], np.maximum(rgb - 1, 0)]))
    with caplog.at_level(logging.INFO):
        started = start_from_sprites(base, {}, other, NO_CONDITIONING)
    table = members_of(load_checkpoint(base).model)[0].get_input_embeddings().weight.cpu()
    new = started.get_input_embeddings().weight
    assert new.shape == (41, 16)
    assert torch.equal(new[0], table[0])
    nearest = few_sprites.palette.nearest(other.lab)[1:]
    assert torch.equal(new[1:], table[torch.from_numpy(nearest)])
    assert (nearest == order).mean() > 0.9
    assert "41 colours" in caplog.text
    assert f"{len(few_sprites.palette)} colours" in caplog.text


def test_conditioning_tokens_stay_if_they_are_the_same_and_are_new_otherwise(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    settings = tiny(name="base", augmentation=FLIPS.model_dump(), training=ONE_STEP)
    train(settings, few_sprites)
    table = members_of(load_checkpoint("base").model)[0].get_input_embeddings().weight.cpu()
    colours = len(few_sprites.palette)
    same = augmentation_of(settings, few_sprites.palette).conditioning
    started = start_from_sprites("base", {}, few_sprites.palette, same)
    assert torch.equal(started.get_input_embeddings().weight, table)
    assert int(prepend_identity(started, torch.zeros(1, 1, dtype=torch.long))[0, 0]) == colours
    without = start_from_sprites("base", {}, few_sprites.palette, NO_CONDITIONING)
    assert torch.equal(without.get_input_embeddings().weight, table[:colours])
    assert not hasattr(without.config, "identity_tokens")
    more = augmentation_of(tiny(augmentation={"flips": "all"}), few_sprites.palette).conditioning
    with_more = start_from_sprites("base", {}, few_sprites.palette, more)
    new = with_more.get_input_embeddings().weight[colours:]
    torch.testing.assert_close(new, table.mean(0).expand(more.count, -1))


UNTIED = {
    "model_type": "llama",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "tie_word_embeddings": False,
}


def test_an_untied_output_is_rearranged_like_the_input() -> None:
    model = build_model(UNTIED, 5, 0)
    before = model.get_input_embeddings().weight.clone()
    after = model.get_output_embeddings().weight.clone()
    rearrange_tokens(model, np.array([4, 4, -1]))
    expected = torch.tensor([4, 4])
    assert torch.equal(model.get_input_embeddings().weight[:2], before[expected])
    assert torch.equal(model.get_output_embeddings().weight[:2], after[expected])
    torch.testing.assert_close(model.get_output_embeddings().weight[2], after.mean(0))
    assert model.config.vocab_size == 3


def test_an_output_bias_is_rearranged_too() -> None:
    sizes = {**UNTIED, "model_type": "phi"}
    model = build_model(sizes, 5, 0).eval()
    with torch.no_grad():
        model.get_output_embeddings().bias.copy_(torch.arange(5.0))
        order = np.array([3, 0, 4, 1, 2])
        before = model(torch.from_numpy(order)[None]).logits
        rearrange_tokens(model, order)
        after = model(torch.arange(5)[None]).logits
    torch.testing.assert_close(after, before[..., torch.from_numpy(order)])


def test_a_run_trains_on_from_its_base_and_records_it(
    base: str, tiny: MakeSettings, few_sprites: Sprites
) -> None:
    start = {"start_from": base, "model": {}, "training": {**ONE_STEP, "learning_rate": 1e-12}}
    train(tiny(name="tuned", **start), few_sprites)
    tuned, own = load_checkpoint("tuned"), load_checkpoint(base)
    assert tuned.settings.start_from == base
    for new, old in zip(tuned.model.parameters(), own.model.parameters(), strict=True):
        torch.testing.assert_close(new, old)
    with pytest.raises(PokemonGenError, match="start_from"):  # a run does not change its base
        train(tiny(name="tuned", **{**start, "start_from": "checkpoints/base/checkpoint-1"}), few_sprites)


def test_a_run_resumes_without_its_base(base: str, tiny: MakeSettings, few_sprites: Sprites) -> None:
    steps = {"max_steps": 2, "save_steps": 1, "save_strategy": "steps"}
    start = {"start_from": base, "model": {}, "training": steps}
    for name in ("whole", "stopped"):
        train(tiny(name=name, **start), few_sprites)
    shutil.rmtree("checkpoints/stopped/checkpoint-2")
    shutil.rmtree(CHECKPOINTS / base)
    resumed = train(tiny(name="stopped", **start), few_sprites)
    assert (resumed.status, resumed.step) == ("finished", 2)
    assert load_checkpoint("stopped").settings.start_from == base
    whole, again = (load_checkpoint(name).model for name in ("whole", "stopped"))
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    with error_with(base):
        train(tiny(name="stopped", **start), few_sprites, overwrite=True)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"start_from": "bse"}, ["bse", "base"]),
        ({"model": {"model_type": "llama"}}, ["model.model_type", "'llama'", "'gpt2'"]),
        ({"model": {"model_type": "gpt2", "n_embd": 32}}, ["model.n_embd", "32", "16"]),
        ({"augmentation": {"flips": "all", "hue_shifts": 12}}, ["400 positions", "402 tokens"]),
    ],
)
def test_a_base_that_does_not_fit_is_an_error(
    base: str, tiny: MakeSettings, few_sprites: Sprites, changes: dict[str, Any], facts: list[str]
) -> None:
    with pytest.raises(PokemonGenError) as caught:
        train(tiny(**{"name": "tuned", "start_from": base, "model": {}, **changes}), few_sprites)
    for fact in facts:
        assert fact in str(caught.value)


def test_a_base_with_rotary_positions_learns_longer_sequences(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    train(tiny(name="llama", model={"model_type": "llama", **LLAMA_LIKE}, training=ONE_STEP), few_sprites)
    assert positions_of(load_checkpoint("llama").model.config) == 400
    train(
        tiny(name="tuned", start_from="llama", model={}, augmentation=MIRROR, training=ONE_STEP), few_sprites
    )
    assert positions_of(load_checkpoint("tuned").model.config) == 401


def test_a_model_of_text_learns_sprites(tiny: MakeSettings, few_sprites: Sprites) -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=300, n_layer=1, n_head=2, n_embd=16, n_positions=500, eos_token_id=7)
    given = GPT2LMHeadModel(config)
    given.bfloat16().save_pretrained("owner/gpt2")
    start = {"start_from": "owner/gpt2", "model": {}, "augmentation": MIRROR}
    slow = {**ONE_STEP, "learning_rate": 1e-12}
    train(tiny(name="tuned", training=slow, **start), few_sprites)
    tuned = load_checkpoint("tuned").model
    assert palette_size(tuned) == len(few_sprites.palette)
    assert getattr(tuned.config, "eos_token_id", None) is None
    vectors = dict(tuned.named_parameters())["transformer.wte.weight"].detach()
    kept = {name: weight.detach().float() for name, weight in given.named_parameters()}
    before = kept["transformer.wte.weight"]
    drawn = torch.cdist(vectors, before).argmin(1)
    assert len(set(drawn.tolist())) == len(vectors)  # every colour has a token of its own
    torch.testing.assert_close(vectors, before[drawn])
    for name, weight in tuned.named_parameters():
        if "wte" not in name:
            torch.testing.assert_close(weight.detach(), kept[name], msg=name)
    resumed = train(tiny(name="tuned", training={**slow, "max_steps": 1}, **start), few_sprites)
    assert resumed.status == "nothing left to do"


def test_a_model_is_needed_without_a_base(tiny: MakeSettings) -> None:
    with pytest.raises(ValueError, match="model_type"):
        tiny(model={})


def test_sprites_of_a_smaller_palette_are_learned_from_the_base(
    base: str, tiny: MakeSettings, few_sprites: Sprites
) -> None:
    used = np.unique(few_sprites.all_train)
    rows = {name: np.searchsorted(used, few_sprites.tokens(name)) for name in ("train", "dev", "test")}
    for name in ("dev", "test"):
        rows[name] = np.minimum(rows[name], len(used) - 1)
    fewer = collect(rows, Palette(few_sprites.palette.rgb[used]), "fewer")
    train(tiny(name="tuned", start_from=base, model={}, training=ONE_STEP), fewer)
    assert palette_size(load_checkpoint("tuned").model) == len(used)
