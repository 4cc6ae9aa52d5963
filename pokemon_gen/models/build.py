"""A `model:` section → a decoder-only `AutoModelForCausalLM`; a checkpoint folder ↔ model + palette.

Any decoder-only `model_type` of `transformers` works, with three things set by us: the vocabulary is
the palette; there is no begin, end or pad token, since every token is a colour (Llama's default end
token, 2, would stop a sprite in the middle); and there is a position for each of the 400 tokens.
Configs of `transformers` swallow a misspelt field in silence, so the fields are checked here.
"""

import hashlib
import inspect
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

from pokemon_gen.augmentation import NOTHING_TOLD, Told
from pokemon_gen.config_files.fields import MODEL_REFUSED, check_family, check_model
from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.constants import COMPLETION_LENGTH, LENGTH, PALETTE_NAME
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.ensemble import Completer, Ensemble, averaged, members_of
from pokemon_gen.models.folders import (
    CONFIG_NAME,
    ENSEMBLE_NAME,
    WEIGHTS_NAME,
    check_parts,
    choose_checkpoint,
    member_folders,
)
from pokemon_gen.palette import Palette
from pokemon_gen.settings import SETTINGS_NAME, Settings

_NLL_BATCH = 80
WIDE = 512
"""The width from which a model's weights are counted before they are made."""
BYTES_A_WEIGHT = 16
"""In fp32: the weight, its gradient and AdamW's two averages."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained model, ready to complete.

    Attributes:
        model: on the fastest device there is, in evaluation mode; an ensemble, if the folder holds one.
        palette: the colours of its tokens.
        settings: of the run that trained it.
        folder: where it was loaded from.
    """

    model: Completer
    palette: Palette
    settings: Settings
    folder: Path


def build_model(
    model: dict[str, Any],
    palette_size: int,
    seed: int,
    section: str = "model",
    told: Told = NOTHING_TOLD,
) -> PreTrainedModel:
    """Make a decoder-only model with fresh weights.

    Args:
        model: `model_type` and fields of that type's config, as in a config's `model:` section.
        palette_size: the vocabulary's size, V.
        seed: of the initial weights.
        section: where these fields stand in a config, for errors.
        told: the special tokens that say what was done to a sprite; by default there are none.

    Returns:
        A causal language model: `input_ids` (B, T) → `logits` (B, T, V + special tokens).

    Raises:
        PokemonGenError: for an unknown type or field, a value that does not fit, too few positions,
            or a model that sees later tokens.
    """
    model_type, fields = model["model_type"], {k: v for k, v in model.items() if k != "model_type"}
    config_class = _config_class(model_type, section)
    check_model(fields, config_fields(config_class), model_type, section, MODEL_REFUSED)
    positions = _positions_field(config_class)
    if positions:
        fields.setdefault(positions, LENGTH + len(told.nothing_done))
    no_tokens = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    try:
        config = config_class(vocab_size=palette_size + told.special_tokens, **no_tokens, **fields)
        if told.special_tokens:
            config.palette_size, config.nothing_done = palette_size, list(told.nothing_done)
        needed = LENGTH + len(told.nothing_done)
        if positions and getattr(config, positions) < needed:
            more = f", of which {needed - LENGTH} say what `augmentation:` did" if needed > LENGTH else ""
            raise ValueError(f"{getattr(config, positions)} positions cannot hold {needed} tokens{more}")
        _refuse_too_large(config)
        transformers.set_seed(seed)
        built = AutoModelForCausalLM.from_config(config)
    except Exception as error:  # `transformers` raises its own, torch's and dataclass' errors here
        # A key that is missing in a table of the library's, such as that of its activations.
        unknown = isinstance(error, KeyError) and error.args[0] in fields.values()
        reason = f"unknown {error}" if unknown else error
        raise PokemonGenError(f"{section}: {model_type} cannot be built from this: {reason}") from error
    # Some classes (GPT-2) leave this unset, and `Trainer` then divides the loss by 400 tokens a
    # sprite where only 399 are predicted.
    built.loss_type = "ForCausalLM"
    if told.special_tokens:  # so that plain `generate` draws colours alone
        built.generation_config.suppress_tokens = list(range(palette_size, config.vocab_size))
    _check_runs(built, section)
    return built


def load_checkpoint(place: str | Path) -> Checkpoint:
    """Load a checkpoint: model, palette and settings. Reads safetensors and JSON only.

    Args:
        place: its folder, or the folder or the name of a run, whose best is taken (`choose_checkpoint`).

    Raises:
        PokemonGenError: if something of it is missing or broken, if weights are missing or are no numbers, or
            if model and palette differ.
    """
    folder = choose_checkpoint(place).checkpoint
    return _load_ensemble(folder) if (folder / ENSEMBLE_NAME).is_file() else _load_model(folder)


