"""`generators.py`: each fold of train is completed by a model that has not seen it."""

import numpy as np
import pytest

from pokemon_gen.discriminator import generators
from pokemon_gen.discriminator.generators import complete_unseen
from pokemon_gen.settings import GeneratorSettings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.training.trainer import SpriteDataset
from tests.builders import TINY_DETECTOR

SETTINGS = GeneratorSettings.model_validate({**TINY_DETECTOR["generator"], "snapshot_steps": [1, 2]})


def test_every_fold_is_completed_by_a_model_that_has_not_seen_it(
    few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, dev = few_sprites.tokens("train"), few_sprites.tokens("dev")
    seen: list[set[bytes]] = []
    completed: list[set[bytes]] = []

    def spy_dataset(tokens: np.ndarray) -> object:
        seen.append({row.tobytes() for row in tokens[:, :240]})
        completed.append(set())
        return SpriteDataset(tokens)

    def spy_complete(model: object, prompts: np.ndarray, settings: object) -> np.ndarray:
        completed[-1] |= {row.tobytes() for row in prompts}
        return np.concatenate([prompts, np.full((len(prompts), 160), 166)], axis=1)

    monkeypatch.setattr(generators, "SpriteDataset", spy_dataset)
    monkeypatch.setattr(generators, "complete_prompts", spy_complete)
    completions = complete_unseen(SETTINGS, 0, train, dev, 167, "test")
    train_prompts = {row.tobytes() for row in train[:, :240]}
    dev_prompts = {row.tobytes() for row in dev[:, :240]}
    assert len(seen) == 2
    for trained_on, prompts in zip(seen, completed, strict=True):
        assert not trained_on & prompts
        assert trained_on | prompts - dev_prompts == train_prompts
    assert dev_prompts <= completed[0]
    assert completions.train.shape == (2 * 24, 400)  # each sprite at both snapshots
    assert completions.others.shape == (2 * 8, 400)  # by the first model


@pytest.mark.slow
def test_prompts_are_unchanged_and_the_seed_determines_the_completions(few_sprites: Sprites) -> None:
    train = few_sprites.tokens("train")
    once = SETTINGS.model_copy(update={"snapshot_steps": (1,)})
    completions = complete_unseen(once, 0, train, few_sprites.tokens("dev")[:2], 167, "test")
    prompts = {row.tobytes() for row in train[:, :240]}
    assert all(row[:240].tobytes() in prompts for row in completions.train)
    repeated = complete_unseen(once, 0, train, few_sprites.tokens("dev")[:2], 167, "test")
    np.testing.assert_array_equal(completions.train, repeated.train)


def test_a_share_of_each_fold_is_completed(few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch) -> None:
    def complete(model: object, prompts: np.ndarray, settings: object) -> np.ndarray:
        return np.concatenate([prompts, np.full((len(prompts), 160), 166)], axis=1)

    monkeypatch.setattr(generators, "complete_prompts", complete)
    train, dev = few_sprites.tokens("train"), few_sprites.tokens("dev")
    half = SETTINGS.model_copy(update={"share": 0.5})
    completions = complete_unseen(half, 0, train, dev, 167, "test")
    # Two snapshots of (12 + 8) / 2 prompts by the first model, and of 12 / 2 by the second.
    assert len(completions.train) + len(completions.others) == 2 * 10 + 2 * 6


def test_completions_that_equal_the_truth_are_dropped(
    few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, dev = few_sprites.tokens("train"), few_sprites.tokens("dev")
    truth = {row[:240].tobytes(): row for row in np.concatenate([train, dev])}

    def complete_perfectly(model: object, prompts: np.ndarray, settings: object) -> np.ndarray:
        return np.stack([truth[row.tobytes()] for row in prompts])

    monkeypatch.setattr(generators, "complete_prompts", complete_perfectly)
    completions = complete_unseen(SETTINGS, 0, train, dev, 167, "test")
    assert (len(completions.train), len(completions.others)) == (0, 0)
