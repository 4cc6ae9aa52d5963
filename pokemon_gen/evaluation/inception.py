"""The 2048 Inception pool features that FID and KID compare, computed by two libraries' own networks.

FID values are comparable only with the same network, weights, resizing and reference. The network is the
Inception-v3 of 2015-12-05. Two libraries implement it, and a protocol is one of the two implementations. The
protocols are never mixed:

- `pytorch-fid` resizes 20 → 299 bilinearly with half-pixel centres and scales the inputs to 2x/255 − 1. Most
  published values come from it.
- `torch-fidelity` resizes 20 → 299 like TensorFlow 1, with shifted corners, and scales the inputs to
  (x − 128) / 128.

Both libraries release the same weights file. This module checks the file's SHA-256, loads it with
`weights_only=True`, so that no pickled code runs, and passes the weights to the library's network.
"""

import hashlib
import os
import pickle
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from pokemon_gen.bars import progress_bar
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.frechet import checked_features
from pokemon_gen.files import atomic_file
from pokemon_gen.models.devices import best_device, full_fp32

Protocol = Literal["pytorch-fid", "torch-fidelity"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
WEIGHTS_URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
WEIGHTS_BYTES = 95_628_359
WEIGHTS_VARIABLE = "POKEMON_GEN_INCEPTION"
WEIGHTS_ADVICE = (
    f"Download {WEIGHTS_URL} on another machine and pass the file with --inception-weights PATH, "
    f"or set {WEIGHTS_VARIABLE}=PATH."
)
DIMENSIONS = 2048
BATCH = 32
"""Images per forward pass; 32 images of 299x299 pixels take about 1 GB."""
TIMEOUT = 20
"""Seconds to wait for the server that offers the weights."""


class WeightsMissingError(PokemonGenError):
    """The Inception weights are not available. Only FID and KID need them."""


class Inception:
    """The Inception network of one protocol with its weights."""

    def __init__(self, state: dict[str, Any], weights_sha256: str, protocol: Protocol) -> None:
        """Build the network.

        Args:
            state: the parameters of the FID Inception network by name.
            weights_sha256: the SHA-256 of the weights, which the scorecard and the feature cache record.
            protocol: the library that implements the network and the resizing.
        """
        self.protocol = protocol
        self.weights_sha256 = weights_sha256
        self._device = best_device()
        self._network = _BUILDERS[protocol](state).to(self._device).eval()

    @classmethod
    def load(cls, weights: str | Path | None = None, protocol: Protocol = "pytorch-fid") -> "Inception":
        """Load the weights from a file, or download them.

        Args:
            weights: the file. Without it, the environment variable `POKEMON_GEN_INCEPTION` names the file;
                without either, the weights are downloaded on first use.
            protocol: the library that implements the network and the resizing.

        Raises:
            PokemonGenError: for an unknown protocol, or a weights file that is missing, damaged or not the
                expected one.
            WeightsMissingError: if no file is named and the download fails.
        """
        if protocol not in PROTOCOLS:
            raise PokemonGenError(f"{protocol!r} is not an FID protocol. Use {' or '.join(PROTOCOLS)}.")
        file = weights or os.environ.get(WEIGHTS_VARIABLE)
        state = read_weights(Path(file) if file else _download_weights())
        return cls(state, WEIGHTS_SHA256, protocol)

    @torch.no_grad()
    def features(self, pictures: NDArray[np.uint8], name: str, progress: bool = False) -> NDArray[np.float64]:
        """Return the pool features of images.

        The network computes in full single precision, as both libraries do on a CPU, even under autocast and
        on a GPU, whose convolutions use TF32 by default.

        Args:
            pictures: (N, H, W, 3) uint8 RGB.
            name: the name of the images in errors.
            progress: show a progress bar.

        Returns:
            (N, 2048) features.

        Raises:
            PokemonGenError: for fewer than two images, or features that are not finite.
        """
        # Both libraries use contiguous channels-first tensors. Another memory layout rounds differently.
        images = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()  # (N, 3, H, W)
        parts = []
        bar = progress_bar(len(images), "features", "sprite", shown=progress)
        with bar, full_fp32(self._device):
            for batch in images.split(BATCH):
                parts.append(_FORWARDS[self.protocol](self._network, batch.to(self._device)).cpu())
                bar.update(len(batch))
        features = torch.cat(parts).double().numpy()
        return checked_features(features, f"{name}: Inception features ({self.protocol})")

    def cached_features(self, pictures: NDArray[np.uint8], name: str, folder: Path) -> NDArray[np.float64]:
        """Return `features` of images from a cache.

        Args:
            pictures: (N, H, W, 3) uint8 RGB.
            name: the name of the images in errors.
            folder: the folder of the cache. Its key is a hash of the images, the protocol and the weights.

        Returns:
            (N, 2048) features.

        Raises:
            PokemonGenError: for fewer than two images, or features that are not finite.
        """
        key = hashlib.sha256(f"{self.protocol} fp32 {self.weights_sha256} {pictures.shape} ".encode())
        key.update(np.ascontiguousarray(pictures).tobytes())
        file = folder / f"{self.protocol}-{key.hexdigest()[:32]}.npy"
        if file.is_file():
            try:
                cached: NDArray[np.float64] = np.load(file, allow_pickle=False)
                if cached.shape == (len(pictures), DIMENSIONS):
                    return checked_features(cached, str(file))
            except (ValueError, OSError, EOFError, PokemonGenError):
                pass  # the file is damaged, so the features are computed again
        features = self.features(pictures, name, progress=True)
        with atomic_file(file) as temporary, temporary.open("wb") as stream:
            np.save(stream, features)
        return features


def read_weights(path: Path) -> dict[str, Any]:
    """Read the weights file after checking its size and SHA-256.

    Raises:
        PokemonGenError: if the file is missing, or not the weights of 2015-12-05. It names the file.
    """
    if not path.is_file():
        raise PokemonGenError(
            f"{path}: this file of Inception weights does not exist. Download {WEIGHTS_URL} to this path."
        )
    size = path.stat().st_size
    if size != WEIGHTS_BYTES:
        raise PokemonGenError(
            f"{path}: not the FID Inception weights, or truncated: the file has {size} bytes, not "
            f"{WEIGHTS_BYTES}. Download {WEIGHTS_URL} again."
        )
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    if sha256 != WEIGHTS_SHA256:
        raise PokemonGenError(
            f"{path}: not the FID Inception weights, or damaged: the SHA-256 is {sha256}, not "
            f"{WEIGHTS_SHA256}. Download {WEIGHTS_URL} again."
        )
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise PokemonGenError(f"{path}: the Inception weights cannot be loaded: {error}") from error
    return state


def check_given_weights() -> None:
    """Check the weights file that `POKEMON_GEN_INCEPTION` names, if it is set.

    Raises:
        PokemonGenError: as `read_weights`.
    """
    if file := os.environ.get(WEIGHTS_VARIABLE):
        read_weights(Path(file))


def weights_at_hand() -> bool:
    """Return whether `Inception.load()` finds the weights without a download."""
    return bool(os.environ.get(WEIGHTS_VARIABLE)) or _download_path().is_file()


def _download_path() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(WEIGHTS_URL).name


def _download_weights() -> Path:
    """Return the weights file in torch's download folder, as pytorch-fid does; download it if needed."""
    path = _download_path()
    if path.is_file():
        return path
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("0", ""):
        raise WeightsMissingError(
            f"the Inception weights cannot be downloaded, because HF_HUB_OFFLINE is set. {WEIGHTS_ADVICE}"
        )
    previous_timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(WEIGHTS_URL, str(path), WEIGHTS_SHA256)
    except (OSError, RuntimeError) as error:  # there is no network, or the SHA-256 differs
        raise WeightsMissingError(
            f"the Inception weights cannot be downloaded: {error}. {WEIGHTS_ADVICE}"
        ) from error
    finally:
        socket.setdefaulttimeout(previous_timeout)
    return path


@contextmanager
def _preloaded(module: Any, state: dict[str, Any]) -> Iterator[None]:
    """Make a library's network use `state`; it would otherwise download weights and allow pickled code."""
    with mock.patch.object(module, "load_state_dict_from_url", return_value=state):
        yield


def _build_pytorch_fid(state: dict[str, Any]) -> torch.nn.Module:
    from pytorch_fid import inception

    with _preloaded(inception, state):
        return inception.InceptionV3()


def _build_torch_fidelity(state: dict[str, Any]) -> torch.nn.Module:
    from torch_fidelity import feature_extractor_inceptionv3 as extractor

    with _preloaded(extractor, state):
        return extractor.FeatureExtractorInceptionV3("inception-v3-compat", [str(DIMENSIONS)])


def _forward_pytorch_fid(network: Any, images: torch.Tensor) -> torch.Tensor:
    return network(images.float() / 255)[0].flatten(1)  # (B, 2048, 1, 1) → (B, 2048)


def _forward_torch_fidelity(network: Any, images: torch.Tensor) -> torch.Tensor:
    return network(images)[0]  # the network takes bytes


_BUILDERS = {"pytorch-fid": _build_pytorch_fid, "torch-fidelity": _build_torch_fidelity}
_FORWARDS = {"pytorch-fid": _forward_pytorch_fid, "torch-fidelity": _forward_torch_fidelity}
