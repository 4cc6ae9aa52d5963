"""What a trained run shows of itself: completions, their likelihood, and how its checkpoints learned.

The report and the comparison of runs (`stages/report.py`, `stages/compare.py`) show what is computed here.
"""

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen import __version__
from pokemon_gen.bars import progress_bar
from pokemon_gen.completion.reranking import Ranked, rank_completions
from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.constants import LENGTH, RESULTS, SCORECARD_NAME
from pokemon_gen.discriminator.classifier import Classifier
from pokemon_gen.discriminator.detector import ranking
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.scorecard import SCHEMA
from pokemon_gen.files import read_json
from pokemon_gen.models.checkpoints import has_state, is_ensemble, log_history, read_members, step_of
from pokemon_gen.models.choice import CheckpointFiles
from pokemon_gen.models.ensemble import members_of
from pokemon_gen.models.environment import environment
from pokemon_gen.models.likelihood import sprite_nll
from pokemon_gen.models.loading import Checkpoint, load_checkpoint
from pokemon_gen.models.runs import member_runs, valid_checkpoints
from pokemon_gen.settings import CompletionSettings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites_of

_log = logging.getLogger(__name__)
MOST_CHECKPOINTS = 10
"""The most checkpoints whose completions are shown, spread evenly over the run."""


@dataclass(frozen=True)
class Inspection:
    """A checkpoint and what it makes of the dev sprites.

    Attributes:
        checkpoint: the loaded one.
        sprites: of its run.
        completion: how it completes.
        detector: that ranked the candidates, if one did.
        ranked: the candidates of each dev prompt, the best first. The first ones are those of a scorecard.
        nll: (N, 400) the negative log-likelihood of each pixel of the dev sprites, in nats; NaN for the first
            pixel, which is given.
        run: the folder with the checkpoints of the training; of an ensemble, that of its first member. None
            if they are not on this machine.
        history: what was logged during that training, oldest first.
    """

    checkpoint: Checkpoint
    sprites: Sprites
    completion: CompletionSettings
    detector: Classifier | None
    ranked: Ranked
    nll: NDArray[np.float64] = field(repr=False)
    run: Path | None
    history: list[dict[str, Any]] = field(repr=False)

    @property
    def completions(self) -> NDArray[np.int64]:
        """The best completion of each dev prompt, (N, 400)."""
        return self.ranked.sprites[:, 0]

    def is_scored_by(self, scorecard: dict[str, Any]) -> bool:
        """Tell whether a scorecard is about these completions."""
        return bool(scorecard.get("completions_sha256") == completions_sha256(self.completions))


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint of a run made of some prompts, (N, 400)."""

    step: int
    sprites: NDArray[np.int64]


def inspect_run(files: CheckpointFiles, sprites: Sprites | None = None) -> Inspection:
    """Complete the dev prompts with a checkpoint as its scorecard does, and measure the true sprites.

    Args:
        files: the checkpoint.
        sprites: of its run; None loads them.

    Raises:
        PokemonGenError: for a damaged checkpoint, or sprites that are missing or have another palette.
    """
    checkpoint = load_checkpoint(files)
    sprites = sprites or load_sprites_of(checkpoint.settings.sprites)
    checkpoint.require_palette_of(sprites)
    completion, detector = ranking(checkpoint, checkpoint.settings.completion)
    title = f"complete dev with {checkpoint.settings.name}"
    ranked = rank_completions(checkpoint.model, sprites.prompts("dev"), completion, detector, title)
    run = training_run(files.folder)
    nll = np.full((len(ranked.sprites), LENGTH), np.nan)
    nll[:, 1:] = sprite_nll(checkpoint.model, sprites.tokens("dev")).cpu().double().numpy()
    history = _history(run, files.folder)
    return Inspection(checkpoint, sprites, completion, detector, ranked, nll, run, history)


def training_run(checkpoint: Path) -> Path | None:
    """Return the folder with the checkpoints of a training; of an ensemble, that of its first member.

    Args:
        checkpoint: a checkpoint's folder, such as `checkpoints/quick/best`.
    """
    folder = checkpoint.resolve().parent
    if is_ensemble(checkpoint):
        members = member_runs(folder)
        folder = members[0] if members else Path(read_members(checkpoint)[0].get("from", folder)).parent
    here = Path.cwd()
    found = folder.relative_to(here) if folder.is_relative_to(here) else folder
    return found if valid_checkpoints(found) else None


def _history(run: Path | None, checkpoint: Path) -> list[dict[str, Any]]:
    """Return the log of a training, from its last checkpoint or else from the one that is left."""
    last = valid_checkpoints(run)[-1] if run else checkpoint
    return log_history(last) if has_state(last) else []


def snapshots(run: Path, prompts: NDArray[np.int64]) -> list[Snapshot]:
    """Complete the same prompts greedily with the checkpoints of a run, in the order of their steps.

    A checkpoint that cannot be loaded, as after a training that diverged, is left out with a warning.

    Args:
        run: a folder with valid checkpoints.
        prompts: (N, 240) tokens.
    """
    checkpoints = _spread(valid_checkpoints(run))
    found = []
    with progress_bar(len(checkpoints), "complete with each checkpoint", "checkpoint") as bar:
        for checkpoint in checkpoints:
            try:
                model = load_checkpoint(checkpoint).model
                found.append(
                    Snapshot(step_of(checkpoint), complete_prompts(model, prompts, CompletionSettings()))
                )
            except PokemonGenError as error:
                _log.warning("not shown: %s", error)
            bar.update()
    return found


def _spread(checkpoints: list[Path]) -> list[Path]:
    """Return at most `MOST_CHECKPOINTS` of a run's checkpoints, with the first and the last."""
    rows = np.linspace(0, len(checkpoints) - 1, min(len(checkpoints), MOST_CHECKPOINTS)).round()
    return [checkpoints[row] for row in rows.astype(int)]


