"""The report of a run and the comparison of runs: one HTML file each, complete in itself.

The functions here turn what was computed into what the templates lay out. The file works from a disk, in a
notebook's cell and on any host, because pictures, styles and scripts are inside it; its
Content-Security-Policy forbids every request. Everything that comes from a run (names, settings, sources) is
escaped.
"""

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from pokemon_gen.constants import COMPLETION_LENGTH, LENGTH, PROMPT_LENGTH, SIDE
from pokemon_gen.palette import Palette
from pokemon_gen.report.charts import LOGGED, Chart, line_chart, logged_series
from pokemon_gen.report.comparison import (
    HOW_JUDGED,
    HOW_PAIRED,
    ComparedRow,
    compared_rows,
    differing_settings,
)
from pokemon_gen.report.inline import equal_pixels, heat_address, heat_gradient, sprite_address
from pokemon_gen.report.plots import SELECTION_METRICS
from pokemon_gen.report.scorecard_rows import number, scorecard_notes, scorecard_rows, verdict_sentence

TEMPLATES = Path(__file__).parent / "templates"
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
"""The Content-Security-Policy: inline scripts, styles and pictures, and no request."""
SHOWN_CANDIDATES = 8
"""The most candidates of a prompt that are shown, the best ones."""
HEAT_QUANTILE = 0.995
"""The share of pixels whose value is below the top of the heat maps' scale."""
FRAME_HEIGHT = 1100
"""Height in CSS pixels of a file in a notebook's cell."""


@dataclass(frozen=True)
class HtmlPage:
    """A page on disk. A notebook shows it in a frame."""

    file: Path

    def _repr_html_(self) -> str:
        """Return the page in a frame that may run its scripts and save files, and can reach nothing else."""
        page = html.escape(self.file.read_text(encoding="utf-8"), quote=True)
        return (
            f'<iframe srcdoc="{page}" width="100%" height="{FRAME_HEIGHT}" style="border:0" '
            f'sandbox="allow-scripts allow-downloads allow-modals" title="{html.escape(str(self.file))}">'
            "</iframe>"
        )


@dataclass(frozen=True)
class ReportContent:
    """Everything that a report shows; None or empty where it is missing.

    Attributes:
        name: of the run.
        palette: the colours of all sprites.
        truth: (N, 400) the dev sprites.
        candidates: (N, K, 400) the completions of each dev prompt, the best first.
        probability: (N, K) the detector's probability that each is real; None without a detector.
        nll: (N, K) the NLL of each candidate, nats/token.
        nearest: (N, 400) the training sprite nearest to each best completion, and `distance`, (N,), the share
            of the completion's pixels that differ.
        distance: see `nearest`.
        surprise: (N, 400) −log p of each pixel of the dev sprites, in nats; NaN for a given one.
        scorecard: of the run.
        steps: of the checkpoints whose completions are shown, and `learned`, the completions of the first P
            dev prompts by each, (P, 400).
        learned: see `steps`.
        chosen: the step of the chosen checkpoint; None if it is not known.
        history: the log of the training.
        selection: `selection.json`.
        facts: what was used: group → name → value.
        settings: all settings of the run.
        commands: that make the run and the report again.
        missing: section → what it lacks, and which command makes it; empty if it lacks nothing.
        made_from: identifies the checkpoint, the detector, the settings, the sprites, the logs, the scorecard
            and the templates; a report of the same version with the same value shows the same.
    """

    name: str
    palette: Palette
    truth: NDArray[np.int64]
    candidates: NDArray[np.int64]
    probability: NDArray[np.float64] | None
    nll: NDArray[np.float64]
    nearest: NDArray[np.int64]
    distance: NDArray[np.float64]
    surprise: NDArray[np.float64]
    scorecard: dict[str, Any] | None
    steps: Sequence[int]
    learned: Sequence[NDArray[np.int64]]
    chosen: int | None
    history: Sequence[Mapping[str, Any]]
    selection: dict[str, Any] | None
    facts: Mapping[str, Mapping[str, str]]
    settings: Mapping[str, Any]
    commands: Sequence[str]
    missing: Mapping[str, str]
    made_from: str


@dataclass(frozen=True)
class ComparedRun:
    """What a comparison shows of a run.

    Attributes:
        name: of the run.
        completions: (N, 400) of the dev prompts.
        of_each: name of a scorecard's row → its value of each completion, (N,).
        history: the log of the training.
        scorecard: of the run; None if it has none.
        missing: what to do about a scorecard that is missing or about other completions; else empty.
        settings: all settings of the run.
        facts: what was used: name → value.
    """

    name: str
    completions: NDArray[np.int64]
    of_each: Mapping[str, NDArray[np.float64]]
    history: Sequence[Mapping[str, Any]]
    scorecard: dict[str, Any] | None
    missing: str
    settings: Mapping[str, Any]
    facts: Mapping[str, str]


