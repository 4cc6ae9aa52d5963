"""`classifier.py`, `detector.py`, `judge.py`: they learn, keep their threshold, and stay apart."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pokemon_gen.discriminator.classifier import Classifier
from pokemon_gen.discriminator.detector import auc, load_detector, measure
from pokemon_gen.discriminator.fit import (
    RealFakeBatches,
    build_classifier,
    train_classifier,
    with_threshold,
)
from pokemon_gen.discriminator.judge import Judge, mean_interval, wilson_interval
from pokemon_gen.discriminator.negatives import noise
from pokemon_gen.errors import PokemonGenError, SettingError
from pokemon_gen.settings import ClassifierSettings
from pokemon_gen.sprites.loading import Sprites
from tests.builders import TINY_DETECTOR


def settings(**changes: Any) -> ClassifierSettings:
    return ClassifierSettings.model_validate({**TINY_DETECTOR["classifier"], **changes})


@pytest.fixture(scope="module")
def trained(procedural: Sprites) -> Classifier:
    """Return a small classifier that has learned to know noise."""
    train = procedural.tokens("train")
    completions = noise(train[:60], 167, np.random.default_rng(1))
    how = settings(steps=60, batch_size=32, learning_rate=0.01)
    return train_classifier(how, 0, train[:200], completions, train[200:260], procedural.palette, "test")


def test_it_learns_and_most_real_sprites_pass(trained: Classifier, procedural: Sprites) -> None:
    dev = procedural.tokens("dev")
    corrupted = noise(dev, 167, np.random.default_rng(2))
    assert auc(trained.probabilities(dev), trained.probabilities(corrupted)) > 0.9
    held_out = procedural.tokens("train")[200:260]
    assert (trained.probabilities(held_out) >= trained.threshold).mean() == pytest.approx(0.95, abs=0.02)


def test_probabilities_do_not_depend_on_the_batch(trained: Classifier, procedural: Sprites) -> None:
    dev = procedural.tokens("dev")
    np.testing.assert_allclose(
        trained.probabilities(dev[:3]), trained.probabilities(dev)[:3], rtol=1e-4, atol=1e-6
    )
    assert trained.features(dev).shape == (80, 8)


def test_a_batch_is_half_real_and_drawn_from_the_seed(procedural: Sprites) -> None:
    train = procedural.tokens("train")
    data = RealFakeBatches(settings(batch_size=40), 0, train[:50], train[50:60], procedural.palette)
    batch = data.__getitems__(list(range(40)))
    assert batch["pixel_values"].shape[1:] == (3, 40, 40)
    assert batch["labels"][:20].tolist() == [1] * 20
    assert 15 <= (batch["labels"] == 0).sum() <= 20  # what a cut did not change is left out
    again = data.__getitems__(list(range(40)))
    assert torch.equal(batch["pixel_values"], again["pixel_values"])
    other = RealFakeBatches(settings(batch_size=40), 1, train[:50], train[50:60], procedural.palette)
    assert not torch.equal(batch["pixel_values"][0], other.__getitems__(list(range(40)))["pixel_values"][0])


def test_the_threshold_is_at_the_twentieth_of_the_held_out(
    trained: Classifier, procedural: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = np.arange(100) / 100
    monkeypatch.setattr(Classifier, "probabilities", lambda *_: given)
    assert with_threshold(trained, procedural.tokens("train")[:100]).threshold == pytest.approx(0.05)


def test_what_is_saved_comes_back_and_only_in_its_role(
    trained: Classifier, procedural: Sprites, tmp_path: Path
) -> None:
    dev = procedural.tokens("dev")
    trained.save(tmp_path / "run" / "detector", "detector", {"n": 3})
    loaded = load_detector(tmp_path / "run")
    np.testing.assert_allclose(loaded.probabilities(dev), trained.probabilities(dev), rtol=1e-6)
    assert (loaded.threshold, loaded.metadata["n"]) == (trained.threshold, 3)
    with pytest.raises(PokemonGenError, match=r"holds a detector, not a judge"):
        Judge.load(tmp_path / "run" / "detector")
    trained.save(tmp_path / "other" / "detector", "judge", {})  # even where a detector is looked for
    with pytest.raises(PokemonGenError, match=r"holds a judge, not a detector"):
        load_detector(tmp_path / "other")


def test_a_damaged_one_is_named(trained: Classifier, tmp_path: Path) -> None:
    folder = tmp_path / "judge"
    with pytest.raises(PokemonGenError, match=r"judge: no judge in it"):
        Judge.load(folder)
    trained.save(folder, "judge", {})
    facts = json.loads((folder / "classifier.json").read_text())
    (folder / "classifier.json").write_text(json.dumps({"role": "judge"}))
    with pytest.raises(PokemonGenError, match=r"classifier.json: not a judge's"):
        Judge.load(folder)
    (folder / "classifier.json").write_text(json.dumps(facts))
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-4] + b"\0\0\1\0")
    with pytest.raises(PokemonGenError, match=r"judge: the judge's files were changed since"):
        Judge.load(folder)
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(PokemonGenError, match=r"judge: the judge cannot be loaded"):
        Judge.load(folder)


def test_the_judge_gives_a_rate_with_its_interval_and_its_name(
    trained: Classifier, procedural: Sprites, tmp_path: Path
) -> None:
    trained.save(tmp_path, "judge", {})
    judge = Judge.load(tmp_path)
    dev = procedural.tokens("dev")
    verdict = judge.verdict(dev)
    passed = trained.probabilities(dev) >= trained.threshold
    assert verdict.rate == pytest.approx(passed.mean())
    assert (verdict.low, verdict.high) == wilson_interval(int(passed.sum()), 80)
    assert verdict.judge == judge.fingerprint
    assert len(judge.fingerprint) == 16
    with pytest.raises(PokemonGenError, match="two or more"):
        judge.verdict(dev[:1])
    public = {name for name in dir(judge) if not name.startswith("_")}
    assert public == {"load", "palette", "fingerprint", "metadata", "verdict"}  # nothing to rank sprites by


def test_the_interval_of_a_mean_is_that_of_the_normal_law_where_many_are() -> None:
    values = np.random.default_rng(1).random(400)
    half = 1.96 * values.std() / 20
    assert mean_interval(values) == pytest.approx((values.mean() - half, values.mean() + half), abs=3e-3)


def test_wilsons_interval_is_the_textbooks() -> None:
    """Of 8 in 10 (Wilson 1927): 0.490 to 0.943."""
    assert wilson_interval(8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)
    assert wilson_interval(0, 80)[0] == pytest.approx(0, abs=1e-12)


def test_dev_measures_every_family(trained: Classifier, procedural: Sprites) -> None:
    dev = procedural.tokens("dev")
    measures = measure(trained, dev, noise(dev[:10], 167, np.random.default_rng(3)))
    names = [one.negative_type for one in measures.negative_types]
    assert names == [
        "noise", "pixel shuffle", "block shuffle", "cut to white", "splice", "colour remap", "completions",
    ]  # fmt: skip
    assert measures.negative_types[0].auc > 0.9
    assert measures.negative_types[-1].n == 10
    assert measures.real_passing == pytest.approx((trained.probabilities(dev) >= trained.threshold).mean())
    assert measures.labels.tolist() == [1] * 80 + [0] * 10


def test_auc_counts_pairs() -> None:
    assert auc(np.array([0.9, 0.5]), np.array([0.4, 0.5])) == pytest.approx((2 + 1 + 0.5) / 4)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"model_type": "convnex"}, r"no image classifier of transformers; did you mean 'convnext"),
        ({"model_type": "convnext", "depth": [1]}, r"unknown setting 'classifier.model.depth' .*depths"),
        ({"model_type": "convnext", "num_labels": 3}, r"classifier.model.num_labels cannot be set"),
        ({"model_type": "convnext", "patch_size": 64}, r"convnext cannot be built"),
    ],
)
def test_a_mistaken_classifier_is_named(model: dict[str, Any], message: str) -> None:
    with pytest.raises((PokemonGenError, SettingError), match=message):
        build_classifier(settings(model=model), 0)
