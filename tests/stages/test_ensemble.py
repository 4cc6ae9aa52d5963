"""`stages/assembling.py`: an ensemble is a checkpoint like any other, of members that fit together."""

import json
import shutil
from collections.abc import Callable

import numpy as np
import pytest
import torch

from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.checkpoints import fingerprint_checkpoint
from pokemon_gen.models.ensemble import members_of
from pokemon_gen.models.likelihood import token_nll, true_completion_nll
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages.complete import complete
from pokemon_gen.stages.ensemble import ensemble
from pokemon_gen.stages.score import score
from pokemon_gen.stages.select import select
from pokemon_gen.stages.submit import submit
from pokemon_gen.training.run import train

Make = Callable[..., Settings]
NAMES = ["checkpoints/plain", "checkpoints/told", "checkpoints/llama"]


@pytest.fixture
def members(tiny: Make, few_sprites: Sprites) -> list[str]:
    """Train three unlike members: one sees sprites as they are, one is told, one is of another type."""
    train(tiny(name="plain"), few_sprites)
    train(tiny(name="told", augmentation={"flips": "mirror", "hue_shifts": 3}, seed=1), few_sprites)
    llama = {"num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    train(tiny(name="llama", model={"model_type": "llama", **llama}, seed=2), few_sprites)
    return NAMES


def test_an_ensemble_completes_submits_and_scores_as_a_checkpoint(
    members: list[str], few_sprites: Sprites
) -> None:
    made = ensemble("all", members)
    assert [member["folder"] for member in made.members] == ["member-0", "member-1", "member-2"]
    loaded = load_checkpoint(made.folder)
    for folder in members:
        shutil.rmtree(folder)  # an ensemble is whole by itself
    assert len(members_of(loaded.model)) == 3
    completed = complete("checkpoints/all", split="dev")
    np.testing.assert_array_equal(
        completed.sprites, complete_prompts(loaded.model, few_sprites.prompts("dev"))
    )
    submitted = submit("checkpoints/all")
    assert not submitted.report.faults
    assert submitted.reason == "the ensemble of its 3 members"
    assert json.loads(submitted.sidecar.read_text())["checkpoint"]["sha256"] == fingerprint_checkpoint(
        made.folder
    )
    scored = score("checkpoints/all").scorecard
    assert scored["nll"] == pytest.approx(true_completion_nll(loaded.model, few_sprites.tokens("dev")))


def test_the_likelihood_is_that_of_the_mean_probability(members: list[str], few_sprites: Sprites) -> None:
    made = ensemble("two", [members[0], members[2]])  # neither has conditioning tokens
    combined = load_checkpoint(made.folder).model
    tokens = torch.from_numpy(few_sprites.tokens("dev"))
    with torch.no_grad():
        mean = torch.stack([one(tokens).logits.softmax(-1) for one in members_of(combined)]).mean(0)
    expected = token_nll(mean.log(), tokens)[:, -160:].mean().item()
    assert true_completion_nll(combined, tokens) == pytest.approx(expected, rel=1e-5)


def test_the_same_ensemble_is_kept_and_another_refused(members: list[str]) -> None:
    made = ensemble("all", members)
    before = (made.folder / "ensemble.json").stat().st_mtime_ns
    ensemble("all", members)
    assert (made.folder / "ensemble.json").stat().st_mtime_ns == before
    with pytest.raises(PokemonGenError, match="an ensemble of others, and is kept"):
        ensemble("all", members[:2])
    assert len(members_of(load_checkpoint(ensemble("all", members[:2], True).folder).model)) == 2
    with pytest.raises(PokemonGenError, match="plain is a run, and is kept"):
        ensemble("plain", members)
    with pytest.raises(PokemonGenError, match="two or more"):
        ensemble("one", members[:1])
    with pytest.raises(PokemonGenError, match="an ensemble itself"):
        ensemble("nested", ["checkpoints/all", members[0]])


def test_a_name_is_a_name(members: list[str]) -> None:
    for name in ("my best", "checkpoints/both"):
        with pytest.raises(PokemonGenError, match="cannot be an ensemble's name: use letters"):
            ensemble(name, members)


def test_a_damaged_ensemble_is_made_again(members: list[str]) -> None:
    made = ensemble("all", members)
    (made.folder / "member-1" / "model.safetensors").unlink()
    with pytest.raises(PokemonGenError, match="and is kept"):
        ensemble("all", members)
    assert len(members_of(load_checkpoint(ensemble("all", members, True).folder).model)) == 3
    (made.folder / "ensemble.json").write_text("{}")
    assert len(members_of(load_checkpoint(ensemble("all", members, True).folder).model)) == 3


def test_an_ensemble_is_not_selected_again(members: list[str]) -> None:
    ensemble("all", members)
    with pytest.raises(PokemonGenError, match="selected before"):
        select("checkpoints/all")


def test_members_have_seen_the_same_sprites(tiny: Make, members: list[str], few_sprites: Sprites) -> None:
    """A member that had a fold held out cannot be measured on it beside one that has learned it."""
    train(tiny(name="held", sprites={"source": "text:few", "fold_size": 4}))
    with pytest.raises(PokemonGenError, match=r"held.*trained on other sprites than"):
        ensemble("mixed", [members[0], "checkpoints/held"])


def test_a_damaged_ensemble_is_named(members: list[str]) -> None:
    made = ensemble("all", members)
    (made.folder / "member-1" / "model.safetensors").unlink()
    with pytest.raises(PokemonGenError, match=r"member-1: no checkpoint: it has no model\.safetensors"):
        load_checkpoint(made.folder)
    (made.folder / "ensemble.json").write_text("{}")
    with pytest.raises(PokemonGenError, match=r"ensemble\.json: not an ensemble's"):
        load_checkpoint(made.folder)
