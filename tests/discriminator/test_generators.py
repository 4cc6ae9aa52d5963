"""`generators.py`: each fold of train is completed by a model that has not seen it."""

import numpy as np
import pytest

from pokemon_gen.discriminator import generators
from pokemon_gen.discriminator.generators import complete_unseen
from pokemon_gen.settings import GeneratorSettings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.training.sprites import SpriteTrainer
from tests.builders import TINY_DETECTOR

SETTINGS = GeneratorSettings.model_validate(
    {**TINY_DETECTOR["generator"], "snapshot_steps": [1, 2], "share": 1.0}
)


def complete_in_white(model: object, prompts: np.ndarray, settings: object) -> np.ndarray:
    """Complete every prompt by the last colour of the palette."""
    return np.concatenate([prompts, np.full((len(prompts), 160), 166)], axis=1)


def spy_on_generators(monkeypatch: pytest.MonkeyPatch) -> tuple[list[set[bytes]], list[set[bytes]]]:
    """Return the prompts that each generator learns, and those that it completes."""
    seen: list[set[bytes]] = []
    completed: list[set[bytes]] = []
    train = SpriteTrainer.train

    def spy_train(trainer: SpriteTrainer) -> object:
        seen.append(prompts_of(trainer.sprites.tokens("train")))
        completed.append(set())
        return train(trainer)

    def spy_complete(model: object, prompts: np.ndarray, settings: object) -> np.ndarray:
        completed[-1] |= prompts_of(prompts)
        return complete_in_white(model, prompts, settings)

    monkeypatch.setattr(SpriteTrainer, "train", spy_train)
    monkeypatch.setattr(generators, "complete_prompts", spy_complete)
    return seen, completed


def prompts_of(sprites: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in sprites[:, :240]}


def test_every_fold_is_completed_by_a_model_that_has_not_seen_it(
    few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, dev = few_sprites.tokens("train"), few_sprites.tokens("dev")
    seen, completed = spy_on_generators(monkeypatch)
    completions = complete_unseen([SETTINGS, SETTINGS], 0, train, dev, few_sprites.palette, "test")
    assert len(seen) == 4
    for trained_on, prompts in zip(seen, completed, strict=True):
        assert not trained_on & prompts
        assert trained_on | prompts - prompts_of(dev) == prompts_of(train)
    assert prompts_of(dev) <= completed[0]
    assert seen[0] != seen[2]  # another kind has other folds
    assert completions.train.sprites.shape == (
        2 * 4 * 24,
        400,
    )  # each sprite at both snapshots and temperatures
    np.testing.assert_array_equal(completions.train.sprites[:, :240], train[completions.train.rows, :240])
    assert completions.others.sprites.shape == (2 * 4 * 8, 400)  # by the first model of each kind
    np.testing.assert_array_equal(completions.others.sprites[:, :240], dev[completions.others.rows, :240])


def test_copies_of_a_sprite_are_in_one_fold(few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch) -> None:
    train, dev = few_sprites.tokens("train"), few_sprites.tokens("dev")
    mirrored = train.reshape(-1, 20, 20)[:, :, ::-1].reshape(-1, 400)
    seen, completed = spy_on_generators(monkeypatch)
    complete_unseen([SETTINGS], 0, np.concatenate([train, mirrored]), dev, few_sprites.palette, "test")
    for trained_on, prompts in zip(seen, completed, strict=True):
        for original, copy in zip(train, mirrored, strict=True):
            both = prompts_of(np.stack([original, copy]))
            assert both <= trained_on or both <= prompts


@pytest.mark.slow
def test_prompts_are_unchanged_and_the_seed_determines_the_completions(few_sprites: Sprites) -> None:
    train, dev = few_sprites.tokens("train"), few_sprites.tokens("dev")[:2]
    once = SETTINGS.model_copy(update={"snapshot_steps": (1,)})
    completions = complete_unseen([once], 0, train, dev, few_sprites.palette, "test")
    prompts = {row.tobytes() for row in train[:, :240]}
    assert all(row[:240].tobytes() in prompts for row in completions.train.sprites)
    repeated = complete_unseen([once], 0, train, dev, few_sprites.palette, "test")
    np.testing.assert_array_equal(completions.train.sprites, repeated.train.sprites)


def test_a_share_of_each_fold_is_completed(few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generators, "complete_prompts", complete_in_white)
    train, dev = few_sprites.tokens("train"), few_sprites.tokens("dev")
    half = SETTINGS.model_copy(update={"share": 0.5})
    completions = complete_unseen([half], 0, train, dev, few_sprites.palette, "test")
    # Two snapshots and two temperatures of half of 12 prompts by each of two models, and of 8 by the first.
    assert (len(completions.train.rows), len(completions.others.rows)) == (4 * 12, 4 * 4)


def test_completions_that_equal_the_truth_are_dropped(
    few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, dev = few_sprites.tokens("train"), few_sprites.tokens("dev")
    truth = {row[:240].tobytes(): row for row in np.concatenate([train, dev])}

    def complete_perfectly(model: object, prompts: np.ndarray, settings: object) -> np.ndarray:
        return np.stack([truth[row.tobytes()] for row in prompts])

    monkeypatch.setattr(generators, "complete_prompts", complete_perfectly)
    completions = complete_unseen([SETTINGS], 0, train, dev, few_sprites.palette, "test")
    assert (len(completions.train.rows), len(completions.others.rows)) == (0, 0)
