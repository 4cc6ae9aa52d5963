"""Generators: models that are trained for a few steps and complete training sprites that they have not seen.

A detector learns to distinguish their completions from real sprites. A model that had seen a sprite could
return its memorised completion, from which a detector learns nothing. So train is split into folds, and each
fold is completed by a model that was trained on the other folds. Every prompt then occurs both among the real
sprites and among the completed ones, so the detector gains nothing by memorising prompts.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import TrainerCallback, TrainingArguments

from pokemon_gen.bars import progress_bar
from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.constants import PROMPT_LENGTH
from pokemon_gen.discriminator.negatives import differs
from pokemon_gen.models.build import build_model
from pokemon_gen.settings import CompletionSettings, GeneratorSettings
from pokemon_gen.training.arguments import helper_arguments
from pokemon_gen.training.divergence import FiniteLossTrainer, train_to_end
from pokemon_gen.training.trainer import SpriteDataset, batch_of

Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Completed:
    """Completions by generators, without those that differ from the truth in at most 5 % of their pixels.

    Attributes:
        train: (M, 400) completions of training prompts, each by a model that had not seen the sprite.
        others: (K, 400) completions of the prompts that are not in train.
    """

    train: Tokens
    others: Tokens


def complete_unseen(
    settings: GeneratorSettings, seed: int, train: Tokens, others: Tokens, palette_size: int, title: str
) -> Completed:
    """Train one generator per fold of train, and complete each fold with the generator that has not seen it.

    Every generator completes sprites at several steps of its training, so that the completions range from bad
    to good.

    Args:
        settings: the models, the folds and the steps.
        seed: the seed of the weights, the folds and the sampling.
        train: (N, 400) sprites.
        others: (L, 400) sprites that no generator is trained on. The first generator completes them; the
            detector is measured on the result.
        palette_size: V, the number of colours.
        title: the title of the progress bar.
    """
    order = np.random.default_rng(seed).permutation(len(train))
    folds = np.array_split(order, settings.folds)
    completed_train: list[Tokens] = []
    completed_others: list[Tokens] = []
    with progress_bar(settings.snapshot_steps[-1] * settings.folds, title, "step") as bar:
        for number, fold in enumerate(folds):
            seen = np.setdiff1d(order, fold)
            unseen = np.concatenate([train[fold], others[: len(others) if number == 0 else 0]])
            for rows, completed in _train_generator(
                settings, seed + number, train[seen], unseen, palette_size, bar
            ):
                kept, in_fold = differs(completed, unseen[rows]), rows < len(fold)
                completed_train.append(completed[kept & in_fold])
                completed_others.append(completed[kept & ~in_fold])
    return Completed(np.concatenate(completed_train), np.concatenate(completed_others))


def _train_generator(
    settings: GeneratorSettings,
    seed: int,
    seen: Tokens,
    unseen: Tokens,
    palette_size: int,
    bar: Any,
) -> list[tuple[Tokens, Tokens]]:
    """Train a generator on `seen`, (S, 400), and complete a share of `unseen`, (U, 400), at each snapshot.

    Returns:
        For each snapshot, the rows of `unseen` and their completions.
    """
    model = build_model(settings.model, palette_size, seed)
    generator = np.random.default_rng(seed)
    snapshots: list[tuple[Tokens, Tokens]] = []

    def complete(step: int) -> None:
        model.eval()
        rows = np.sort(generator.permutation(len(unseen))[: max(2, round(settings.share * len(unseen)))])
        completed = _complete_half_greedily(model, unseen[rows], settings, seed + step, len(snapshots) % 2)
        snapshots.append((rows, completed))
        model.train()

    with tempfile.TemporaryDirectory() as folder:
        make_trainer = partial(
            FiniteLossTrainer,
            model=model,
            args=_arguments(settings, seed, folder),
            train_dataset=SpriteDataset(seen),
            data_collator=batch_of,
            callbacks=[_AtSnapshots(settings.snapshot_steps, complete, bar)],
        )
        train_to_end(make_trainer, bar.desc)
    return snapshots


def _complete_half_greedily(
    model: Any, sprites: Tokens, settings: GeneratorSettings, seed: int, first: int
) -> Tokens:
    """Complete every second prompt greedily, starting at row `first` (0 or 1), and the rest by sampling."""
    completed = np.empty_like(sprites)
    sampling = CompletionSettings(do_sample=True, temperature=settings.temperature, seed=seed)
    for rows, completion in ((slice(first, None, 2), None), (slice(1 - first, None, 2), sampling)):
        if len(sprites[rows]):
            completed[rows] = complete_prompts(model, sprites[rows, :PROMPT_LENGTH], completion)
    return completed


def _arguments(settings: GeneratorSettings, seed: int, folder: str) -> TrainingArguments:
    steps = settings.snapshot_steps[-1]
    return helper_arguments(
        folder,
        seed,
        max_steps=steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=0.04,  # a share of the steps, as in the shipped configs
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": steps // 2, "decay_type": "linear", "min_lr_ratio": 0.02},
    )


class _AtSnapshots(TrainerCallback):
    """Calls `complete` after each snapshot step, and updates the progress bar."""

    def __init__(self, snapshot_steps: tuple[int, ...], complete: Callable[[int], None], bar: Any) -> None:
        self.snapshot_steps, self.complete, self.bar = snapshot_steps, complete, bar

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update()
        if state.global_step in self.snapshot_steps:
            self.complete(state.global_step)
