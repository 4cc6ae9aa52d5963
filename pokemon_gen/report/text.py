"""The report of a run on text, as one HTML file: scores, curves, samples, and what was used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pokemon_gen.report.html import render, training_charts


@dataclass(frozen=True)
class TextReportContent:
    """Everything that the report of a run on text shows.

    Attributes:
        name: of the run.
        verdict: the score of dev in a sentence.
        samples: (prompt, continuation) pairs.
        history: the log of the training.
        chosen: the step of the checkpoint.
        facts: what was used: group → name → value.
        settings_json: all settings of the run.
        commands: that make the run and the report again.
    """

    name: str
    verdict: str
    samples: Sequence[tuple[str, str]]
    history: Sequence[Mapping[str, Any]]
    chosen: int | None
    facts: Mapping[str, Mapping[str, str]]
    settings_json: str
    commands: Sequence[str]


def build_text_report(content: TextReportContent) -> str:
    """Return the report as HTML."""
    charts = training_charts(content.history, content.chosen)
    return render("text.html.j2", title=content.name, content=content, charts=charts)
