"""The report of a study, as one HTML file and as Markdown: question, data, table, findings, curves, samples.

Both say the same. The HTML holds its charts; Markdown shows them as PNGs that lie next to it.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pokemon_gen.report.charts import Chart, Series, line_chart
from pokemon_gen.report.html import render

PART_NAMES = {"train": "Training loss", "dev": "NLL of dev"}


@dataclass(frozen=True)
class StudyRow:
    """A variant in the table: its name and the cells after it."""

    variant: str
    cells: list[str]


@dataclass(frozen=True)
class StudyGroup:
    """A group of variants: its name, its rows, the charts of its curves, and their PNG's name."""

    name: str
    rows: list[StudyRow]
    charts: list[Chart]
    picture: str


@dataclass(frozen=True)
class StudyContent:
    """Everything that the report of a study shows.

    Attributes:
        name: of the study.
        question: what it asks.
        facts: group → name → value, about the model, the data, the settings and the machine.
        columns: the titles of the table's cells.
        groups: the variants.
        findings: sentences.
        samples: prompt → variant → its continuation.
        completions: a picture of the same prompts completed by every variant, as the name of its file and as
            its `data:` address, and the variants from its top to its bottom; None without it.
        missing: variants that were left out, with the reason.
        command: that makes the study again.
    """

    name: str
    question: str
    facts: Mapping[str, Mapping[str, str]]
    columns: Sequence[str]
    groups: Sequence[StudyGroup]
    findings: Sequence[str]
    samples: Mapping[str, Mapping[str, str]]
    completions: tuple[str, str, list[str]] | None
    missing: Mapping[str, str]
    command: str


def group_charts(group: str, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Chart]:
    """Return the charts of a group: for train and for dev, a line for each variant, the mean over its seeds.

    Args:
        group: its name.
        runs: variant → the results of its seeds.
    """
    charts = [
        line_chart(
            f"{title} in nats/token over the steps: {group}",
            [
                Series(variant, _mean_curve([run["curves"][part] for run in found]))
                for variant, found in runs.items()
            ],
        )
        for part, title in PART_NAMES.items()
    ]
    return [chart for chart in charts if chart]


def _mean_curve(curves: Sequence[Sequence[Sequence[float]]]) -> list[tuple[float, float]]:
    """Return the mean of curves at the steps that all of them have."""
    values: list[dict[float, float]] = [{step: value for step, value in curve} for curve in curves]  # noqa: C416
    common = set.intersection(*(set(value) for value in values)) if values else set()
    return [(step, statistics.mean(value[step] for value in values)) for step in sorted(common)]


def build_study(content: StudyContent) -> str:
    """Return the report as HTML."""
    return render("study.html.j2", title=content.name, content=content)


def study_markdown(content: StudyContent, html_name: str) -> str:
    """Return the report as Markdown.

    Args:
        content: of the report.
        html_name: the name of the HTML file next to it.
    """
    lines = [f"# {content.name}", "", content.question, ""]
    lines += ["## Findings", "", *(f"- {finding}" for finding in content.findings), ""]
    for group in content.groups:
        lines += [f"## {group.name}", "", _markdown_row(["variant", *content.columns])]
        lines += [_markdown_row(["---"] * (1 + len(content.columns)))]
        lines += [_markdown_row([row.variant, *row.cells]) for row in group.rows]
        if group.charts:
            lines += ["", f"![curves of {group.name}]({group.picture})"]
        lines += ["", *(f"- {chart.words}" for chart in group.charts), ""]
    for prompt, continuations in content.samples.items():
        lines += [f"## Samples of {prompt!r}", ""]
        lines += [f"- **{variant}**: {text!r}" for variant, text in continuations.items()] + [""]
    if content.completions:
        name, _, variants = content.completions
        lines += [
            "## The same prompts",
            "",
            f"![completions]({name})",
            "",
            f"From the top: {', '.join(variants)}.",
            "",
        ]
    for title, facts in content.facts.items():
        lines += [f"## {title}", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    lines += (
        ["## Left out", "", *(f"- {name}: {why}" for name, why in content.missing.items()), ""]
        if content.missing
        else []
    )
    lines += [f"The same as a page: [{html_name}]({html_name}). `{content.command}` makes this again.", ""]
    return "\n".join(lines)


def _markdown_row(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(escaped)} |"
