"""The `Trainer` of sprites: what a batch is, what is measured, and what a checkpoint carries.

`labels` are `input_ids`, and nothing is shifted by hand: the model shifts inside its loss, and shifting
twice would train token t + 2. Two metrics are measured on dev, in nats/token: the NLL over all predicted
tokens, and over the completion's 160 tokens alone, which selection uses. Every checkpoint carries its
palette and settings, and none of our own pickles.
"""

import math
import numbers
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from transformers import EvalPrediction, PreTrainedModel, ProgressCallback

from pokemon_gen.augmentation import Augmentation, prepend_identity, strip_conditioning
from pokemon_gen.constants import LENGTH
from pokemon_gen.errors import PokemonGenError, first_line
from pokemon_gen.files import folder_or_nothing, share_files, write_json
from pokemon_gen.models.checkpoints import (
    EXTENSIONS_NAME,
    SPRITES_NAME,
    UNLOGGED_NAME,
    read_unlogged_loss,
)
from pokemon_gen.models.environment import ENVIRONMENT_NAME, environment
from pokemon_gen.models.likelihood import completion_nll, token_nll
from pokemon_gen.models.loading import weights_not_finite
from pokemon_gen.models.manifest import write_manifest
from pokemon_gen.palette import Palette
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.training.arguments import SpriteTrainingArguments
from pokemon_gen.training.callbacks import (
    CurrentIntervals,
    RestOfRun,
    RotateCheckpoints,
    SaveAfterEvaluation,
    TrainingBar,
)
from pokemon_gen.training.divergence import DivergedError, FiniteLossTrainer
from pokemon_gen.training.extensions import (
    Extensions,
    ScheduleFunction,
    call_own,
    require_returned,
)
from pokemon_gen.training.hooks import HookedTrainer
from pokemon_gen.training.muon import Muon, MuonWithAux, hidden_weights


def make_trainer(
    model: PreTrainedModel,
    arguments: SpriteTrainingArguments,
    sprites: Sprites,
    settings: Settings,
    extensions: Extensions = Extensions(),  # noqa: B008 (frozen)
) -> "SpriteTrainer":
    """Put model, data and arguments together into a `Trainer`."""
    trainer = SpriteTrainer(
        model=model,
        args=arguments,
        train_dataset=SpriteDataset(sprites.tokens("train")),
        eval_dataset=SpriteDataset(sprites.tokens("dev")),
        data_collator=batch_of,
        preprocess_logits_for_metrics=partial(_nll_of_batch, palette_size=len(sprites.palette)),
        compute_metrics=_mean_nll,
    )
    trainer.sprites, trainer.settings, trainer.extensions = sprites, settings, extensions
    trainer.own_code = extensions.describe()  # once: its file may be edited during the training
    trainer.augmentation = augmentation_of(settings, sprites.palette)
    trainer.capture, trainer.setting = arguments.capture, "training.capture"
    trainer.add_callback(CurrentIntervals())
    trainer.add_callback(SaveAfterEvaluation())
    trainer.add_callback(RotateCheckpoints(arguments.save_total_limit))
    arguments.save_total_limit = None  # `Trainer` would remove checkpoints by their modification times
    for callback in extensions.callbacks:
        trainer.add_callback(callback)
    if not arguments.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
        rest = (callback for callback in extensions.callbacks if isinstance(callback, RestOfRun))
        trainer.add_callback(TrainingBar(next(rest, None)))
    return trainer


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


def _factor(schedule: ScheduleFunction, step: int, steps: int) -> float:
    """Return the factor of the learning rate that the person's own schedule gives.

    Raises:
        PokemonGenError: if it is not a finite number.
    """
    factor = call_own("schedule", schedule, step, steps)
    if not isinstance(factor, numbers.Real) or not math.isfinite(factor):
        raise PokemonGenError(
            f"schedule: your function must return a finite number, not {factor!r} (step {step} of {steps})."
        )
    return float(factor)


