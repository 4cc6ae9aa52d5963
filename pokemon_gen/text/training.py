"""Training on text: what a batch is, and what is measured.

A batch is blocks of tokens and, as labels, the token after each of them. So a block of 64 tokens gives 64
predictions, as in nanoGPT; `Trainer` would otherwise shift the labels inside the model and lose one of them.
During a training the NLL is measured on blocks of dev that are spread over it, always the same: in
nats/token, and in bits per character, in which models of different tokenizers can be compared.
"""

import copy
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, EvalPrediction, PreTrainedModel, PreTrainedTokenizerFast

from pokemon_gen.constants import CHECKPOINTS
from pokemon_gen.errors import SettingError
from pokemon_gen.files import write_json
from pokemon_gen.models.build import build_text_model
from pokemon_gen.models.checkpoints import CORPUS_NAME
from pokemon_gen.models.likelihood import sequences_at_once
from pokemon_gen.models.loading import load_weights
from pokemon_gen.models.runs import last_checkpoint
from pokemon_gen.models.starting import require_positions, require_same_model
from pokemon_gen.text.blocks import (
    AdjacentBlocks,
    RandomBlocks,
    Seen,
    TokenStream,
    count_seen,
    read_tokens,
    require_block,
)
from pokemon_gen.text.corpus import Corpus, open_corpus
from pokemon_gen.text.loading import TextModel, load_text_model
from pokemon_gen.text.tokenizers import make_tokenizer
from pokemon_gen.text_settings import TextSettings
from pokemon_gen.training.arguments import DEFAULT_BATCH, RunTrainingArguments, training_arguments
from pokemon_gen.training.extensions import Extensions
from pokemon_gen.training.run import TrainingResult, train_extended
from pokemon_gen.training.trainer import RunTrainer, TrainingData, finish_trainer


class TextData(TrainingData[TextSettings]):
    """The text that a run learns from.

    Attributes:
        corpus: the text.
        tokenizer: of the run.
        train: the tokens of train, and so `dev`.
        dev: see `train`.
        base: the model that the training starts from; None for a model with fresh weights.
    """

    noun = "blocks"

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: PreTrainedTokenizerFast,
        train: TokenStream,
        dev: TokenStream,
        base: TextModel | None = None,
    ) -> None:
        """Hold a corpus and its tokens; see `load_text_data`."""
        self.corpus, self.tokenizer, self.train, self.dev = corpus, tokenizer, train, dev
        self.base = base

    @property
    def origin(self) -> dict[str, str]:
        """The source of the text and its fingerprint."""
        return self.corpus.origin

    @property
    def fingerprint(self) -> str:
        """Identifies the text."""
        return self.corpus.survey.fingerprint

    def __str__(self) -> str:
        """Return the sizes of the parts."""
        parts = [
            f"{name} {part.characters:,} characters, {len(part.tokens):,} tokens"
            for name, part in (("train", self.train), ("dev", self.dev))
        ]
        return f"{'; '.join(parts)}; {len(self.tokenizer):,} different tokens"

    def count(self, settings: TextSettings) -> int:
        """Return the number of blocks in an epoch; random blocks have one epoch, which is the run."""
        if settings.corpus.blocks == "epochs":
            return len(AdjacentBlocks(self.train, settings.corpus.block_size))
        steps = settings.training.get("max_steps")
        if not isinstance(steps, int) or steps < 1:
            raise SettingError(
                "corpus.blocks",
                "corpus.blocks: random blocks have no epochs, so the run needs training.max_steps. Or cut "
                "the text into blocks that do not overlap: corpus.blocks=epochs.",
            )
        return steps * int(settings.training.get("per_device_train_batch_size", DEFAULT_BATCH))

    def fresh_model(self, settings: TextSettings, extensions: Extensions) -> PreTrainedModel:
        """Return the model of `start_from`, or one that the `model:` section describes."""
        block_size = settings.corpus.block_size
        if self.base is None:
            model = build_text_model(settings.model, len(self.tokenizer), block_size, settings.seed)
        else:
            require_same_model(self.base.model, settings.model, self.base.name)
            require_positions(self.base.model, block_size, self.base.name)
            # A copy: a second training starts from the same. Steps in bf16, as models on the hub often are,
            # would mostly be rounded away.
            model = copy.deepcopy(self.base.model).cpu().float().train()
        model.loss_type = None  # `Trainer` then counts every label: they are shifted already
        return model

    def require_loadable(self, checkpoint: Path) -> None:
        """Check the weights of a checkpoint."""
        load_weights(AutoModelForCausalLM, checkpoint, "model")

    def trainer(
        self,
        model: PreTrainedModel,
        arguments: RunTrainingArguments,
        settings: TextSettings,
        extensions: Extensions,
    ) -> "TextTrainer":
        """Put model, blocks and arguments together into a `Trainer`."""
        block_size = settings.corpus.block_size
        if "per_device_eval_batch_size" not in settings.training:
            most = sequences_at_once(len(self.tokenizer), block_size)
            arguments.per_device_eval_batch_size = min(arguments.per_device_eval_batch_size, most)
        trainer = TextTrainer(
            model=model,
            args=arguments,
            train_dataset=self.blocks(arguments, settings),
            eval_dataset=AdjacentBlocks(self.dev, block_size, settings.corpus.eval_blocks),
            data_collator=_batch_of,
            compute_loss_func=partial(_mean_loss, label_smoothing=arguments.label_smoothing_factor),
            preprocess_logits_for_metrics=_nll_of_batch,
            compute_metrics=self._metrics,
        )
        finish_trainer(trainer, self, settings, extensions)
        return trainer

    def blocks(
        self, arguments: RunTrainingArguments, settings: TextSettings
    ) -> RandomBlocks | AdjacentBlocks:
        """Return the blocks of train."""
        block_size = settings.corpus.block_size
        if settings.corpus.blocks == "epochs":
            return AdjacentBlocks(self.train, block_size)
        count = arguments.max_steps * arguments.train_batch_size * arguments.gradient_accumulation_steps
        return RandomBlocks(self.train, block_size, count, settings.seed)

    def save(self, folder: Path) -> None:
        """Write the tokenizer, and the source and the fingerprint of the text."""
        self.tokenizer.save_pretrained(folder)
        write_json(folder / CORPUS_NAME, self.origin)

    def _metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """Return the dev metrics; `Trainer` logs them as `eval_...`."""
        predictions: Any = prediction.predictions  # (N, block_size)
        nll = float(predictions.mean())
        return {"nll": nll, "bits_per_character": bits_per_character(nll, self.dev)}


