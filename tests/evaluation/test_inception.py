"""`inception.py`: each protocol equals its library, and weights are checked before they are used."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation import inception
from pokemon_gen.evaluation.inception import PROTOCOLS, Inception, Protocol, WeightsMissingError, read_weights


@pytest.fixture(scope="session")
def features(state: dict[str, Any], pictures: np.ndarray) -> dict[Protocol, np.ndarray]:
    return {
        protocol: Inception(state, "seeded", protocol).features(pictures, "dev") for protocol in PROTOCOLS
    }


def test_features_differ_between_sprites(features: dict[Protocol, np.ndarray]) -> None:
    for values in features.values():
        assert values.shape == (6, 2048)
        assert np.median(values.std(0)) > 0.01


def assert_features_equal(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Compare with features of a CPU; a GPU adds in another order, and TF32 would differ by 0.1."""
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 if torch.cuda.is_available() else 1e-6)


def test_the_features_equal_those_of_pytorch_fid(
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
    expected = fid_score.get_activations(files, network, batch_size=6, num_workers=0)
    assert_features_equal(features["pytorch-fid"], expected)


def test_the_features_equal_those_of_torch_fidelity(
    features: dict[Protocol, np.ndarray], state: dict[str, Any], pictures: np.ndarray, tmp_path: Path
) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    torch.save(state, tmp_path / "weights.pth")
    network = FeatureExtractorInceptionV3("x", ["2048"], str(tmp_path / "weights.pth"))
    expected = network(torch.from_numpy(pictures).permute(0, 3, 1, 2))[0].numpy()
    assert_features_equal(features["torch-fidelity"], expected)


def test_the_protocols_give_different_features(features: dict[Protocol, np.ndarray]) -> None:
    first, second = (features[protocol] for protocol in PROTOCOLS)
    assert not np.allclose(first, second, rtol=1e-2)


def test_features_are_cached_by_content_protocol_and_weights(
    state: dict[str, Any], pictures: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def features(*_: object, **__: object) -> np.ndarray:
        calls.append(1)
        return np.ones((2, 2048))

    monkeypatch.setattr(Inception, "features", features)
    network = Inception(state, "seeded", "pytorch-fid")
    for _ in range(2):
        network.cached_features(pictures[:2], "x", tmp_path)
    assert len(calls) == 1
    network.cached_features(pictures[1:3], "x", tmp_path)
    Inception(state, "other", "pytorch-fid").cached_features(pictures[:2], "x", tmp_path)
    Inception(state, "seeded", "torch-fidelity").cached_features(pictures[:2], "x", tmp_path)
    assert len(calls) == 4
    for file in tmp_path.iterdir():
        file.write_bytes(b"damaged")
    network.cached_features(pictures[:2], "x", tmp_path)
    assert len(calls) == 5


def test_features_that_are_not_finite_are_refused(state: dict[str, Any], pictures: np.ndarray) -> None:
    broken = {
        name: value * torch.nan if name == "Mixed_7c.branch1x1.conv.weight" else value
        for name, value in state.items()
    }
    with pytest.raises(PokemonGenError, match=r"mine\.txt: .*sample 1 .*not finite"):
        Inception(broken, "broken", "pytorch-fid").features(pictures[:2], "mine.txt")


def test_an_error_names_the_wrong_weights_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.pth"
    with pytest.raises(PokemonGenError, match=rf"weights\.pth: .*{inception.WEIGHTS_URL}"):
        read_weights(file)
    file.write_bytes(b"short")
    with pytest.raises(PokemonGenError, match=r"weights\.pth: .* 5 bytes, .*95628359"):
        read_weights(file)
    monkeypatch.setattr(inception, "WEIGHTS_BYTES", 5)
    sha256 = hashlib.sha256(b"short").hexdigest()
    with pytest.raises(PokemonGenError, match=rf"weights\.pth: .*{sha256}, .*{inception.WEIGHTS_SHA256}"):
        Inception.load(file)


def test_code_in_a_weights_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"pickled": Path("code")}, file)
    monkeypatch.setattr(inception, "WEIGHTS_BYTES", file.stat().st_size)
    monkeypatch.setattr(inception, "WEIGHTS_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    with pytest.raises(PokemonGenError, match=r"weights\.pth: .*cannot be loaded"):
        read_weights(file)
    torch.save({"a": torch.ones(2)}, file)
    monkeypatch.setattr(inception, "WEIGHTS_BYTES", file.stat().st_size)
    monkeypatch.setattr(inception, "WEIGHTS_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    assert read_weights(file)["a"].tolist() == [1, 1]


def test_an_error_without_network_names_both_ways_to_pass_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = (inception.WEIGHTS_URL, "--inception-weights PATH", "POKEMON_GEN_INCEPTION=PATH")
    monkeypatch.delenv(inception.WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for offline in ("1", "0"):
        monkeypatch.setenv("HF_HUB_OFFLINE", offline)
        monkeypatch.setattr(inception, "WEIGHTS_URL", "http://127.0.0.1:9/weights.pth")
        with pytest.raises(WeightsMissingError) as caught:
            Inception.load()
        assert all(fact in str(caught.value) for fact in facts)
    monkeypatch.setenv(inception.WEIGHTS_VARIABLE, str(tmp_path / "mine.pth"))
    with pytest.raises(PokemonGenError, match=r"mine\.pth: "):
        Inception.load()


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(PokemonGenError, match=r"'clean'.*pytorch-fid or torch-fidelity"):
        Inception.load(protocol="clean")  # type: ignore[arg-type]
