"""`pokemon-gen study STUDY.yaml`: train what a study lacks, and write its report."""

import html
import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from pokemon_gen import __version__
from pokemon_gen.constants import PROMPT_LENGTH
from pokemon_gen.files import write_text
from pokemon_gen.models.environment import environment
from pokemon_gen.palette import Palette
from pokemon_gen.report.inline import png_address
from pokemon_gen.report.plots import save_charts
from pokemon_gen.report.sheets import PAPER, draw_completions, save_picture
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
from pokemon_gen.study_settings import StudyPlan, Variant, slug

HTML_NAME, MARKDOWN_NAME, PLAN_NAME = "study.html", "study.md", "plan.yaml"
PICTURE_NAME = "completions.png"
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
        titles = ("group", "variant", self.rows[0].unit, "against the first")
        head = "".join(f"<th>{title}</th>" for title in titles)
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
    measured = _measured(plan)
    columns = ["seeds", "steps", "weights", "train", "dev", *measured, "against the first", "curve"]
    groups = []
    for group in plan.variants:
        members = [row for row in rows if row.group == group]
        cells = [StudyRow(row.variant, _cells(row, measured)) for row in members]
        charts = group_charts(group, {row.variant: _drawn(row.runs) for row in members})
        picture = study_file(plan).with_name(f"curves-{slug(group)}.png")
        if charts:
            save_charts(charts, picture)
        groups.append(StudyGroup(group, cells, charts, picture.name))
    return StudyContent(
        name=plan.name,
        question=plan.question,
        facts=_facts(plan, results),
        columns=columns,
        groups=groups,
        findings=_findings(rows),
        samples=_samples(plan, rows),
        completions=_completions(rows, study_file(plan).with_name(PICTURE_NAME)),
        missing=results["missing"],
        command=command,
    )


def _drawn(runs: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the runs that charts show: losses of a training that diverged would flatten all other lines."""
    return [run for run in runs if name_curve(run) != "diverged"]


def _measured(plan: StudyPlan) -> dict[str, Callable[[Mapping[str, Any]], float]]:
    """Return what the table shows of each run besides its curves: the title of a column → its value."""
    if plan.folds:
        return {f"completion, fold {fold + 1}": partial(_fold, fold) for fold in range(2)}
    columns: dict[str, Callable[[Mapping[str, Any]], float]] = {}
    if plan.learns == "text":
        for name in plan.measure or ["dev"]:
            columns[f"perplexity {name}"] = partial(_score, name, "perplexity")
            columns[f"bits/character {name}"] = partial(_score, name, "bits_per_character")
        return columns
    for name in plan.measure:
        columns[f"completion {name}"] = partial(_score, name, "nll")
    return columns or {"completion dev": lambda run: run["dev_completion"]}


def _fold(number: int, run: Mapping[str, Any]) -> float:
    return float(run["folds"][number])


def _score(name: str, metric: str, run: Mapping[str, Any]) -> float:
    return float(run["scores"][name][metric])


def _cells(row: Row, measured: Mapping[str, Callable[[Mapping[str, Any]], float]]) -> list[str]:
    """Return a variant's cells of the table."""
    runs = [run for run in row.runs if not run["diverged"]]
    if not runs:
        return [
            f"0 of {len(row.runs)}" if row.runs else "left out",
            *["–"] * (4 + len(measured)),
            "",
            ", ".join(row.words),
        ]
    steps, weights = {run["steps"] for run in runs}, {run["parameters"] for run in runs}
    return [
        str(len(runs)) if len(runs) == len(row.runs) else f"{len(runs)} of {len(row.runs)}",
        _range(steps),
        _range(weights),
        _spread([run["train"] for run in runs]),
        _spread([run["dev"] for run in runs]),
        *(_spread([value(run) for run in runs]) for value in measured.values()),
        row.verdict,
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
        else:
            verdict = "; the others are compared with it" if row.is_first else f", {row.verdict}"
            found.append(f"{row.group}, {row.variant}: {_mean(row)} {row.unit}{verdict}.{curve}")
    return found


def _samples(plan: StudyPlan, rows: list[Row]) -> dict[str, dict[str, str]]:
    """Return each prompt's continuation by the first seed of each variant."""
    samples: dict[str, dict[str, str]] = {}
    for prompt in plan.prompts:
        known = [row for row in rows if row.runs and prompt in row.runs[0].get("samples", {})]
        samples[prompt] = {f"{row.group}: {row.variant}": row.runs[0]["samples"][prompt] for row in known}
    return samples


def _completions(rows: list[Row], file: Path) -> tuple[str, str, list[str]] | None:
    """Draw the same prompts completed by the first seed of every variant, a row each, if they were.

    Returns:
        See `StudyContent.completions`.
    """
    drawn = {f"{row.group}: {row.variant}": row.runs[0] for row in rows if row.runs}
    drawn = {name: run for name, run in drawn.items() if "completions" in run}
    if not drawn:
        return None
    sheets = [
        draw_completions(
            np.array(run["completions"]),
            Palette(np.array(run["palette"])),
            [PROMPT_LENGTH] * len(run["completions"]),
        )
        for run in drawn.values()
    ]
    picture = Image.new(
        "RGB", (max(sheet.width for sheet in sheets), sum(sheet.height for sheet in sheets)), PAPER
    )
    top = 0
    for sheet in sheets:
        picture.paste(sheet, (0, top))
        top += sheet.height
    save_picture(picture, file)
    return file.name, png_address(file.read_bytes()), list(drawn)


def _facts(plan: StudyPlan, results: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return what was used: group → name → value."""
    runs = list(results["runs"].values())
    settings = runs[0]["settings"] if runs else {}
    data = settings.get("corpus") or settings.get("sprites") or {}
    seconds = {run["run"]: run["seconds"] for run in runs}  # variants with the same settings share a run
    return {
        "Model": {name: str(value) for name, value in settings.get("model", {}).items()},
        "Data": {name: repr(value) for name, value in data.items()},  # quotes show line breaks and spaces
        "Training": {name: str(value) for name, value in settings.get("training", {}).items()},
        "Variants": {
            f"{group}: {name}": _difference_in_words(variant)
            for group, members in plan.variants.items()
            for name, variant in members.items()
        },
        "Study": {
            "base": plan.base,
            "always": ", ".join(plan.always) or "–",
            "seeds": ", ".join(map(str, plan.seeds)),
            "length": f"{plan.seconds:g} s of steps" if plan.seconds else "steps of the settings",
            "shown above": "the settings of the first run",
            "time": f"{sum(seconds.values()):,.0f} s of training and measuring",
        },
        "Made with": {"pokemon_gen": __version__, **environment()},
    }


def _difference_in_words(variant: Variant) -> str:
    """Return what a variant changes."""
    start = [f"starts from {variant.start_from}"] if variant.start_from else []
    return ", ".join([*start, *variant.overrides]) or "nothing changed"
