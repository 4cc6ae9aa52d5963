"""The image classifier of real and corrupted sprites that the detector and the judge share.

Any image classifier of `transformers` can be used; `fit.py` trains it from random weights. The folder of a
trained classifier holds only safetensors and JSON, and records its role. A classifier can only be loaded in
this role, so that a judge, which reports, cannot be used as a detector, which chooses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForImageClassification, PreTrainedModel

from pokemon_gen.constants import PALETTE_NAME
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json, share_files, write_json
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
BATCH = 80
"""Sprites per forward pass: the dev or test sprites of the homework. Every pass has this size, since the
kernels for another size may round differently."""
_COMMANDS = {"detector": "pokemon-gen detector CONFIG", "judge": "pokemon-gen judge SOURCE"}
"""The command that trains the classifier of a role, for errors."""


@dataclass(frozen=True)
class Classifier:
    """A trained classifier of sprites.

    Attributes:
        model: the network in evaluation mode.
        palette: the colours of the tokens that it takes.
        upscale: the factor by which each side of a sprite is enlarged before classification.
        threshold: the lowest probability with which a sprite passes for real.
        metadata: the content of `classifier.json`; empty before the classifier is saved.
    """

    model: PreTrainedModel
    palette: Palette
    upscale: int
    threshold: float
    metadata: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of its weights, config and palette."""
        return str(self.metadata["fingerprint"])

    @torch.no_grad()
    def probabilities(self, sprites: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probability that each sprite is real; (N, 400) → (N,)."""
        logits = self._of_batches(sprites, lambda images: self.model(pixel_values=images).logits)  # (N, 2)
        probabilities: NDArray[np.float64] = logits.softmax(1)[:, REAL].cpu().double().numpy()
        return probabilities

    @torch.no_grad()
    def features(self, sprites: NDArray[Any]) -> NDArray[np.float64]:
        """Return the pooled features before the classification layer; (N, 400) → (N, D)."""
        pooled = self._of_batches(
            sprites, lambda images: self.model.base_model(pixel_values=images).pooler_output.flatten(1)
        )
        features: NDArray[np.float64] = pooled.cpu().double().numpy()  # Apple's GPU lacks doubles
        return features

    def _of_batches(self, sprites: NDArray[Any], network: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply a network to sprites, (N, 400) → (N, D); the result of one does not depend on the others."""
        pixels = to_pixels(to_picture(np.asarray(sprites), self.palette))
        outputs = []
        with full_fp32(self.model.device):
            for batch in pixels.split(BATCH):
                filled = torch.cat([batch, batch.new_zeros(BATCH - len(batch), *batch.shape[1:])])
                images = upscale_pixels(filled, self.upscale).to(self.model.device)
                outputs.append(network(images)[: len(batch)].float())
        return torch.cat(outputs)

    def save(self, folder: Path, role: str, metadata: dict[str, Any]) -> None:
        """Write weights, config and palette, and finally the metadata file, which makes the folder valid.

        Args:
            folder: the folder, which is created if it does not exist.
            role: `detector` or `judge`, the only role that the classifier can be loaded in.
            metadata: the training settings and sprites, and the metrics on dev.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with quiet():
            self.model.save_pretrained(folder)
        self.palette.save(folder)
        share_files(folder, like=folder / PALETTE_NAME)
        identity = {
            "role": role,
            "fingerprint": fingerprint_checkpoint(folder)[:16],
            "threshold": self.threshold,
            "upscale": self.upscale,
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
                f"{folder}: there is no {role} in this folder. Train it with `{_COMMANDS[role]}`."
            )
        metadata = read_json(folder / METADATA_NAME)
        palette = Palette.load(folder)
        try:
            saved_role, fingerprint = metadata["role"], metadata["fingerprint"]
            upscale = int(metadata.get("upscale") or metadata["enlarge"])  # its name in version 0.1
            threshold = float(metadata["threshold"])
        except (KeyError, TypeError, ValueError) as error:
            raise PokemonGenError(
                f"{folder / METADATA_NAME}: not the metadata of a {role}. Train the {role} again with "
                f"`{_COMMANDS[role]} --overwrite`."
            ) from error
        if saved_role != role:
            raise PokemonGenError(f"{folder}: this folder holds a {saved_role}, not a {role}")
        model = load_weights(AutoModelForImageClassification, folder, role)
        if fingerprint_checkpoint(folder)[:16] != fingerprint:
            raise PokemonGenError(
                f"{folder}: the files of the {role} were changed after its training. Train it again with "
                f"`{_COMMANDS[role]} --overwrite`."
            )
        return cls(to_best_device(model, str(folder)).eval(), palette, upscale, threshold, metadata)


def fingerprint_of(folder: Path) -> str | None:
    """Return the fingerprint that a classifier's folder records; None if the folder holds no classifier."""
    fingerprint: str | None = metadata_of(folder).get("fingerprint")
    return fingerprint


def sprites_fingerprint(metadata: dict[str, Any]) -> str | None:
    """Return the fingerprint of the sprites that a classifier was trained on; None if it is not recorded."""
    fingerprint: str | None = metadata.get("sprites", {}).get("fingerprint")
    return fingerprint


def metadata_of(folder: Path) -> dict[str, Any]:
    """Return the metadata of a classifier's folder without loading it; empty if it holds no classifier."""
    return read_json(folder / METADATA_NAME) if (folder / METADATA_NAME).is_file() else {}


def to_pixels(pictures: NDArray[np.uint8]) -> Tensor:
    """Scale RGB bytes to values from -1 to 1; (N, 20, 20, 3) → (N, 3, 20, 20)."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def upscale_pixels(pixels: Tensor, times: int) -> Tensor:
    """Enlarge images by repeating every pixel; (N, C, H, W) → (N, C, H * times, W * times).

    Networks for photographs halve an image twice in their first layers, which would leave little of 20x20.
    """
    return pixels.repeat_interleave(times, 2).repeat_interleave(times, 3)
