"""The scorecard: everything that is known about a set of completions before it is submitted.

It collects the distances (`distances.py`), the metrics of the judge, the likelihood, the pixel metrics and
the memorisation check, and decides whether the homework's bars are passed. The judge gives the detection rate
(PDR), as the homework counts it, and the AUC of real sprites against completions, which still shows
differences where nearly everything passes. Each value is reported with its interval or with the same value of
real sprites, because a value alone says little with 80 sprites. If a value cannot be computed, the scorecard
gives the reason and puts no other value in its place; with a judge that failed its examination, it gives no
verdict.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.constants import MEASURING_SEED
from pokemon_gen.discriminator.judge import Judge, JudgeResult
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.distances import (
    ROUNDS,
    FeatureExtractor,
    Reference,
    Tokens,
    paired_distances,
    paired_grams,
    unpaired_distances,
)
from pokemon_gen.evaluation.frechet import GramMatrices
from pokemon_gen.evaluation.inception import Inception
from pokemon_gen.evaluation.jackknife import (
    error_of_mean,
    error_of_pairwise_mean,
    mean_with_interval,
    mean_with_reference,
)
from pokemon_gen.evaluation.memorisation import memorisation_check
from pokemon_gen.evaluation.pixels import accuracies, distances_to_others, new_colour_counts
from pokemon_gen.evaluation.sliced import sliced_distance
from pokemon_gen.palette import Palette
from pokemon_gen.sprites.folds import copies_of

Values = NDArray[np.float64]
UNKNOWN_TRUTH = "the true sprites of these prompts are unknown"
"""Why a paired value is missing."""
SCHEMA = 8
"""The version of the scorecard's format. It changes when a field is added or changes its meaning."""


@dataclass(frozen=True)
class ScorecardInputs:
    """The inputs of a scorecard.

    Attributes:
        name: the source of the completions, for errors.
        completions: (N, 400) tokens.
        palette: the colours of all sprites.
        truth: the (N, 400) true sprites of the same prompts in the same order; None if they are unknown.
        reference: the sprites that the unpaired distance is measured from.
        dev: real sprites that no model was trained on; the completions' values are compared with theirs.
        train: the training sprites, for the memorisation check. They also replace dev as the real sprites of
            the unpaired distance if dev is its reference.
        nll: (N,) the mean NLL of each true completion under the model, nats/token; None if the model or the
            truth is unknown.
        judge: the judge, or the reason why it is missing.
        inception: the network, or the reason why it is missing.
        cache: the folder of features that are already computed.
        single_draw: (N, 400) completions of the same prompts, one draw each. If a detector chose
            `completions` as the best of several candidates, they show the detection rate without that
            choice.
        unknown_prompts: the rows of the completions whose prompts are not those of the source.
        shared_with_judge: what the detector that chose the completions has in common with the judge.
    """

    name: str
    completions: Tokens
    palette: Palette
    truth: Reference | None
    reference: Reference
    dev: Reference
    train: Reference
    nll: Values | None
    judge: Judge | str
    inception: Inception | str
    cache: Path
    single_draw: Tokens | None = None
    unknown_prompts: Sequence[int] = ()
    shared_with_judge: Sequence[str] = ()


