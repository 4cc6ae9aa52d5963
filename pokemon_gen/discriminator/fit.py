"""The training of a classifier of sprites: the network, the batches and the threshold.

Half of each batch are real sprites, and the other half are the same sprites corrupted. So their prompts are
equal, and only the completions can decide. A sprite and its corrupted form are augmented alike, in ways that
keep a real sprite realistic (mirrored, shifted by a pixel, tinted a little, red, green and blue exchanged),
so that no augmentation reveals whether a sprite is real.
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
from pokemon_gen.config_files.checks import CLASSIFIER_REFUSED, check_model
from pokemon_gen.constants import SIDE
from pokemon_gen.discriminator.classifier import (
    MASKED,
    REAL,
    Classifier,
    channels_of,
    to_pixels,
    upscale_pixels,
)
from pokemon_gen.discriminator.generators import CompletedPrompts
from pokemon_gen.discriminator.negatives import COMPLETIONS, NEGATIVE_TYPES, SHARES, differs
from pokemon_gen.errors import PokemonGenError, SettingError, closest
from pokemon_gen.models.build import config_fields
from pokemon_gen.models.devices import best_device, full_fp32
from pokemon_gen.palette import Palette, to_picture
from pokemon_gen.settings import ClassifierSettings
from pokemon_gen.training.arguments import derived_seed, helper_arguments
from pokemon_gen.training.divergence import FiniteLossTrainer, train_to_end

PASSING = 0.95
"""The share of real calibration sprites that pass the threshold."""
LIGHTER = 0.06
"""The maximum change of a colour channel by the random tint, in values from -1 to 1."""


def train_classifier(
    settings: ClassifierSettings,
    seed: int,
    positives: NDArray[np.int64],
    completions: CompletedPrompts,
    calibration: NDArray[np.int64],
    palette: Palette,
    title: str,
) -> Classifier:
    """Train the networks of a classifier and set its threshold.

    Args:
        settings: the network and its training.
        seed: the seed of the initial weights and of the batches.
        positives: (N, 400) real sprites, from which all negative types except completions are made.
        completions: of these sprites' prompts, by generators.
        calibration: (K, 400) real sprites that only set the threshold.
        palette: the colours of the tokens.
        title: the title of the progress bar.

    Returns:
        The classifier. 95 % of `calibration` pass its threshold.

    Raises:
        PokemonGenError: for invalid settings.
    """
    seeds = [seed, *(derived_seed(seed, number) for number in range(1, settings.networks))]
    with progress_bar(settings.steps * settings.networks, title, "step") as bar:
        networks = [
            _train_network(settings, one, positives, completions, palette, title, bar) for one in seeds
        ]
    classifier = Classifier(tuple(networks), palette, settings.upscale, 0.5, {})
    return with_threshold(classifier, calibration)


def _train_network(
    settings: ClassifierSettings,
    seed: int,
    positives: NDArray[np.int64],
    completions: CompletedPrompts,
    palette: Palette,
    title: str,
    bar: Any,
) -> PreTrainedModel:
    """Train one network from random weights."""
    network = build_classifier(settings, seed).to(memory_format=torch.channels_last)
    batches = RealFakeBatches(settings, seed, positives, completions, palette, channels_of(network))
    with tempfile.TemporaryDirectory() as folder:  # it takes minutes, so no checkpoint is kept
        make_trainer = partial(
            _ClassifierTrainer,
            settings.upscale,
            model=network,
            args=_arguments(settings, seed, folder),
            train_dataset=batches,
            data_collator=lambda batch: batch,
            callbacks=[_Advance(bar)],
        )
        with full_fp32(best_device()):
            train_to_end(make_trainer, title)
    return network.to(memory_format=torch.contiguous_format).eval()


def with_threshold(classifier: Classifier, calibration: NDArray[np.int64]) -> Classifier:
    """Return the classifier with the threshold that 95 % of (K, 400) real calibration sprites pass."""
    probabilities = np.sort(classifier.probabilities(calibration))
    threshold = float(probabilities[int(np.floor((1 - PASSING) * len(probabilities)))])
    return replace(classifier, threshold=threshold)


def build_classifier(
    settings: ClassifierSettings, seed: int, section: str = "classifier.model"
) -> PreTrainedModel:
    """Build an image classifier with random weights: (B, C, 20 * upscale, 20 * upscale) → (B, 2).

    C is four, red, green, blue and a mask of the completion, or three for a type without `num_channels`.

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
    known = config_fields(config_class)
    check_model(fields, known, model_type, section, CLASSIFIER_REFUSED)
    if "num_channels" in known:
        fields["num_channels"] = MASKED
    set_seed(seed)
    labels = {0: "not real", REAL: "real"}
    side = SIDE * settings.upscale
    blank = torch.zeros(2, int(fields.get("num_channels", 3)), side, side)
    try:  # only calls of the library
        model = AutoModelForImageClassification.from_config(config_class(**fields, id2label=labels))
        model.eval()  # in training mode the blank images would change the statistics of batch norms
        model(pixel_values=blank)
        model.base_model(pixel_values=blank).pooler_output.flatten(1)
        return model.train()
    except Exception as error:  # `transformers` raises many types of errors here
        raise PokemonGenError(f"{section}: {model_type} cannot be built from this: {error}") from error


