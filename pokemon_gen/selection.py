"""Which checkpoint of a run is best, and why.

Every saved checkpoint is ranked by one criterion: the run's own detector (its mean probability that
completions are real), the NLL of the true completions, or FID. All checkpoints see the same sprites, those
of dev or of a fold held out of train. Prompts are completed only for criteria that need completions, since
completing takes most of the time. The lower NLL decides between equals. The judge is not a criterion and is
not imported here: what chose a checkpoint cannot also say how good it is.
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
from pokemon_gen.discriminator.detector import detector_for
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.frechet import frechet_distance
from pokemon_gen.evaluation.inception import Inception
from pokemon_gen.evaluation.pixels import pixel_accuracy
from pokemon_gen.files import atomic_folder, write_json
from pokemon_gen.models.checkpoints import copy_checkpoint, log_history, step_of
from pokemon_gen.models.choice import current_selection
from pokemon_gen.models.likelihood import true_completion_nll
from pokemon_gen.models.loading import Checkpoint, load_checkpoint
from pokemon_gen.models.runs import BEST_NAME, SELECTION_NAME, require_checkpoints
from pokemon_gen.palette import to_picture
from pokemon_gen.settings import CompletionSettings, Criterion, Settings
from pokemon_gen.sprites.collection import FOLD, Sprites

_log = logging.getLogger(__name__)
SCHEMA = 2
"""The version of `selection.json`; it changes when a field changes its meaning."""
HIGHER_IS_BETTER = {"detector"}
_NAMES = {"detector": "detector score", "nll": "completion NLL, nats/token", "fid": "paired FID"}


@dataclass(frozen=True)
class CheckpointMetrics:
    """What was measured of one checkpoint; None where it was not measured or not finite.

    Attributes:
        checkpoint: its folder's name.
        step: optimizer steps.
        detector: the detector's mean probability that its completions are real.
        distance: the Fréchet distance of its completions from the true sprites, in the detector's features.
        nll: of the true completions, nats/token.
        train_loss: the last one that was logged, nats/token.
        accuracy: the share of the completions' pixels that equal the true ones.
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
        on: the split they were compared on, `dev` or `fold`.
        ranked: the metrics of every checkpoint; the chosen one is the first.
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
        completion: how each checkpoint completes; None completes nothing, which suffices for `nll`.
        detector: the run's own; `detector` needs it.
        inception: `fid` needs it.
        progress: is called after each checkpoint.

    Raises:
        PokemonGenError: for a run without a checkpoint, or a criterion without what it needs.
    """
    metrics = []
    for checkpoint in require_checkpoints(run):
        try:
            loaded = load_checkpoint(checkpoint)
        except PokemonGenError as error:  # damaged or diverged: the others can still be chosen
            _log.warning("not considered: %s", error)
            metrics.append(CheckpointMetrics(checkpoint.name, step_of(checkpoint), *[None] * 6))
            progress()
            continue
        completed = None
        if completion:
            completed = complete_prompts(loaded.model, truth[:, :PROMPT_LENGTH], completion)
        metrics.append(measure_checkpoint(loaded, completed, truth, detector, inception))
        progress()
    ranked = rank(metrics, by)
    return Selection(by, on, ranked, _reason(ranked, by, on))


def _reason(ranked: list[CheckpointMetrics], by: Criterion, on: str) -> str:
    """Return in words which checkpoint was chosen: `step 12 (detector score 0.436 on dev, best of 4)`."""
    best = ranked[0]
    return f"step {best.step} ({_NAMES[by]} {getattr(best, by):.4f} on {on}, best of {len(ranked)})"


def rank(metrics: list[CheckpointMetrics], by: Criterion) -> list[CheckpointMetrics]:
    """Sort checkpoints, best first.

    The lower NLL decides between values that are equal to four digits. Checkpoints without the value are
    last.

    Raises:
        PokemonGenError: if no checkpoint has the value.
    """
    sign = -1 if by in HIGHER_IS_BETTER else 1

    def key(one: CheckpointMetrics) -> tuple[bool, float, float]:
        value = getattr(one, by)
        nll = math.inf if one.nll is None else one.nll
        return value is None, 0.0 if value is None else sign * round(value, 4), nll

    ranked = sorted(metrics, key=key)
    if getattr(ranked[0], by) is None:
        raise PokemonGenError(f"{by} was measured for no checkpoint, so it cannot choose one")
    return ranked


def save_selection(run: Path, selection: Selection, metadata: dict[str, Any]) -> Path:
    """Copy the best checkpoint to `best/` and write `selection.json`, which makes the choice count.

    Args:
        run: the run's folder.
        selection: as `rank_checkpoints` returns it.
        metadata: fingerprints of sprites and detector.

    Returns:
        The folder `best/`.
    """
    best = run / BEST_NAME
    with atomic_folder(best) as temporary:
        copy_checkpoint(run / selection.ranked[0].checkpoint, temporary)
        (run / SELECTION_NAME).unlink(missing_ok=True)  # from here on the old choice no longer counts
    write_json(
        run / SELECTION_NAME,
        {
            "schema": SCHEMA,
            "by": selection.by,
            "on": selection.on,
            "chosen": selection.ranked[0].checkpoint,
            "reason": selection.reason,
            **metadata,
            "checkpoints": [asdict(metrics) for metrics in selection.ranked],
        },
    )
    return best


def measure_checkpoint(
    checkpoint: Checkpoint,
    completed: NDArray[np.int64] | None,
    truth: NDArray[np.int64],
    detector: Classifier | None,
    inception: Inception | None,
) -> CheckpointMetrics:
    """Return every metric that can be computed for one checkpoint.

    Args:
        checkpoint: of a run.
        completed: (N, 400) its completions; None measures only likelihoods.
        truth: (N, 400) the true sprites.
        detector: for its mean probability and the distance in its features.
        inception: for FID; the features of `truth` are computed once.
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
            pictures = to_picture(truth, checkpoint.palette)
            true = inception.cached_features(pictures, "the true sprites", FEATURES)
            drawn = inception.features(to_picture(completed, checkpoint.palette), str(folder))
            fid = frechet_distance(drawn, true)
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
    """Return a number, or None for one that is not finite, as after a training that diverged."""
    return value if value is not None and math.isfinite(value) else None


