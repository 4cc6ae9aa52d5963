"""Generators: short-trained models that complete training sprites they have not seen.

Their completions are what a detector must learn to tell from real sprites. A model that had seen a sprite
would give back its true completion, and a detector would learn nothing from it, so train is cut into
parts, and each part is completed by a model trained on the others. Every sprite then stands among the
real ones and among the completed ones alike: a detector cannot win by knowing prompts by heart.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import ProgressCallback, TrainerCallback, TrainingArguments

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
    """What generators made; completions within 5 % of the truth are left out.

    Attributes:
        train: (M, 400) completions of training prompts, each by a model that had not seen the sprite.
        others: (K, 400) completions of the other prompts that were given.
    """

    train: Tokens
    others: Tokens


def complete_unseen(
    settings: GeneratorSettings, seed: int, train: Tokens, others: Tokens, palette_size: int, title: str
) -> Completed:
    """Train generators on parts of train and let them complete the rest, early to late.

    Args:
        settings: the models, the parts and the stages.
        seed: of weights, parts and drawing.
        train: (N, 400) sprites.
        others: (L, 400) sprites that no generator sees, completed by the first one, to measure by.
        palette_size: V.
        title: stands before the bar.
    """
    order = np.random.default_rng(seed).permutation(len(train))
    parts = np.array_split(order, settings.folds)
    made: list[Tokens] = []
    of_others: list[Tokens] = []
    with tqdm(total=settings.snapshot_steps[-1] * settings.folds, desc=title, unit="step") as bar:
        for number, part in enumerate(parts):
            seen = np.setdiff1d(order, part)
            unseen = np.concatenate([train[part], others[: len(others) if number == 0 else 0]])
            for rows, completed in _one_generator(
                settings, seed + number, train[seen], unseen, palette_size, bar
            ):
                kept, of_part = differs(completed, unseen[rows]), rows < len(part)
                made.append(completed[kept & of_part])
                of_others.append(completed[kept & ~of_part])
    return Completed(np.concatenate(made), np.concatenate(of_others))


def _one_generator(
    settings: GeneratorSettings,
    seed: int,
    seen: Tokens,
    unseen: Tokens,
    palette_size: int,
    bar: Any,
) -> list[tuple[Tokens, Tokens]]:
    """Train on `seen`, (S, 400); return rows of `unseen`, (U, 400), and their completions, at each stage."""
    model = build_model(settings.model, palette_size, seed)
    generator = np.random.default_rng(seed)
    made: list[tuple[Tokens, Tokens]] = []

    def complete(stage: int) -> None:
        model.eval()
        rows = np.sort(generator.permutation(len(unseen))[: max(2, round(settings.share * len(unseen)))])
        made.append((rows, _half_greedy(model, unseen[rows], settings, seed + stage, len(made) % 2)))
        model.train()

    with tempfile.TemporaryDirectory() as folder:
        trainer = FiniteLossTrainer(
            model=model,
            args=_arguments(settings, seed, folder),
            train_dataset=SpriteDataset(seen),
            data_collator=batch_of,
            callbacks=[_AtSnapshots(settings.snapshot_steps, complete, bar)],
        )
        trainer.remove_callback(ProgressCallback)
        train_to_end(trainer, bar.desc)
    return made


def _half_greedy(model: Any, sprites: Tokens, settings: GeneratorSettings, seed: int, first: int) -> Tokens:
    """Complete every other prompt greedily and the rest by sampling; `first` says which begin."""
    completed = np.empty_like(sprites)
    sampling = CompletionSettings(do_sample=True, temperature=settings.temperature, seed=seed)
    for rows, how in ((slice(first, None, 2), None), (slice(1 - first, None, 2), sampling)):
        if len(sprites[rows]):
            completed[rows] = complete_prompts(model, sprites[rows, :PROMPT_LENGTH], how)
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
    """Calls `complete` after the steps asked for, and moves the bar."""

    def __init__(self, snapshot_steps: tuple[int, ...], complete: Callable[[int], None], bar: Any) -> None:
        self.snapshot_steps, self.complete, self.bar = snapshot_steps, complete, bar

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update()
        if state.global_step in self.snapshot_steps:
            self.complete(state.global_step)
