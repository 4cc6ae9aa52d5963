"""Loads a checkpoint: its model, with every weight present and finite, and the palette that matches it.

Only safetensors and JSON files are read, and no code of a checkpoint is run.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from pokemon_gen.config_files.sections import locations
from pokemon_gen.errors import PokemonGenError, first_line
from pokemon_gen.files import read_json, read_object
from pokemon_gen.models.checkpoints import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    fingerprint_checkpoint,
    is_ensemble,
    member_folders,
    require_parts,
)
from pokemon_gen.models.choice import CheckpointFiles, resolve_checkpoint
from pokemon_gen.models.devices import to_best_device
from pokemon_gen.models.ensemble import CompletionModel, Ensemble, members_of, palette_size
from pokemon_gen.models.environment import ENVIRONMENT_NAME
from pokemon_gen.models.hf_compat import quiet
from pokemon_gen.models.scratch import register_scratch
from pokemon_gen.palette import Palette
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import Sprites

ADAPTER_NAME = "adapter_config.json"
"""Of an adapter of `peft`, whose base model `from_pretrained` would load from wherever it says."""
_REFUSED_IN_CONFIG = {
    "quantization_config",
    "attn_implementation",
    "_attn_implementation",
    "transformers_weights",
}
"""Keys of a `config.json` that may load a quantizer's code, an attention kernel of the hub, or other weights
than those whose fingerprint is recorded."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A trained model, ready to complete.

    Attributes:
        model: on the fastest device of this machine, in evaluation mode; an ensemble, if the folder holds
            one.
        palette: the colours of its tokens.
        settings: of the run that trained it.
        folder: where it was loaded from.
        detector: the folder of its run's detector, which may not exist.
        provenance: its folder, SHA-256, sprites and the reason why it was chosen, as files that it produces
            record them.
    """

    model: CompletionModel
    palette: Palette
    settings: Settings
    folder: Path
    detector: Path
    provenance: dict[str, Any]

    def __repr__(self) -> str:
        """Return the folder and what kind of model it holds, on one line."""
        kinds = "+".join(member.config.model_type for member in members_of(self.model))
        return f"Checkpoint({str(self.folder)!r}, {kinds}, {len(self.palette)} colours)"

    def require_palette_of(self, sprites: Sprites) -> None:
        """Check that sprites have the colours that this model was trained with.

        Raises:
            PokemonGenError: naming both palettes.
        """
        if sprites.palette != self.palette:
            raise PokemonGenError(
                f"{self.folder} was trained with another palette ({self.palette.fingerprint}, "
                f"{len(self.palette)} colours) than {sprites.source} has ({sprites.palette.fingerprint}, "
                f"{len(sprites.palette)} colours)"
            )


def load_checkpoint(place: str | Path | CheckpointFiles) -> Checkpoint:
    """Load a checkpoint: model, palette and settings.

    Args:
        place: the folder of a checkpoint; the folder or the name of a run, whose best checkpoint is loaded;
            or what `resolve_checkpoint` returned.

    Raises:
        PokemonGenError: if a part is missing or damaged, if weights are missing or not finite, or if the
            model and the palette do not match.
    """
    files = place if isinstance(place, CheckpointFiles) else resolve_checkpoint(place)
    model, palette = _load_ensemble(files.folder) if is_ensemble(files.folder) else _load_model(files.folder)
    _log.debug("checkpoint: %s (%s), on %s", files.folder, files.reason, model.device)
    provenance = {
        "folder": str(files.folder),
        "trained_on": files.trained_on or None,
        "sha256": fingerprint_checkpoint(files.folder),
        "chosen_for": files.reason,
        "chosen_on": files.chosen_on,
        "trained_with": _trained_with(files.folder),
    }
    return Checkpoint(model, palette, files.settings, files.folder, files.detector, provenance)


def _trained_with(folder: Path) -> dict[str, str] | None:
    """Return with what a checkpoint, or the first member of an ensemble, was trained, if it is recorded."""
    while is_ensemble(folder):
        folder = member_folders(folder)[0]
    file = folder / ENVIRONMENT_NAME
    return read_json(file) if file.is_file() else None


def _load_model(folder: Path) -> tuple[CompletionModel, Palette]:
    palette = Palette.load(folder)
    model = load_weights(AutoModelForCausalLM, folder, "model")
    if palette_size(model) != len(palette):
        raise PokemonGenError(
            f"{folder}: the model has {palette_size(model)} colours and the palette has {len(palette)}; "
            "they do not belong together"
        )
    return to_best_device(model, str(folder)).eval(), palette


def _load_ensemble(folder: Path) -> tuple[CompletionModel, Palette]:
    models: list[PreTrainedModel] = []
    palettes = []
    for member in member_folders(folder):
        require_parts(member)
        model, palette = _load_ensemble(member) if is_ensemble(member) else _load_model(member)
        models += members_of(model)
        palettes.append(palette)
    if any(palette != palettes[0] for palette in palettes):
        raise PokemonGenError(f"{folder}: its members have different palettes")
    return Ensemble(models).eval(), palettes[0]


def load_weights(auto_class: Any, folder: Path, what: str) -> PreTrainedModel:
    """Load a model of `transformers` from a folder, with every one of its weights.

    `from_pretrained` gives random values to weights that the file lacks, and ignores those it does not know.

    Args:
        auto_class: such as `AutoModelForCausalLM`.
        folder: holds config and weights.
        what: names the model in errors.

    Raises:
        PokemonGenError: if it cannot be loaded; naming weights that are missing, unexpected or not finite.
    """
    _require_plain(folder, what)
    register_scratch()
    if (folder / WEIGHTS_NAME).is_file():
        (folder / WEIGHTS_NAME).open("rb").close()  # safetensors calls a file missing that must not be read
    try:
        with quiet():
            model, loading = auto_class.from_pretrained(
                folder,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:
        raise PokemonGenError(f"{folder}: the {what} cannot be loaded: {error}") from error
    wrong = {kind: sorted(map(str, loading[f"{kind}_keys"])) for kind in ("missing", "unexpected")}
    if any(wrong.values()):
        named = "; ".join(f"{kind}: {_first_of(names)}" for kind, names in wrong.items() if names)
        raise PokemonGenError(
            f"{folder / WEIGHTS_NAME}: not the weights that {CONFIG_NAME} describes ({named}). The file is "
            "damaged or belongs to another model. Copy it again, or use another checkpoint."
        )
    require_finite(model, folder)
    return model


def download_model(name: str) -> PreTrainedModel:
    """Load a causal language model by its id on the hub.

    Raises:
        PokemonGenError: if it cannot be downloaded.
    """
    register_scratch()
    try:
        with quiet():
            model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
                name, use_safetensors=True, trust_remote_code=False
            )
    except Exception as error:  # the hub's client and the packages under it have no common base error
        raise PokemonGenError(
            f"{name}: there is no such run or folder, and the hub gives no such model: {first_line(error)}"
        ) from error
    return model


def _require_plain(folder: Path, what: str) -> None:
    """Refuse a folder from which `from_pretrained` would load code or other files than its own.

    Raises:
        PokemonGenError: naming the file and the key.
    """
    if (folder / ADAPTER_NAME).exists():
        raise PokemonGenError(
            f"{folder / ADAPTER_NAME}: a {what} with an adapter is not loaded. Merge the adapter into the "
            "weights first, and save them as safetensors."
        )
    for location in locations(read_object(folder / CONFIG_NAME)):
        if location[-1] in _REFUSED_IN_CONFIG:
            raise PokemonGenError(
                f"{folder / CONFIG_NAME}: {'.'.join(location)}: a {what} with this key may load code or "
                "weights from elsewhere. Save the model without it."
            )


def weights_not_finite(model: torch.nn.Module) -> list[str]:
    """Return the names of a model's weights that are not all finite numbers."""
    return [name for name, weight in model.named_parameters() if not bool(weight.isfinite().all())]


def require_finite(model: torch.nn.Module, folder: Path) -> None:
    """Check that all weights of a model are finite numbers.

    Raises:
        PokemonGenError: naming those that are not: the training diverged.
    """
    bad = weights_not_finite(model)
    if bad:
        raise PokemonGenError(
            f"{folder}: weights are not finite numbers ({_first_of(bad)}), so the training diverged. "
            "Use an earlier checkpoint, or train again with a lower training.learning_rate."
        )


def _first_of(names: Sequence[str], shown: int = 6) -> str:
    """Return the first few of many names, separated by commas."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
