"""`classifier.py`, `fit.py`, `detector.py`, `judge.py`: training, threshold, metrics and separate roles."""

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
    """Return a small classifier that has learned to recognise noise."""
    train = procedural.tokens("train")
    completions = noise(train[:60], 167, np.random.default_rng(1))
    short = settings(steps=60, batch_size=32, learning_rate=0.01)
    return train_classifier(short, 0, train[:200], completions, train[200:260], procedural.palette, "test")


def test_a_trained_classifier_recognises_noise_and_passes_most_real_sprites(
    trained: Classifier, procedural: Sprites
) -> None:
    dev = procedural.tokens("dev")
    corrupted = noise(dev, 167, np.random.default_rng(2))
    assert auc(trained.probabilities(dev), trained.probabilities(corrupted)) > 0.9
    calibration = procedural.tokens("train")[200:260]
    assert (trained.probabilities(calibration) >= trained.threshold).mean() == pytest.approx(0.95, abs=0.02)


def test_probabilities_do_not_depend_on_the_batch(trained: Classifier, procedural: Sprites) -> None:
    dev = procedural.tokens("dev")
    together = trained.probabilities(np.concatenate([dev, dev[:3]]))  # more than one pass
    for company in (dev[:3], dev[:1]):
        np.testing.assert_array_equal(trained.probabilities(company), together[: len(company)])
    np.testing.assert_array_equal(together[:3], together[-3:])
    assert trained.features(dev).shape == (80, 8)


def test_half_of_a_batch_is_real_and_the_seed_determines_the_batch(procedural: Sprites) -> None:
    train = procedural.tokens("train")
    data = RealFakeBatches(settings(batch_size=40), 0, train[:50], train[50:60], procedural.palette)
    batch = data.__getitems__(list(range(40)))
    assert batch["pixel_values"].shape[1:] == (3, 40, 40)
    assert batch["labels"][:20].tolist() == [1] * 20
    assert 15 <= (batch["labels"] == 0).sum() <= 20  # a sprite that a cut did not change is dropped
    repeated = data.__getitems__(list(range(40)))
    assert torch.equal(batch["pixel_values"], repeated["pixel_values"])
    other_seed = RealFakeBatches(settings(batch_size=40), 1, train[:50], train[50:60], procedural.palette)
    other_batch = other_seed.__getitems__(list(range(40)))
    assert not torch.equal(batch["pixel_values"][0], other_batch["pixel_values"][0])


def test_the_threshold_is_the_fifth_percentile_of_the_calibration_sprites(
    trained: Classifier, procedural: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    probabilities = np.arange(100) / 100
    monkeypatch.setattr(Classifier, "probabilities", lambda *_: probabilities)
    assert with_threshold(trained, procedural.tokens("train")[:100]).threshold == pytest.approx(0.05)


def test_a_saved_classifier_loads_only_in_its_role(
    trained: Classifier, procedural: Sprites, tmp_path: Path
) -> None:
    dev = procedural.tokens("dev")
    trained.save(tmp_path / "run" / "detector", "detector", {"n": 3})
    loaded = load_detector(tmp_path / "run")
    np.testing.assert_allclose(loaded.probabilities(dev), trained.probabilities(dev), rtol=1e-6)
    assert (loaded.threshold, loaded.metadata["n"]) == (trained.threshold, 3)
    metadata = json.loads((tmp_path / "run/detector/classifier.json").read_text())
    metadata["enlarge"] = metadata.pop("upscale")  # its name in version 0.1
    (tmp_path / "run/detector/classifier.json").write_text(json.dumps(metadata))
    assert load_detector(tmp_path / "run").upscale == trained.upscale
    with pytest.raises(PokemonGenError, match=r"run/detector: .*a detector, not a judge"):
        Judge.load(tmp_path / "run" / "detector")
    trained.save(tmp_path / "other" / "detector", "judge", {})  # a judge in the detector's place
    with pytest.raises(PokemonGenError, match=r"other/detector: .*a judge, not a detector"):
        load_detector(tmp_path / "other")


def test_an_error_names_a_missing_or_damaged_classifier(trained: Classifier, tmp_path: Path) -> None:
    folder = tmp_path / "judge"
    with pytest.raises(PokemonGenError, match=r"judge: .*`pokemon-gen judge SOURCE`"):
        Judge.load(folder)
    with pytest.raises(PokemonGenError, match=r"detector: .*`pokemon-gen detector CONFIG`"):
        load_detector(tmp_path)
    trained.save(folder, "judge", {})
    metadata = json.loads((folder / "classifier.json").read_text())
    (folder / "classifier.json").write_text(json.dumps({"role": "judge"}))
    with pytest.raises(PokemonGenError, match=r"classifier\.json: .*judge.*--overwrite"):
        Judge.load(folder)
    (folder / "classifier.json").write_text(json.dumps(metadata))
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-4] + b"\0\0\1\0")
    with pytest.raises(PokemonGenError, match=r"judge: .*changed.*--overwrite"):
        Judge.load(folder)
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(PokemonGenError, match=r"judge: .*cannot be loaded"):
        Judge.load(folder)


