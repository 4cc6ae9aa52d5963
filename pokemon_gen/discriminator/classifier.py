"""The image classifier of real and corrupted sprites that the detector and the judge share.

Any image classifier of `transformers` can be used; `fit.py` trains it from random weights. Several networks,
each with weights and batches of its own, are averaged in log-odds, which ranks better than any of them
(Lakshminarayanan et al. 2017, "Deep Ensembles"). The folder of a trained classifier holds only safetensors
and JSON, and records its role. A classifier can only be loaded in this role, so that a judge, which reports,
cannot be used as a detector, which chooses.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor
from transformers import AutoModelForImageClassification, PreTrainedModel

from pokemon_gen.constants import PALETTE_NAME, PROMPT_LENGTH, SIDE
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import folder_or_nothing, read_json, share_files, write_json
from pokemon_gen.models.checkpoints import fingerprint_checkpoint
from pokemon_gen.models.devices import full_fp32, to_best_device
from pokemon_gen.models.hf_compat import quiet
from pokemon_gen.models.loading import load_weights
from pokemon_gen.palette import Palette, to_picture

METADATA_NAME = "classifier.json"
"""The file of the metadata: role, fingerprint, threshold, upscaling factor, training sprites and metrics."""
JUDGE = "judge"
"""The role of a classifier that only reports; `models/runs.py` names the other role, `detector`."""
REAL = 1
"""The label of a real sprite; 0 is the label of a corrupted one."""
MASKED = 4
"""The channels of an image with a mask of the completion."""
NETWORK_NAME = "network-{}"
"""The folder of one of several networks, inside the folder of their classifier."""
BATCH = 80
"""Sprites per forward pass: the dev or test sprites of the homework. Every pass has this size, since the
kernels for another size may round differently."""
SHARP = "-sharp"
"""The end of the name of a sharp judge's folder."""


