"""The `Trainer` of sprites: what a batch is, what is measured, and what a checkpoint carries.

`labels` are `input_ids` and nothing is shifted by hand: the model shifts inside its loss, and doing it
twice trains token t + 2. Two numbers are measured, the dev NLL over all predicted tokens and over the
completion's 160 alone, in nats per token; the second is what we steer by. Every checkpoint carries its
palette and settings, and no pickle of ours.
"""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    ProgressCallback,
    TrainerCallback,
)

from pokemon_gen.augmentation import Augmentation, prepend_identity, strip_conditioning
from pokemon_gen.constants import LENGTH
from pokemon_gen.files import share_files, write_json
from pokemon_gen.models.checkpoints import SPRITES_NAME, step_of
from pokemon_gen.models.likelihood import completion_nll, token_nll
from pokemon_gen.models.loading import weights_not_finite
from pokemon_gen.models.runs import named_checkpoints
from pokemon_gen.palette import Palette
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.training.arguments import SpriteTrainingArguments, derived_seed
from pokemon_gen.training.callbacks import RestOfRun, TrainingBar
from pokemon_gen.training.divergence import DivergedError, FiniteLossTrainer
from pokemon_gen.training.muon import Muon, MuonWithAux, hidden_weights


def make_trainer(
    model: PreTrainedModel,
    arguments: SpriteTrainingArguments,
    sprites: Sprites,
    settings: Settings,
    callbacks: Sequence[TrainerCallback] = (),
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
    trainer.sprites, trainer.settings = sprites, settings
    trainer.augmentation = augmentation_of(settings, sprites.palette)
    trainer.add_callback(_IntervalsOfNow())
    trainer.add_callback(_SaveAfterMeasuring())
    trainer.add_callback(_Rotate(arguments.save_total_limit))
    arguments.save_total_limit = None  # `Trainer` would remove by the files' times
    for callback in callbacks:
        trainer.add_callback(callback)
    if not arguments.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
        rest = (callback for callback in callbacks if isinstance(callback, RestOfRun))
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
        """Return (B, 400) at once; `DataLoader` asks for this where it is there."""
        return self.tokens[indices]


def batch_of(tokens: Tensor) -> dict[str, Tensor]:
    """Make a batch of (B, 400) tokens. The labels are the tokens: the model shifts them itself."""
    return {"input_ids": tokens, "labels": tokens}


def augmentation_of(settings: Settings, palette: Palette) -> Augmentation:
    """Make what a run's `augmentation:` section asks for."""
    return Augmentation(palette, **settings.augmentation.model_dump())


def _told_batch(tokens: Tensor) -> dict[str, Tensor]:
    """Make a batch of (B, special + 400) tokens; what stands before the second pixel is given."""
    labels = tokens.clone()
    labels[:, : tokens.shape[1] - LENGTH + 1] = -100  # what torch's cross-entropy leaves out
    return {"input_ids": tokens, "labels": labels}


class SpriteTrainer(FiniteLossTrainer):
    """`Trainer` whose checkpoints carry palette, settings and a fingerprint of the sprites, and no pickle."""

    sprites: Sprites
    settings: Settings
    augmentation: Augmentation
    optimizer: torch.optim.Optimizer | None
    _batch = (-1, 0)
    """The step that the last batch was of, and its number within that step."""

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Take a step on sprites changed anew, and told.

        What is drawn depends on the seed and the step alone: a collator's draws run ahead of the step by
        what `DataLoader` fetches early, so that a run that goes on would draw others.
        """
        step, number = self._batch
        self._batch = (self.state.global_step, number + 1 if step == self.state.global_step else 0)
        generator = torch.Generator().manual_seed(derived_seed(self.args.seed, *self._batch))
        changed = self.augmentation(inputs["input_ids"], generator)
        return super().training_step(model, _told_batch(changed), num_items_in_batch)

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Predict sprites as they are, told so."""
        told = prepend_identity(self.model, inputs["input_ids"])
        return super().prediction_step(model, _told_batch(told), *args, **kwargs)

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """Return which parameters decay: all, or `Trainer`'s choice (no biases, no norms)."""
        if self.args.decay_every_parameter:
            return [name for name, _ in model.named_parameters()]
        return super().get_decay_parameter_names(model)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Make the optimizer that the arguments name, with Muon for the matrices where it is asked for."""
        if self.optimizer is None and self.args.muon_learning_rate:
            args, hidden = self.args, hidden_weights(self.model)
            dtype = torch.bfloat16 if args.bf16 else torch.float32
            muon = Muon(hidden, args.muon_learning_rate, args.muon_weight_decay, dtype)
            self.optimizer = MuonWithAux(super().create_optimizer(model), muon)
        return super().create_optimizer(model)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Return all of dev: `dataloader_drop_last` is meant for batches to learn from."""
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = drop_last

    def save_model(self, output_dir: str | None = None, *args: Any, **kwargs: Any) -> None:
        """Save weights and config, and beside them palette and settings."""
        self.check_loss()
        if weights_not_finite(self.model):
            raise DivergedError(self.state.global_step, "a weight")
        super().save_model(output_dir, *args, **kwargs)
        folder = Path(output_dir or self.args.output_dir)
        self.sprites.palette.save(folder)
        self.settings.save(folder)
        write_json(folder / SPRITES_NAME, self.sprites.origin)
        share_files(folder, like=folder / SPRITES_NAME)
        # A pickle, which nothing loads: a checkpoint to be shared is better without it.
        (folder / "training_args.bin").unlink(missing_ok=True)


class _IntervalsOfNow(TrainerCallback):
    """Lets a run that goes on log, measure and save as often as its arguments say now.

    `Trainer` takes the steps between from the checkpoint's own record, where shares of the run are those of
    the length it had.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        state.compute_steps(args, state.max_steps)


class _SaveAfterMeasuring(TrainerCallback):
    """Lets a checkpoint of an epoch's or the run's last step wait for what is measured after it.

    Measuring draws from the random stream. A run that goes on from a checkpoint that was saved before it
    would draw other dropout than one that was never stopped, and know nothing of what was measured.
    """

    waits = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        last = state.epoch.is_integer() or state.global_step >= state.max_steps
        self.waits = control.should_save and last
        control.should_save = control.should_save and not self.waits

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_save = control.should_save or self.waits
        self.waits = False


class _Rotate(TrainerCallback):
    """Keeps the last checkpoints by their steps, and the best one; removes the others.

    `Trainer` goes by the files' times, and those of checkpoints that were unpacked in another time zone may
    lie in the future. With a limit of 1 it also removes the last checkpoint, if another one is the best, and
    with it all that a longer run could resume from.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.limit or self.limit < 1:
            return
        folder, best = Path(args.output_dir), Path(state.best_model_checkpoint or "").name
        saved = named_checkpoints(folder)
        # Later steps than this one were left by a run that could not resume from them.
        kept = [checkpoint for checkpoint in saved if step_of(checkpoint) <= state.global_step][-self.limit :]
        if best and self.limit > 1 and best not in {checkpoint.name for checkpoint in kept}:
            kept = kept[1:]
        for checkpoint in saved:
            if checkpoint not in kept and checkpoint.name != best:
                shutil.rmtree(checkpoint, ignore_errors=True)


def _nll_of_batch(logits: Any, labels: Tensor, palette_size: int) -> Tensor:
    """Reduce (B, special + 400, V + more) logits to (B, 399) nats: an evaluation keeps 167 times less."""
    logits = logits[0] if isinstance(logits, tuple) else logits
    return token_nll(strip_conditioning(logits, LENGTH, palette_size), labels[:, -LENGTH:])


def _mean_nll(prediction: EvalPrediction) -> dict[str, float]:
    """Return the dev figures, nats per token; `Trainer` logs them as `eval_...`."""
    nll: Any = prediction.predictions  # (N, 399)
    return {"nll": float(nll.mean()), "completion_nll": float(completion_nll(nll).mean())}