def test_the_judge_reports_a_rate_with_its_interval_and_its_fingerprint(
    trained: Classifier, procedural: Sprites, tmp_path: Path
) -> None:
    trained.save(tmp_path, "judge", {})
    judge = Judge.load(tmp_path)
    dev = procedural.tokens("dev")
    result = judge.evaluate(dev)
    passed = trained.probabilities(dev) >= trained.threshold
    assert result.rate == pytest.approx(passed.mean())
    assert (result.low, result.high) == wilson_interval(int(passed.sum()), 80)
    assert result.judge == judge.fingerprint
    assert len(judge.fingerprint) == 16
    with pytest.raises(PokemonGenError, match=r"two or more .*1"):
        judge.evaluate(dev[:1])


def test_the_judge_offers_nothing_to_rank_sprites_by(trained: Classifier, tmp_path: Path) -> None:
    trained.save(tmp_path, "judge", {})
    judge = Judge.load(tmp_path)
    public = {name for name in dir(judge) if not name.startswith("_")}
    assert public == {"load", "palette", "fingerprint", "metadata", "evaluate"}


def test_the_interval_of_a_mean_of_many_values_is_the_normal_one() -> None:
    values = np.random.default_rng(1).random(400)
    half = 1.96 * values.std() / 20
    assert mean_interval(values) == pytest.approx((values.mean() - half, values.mean() + half), abs=3e-3)


def test_wilsons_interval_equals_the_published_one() -> None:
    """The interval of 8 in 10 is 0.490 to 0.943 (Wilson 1927)."""
    assert wilson_interval(8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)
    assert wilson_interval(0, 80)[0] == pytest.approx(0, abs=1e-12)


def test_every_negative_type_is_measured_on_dev(trained: Classifier, procedural: Sprites) -> None:
    dev = procedural.tokens("dev")
    measures = measure(trained, dev, noise(dev[:10], 167, np.random.default_rng(3)))
    names = [metrics.negative_type for metrics in measures.negative_types]
    assert names == [
        "noise", "pixel shuffle", "block shuffle", "cut to white", "splice", "colour remap", "completions",
    ]  # fmt: skip
    assert measures.negative_types[0].auc > 0.9
    assert measures.negative_types[-1].n == 10
    assert measures.real_passing == pytest.approx((trained.probabilities(dev) >= trained.threshold).mean())
    assert measures.labels.tolist() == [1] * 80 + [0] * 10


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    assert auc(np.array([0.9, 0.5]), np.array([0.4, 0.5])) == pytest.approx((2 + 1 + 0.5) / 4)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"model_type": "convnex"}, r"'convnex'.*transformers.*'convnext"),
        ({"model_type": "convnext", "depth": [1]}, r"classifier\.model\.depth\b.*depths"),
        ({"model_type": "convnext", "num_labels": 3}, r"classifier\.model\.num_labels"),
        ({"model_type": "convnext", "patch_size": 64}, r"classifier\.model: convnext"),
    ],
)
def test_an_error_names_a_wrong_classifier_setting(model: dict[str, Any], message: str) -> None:
    with pytest.raises((PokemonGenError, SettingError), match=message):
        build_classifier(settings(model=model), 0)
