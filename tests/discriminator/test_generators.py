"""`generators.py`: train is completed by models that have not seen what they complete."""

import numpy as np
import pytest

from pokemon_gen.discriminator import generators
from pokemon_gen.discriminator.generators import complete_unseen
from pokemon_gen.settings import GeneratorSettings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.training.trainer import SpriteDataset
from tests.builders import TINY_DETECTOR

SETTINGS = GeneratorSettings.model_validate({**TINY_DETECTOR["generator"], "snapshot_steps": [1, 2]})


def test_every_part_is_completed_by_a_model_that_has_not_seen_it(
    few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, dev = few_sprites.tokens("train"), few_sprites.tokens("dev")
    seen: list[set[bytes]] = []
    completed: list[set[bytes]] = []

    def spy_dataset(tokens: np.ndarray) -> object:
        seen.append({row.tobytes() for row in tokens[:, :240]})
        completed.append(set())
        return SpriteDataset(tokens)

    def spy_complete(model: object, prompts: np.ndarray, how: object) -> np.ndarray:
        completed[-1] |= {row.tobytes() for row in prompts}
        return np.concatenate([prompts, np.full((len(prompts), 160), 166)], axis=1)

    monkeypatch.setattr(generators, "SpriteDataset", spy_dataset)
    monkeypatch.setattr(generators, "complete_prompts", spy_complete)
    made = complete_unseen(SETTINGS, 0, train, dev, 167, "test")
    everything = {row.tobytes() for row in train[:, :240]}
    others = {row.tobytes() for row in dev[:, :240]}
    assert len(seen) == 2
    for one, other in zip(seen, completed, strict=True):
        assert not one & other
        assert one | other - others == everything
    assert others <= completed[0]
    assert made.train.shape == (2 * 24, 400)  # each in both stages
    assert made.others.shape == (2 * 8, 400)  # by the first model


def test_completions_near_the_truth_are_dropped_and_prompts_kept(few_sprites: Sprites) -> None:
    train = few_sprites.tokens("train")
    once = SETTINGS.model_copy(update={"snapshot_steps": (1,)})
    made = complete_unseen(once, 0, train, few_sprites.tokens("dev")[:2], 167, "test")
    prompts = {row.tobytes(): row for row in train[:, :240]}
    assert all(row[:240].tobytes() in prompts for row in made.train)
    again = complete_unseen(once, 0, train, few_sprites.tokens("dev")[:2], 167, "test")
    np.testing.assert_array_equal(made.train, again.train)


def test_a_share_of_each_part_is_completed(few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch) -> None:
    def complete(model: object, prompts: np.ndarray, how: object) -> np.ndarray:
        return np.concatenate([prompts, np.full((len(prompts), 160), 166)], axis=1)

    monkeypatch.setattr(generators, "complete_prompts", complete)
    train, dev = few_sprites.tokens("train"), few_sprites.tokens("dev")
    half = SETTINGS.model_copy(update={"share": 0.5})
    made = complete_unseen(half, 0, train, dev, 167, "test")
    assert len(made.train) + len(made.others) == 2 * 10 + 2 * 6  # two stages of (12 + 8) / 2, two of 12 / 2


def test_completions_that_are_the_truth_are_left_out(
    few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, dev = few_sprites.tokens("train"), few_sprites.tokens("dev")
    known = {row[:240].tobytes(): row for row in np.concatenate([train, dev])}

    def by_heart(model: object, prompts: np.ndarray, how: object) -> np.ndarray:
        return np.stack([known[row.tobytes()] for row in prompts])

    monkeypatch.setattr(generators, "complete_prompts", by_heart)
    made = complete_unseen(SETTINGS, 0, train, dev, 167, "test")
    assert (len(made.train), len(made.others)) == (0, 0)