def completions_sha256(sprites: NDArray[np.int64]) -> str:
    """Return the SHA-256 of completions, (N, 400) tokens, which a scorecard records."""
    return hashlib.sha256(sprites.astype("<i8").tobytes()).hexdigest()


def scorecard_of(name: str) -> dict[str, Any] | None:
    """Return the scorecard in the results of a run; None if there is none, or it is of another version."""
    file = RESULTS / name / SCORECARD_NAME
    if not file.is_file():
        return None
    scorecard = read_json(file)
    if not isinstance(scorecard, dict) or scorecard.get("schema") != SCHEMA:
        return None
    return scorecard


def inspected_facts(inspection: Inspection) -> dict[str, dict[str, str]]:
    """Return what was used: group → name → value."""
    checkpoint, sprites = inspection.checkpoint, inspection.sprites
    members = members_of(checkpoint.model)
    parameters = sum(parameter.numel() for member in members for parameter in member.parameters())
    model = {
        "type": " + ".join(dict.fromkeys(member.config.model_type for member in members)),
        "parameters": f"{parameters:,}",
        "seed": str(checkpoint.settings.seed),
    }
    if len(members) > 1:
        model["members"] = str(len(members))
    detector = inspection.detector
    return {
        "Model": model,
        "Checkpoint": {
            "folder": str(checkpoint.folder),
            "chosen": str(checkpoint.provenance["chosen_for"]),
            "SHA-256": str(checkpoint.provenance["sha256"]),
            "detector": detector.fingerprint if detector else "none",
        },
        "Sprites": {
            "source": sprites.source,
            "fingerprint": sprites.fingerprint,
            "palette": f"{len(sprites.palette)} colours, {sprites.palette.fingerprint}",
        },
        "Trained with": checkpoint.provenance["trained_with"] or {"versions": "not recorded"},
        "This report with": {"pokemon_gen": __version__, **environment()},
    }
