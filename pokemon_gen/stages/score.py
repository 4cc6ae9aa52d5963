"""`pokemon-gen score`: a checkpoint, a text file or a folder of images → the scorecard."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from pokemon_gen.constants import BASELINES, FEATURES, LENGTH, PROMPT_LENGTH, RESULTS, SCORECARD_NAME
from pokemon_gen.discriminator.detector import ranked_by
from pokemon_gen.discriminator.independence import shared_settings
from pokemon_gen.discriminator.judge import Judge, find_judge
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.distances import Reference
from pokemon_gen.evaluation.inception import Inception, Protocol, WeightsMissingError, weights_at_hand
from pokemon_gen.evaluation.inspection import Inspection
from pokemon_gen.evaluation.pixels import match_truth
from pokemon_gen.evaluation.scorecard import SCHEMA, ScorecardInputs, make_scorecard
from pokemon_gen.files import read_json, shipped, write_json
from pokemon_gen.models.checkpoints import fingerprint_checkpoint
from pokemon_gen.models.choice import choose_checkpoint
from pokemon_gen.models.likelihood import nll_of_completions
from pokemon_gen.models.loading import Checkpoint
from pokemon_gen.models.runs import result_name
from pokemon_gen.palette import from_picture
from pokemon_gen.report.notebook import scorecard_html
from pokemon_gen.report.plots import save_nearest_plot
from pokemon_gen.report.sheets import draw_explained, save_picture
from pokemon_gen.settings import CompletionSettings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.stages.plans import plan_score
from pokemon_gen.stages.scored import Scored, load_scored, read_20x20
from pokemon_gen.text_rows import read_rows

NEAREST_NAME = "nearest.png"
"""The plot of the memorisation check, next to the scorecard."""
JUDGED_NAME = "judged.png"
"""The completions, the least real first, with what the judge saw in them."""
SPLITS_OF_TRUTH = ("dev", "fold", "test", "train")


@dataclass(frozen=True)
class Score:
    """A scorecard and its file."""

    scorecard: dict[str, Any] = field(repr=False)
    file: Path

    def _repr_html_(self) -> str:
        """Show the scorecard in a notebook's cell."""
        return scorecard_html(self.scorecard)


def score(
    completions: str | Path,
    *,
    reference: str = "dev",
    overrides: Sequence[str] = (),
    inception_weights: str | Path | None = None,
    protocol: Protocol = "pytorch-fid",
    resize: bool = False,
    overwrite: bool = False,
    inspection: Inspection | None = None,
) -> Score:
    """Score completions.

    Args:
        completions: a checkpoint, or a run (its best checkpoint), which completes the dev prompts; a `.txt`
            of sprites, whose sidecar names their source; or a folder of images.
        reference: `dev`, `train`, a folder of images or a `.txt` of whole sprites: what the distances are
            measured from. The paired distance needs the true sprites among them.
        overrides: `sprites.source=...` for completions of unknown source; `completion.temperature=0.9` and
            the like for a checkpoint; `name=...` names the scorecard.
        inception_weights: see `Inception.load`.
        protocol: the FID implementation.
        resize: resize images of other sizes to 20x20; otherwise they are refused.
        overwrite: replace a scorecard that exists.
        inspection: of the checkpoint, if its dev prompts are completed already.

    Returns:
        The scorecard, written to `eval/results/<name>/scorecard.json`.

    Raises:
        PokemonGenError: for bad completions, a bad reference or bad weights.
    """
    plan = plan_score(completions, reference, overrides, overwrite, inception_weights)
    baselines, inception = _baselines(), _inception(inception_weights, protocol)
    judged = load_scored(plan, resize, inspection)
    compared = _reference(reference, judged.sprites, resize, judged.skip_bad_images)
    truth = _truth(judged, compared)
    dev, train = (Reference(split, judged.sprites.tokens(split)) for split in ("dev", "train"))
    if truth is not None and compared.name == truth.name:
        compared = train  # unpaired means sprites of other prompts
    judge = find_judge(judged.sprites)
    inputs = ScorecardInputs(
        name=str(plan.completions),
        completions=judged.tokens,
        palette=judged.sprites.palette,
        truth=truth,
        reference=compared,
        dev=dev,
        train=train,
        nll=_nll(judged.checkpoint, truth),
        judge=judge,
        inception=inception,
        cache=FEATURES,
        single_draw=judged.single_draw,
        unknown_prompts=() if truth else _unknown_prompts(judged),
        shared_with_judge=_shared_with(judge, judged.detector),
    )
    metadata = {
        "name": plan.name,
        "asked_reference": reference,
        "asked_protocol": protocol,
        **judged.metadata,
    }
    scorecard = make_scorecard(inputs, baselines, metadata)
    save_nearest_plot(scorecard["nearest_training_completion"], plan.file.with_name(NEAREST_NAME))
    _draw_explanation(inputs, plan.file.with_name(JUDGED_NAME))
    write_json(plan.file, scorecard)
    return Score(scorecard, plan.file)