@dataclass(frozen=True)
class Classifier:
    """A trained classifier of sprites.

    Attributes:
        networks: one or more networks in evaluation mode.
        palette: the colours of the tokens that it takes.
        upscale: the factor by which each side of a sprite is enlarged before classification.
        threshold: the lowest probability with which a sprite passes for real.
        metadata: the content of `classifier.json`; empty before the classifier is saved.
    """

    networks: tuple[PreTrainedModel, ...]
    palette: Palette
    upscale: int
    threshold: float
    metadata: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of its weights, configs and palette."""
        return str(self.metadata["fingerprint"])

    @property
    def device(self) -> torch.device:
        """The device of all networks."""
        return self.networks[0].device

    def passes(self, log_odds: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether sprites with these log-odds pass the threshold; (N,)."""
        return np.asarray(special.expit(log_odds) >= self.threshold)

    def probabilities(self, sprites: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probability that each sprite is real; (N, 400) → (N,)."""
        return special.expit(self.log_odds(sprites))

    @torch.no_grad()
    def log_odds(self, sprites: NDArray[Any]) -> NDArray[np.float64]:
        """Return the log-odds that each sprite is real, the mean of the networks; (N, 400) → (N,)."""
        of_networks = [self._of_batches(sprites, partial(_log_odds, network)) for network in self.networks]
        return np.mean([one.cpu().double().numpy() for one in of_networks], axis=0)

    @torch.no_grad()
    def features(self, sprites: NDArray[Any]) -> NDArray[np.float64]:
        """Return the pooled features before the classification layers, side by side; (N, 400) → (N, D)."""
        pooled = [self._of_batches(sprites, partial(_pooled, network)) for network in self.networks]
        return np.concatenate(
            [one.cpu().double().numpy() for one in pooled], axis=1
        )  # Apple's GPU: no doubles

    def saliency(self, sprites: NDArray[Any]) -> NDArray[np.float64]:
        """Return how much each pixel's colour matters to the log-odds; (N, 400) → (N, 20, 20).

        The value is the length of the gradient with respect to the pixel's colour (Simonyan et al. 2014,
        "Deep Inside Convolutional Networks"), the mean over the networks.
        """
        maps = [
            self._of_batches(sprites, partial(_gradient_lengths, network, self.upscale))
            for network in self.networks
        ]
        return np.mean([one.cpu().double().numpy() for one in maps], axis=0)

    def _of_batches(self, sprites: NDArray[Any], function: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply a function to sprites, (N, 400) → (N, ...); a result does not depend on the other sprites."""
        channels = channels_of(self.networks[0])
        pixels = to_pixels(to_picture(np.asarray(sprites), self.palette), channels)
        outputs = []
        with full_fp32(self.device):
            for batch in pixels.split(BATCH):
                filled = torch.cat([batch, batch.new_zeros(BATCH - len(batch), *batch.shape[1:])])
                images = upscale_pixels(filled, self.upscale).to(self.device)
                outputs.append(function(images)[: len(batch)].float())
        return torch.cat(outputs)

    def save(self, folder: Path, role: str, metadata: dict[str, Any]) -> None:
        """Write weights, config and palette, and finally the metadata file, which makes the folder valid.

        Args:
            folder: the folder, which is created if it does not exist.
            role: `detector` or `judge`, the only role that the classifier can be loaded in.
            metadata: the training settings and sprites, and the metrics on dev.

        Raises:
            PokemonGenError: if it cannot be written, as on a full disk; then nothing is left.
        """
        with folder_or_nothing(folder):
            self._write(folder, role, metadata)

    def _write(self, folder: Path, role: str, metadata: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.palette.save(folder)
        folders = network_folders(folder, len(self.networks))
        for network, place in zip(self.networks, folders, strict=True):
            with quiet():
                network.save_pretrained(place)
            self.palette.save(place)
            share_files(place, like=folder / PALETTE_NAME)
        identity = {
            "role": role,
            "fingerprint": _fingerprint(folders),
            "threshold": self.threshold,
            "upscale": self.upscale,
            "networks": len(self.networks),
        }
        write_json(folder / METADATA_NAME, identity | metadata)

    @classmethod
    def load(cls, folder: Path, role: str) -> Self:
        """Load a classifier of one role: `detector` or `judge`.

        Raises:
            PokemonGenError: if the folder does not hold a classifier, or one that is damaged or of another
                role.
        """
        if not (folder / METADATA_NAME).is_file():
            raise PokemonGenError(
                f"{folder}: there is no {role} in this folder. Train it with "
                f"`{training_command(role, folder)}`."
            )
        metadata = read_json(folder / METADATA_NAME)
        palette = Palette.load(folder)
        try:
            saved_role, fingerprint = metadata["role"], metadata["fingerprint"]
            upscale = int(metadata.get("upscale") or metadata["enlarge"])  # its name in version 0.1
            threshold = float(metadata["threshold"])
            folders = network_folders(folder, int(metadata.get("networks", 1)))
        except (KeyError, TypeError, ValueError) as error:
            raise PokemonGenError(
                f"{folder / METADATA_NAME}: not the metadata of a {role}. Train the {role} again with "
                f"`{training_command(role, folder)} --overwrite`."
            ) from error
        if saved_role != role:
            raise PokemonGenError(f"{folder}: this folder holds a {saved_role}, not a {role}")
        networks = [load_weights(AutoModelForImageClassification, place, role) for place in folders]
        if _fingerprint(folders) != fingerprint:
            raise PokemonGenError(
                f"{folder}: the files of the {role} were changed after its training. Train it again with "
                f"`{training_command(role, folder)} --overwrite`."
            )
        on_device = tuple(to_best_device(network, str(folder)).eval() for network in networks)
        return cls(on_device, palette, upscale, threshold, metadata)


def training_command(role: str, folder: Path) -> str:
    """Return the command that trains the classifier of a role in a folder, for errors."""
    if role == JUDGE:
        return "pokemon-gen judge SOURCE" + (" --sharp" if folder.name.endswith(SHARP) else "")
    return "pokemon-gen detector CONFIG"


def network_folders(folder: Path, count: int) -> list[Path]:
    """Return the folders of a classifier's networks: its own for one network.

    Raises:
        ValueError: for less than one network.
    """
    if count < 1:
        raise ValueError(f"{count} networks")
    return [folder] if count == 1 else [folder / NETWORK_NAME.format(number) for number in range(count)]


def _fingerprint(folders: list[Path]) -> str:
    """Return 16 hexadecimal digits that identify the weights, configs and palette of all networks."""
    fingerprints = [fingerprint_checkpoint(folder) for folder in folders]
    if len(fingerprints) > 1:
        return hashlib.sha256("".join(fingerprints).encode()).hexdigest()[:16]
    return fingerprints[0][:16]


def _log_odds(network: PreTrainedModel, images: Tensor) -> Tensor:
    """Return the log-odds that images are real; (B, C, H, W) → (B,)."""
    logits = network(pixel_values=images).logits  # (B, 2)
    log_odds: Tensor = logits[:, REAL] - logits[:, 1 - REAL]
    return log_odds


def _pooled(network: PreTrainedModel, images: Tensor) -> Tensor:
    """Return the pooled features of images; (B, C, H, W) → (B, D)."""
    pooled: Tensor = network.base_model(pixel_values=images).pooler_output.flatten(1)
    return pooled


def _gradient_lengths(network: PreTrainedModel, upscale: int, images: Tensor) -> Tensor:
    """Return the lengths of the log-odds' gradients by the colour of a pixel; (B, C, H, W) → (B, 20, 20)."""
    images.requires_grad_()
    (gradients,) = torch.autograd.grad(_log_odds(network, images).sum(), images)
    colours = gradients[:, :3]  # without the mask
    of_pixels = colours.unflatten(3, (SIDE, upscale)).sum(4).unflatten(2, (SIDE, upscale)).sum(3)
    return of_pixels.norm(dim=1)


def fingerprint_of(folder: Path) -> str | None:
    """Return the fingerprint that a classifier's folder records; None if the folder holds no classifier."""
    fingerprint: str | None = metadata_of(folder).get("fingerprint")
    return fingerprint


def sprites_fingerprint(metadata: dict[str, Any]) -> str | None:
    """Return the fingerprint of the sprites that a classifier was trained on; None if it is not recorded."""
    fingerprint: str | None = metadata.get("sprites", {}).get("fingerprint")
    return fingerprint


def train_fingerprint(train: NDArray[np.int64]) -> str:
    """Return 16 hexadecimal digits that identify training sprites, (N, 400), which depend on the fold."""
    return hashlib.sha256(train.astype("<i8").tobytes()).hexdigest()[:16]


def metadata_of(folder: Path) -> dict[str, Any]:
    """Return the metadata of a classifier's folder without loading it; empty if it holds no classifier."""
    return read_json(folder / METADATA_NAME) if (folder / METADATA_NAME).is_file() else {}


def channels_of(network: PreTrainedModel) -> int:
    """Return the channels of a network's images: four with the mask of the completion, else three."""
    return int(getattr(network.config, "num_channels", 3))


def to_pixels(pictures: NDArray[np.uint8], channels: int) -> Tensor:
    """Scale RGB bytes to values from -1 to 1; (N, 20, 20, 3) → (N, channels, 20, 20).

    The fourth channel, if there is one, is 1 in the completion and -1 in the prompt. A convolution does not
    see where it is in the picture, but a classifier of completions must know where the prompt ends.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    if channels == MASKED:
        mask = torch.full((len(pixels), 1, SIDE, SIDE), -1.0)
        mask[:, :, PROMPT_LENGTH // SIDE :] = 1.0
        pixels = torch.cat([pixels, mask], dim=1)
    return pixels


def upscale_pixels(pixels: Tensor, times: int) -> Tensor:
    """Enlarge images by repeating every pixel; (N, C, H, W) → (N, C, H * times, W * times).

    Networks for photographs halve an image twice in their first layers, which would leave little of 20x20.
    """
    return pixels.repeat_interleave(times, 2).repeat_interleave(times, 3)