def make_scorecard(
    inputs: ScorecardInputs, baselines: Mapping[str, Any], metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """Compute a scorecard.

    Args:
        inputs: the completions, the sprites to compare them with, and the networks.
        baselines: year → bar → `fid` and `pdr`, as in `eval/baselines.yaml`.
        metadata: entries that are copied into the scorecard: name, sprites, checkpoint, `other_data`. If
            `checkpoint` has an entry `chosen_on`, it names the split that the checkpoint was chosen on.

    Returns:
        The scorecard as plain values, ready for JSON.

    Raises:
        PokemonGenError: for fewer than two completions, or features that are not finite.
    """
    if len(inputs.completions) < 2:
        raise PokemonGenError(
            f"{inputs.name}: a scorecard needs two or more completions, not {len(inputs.completions)}"
        )
    result = None if isinstance(inputs.judge, str) else inputs.judge.evaluate(inputs.completions)
    paired, unpaired, grams = _distances(inputs)
    truth = inputs.truth
    return {
        "schema": SCHEMA,
        **metadata,
        "n": len(inputs.completions),
        "truth": truth.name if truth else None,
        "paired": paired,
        "unpaired": unpaired,
        "judge": _judge(inputs),
        "pdr": _detection_rate(inputs, result),
        "auc": _auc(inputs),
        "sliced": _sliced(inputs),
        **_mean("nll", inputs.nll),
        **_mean("pixel_accuracy", accuracies(inputs.completions, truth.sprites) if truth else None),
        "nearest_training_completion": _memorisation(inputs),
        "diversity": _with_reference(inputs, distances_to_others, error_of_pairwise_mean),
        "new_colours": _with_reference(inputs, new_colour_counts, error_of_mean),
        "verdicts": _verdicts(inputs, paired.get("fid"), result, grams, baselines),
        "warnings": _warnings(inputs, paired, result, baselines, metadata),
    }


def _distances(inputs: ScorecardInputs) -> tuple[dict[str, Any], dict[str, Any], GramMatrices | None]:
    """Return the paired and the unpaired distances, and the inner products of the paired features."""
    if isinstance(inputs.inception, str):
        missing = {"not_computed": inputs.inception}
        return missing, missing, None
    extract = FeatureExtractor(inputs.inception, inputs.palette, inputs.cache)
    completions = Reference(inputs.name, inputs.completions)
    real = inputs.train if inputs.reference.name == inputs.dev.name else inputs.dev
    unpaired = unpaired_distances(completions, inputs.reference, real, extract)
    if inputs.truth is None:
        return {"not_computed": UNKNOWN_TRUTH}, unpaired, None
    paired = paired_distances(completions, inputs.truth, extract)
    return paired, unpaired, paired_grams(completions, inputs.truth, extract)


def _judge(inputs: ScorecardInputs) -> dict[str, Any]:
    """Return which judge was used, why it cannot be relied on, and what it cannot tell."""
    judge = inputs.judge
    if isinstance(judge, str):
        return {"missing": judge}
    return {
        "fingerprint": judge.fingerprint,
        "kind": judge.kind,
        "failures": judge.failures,
        "limits": judge.limits,
    }


def _auc(inputs: ScorecardInputs) -> dict[str, Any]:
    """Return how well the judge tells the completions, and single draws, from real sprites."""
    judge = inputs.judge
    if isinstance(judge, str):
        return {"not_computed": judge}
    real, paired = inputs.truth or inputs.dev, inputs.truth is not None
    found: dict[str, Any] = {
        **asdict(judge.compare(inputs.completions, real.sprites, paired)),
        "real_sprites": real.name,
        "references": judge.references("auc"),
    }
    if inputs.single_draw is not None:
        found["single_draw"] = asdict(judge.compare(inputs.single_draw, real.sprites, paired))
    return found


def _sliced(inputs: ScorecardInputs) -> dict[str, Any]:
    """Return the distance of the completions, and of single draws, from the truth in the judge's features."""
    judge, truth = inputs.judge, inputs.truth
    if isinstance(judge, str):
        return {"not_computed": judge}
    if truth is None:
        return {"not_computed": UNKNOWN_TRUTH}
    real = judge.features(truth.sprites)
    distance = sliced_distance(judge.features(inputs.completions), real)
    found: dict[str, Any] = {**asdict(distance), "truth": truth.name}
    if inputs.single_draw is not None:
        found["single_draw"] = asdict(sliced_distance(judge.features(inputs.single_draw), real))
    return found


def _detection_rate(inputs: ScorecardInputs, result: JudgeResult | None) -> dict[str, Any]:
    """Return the detection rate of the completions, of real sprites and of single draws."""
    if result is None or isinstance(inputs.judge, str):
        return {"not_computed": str(inputs.judge)}
    real = inputs.judge.evaluate(inputs.dev.sprites)
    rate = {
        "rate": result.rate,
        "interval": [result.low, result.high],
        "mean_probability": result.mean_probability,
        "judge": result.judge,
        "real": {"sprites": inputs.dev.name, "rate": real.rate, "interval": [real.low, real.high]},
        "references": inputs.judge.references("passing"),
    }
    if inputs.single_draw is not None:
        single = inputs.judge.evaluate(inputs.single_draw)
        rate["single_draw"] = {"rate": single.rate, "interval": [single.low, single.high]}
    return rate


def _real_sprites(inputs: ScorecardInputs) -> Reference:
    """Return as many real sprites as completions, of the same prompts if they are known."""
    real = inputs.truth or inputs.dev
    return Reference(real.name, real.sprites[: len(inputs.completions)])


def _memorisation(inputs: ScorecardInputs) -> dict[str, Any]:
    """Return the memorisation check, which compares the completions with real sprites."""
    real = _real_sprites(inputs)
    check = memorisation_check(inputs.completions, real.sprites, inputs.train.sprites, inputs.palette)
    return {**check, "real_sprites": real.name}


def _mean(name: str, values: Values | None) -> dict[str, Any]:
    """Return the mean of a value of each completion and its 95 % interval, None if they are unknown."""
    if values is None:
        return {name: None, f"{name}_interval": None}
    return mean_with_interval(name, values)


def _with_reference(
    inputs: ScorecardInputs,
    metric: Callable[[Tokens], Values],
    error: Callable[[Values], float | None],
) -> dict[str, Any]:
    """Return the mean of a metric over the completions and over real sprites, with 95 % intervals."""
    real = _real_sprites(inputs)
    found = mean_with_reference(metric(inputs.completions), metric(real.sprites), error)
    return {**found, "real_sprites": real.name}


def _verdicts(
    inputs: ScorecardInputs,
    fid: float | None,
    result: JudgeResult | None,
    grams: GramMatrices | None,
    baselines: Mapping[str, Any],
) -> dict[str, Any]:
    """Return for each year and bar whether FID and PDR pass it, and how often both do in two random halves.

    The homework's leaderboard scores a public and a private half of the completions.
    """
    if fid is None or result is None:
        missing = [name for name, value in (("paired FID", fid), ("PDR", result)) if value is None]
        verb = "is" if len(missing) == 1 else "are"
        return {"not_judged": f"it needs paired FID and PDR, and {' and '.join(missing)} {verb} missing"}
    if not isinstance(inputs.judge, str) and inputs.judge.failures:
        return {"not_judged": "the judge cannot be relied on"}
    halves = _worse_halves(grams, result) if grams else None
    return {
        year: {
            bar: {
                "fid_at_most": limits["fid"],
                "pdr_at_least": limits["pdr"],
                "passed": fid <= limits["fid"] and result.rate >= limits["pdr"],
                "both_halves_pass": _share_passing(halves, limits) if halves else None,
            }
            for bar, limits in bars.items()
        }
        for year, bars in baselines.items()
    }


def _worse_halves(grams: GramMatrices, result: JudgeResult) -> list[tuple[float, float]] | None:
    """Return the worse FID and the worse rate of the two halves, for random splits into halves."""
    n = len(result.passed)
    if n < 4:  # a half of one sprite has no distance
        return None
    generator = np.random.default_rng(MEASURING_SEED)
    worse = []
    for _ in range(ROUNDS):
        halves = np.array_split(generator.permutation(n), 2)
        fid = max(grams.draw(half, half).frechet_distance() for half in halves)
        worse.append((fid, float(min(result.passed[half].mean() for half in halves))))
    return worse


def _share_passing(halves: list[tuple[float, float]], limits: Mapping[str, float]) -> float:
    """Return the share of random splits of which both halves pass a bar."""
    return float(np.mean([fid <= limits["fid"] and rate >= limits["pdr"] for fid, rate in halves]))


def _warnings(
    inputs: ScorecardInputs,
    paired: Mapping[str, Any],
    result: JudgeResult | None,
    baselines: Mapping[str, Any],
    metadata: Mapping[str, Any],
) -> list[str]:
    """Return what makes the completions invalid, the values optimistic or the verdicts uncertain."""
    warnings = []
    judge, truth = inputs.judge, inputs.truth
    if truth and not isinstance(judge, str) and judge.has_learned(truth.name, inputs.train.sprites):
        warnings.append(
            f"the judge has learned the true sprites ({truth.name}), so its AUC and its distance are too high"
        )
    if truth and truth.name != "train":
        copies = copies_of(truth.sprites, inputs.train.sprites)
        if len(copies):
            warnings.append(
                f"{len(copies)} of {len(truth.sprites)} true sprites (first: sprite {copies[0] + 1}) are "
                "equal, mirrored or recoloured training sprites, so the values are optimistic"
            )
    if inputs.shared_with_judge:
        warnings.append(
            f"the detector that made a choice has the judge's {' and '.join(inputs.shared_with_judge)}"
            ", so the judge's values are optimistic"
        )
    if inputs.unknown_prompts:
        count, first = len(inputs.unknown_prompts), inputs.unknown_prompts[0] + 1
        warnings.append(
            f"{count} of {len(inputs.completions)} prompts (first: sprite {first}) are not in this source, "
            "so all completions are compared with real sprites of other prompts"
        )
    if metadata.get("other_data"):
        warnings.append("trained on other data, which the homework does not allow")
    chosen_on = (metadata.get("checkpoint") or {}).get("chosen_on")
    if inputs.truth and chosen_on == inputs.truth.name:
        warnings.append(f"chosen on {chosen_on}, scored on {chosen_on}: the values are optimistic")
    for year, bars in baselines.items():
        for bar, limits in bars.items():
            if paired.get("fid_interval") and _contains(paired["fid_interval"], limits["fid"]):
                warnings.append(f"FID: the 95 % interval contains the {bar} bar of {year}, {limits['fid']}")
            if result and _contains([result.low, result.high], limits["pdr"]):
                warnings.append(f"PDR: the 95 % interval contains the {bar} bar of {year}, {limits['pdr']}")
    return warnings


def _contains(interval: list[float], value: float) -> bool:
    return interval[0] <= value <= interval[1]
