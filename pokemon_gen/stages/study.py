"""`pokemon-gen study STUDY.yaml`: train what a study lacks, and write its report."""

import html
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pokemon_gen import __version__
from pokemon_gen.files import write_text
from pokemon_gen.models.environment import environment
from pokemon_gen.report.study import (
    StudyContent,
    StudyGroup,
    StudyRow,
    build_study,
    group_charts,
    study_markdown,
)
from pokemon_gen.study.findings import Row, name_curve, rows_of
from pokemon_gen.study.plan import load_plan
from pokemon_gen.study.runs import run_plan, study_file
from pokemon_gen.study_settings import StudyPlan

HTML_NAME, MARKDOWN_NAME, PLAN_NAME = "study.html", "study.md", "plan.yaml"
LARGE = 10_000
"""From here on, losses and perplexities are written with a power of ten."""


@dataclass(frozen=True)
class Study:
    """A finished study.

    Attributes:
        rows: of the variants.
        results: as `run_plan`.
        file: the JSON of all results; `page` and `markdown` are its reports.
        page: see `file`.
        markdown: see `file`.
    """

    rows: list[Row]
    results: Mapping[str, Any]
    file: Path
    page: Path
    markdown: Path

    def _repr_html_(self) -> str:
        """Show the table in a notebook's cell."""
        head = "".join(
            f"<th>{title}</th>" for title in ("group", "variant", "nats/token", "against the first")
        )
        body = "".join(
            f"<tr><td>{html.escape(row.group)}</td><td>{html.escape(row.variant)}</td><td>{_mean(row)}</td>"
            f"<td>{row.verdict}</td></tr>"
            for row in self.rows
        )
        return f"<table><tr>{head}</tr>{body}</table><p><code>{html.escape(str(self.page))}</code></p>"


def run_study(
    plan: StudyPlan | str | Path, overrides: tuple[str, ...] = (), overwrite: bool = False
) -> Study:
    """Train what a study lacks, measure, and write its reports.

    Args:
        plan: the plan, its file, or the name of a shipped study.
        overrides: that change a plan's file, such as `seeds=[0]`.
        overwrite: train runs again whose settings were others.

    Raises:
        PokemonGenError: for a mistaken plan or a training that fails.
        InterruptedStudyError: if a training was interrupted; the same call continues.
    """
    given = str(plan) if isinstance(plan, str | Path) else None
    if not isinstance(plan, StudyPlan):
        plan = load_plan(plan, overrides)
    results = run_plan(plan, overwrite)
    rows = rows_of(results)
    file = study_file(plan)
    page, markdown = file.with_name(HTML_NAME), file.with_name(MARKDOWN_NAME)
    command = ["pokemon-gen", "study", given or _written(plan, file.with_name(PLAN_NAME)), *overrides]
    content = _content(plan, results, rows, shlex.join(command))
    write_text(page, build_study(content))
    write_text(markdown, study_markdown(content, page.name))
    return Study(rows, results, file, page, markdown)


