"""`start_from`: the weights that a training starts from, and how they fit another palette (fine-tuning).

The type and the size of the model are those of the base. Its table of colours is rearranged for the run's
palette: a colour starts as the base's nearest colour in OKLab, so that a model of procedural sprites begins
to paint real ones in about the right colours. A model of others, such as GPT-2, knows no colours, so each
starts as one of its tokens. Texts have no distance of colours, so a model of text refuses another vocabulary
(`text/training.py`).
"""

import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel

from pokemon_gen.augmentation import ConditioningTokens
from pokemon_gen.config_files.checks import same_model
from pokemon_gen.constants import LENGTH, PALETTE_NAME
from pokemon_gen.errors import PokemonGenError, SettingError
from pokemon_gen.models.build import describe_tokens, positions_of
from pokemon_gen.models.checkpoints import is_of_others
from pokemon_gen.models.choice import require_place
from pokemon_gen.models.ensemble import Ensemble, palette_size
from pokemon_gen.models.loading import download_model, load_checkpoint, load_weights
from pokemon_gen.models.runs import find_run
from pokemon_gen.palette import Palette

_log = logging.getLogger(__name__)
SETTING = "start_from"


def start_from_sprites(
    place: str, model: dict[str, Any], palette: Palette, conditioning: ConditioningTokens, seed: int = 0
) -> PreTrainedModel:
    """Return a trained model, prepared for a run on other sprites than those that it has learned.

    Args:
        place: a run or a checkpoint; or a model of others, in a folder or on the hub, which knows no colours.
        model: the run's `model:` section, which may be empty.
        palette: of the run.
        conditioning: of the run's augmentation.
        seed: draws the first vectors of the colours, if the base knows none.

    Raises:
        PokemonGenError: for an ensemble, a base that cannot be loaded, or one with too few positions.
        SettingError: if `model` describes another model.
    """
    folder = find_run(place)
    knows_no_colours = is_of_others(folder) and not (folder / PALETTE_NAME).is_file()
    if knows_no_colours or not folder.is_dir():
        return _start_from_others(place, model, len(palette), conditioning, seed)
    base = load_checkpoint(place)
    if isinstance(base.model, Ensemble):
        raise SettingError(SETTING, f"{SETTING}: {base.folder} is an ensemble. Name one of its members.")
    require_same_model(base.model, model, str(base.folder))
    require_positions(base.model, LENGTH + len(conditioning.identity), str(base.folder))
    started = base.model.cpu().train()
    rows = _rows_of(base.palette, palette)
    _log_matching(str(base.folder), base.palette, palette, rows)
    more = _conditioning_rows(started, conditioning)
    rearrange_tokens(started, np.concatenate([rows, more]))
    for name in ("palette_size", "identity_tokens"):
        vars(started.config).pop(name, None)  # of the base's conditioning tokens
    started.generation_config.suppress_tokens = None
    describe_tokens(started, len(palette), conditioning)
    return started


def _start_from_others(
    place: str, model: dict[str, Any], colours: int, conditioning: ConditioningTokens, seed: int
) -> PreTrainedModel:
    """Return a model of text whose tokens become colours: each starts as another token, drawn at random."""
    require_place(place)
    folder = find_run(place)
    here = folder.is_dir()
    base = load_weights(AutoModelForCausalLM, folder, "model") if here else download_model(place)
    require_same_model(base, model, place)
    require_positions(base, LENGTH + len(conditioning.identity), place)
    tokens, had = colours + conditioning.count, base.config.vocab_size
    message = "%s: %s knows no colours. Each of the %d starts as one of its %d tokens, drawn at random"
    _log.info(message, SETTING, place, tokens, had)
    started = base.float().train()
    rearrange_tokens(started, np.random.default_rng(seed).choice(had, tokens, replace=tokens > had))
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):  # a colour must not end a completion
        setattr(started.config, name, None)
    started.generation_config = GenerationConfig.from_model_config(started.config)
    describe_tokens(started, colours, conditioning)
    return started


