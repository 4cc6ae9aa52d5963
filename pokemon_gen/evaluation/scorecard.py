"""The scorecard: all that is known of a set of completions before it is submitted, and how sure that is.

Two Fréchet distances, never mixed, because at 80 sprites the reference decides:

- *paired*: completions against the true sprites of the same prompts, which share 60 % of their pixels.
  Its ideal is 0, and the homework's FID is of this kind. Beside it, what wrong completions (another
  sprite's) and noise get.
- *unpaired*: against sprites of other prompts, in equal draws, since the distance shrinks as sets grow.
  Its ideal is what real sprites get, which stands beside it.

Intervals of FID are a jackknife's (`jackknife.py`), since a bootstrap's doubles make them too wide; those of
KID, which can leave doubles out, are a bootstrap's percentiles. What cannot be computed says why; no other
number takes its name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pokemon_gen.augmentation import flip_table, hue_shift_table
from pokemon_gen.discriminator.judge import Judge, JudgeResult
from pokemon_gen.discriminator.negatives import noise_completion, splice
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.frechet import GramMatrices
from pokemon_gen.evaluation.inception import Inception
from pokemon_gen.evaluation.jackknife import error_of_draws, error_of_pairs
from pokemon_gen.evaluation.kid import Kernels
from pokemon_gen.evaluation.pixels import (
    mean_pairwise_distance,
    nearest_distances,
    new_colours,
    pixel_accuracy,
)
from pokemon_gen.palette import Palette, to_picture

SCHEMA = 4
"""The scorecard's version; it changes when a field comes in or changes its meaning."""
ROUNDS = 200
"""Resamples of a bootstrap, draws of a reference, random halves."""
SEED = 20251108
"""Of all of these, so that a scorecard comes out the same again."""
HUES = 12
"""Turns of the colour circle in which a training completion is looked for: as many as `strong` learns."""
Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Reference:
    """Sprites that completions are compared with.

    Attributes:
        name: `dev`, `train`, or a file or folder.
        sprites: (M, 400) tokens.
    """

    name: str
    sprites: Tokens


@dataclass(frozen=True)
class ScorecardInputs:
    """All that a scorecard is made of.

    Attributes:
        name: where the completions come from, for errors.
        completions: (N, 400) tokens.
        palette: their colours.
        truth: (N, 400), the true sprites of the same prompts, and whose they are; if known.
        reference: of the unpaired distance.
        dev: real sprites that nothing was trained on, for the figures that stand beside.
        train: for what is remembered, and beside an unpaired distance from dev.
        nll: of the true completions under the model, nats/token; if truth and model are known.
        judge: or the reason why there is none.
        inception: or the reason why there is none.
        cache: the folder of features already computed.
    """

    name: str
    completions: Tokens
    palette: Palette
    truth: Reference | None
    reference: Reference
    dev: Reference
    train: Reference
    nll: float | None
    judge: Judge | str
    inception: Inception | str
    cache: Path