def _shared_with(judge: Judge | str, detector: dict[str, Any]) -> list[str]:
    """Return what the detector that chose completions has in common with the judge."""
    if isinstance(judge, str) or not detector:
        return []
    return shared_settings(detector.get("settings"), judge.metadata.get("settings"))


def _draw_explanation(inputs: ScorecardInputs, file: Path) -> None:
    """Draw the completions with what the judge saw in them; remove an old picture if there is no judge."""
    if isinstance(inputs.judge, str):
        file.unlink(missing_ok=True)
        return
    seen = inputs.judge.explain(inputs.completions)
    sprites = inputs.completions[seen.rows]
    save_picture(draw_explained(sprites, inputs.palette, seen.passed, seen.maps), file)


def _unknown_prompts(judged: Scored) -> list[int]:
    """Return the rows of the completions whose prompts are in no split of their source."""
    splits = [judged.sprites.prompts(split) for split in judged.sprites.splits]
    known = {prompt.tobytes() for prompts in splits for prompt in prompts}
    prompts = np.ascontiguousarray(judged.tokens[:, :PROMPT_LENGTH])
    return [row for row, prompt in enumerate(prompts) if prompt.tobytes() not in known]


def _inception(weights: str | Path | None, protocol: Protocol) -> Inception | str:
    """Return the network, or why there is none."""
    try:
        return Inception.load(weights, protocol)
    except WeightsMissingError as error:
        return str(error)


def current_score(run: Path, sprites: Sprites, completion: CompletionSettings) -> Score | None:
    """Return the run's scorecard, unless scoring now would give another one.

    It must belong to the chosen checkpoint, these completion settings and the current judge, and compare
    with dev. If it has no FID, the weights must still be missing.
    """
    file = RESULTS / result_name(run) / SCORECARD_NAME
    if not file.is_file():
        return None
    scorecard = read_json(file)
    judge = find_judge(sprites)
    fingerprint = judge.fingerprint if isinstance(judge, Judge) else None
    sha256 = fingerprint_checkpoint(choose_checkpoint(run).folder)
    completed = (completion.model_dump(mode="json"), ranked_by(run, completion))
    now = (SCHEMA, sha256, *completed, fingerprint, "dev", "pytorch-fid")
    try:
        before = (
            scorecard["schema"],
            scorecard["checkpoint"]["sha256"],
            scorecard["checkpoint"]["completion"],
            scorecard["checkpoint"].get("ranked_by_detector"),
            scorecard["pdr"].get("judge"),
            scorecard["asked_reference"],
            scorecard["asked_protocol"],
        )
        stale = "not_computed" in scorecard["paired"] and weights_at_hand()
    except (KeyError, TypeError, AttributeError):
        return None
    return Score(scorecard, file) if before == now and not stale else None


def _reference(reference: str, sprites: Sprites, resize: bool, skip_bad_images: bool) -> Reference:
    """Return the sprites to compare with.

    Raises:
        PokemonGenError: for a blind test, or fewer than two sprites.
    """
    path = Path(reference)
    if reference in ("dev", "train"):
        tokens = sprites.tokens(reference)
    elif path.suffix == ".txt":
        rows = read_rows(path, len(sprites.palette), (PROMPT_LENGTH, LENGTH))
        if any(len(row) < LENGTH for row in rows):
            raise PokemonGenError(f"{path}: a blind test, whose sprites have no completion to compare with")
        tokens = np.array(rows, dtype=np.int64)
    else:
        tokens = from_picture(read_20x20(path, resize, skip_bad_images), sprites.palette)
    if len(tokens) < 2:
        raise PokemonGenError(f"{reference}: a reference needs two or more sprites")
    return Reference(reference, tokens)


def _truth(judged: Scored, reference: Reference) -> Reference | None:
    """Return the true sprites of the completions' prompts, from the reference if it has them."""
    candidates = [reference]
    for split in SPLITS_OF_TRUTH:
        if split in judged.sprites.splits:
            tokens = judged.sprites.tokens(split)
            if tokens.shape[1] == LENGTH:
                candidates.append(Reference(split, tokens))
    for candidate in candidates:
        rows = match_truth(judged.tokens, candidate.sprites)
        if rows is not None:
            return Reference(candidate.name, candidate.sprites[rows])
    if judged.checkpoint:  # it completed dev in order, even if two sprites share a prompt
        return Reference("dev", judged.sprites.tokens("dev"))
    return None


def _nll(checkpoint: Checkpoint | None, truth: Reference | None) -> NDArray[np.float64] | None:
    if checkpoint is None or truth is None:
        return None
    return nll_of_completions(checkpoint.model, truth.sprites)


def _baselines() -> dict[str, Any]:
    """Read the homework's bars: those of the working directory, else the ones shipped with the package."""
    for file in (Path(BASELINES), *shipped(BASELINES)):
        if file.is_file():
            baselines: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
            return baselines
    raise PokemonGenError(f"{BASELINES} is missing")
