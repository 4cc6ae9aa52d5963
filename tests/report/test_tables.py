"""`report/tables.py`: what the tables and notes on the screen say."""

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from pokemon_gen.report.scorecard_rows import scorecard_heading, scorecard_notes
from pokemon_gen.report.tables import negative_types_table, scorecard_table, selection_table

REAL = {"sprites": "dev", "fid": 5.0, "fid_interval": [4.0, 6.0], "kid": 0.001, "kid_interval": [0.0, 0.002]}
DISTANCE = {
    "reference": "dev",
    "n": 80,
    "protocol": "pytorch-fid",
    **{key: REAL[key] for key in list(REAL)[1:]},
}
SCORECARD: dict[str, Any] = {
    "name": "mine",
    "n": 80,
    "paired": {**DISTANCE, "wrong_completions": {"fid": 9.0, "kid": 0.1}, "noise": {"fid": 99.0, "kid": 1.0}},
    "unpaired": {**DISTANCE, "reference": "train", "real": REAL},
    "pdr": {
        "rate": 0.9,
        "interval": [0.82, 0.95],
        "judge": "0123456789abcdef",
        "real": {"sprites": "dev", "rate": 0.975, "interval": [0.91, 0.99]},
        "references": {"noisy completion": 0.01, "splice": 0.25},
    },
    "judge": {
        "fingerprint": "0123456789abcdef",
        "kind": "sharp",
        "failures": [],
        "limits": ["it sees no colours"],
    },
    "auc": {
        "auc": 0.72,
        "interval": [0.64, 0.79],
        "preferred": 0.75,
        "preferred_interval": [0.65, 0.83],
        "real_sprites": "dev",
        "references": {"noisy completion": 0.998, "splice": 0.936},
    },
    "sliced": {"distance": 1.72, "interval": [1.1, 2.4], "halves_of_real": 0.11, "truth": "dev"},
    "nll": 1.2,
    "nll_interval": [1.1, 1.3],
    "pixel_accuracy": 0.5,
    "pixel_accuracy_interval": [0.46, 0.54],
    "nearest_training_completion": {
        "completions": 0.4,
        "completions_interval": [0.37, 0.43],
        "real": 0.53,
        "real_interval": [0.5, 0.56],
        "real_sprites": "dev",
        "p_value": 1.5e-12,
    },
    "diversity": {
        "completions": 0.7,
        "completions_interval": None,
        "real": 0.8,
        "real_interval": None,
        "real_sprites": "dev",
    },
    "new_colours": {
        "completions": 7.4,
        "completions_interval": [6.0, 8.8],
        "real": 4.2,
        "real_interval": [4, 5],
        "real_sprites": "dev",
    },
    "checkpoint": {"folder": "checkpoints/mine/best", "chosen_for": "step 240", "chosen_on": "dev"},
    "verdicts": {
        "2026": {
            "simple": {"fid_at_most": 9, "pdr_at_least": 0.5, "passed": True, "both_halves_pass": 1.0},
            "strong": {"fid_at_most": 1, "pdr_at_least": 0.95, "passed": False, "both_halves_pass": 0.0},
        }
    },
    "warnings": ["PDR: the interval crosses a bar"],
}


def as_text(table: Table) -> str:
    console = Console(width=250)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


@dataclass(frozen=True)
class Metrics:
    """The metrics of a checkpoint, in the order of `CheckpointMetrics`."""

    checkpoint: str
    step: int
    detector: float | None
    nll: float | None