def _written(plan: StudyPlan, file: Path) -> str:
    """Write a plan that was made in Python, so that the command in its report can be run."""
    write_text(file, yaml.safe_dump(plan.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
    return str(file)


def _content(plan: StudyPlan, results: Mapping[str, Any], rows: list[Row], command: str) -> StudyContent:
    """Collect what the reports show."""
    texts = list(plan.measure) if plan.measure else []
    columns = [
        "seeds",
        "steps",
        "weights",
        "train",
        "dev",
        *_measured_columns(plan, texts),
        "against the first",
        "curve",
    ]
    groups = []
    for group in plan.variants:
        members = [row for row in rows if row.group == group]
        cells = [StudyRow(row.variant, _cells(row, texts, plan)) for row in members]
        charts = group_charts(group, {row.variant: _drawn(row.runs) for row in members})
        groups.append(StudyGroup(group, cells, charts))
    return StudyContent(
        name=plan.name,
        question=plan.question,
        facts=_facts(plan, results),
        columns=columns,
        groups=groups,
        findings=_findings(rows),
        samples=_samples(plan, rows),
        missing=results["missing"],
        command=command,
    )


def _drawn(runs: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the runs that charts show: losses of a training that diverged would flatten all other lines."""
    return [run for run in runs if name_curve(run) != "diverged"]


def _measured_columns(plan: StudyPlan, texts: list[str]) -> list[str]:
    if plan.folds:
        return ["fold 1", "fold 2"]
    if plan.learns == "text":
        return [f"perplexity {name}" for name in texts or ["dev"]]
    return []


def _cells(row: Row, texts: list[str], plan: StudyPlan) -> list[str]:
    """Return a variant's cells of the table."""
    runs = [run for run in row.runs if not run["diverged"]]
    if not runs:
        return [
            f"0 of {len(row.runs)}" if row.runs else "left out",
            *["–"] * (4 + len(_measured_columns(plan, texts))),
            "",
            ", ".join(row.words),
        ]
    measured: list[str] = []
    if plan.folds:
        measured = [_spread([run["folds"][fold] for run in runs]) for fold in range(2)]
    elif plan.learns == "text":
        measured = [
            _spread([run["scores"][name]["perplexity"] for run in runs], 3) for name in texts or ["dev"]
        ]
    steps, weights = {run["steps"] for run in runs}, {run["parameters"] for run in runs}
    return [
        str(len(runs)) if len(runs) == len(row.runs) else f"{len(runs)} of {len(row.runs)}",
        _range(steps),
        _range(weights),
        _spread([run["train"] for run in runs]),
        _spread([run["dev"] for run in runs]),
        *measured,
        row.verdict or "the first",
        ", ".join(row.words),
    ]


def _range(values: set[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _spread(values: list[float | None], digits: int = 4) -> str:
    """Return mean ± standard deviation, or the mean alone if there is no deviation."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean = sum(known) / len(known)
    if len(known) < 2 or math.isinf(mean):  # the perplexity of a training that diverged can be infinite
        return _number(mean, digits)
    deviation = (sum((value - mean) ** 2 for value in known) / (len(known) - 1)) ** 0.5
    return f"{_number(mean, digits)} ± {_number(deviation, digits)}"


def _number(value: float, digits: int) -> str:
    """Return a value with decimals, or with a power of ten where a training diverged."""
    return f"{value:.{digits}f}" if value < LARGE else f"{value:.1e}"


def _mean(row: Row) -> str:
    return "–" if row.mean is None else _number(row.mean, 4)


def _findings(rows: list[Row]) -> list[str]:
    """Return what was found, a sentence for each variant that differs from the first of its group."""
    found = []
    for row in rows:
        curve = f" Its curve: {', '.join(row.words)}." if row.words and row.words != ["settled"] else ""
        if not row.runs:
            continue  # it was left out, which the report says in its own place
        if row.mean is None:
            found.append(f"{row.group}, {row.variant}: every training diverged.")
        elif row.difference is None:
            value = f"{_mean(row)} nats/token"
            found.append(f"{row.group}, {row.variant}: {value}; the others are compared with it.{curve}")
        else:
            found.append(f"{row.group}, {row.variant}: {_mean(row)} nats/token, {row.verdict}.{curve}")
    return found


def _samples(plan: StudyPlan, rows: list[Row]) -> dict[str, dict[str, str]]:
    """Return each prompt's continuation by the first seed of each variant."""
    samples: dict[str, dict[str, str]] = {}
    for prompt in plan.prompts:
        known = [row for row in rows if row.runs and prompt in row.runs[0].get("samples", {})]
        samples[prompt] = {f"{row.group}: {row.variant}": row.runs[0]["samples"][prompt] for row in known}
    return samples


def _facts(plan: StudyPlan, results: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return what was used: group → name → value."""
    runs = list(results["runs"].values())
    settings = runs[0]["settings"] if runs else {}
    data = settings.get("corpus") or settings.get("sprites") or {}
    return {
        "Model": {name: str(value) for name, value in settings.get("model", {}).items()},
        "Data": {name: repr(value) for name, value in data.items()},  # quotes show line breaks and spaces
        "Study": {
            "base": plan.base,
            "always": ", ".join(plan.always) or "–",
            "seeds": ", ".join(map(str, plan.seeds)),
            "length": f"{plan.seconds:g} s of steps" if plan.seconds else "steps of the settings",
            "time": f"{sum(run['seconds'] for run in runs):,.0f} s of training and measuring",
        },
        "Made with": {"pokemon_gen": __version__, **environment()},
    }