def build_report(content: ReportContent) -> str:
    """Return the report of a run as HTML."""
    top = heat_top(content.surprise)
    selection = content.selection
    return render(
        "report.html.j2",
        title=content.name,
        content=content,
        verdict=_verdict(content),
        rows=scorecard_rows(content.scorecard) if content.scorecard else [],
        notes=scorecard_notes(content.scorecard) if content.scorecard else [],
        cards=_cards(content),
        drawn=content.candidates.shape[1],
        learned=_learned_rows(content),
        learned_nll=[_logged_at(content.history, step) for step in content.steps],
        charts=training_charts(content.history, content.chosen),
        selection_rows=_selection_rows(selection) if selection else [],
        metrics=_measured(selection) if selection else [],
        criterion=SELECTION_METRICS.get(selection["by"], selection["by"]) if selection else "",
        mean_heat=heat_address(content.surprise.mean(0), top),
        halves=_halves(content.surprise),
        heats=_heats(content, top),
        heat_top=f"{top:.1f}",
        heat_middle=f"{top / 2:.1f}",
        gradient=heat_gradient(),
        settings_json=json.dumps(content.settings, indent=2, ensure_ascii=False),
        settings_address=_json_address(content.settings),
    )


def templates_sha256() -> str:
    """Return the SHA-256 of the templates, styles and scripts of the pages."""
    files = sorted(file for file in TEMPLATES.iterdir() if file.is_file())
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def build_comparison(
    runs: Sequence[ComparedRun], truth: NDArray[np.int64] | None, palette: Palette, notes: Sequence[str]
) -> str:
    """Return the comparison of runs as HTML.

    Args:
        runs: two or more.
        truth: (N, 400) the dev sprites; None if the runs have no prompts in common.
        palette: the colours of all sprites; without `truth` it is not used.
        notes: what makes the runs incomparable.
    """
    paired = truth is not None and not any(run.missing for run in runs)
    of_each = {name: [run.of_each[name] for run in runs] for name in runs[0].of_each} if paired else {}
    rows = compared_rows([run.scorecard for run in runs], of_each)
    return render(
        "compare.html.j2",
        title=" and ".join(run.name for run in runs),
        runs=runs,
        rows=rows,
        summaries=[_summary(rows, number) for number in range(1, len(runs))],
        notes=[*notes, *(run.missing for run in runs if run.missing)],
        remarks=[(run.name, scorecard_notes(run.scorecard)) for run in runs if run.scorecard],
        how_judged=HOW_JUDGED + (HOW_PAIRED if of_each else ""),
        prompts=_prompts(runs, truth, palette) if truth is not None else [],
        charts=_compared_charts(runs),
        settings=differing_settings([run.settings for run in runs]),
    )


def _verdict(content: ReportContent) -> str:
    """Return the verdict in a sentence, with what makes it doubtful."""
    if content.scorecard is None:
        return content.missing["scorecard"]
    other = "About other completions than these: " if content.missing["completions"] else ""
    return f"{other}{verdict_sentence(content.scorecard)}"


def heat_top(surprise: NDArray[np.float64]) -> float:
    """Return the top of the heat maps' scale in nats: nearly all pixels are below it."""
    return max(float(np.nanquantile(surprise, HEAT_QUANTILE)), 0.1)


def training_charts(history: Sequence[Mapping[str, Any]], chosen: int | None) -> list[Chart]:
    """Return the charts of a training: its loss and the NLL of dev, with the chosen checkpoint marked."""
    series = [logged_series(history, key, name) for key, name in LOGGED.items()]
    chart = line_chart(
        "Loss and NLL in nats/token over the steps of the training",
        series,
        None if chosen is None else (chosen, "chosen checkpoint"),
    )
    return [chart] if chart else []


def _compared_charts(runs: Sequence[ComparedRun]) -> list[Chart]:
    """Return one chart for each logged value, with a line for each run."""
    charts = [
        line_chart(
            f"{name[0].upper()}{name[1:]}, in nats/token over the steps",
            [logged_series(run.history, key, run.name) for run in runs],
        )
        for key, name in LOGGED.items()
        if key != "eval_nll"
    ]
    return [chart for chart in charts if chart]


