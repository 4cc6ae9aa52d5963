"""A scorecard as rows of text: metric, value with interval, reference, and what it means for this run.

The table on the screen (`tables.py`), the report and the comparison (`html.py`) show the same rows. A row
also keeps its numbers and what they depend on, so that the same row of two scorecards can be compared.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

NOTHING = "–"
MISSING = "not computed: see below"
IDEAL = "ideal: 0.5, no difference"
SINGLE = "one draw each, not chosen by the detector"
NLL = "NLL of the completion, nats/token"
ACCURACY = "pixel accuracy"
NEW_COLOURS = "new colours per completion (not in the prompt)"
SIGNIFICANT = 0.05
"""The p value below which completions are said to differ from real sprites."""


@dataclass(frozen=True)
class MetricRow:
    """A row of a scorecard.

    Attributes:
        metric: its name; empty if the row continues the one above.
        value: as text, with its 95 % interval.
        reference: what the value is compared with, as text.
        kind: `note` for an explanation, `warning` for a reference that must not be overlooked, `passed` or
            `missed` for a verdict.
        meaning: a sentence on what the value means for this run.
        estimate: the value; None if it is no number or was not computed.
        interval: its 95 % interval; None without one.
        better: whether a `lower` or a `higher` value is better; None where neither is.
        basis: what the values of two runs must share to be comparable: name → identity.
        key: names the same row in other scorecards; empty if `metric` does.
    """

    metric: str
    value: str = ""
    reference: str = NOTHING
    kind: Literal["value", "note", "warning", "passed", "missed"] = "value"
    meaning: str = ""
    estimate: float | None = None
    interval: Sequence[float] | None = None
    better: Literal["lower", "higher"] | None = None
    basis: Mapping[str, Any] | None = None
    key: str = ""

    @property
    def name(self) -> str:
        """The row's name in every scorecard."""
        return self.key or self.metric


def scorecard_rows(scorecard: Mapping[str, Any]) -> list[MetricRow]:
    """Return all rows of a scorecard, in the order in which people read them."""
    return [
        *_distances(scorecard),
        *_pdr(scorecard),
        *_auc(scorecard),
        *_sliced(scorecard),
        *_plain_metrics(scorecard),
        *_verdicts(scorecard["verdicts"]),
        *_checkpoint(scorecard.get("checkpoint")),
    ]


def scorecard_heading(scorecard: Mapping[str, Any]) -> str | None:
    """Return the first line of a scorecard whose judge cannot be relied on, with the reasons; else None."""
    reasons = scorecard["judge"].get("failures")
    if not reasons:
        return None
    return f"The judge cannot be relied on: {'; '.join(reasons)}. Do not trust its values below."


def scorecard_notes(scorecard: Mapping[str, Any]) -> list[str]:
    """Return the reasons for missing metrics and verdicts, and the warnings: all too long for a table."""
    metrics_by_reason: dict[str, list[str]] = {}
    for name, metric in (
        ("paired", "paired FID"), ("unpaired", "unpaired FID"), ("pdr", "PDR"), ("auc", "AUC"),
        ("sliced", "distance in the judge's features"),
    ):  # fmt: skip
        if "not_computed" in scorecard[name]:
            metrics_by_reason.setdefault(scorecard[name]["not_computed"], []).append(metric)
    notes = [f"{', '.join(metrics)} not computed: {reason}" for reason, metrics in metrics_by_reason.items()]
    if "not_judged" in scorecard["verdicts"]:
        notes.append(f"No verdict: {scorecard['verdicts']['not_judged']}.")
    limits = [f"The judge: {limit}." for limit in scorecard["judge"].get("limits", [])]
    return notes + limits + [f"warning: {warning}" for warning in scorecard["warnings"]]


def verdict_sentence(scorecard: Mapping[str, Any]) -> str:
    """Return the verdict of a scorecard in a sentence: which bars of the homework are passed."""
    heading = scorecard_heading(scorecard)
    if heading:
        return heading
    verdicts = scorecard["verdicts"]
    if "not_judged" in verdicts:
        return f"No verdict: {verdicts['not_judged']}."
    rows = list(_verdicts(verdicts))
    names = {kind: [row.metric for row in rows if row.kind == kind] for kind in ("passed", "missed")}
    parts = [f"{kind}: {', '.join(found)}" for kind, found in names.items() if found]
    return f"{len(names['passed'])} of {len(rows)} bars passed ({'; '.join(parts)})."


def with_interval(value: float | None, interval: Sequence[float] | None, digits: int) -> str:
    """Return a value with its interval, if it has one; a dash if the value is missing."""
    if value is None or interval is None:
        return number(value, digits)
    return f"{value:.{digits}f} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"