def require_same_model(base: PreTrainedModel, model: dict[str, Any], where: str) -> None:
    """Check that a `model:` section, as far as it says something, describes the base.

    Raises:
        SettingError: naming the first field that differs.
    """
    field = same_model(model, base.config)
    if field is not None:
        found = base.config.model_type if field == "model_type" else getattr(base.config, field, None)
        raise SettingError(
            f"model.{field}",
            f"model.{field}: {model[field]!r} is not that of {where}, from which the run starts ({found!r}). "
            "Leave the section `model` out, or empty it: model={}.",
        )


def require_positions(base: PreTrainedModel, needed: int, where: str) -> None:
    """Check that the base has a position for each token; a type without a table of them gets more.

    Raises:
        PokemonGenError: naming both numbers.
    """
    positions = positions_of(base.config)
    if positions is None or positions >= needed:
        return
    if not _has_position_table(base, positions):
        base.config.max_position_embeddings = needed
        return
    raise PokemonGenError(
        f"{SETTING}: {where} has {positions} positions, and {needed} tokens need one. Train the base with "
        "blocks (or an augmentation) as long as those of this run."
    )


def _has_position_table(model: PreTrainedModel, positions: int) -> bool:
    """Tell whether a model has a vector for each position; rotary positions (Su et al. 2021) need none."""
    tables = [part for part in model.modules() if isinstance(part, nn.Embedding)]
    tensors = [*model.parameters(), *model.buffers()]  # of GPT-J, for example, the table is a buffer
    return len(tables) > 1 or any(positions in tensor.shape for tensor in tensors)


@torch.no_grad()
def rearrange_tokens(model: PreTrainedModel, rows: NDArray[np.int64]) -> None:
    """Give a model a vocabulary whose token t starts as the model's token `rows[t]`; (V,).

    −1 means a new token, which starts as the mean of all tokens.
    """
    tables = [model.get_input_embeddings().weight.clone()]
    output = model.get_output_embeddings()
    bias = None if output is None or output.bias is None else output.bias.clone()
    tied = output is None or output.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    if not tied:
        tables.append(output.weight.clone())
    model.resize_token_embeddings(len(rows), mean_resizing=False)
    targets = [model.get_input_embeddings().weight]
    if not tied:
        targets.append(model.get_output_embeddings().weight)
    for target, table in zip(targets, tables, strict=True):
        target.copy_(_picked(table, rows))
    if bias is not None:
        model.get_output_embeddings().bias.copy_(_picked(bias, rows))


def _picked(table: Tensor, rows: NDArray[np.int64]) -> Tensor:
    """Return the rows of a table or the values of a bias, and their mean for −1: (V, ...) → (W, ...)."""
    with_mean = torch.cat([table, table.mean(0, keepdim=True)])
    return with_mean[torch.from_numpy(rows)]


def _rows_of(base: Palette, palette: Palette) -> NDArray[np.int64]:
    """Return the base's colour nearest to each colour of a palette, (V,); the background stays itself."""
    rows = base.nearest(palette.lab)
    rows[0] = 0  # token 0 is the background, whatever its colour
    return rows


def _log_matching(where: str, base: Palette, palette: Palette, rows: NDArray[np.int64]) -> None:
    """Say how the colours of another palette are matched."""
    if base == palette:
        return
    distance = np.linalg.norm(base.lab[rows] - palette.lab, axis=1)
    _log.info(
        "%s: %s has another palette. Each of the %d colours starts as the nearest of its %d colours in OKLab "
        "(mean distance %.3f, largest %.3f)",
        SETTING, where, len(palette), len(base), distance.mean(), distance.max(),
    )  # fmt: skip


def _conditioning_rows(model: PreTrainedModel, conditioning: ConditioningTokens) -> NDArray[np.int64]:
    """Return the base's token for each conditioning token of the run, −1 where the base has no such one."""
    colours, vocabulary = palette_size(model), model.config.vocab_size
    before = [token - colours for token in getattr(model.config, "identity_tokens", None) or ()]
    now = [token - conditioning.identity[0] for token in conditioning.identity]
    same = vocabulary - colours == conditioning.count and before == now
    return np.arange(colours, vocabulary) if same else np.full(conditioning.count, -1)