def render(template: str, **values: Any) -> str:
    """Return a page: a template with the style and the script of both pages."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(
        policy=POLICY,
        style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
        script=Markup((TEMPLATES / "script.js").read_text(encoding="utf-8")),
        number=number,
        **values,
    )


def _cards(content: ReportContent) -> list[dict[str, Any]]:
    """Return one card for each dev prompt: its completion, candidates, truth and nearest training sprite."""
    ranked = content.probability
    cards = []
    for row, sprites in enumerate(content.candidates):
        shown = [
            {
                "address": sprite_address(sprite, content.palette),
                "score": None if ranked is None else f"real {ranked[row, place]:.2f}",
                "nll": f"{content.nll[row, place]:.2f} nats",
            }
            for place, sprite in enumerate(sprites[:SHOWN_CANDIDATES])
        ]
        score = -content.nll[row, 0] if ranked is None else ranked[row, 0]
        cards.append(
            {
                "number": row + 1,
                "candidates": shown,
                "score": f"{score:.6f}",
                "truth": sprite_address(content.truth[row], content.palette),
                "truth_equal": _percent(
                    equal_pixels(sprites[0, PROMPT_LENGTH:], content.truth[row, PROMPT_LENGTH:])
                ),
                "nearest": sprite_address(content.nearest[row], content.palette),
                "nearest_equal": _percent(1 - content.distance[row]),
            }
        )
    return cards


def _percent(share: float) -> str:
    """Return a share as a whole percentage; only an exact 1 becomes 100 %."""
    return f"{min(round(100 * share), 100 if share == 1 else 99)} %"


def _learned_rows(content: ReportContent) -> list[list[str]]:
    """Return the pictures of each prompt's completions, checkpoint by checkpoint, and last the truth."""
    if not content.learned:
        return []
    prompts = len(content.learned[0])
    return [
        [sprite_address(sprites[row], content.palette) for sprites in (*content.learned, content.truth)]
        for row in range(prompts)
    ]


def _logged_at(history: Sequence[Mapping[str, Any]], step: int) -> str:
    """Return the dev NLL of the completion that was logged at a step, or a dash."""
    found = [entry["eval_completion_nll"] for entry in history if _measured_at(entry, step)]
    return number(found[-1] if found else None, 3)


def _measured_at(entry: Mapping[str, Any], step: int) -> bool:
    return entry["step"] == step and "eval_completion_nll" in entry


def _measured(selection: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the names and the titles of the metrics that a selection measured, the criterion first."""
    names = [
        name
        for name in SELECTION_METRICS
        if any(entry.get(name) is not None for entry in selection["checkpoints"])
    ]
    names.sort(key=lambda name: name != selection["by"])
    return [(name, SELECTION_METRICS[name]) for name in names]


def _selection_rows(selection: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the checkpoints of a selection, best first."""
    names = [name for name, _ in _measured(selection)]
    return [
        {
            "checkpoint": entry["checkpoint"],
            "chosen": entry["checkpoint"] == selection["checkpoints"][0]["checkpoint"],
            "values": [number(entry.get(name), 4) for name in names],
        }
        for entry in selection["checkpoints"]
    ]


def _halves(surprise: NDArray[np.float64]) -> dict[str, str]:
    """Return the mean surprise of prompts and of completions, in nats per pixel."""
    prompt, completion = surprise[:, 1:PROMPT_LENGTH], surprise[:, PROMPT_LENGTH:]
    assert completion.shape[1] == COMPLETION_LENGTH
    return {"prompt": f"{prompt.mean():.2f}", "completion": f"{completion.mean():.2f}"}


def _heats(content: ReportContent, top: float) -> list[dict[str, str]]:
    """Return the dev sprites with their heat maps, and each map in words."""
    found = []
    for row, values in enumerate(content.surprise):
        highest = int(np.nanargmax(values))
        found.append(
            {
                "number": str(row + 1),
                "sprite": sprite_address(content.truth[row], content.palette),
                "map": heat_address(values, top),
                "mean": f"{values[PROMPT_LENGTH:].mean():.2f}",
                "words": f"mean of the completion {values[PROMPT_LENGTH:].mean():.2f} nats, highest "
                f"{values[highest]:.1f} nats in row {highest // SIDE + 1}, column {highest % SIDE + 1}",
            }
        )
    return found


def _json_address(value: Mapping[str, Any]) -> str:
    """Return JSON as a `data:` address to download."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return f"data:application/json;base64,{base64.b64encode(text.encode()).decode()}"


def _summary(rows: Sequence[ComparedRow], run: int) -> str:
    """Return in which metrics a run differs from the first one."""
    parts = []
    for kind in ("better", "worse", "different"):
        names = [row.metric for row in rows if row.cells[run].kind == kind]
        if names:
            parts.append(f"{kind} in {'; '.join(names)}")
    same = sum(row.cells[run].kind == "same" for row in rows)
    judged = f" No clear difference in {same} other metrics." if same else ""
    if not parts:
        return f"no difference beyond chance.{judged}"
    return f"{', '.join(parts)}.{judged}"


def _prompts(runs: Sequence[ComparedRun], truth: NDArray[np.int64], palette: Palette) -> list[dict[str, Any]]:
    """Return the same prompts completed by each run, with the truth."""
    assert truth.shape[1] == LENGTH
    return [
        {
            "number": row + 1,
            "truth": sprite_address(sprite, palette),
            "runs": [sprite_address(run.completions[row], palette) for run in runs],
        }
        for row, sprite in enumerate(truth)
    ]
