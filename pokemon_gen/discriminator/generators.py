"""Generators: models that are trained for a few steps and complete training sprites that they have not seen.

A detector learns to distinguish their completions from real sprites. A model that had seen a sprite could
return its memorised completion, from which a detector learns nothing. So train is split into folds, and each
fold is completed by a model that was trained on the other folds (cross-fitting). Every prompt then occurs
both among the real sprites and among the completed ones, so the detector gains nothing by memorising prompts.

A detector that should tell the completions of good models needs good generators: a kind may have the model,
the transforms and the optimizer of a shipped config, with fewer steps.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PrinterCallback, TrainerCallback
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from pokemon_gen.bars import progress_bar
from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.config_files.loading import load_sample_settings
from pokemon_gen.constants import PROMPT_LENGTH
from pokemon_gen.discriminator.negatives import differs
from pokemon_gen.palette import Palette
from pokemon_gen.settings import AugmentationSettings, CompletionSettings, GeneratorSettings, Settings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.folds import random_folds
from pokemon_gen.training.arguments import derived_seed, fit_schedule
from pokemon_gen.training.divergence import FiniteLossTrainer, train_to_end
from pokemon_gen.training.run import prepare
from pokemon_gen.training.sprites import SpriteData

Tokens = NDArray[np.int64]
_SILENT = {"logging_strategy": "no", "report_to": "none", "disable_tqdm": True}
"""Fields of `training:` of a run that logs nothing."""


@dataclass(frozen=True)
class CompletedPrompts:
    """Completions of the prompts of real sprites.

    Attributes:
        sprites: (M, 400); a prompt may be completed several times.
        rows: (M,) the real sprite whose prompt each has.
    """

    sprites: Tokens
    rows: Tokens


@dataclass(frozen=True)
class Completed:
    """Completions by generators, without those that differ from the truth in at most 5 % of their pixels.

    Attributes:
        train: of training prompts, each by a model that had not seen the sprite.
        others: of the prompts that are not in train.
    """

    train: CompletedPrompts
    others: CompletedPrompts


def complete_unseen(
    kinds: Sequence[GeneratorSettings],
    seed: int,
    train: Tokens,
    others: Tokens,
    palette: Palette,
    title: str,
) -> Completed:
    """Train generators of each kind, and complete each fold of train with those that have not seen it.

    Every generator completes sprites at one or more steps of its training, so that the completions can range
    from bad to good.

    Args:
        kinds: the models, the folds, the steps and the draws of each kind.
        seed: the seed of the weights, the folds and the sampling.
        train: (N, 400) sprites.
        others: (L, 400) sprites that no generator is trained on. The first generator of each kind completes
            them; the detector is measured on the result.
        palette: the colours of the tokens.
        title: the title of the progress bar.
    """
    drawn: list[CompletedPrompts] = []
    with progress_bar(sum(kind.snapshot_steps[-1] * kind.folds for kind in kinds), title, "step") as bar:
        for number, kind in enumerate(kinds):
            folds = kind_folds(kind, number, seed, train)
            drawn += _complete_folds(kind, derived_seed(seed, number), folds, train, others, palette, bar)
    rows = np.concatenate([part.rows for part in drawn])
    sprites = np.concatenate([part.sprites for part in drawn])
    kept = differs(sprites, np.concatenate([train, others])[rows])
    parts = [(kept & (rows < len(train)), 0), (kept & (rows >= len(train)), len(train))]
    return Completed(*(CompletedPrompts(sprites[part], rows[part] - first) for part, first in parts))


def kind_folds(kind: GeneratorSettings, number: int, seed: int, train: Tokens) -> list[Tokens]:
    """Return the rows of train, (N, 400), in each fold of a kind of generators, which counts from 0."""
    return random_folds(train, [1 / kind.folds] * kind.folds, derived_seed(seed, number))


def _complete_folds(
    kind: GeneratorSettings,
    seed: int,
    folds: Sequence[Tokens],
    train: Tokens,
    others: Tokens,
    palette: Palette,
    bar: Any,
) -> list[CompletedPrompts]:
    """Train one generator per fold, which completes its fold; the first one completes the others too."""
    drawn: list[CompletedPrompts] = []
    sprites = np.concatenate([train, others])
    for number, fold in enumerate(folds):
        seen = np.setdiff1d(np.arange(len(train)), fold)
        unseen = [fold] if number else [fold, np.arange(len(train), len(sprites))]
        drawn += _train_generator(kind, seed + number, train[seen], sprites, unseen, palette, bar)
    return drawn


def _train_generator(
    kind: GeneratorSettings,
    seed: int,
    seen: Tokens,
    sprites: Tokens,
    unseen: Sequence[Tokens],
    palette: Palette,
    bar: Any,
) -> list[CompletedPrompts]:
    """Train a generator on `seen`, (S, 400), and complete the sprites in groups of rows at each snapshot."""
    drawn: list[CompletedPrompts] = []

    def complete(model: PreTrainedModel, step: int) -> None:
        drawn.extend(_draw(model, kind, derived_seed(seed, step), sprites, unseen))
        model.train()

    _train(_run_settings(kind, seed), seen, palette, _AtSnapshots(kind.snapshot_steps, complete, bar))
    return drawn


def complete_by_sample(sprites: Sprites, steps: int, title: str) -> Tokens:
    """Complete the dev prompts greedily with the homework's sample model; (N, 400).

    Args:
        sprites: the sample model learns train.
        steps: optimizer steps; the homework takes 2,000.
        title: the title of the progress bar.
    """
    settings = load_sample_settings().with_training(**_SILENT, max_steps=steps)  # in place of its epochs
    completed: list[Tokens] = []

    def complete(model: PreTrainedModel, step: int) -> None:
        completed.append(complete_prompts(model, sprites.prompts("dev"), settings.completion))

    with progress_bar(steps, title, "step") as bar:
        _train(settings, sprites.tokens("train"), sprites.palette, _AtSnapshots((steps,), complete, bar))
    return completed[0]


def _train(settings: Settings, seen: Tokens, palette: Palette, callback: "_AtSnapshots") -> None:
    """Train a run of which nothing is saved or logged on sprites, (S, 400)."""
    data = SpriteData(Sprites({"train": seen, "dev": seen}, palette, "generators"))
    with tempfile.TemporaryDirectory() as folder:
        model, arguments, settings = prepare(settings, data, Path(folder))
        arguments.save_strategy, arguments.eval_strategy = SaveStrategy.NO, IntervalStrategy.NO
        fit_schedule(arguments, arguments.max_steps)

        def make() -> FiniteLossTrainer:
            trainer = data.trainer(model, arguments, settings)
            trainer.add_callback(callback)
            trainer.remove_callback(PrinterCallback)
            return trainer

        train_to_end(make, callback.bar.desc)


def _draw(
    model: Any, kind: GeneratorSettings, seed: int, sprites: Tokens, unseen: Sequence[Tokens]
) -> list[CompletedPrompts]:
    """Complete a share of the sprites in each group of rows once at each temperature."""
    generator = np.random.default_rng(seed)
    drawn = []
    for number, temperature in enumerate(kind.temperatures):
        chosen = [generator.permutation(group)[: _at_least_two(kind.share, group)] for group in unseen]
        rows = np.sort(np.concatenate(chosen))
        completion = CompletionSettings(
            do_sample=temperature > 0,
            temperature=temperature or 1.0,
            top_p=kind.top_p,
            seed=derived_seed(seed, number),
        )
        prompts = sprites[rows, :PROMPT_LENGTH]
        drawn.append(CompletedPrompts(complete_prompts(model, prompts, completion), rows))
    return drawn


def _at_least_two(share: float, rows: Tokens) -> int:
    """Return how many rows a share of them is."""
    return max(2, round(share * len(rows)))


def _run_settings(kind: GeneratorSettings, seed: int) -> Settings:
    """Return a generator as the settings of a run, of which nothing is saved or logged."""
    return Settings(
        name="generator",
        seed=seed,
        model=kind.model,
        augmentation=AugmentationSettings(flips=kind.flips, hue_shifts=kind.hue_shifts),
        training={
            "max_steps": kind.snapshot_steps[-1],
            "per_device_train_batch_size": kind.batch_size,
            "learning_rate": kind.learning_rate,
            "weight_decay": kind.weight_decay,
            "muon_learning_rate": kind.muon_learning_rate,
            "muon_weight_decay": kind.muon_weight_decay,
            "adam_beta2": 0.95,  # a short average of squared gradients, because there are few steps
            "warmup_steps": 0.04,  # a share of the steps, as in the shipped configs
            "lr_scheduler_type": "warmup_stable_decay",
            "lr_scheduler_kwargs": {"num_decay_steps": 0.5, "decay_type": "linear", "min_lr_ratio": 0.02},
            **_SILENT,
        },
    )


class _AtSnapshots(TrainerCallback):
    """Calls `complete` after each snapshot step, and updates the progress bar."""

    def __init__(
        self, snapshot_steps: tuple[int, ...], complete: Callable[[PreTrainedModel, int], None], bar: Any
    ) -> None:
        self.snapshot_steps, self.complete, self.bar = snapshot_steps, complete, bar

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update()
        if state.global_step in self.snapshot_steps:
            self.complete(kwargs["model"], state.global_step)