class SpriteTrainer(HookedTrainer, FiniteLossTrainer):
    """`Trainer` that augments sprites, measures their NLL, and saves what a checkpoint needs."""

    sprites: Sprites
    settings: Settings
    extensions: Extensions
    own_code: dict[str, str]
    augmentation: Augmentation
    lr_scheduler: Any
    _before: tuple[float, int] | None = None

    def draw(self, inputs: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the transform of each sprite; the person's own augmentation comes first."""
        tokens = self._own_augmentation(inputs["input_ids"], generator)
        transforms = self.augmentation.draw(len(tokens), generator)  # (B, kinds)
        return {"input_ids": tokens, "transforms": _to_device(transforms, tokens.device)}

    def model_inputs(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Augment sprites on the device of the model, by the transforms that were drawn."""
        return _conditioned_batch(self.augmentation.apply(inputs["input_ids"], inputs["transforms"]))

    def try_own_augmentation(self) -> None:
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
        with torch.compiler.set_stance("force_eager"):  # a few batches do not pay for another compilation
            return super().prediction_step(model, _conditioned_batch(tokens), *args, **kwargs)

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """Return which parameters decay: all, or those that `Trainer` chooses (no biases, no norms)."""
        if self.args.decay_every_parameter:
            return [name for name, _ in model.named_parameters()]
        return super().get_decay_parameter_names(model)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Make the person's own optimizer, or the one that the arguments name, with Muon for the matrices."""
        if self.optimizer is None and self.extensions.optimizer is not None:
            self.optimizer = call_own("optimizer", self.extensions.optimizer, self.model, self.args)
            require_returned("optimizer", self.optimizer, torch.optim.Optimizer)
        if self.optimizer is None and self.args.muon_learning_rate:
            args, hidden = self.args, hidden_weights(self.model)
            dtype = torch.bfloat16 if args.bf16 else torch.float32
            muon = Muon(hidden, args.muon_learning_rate, args.muon_weight_decay, dtype)
            self.optimizer = MuonWithAux(super().create_optimizer(model), muon)
        return super().create_optimizer(model)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Make the person's own schedule, or the one that the arguments name."""
        factor = self.extensions.schedule
        if self.lr_scheduler is None and factor is not None:
            target: Any = self.optimizer if optimizer is None else optimizer
            self.lr_scheduler = LambdaLR(target, lambda step: _factor(factor, step, num_training_steps))
        return super().create_scheduler(num_training_steps, optimizer)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Return all of dev: `dataloader_drop_last` is meant for the batches to learn from."""
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = drop_last

    @contextmanager
    def loading_state(self, checkpoint: Path) -> Iterator[None]:
        """Load an optimizer, a schedule or random states.

        Raises:
            PokemonGenError: if they are of another run, or hold something else than tensors and numbers.
        """
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, UnpicklingError) as error:
            raise PokemonGenError(
                f"{checkpoint}: optimizer.pt, scheduler.pt or rng_state.pth is not of this run: "
                f"{first_line(error)}. Delete this checkpoint to resume from the one before it."
            ) from error

    def optimizer_loaded(self, checkpoint: Path) -> None:
        """Check the optimizer's state, and read the losses that were not logged before the checkpoint."""
        _check_shapes(getattr(self.optimizer, "optimizer", self.optimizer))
        self._before = read_unlogged_loss(checkpoint)

    @contextmanager
    def saving(self, folder: Path) -> Iterator[None]:
        """Save a checkpoint and, last of all, its manifest; on a full disk, leave none half written.

        `Trainer` logs the mean of the losses since the last log. After a resume it would lack those before
        the checkpoint, so their sum is saved too, and first: with the state of `Trainer`, which it writes
        last, a checkpoint has everything that a training resumes from.

        Raises:
            PokemonGenError: if it cannot be written.
        """
        with folder_or_nothing(folder):
            unlogged = {"sum": float(self.unlogged_loss), "after_step": self.last_logged_step}
            write_json(folder / UNLOGGED_NAME, unlogged)
            yield
            write_manifest(folder)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Take a step; the first one after a resume also returns the losses that were not logged before."""
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        if self._before is not None:
            (total, self.last_logged_step), self._before = self._before, None
            loss = loss.float() + total
        return loss

    def save_model(self, output_dir: str | None = None, *args: Any, **kwargs: Any) -> None:
        """Save weights and config together with palette, settings and the sprites' fingerprint.

        Raises:
            DivergedError: if the loss or a weight is not finite.
        """
        self.check_loss()
        if weights_not_finite(self.model):
            step = self.state.global_step
            raise DivergedError(step, self.place_of(step), "a weight")
        super().save_model(output_dir, *args, **kwargs)
        folder = Path(output_dir or self.args.output_dir)
        self.sprites.palette.save(folder)
        self.settings.save(folder)
        write_json(folder / SPRITES_NAME, self.sprites.origin)
        write_json(folder / ENVIRONMENT_NAME, environment())
        if self.own_code:
            write_json(folder / EXTENSIONS_NAME, self.own_code)
        share_files(folder, like=folder / SPRITES_NAME)
        # A pickle that nothing loads: a checkpoint that is shared is safer without it.
        (folder / "training_args.bin").unlink(missing_ok=True)


def _check_shapes(optimizer: torch.optim.Optimizer) -> None:
    """Check that an optimizer's state belongs to its parameters, which torch does not.

    Raises:
        ValueError: if it does not.
    """
    for parameter, state in optimizer.state.items():
        sizes = [value.numel() for value in state.values() if isinstance(value, Tensor) and value.dim()]
        if isinstance(parameter, Tensor) and any(size != parameter.numel() for size in sizes):
            raise ValueError(f"the optimizer has {sizes[0]} values for {parameter.numel()} weights")


def _nll_of_batch(logits: Any, labels: Tensor, palette_size: int) -> Tensor:
    """Reduce (B, conditioning + 400, V + more) logits to (B, 399) nats, which take 167 times less memory."""
    logits = logits[0] if isinstance(logits, tuple) else logits
    return token_nll(strip_conditioning(logits, LENGTH, palette_size), labels[:, -LENGTH:])


def _mean_nll(prediction: EvalPrediction) -> dict[str, float]:
    """Return the dev metrics in nats/token; `Trainer` logs them as `eval_...`."""
    nll: Any = prediction.predictions  # (N, 399)
    return {"nll": float(nll.mean()), "completion_nll": float(completion_nll(nll).mean())}
