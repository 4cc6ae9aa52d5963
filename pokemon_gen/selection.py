"""Which checkpoint of a run is best, and why.

Every saved checkpoint is ranked by what is asked for: the run's own detector (its mean probability that
completions are real), the NLL of the true completions, or FID. All
see the same sprites, those of dev or of a fold held out of train; prompts are completed only where that
matters, for completing takes most of the time. Ties go to the lower NLL.
The judge is no criterion, and its room is not imported here: what chose a checkpoint cannot also say how
good it is.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.constants import FEATURES, PROMPT_LENGTH
from pokemon_gen.discriminator.classifier import Classifier
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.frechet import frechet_distance
from pokemon_gen.evaluation.inception import Inception
from pokemon_gen.evaluation.pixels import pixel_accuracy
from pokemon_gen.files import atomic_folder, write_json
from pokemon_gen.models.checkpoints import copy_checkpoint, log_history, step_of
from pokemon_gen.models.likelihood import true_completion_nll
from pokemon_gen.models.loading import Checkpoint, load_checkpoint
from pokemon_gen.models.runs import BEST_NAME, SELECTION_NAME, require_checkpoints
from pokemon_gen.palette import to_picture
from pokemon_gen.settings import CompletionSettings, Criterion

_log = logging.getLogger(__name__)
SCHEMA = 1
"""Of `selection.json`; it changes when a field changes its meaning."""
HIGHER_IS_BETTER = {"detector"}


@dataclass(frozen=True)
class CheckpointMetrics:
    """What was measured of one checkpoint; None where it was not, or came out as no number.

    Attributes:
        checkpoint: its folder's name.
        step: optimizer steps.
        detector: the detector's mean probability that its completions are real.
        distance: Fréchet distance of its completions from the true sprites in the detector's features.
        nll: of the true completions, nats/token.
        train_loss: the last that was logged, nats/token.
        accuracy: the share of the completions' pixels that are the true ones.
        fid: paired, against the true sprites.
    """

    checkpoint: str
    step: int
    detector: float | None
    distance: float | None
    nll: float | None
    train_loss: float | None
    accuracy: float | None
    fid: float | None


@dataclass(frozen=True)
class Selection:
    """All checkpoints of a run, best first.

    Attributes:
        by: the criterion.
        on: whose sprites they were compared on, `dev` or `fold`.
        ranked: every checkpoint's figures, the chosen one first.
        reason: in words.
    """

    by: Criterion
    on: str
    ranked: list[CheckpointMetrics]
    reason: str


def rank_checkpoints(
    run: Path,
    truth: NDArray[np.int64],
    by: Criterion,
    on: str,
    completion: CompletionSettings | None,
    detector: Classifier | None,
    inception: Inception | None,
    progress: Callable[[], object] = lambda: None,
) -> Selection:
    """Measure every checkpoint of a run on the same sprites, and rank them.

    Args:
        run: the run's folder.
        truth: (N, 400) the sprites of dev, or of the fold.
        by: the criterion.
        on: `dev` or `fold`, for the reason.
        completion: how all of them complete; none: they do not, since `nll` needs no completions.
        detector: the run's own; needed by `detector`.
        inception: needed by `fid`.
        progress: called after each checkpoint.

    Raises:
        PokemonGenError: for a run without a checkpoint, or a criterion without what it needs.
    """
    figures = []
    for checkpoint in require_checkpoints(run):
        try:
            loaded = load_checkpoint(checkpoint)
        except PokemonGenError as error:  # damaged, or diverged: the others can be chosen from
            _log.warning("left out of the choice: %s", error)
            figures.append(CheckpointMetrics(checkpoint.name, step_of(checkpoint), *[None] * 6))
            progress()
            continue
        completed = None
        if completion:
            completed = complete_prompts(loaded.model, truth[:, :PROMPT_LENGTH], completion)
        figures.append(measure_checkpoint(loaded, completed, truth, detector, inception))
        progress()
    ranked = rank(figures, by)
    best = ranked[0]
    unit = " nats/token" if by == "nll" else ""
    order = "highest" if by in HIGHER_IS_BETTER else "lowest"
    reason = (
        f"{best.checkpoint}, {order} {by} of {len(ranked)} checkpoints on {on}, {getattr(best, by):.4f}{unit}"
    )
    return Selection(by, on, ranked, reason)


def rank(figures: list[CheckpointMetrics], by: Criterion) -> list[CheckpointMetrics]:
    """Sort checkpoints, best first; ties, to four digits, go to the lower NLL; those without figure are last.

    Raises:
        PokemonGenError: if all of them lack the figure.
    """
    sign = -1 if by in HIGHER_IS_BETTER else 1

    def key(figures: CheckpointMetrics) -> tuple[bool, float, float]:
        value = getattr(figures, by)
        nll = math.inf if figures.nll is None else figures.nll
        return value is None, 0.0 if value is None else sign * round(value, 4), nll

    ranked = sorted(figures, key=key)
    if getattr(ranked[0], by) is None:
        raise PokemonGenError(f"no checkpoint has a figure of {by}, so none can be chosen by it")
    return ranked


def save_selection(run: Path, selection: Selection, about: dict[str, Any]) -> Path:
    """Copy the best checkpoint to `best/` and write `selection.json`, which makes the choice count.

    Args:
        run: the run's folder.
        selection: as `rank_checkpoints` returns it.
        about: fingerprints of sprites and detector.

    Returns:
        The folder `best/`.
    """
    best = run / BEST_NAME
    with atomic_folder(best) as aside:
        copy_checkpoint(run / selection.ranked[0].checkpoint, aside)
        (run / SELECTION_NAME).unlink(missing_ok=True)  # from here on the old choice no longer holds
    facts = {
        "schema": SCHEMA,
        "by": selection.by,
        "on": selection.on,
        "chosen": selection.ranked[0].checkpoint,
        "reason": selection.reason,
        **about,
        "checkpoints": [asdict(figures) for figures in selection.ranked],
    }
    write_json(run / SELECTION_NAME, facts)
    return best


def measure_checkpoint(
    checkpoint: Checkpoint,
    completed: NDArray[np.int64] | None,
    truth: NDArray[np.int64],
    detector: Classifier | None,
    inception: Inception | None,
) -> CheckpointMetrics:
    """Return every figure that can be had of one checkpoint.

    Args:
        checkpoint: a run's.
        completed: (N, 400) what it made of the prompts; None: only likelihoods are measured.
        truth: (N, 400) the true sprites.
        detector: for its mean probability and the distance in its features.
        inception: for FID; the truth's features are computed once.
    """
    folder = checkpoint.folder
    losses = [entry["loss"] for entry in log_history(folder) if "loss" in entry]
    distance = fid = probability = accuracy = None
    if completed is not None:
        accuracy = pixel_accuracy(completed, truth)
        if detector:
            probability = float(detector.probabilities(completed).mean())
            if len(truth) > 1:
                distance = frechet_distance(detector.features(completed), detector.features(truth))
        if inception:
            picture = to_picture(truth, checkpoint.palette)
            true = inception.cached_features(picture, "the true sprites", FEATURES)
            made = inception.features(to_picture(completed, checkpoint.palette), str(folder))
            fid = frechet_distance(made, true)
    return CheckpointMetrics(
        checkpoint=folder.name,
        step=step_of(folder),
        detector=_finite(probability),
        distance=_finite(distance),
        nll=_finite(true_completion_nll(checkpoint.model, truth)),
        train_loss=_finite(losses[-1] if losses else None),
        accuracy=accuracy,
        fid=_finite(fid),
    )


def _finite(value: float | None) -> float | None:
    """Return a number, or None for what a diverged training gives."""
    return value if value is not None and math.isfinite(value) else None