def _load_model(folder: Path) -> Checkpoint:
    check_parts(folder)
    palette = Palette.load(folder)
    settings = load_settings(folder / SETTINGS_NAME)
    model = load_weights(AutoModelForCausalLM, folder, "model")
    if palette_size(model) != len(palette):
        raise PokemonGenError(
            f"{folder}: the model knows {palette_size(model)} colours and the palette has {len(palette)}; "
            "they do not belong together"
        )
    return Checkpoint(model.to(best_device()).eval(), palette, settings, folder)


def load_weights(auto_class: Any, folder: Path, what: str) -> PreTrainedModel:
    """Load a model of `transformers` from a folder, with every one of its weights.

    `from_pretrained` gives weights that the file lacks random values, and passes over those it does not know.

    Args:
        auto_class: such as `AutoModelForCausalLM`.
        folder: holds config and weights.
        what: names the model in errors.

    Raises:
        PokemonGenError: if it cannot be loaded; naming weights that are missing, unexpected or no numbers.
    """
    try:
        with quiet():
            model, loading = auto_class.from_pretrained(
                folder,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # safetensors, `transformers` and json each have their own
        raise PokemonGenError(f"{folder}: the {what} cannot be loaded: {error}") from error
    wrong = {kind: sorted(map(str, loading[f"{kind}_keys"])) for kind in ("missing", "unexpected")}
    if any(wrong.values()):
        named = "; ".join(f"{kind}: {_some_of(names)}" for kind, names in wrong.items() if names)
        raise PokemonGenError(
            f"{folder / WEIGHTS_NAME}: not the weights that {CONFIG_NAME} describes ({named}). The file is "
            "damaged or of another model: copy it again, or use another checkpoint"
        )
    refuse_diverged(model, folder)
    return model


def diverged_weights(model: torch.nn.Module) -> list[str]:
    """Return the names of a model's weights that are not all finite numbers."""
    return [name for name, weight in model.named_parameters() if not bool(weight.isfinite().all())]


def refuse_diverged(model: torch.nn.Module, folder: Path) -> None:
    """Make sure that all of a model's weights are finite.

    Raises:
        PokemonGenError: naming those that are not: the training that made them has diverged.
    """
    bad = diverged_weights(model)
    if bad:
        raise PokemonGenError(
            f"{folder}: weights that are not finite numbers ({_some_of(bad)}): the training has diverged. "
            "Use an earlier checkpoint, or train again at a lower training.learning_rate"
        )


def _some_of(names: Sequence[str], shown: int = 6) -> str:
    """Return names between commas, the first few of many."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


@contextmanager
def quiet() -> Iterator[None]:
    """Keep `transformers` from drawing bars of its own, and from warning of tied weights not saved twice."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _load_ensemble(folder: Path) -> Checkpoint:
    members = [_load_model(member) for member in member_folders(folder)]
    first = members[0]
    if any(member.palette != first.palette for member in members):
        raise PokemonGenError(f"{folder}: its members have different palettes")
    ensemble = Ensemble([one for member in members for one in members_of(member.model)]).eval()
    return Checkpoint(ensemble, first.palette, load_settings(folder / SETTINGS_NAME), folder)


def fingerprint_checkpoint(folder: Path) -> str:
    """Return the SHA-256 of a checkpoint's weights, config and palette, 64 hexadecimal digits.

    An ensemble's is that of its members' in their order.
    """
    digest = hashlib.sha256()
    if (folder / ENSEMBLE_NAME).is_file():
        for member in member_folders(folder):
            digest.update(fingerprint_checkpoint(member).encode())
        return digest.hexdigest()
    for name in (WEIGHTS_NAME, CONFIG_NAME, PALETTE_NAME):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def best_device() -> torch.device:
    """Return the accelerator if there is one, else the CPU."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")


def palette_size(model: Completer) -> int:
    """Return how many of a model's tokens are colours, V; special tokens have the numbers from V on."""
    config = members_of(model)[0].config
    size: int = getattr(config, "palette_size", config.vocab_size)
    return size


def nothing_done(model: PreTrainedModel) -> list[int]:
    """Return the special tokens that stand before a sprite that nothing was done to."""
    return getattr(model.config, "nothing_done", [])


def with_nothing_done(model: PreTrainedModel, tokens: Tensor) -> Tensor:
    """Put before sprites what tells the model that nothing was done to them; (B, T) → (B, special + T)."""
    told = tokens.new_tensor(nothing_done(model)).expand(len(tokens), -1)
    return torch.cat([told, tokens], dim=1)


def only_sprites(logits: Tensor, length: int, palette_size: int) -> Tensor:
    """Leave out the special tokens, places and scores; (B, special + T, V + more) → (B, T, V).

    Args:
        logits: of tokens with special ones before them.
        length: T, the sprites' own tokens.
        palette_size: V.
    """
    return logits[:, logits.shape[1] - length :, :palette_size]


def token_nll(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return the negative log-likelihood of every predicted token, in nats.

    Args:
        logits: (B, T, V); those at position t predict token t + 1.
        tokens: (B, T).

    Returns:
        (B, T - 1), entry t of token t + 1: the first token is given, never predicted.
    """
    predicting = logits[:, :-1].float().transpose(1, 2)  # (B, V, T - 1)
    return torch.nn.functional.cross_entropy(predicting, tokens[:, 1:], reduction="none")


def completion_nll(nll: Any) -> Any:
    """Return the completion's part of `token_nll`'s answer: (B, 399) → (B, 160)."""
    return nll[:, -COMPLETION_LENGTH:]


@torch.no_grad()
def true_completion_nll(model: Completer, sprites: Any) -> float:
    """Return the mean NLL of true completions under a model, nats/token; (N, 400) tokens."""
    nlls = []
    for batch in torch.as_tensor(sprites).to(model.device).split(_NLL_BATCH):
        logits = [one(input_ids=with_nothing_done(one, batch)).logits for one in members_of(model)]
        scores = averaged([only_sprites(found, LENGTH, palette_size(model)) for found in logits])
        nlls.append(completion_nll(token_nll(scores, batch)))
    return float(torch.cat(nlls).mean())


def _config_class(model_type: str, section: str) -> Any:
    check_family(model_type, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, section)
    return CONFIG_MAPPING[model_type]


def config_fields(config_class: Any) -> set[str]:
    """Return the fields that a config class of `transformers` has, under all their names."""
    known = set(inspect.signature(config_class.__init__).parameters) | set(config_class.attribute_map)
    return {name for name in known if not name.startswith("_")} - {"self", "kwargs"}


def _positions_field(config_class: Any) -> str | None:
    """Return the config's own name for the number of positions; None if the type has no limit."""
    name = config_class.attribute_map.get("max_position_embeddings", "max_position_embeddings")
    return name if name in inspect.signature(config_class.__init__).parameters else None


def _refuse_too_large(config: Any) -> None:
    """Refuse a model whose weights do not fit into memory: the system would kill the process without a word.

    A type's defaults are those of its first famous model: billions of weights. Small widths are not counted.

    Raises:
        ValueError: naming the number of weights.
    """
    if getattr(config, "hidden_size", 0) < WIDE or not hasattr(os, "sysconf"):
        return
    with torch.device("meta"):
        weights = sum(weight.numel() for weight in AutoModelForCausalLM.from_config(config).parameters())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = weights * BYTES_A_WEIGHT
    if needed > memory:
        raise ValueError(
            f"{weights / 1e9:.1f} billion weights, for which training needs {needed / 1e9:.0f} GB; this "
            f"machine has {memory / 1e9:.0f}. Set its width (hidden_size={config.hidden_size}) and depth"
        )


def _check_runs(model: PreTrainedModel, section: str) -> None:
    """Make sure that a model reads tokens, and is decoder-only.

    Raises:
        PokemonGenError: for fields that do not fit together, which `transformers` finds out only here.
    """
    model_type = model.config.model_type
    try:
        causal = _is_causal(model)
    except Exception as error:  # of any kind: shapes, divisions, layers that are not there
        raise PokemonGenError(
            f"{section}: {model_type} can be built from this, but not run: {_reason(error)}. Do its fields "
            "fit together? The heads must divide the hidden size, and the key-value heads the heads; a type "
            "that mixes kinds of layers needs enough of them"
        ) from error
    if not causal:
        raise PokemonGenError(
            f"{section}: {model_type} with these fields sees later tokens; it is not decoder-only"
        )


def _reason(error: Exception) -> str:
    """Return the first line of an error's message, with its kind where it says little."""
    lines = str(error).strip().splitlines()
    plain = isinstance(error, ValueError | RuntimeError) and lines
    return lines[0] if plain else f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


@torch.no_grad()
def _is_causal(model: PreTrainedModel) -> bool:
    """Tell whether changing the last token leaves all earlier predictions as they were."""
    with torch.random.fork_rng(devices=[]):  # dropout draws, and is looked at too
        model.train()
        model(torch.zeros(1, 8, dtype=torch.long))
    model.eval()
    one = torch.zeros(1, 8, dtype=torch.long)
    other = one.clone()
    other[0, -1] = 1
    same = torch.allclose(model(one).logits[:, :-1], model(other).logits[:, :-1], atol=1e-5)
    model.train()
    return same
