"""`classifier.py`, `fit.py`, `detector.py`, `judge.py`: training, threshold, metrics and separate roles."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import ResNetConfig, ResNetForImageClassification

from pokemon_gen.discriminator.classifier import Classifier, to_pixels
from pokemon_gen.discriminator.detector import load_detector
from pokemon_gen.discriminator.fit import (
    LIGHTER,
    RealFakeBatches,
    _ClassifierTrainer,
    build_classifier,
    train_classifier,
    with_threshold,
)
from pokemon_gen.discriminator.generators import CompletedPrompts
from pokemon_gen.discriminator.judge import Judge
from pokemon_gen.discriminator.negatives import noise, splice
from pokemon_gen.discriminator.separation import separation, wilson_interval
from pokemon_gen.errors import PokemonGenError, SettingError
from pokemon_gen.palette import Palette, to_picture
from pokemon_gen.settings import ClassifierSettings
from pokemon_gen.sprites.loading import Sprites
from tests.builders import TINY_DETECTOR


def settings(**changes: Any) -> ClassifierSettings:
    return ClassifierSettings.model_validate({**TINY_DETECTOR["classifier"], **changes})


def completed(sprites: np.ndarray) -> CompletedPrompts:
    """Take (M, 400) sprites for completions of the first M positives."""
    return CompletedPrompts(sprites, np.arange(len(sprites)))


@pytest.fixture(scope="module")
def trained(procedural: Sprites) -> Classifier:
    """Return a small classifier that has learned to recognise noise."""
    train = procedural.tokens("train")
    completions = completed(noise(train[:60], 167, np.random.default_rng(1)))
    short = settings(steps=60, batch_size=32, learning_rate=0.01)
    return train_classifier(short, 0, train[:200], completions, train[200:260], procedural.palette, "test")


def test_a_trained_classifier_recognises_noise_and_passes_most_real_sprites(
    trained: Classifier, procedural: Sprites
) -> None:
    dev = procedural.tokens("dev")
    corrupted = noise(dev, 167, np.random.default_rng(2))
    assert separation(trained.log_odds(dev), trained.log_odds(corrupted), np.arange(80)).auc > 0.9
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
    train = procedural.tokens("train")[:50]
    splices = completed(splice(train, 167, np.random.default_rng(0)))
    data = RealFakeBatches(settings(batch_size=40), 0, train, splices, procedural.palette)
    batch = data.__getitems__(list(range(40)))
    assert batch["pixel_values"].shape == (40, 4, 20, 20)
    mask = batch["pixel_values"][:, 3]
    assert (mask[:, :11] == -1).all()  # a sprite is moved by at most one row
    assert (mask[:, 13:] == 1).all()
    assert batch["labels"].tolist() == [1] * 20 + [0] * 20
    repeated = data.__getitems__(list(range(40)))
    assert torch.equal(batch["pixel_values"], repeated["pixel_values"])
    other_seed = RealFakeBatches(settings(batch_size=40), 1, train, splices, procedural.palette)
    other_batch = other_seed.__getitems__(list(range(40)))
    assert not torch.equal(batch["pixel_values"][0], other_batch["pixel_values"][0])


def test_real_sprites_are_augmented_too(procedural: Sprites) -> None:
    """Half are mirrored, eight of nine are shifted by a pixel, and all are tinted."""
    train = procedural.tokens("train")[:50]
    splices = completed(splice(train, 167, np.random.default_rng(0)))
    batches = RealFakeBatches(settings(batch_size=200), 0, train, splices, procedural.palette)
    real = batches.__getitems__(list(range(200)))["pixel_values"][:100, :3]
    original = to_pixels(to_picture(train, procedural.palette), 3)
    distances = (real[:, None] - original[None]).abs().amax((2, 3, 4))  # (100, 50)
    assert distances.min() > 0  # tinted
    unmoved = distances.amin(1) < 2 * LIGHTER
    assert 0 < unmoved.float().mean() < 0.3


def test_completions_and_splices_have_their_shares_of_the_corrupted_sprites(procedural: Sprites) -> None:
    """Harder types have larger shares, and nothing else shows a detector what models do wrong."""
    train = procedural.tokens("train")[:50]
    marked = train.copy()
    marked[:, 240:] = np.arange(160) % 3  # no other type has such rows
    batches = RealFakeBatches(settings(batch_size=2000), 0, train, completed(marked), procedural.palette)
    _, corrupted = batches._pairs(1000, np.random.default_rng(0))
    shares = {"completions": (corrupted[:, 240:] == marked[0, 240:]).all(1).mean()}
    bottoms = {row.tobytes() for row in train[:, 240:]}
    prompts = {row.tobytes() for row in train[:, :240]}
    spliced = [row[:240].tobytes() in prompts and row[240:].tobytes() in bottoms for row in corrupted]
    shares["splice"] = float(np.mean(spliced))
    assert shares["completions"] == pytest.approx(0.4, abs=0.06)
    assert shares["splice"] == pytest.approx(0.17, abs=0.05)


@pytest.mark.parametrize("channel_swaps", [0.0, 1.0])
def test_only_the_completion_tells_a_real_sprite_from_its_corrupted_form(
    procedural: Sprites, channel_swaps: float
) -> None:
    """Both are augmented alike. Noise and shuffles may corrupt the prompt too."""
    train = procedural.tokens("train")[:50]
    splices = completed(splice(train, 167, np.random.default_rng(0)))
    options = settings(batch_size=200, channel_swaps=channel_swaps)
    batch = RealFakeBatches(options, 0, train, splices, procedural.palette).__getitems__(list(range(200)))
    real, corrupted = batch["pixel_values"].chunk(2)
    assert len(real) == 100  # others replace the sprites that a cut did not change
    prompt = slice(0, 11)  # a sprite is moved by at most one row
    equal = (real[:, :, prompt] == corrupted[:, :, prompt]).flatten(1).all(1)
    assert equal.float().mean() > 0.8
    assert not (real == corrupted).flatten(1).all(1).any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="captures need an NVIDIA GPU")
def test_captured_steps_learn_what_others_learn(procedural: Sprites, monkeypatch: pytest.MonkeyPatch) -> None:
    train, dev = procedural.tokens("train")[:100], procedural.tokens("dev")
    splices = completed(splice(train, 167, np.random.default_rng(0)))
    log_odds = []
    for capture in (True, False):  # a capture that fails is an error
        monkeypatch.setattr(_ClassifierTrainer, "capture", capture)
        one = train_classifier(settings(steps=12), 0, train, splices, dev[:9], procedural.palette, "test")
        log_odds.append(one.log_odds(dev))
    np.testing.assert_allclose(log_odds[0], log_odds[1], atol=0.05)


def test_several_networks_are_averaged_and_saved(procedural: Sprites, tmp_path: Path) -> None:
    train, dev = procedural.tokens("train")[:40], procedural.tokens("dev")[:9]
    two = train_classifier(
        settings(networks=2), 0, train, completed(train[::-1]), dev, procedural.palette, "test"
    )
    alone = [Classifier((network,), two.palette, two.upscale, 0.5, {}) for network in two.networks]
    np.testing.assert_allclose(two.log_odds(dev), np.mean([one.log_odds(dev) for one in alone], axis=0))
    assert not np.allclose(alone[0].log_odds(dev), alone[1].log_odds(dev))
    two.save(tmp_path / "judge", "judge", {})
    loaded = Classifier.load(tmp_path / "judge", "judge")
    np.testing.assert_allclose(loaded.log_odds(dev), two.log_odds(dev), rtol=1e-6)
    assert loaded.features(dev).shape == (9, 16)
    weights = tmp_path / "judge/network-1/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\1\0")
    with pytest.raises(PokemonGenError, match=r"judge: .*changed"):
        Classifier.load(tmp_path / "judge", "judge")


def test_a_classifier_of_an_earlier_version_sees_no_mask(procedural: Sprites) -> None:
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=2)
    network = ResNetForImageClassification(config).eval()
    old = Classifier((network,), procedural.palette, 2, 0.5, {})
    assert old.probabilities(procedural.tokens("dev")[:3]).shape == (3,)
    assert old.saliency(procedural.tokens("dev")[:3]).shape == (3, 20, 20)


class UncheckedPalette(Palette):
    """A palette that may hold a colour twice."""

    def __init__(self, rgb: np.ndarray) -> None:
        object.__setattr__(self, "rgb", rgb)


def test_the_saliency_is_the_gradient_by_the_colour_of_a_pixel(
    trained: Classifier, procedural: Sprites
) -> None:
    """A sprite whose pixel has a slightly other colour has log-odds that differ by the gradient."""
    sprite = procedural.tokens("dev")[:1]
    maps = trained.saliency(sprite)
    assert maps.shape == (1, 20, 20)
    row, column = np.unravel_index(maps[0].argmax(), (20, 20))
    rgb = np.concatenate([procedural.palette.rgb, procedural.palette.rgb[sprite[0, row * 20 + column]][None]])
    changes = []
    for channel in range(3):
        pair = []
        for step in (-2, 2):
            changed = rgb.copy()
            changed[-1, channel] = np.clip(int(changed[-1, channel]) + step, 0, 255)
            other = sprite.copy()
            other[0, row * 20 + column] = len(rgb) - 1
            one = replace(trained, palette=UncheckedPalette(changed))
            pair.append((one.log_odds(other)[0], changed[-1, channel] / 127.5))
        changes.append((pair[1][0] - pair[0][0]) / (pair[1][1] - pair[0][1]))
    assert np.linalg.norm(changes) == pytest.approx(maps[0, row, column], rel=0.1)


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
    assert public == {
        "load", "palette", "fingerprint", "metadata", "evaluate", "compare", "features", "explain",
        "references", "failures", "limits", "kind", "has_learned",
    }  # fmt: skip


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


@pytest.mark.slow
def test_tiny_networks_tell_splices_from_real_sprites(procedural: Sprites) -> None:
    train, dev = procedural.tokens("train"), procedural.tokens("dev")
    generator = np.random.default_rng(0)
    splices = np.concatenate([splice(train[:560], 167, generator) for _ in range(4)])
    completions = CompletedPrompts(splices, np.tile(np.arange(560), 4))
    options = settings(
        model={**TINY_DETECTOR["classifier"]["model"], "embedding_size": 16, "hidden_sizes": [16, 32],
               "depths": [1, 1]},
        networks=2, steps=120, batch_size=64, learning_rate=5e-3,
    )  # fmt: skip
    judge = train_classifier(options, 0, train[:560], completions, train[560:], procedural.palette, "test")
    splices = splice(dev, 167, generator)
    assert separation(judge.log_odds(dev), judge.log_odds(splices), np.arange(80)).auc >= 0.8
