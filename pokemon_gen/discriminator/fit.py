"""The training of a classifier of sprites: the network, the batches and the threshold.

Half of each batch are real sprites, half corrupted ones. Both halves are augmented in the same ways, which
keep a real sprite realistic (mirrored, shifted by a pixel, tinted a little), so that no augmentation reveals
whether a sprite is real.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    AutoModelForImageClassification,
    PreTrainedModel,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

from pokemon_gen.bars import progress_bar
from pokemon_gen.config_files.checks import check_model
from pokemon_gen.constants import SIDE
from pokemon_gen.discriminator.classifier import REAL, Classifier, to_pixels, upscale_pixels
from pokemon_gen.discriminator.negatives import COMPLETIONS, NEGATIVE_TYPES, SHARES, corrupt
from pokemon_gen.errors import PokemonGenError, SettingError, closest
from pokemon_gen.models.build import config_fields
from pokemon_gen.models.devices import best_device, full_fp32
from pokemon_gen.palette import Palette, to_picture
from pokemon_gen.settings import ClassifierSettings
from pokemon_gen.training.arguments import helper_arguments
from pokemon_gen.training.divergence import FiniteLossTrainer, train_to_end

PASSING = 0.95
"""The share of real calibration sprites that pass the threshold."""
LIGHTER = 0.06
"""The maximum change of a colour channel by the random tint, in values from -1 to 1."""


def train_classifier(
    settings: ClassifierSettings,
    seed: int,
    positives: NDArray[np.int64],
    completions: NDArray[np.int64],
    calibration: NDArray[np.int64],
    palette: Palette,
    title: str,
) -> Classifier:
    """Train a classifier and set its threshold.

    Args:
        settings: the network and its training.
        seed: the seed of the initial weights and of the batches.
        positives: (N, 400) real sprites, from which all negative types except completions are made.
        completions: (M, 400) sprites completed by generators.
        calibration: (K, 400) real sprites that only set the threshold.
        palette: the colours of the tokens.
        title: the title of the progress bar.

    Returns:
        The classifier. 95 % of `calibration` pass its threshold.

    Raises:
        PokemonGenError: for invalid settings.
    """
    model = build_classifier(settings, seed)
    batches = RealFakeBatches(settings, seed, positives, completions, palette)
    with tempfile.TemporaryDirectory() as folder:  # it takes minutes, so no checkpoint is kept
        make_trainer = partial(
            _ClassifierTrainer,
            model=model,
            args=_arguments(settings, seed, folder),
            train_dataset=batches,
            data_collator=lambda batch: batch,
            callbacks=[_Bar(title)],
        )
        with full_fp32(best_device()):
            train_to_end(make_trainer, title)
    classifier = Classifier(model.eval(), palette, settings.upscale, 0.5, {})
    return with_threshold(classifier, calibration)


def with_threshold(classifier: Classifier, calibration: NDArray[np.int64]) -> Classifier:
    """Return the classifier with the threshold that 95 % of (K, 400) real calibration sprites pass."""
    probabilities = np.sort(classifier.probabilities(calibration))
    threshold = float(probabilities[int(np.floor((1 - PASSING) * len(probabilities)))])
    return replace(classifier, threshold=threshold)


def build_classifier(
    settings: ClassifierSettings, seed: int, section: str = "classifier.model"
) -> PreTrainedModel:
    """Build an image classifier with random weights: (B, 3, 20 * upscale, 20 * upscale) → (B, 2).

    Args:
        settings: the network.
        seed: the seed of its weights.
        section: the dotted name of its section in a config, for errors.

    Raises:
        PokemonGenError: for an unknown type or field, or a network that does not take images of this size.
    """
    fields = dict(settings.model)
    model_type = fields.pop("model_type")
    if model_type not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES:
        near = closest(model_type, MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES)
        raise SettingError(
            f"{section}.model_type",
            f"model_type {model_type!r} is not an image classifier of transformers{near}",
        )
    config_class = CONFIG_MAPPING[model_type]
    refused = {"num_labels": "is two: real or corrupted"}
    check_model(fields, config_fields(config_class), model_type, section, refused)
    set_seed(seed)
    labels = {0: "not real", REAL: "real"}
    blank = torch.zeros(2, 3, SIDE * settings.upscale, SIDE * settings.upscale)
    try:  # only calls of the library
        model = AutoModelForImageClassification.from_config(config_class(**fields, id2label=labels))
        model.eval()  # in training mode the blank images would change the statistics of batch norms
        model(pixel_values=blank)
        model.base_model(pixel_values=blank).pooler_output.flatten(1)
        return model.train()
    except Exception as error:  # `transformers` raises many types of errors here
        raise PokemonGenError(f"{section}: {model_type} cannot be built from this: {error}") from error


class _ClassifierTrainer(FiniteLossTrainer):
    """A `Trainer` whose batches differ in size, so that no step is captured."""

    capture = False


class RealFakeBatches(torch.utils.data.Dataset[Any]):
    """Batches of real and corrupted sprites, which depend only on the seed and the batch's indices."""

    def __init__(
        self,
        settings: ClassifierSettings,
        seed: int,
        positives: NDArray[np.int64],
        completions: NDArray[np.int64],
        palette: Palette,
    ) -> None:
        """Store the (N, 400) real sprites and the (M, 400) completions."""
        self.settings, self.seed, self.palette = settings, seed, palette
        self.positives, self.completions = positives, completions

    def __len__(self) -> int:
        return self.settings.steps * self.settings.batch_size

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return a batch: (B, 3, H, H) pixels and (B,) labels. The indices only seed the random generator."""
        generator = np.random.default_rng([self.seed, *sorted(indices)[:4]])
        real = _sample(self.positives, len(indices) // 2, generator)
        sprites = np.concatenate([real, self._corrupted(len(indices) - len(real), generator)])
        labels = np.where(np.arange(len(sprites)) < len(real), REAL, 1 - REAL)
        pixels = _augment(to_pixels(to_picture(sprites, self.palette)), generator)
        return {
            "pixel_values": upscale_pixels(pixels, self.settings.upscale),
            "labels": torch.from_numpy(labels),
        }

    def _corrupted(self, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return up to `count` corrupted sprites, because `corrupt` drops those that equal their original."""
        counts = dict(zip(SHARES, generator.multinomial(count, list(SHARES.values())), strict=True))
        parts = [_sample(self.completions, counts[COMPLETIONS], generator)]
        for negative_type in NEGATIVE_TYPES:
            sprites = _sample(self.positives, counts[negative_type], generator)
            parts.append(corrupt(negative_type, sprites, len(self.palette), generator))
        return np.concatenate(parts)