def bits_per_character(nll: float, stream: TokenStream) -> float:
    """Return the mean NLL of a text in bits per character.

    Args:
        nll: in nats/token.
        stream: the text.
    """
    return nll / math.log(2) * len(stream.tokens) / stream.characters


class TextTrainer(RunTrainer):
    """`Trainer` of blocks of text."""

    data: TextData


def _batch_of(blocks: Tensor) -> dict[str, Tensor]:
    """Make a batch of blocks, (B, block_size + 1): the tokens that are read, and those that are predicted."""
    return {"input_ids": blocks[:, :-1].contiguous(), "labels": blocks[:, 1:].contiguous()}


def _mean_loss(
    outputs: Any, labels: Tensor, num_items_in_batch: Any = None, label_smoothing: float = 0.0
) -> Tensor:
    """Return the mean loss of the labels over all batches of a step: their NLL, unless they are smoothed."""
    total = torch.nn.functional.cross_entropy(
        outputs.logits.float().flatten(0, 1),
        labels.flatten(),
        reduction="sum",
        label_smoothing=label_smoothing,
    )
    return total / (labels.numel() if num_items_in_batch is None else num_items_in_batch)


def _nll_of_batch(logits: Any, labels: Tensor) -> Tensor:
    """Reduce (B, T, V) logits to the NLL of each label, (B, T), in nats."""
    logits = logits[0] if isinstance(logits, tuple) else logits
    return torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none")


def load_text_data(settings: TextSettings, overwrite: bool = False) -> TextData:
    """Read the corpus of a run, make its tokenizer and turn the text into tokens.

    Args:
        settings: the run.
        overwrite: the run starts again. A run that resumes needs no base: it has its last checkpoint.

    Raises:
        PokemonGenError: for a text that is missing, not text or too short, or a tokenizer that does not
            fit.
    """
    corpus = open_corpus(settings.corpus)
    saved = None if overwrite else last_checkpoint(CHECKPOINTS / settings.name)
    base = load_text_model(saved or settings.start_from) if settings.start_from else None
    tokenizer = _tokenizer_of(base, settings) if base else make_tokenizer(settings.tokenizer, corpus)
    streams = [read_tokens(corpus, split, tokenizer) for split in ("train", "dev")]
    for split, stream in zip(("train", "dev"), streams, strict=True):
        require_block(stream, settings.corpus.block_size, f"{settings.corpus.source}: {split}")
    return TextData(corpus, tokenizer, streams[0], streams[1], base)


def _tokenizer_of(base: TextModel, settings: TextSettings) -> PreTrainedTokenizerFast:
    """Return the tokenizer of the model that a training starts from.

    Raises:
        SettingError: if the settings ask for another one: tokens of text cannot be matched as colours can.
    """
    asked = settings.tokenizer
    if asked.kind == "pretrained":
        same = make_tokenizer(asked, open_corpus(settings.corpus)).get_vocab() == base.tokenizer.get_vocab()
    else:
        same = base.settings is not None and base.settings.tokenizer == asked
    if not same:
        raise SettingError(
            "tokenizer.kind",
            f"tokenizer: {base.name}, from which the run starts, has a vocabulary of its own "
            f"({len(base.tokenizer):,} tokens). Use the settings `tokenizer:` of that run, or "
            "tokenizer.kind=pretrained tokenizer.source=THE_SAME_PLACE.",
        )
    return base.tokenizer


def train_text(
    settings: TextSettings, data: TextData | None = None, overwrite: bool = False
) -> TrainingResult[TextSettings]:
    """Train a run on text, or resume it from its last valid checkpoint.

    Args:
        settings: the run.
        data: to train on; None loads that of the settings.
        overwrite: start again, and replace what the run's folder holds.

    Raises:
        PokemonGenError: for settings that do not fit, or a run of other settings under this name.
    """
    return train_extended(settings, data or load_text_data(settings, overwrite), Extensions(), overwrite)


def seen_by(result: TrainingResult[TextSettings], data: TextData) -> Seen:
    """Return what a training has seen up to its last step."""
    arguments = training_arguments(result.settings, result.folder)
    dataset = data.blocks(arguments, result.settings)
    in_step = arguments.train_batch_size * arguments.gradient_accumulation_steps
    if isinstance(dataset, RandomBlocks):
        return count_seen(dataset, result.step * in_step)
    in_epoch = len(dataset)
    if arguments.dataloader_drop_last:
        in_epoch -= in_epoch % arguments.train_batch_size
    epochs, steps = divmod(result.step, math.ceil(in_epoch / in_step))  # an epoch's last step may be smaller
    return count_seen(dataset, epochs * in_epoch + steps * in_step)