def number(value: float | None, digits: int) -> str:
    """Return a value, or a dash if it is missing."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def _distances(scorecard: Mapping[str, Any]) -> Iterator[MetricRow]:
    """Yield FID and KID, paired and unpaired."""
    for name, ideal in (("paired", "0"), ("unpaired", "the value of real sprites")):
        distance = scorecard[name]
        if "not_computed" in distance:
            yield MetricRow(f"FID, {name}", MISSING)
            continue
        for metric, digits in (("fid", 2), ("kid", 5)):
            yield MetricRow(
                f"{metric.upper()}, {name}",
                with_interval(distance[metric], distance[f"{metric}_interval"], digits),
                _distance_reference(distance, metric, digits),
                meaning=_distance_meaning(distance, metric, digits),
                estimate=distance[metric],
                interval=distance[f"{metric}_interval"],
                better="lower",
                basis=_basis(
                    scorecard, reference=distance["reference"], protocol=distance["protocol"], n=distance["n"]
                ),
            )
        detail = f"against {distance['reference']}, n={distance['n']}, {distance['protocol']}; ideal: {ideal}"
        yield MetricRow("", "", detail, "note")


def _basis(scorecard: Mapping[str, Any], **others: Any) -> dict[str, Any]:
    """Return what a value depends on besides the completions: the sprites, and what is passed."""
    return {"sprites": (scorecard.get("sprites") or {}).get("fingerprint"), **others}


def _distance_reference(distance: Mapping[str, Any], metric: str, digits: int) -> str:
    """Return the values of a distance that the completions' value is compared with."""
    if "real" in distance:
        real = distance["real"]
        value = with_interval(real[metric], real[f"{metric}_interval"], digits)
        return f"real ({real['sprites']}): {value}"
    wrong, noise = (number(distance[name][metric], digits) for name in ("wrong_completions", "noise"))
    return f"wrong completions {wrong}, noise {noise}"


def _distance_meaning(distance: Mapping[str, Any], metric: str, digits: int) -> str:
    """Return how far the completions are, as a set of pictures, in comparison with real sprites."""
    value, interval = distance[metric], distance[f"{metric}_interval"]
    if "real" in distance:
        limit, words = distance["real"][metric], ("nearer", "as near", "farther away")
        return (
            f"Real sprites are {limit:.{digits}f} away from {distance['reference']}; these completions are "
            f"{_against_real(value, interval, limit, distance['real'][f'{metric}_interval'], words)}."
        )
    wrong = distance["wrong_completions"][metric]
    share = f", {100 * value / wrong:.0f} % of the distance of completions that belong to other prompts"
    return f"The truth itself would have 0. This set is {value:.{digits}f} away{share if wrong > 0 else ''}."


def _side(
    value: float, interval: Sequence[float] | None, limit: float, below: str, same: str, above: str
) -> str:
    """Return in words on which side of a limit a value is, or that its interval contains the limit."""
    low, high = interval or (value, value)
    if low <= limit <= high:
        return f"{same}, within the interval"
    return below if high < limit else above


def interval_of_difference(
    first: float, first_interval: Sequence[float], other: float, other_interval: Sequence[float]
) -> tuple[float, float]:
    """Return the 95 % interval of other - first by MOVER (Zou & Donner 2008), for independent values."""
    difference = other - first
    low = math.hypot(other - other_interval[0], first_interval[1] - first)
    high = math.hypot(other_interval[1] - other, first - first_interval[0])
    return difference - low, difference + high


def _against_real(
    value: float,
    interval: Sequence[float] | None,
    real: float,
    real_interval: Sequence[float] | None,
    words: tuple[str, str, str],
) -> str:
    """Return in words whether a value is below that of real sprites, as it, or above; both have intervals."""
    if interval is None or real_interval is None:
        return _side(value, interval, real, *words)
    return _side(value - real, interval_of_difference(real, real_interval, value, interval), 0, *words)


def _pdr(scorecard: Mapping[str, Any]) -> Iterator[MetricRow]:
    """Yield the detection rate, and that of single draws if a detector chose the completions."""
    pdr, judge = scorecard["pdr"], scorecard["judge"]
    if "not_computed" in pdr:
        yield MetricRow("PDR", MISSING)
        return
    real, number_words = pdr["real"], ("fewer", "as many", "more")
    yield MetricRow(
        f"PDR, {judge['kind']} judge {pdr['judge']}",
        with_interval(pdr["rate"], pdr["interval"], 3),
        f"real ({real['sprites']}): {with_interval(real['rate'], real['interval'], 3)}",
        meaning=f"The judge takes {100 * pdr['rate']:.0f} of 100 completions for real, and "
        f"{100 * real['rate']:.0f} of 100 real sprites: "
        f"{_against_real(pdr['rate'], pdr['interval'], real['rate'], real['interval'], number_words)}.",
        estimate=pdr["rate"],
        interval=pdr["interval"],
        better="higher",
        basis=_basis(scorecard, judge=pdr["judge"]),
        key="PDR",
    )
    if pdr["references"]:
        yield MetricRow("", "", _references(pdr, 3), "note")
    if judge["failures"]:
        yield MetricRow("", "", "the judge cannot be relied on: see above", "warning")
    if "single_draw" in pdr:
        single = pdr["single_draw"]
        yield MetricRow(
            "PDR of single draws",
            with_interval(single["rate"], single["interval"], 3),
            SINGLE,
            "note",
            f"Without the detector's choice, {100 * single['rate']:.0f} of 100 completions pass.",
            single["rate"],
            single["interval"],
            "higher",
            _basis(scorecard, judge=pdr["judge"]),
        )