def _sample(sprites: NDArray[np.int64], count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw `count` of (N, 400) sprites with replacement."""
    return sprites[generator.integers(0, len(sprites), count)]


def _augment(pixels: Tensor, generator: np.random.Generator) -> Tensor:
    """Mirror, shift and tint sprites at random, so slightly that they stay realistic; (B, 3, 20, 20)."""
    count = len(pixels)
    mirrored = torch.from_numpy(generator.random(count) < 0.5)
    pixels = torch.where(mirrored[:, None, None, None], pixels.flip(3), pixels)
    padded = torch.nn.functional.pad(pixels, (1, 1, 1, 1), mode="replicate")  # continues the border pixels
    down, right = generator.integers(0, 3, (2, count))
    rows = torch.from_numpy(down)[:, None] + torch.arange(SIDE)  # (B, 20)
    columns = torch.from_numpy(right)[:, None] + torch.arange(SIDE)
    batch = torch.arange(count)
    shifted = padded.permute(0, 2, 3, 1)[batch[:, None, None], rows[:, :, None], columns[:, None, :]]
    tint = torch.from_numpy(generator.uniform(-LIGHTER, LIGHTER, (count, 1, 1, 3))).float()
    return (shifted + tint).permute(0, 3, 1, 2)


def _arguments(settings: ClassifierSettings, seed: int, folder: str) -> TrainingArguments:
    return helper_arguments(
        folder,
        seed,
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=0.1,  # a share of the steps
        lr_scheduler_type="cosine",
    )


class _Bar(TrainerCallback):
    """The progress bar of the classifier's training."""

    def __init__(self, title: str) -> None:
        self.title = title

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar = progress_bar(state.max_steps, self.title, "step")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.close()
