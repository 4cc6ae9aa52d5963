"""Training on sprites: what a batch is, and what is measured.

`labels` are `input_ids`, and nothing is shifted by hand: the model shifts inside its loss, and shifting
twice would train token t + 2. Two metrics are measured on dev, in nats/token: the NLL over all predicted
tokens, and over the completion's 160 tokens alone, which selection uses.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import EvalPrediction, PreTrainedModel

from pokemon_gen.augmentation import Augmentation, prepend_identity, strip_conditioning
from pokemon_gen.constants import LENGTH
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import write_json
from pokemon_gen.models.build import adopt_model, build_model
from pokemon_gen.models.checkpoints import SPRITES_NAME
from pokemon_gen.models.likelihood import completion_nll, token_nll
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.starting import start_from_sprites
from pokemon_gen.palette import Palette
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.training.arguments import RunTrainingArguments
from pokemon_gen.training.extensions import Extensions, call_own, require_returned
from pokemon_gen.training.trainer import RunTrainer, TrainingData, finish_trainer


class SpriteData(TrainingData[Settings]):
    """The sprites that a run learns from."""

    noun = "sprites"

    def __init__(self, sprites: Sprites) -> None:
        """Hold the sprites."""
        self.sprites = sprites

    @property
    def origin(self) -> dict[str, str]:
        """The source and its fingerprint."""
        return self.sprites.origin

    @property
    def fingerprint(self) -> str:
        """Identifies the sprites."""
        return self.sprites.fingerprint

    def count(self, settings: Settings) -> int:
        """Return the number of sprites in train."""
        return len(self.sprites.tokens("train"))

    def fresh_model(self, settings: Settings, extensions: Extensions) -> PreTrainedModel:
        """Return the person's own model, that of `start_from`, or one that the `model:` section describes."""
        palette = self.sprites.palette
        conditioning = augmentation_of(settings, palette).conditioning
        given = extensions.model
        if settings.start_from and given is not None:
            raise PokemonGenError(
                "start_from: the run has a model of your own already. Leave one of them out."
            )
        if settings.start_from:
            return start_from_sprites(
                settings.start_from, settings.model, palette, conditioning, settings.seed
            )
        if given is None:
            return build_model(settings.model, len(palette), settings.seed, conditioning=conditioning)
        if not isinstance(given, PreTrainedModel):
            given = call_own("model", given, len(palette) + conditioning.count, settings.seed)
            require_returned("model", given, PreTrainedModel)
        return adopt_model(given, len(palette), conditioning)

    def require_loadable(self, checkpoint: Path) -> None:
        """Check the weights of a checkpoint, and that they belong to its palette."""
        load_checkpoint(checkpoint)

    def trainer(
        self,
        model: PreTrainedModel,
        arguments: RunTrainingArguments,
        settings: Settings,
        extensions: Extensions = Extensions(),  # noqa: B008 (frozen)
    ) -> "SpriteTrainer":
        """Put model, sprites and arguments together into a `Trainer`."""
        sprites = self.sprites
        trainer = SpriteTrainer(
            model=model,
            args=arguments,
            train_dataset=SpriteDataset(sprites.tokens("train")),
            eval_dataset=SpriteDataset(sprites.tokens("dev")),
            data_collator=batch_of,
            preprocess_logits_for_metrics=partial(_nll_of_batch, palette_size=len(sprites.palette)),
            compute_metrics=_mean_nll,
        )
        trainer.sprites, trainer.augmentation = sprites, augmentation_of(settings, sprites.palette)
        finish_trainer(trainer, self, settings, extensions)
        return trainer

    def save(self, folder: Path) -> None:
        """Write the palette, and the source and the fingerprint of the sprites."""
        self.sprites.palette.save(folder)
        write_json(folder / SPRITES_NAME, self.sprites.origin)