def _auc(scorecard: Mapping[str, Any]) -> Iterator[MetricRow]:
    """Yield how well the judge tells completions, and single draws, from real sprites."""
    auc = scorecard["auc"]
    if "not_computed" in auc:
        yield MetricRow("AUC, real against completed", MISSING)
        return
    basis = _basis(scorecard, judge=scorecard["judge"].get("fingerprint"), real=auc["real_sprites"])
    yield MetricRow(
        "AUC, real against completed",
        with_interval(auc["auc"], auc["interval"], 3),
        f"{IDEAL}; {_references(auc, 3)}",
        meaning=f"Of a real sprite and a completion, the judge finds the real one in {100 * auc['auc']:.0f} "
        f"of 100 cases; a guess finds 50, so it {_tells(auc['auc'], auc['interval'])}.",
        estimate=auc["auc"],
        interval=auc["interval"],
        better="lower",
        basis=basis,
    )
    if auc["preferred"] is not None:
        yield MetricRow(
            "share of prompts whose real completion is preferred",
            with_interval(auc["preferred"], auc["preferred_interval"], 3),
            IDEAL,
            meaning=f"For {100 * auc['preferred']:.0f} of 100 prompts the judge prefers the truth, so it "
            f"{_tells(auc['preferred'], auc['preferred_interval'])}.",
            estimate=auc["preferred"],
            interval=auc["preferred_interval"],
            better="lower",
            basis=basis,
        )
    single = auc.get("single_draw")
    if single:
        yield from _single_auc(single, basis)


def _single_auc(single: Mapping[str, Any], basis: Mapping[str, Any]) -> Iterator[MetricRow]:
    """Yield what the judge says of completions that no detector chose."""
    for name, key, interval in (
        ("AUC of single draws", "auc", "interval"),
        ("real preferred to single draws", "preferred", "preferred_interval"),
    ):
        if single[key] is not None:
            value = with_interval(single[key], single[interval], 3)
            meaning = f"Without the detector's choice, the judge {_tells(single[key], single[interval])}."
            yield MetricRow(
                name, value, SINGLE, "note", meaning, single[key], single[interval], "lower", basis
            )


def _tells(value: float, interval: Sequence[float] | None) -> str:
    """Return in words whether the judge tells completions from real sprites."""
    words = "prefers completions", "sees no difference", "sees a difference"
    return _side(value, interval, 0.5, *words)


def _sliced(scorecard: Mapping[str, Any]) -> Iterator[MetricRow]:
    """Yield the distance of the completions from the truth in the judge's features."""
    sliced, name = scorecard["sliced"], "distance in the judge's features"
    if "not_computed" in sliced:
        yield MetricRow(name, MISSING)
        return
    halves = sliced["halves_of_real"]
    times = f", {sliced['distance'] / halves:.1f} times that of two halves of the real sprites"
    basis = _basis(scorecard, judge=scorecard["judge"].get("fingerprint"))
    yield MetricRow(
        name,
        with_interval(sliced["distance"], sliced["interval"], 2),
        f"halves of the real sprites: {number(halves, 2)}",
        meaning=f"As a set, the completions are {sliced['distance']:.2f} away from the truth"
        f"{times if halves > 0 else ''}.",
        estimate=sliced["distance"],
        interval=sliced["interval"],
        better="lower",
        basis=basis,
    )
    if "single_draw" in sliced:
        single = sliced["single_draw"]
        yield MetricRow("", with_interval(single["distance"], single["interval"], 2), SINGLE, "note")


def _references(metric: Mapping[str, Any], digits: int) -> str:
    """Return the values of noise, splices and the homework's sample."""
    return ", ".join(f"{name} {number(value, digits)}" for name, value in metric["references"].items())


