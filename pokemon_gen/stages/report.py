"""`pokemon-gen report`: a trained run → one HTML file: what it does, how it learned, and how good it is."""

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

from pokemon_gen import __version__
from pokemon_gen.constants import CHECKPOINTS, RESULTS, SCORECARD_NAME
from pokemon_gen.discriminator.classifier import fingerprint_of
from pokemon_gen.evaluation.inspection import (
    Inspection,
    Snapshot,
    inspect_run,
    inspected_facts,
    scorecard_of,
    snapshots,
    training_run,
)
from pokemon_gen.evaluation.memorisation import nearest_train_sprites
from pokemon_gen.files import file_sha256, write_text
from pokemon_gen.models.checkpoints import STATE_NAME, fingerprint_checkpoint, is_checkpoint, step_of
from pokemon_gen.models.choice import current_selection
from pokemon_gen.models.runs import BEST_NAME, SELECTION_NAME, valid_checkpoints
from pokemon_gen.report.html import HtmlPage, ReportContent, build_report, templates_sha256
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.stages.plans import PagePlan, plan_report

LEARNED_PROMPTS = 8
"""Dev prompts that are completed by every checkpoint."""


def write_report(
    run: str | Path,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    inspection: Inspection | None = None,
) -> HtmlPage:
    """Write the report of a run: its scorecard, all completions, curves, and where the model is unsure.

    What is missing, such as a scorecard, is named with the command that makes it; everything else is shown.

    Args:
        run: a checkpoint, or the folder or the name of a run, whose best checkpoint is used.
        output: the HTML file. None: `eval/results/<name>/report.html`, which is replaced.
        overwrite: replace `output` if it exists.
        inspection: of the checkpoint, if its dev prompts are completed already.

    Raises:
        PokemonGenError: for a missing run, sprites that are missing, or an output that exists.
    """
    return run_report(plan_report(run, output, overwrite), inspection)


def run_report(plan: PagePlan, inspection: Inspection | None = None) -> HtmlPage:
    """Do what a plan says; see `write_report`."""
    inspection = inspection or inspect_run(plan.checkpoint)
    write_text(plan.file, build_report(_content(plan, inspection)))
    return HtmlPage(plan.file)


def current_report(run: str | Path, sprites: Sprites) -> HtmlPage | None:
    """Return the report of a run, unless writing it now would give another one."""
    plan = plan_report(run, None, overwrite=True)
    if plan.file.is_file() and _made_from(plan, sprites) in plan.file.read_text(encoding="utf-8"):
        return HtmlPage(plan.file)
    return None


def _made_from(plan: PagePlan, sprites: Sprites) -> str:
    """Return the SHA-256 of what a report of this version depends on, without loading the model."""
    checkpoint, run = plan.checkpoint, training_run(plan.checkpoint.folder)
    weights = fingerprint_checkpoint(checkpoint.folder), fingerprint_of(checkpoint.detector)
    files = [RESULTS / plan.name / SCORECARD_NAME]
    if run:
        files += [run / SELECTION_NAME, *(folder / STATE_NAME for folder in valid_checkpoints(run))]
    parts = [
        __version__, templates_sha256(), plan.given, sprites.fingerprint, *weights,
        checkpoint.settings.model_dump(mode="json"), checkpoint.reason,
        *(file_sha256(file) if file.is_file() else None for file in files),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _content(plan: PagePlan, inspection: Inspection) -> ReportContent:
    """Collect what the report shows."""
    tokens, prompts = inspection.sprites.tokens, inspection.sprites.prompts("dev")
    palette, run = inspection.checkpoint.palette, inspection.run
    scorecard = scorecard_of(plan.name)
    distance, nearest = nearest_train_sprites(inspection.completions, tokens("train"), palette)
    selection = current_selection(run) if run else None
    learned = snapshots(run, prompts[:LEARNED_PROMPTS]) if run else []
    return ReportContent(
        name=plan.name,
        palette=palette,
        truth=tokens("dev"),
        candidates=inspection.ranked.sprites,
        probability=inspection.ranked.probability,
        nll=inspection.ranked.nll,
        nearest=nearest,
        distance=distance,
        surprise=inspection.nll,
        scorecard=scorecard,
        steps=[snapshot.step for snapshot in learned],
        learned=[snapshot.sprites for snapshot in learned],
        chosen=_chosen_step(plan, selection),
        history=inspection.history,
        selection=selection,
        facts=inspected_facts(inspection),
        settings=inspection.checkpoint.settings.model_dump(mode="json"),
        commands=["pokemon-gen run settings.json", f"pokemon-gen report {shlex.quote(plan.given)}"],
        missing=_missing(plan, inspection, scorecard, selection, learned),
        made_from=_made_from(plan, inspection.sprites),
    )


def _chosen_step(plan: PagePlan, selection: dict[str, Any] | None) -> int | None:
    """Return the step of the checkpoint that the report is about; None if it is not known."""
    folder = plan.checkpoint.folder
    if folder.name == BEST_NAME:
        return int(selection["checkpoints"][0]["step"]) if selection else None
    return step_of(folder) if is_checkpoint(folder) else None


def _missing(
    plan: PagePlan,
    inspection: Inspection,
    scorecard: dict[str, Any] | None,
    selection: dict[str, Any] | None,
    learned: list[Snapshot],
) -> dict[str, str]:
    """Return for each section what it lacks, and which command makes it; empty if it lacks nothing."""
    given, name = shlex.quote(plan.given), plan.checkpoint.settings.name
    judge = (scorecard or {}).get("judge", {}).get("missing")
    no_log = f"{CHECKPOINTS / name} holds no checkpoints of the training, so this cannot be shown."
    found = {
        "scorecard": scorecard is None
        and f"There is no scorecard of this version. `pokemon-gen score {given} --overwrite` makes it.",
        "judge": judge and f"There is no judge: {judge} Then score the run again.",
        "completions": scorecard is not None
        and not inspection.is_scored_by(scorecard)
        and "The scorecard is about other completions than these, of another checkpoint or other settings. "
        f"`pokemon-gen score {given} --overwrite` makes it again.",
        "detector": inspection.detector is None
        and f"No detector ranked the completions. `pokemon-gen detector {name}` trains one, and "
        "`completion.candidates` says how many completions it ranks.",
        "learned": not learned and (no_log if inspection.run is None else "No checkpoint could be loaded."),
        "curves": not inspection.history and no_log,
        "selection": selection is None
        and f"No checkpoint was chosen by a criterion. `pokemon-gen select {name}` chooses one.",
    }
    return {section: words or "" for section, words in found.items()}
