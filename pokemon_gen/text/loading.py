"""Loads a model of text: a run of this package, or any causal language model in a folder or on the hub.

As for sprites, only safetensors and JSON files are read, and no code of others is run.
"""

from dataclasses import dataclass
from pathlib import Path

from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from pokemon_gen.config_files.loading import load_saved
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.checkpoints import TOKENIZER_NAME, is_of_others, learned_from
from pokemon_gen.models.choice import Choice, choose_checkpoint, require_place
from pokemon_gen.models.devices import to_best_device
from pokemon_gen.models.loading import download_model, load_weights
from pokemon_gen.models.runs import find_run
from pokemon_gen.text.tokenizers import load_tokenizer
from pokemon_gen.text_settings import CorpusSettings, TextSettings

LONGEST_BLOCK = 1024
"""The tokens of a block for a model of others that reads more of them, or any number."""


@dataclass(frozen=True)
class TextModel:
    """A model of text, ready to use.

    Attributes:
        model: on the fastest device of this machine, in evaluation mode.
        tokenizer: of the model.
        settings: of the run that trained it; None for a model of others.
        name: of the run, or the place that the model was loaded from.
        reason: why this checkpoint was chosen, in words.
        folder: that it was loaded from; None for a model on the hub.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    settings: TextSettings | None
    name: str
    reason: str
    folder: Path | None = None

    @property
    def context(self) -> int | None:
        """The most tokens that the model reads at once; None if there is no limit."""
        if self.settings:
            return self.settings.corpus.block_size
        return getattr(self.model.config, "max_position_embeddings", None)

    @property
    def corpus(self) -> CorpusSettings:
        """The corpus of the run; for a model of others, the embedded one in blocks as long as it reads."""
        if self.settings:
            return self.settings.corpus
        return CorpusSettings(block_size=min(self.context or LONGEST_BLOCK, LONGEST_BLOCK))


def load_text_model(place: str | Path) -> TextModel:
    """Load a model of text.

    Args:
        place: the name or the folder of a run, whose best checkpoint is loaded; the folder of a checkpoint,
            or of a model of `transformers` with its tokenizer; or the id of such a model on the hub.

    Raises:
        PokemonGenError: if there is no such model, it learned sprites, or a part is missing or damaged.
    """
    require_place(place)
    if not find_run(place).is_dir():
        return _from_hub(str(place))
    folder = find_run(place)
    if is_of_others(folder):
        reason, settings = "named explicitly", None
    else:
        choice = checkpoint_of(place)
        folder, reason = choice.folder, choice.reason
        settings = load_saved(TextSettings, folder)
    model = load_weights(AutoModelForCausalLM, folder, "model")
    tokenizer = load_tokenizer(folder)
    if model.config.vocab_size < len(tokenizer):
        raise PokemonGenError(
            f"{folder}: the model has {model.config.vocab_size} tokens and its tokenizer {len(tokenizer)}; "
            f"they do not belong together. Copy {TOKENIZER_NAME} and the weights from one place."
        )
    name = settings.name if settings else str(place)
    return TextModel(to_best_device(model, str(folder)).eval(), tokenizer, settings, name, reason, folder)


def checkpoint_of(place: str | Path) -> Choice:
    """Return the best checkpoint of a run on text, or the checkpoint that is named.

    Raises:
        PokemonGenError: if there is none, or the run is one on sprites.
    """
    choice = choose_checkpoint(place)
    if learned_from(choice.folder) != "text":
        raise PokemonGenError(f"{choice.folder}: this model learned sprites, not text. Name a run on text.")
    return choice


def _from_hub(name: str) -> TextModel:
    """Load a model by its id on the hub.

    Raises:
        PokemonGenError: if it cannot be downloaded.
    """
    model = to_best_device(download_model(name), name).eval()
    return TextModel(model, load_tokenizer(name), None, name, "named explicitly")


def tokenizer_of(place: str | Path) -> PreTrainedTokenizerFast:
    """Load the tokenizer of a run on text, a folder or a model on the hub; see `load_text_model`.

    Raises:
        PokemonGenError: if there is none, or the run is one on sprites.
    """
    require_place(place)
    folder = find_run(place)
    if not folder.is_dir():
        return load_tokenizer(str(place))
    is_whole = (folder / TOKENIZER_NAME).is_file() or is_of_others(folder)
    return load_tokenizer(folder if is_whole else checkpoint_of(place).folder)