def _plain_metrics(scorecard: Mapping[str, Any]) -> Iterator[MetricRow]:
    """Yield the metrics that need neither Inception nor the judge."""
    nll, accuracy = scorecard["nll"], scorecard["pixel_accuracy"]
    basis = _basis(scorecard, truth=scorecard.get("truth"))
    likely = equal = ""
    if nll is not None:
        likely = f"The geometric mean of the true pixels' probabilities is {100 * math.exp(-nll):.0f} %."
    if accuracy is not None:
        equal = (
            f"{100 * accuracy:.0f} of 100 completed pixels are exactly as in the truth. A prompt has many "
            "good completions, so this need not be high."
        )
    yield MetricRow(
        NLL,
        with_interval(nll, scorecard["nll_interval"], 4),
        meaning=likely,
        estimate=nll,
        interval=scorecard["nll_interval"],
        better="lower",
        basis=basis,
    )
    yield MetricRow(
        ACCURACY,
        with_interval(accuracy, scorecard["pixel_accuracy_interval"], 3),
        meaning=equal,
        estimate=accuracy,
        interval=scorecard["pixel_accuracy_interval"],
        basis=basis,
    )
    yield _nearest(scorecard)
    yield MetricRow("", "", "training sprites in any orientation and any hue", "note")
    for key, label, fewer, as_many, more in (
        (
            "diversity",
            "diversity: share of pixels that differ between two completions",
            "Completions differ less from each other than real sprites do",
            "Completions differ from each other as much as real sprites do",
            "Completions differ more from each other than real sprites do",
        ),
        (
            "new_colours",
            NEW_COLOURS,
            "Completions add fewer colours than real sprites do",
            "Completions add as many colours as real sprites do",
            "Completions add more colours than real sprites do",
        ),
    ):
        metric = scorecard[key]
        mean, interval, real = metric["completions"], metric["completions_interval"], metric["real"]
        words = fewer, as_many, more
        yield MetricRow(
            label,
            with_interval(mean, interval, 3),
            _real(metric),
            meaning=f"{_against_real(mean, interval, real, metric['real_interval'], words)}.",
            estimate=mean,
            interval=interval,
            basis=basis,
        )


def _nearest(scorecard: Mapping[str, Any]) -> MetricRow:
    """Return the memorisation check."""
    metric = scorecard["nearest_training_completion"]
    differs = metric["p_value"] < SIGNIFICANT if "p_value" in metric else False
    nearer = metric["completions"] < metric["real"]
    meaning = "Completions are as far from the training sprites as real sprites are: nothing looks memorised."
    if differs and nearer:
        meaning = (
            "Completions are nearer to training sprites than real sprites are. Either shapes are simpler, or "
            "some are memorised: look at the nearest training sprites."
        )
    elif differs:
        meaning = "Completions are farther from training sprites than real sprites are: none is a copy."
    reference = _real(metric)
    if "p_value" in metric:
        reference += f"; {_difference(metric['p_value'])}"
    return MetricRow(
        "memorisation check: share of pixels that differ from the nearest training sprite",
        with_interval(metric["completions"], metric["completions_interval"], 3),
        reference,
        meaning=meaning,
        estimate=metric["completions"],
        interval=metric["completions_interval"],
        basis=_basis(scorecard),
    )


def _real(metric: Mapping[str, Any]) -> str:
    """Return the same metric of real sprites."""
    return f"real ({metric['real_sprites']}): {with_interval(metric['real'], metric['real_interval'], 3)}"


def _difference(p_value: float) -> str:
    """Return in words whether two distributions differ by the Kolmogorov–Smirnov test."""
    result = "differs" if p_value < SIGNIFICANT else "does not differ significantly"
    return f"{result} from real sprites (KS test, p = {p_value:.2g})"


def _verdicts(verdicts: Mapping[str, Any]) -> Iterator[MetricRow]:
    """Yield for each year and bar of the homework whether it is passed."""
    if "not_judged" in verdicts:
        yield MetricRow("verdict", "none: see below")
        return
    for year, bars in verdicts.items():
        for bar, verdict in bars.items():
            result: Literal["passed", "missed"] = "passed" if verdict["passed"] else "missed"
            reference = f"FID ≤ {verdict['fid_at_most']}, PDR ≥ {verdict['pdr_at_least']}"
            share = verdict["both_halves_pass"]
            if share is not None:
                reference += "; passes on both the public and the private half in "
                reference += f"{100 * share:.0f} % of simulated splits"
            yield MetricRow(f"{bar} bar of {year}", result, reference, result)


def _checkpoint(checkpoint: Mapping[str, Any] | None) -> Iterator[MetricRow]:
    """Yield the checkpoint that made the completions, and what chose it on which split."""
    if checkpoint:
        reason, split = checkpoint.get("chosen_for") or NOTHING, checkpoint.get("chosen_on")
        yield MetricRow("checkpoint", checkpoint.get("folder") or NOTHING, reason)
        if split and f"on {split}" not in reason:
            yield MetricRow("", "", f"chosen on {split}", "note")