def make_scorecard(
    material: ScorecardInputs, baselines: Mapping[str, Any], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Compute everything.

    Args:
        material: what is compared with what.
        baselines: year → bar → `fid` and `pdr`, as in `eval/baselines.yaml`.
        about: goes into the scorecard as it is: name, sprites, checkpoint, `other_data`.

    Returns:
        The scorecard, plain values all through, ready for JSON.

    Raises:
        PokemonGenError: for fewer than two completions, or features that are not finite.
    """
    if len(material.completions) < 2:
        raise PokemonGenError("a scorecard needs two or more completions")
    verdict = None if isinstance(material.judge, str) else material.judge.verdict(material.completions)
    distances, grams = _distances(material)
    paired = distances["paired"]
    halves = _halves(grams, verdict) if grams else None
    return {
        "schema": SCHEMA,
        **about,
        "n": len(material.completions),
        "truth": material.truth.name if material.truth else None,
        **distances,
        "pdr": _pdr(material, verdict),
        "nll": material.nll,
        "pixel_accuracy": pixel_accuracy(material.completions, material.truth.sprites)
        if material.truth
        else None,
        "nearest_training_completion": _nearest(material),
        "diversity": _beside(material, mean_pairwise_distance),
        "new_colours": _beside(material, new_colours),
        "verdicts": _verdicts(paired.get("fid"), verdict, halves, baselines),
        "warnings": _warnings(paired, verdict, baselines, about),
    }


def _beside(material: ScorecardInputs, figure: Callable[[Tokens], float]) -> dict[str, Any]:
    """Return a figure of the completions and, beside it, of real sprites."""
    real = _real(material)
    return {
        "completions": figure(material.completions),
        "real": figure(real.sprites),
        "real_sprites": real.name,
    }


def _nearest(material: ScorecardInputs) -> dict[str, Any]:
    """Return how far completions are from the nearest of train, beside real sprites: far less is by heart.

    Two means can be alike where a quarter of the completions are train's own and the rest wild, so that the
    distributions are compared (Kolmogorov & Smirnov's two-sample test). It takes both for independent; of the
    same prompts they are not quite, and p is then a little too large.
    """
    real = _real(material)
    both = np.concatenate([material.completions, real.sprites])  # so that train is laid down but once
    nearest = nearest_train_distance(both, material.train.sprites, material.palette)
    completions, of_real = np.split(nearest, [len(material.completions)])
    distances = {"completions": completions, "real": of_real}
    test = stats.ks_2samp(completions, of_real)
    return {
        **{name: float(values.mean()) for name, values in distances.items()},
        "real_sprites": real.name,
        "distances": {name: values.tolist() for name, values in distances.items()},
        "statistic": float(test.statistic),
        "p_value": float(test.pvalue),
    }


def nearest_train_distance(sprites: Tokens, train: Tokens, palette: Palette) -> NDArray[np.float64]:
    """Return how far each completion is from the nearest that a model can have learned from train.

    That is train as it lies, and turned, mirrored and in other hues, as `strong` sees it: a training sprite
    upside down and in blue is by heart too. It is the same for all models, so that they can be compared.

    Args:
        sprites: (N, 400).
        train: (M, 400).
        palette: of both.

    Returns:
        (N,) shares of differing pixels, the least of all eight ways and `HUES` hues.
    """
    small = np.int16  # a palette has 4096 colours at most; a quarter of the memory is read
    sprites, hues = sprites.astype(small), hue_shift_table(palette, HUES).astype(small)
    nearest = np.ones(len(sprites))
    for way in flip_table("all"):
        laid = train[:, way]
        for colours in hues:
            nearest = np.minimum(nearest, nearest_distances(sprites, colours[laid]))
    return nearest


def _real(material: ScorecardInputs) -> Reference:
    """Return the real sprites that stand beside completions: as many, of the same prompts if known."""
    real = material.truth or material.dev
    return Reference(real.name, real.sprites[: len(material.completions)])


def _distances(material: ScorecardInputs) -> tuple[dict[str, Any], GramMatrices | None]:
    """Return both distances, and the inner products that the halves' paired ones are had from."""
    if isinstance(material.inception, str):
        missing = {"not_computed": material.inception}
        return {"paired": missing, "unpaired": missing}, None
    inception = material.inception

    def features(sprites: Reference) -> NDArray[np.float64]:
        pictures = to_picture(sprites.sprites, material.palette)
        return inception.cached_features(pictures, sprites.name, material.cache)

    made, grams = features(Reference(material.name, material.completions)), None
    how = {"protocol": inception.protocol, "weights_sha256": inception.weights_sha256}
    if material.truth is None:
        paired: dict[str, Any] = {"not_computed": "the true sprites of these prompts are not known"}
    else:
        true = features(material.truth)
        grams = GramMatrices.of(made, true)
        paired = how | _paired(made, true, grams, material.truth, len(material.palette), features)
    return {"paired": paired, "unpaired": how | _unpaired(made, material, features)}, grams


def _paired(
    made: NDArray[np.float64],
    true: NDArray[np.float64],
    grams: GramMatrices,
    truth: Reference,
    palette_size: int,
    features: Callable[[Reference], NDArray[np.float64]],
) -> dict[str, Any]:
    generator = np.random.default_rng(SEED)
    beside = {}
    for name, corrupt in (("wrong_completions", splice), ("noise", noise_completion)):
        sprites = corrupt(truth.sprites, palette_size, generator)
        other = features(Reference(f"{truth.name}, {name}", sprites))
        beside[name] = {
            "fid": GramMatrices.of(other, true).frechet_distance(),
            "kid": Kernels.of(other, true).distance(),
        }
    fid, n, kernels = grams.frechet_distance(), len(made), Kernels.of(made, true)
    counts = [_resample(n, generator) for _ in range(ROUNDS)]  # a sprite and its truth together
    return {
        "n": n,
        "reference": truth.name,
        "fid": fid,
        "fid_interval": _interval_around(fid, error_of_pairs(grams, generator)),
        "kid": kernels.distance(),
        "kid_interval": _interval([kernels.paired_distance(c) for c in counts]),
        **beside,
    }


def _unpaired(
    made: NDArray[np.float64], material: ScorecardInputs, features: Callable[[Reference], NDArray[np.float64]]
) -> dict[str, Any]:
    beside = material.train if material.reference.name == material.dev.name else material.dev
    others, real = features(material.reference), features(beside)
    n = min(len(made), len(others), len(real))
    return {
        "n": n,
        "reference": material.reference.name,
        "draws": ROUNDS,
        **_in_equal_draws(made, others, n),
        "real": {"sprites": beside.name, **_in_equal_draws(real, others, n)},
    }


def _in_equal_draws(some: NDArray[np.float64], others: NDArray[np.float64], n: int) -> dict[str, Any]:
    """Return FID between draws of `n` from each, on average, and KID of all; both with intervals."""
    grams, kernels = GramMatrices.of(some, others), Kernels.of(some, others)
    generator = np.random.default_rng(SEED)
    fids, kids = [], []
    for _ in range(ROUNDS):
        rows, columns = (generator.permutation(len(x))[:n] for x in (some, others))
        fids.append(grams.draw(rows, columns).frechet_distance())
        kids.append(kernels.distance(*(_resample(len(x), generator) for x in (some, others))))
    fid = float(np.mean(fids))
    return {
        "fid": fid,
        "fid_interval": _interval_around(fid, error_of_draws(grams, n, generator)),
        "kid": kernels.distance(),
        "kid_interval": _interval(kids),
    }


def _resample(n: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw n of n with replacement, not all the same; return how often each came, (n,)."""
    while True:
        counts = np.bincount(generator.integers(0, n, n), minlength=n)
        if counts.max() < n:
            return counts


def _interval(figures: list[float]) -> list[float]:
    return [float(q) for q in np.quantile(figures, [0.025, 0.975])]


def _interval_around(figure: float, error: float | None) -> list[float] | None:
    """Return a distance's 95 % interval, none without a standard error; no distance is below 0."""
    return None if error is None else [max(0.0, figure - 1.96 * error), figure + 1.96 * error]


def _pdr(material: ScorecardInputs, verdict: JudgeResult | None) -> dict[str, Any]:
    if verdict is None or isinstance(material.judge, str):
        return {"not_computed": str(material.judge)}
    real = material.judge.verdict(material.dev.sprites)
    return {
        "rate": verdict.rate,
        "interval": [verdict.low, verdict.high],
        "mean_probability": verdict.mean_probability,
        "judge": verdict.judge,
        "real": {"sprites": material.dev.name, "rate": real.rate, "interval": [real.low, real.high]},
    }


def _halves(grams: GramMatrices, verdict: JudgeResult | None) -> list[tuple[float, float]] | None:
    """Return the worse FID and the worse rate of both halves, for random halves of the sprites."""
    if verdict is None or len(verdict.passed) < 4:  # a half of one sprite has no distance
        return None
    n = len(verdict.passed)
    generator = np.random.default_rng(SEED)
    worst = []
    for _ in range(ROUNDS):
        halves = np.array_split(generator.permutation(n), 2)
        fid = max(grams.draw(half, half).frechet_distance() for half in halves)
        worst.append((fid, float(min(verdict.passed[half].mean() for half in halves))))
    return worst


def _verdicts(
    fid: float | None,
    verdict: JudgeResult | None,
    halves: list[tuple[float, float]] | None,
    baselines: Mapping[str, Any],
) -> dict[str, Any]:
    """Return for each year and bar whether both figures pass, and how often both halves do."""
    if fid is None or verdict is None:
        missing = "paired FID" if fid is None else "PDR"
        return {"not_judged": f"a bar is passed by FID and PDR at once, and there is no {missing}"}
    return {
        year: {
            bar: {
                "fid_at_most": limits["fid"],
                "pdr_at_least": limits["pdr"],
                "passed": fid <= limits["fid"] and verdict.rate >= limits["pdr"],
                "both_halves_pass": _share_passing(halves, limits) if halves else None,
            }
            for bar, limits in bars.items()
        }
        for year, bars in baselines.items()
    }


def _share_passing(halves: list[tuple[float, float]], limits: Mapping[str, float]) -> float:
    return float(np.mean([fid <= limits["fid"] and rate >= limits["pdr"] for fid, rate in halves]))


def _warnings(
    paired: Mapping[str, Any],
    verdict: JudgeResult | None,
    baselines: Mapping[str, Any],
    about: Mapping[str, Any],
) -> list[str]:
    found = []
    if about.get("other_data"):
        found.append("other data: not allowed by the homework")
    for year, bars in baselines.items():
        for bar, limits in bars.items():
            if paired.get("fid_interval") and _crosses(paired["fid_interval"], limits["fid"]):
                found.append(f"FID: the interval crosses the {bar} bar of {year}, {limits['fid']}")
            if verdict and _crosses([verdict.low, verdict.high], limits["pdr"]):
                found.append(f"PDR: the interval crosses the {bar} bar of {year}, {limits['pdr']}")
    return found


def _crosses(interval: list[float], bar: float) -> bool:
    return interval[0] <= bar <= interval[1]
