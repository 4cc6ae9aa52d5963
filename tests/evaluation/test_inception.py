"""`inception.py`: two protocols that are two libraries' own, weights checked before they are used."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from seeded_inception import seeded_weights

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation import inception
from pokemon_gen.evaluation.inception import PROTOCOLS, Inception, Protocol, WeightsMissingError, read_weights
from pokemon_gen.palette import to_picture
from pokemon_gen.sprites.loading import Sprites


@pytest.fixture(scope="session")
def pictures(procedural: Sprites) -> np.ndarray:
    return to_picture(procedural.tokens("dev")[:6], procedural.palette)


@pytest.fixture(scope="session")
def state(pictures: np.ndarray) -> dict[str, Any]:
    return seeded_weights(pictures)


@pytest.fixture(scope="session")
def features(state: dict[str, Any], pictures: np.ndarray) -> dict[Protocol, np.ndarray]:
    return {
        protocol: Inception(state, "seeded", protocol).features(pictures, "dev") for protocol in PROTOCOLS
    }


def test_features_differ_between_sprites(features: dict[Protocol, np.ndarray]) -> None:
    for found in features.values():
        assert found.shape == (6, 2048)
        assert np.median(found.std(0)) > 0.01


def test_pytorch_fid_alone_computes_the_same(
    features: dict[Protocol, np.ndarray], state: dict[str, Any], pictures: np.ndarray, tmp_path: Path
) -> None:
    from PIL import Image
    from pytorch_fid import fid_score
    from pytorch_fid import inception as theirs

    files = []
    for number, picture in enumerate(pictures):
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(picture).save(files[-1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: state)
        network = theirs.InceptionV3([3])
    found = fid_score.get_activations(files, network, batch_size=6, num_workers=0)
    np.testing.assert_allclose(features["pytorch-fid"], found, rtol=1e-4, atol=1e-6)


def test_torch_fidelity_alone_computes_the_same(
    features: dict[Protocol, np.ndarray], state: dict[str, Any], pictures: np.ndarray, tmp_path: Path
) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    torch.save(state, tmp_path / "weights.pth")
    network = FeatureExtractorInceptionV3("x", ["2048"], str(tmp_path / "weights.pth"))
    found = network(torch.from_numpy(pictures).permute(0, 3, 1, 2))[0].numpy()
    np.testing.assert_allclose(features["torch-fidelity"], found, rtol=1e-4, atol=1e-6)


def test_the_protocols_are_not_the_same(features: dict[Protocol, np.ndarray]) -> None:
    one, other = (features[protocol] for protocol in PROTOCOLS)
    assert not np.allclose(one, other, rtol=1e-2)


def test_features_are_kept_by_content_protocol_and_weights(
    state: dict[str, Any], pictures: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def features(*_: object, **__: object) -> np.ndarray:
        calls.append(1)
        return np.ones((2, 2048))

    monkeypatch.setattr(Inception, "features", features)
    one = Inception(state, "seeded", "pytorch-fid")
    for _ in range(2):
        one.cached_features(pictures[:2], "x", tmp_path)
    assert len(calls) == 1
    one.cached_features(pictures[1:3], "x", tmp_path)
    Inception(state, "other", "pytorch-fid").cached_features(pictures[:2], "x", tmp_path)
    Inception(state, "seeded", "torch-fidelity").cached_features(pictures[:2], "x", tmp_path)
    assert len(calls) == 4
    for file in tmp_path.iterdir():
        file.write_bytes(b"damaged")
    one.cached_features(pictures[:2], "x", tmp_path)
    assert len(calls) == 5


def test_features_that_are_not_finite_are_refused(state: dict[str, Any], pictures: np.ndarray) -> None:
    broken = {
        name: value * torch.nan if name == "Mixed_7c.branch1x1.conv.weight" else value
        for name, value in state.items()
    }
    with pytest.raises(PokemonGenError, match=r"mine.txt: .*sample 1 has features that are not finite"):
        Inception(broken, "broken", "pytorch-fid").features(pictures[:2], "mine.txt")


def test_a_wrong_file_of_weights_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.pth"
    with pytest.raises(PokemonGenError, match=r"weights.pth: no such file"):
        read_weights(file)
    file.write_bytes(b"short")
    with pytest.raises(PokemonGenError, match=r"weights.pth: .* cut off: 5 bytes, not 95628359"):
        read_weights(file)
    monkeypatch.setattr(inception, "WEIGHTS_BYTES", 5)
    with pytest.raises(PokemonGenError, match=r"weights.pth: .* SHA-256 is"):
        Inception.load(file)


def test_weights_are_loaded_without_running_what_a_pickle_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"pickled": Path("code")}, file)
    monkeypatch.setattr(inception, "WEIGHTS_BYTES", file.stat().st_size)
    monkeypatch.setattr(inception, "WEIGHTS_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    with pytest.raises(PokemonGenError, match=r"weights.pth: .*cannot be loaded"):
        read_weights(file)
    torch.save({"a": torch.ones(2)}, file)
    monkeypatch.setattr(inception, "WEIGHTS_BYTES", file.stat().st_size)
    monkeypatch.setattr(inception, "WEIGHTS_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    assert read_weights(file)["a"].tolist() == [1, 1]


def test_without_network_both_ways_to_give_the_weights_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(inception.WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for offline in ("1", "0"):
        monkeypatch.setenv("HF_HUB_OFFLINE", offline)
        monkeypatch.setattr(inception, "WEIGHTS_URL", "http://127.0.0.1:9/weights.pth")
        with pytest.raises(
            WeightsMissingError, match=r"--inception-weights PATH, or set POKEMON_GEN_INCEPTION"
        ):
            Inception.load()
    monkeypatch.setenv(inception.WEIGHTS_VARIABLE, str(tmp_path / "mine.pth"))
    with pytest.raises(PokemonGenError, match=r"mine.pth: no such file"):
        Inception.load()
    with pytest.raises(PokemonGenError, match="no protocol of FID"):
        Inception.load(protocol="clean")  # type: ignore[arg-type]