def test_a_scorecard_shows_each_metric_with_its_interval_and_reference() -> None:
    table = scorecard_table(SCORECARD)
    assert [column.header for column in table.columns] == ["metric", "value (95 % interval)", "reference"]
    text = as_text(table)
    for fact in (
        "mine",
        "80 completions",
        "5.00 (4.00 to 6.00)",
        "wrong completions 9.00, noise 99.00",
        "real (dev): 5.00 (4.00 to 6.00)",
        "against train, n=80, pytorch-fid",
        "PDR, sharp judge 0123456789abcdef",
        "0.900 (0.820 to 0.950)",
        "noisy completion 0.010, splice 0.250",
        "0.720 (0.640 to 0.790)",
        "noisy completion 0.998, splice 0.936",
        "0.750 (0.650 to 0.830)",
        "1.72 (1.10 to 2.40)",
        "halves of the real sprites: 0.11",
        "memorisation check: share of pixels that differ from the nearest training sprite",
        "real (dev): 0.530 (0.500 to 0.560); differs from real sprites (KS test, p = 1.5e-12)",
        "new colours per completion (not in the prompt)",
        "checkpoints/mine/best",
        "step 240",
        "chosen on dev",
        "passes on both the public and the private half in 0 % of simulated splits",
    ):
        assert fact in text
    notes = ["The judge: it sees no colours.", "warning: PDR: the interval crosses a bar"]
    assert scorecard_notes(SCORECARD) == notes


def test_a_judge_that_failed_is_named_before_the_table() -> None:
    assert scorecard_heading(SCORECARD) is None
    failed = {**SCORECARD, "judge": {**SCORECARD["judge"], "failures": ["9 % of noise passes", "a", "b"]}}
    assert "9 % of noise passes; a; b" in str(scorecard_heading(failed))
    assert "cannot be relied on" in as_text(scorecard_table(failed))


def test_a_large_p_value_is_not_called_a_difference() -> None:
    nearest = {**SCORECARD["nearest_training_completion"], "p_value": 0.17}
    text = as_text(scorecard_table({**SCORECARD, "nearest_training_completion": nearest}))
    assert "does not differ significantly from real sprites (KS test, p = 0.17)" in text


def test_missing_metrics_and_verdicts_are_noted_with_their_reason() -> None:
    reason = "no weights: pass --inception-weights PATH"
    not_computed = {"not_computed": reason}
    verdicts = {"not_judged": "it needs FID and PDR, and FID is missing"}
    scorecard = {**SCORECARD, "paired": not_computed, "unpaired": not_computed, "verdicts": verdicts}
    text = as_text(scorecard_table(scorecard))
    assert "not computed: see below" in text
    assert "none: see below" in text
    metrics, verdict, *_ = scorecard_notes(scorecard)
    assert metrics == f"paired FID, unpaired FID not computed: {reason}"
    assert verdict == "No verdict: it needs FID and PDR, and FID is missing."


def test_the_detection_rate_of_single_draws_is_shown() -> None:
    pdr = {**SCORECARD["pdr"], "single_draw": {"rate": 0.8, "interval": [0.7, 0.87]}}
    single = {"auc": 0.83, "interval": [0.76, 0.89], "preferred": None, "preferred_interval": None}
    auc = {**SCORECARD["auc"], "single_draw": single}
    text = as_text(scorecard_table({**SCORECARD, "pdr": pdr, "auc": auc}))
    assert "PDR of single draws" in text
    assert "0.800 (0.700 to 0.870)" in text
    assert "0.830 (0.760 to 0.890)" in text


def test_a_missing_judge_leaves_out_its_metrics() -> None:
    missing = {"not_computed": "no judge"}
    scorecard = {
        **SCORECARD, "pdr": missing, "auc": missing, "sliced": missing, "judge": {"missing": "no judge"}
    }  # fmt: skip
    assert "AUC" in as_text(scorecard_table(scorecard))
    reason = "PDR, AUC, distance in the judge's features not computed: no judge"
    assert scorecard_notes(scorecard)[0] == reason


def test_a_selection_shows_the_metrics_that_were_measured() -> None:
    ranked = [Metrics("checkpoint-20", 20, None, 1.1), Metrics("checkpoint-10", 10, None, None)]
    table = selection_table("nll", ranked)
    assert [column.header for column in table.columns] == ["checkpoint", "nll"]
    text = as_text(table)
    assert "1.1000" in text
    assert text.index("checkpoint-20") < text.index("checkpoint-10")


def test_negative_types_are_shown_with_the_share_that_passes() -> None:
    negative = {"negative_type": "splice", "n": 80, "auc": 0.912, "passing": 0.35}
    text = as_text(
        negative_types_table({"role": "judge", "dev_passing": 0.975, "negative_types": [negative]})
    )
    for fact in ("judge on dev", "97.5%", "splice", "80", "0.912", "35.0%"):
        assert fact in text
