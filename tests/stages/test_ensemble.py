"""`stages/ensemble.py`: an ensemble is used like any checkpoint, and its members fit together."""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.models.checkpoints import fingerprint_checkpoint
from pokemon_gen.models.ensemble import members_of
from pokemon_gen.models.likelihood import token_nll, true_completion_nll
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages.complete import complete
from pokemon_gen.stages.ensemble import ensemble
from pokemon_gen.stages.score import score
from pokemon_gen.stages.select import select
from pokemon_gen.stages.submit import submit
from pokemon_gen.training.run import train
from tests.builders import error_with, tiny_settings, write_text_folder
from tests.model_builders import MODEL_TYPES

PLAIN, AUGMENTED, LLAMA = "checkpoints/plain", "checkpoints/augmented", "checkpoints/llama"
MEMBERS = [PLAIN, AUGMENTED, LLAMA]


def count_members(folder: Path) -> int:
    """Load an ensemble and return the number of its members."""
    return len(members_of(load_checkpoint(folder).model))


@pytest.fixture(scope="module")
def members_folder(few_sprites: Sprites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train three different members: a plain one, one with conditioning tokens, and one of another type."""
    folder = tmp_path_factory.mktemp("members")
    augmentation = {"flips": "mirror", "hue_shifts": 3}
    with contextlib.chdir(folder):
        write_text_folder(few_sprites, Path("few"))
        train(tiny_settings(name="plain"))
        train(tiny_settings(name="augmented", augmentation=augmentation, seed=1))
        train(tiny_settings(name="llama", model=MODEL_TYPES["llama"], seed=2))
    return folder


@pytest.fixture
def members(members_folder: Path, own_folder: Path) -> list[str]:
    """Copy the members to the working directory and return their runs."""
    shutil.copytree(members_folder, own_folder, dirs_exist_ok=True)
    return MEMBERS


@pytest.mark.slow
def test_an_ensemble_completes_submits_and_scores_like_a_checkpoint(
    members: list[str], few_sprites: Sprites
) -> None:
    made = ensemble("all", members)
    assert [member["folder"] for member in made.members] == ["member-0", "member-1", "member-2"]
    loaded = load_checkpoint(made.folder)
    assert "gpt2+gpt2+llama" in repr(loaded)
    for folder in members:
        shutil.rmtree(folder)  # an ensemble holds copies of its members
    assert len(members_of(loaded.model)) == 3
    completed = complete("checkpoints/all", split="dev")
    np.testing.assert_array_equal(
        completed.sprites, complete_prompts(loaded.model, few_sprites.prompts("dev"))
    )
    submitted = submit("checkpoints/all")
    assert not submitted.report.faults
    assert "3 members" in submitted.reason
    sidecar = json.loads(submitted.sidecar.read_text())
    assert sidecar["checkpoint"]["sha256"] == fingerprint_checkpoint(made.folder)
    scored = score("checkpoints/all").scorecard
    assert scored["nll"] == pytest.approx(true_completion_nll(loaded.model, few_sprites.tokens("dev")))


def test_the_likelihood_is_that_of_the_mean_probability(members: list[str], few_sprites: Sprites) -> None:
    made = ensemble("two", [PLAIN, LLAMA])  # neither has conditioning tokens
    combined = load_checkpoint(made.folder).model
    tokens = torch.from_numpy(few_sprites.tokens("dev")).to(combined.device)
    with torch.no_grad():
        mean = torch.stack([member(tokens).logits.softmax(-1) for member in members_of(combined)]).mean(0)
    expected = token_nll(mean.log(), tokens)[:, -160:].mean().item()
    assert true_completion_nll(combined, few_sprites.tokens("dev")) == pytest.approx(expected, rel=1e-5)


def test_the_same_ensemble_is_kept_and_another_one_is_refused(members: list[str]) -> None:
    made = ensemble("all", members)
    before = (made.folder / "ensemble.json").stat().st_mtime_ns
    ensemble("all", members)
    assert (made.folder / "ensemble.json").stat().st_mtime_ns == before
    with error_with(str(made.folder), "other members", "--overwrite"):
        ensemble("all", members[:2])
    assert count_members(ensemble("all", members[:2], overwrite=True).folder) == 2


def test_what_cannot_be_combined_is_refused(members: list[str]) -> None:
    with error_with(PLAIN, "holds a run"):
        ensemble("plain", members)
    with error_with("two or more members"):
        ensemble("one", members[:1])
    ensemble("all", members)
    with error_with("checkpoints/all/best", "ensemble"):
        ensemble("nested", ["checkpoints/all", PLAIN])


@pytest.mark.parametrize("name", ["my best", "checkpoints/both"])
def test_an_invalid_name_is_refused(name: str) -> None:
    with error_with(f"'{name}'", "letters"):
        ensemble(name, MEMBERS)


def test_a_damaged_ensemble_is_named_and_replaced_only_on_request(members: list[str]) -> None:
    made = ensemble("all", members)
    (made.folder / "member-1" / "model.safetensors").unlink()
    with error_with(str(made.folder / "member-1"), "model.safetensors"):
        load_checkpoint(made.folder)
    with error_with(str(made.folder), "--overwrite"):
        ensemble("all", members)
    assert count_members(ensemble("all", members, overwrite=True).folder) == 3
    (made.folder / "ensemble.json").write_text("{}")
    with error_with(str(made.folder / "ensemble.json"), "ensemble"):
        load_checkpoint(made.folder)
    assert count_members(ensemble("all", members, overwrite=True).folder) == 3


def test_an_ensemble_is_not_selected_again(members: list[str]) -> None:
    ensemble("all", members)
    with error_with("checkpoints/all", "ensemble", "selected"):
        select("checkpoints/all")


def test_members_that_held_out_other_sprites_are_refused(members: list[str]) -> None:
    """One member would be measured on sprites that another one has learned."""
    train(tiny_settings(name="fold", sprites={"source": "text:few", "fold_size": 4}))
    with error_with("checkpoints/fold", PLAIN, "other sprites"):
        ensemble("mixed", [PLAIN, "checkpoints/fold"])


def test_ensembles_of_different_seeds_share_no_member() -> None:
    seeds = [member.seed for seed in range(6) for member in tiny_settings(members=4, seed=seed).each_member()]
    assert len(set(seeds)) == 24
