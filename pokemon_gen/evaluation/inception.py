"""The 2048 pool features that FID is made of, by the two libraries' own networks, never mixed.

FID is only comparable at one network, one set of weights, one resizing and one reference. The network is
the Inception-v3 of 2015-12-05 in the form of two libraries, and a protocol is one of them whole:

- `pytorch-fid`: 20 → 299 bilinear with half-pixel centres, inputs 2x/255 − 1; what most people report.
- `torch-fidelity`: 20 → 299 as TensorFlow 1 did it (corners shifted), inputs (x − 128) / 128.

The weights are one and the same file in both libraries' releases. We load it (`weights_only=True`: no
pickled code is run) after checking its SHA-256, and hand it to the library's network.
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
from tqdm import tqdm

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.frechet import checked_features
from pokemon_gen.files import atomic_file
from pokemon_gen.models.loading import best_device

Protocol = Literal["pytorch-fid", "torch-fidelity"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
WEIGHTS_URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
WEIGHTS_BYTES = 95_628_359
WEIGHTS_VARIABLE = "POKEMON_GEN_INCEPTION"
TWO_WAYS = (
    f"download {WEIGHTS_URL} elsewhere and give the file with --inception-weights PATH, "
    f"or set {WEIGHTS_VARIABLE}=PATH"
)
DIMENSIONS = 2048
BATCH = 32
"""Pictures at once: at 299x299 this many take about 1 GB."""
TIMEOUT = 20
"""Seconds to wait for the server of the weights."""


class WeightsMissingError(PokemonGenError):
    """The weights cannot be had; everything but FID and KID can still be computed."""


class Inception:
    """The network of one protocol, with weights, as a function of pictures."""

    def __init__(self, state: dict[str, Any], weights_sha256: str, protocol: Protocol) -> None:
        """Build the protocol's network around `state`, the FID Inception's parameters by name."""
        self.protocol = protocol
        self.weights_sha256 = weights_sha256
        self._device = best_device()
        self._network = _BUILDERS[protocol](state).to(self._device).eval()

    @classmethod
    def load(cls, weights: str | Path | None = None, protocol: Protocol = "pytorch-fid") -> "Inception":
        """Load the weights from a file, or get them.

        Args:
            weights: the file; none: `POKEMON_GEN_INCEPTION`, else a download on first use.
            protocol: whose network and resizing.

        Raises:
            PokemonGenError: if a given file is missing, damaged or another one.
            WeightsMissingError: if none was given and they cannot be downloaded.
        """
        if protocol not in PROTOCOLS:
            raise PokemonGenError(f"{protocol!r} is no protocol of FID: use {' or '.join(PROTOCOLS)}")
        given = weights or os.environ.get(WEIGHTS_VARIABLE)
        state = read_weights(Path(given) if given else _downloaded())
        return cls(state, WEIGHTS_SHA256, protocol)

    @torch.no_grad()
    def features(self, pictures: NDArray[np.uint8], name: str, progress: bool = False) -> NDArray[np.float64]:
        """Return the pool features of pictures; (N, H, W, 3) RGB bytes → (N, 2048).

        In single precision, as both libraries have it, whatever autocast is on (a GPU's convolutions may
        still be in TF32, as torch has it from the start). `name` says in errors whose pictures they are.

        Raises:
            PokemonGenError: for features that are not finite.
        """
        # In the memory order that both libraries have: others round differently.
        images = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()  # (N, 3, H, W)
        found = []
        with tqdm(total=len(images), desc="features", unit="sprite", disable=not progress) as bar:
            for batch in images.split(BATCH):
                with torch.autocast(self._device.type, enabled=False):
                    found.append(_FORWARDS[self.protocol](self._network, batch.to(self._device)).cpu())
                bar.update(len(batch))
        features = torch.cat(found).double().numpy()
        return checked_features(features, f"{name}: Inception features ({self.protocol})")

    def cached_features(self, pictures: NDArray[np.uint8], name: str, folder: Path) -> NDArray[np.float64]:
        """Return `features`, kept in `folder` by the content of the pictures, protocol and weights."""
        key = hashlib.sha256(f"{self.protocol} {self.weights_sha256} {pictures.shape} ".encode())
        key.update(np.ascontiguousarray(pictures).tobytes())
        file = folder / f"{self.protocol}-{key.hexdigest()[:32]}.npy"
        if file.is_file():
            try:
                kept: NDArray[np.float64] = np.load(file, allow_pickle=False)
                if kept.shape == (len(pictures), DIMENSIONS):
                    return checked_features(kept, str(file))
            except (ValueError, OSError, EOFError, PokemonGenError):
                pass  # a damaged file is only made anew
        features = self.features(pictures, name, progress=True)
        with atomic_file(file) as aside, aside.open("wb") as stream:
            np.save(stream, features)
        return features


def read_weights(path: Path) -> dict[str, Any]:
    """Read the weights' file after checking that it is the right one.

    Raises:
        PokemonGenError: naming the file, if it is missing or not the one of 2015-12-05.
    """
    if not path.is_file():
        raise PokemonGenError(f"{path}: no such file of Inception weights")
    size = path.stat().st_size
    if size != WEIGHTS_BYTES:
        raise PokemonGenError(
            f"{path}: not the FID Inception weights, or cut off: {size} bytes, not {WEIGHTS_BYTES}"
        )
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != WEIGHTS_SHA256:
        raise PokemonGenError(
            f"{path}: not the FID Inception weights, or damaged: its SHA-256 is {found}, not {WEIGHTS_SHA256}"
        )
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise PokemonGenError(f"{path}: the weights cannot be loaded: {error}") from error
    return state


def check_given_weights() -> None:
    """Say now that the weights `POKEMON_GEN_INCEPTION` names are none, if it names any.

    Raises:
        PokemonGenError: naming the file, as `read_weights` does.
    """
    if given := os.environ.get(WEIGHTS_VARIABLE):
        read_weights(Path(given))


def weights_at_hand() -> bool:
    """Tell whether the weights can be loaded without a download and without being given."""
    return bool(os.environ.get(WEIGHTS_VARIABLE)) or _download_place().is_file()


def _download_place() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(WEIGHTS_URL).name


def _downloaded() -> Path:
    """Return the weights in torch's folder of downloads (pytorch-fid's too), fetched if needed."""
    path = _download_place()
    if path.is_file():
        return path
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("0", ""):
        raise WeightsMissingError(f"no network is wanted (HF_HUB_OFFLINE); {TWO_WAYS}")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(WEIGHTS_URL, str(path), WEIGHTS_SHA256)
    except (OSError, RuntimeError) as error:  # no network; another file than expected
        raise WeightsMissingError(
            f"the Inception weights cannot be downloaded ({error}); {TWO_WAYS}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return path


@contextmanager
def _given(module: Any, state: dict[str, Any]) -> Iterator[None]:
    """Let a library's network take `state` where it would download, or load with pickled code allowed."""
    with mock.patch.object(module, "load_state_dict_from_url", lambda *_, **__: state):
        yield


def _build_pytorch_fid(state: dict[str, Any]) -> torch.nn.Module:
    from pytorch_fid import inception

    with _given(inception, state):
        return inception.InceptionV3()


def _build_torch_fidelity(state: dict[str, Any]) -> torch.nn.Module:
    from torch_fidelity import feature_extractor_inceptionv3 as extractor

    with _given(extractor, state):
        return extractor.FeatureExtractorInceptionV3("inception-v3-compat", [str(DIMENSIONS)])


def _forward_pytorch_fid(network: Any, images: torch.Tensor) -> torch.Tensor:
    return network(images.float() / 255)[0].flatten(1)  # (B, 2048, 1, 1) → (B, 2048)


def _forward_torch_fidelity(network: Any, images: torch.Tensor) -> torch.Tensor:
    return network(images)[0]  # takes bytes


_BUILDERS = {"pytorch-fid": _build_pytorch_fid, "torch-fidelity": _build_torch_fidelity}
_FORWARDS = {"pytorch-fid": _forward_pytorch_fid, "torch-fidelity": _forward_torch_fidelity}