class SpriteDataset(torch.utils.data.Dataset[Tensor]):
    """Sprites as one tensor, (N, 400): the data is small, so a batch is a single indexing."""

    def __init__(self, tokens: NDArray[np.int64]) -> None:
        """Hold `tokens`, (N, 400)."""
        self.tokens = torch.from_numpy(tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> Tensor:
        return self.tokens[index]

    def __getitems__(self, indices: list[int]) -> Tensor:
        """Return (B, 400) at once; `DataLoader` calls this method where a data set has it."""
        return self.tokens[indices]


def batch_of(tokens: Tensor) -> dict[str, Tensor]:
    """Make a batch of (B, 400) tokens. `Trainer` only counts these labels; `model_inputs` makes its own."""
    return {"input_ids": tokens, "labels": tokens}


def augmentation_of(settings: Settings, palette: Palette) -> Augmentation:
    """Return the augmentation that a run's `augmentation:` section describes."""
    section = settings.augmentation
    return Augmentation(palette, section.flips, section.hue_shifts, section.identity_prob)


def _conditioned_batch(tokens: Tensor) -> dict[str, Tensor]:
    """Make a batch of (B, conditioning + 400) tokens; only what follows the first pixel is predicted.

    The labels are the tokens at their own places, since the model shifts them itself.
    """
    labels = tokens.clone()
    labels[:, : tokens.shape[1] - LENGTH + 1] = -100  # the cross-entropy of torch ignores this label
    return {"input_ids": tokens, "labels": labels}


def _to_device(numbers: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the CPU to a device; to an NVIDIA GPU without waiting for the steps before."""
    return numbers.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else numbers.to(device)


class SpriteTrainer(RunTrainer):
    """`Trainer` that augments sprites and measures their NLL."""

    sprites: Sprites
    augmentation: Augmentation

    def draw(self, inputs: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the transform of each sprite; the person's own augmentation comes first."""
        tokens = self._own_augmentation(inputs["input_ids"], generator)
        transforms = self.augmentation.draw(len(tokens), generator)  # (B, kinds)
        return {"input_ids": tokens, "transforms": _to_device(transforms, tokens.device)}

    def model_inputs(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Augment sprites on the device of the model, by the transforms that were drawn."""
        return _conditioned_batch(self.augmentation.apply(inputs["input_ids"], inputs["transforms"]))

    def try_own_code(self) -> None:
        """Apply the person's own augmentation to a batch: its mistakes are reported before the training.

        Raises:
            PokemonGenError: if the function fails, or returns something else than tokens.
        """
        tokens = torch.from_numpy(self.sprites.tokens("train")[: self.args.train_batch_size])
        self._own_augmentation(tokens.to(self.args.device), torch.Generator().manual_seed(0))

    def _own_augmentation(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """Apply the person's own augmentation, if there is one; (B, 400) → (B, 400)."""
        if self.extensions.augmentation is None:
            return tokens
        augmented = call_own("augmentation", self.extensions.augmentation, tokens, generator)
        size, shape = len(self.sprites.palette), tuple(tokens.shape)
        if not isinstance(augmented, Tensor) or tuple(augmented.shape) != shape:
            found = tuple(augmented.shape) if isinstance(augmented, Tensor) else type(augmented).__name__
            raise PokemonGenError(f"augmentation: your function must return {shape} tokens, not {found}.")
        if augmented.dtype != tokens.dtype or augmented.min() < 0 or augmented.max() >= size:
            raise PokemonGenError(
                f"augmentation: your function must return {tokens.dtype} tokens in 0..{size - 1}, not "
                f"{augmented.dtype} in {augmented.min().item()}..{augmented.max().item()}."
            )
        return augmented

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Predict sprites that are not augmented, with the conditioning tokens that say so."""
        tokens = prepend_identity(self.model, inputs["input_ids"])
        return super().prediction_step(model, _conditioned_batch(tokens), *args, **kwargs)


def _nll_of_batch(logits: Any, labels: Tensor, palette_size: int) -> Tensor:
    """Reduce (B, conditioning + 400, V + more) logits to (B, 399) nats, which take 167 times less memory."""
    logits = logits[0] if isinstance(logits, tuple) else logits
    return token_nll(strip_conditioning(logits, LENGTH, palette_size), labels[:, -LENGTH:])


def _mean_nll(prediction: EvalPrediction) -> dict[str, float]:
    """Return the dev metrics in nats/token; `Trainer` logs them as `eval_...`."""
    nll: Any = prediction.predictions  # (N, 399)
    return {"nll": float(nll.mean()), "completion_nll": float(completion_nll(nll).mean())}
