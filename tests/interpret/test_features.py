"""`features.py`: known directions are found again, and reports equal values computed in another way."""

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.interpret.features import (
    SETTINGS_NAME,
    WEIGHTS_NAME,
    FeatureSettings,
    SparseAutoencoder,
    compare,
    measure,
    read_published,
    top_activations,
    train_autoencoder,
)

DIRECTIONS, DIMENSIONS = 48, 32
SMALL = FeatureSettings(
    features=64, active=4, steps=400, batch=128, learning_rate=1e-2, dead_after=100, dead_active=16
)
UNTRAINED = FeatureSettings(features=12, active=3)


def sparse_vectors(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of three directions each, with noise, and all directions."""
    directions = np.random.default_rng(0).normal(size=(DIRECTIONS, DIMENSIONS))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    random = np.random.default_rng(seed)
    weights = np.zeros((count, DIRECTIONS))
    for row in weights:
        row[random.choice(DIRECTIONS, 3, replace=False)] = random.uniform(1, 2, 3)
    vectors = 5 + 7 * (weights @ directions + random.normal(scale=0.02, size=(count, DIMENSIONS)))
    return vectors.astype(np.float32), directions


@pytest.fixture(scope="module")
def trained() -> SparseAutoencoder:
    return train_autoencoder(sparse_vectors(8000, seed=1)[0], SMALL)


@pytest.fixture
def untrained() -> SparseAutoencoder:
    """Return an autoencoder whose centre and bias are not zero, without a gradient."""
    autoencoder = SparseAutoencoder(6, UNTRAINED).requires_grad_(False)
    autoencoder.centre.copy_(torch.arange(6.0) / 10)
    autoencoder.bias.copy_(torch.linspace(-0.2, 0.2, 12))
    return autoencoder


def some_vectors(count: int) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(count, 6)).astype(np.float32)


def test_the_directions_that_vectors_consist_of_are_found(trained: SparseAutoencoder) -> None:
    directions = sparse_vectors(1, seed=1)[1]
    cosines = directions @ trained.decoder.numpy().T  # (48, 64)
    assert cosines.max(1).mean() > 0.9


def test_held_out_vectors_are_explained(trained: SparseAutoencoder) -> None:
    report = measure(trained, sparse_vectors(2000, seed=3)[0])
    assert report.explained > 0.9
    assert report.active <= SMALL.active


def test_directions_keep_length_one(trained: SparseAutoencoder) -> None:
    assert np.linalg.norm(trained.decoder.numpy(), axis=1) == pytest.approx(1.0, abs=1e-5)


def test_equal_settings_give_equal_weights_and_scaled_vectors_the_scaled_autoencoder() -> None:
    vectors = sparse_vectors(500, seed=1)[0]
    settings = dataclasses.replace(SMALL, steps=5)
    one, same, scaled = (train_autoencoder(x, settings) for x in (vectors, vectors, 8 * vectors))
    assert torch.equal(one.encoder, same.encoder)
    assert not torch.equal(
        one.encoder, train_autoencoder(vectors, dataclasses.replace(settings, seed=1)).encoder
    )
    x = torch.from_numpy(vectors[:20])
    assert torch.allclose(scaled.encode(8 * x), 8 * one.encode(x), atol=1e-3)
    assert torch.allclose(scaled.decode(scaled.encode(8 * x)), 8 * one.decode(one.encode(x)), atol=1e-2)


def test_only_the_loss_on_dead_features_trains_them() -> None:
    """Two dimensions are so large that only features along them are ever among the largest."""
    vectors = np.random.default_rng(1).normal(size=(1000, 32)) * np.where(np.arange(32) < 2, 300, 1)
    with_loss = FeatureSettings(features=128, active=2, steps=40, batch=64, dead_after=10, dead_active=16)
    without_loss = dataclasses.replace(with_loss, dead_after=41)
    first = SparseAutoencoder(32, with_loss).decoder.detach()

    def untrained_share(settings: FeatureSettings) -> float:
        decoder = train_autoencoder(vectors, settings).decoder
        return float(torch.isclose(decoder, first, atol=1e-5).all(1).float().mean())

    assert untrained_share(without_loss) > 0.2
    assert untrained_share(with_loss) < untrained_share(without_loss) / 2


def test_activations_are_the_largest_detections_and_never_negative(untrained: SparseAutoencoder) -> None:
    vectors = some_vectors(50)
    activations = untrained.encode(torch.from_numpy(vectors)).numpy()
    encoder, bias, centre = (part.numpy() for part in (untrained.encoder, untrained.bias, untrained.centre))
    for x, found in zip(vectors, activations, strict=True):
        expected = (x - centre) @ encoder.T + bias
        expected[np.argsort(expected)[:-3]] = 0  # all but the 3 largest
        assert found == pytest.approx(np.maximum(expected, 0), abs=1e-5)
    decoded = untrained.decode(torch.from_numpy(activations)).numpy()
    assert decoded == pytest.approx(activations @ untrained.decoder.numpy() + centre, abs=1e-5)


def test_a_report_equals_its_definition(
    untrained: SparseAutoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pokemon_gen.interpret.features._BLOCK", 7)  # the last block is smaller
    vectors = some_vectors(40)
    activations = untrained.encode(torch.from_numpy(vectors))
    residual = vectors - untrained.decode(activations).numpy()
    active = activations.numpy() > 0
    report = measure(untrained, vectors)
    total = ((vectors - vectors.mean(0)) ** 2).sum()
    assert report.explained == pytest.approx(1 - (residual**2).sum() / total, abs=1e-5)
    assert report.density == pytest.approx(active.mean(0))
    assert report.active == pytest.approx(active.sum(1).mean())
    assert report.dead == pytest.approx((~active.any(0)).mean())


def test_the_mean_alone_explains_nothing(untrained: SparseAutoencoder) -> None:
    vectors = some_vectors(40)
    untrained.centre.copy_(torch.from_numpy(vectors.mean(0)))
    untrained.decoder.zero_()
    assert measure(untrained, vectors).explained == pytest.approx(0, abs=1e-5)


def test_top_activations_equal_a_full_sort(
    untrained: SparseAutoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pokemon_gen.interpret.features._BLOCK", 7)
    vectors = some_vectors(40)
    activations = untrained.encode(torch.from_numpy(vectors)).numpy()
    top = top_activations(untrained, vectors, 5)
    assert top.values == pytest.approx(np.sort(activations, axis=0)[::-1][:5].T, abs=1e-6)
    for feature in range(12):
        order = np.argsort(-activations[:, feature], kind="stable")
        active = top.values[feature] > 0
        assert top.rows[feature][active].tolist() == order[:5][active].tolist()


def test_more_rows_than_vectors_are_all_vectors(untrained: SparseAutoencoder) -> None:
    top = top_activations(untrained, some_vectors(9), 100)
    assert (np.sort(top.rows) == np.arange(9)).all()


def test_two_inputs_are_compared_by_their_largest_activations(untrained: SparseAutoencoder) -> None:
    a, b = some_vectors(2)
    both = untrained.encode(torch.from_numpy(np.stack([a, b]))).numpy()
    pairs = compare(untrained, a, b)
    assert {pair.feature for pair in pairs} == set(np.flatnonzero(both.max(0) > 0))
    for pair in pairs:
        assert [pair.a, pair.b] == pytest.approx(both[:, pair.feature].tolist())
    largest = [max(pair.a, pair.b) for pair in pairs]
    assert largest == sorted(largest, reverse=True)
    assert compare(untrained, a, b, count=2) == pairs[:2]


def test_a_saved_autoencoder_is_loaded_unchanged(untrained: SparseAutoencoder) -> None:
    untrained.save(Path("saved"))
    loaded = SparseAutoencoder.load(Path("saved"))
    vectors = torch.from_numpy(some_vectors(5))
    assert loaded.settings == UNTRAINED
    assert torch.equal(loaded.decode(loaded.encode(vectors)), untrained.decode(untrained.encode(vectors)))


@pytest.mark.parametrize("damage", ["missing", "cut", "setting", "size"])
def test_a_damaged_autoencoder_is_an_error_that_names_its_folder(
    untrained: SparseAutoencoder, damage: str
) -> None:
    folder = Path("saved")
    untrained.save(folder)
    weights, settings = folder / WEIGHTS_NAME, folder / SETTINGS_NAME
    if damage == "missing":
        weights.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:100])
    elif damage == "setting":
        settings.write_text('{"wings": 2}')
    else:
        settings.write_text(settings.read_text().replace('"features": 12', '"features": 13'))
    with pytest.raises(PokemonGenError, match="saved"):
        SparseAutoencoder.load(folder)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"features": 8, "active": 9}, {"learning_rate": -1.0}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(PokemonGenError, match=list(wrong)[-1]):
        FeatureSettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "vectors", [np.zeros((4, 3)), np.full((4, 3), np.nan), np.zeros(5), np.zeros((0, 3)), np.zeros((2, 3, 4))]
)
def test_activations_without_variance_are_refused(vectors: np.ndarray) -> None:
    with pytest.raises(PokemonGenError, match="activations"):
        train_autoencoder(vectors, SMALL)


def test_half_precision_overflows_nothing() -> None:
    """The squares of these float16 numbers are not float16 numbers."""
    vectors = (some_vectors(300) * 1000).astype(np.float16)
    settings = FeatureSettings(features=12, active=6, steps=50, batch=64)
    assert np.isfinite(measure(train_autoencoder(vectors, settings), vectors).explained)


def test_without_saelens_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sae_lens", None)
    with pytest.raises(PokemonGenError, match=r"pip install pokemon-gen\[interpret\]"):
        read_published("gemma-scope-2b-pt-res-canonical", "layer_12/width_16k/canonical")


def test_a_published_autoencoder_is_measured_as_our_own(
    untrained: SparseAutoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = {("release", "one"): untrained}

    def from_pretrained(release: str, sae_id: str) -> SparseAutoencoder:
        if (release, sae_id) not in shelf:
            raise ValueError(f"ID {sae_id} not found in release {release}.")
        return shelf[release, sae_id]

    library = SimpleNamespace(SAE=SimpleNamespace(from_pretrained=from_pretrained))
    monkeypatch.setitem(sys.modules, "sae_lens", library)
    vectors = some_vectors(30)
    assert measure(read_published("release", "one"), vectors).dead == measure(untrained, vectors).dead
    with pytest.raises(PokemonGenError, match="ID two not found"):
        read_published("release", "two")


def test_a_published_autoencoder_is_read_from_a_folder(
    untrained: SparseAutoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_from_disk(folder: Path) -> SparseAutoencoder:
        if not (folder / "cfg.json").is_file():
            raise FileNotFoundError(f"No such file: {folder / 'cfg.json'}")
        return untrained

    library = SimpleNamespace(SAE=SimpleNamespace(load_from_disk=load_from_disk))
    monkeypatch.setitem(sys.modules, "sae_lens", library)
    Path("theirs").mkdir()
    with pytest.raises(PokemonGenError, match=r"theirs: .*cfg\.json"):
        read_published(Path("theirs"))
    (Path("theirs") / "cfg.json").touch()
    assert read_published(Path("theirs")) is untrained
    with pytest.raises(PokemonGenError, match="missing: there is no such folder"):
        read_published("missing")
