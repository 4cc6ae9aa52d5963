"""Real or not: the image classifier under the detector and the judge, and how it is kept.

Any image classifier of `transformers`; `classifier_training.py` trains it with fresh weights. Its folder
holds safetensors and JSON only, and says which role it has: what chooses (`detector`) and what reports
(`judge`) are loaded as what they are, or not at all.
"""

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
from pokemon_gen.models.hf_compat import quiet
from pokemon_gen.models.loading import best_device, load_weights
from pokemon_gen.palette import Palette, to_picture

METADATA_NAME = "classifier.json"
"""What the weights do not say: role, threshold, enlargement, sprites, measures."""
REAL = 1
"""The label of a real sprite; 0 is the other."""
BATCH = 256
"""Sprites scored at once."""


@dataclass(frozen=True)
class Classifier:
    """A trained classifier of sprites.

    Attributes:
        model: in evaluation mode.
        palette: the colours of the tokens it takes.
        upscale: screen pixels a sprite's pixel becomes, along each side, before it is looked at.
        threshold: the probability from which a sprite passes for real.
        metadata: what it was trained on, and what was measured; empty before it is saved.
    """

    model: PreTrainedModel
    palette: Palette
    upscale: int
    threshold: float
    metadata: dict[str, Any]

    @torch.no_grad()
    def probabilities(self, sprites: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probability of being real; (N, 400) → (N,)."""
        logits = [self.model(pixel_values=images).logits.float() for images in self._batches(sprites)]
        probabilities: NDArray[np.float64] = torch.cat(logits).softmax(1)[:, REAL].cpu().double().numpy()
        return probabilities

    @torch.no_grad()
    def features(self, sprites: NDArray[Any]) -> NDArray[np.float64]:
        """Return the features that the decision is made of; (N, 400) → (N, D)."""
        pooled = [
            self.model.base_model(pixel_values=images).pooler_output.flatten(1)  # (B, D)
            for images in self._batches(sprites)
        ]
        features: NDArray[np.float64] = torch.cat(pooled).cpu().double().numpy()  # Apple's GPU has no double
        return features

    def _batches(self, sprites: NDArray[Any]) -> list[Tensor]:
        pixels = to_pixels(to_picture(np.asarray(sprites), self.palette))
        return [upscale_pixels(part, self.upscale).to(self.model.device) for part in pixels.split(BATCH)]

    def save(self, folder: Path, role: str, about: dict[str, Any]) -> None:
        """Write weights, config and palette, and last what makes the folder whole.

        Args:
            folder: is made if need be.
            role: `detector` or `judge`; only as this can it be loaded.
            about: what it was trained on, and what was measured.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with quiet():
            self.model.save_pretrained(folder)
        self.palette.save(folder)
        share_files(folder, like=folder / PALETTE_NAME)
        metadata = {
            "role": role,
            "fingerprint": fingerprint_checkpoint(folder)[:16],
            "threshold": self.threshold,
            "upscale": self.upscale,
            **about,
        }
        write_json(folder / METADATA_NAME, metadata)

    @classmethod
    def load(cls, folder: Path, role: str) -> Self:
        """Load a classifier of one role: `detector` or `judge`.

        Raises:
            PokemonGenError: if there is none, it is damaged, or it is of another role.
        """
        if not (folder / METADATA_NAME).is_file():
            raise PokemonGenError(f"{folder}: no {role} in it")
        metadata = read_json(folder / METADATA_NAME)
        palette = Palette.load(folder)
        try:
            found, upscale, threshold = (
                metadata["role"],
                int(metadata["upscale"]),
                float(metadata["threshold"]),
            )
            fingerprint = metadata["fingerprint"]
        except (KeyError, TypeError, ValueError) as error:
            raise PokemonGenError(f"{folder / METADATA_NAME}: not a {role}'s") from error
        if found != role:
            raise PokemonGenError(f"{folder} holds a {found}, not a {role}")
        model = load_weights(AutoModelForImageClassification, folder, role)
        if fingerprint_checkpoint(folder)[:16] != fingerprint:
            raise PokemonGenError(f"{folder}: the {role}'s files were changed since it was trained")
        return cls(model.to(best_device()).eval(), palette, upscale, threshold, metadata)


def fingerprint_of(folder: Path) -> str | None:
    """Return the fingerprint that a classifier's folder names, without loading it; None if there is none."""
    fingerprint: str | None = metadata_of(folder).get("fingerprint")
    return fingerprint


def sprites_fingerprint(metadata: dict[str, Any]) -> str | None:
    """Return the fingerprint of the sprites that a classifier's metadata name; None if they name none."""
    fingerprint: str | None = metadata.get("sprites", {}).get("fingerprint")
    return fingerprint


def metadata_of(folder: Path) -> dict[str, Any]:
    """Return the metadata of a classifier's folder, without loading it; empty if there is none."""
    return read_json(folder / METADATA_NAME) if (folder / METADATA_NAME).is_file() else {}


def to_pixels(pictures: NDArray[np.uint8]) -> Tensor:
    """Turn (N, 20, 20, 3) bytes into (N, 3, 20, 20) numbers from -1 to 1."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def upscale_pixels(pixels: Tensor, times: int) -> Tensor:
    """Repeat every pixel: networks made for photographs halve a picture twice before they look."""
    return pixels.repeat_interleave(times, 2).repeat_interleave(times, 3)