class _ClassifierTrainer(FiniteLossTrainer):
    """A `Trainer` that enlarges the images as part of the step, where a GPU does so at once."""

    def __init__(self, upscale: int, **kwargs: Any) -> None:
        """Store the factor of each side, and take the arguments of `Trainer`."""
        super().__init__(**kwargs)
        self.upscale = upscale

    def model_inputs(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Enlarge a batch's images."""
        images = upscale_pixels(inputs["pixel_values"], self.upscale)
        # Convolutions of few channels are a quarter faster in this order on a CPU.
        return {**inputs, "pixel_values": images.contiguous(memory_format=torch.channels_last)}


class RealFakeBatches(torch.utils.data.Dataset[Any]):
    """Batches of sprites, real and corrupted, which depend only on the seed and the batch's indices."""

    def __init__(
        self,
        settings: ClassifierSettings,
        seed: int,
        positives: NDArray[np.int64],
        completions: CompletedPrompts,
        palette: Palette,
        channels: int = MASKED,
    ) -> None:
        """Store the (N, 400) real sprites and the completions of their prompts."""
        self.channels = channels
        self.settings, self.seed, self.palette = settings, seed, palette
        self.positives, self.completions = positives, completions

    def __len__(self) -> int:
        return self.settings.steps * self.settings.batch_size

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return a batch: (B, C, 20, 20) pixels and (B,) labels. The indices only seed the generator."""
        generator = np.random.default_rng([self.seed, *sorted(indices)[:4]])
        real, corrupted = self._pairs(len(indices) // 2, generator)
        pictures = [
            to_pixels(to_picture(sprites, self.palette), self.channels) for sprites in (real, corrupted)
        ]
        pixels = torch.cat(_augment(pictures, self.settings.channel_swaps, generator))
        return {
            "pixel_values": pixels,
            "labels": torch.tensor([REAL] * len(real) + [1 - REAL] * len(corrupted)),
        }

    def _pairs(
        self, count: int, generator: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return `count` real sprites and the same sprites corrupted; others replace those that stay equal.

        Every batch has the same size, so that one graph serves all steps on a GPU.
        """
        counts = dict(zip(SHARES, generator.multinomial(count, list(SHARES.values())), strict=True))
        completed = generator.integers(0, len(self.completions.rows), counts[COMPLETIONS])
        real = [self.positives[self.completions.rows[completed]]]
        corrupted = [self.completions.sprites[completed]]
        for name, corrupt in NEGATIVE_TYPES.items():
            # One more than needed, because a splice exchanges the completions of two or more sprites.
            drawn = self.positives[generator.integers(0, len(self.positives), counts[name] + 1)]
            real.append(drawn[: counts[name]])
            corrupted.append(corrupt(drawn, len(self.palette), generator)[: counts[name]])
        of_all, corrupted_all = np.concatenate(real), np.concatenate(corrupted)
        kept = np.resize(np.flatnonzero(differs(corrupted_all, of_all)), count)
        return of_all[kept], corrupted_all[kept]


def _augment(
    pictures: Sequence[Tensor], channel_swaps: float, generator: np.random.Generator
) -> list[Tensor]:
    """Mirror, shift and recolour sprites at random, so slightly that they stay realistic.

    Args:
        pictures: batches of (B, C, 20, 20) pixels; sprite n of each batch is augmented alike.
        channel_swaps: the probability that red, green and blue are exchanged.
        generator: draws everything.
    """
    count = len(pictures[0])
    batch = torch.arange(count)
    mirrored = torch.from_numpy(generator.random(count) < 0.5)[:, None, None, None]
    down, right = torch.from_numpy(generator.integers(0, 3, (2, count)))
    rows = (down[:, None] + torch.arange(SIDE))[:, :, None]  # (B, 20, 1)
    columns = (right[:, None] + torch.arange(SIDE))[:, None, :]
    tint = torch.from_numpy(generator.uniform(-LIGHTER, LIGHTER, (count, 3, 1, 1))).float()
    swapped = generator.permuted(np.tile(np.arange(3), (count, 1)), axis=1)
    keep = generator.random((count, 1)) >= channel_swaps
    colours = torch.from_numpy(np.where(keep, np.arange(3), swapped))  # (B, 3)
    augmented = []
    for pixels in pictures:
        pixels = torch.where(mirrored, pixels.flip(3), pixels)
        recoloured = pixels[:, :3][batch[:, None], colours] + tint
        pixels = torch.cat([recoloured, pixels[:, 3:]], dim=1)
        padded = torch.nn.functional.pad(pixels, (1, 1, 1, 1), mode="replicate")  # continues the border
        augmented.append(padded.permute(0, 2, 3, 1)[batch[:, None, None], rows, columns].permute(0, 3, 1, 2))
    return augmented


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


class _Advance(TrainerCallback):
    """Advances the progress bar of the classifier's training."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update()
