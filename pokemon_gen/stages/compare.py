"""`pokemon-gen compare`: two or more runs → one HTML file that shows them side by side."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.constants import PROMPT_LENGTH
from pokemon_gen.evaluation.inspection import Inspection, inspect_run, inspected_facts, scorecard_of
from pokemon_gen.evaluation.pixels import accuracies, new_colour_counts
from pokemon_gen.files import write_text
from pokemon_gen.report.html import ComparedRun, HtmlPage, build_comparison
from pokemon_gen.report.scorecard_rows import ACCURACY, NEW_COLOURS, NLL
from pokemon_gen.stages.plans import ComparisonPlan, plan_comparison


def compare(
    runs: Sequence[str | Path], *, output: str | Path | None = None, overwrite: bool = False
) -> HtmlPage:
    """Write a comparison of runs: their scorecards, the same prompts completed by each, and their curves.

    Runs of other sprites or another palette have no prompts in common; their figures are shown, and it is
    said that they cannot be compared.

    Args:
        runs: two or more checkpoints or runs; the others are compared with the first.
        output: the HTML file. None: `eval/results/<name>-vs-<name>/compare.html`, which is replaced.
        overwrite: replace `output` if it exists.

    Raises:
        PokemonGenError: for fewer than two runs, a run twice, a missing run, or an output that exists.
    """
    return run_comparison(plan_comparison(runs, output, overwrite))


def run_comparison(plan: ComparisonPlan) -> HtmlPage:
    """Do what a plan says; see `compare`."""
    inspections = [inspect_run(files) for files in plan.checkpoints]
    compared = [_compared(name, found) for name, found in zip(plan.names, inspections, strict=True)]
    first = inspections[0]
    notes = [
        _difference(first, other, name) for other, name in zip(inspections[1:], plan.names[1:], strict=True)
    ]
    differences = [note for note in notes if note]
    truth = None if differences else first.sprites.tokens("dev")
    write_text(plan.file, build_comparison(compared, truth, first.checkpoint.palette, differences))
    return HtmlPage(plan.file)


def _compared(name: str, inspection: Inspection) -> ComparedRun:
    """Return what a comparison shows of a run."""
    scorecard = scorecard_of(name)
    return ComparedRun(
        name=name,
        completions=inspection.completions,
        of_each=_of_each_sprite(inspection),
        history=inspection.history,
        scorecard=scorecard,
        missing=_missing(name, inspection, scorecard),
        settings=inspection.checkpoint.settings.model_dump(mode="json"),
        facts={key: value for facts in inspected_facts(inspection).values() for key, value in facts.items()},
    )


def _of_each_sprite(inspection: Inspection) -> dict[str, NDArray[np.float64]]:
    """Return the values of a scorecard's rows that two runs of the same sprites can compare in pairs."""
    return {
        NLL: inspection.nll[:, PROMPT_LENGTH:].mean(1),
        ACCURACY: accuracies(inspection.completions, inspection.sprites.tokens("dev")),
        NEW_COLOURS: new_colour_counts(inspection.completions),
    }


def _missing(name: str, inspection: Inspection, scorecard: dict[str, Any] | None) -> str:
    """Return what to do about a scorecard that is missing, of another version or of other completions."""
    place = shlex.quote(str(inspection.checkpoint.folder))
    command = f"pokemon-gen score {place} name={name} --overwrite"
    if scorecard is None:
        return f"{name} has no scorecard of this version. `{command}` makes it."
    if not inspection.is_scored_by(scorecard):
        return f"The scorecard of {name} is about other completions than these. `{command}` makes it again."
    return ""


def _difference(first: Inspection, other: Inspection, name: str) -> str:
    """Return why the prompts of two runs cannot be compared, or nothing if they can."""
    if first.checkpoint.palette != other.checkpoint.palette:
        return f"{name} has another palette than the first run, so their sprites cannot be compared."
    if not np.array_equal(first.sprites.tokens("dev"), other.sprites.tokens("dev")):
        return f"{name} has other dev sprites than the first run, so their completions cannot be compared."
    return ""