def needs_detector(settings: Settings) -> bool:
    """Tell whether a run uses its detector: to choose a checkpoint, or to rank candidates."""
    return settings.selection.by == "detector" or settings.completion.candidates > 1


def needed_completion(by: Criterion, completion: CompletionSettings) -> CompletionSettings | None:
    """Return how checkpoints complete to be compared, once for each prompt; None if nothing is completed."""
    return None if by == "nll" else completion.single_candidate()


def sprites_to_choose_on(sprites: Sprites, on: str) -> NDArray[np.int64]:
    """Return the sprites that checkpoints are compared on, (N, 400).

    Raises:
        PokemonGenError: for a fold where none was held out.
    """
    if on == FOLD and FOLD not in sprites.splits:
        raise PokemonGenError(
            "selection.on: this run trained on all of train, so there is no fold to choose on. Train with "
            "sprites.fold_size=80, or choose on dev."
        )
    return sprites.tokens(on)


def selection_is_current(run: Path, settings: Settings, sprites: Sprites) -> bool:
    """Tell whether a run's selection was made with the checkpoints, settings and detector of now."""
    saved = current_selection(run)
    if saved is None:
        return False
    chosen = settings.selection
    if chosen.by == "detector":
        detector = detector_for(run, sprites)
        if detector is None or detector.fingerprint != saved.get("detector"):
            return False
    needed = needed_completion(chosen.by, settings.completion)
    completion = needed.model_dump(mode="json") if needed else None
    return (saved["by"], saved["on"], saved.get("completion")) == (chosen.by, chosen.on, completion)
