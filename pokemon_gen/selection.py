"""Which checkpoint of a run is best, and why.

Every saved checkpoint is ranked by what is asked for: the run's own detector (its mean probability that
completions are real), the NLL of the true completions, FID, the training loss or the pixel accuracy. All
see the same sprites, those of dev or of a fold held out of train; prompts are completed only where that
matters, for completing takes most of the time. Ties go to the lower NLL.
The judge is no criterion, and its room is not imported here: what chose a checkpoint cannot also say how
good it is.
"""

import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import TrainerCallback

from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.constants import COMPLETION_LENGTH, PROMPT_LENGTH
from pokemon_gen.discriminator.classifier import Classifier
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.frechet import frechet_distance
from pokemon_gen.evaluation.inception import Inception
from pokemon_gen.evaluation.pixels import pixel_accuracy
from pokemon_gen.files import folder_aside, write_json
from pokemon_gen.models.build import Checkpoint, load_checkpoint, true_completion_nll
from pokemon_gen.models.folders import (
    BEST_NAME,
    FEATURES,
    SELECTION_NAME,
    copy_checkpoint,
    log_history,
    needed_checkpoints,
    step_of,
)
from pokemon_gen.palette import to_picture
from pokemon_gen.settings import CompletionSettings, Criterion

_log = logging.getLogger(__name__)
SCHEMA = 1
"""Of `selection.json`; it changes when a field changes its meaning."""
LARGEST_SHARE = 0.05
"""Of the training time, what watching may take."""
HIGHER_IS_BETTER = {"detector", "accuracy"}
BY_LIKELIHOOD: set[Criterion] = {"nll", "train_loss"}
"""Criteria for which nothing has to be completed."""


@dataclass(frozen=True)
class Figures:
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
    ranked: list[Figures]
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
        completion: how all of them complete; none: they do not, which `BY_LIKELIHOOD` can do without.
        detector: the run's own; needed by `detector`.
        inception: needed by `fid`.
        progress: called after each checkpoint.

    Raises:
        PokemonGenError: for a run without a checkpoint, or a criterion without what it needs.
    """
    figures = []
    for checkpoint in needed_checkpoints(run):
        try:
            loaded = load_checkpoint(checkpoint)
        except PokemonGenError as error:  # damaged, or diverged: the others can be chosen from
            _log.warning("left out of the choice: %s", error)
            figures.append(Figures(checkpoint.name, step_of(checkpoint), *[None] * 6))
            progress()
            continue
        completed = None
        if completion:
            completed = complete_prompts(loaded.model, truth[:, :PROMPT_LENGTH], completion)
        figures.append(measure_checkpoint(loaded, completed, truth, detector, inception))
        progress()
    ranked = rank(figures, by)
    best = ranked[0]
    unit = " nats/token" if by in ("nll", "train_loss") else ""
    order = "highest" if by in HIGHER_IS_BETTER else "lowest"
    reason = (
        f"{best.checkpoint}, {order} {by} of {len(ranked)} checkpoints on {on}, {getattr(best, by):.4f}{unit}"
    )
    return Selection(by, on, ranked, reason)


def rank(figures: list[Figures], by: Criterion) -> list[Figures]:
    """Sort checkpoints, best first; ties, to four digits, go to the lower NLL; those without figure are last.

    Raises:
        PokemonGenError: if all of them lack the figure.
    """
    sign = -1 if by in HIGHER_IS_BETTER else 1

    def key(figures: Figures) -> tuple[bool, float, float]:
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
    with folder_aside(best) as aside:
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
) -> Figures:
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
    return Figures(
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


class DetectorWatch(TrainerCallback):
    """Asks the detector every few epochs of a training, as long as that takes no more than 5 % of it.

    The mean probability goes to the log as `eval_detector`. A peers' loop that completes in every epoch
    spends most of its time there; this one waits until there is time for the next look.
    """

    def __init__(
        self,
        detector: Classifier,
        truth: NDArray[np.int64],
        settings: CompletionSettings,
        every_epochs: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch by completing the prompts of `truth`, (N, 400).

        Where a training keeps a mean of its weights, it sets `mean_in_place`: that is what is looked at.
        """
        self.detector, self.truth, self.settings = detector, truth, settings
        self.every_epochs, self.clock = every_epochs, clock
        self.mean_in_place: Callable[[], AbstractContextManager[None]] = nullcontext
        self.spent = 0.0
        self.last_cost: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin to count the time."""
        self.begun = self.clock()

    def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Complete, ask and log, if it is time, there is time, and nobody waits for the training to stop."""
        stopped = control.should_training_stop and state.global_step < state.max_steps
        if stopped or round(state.epoch) % self.every_epochs:
            return
        cost = self._estimate(model) if self.last_cost is None else self.last_cost
        if self.spent + cost > LARGEST_SHARE * (self.clock() - self.begun):
            return
        start = self.clock()
        with self.mean_in_place():
            completed = complete_prompts(model, self.truth[:, :PROMPT_LENGTH], self.settings)
        found = float(self.detector.probabilities(completed).mean())
        model.train()
        self.last_cost = self.clock() - start
        self.spent += self.last_cost
        entry = {"epoch": state.epoch, "step": state.global_step, "eval_detector": found}
        state.log_history.append(entry)

    @torch.no_grad()
    def _estimate(self, model: Any) -> float:
        """Return the seconds a first look may take: every token costs at least a step of one token."""
        first = torch.from_numpy(self.truth[:, :1]).to(model.device)
        start = self.clock()
        model.eval()  # dropout would draw from the training's own random stream
        model(input_ids=first).logits.cpu()  # waits for a GPU
        model.train()
        estimate = self.clock() - start
        self.spent += estimate
        return 2 * COMPLETION_LENGTH * estimate  # twice: attention looks back, and the prompt is read
