"""What the inspections of sprites and of text share: features, ablation, named heads and points."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.interpret.ablation import AblationRow
from pokemon_gen.interpret.activations import decoder_layers, head_count
from pokemon_gen.interpret.attention import NamedHead
from pokemon_gen.interpret.embeddings import explained_variance, project
from pokemon_gen.interpret.features import (
    FeaturePair,
    FeatureReport,
    FeatureSettings,
    SparseAutoencoder,
    TopActivations,
    measure,
    top_activations,
    train_autoencoder,
)
from pokemon_gen.interpret.lens import LayerPredictions
from pokemon_gen.report.inside import Block, Cell, Scatter, Section, Table
from pokemon_gen.report.inside_pictures import Point

TITLES = {
    "attention": "Attention",
    "embeddings": "Embeddings",
    "lens": "Logit lens",
    "features": "Sparse features",
    "ablation": "Ablation",
}
"""Parts of the page, in their order → their titles."""
MOST_WEIGHTS = 2**27
"""The most attention weights that are held at once: 512 MB, which 16 sprites nearly fill in six layers of
eight heads."""
TOP_COUNT = 16
"""The places that excite a feature most, which are shown."""
RARE = 0.1
"""The largest share of places in which a shown feature is active; others describe what is common."""
SHOWN_LIFTS = 3
"""Targets of a head that the table lists."""
FEATURES, ACTIVE, BATCH = 512, 16, 512
"""Size of the autoencoder: half the features, active features and batch of the defaults of `FeatureSettings`,
so that an inspection takes minutes."""
PARTS = {"attention": "attention", "mlp": "MLP", "layer": "all of it"}
"""Parts of a layer → their names for people."""
DEAD_SHARE = 0.25
"""Dead features that revive on the error of a vector, as a share of its width; Gao et al. recommend half."""


@dataclass(frozen=True)
class Features:
    """An autoencoder and what it finds in held-out vectors.

    Attributes:
        autoencoder: the trained one.
        report: how well it describes the vectors.
        top: the vectors that excite each feature most.
        shown: features that are rare and strong, the strongest first.
    """

    autoencoder: SparseAutoencoder
    report: FeatureReport
    top: TopActivations
    shown: list[int]


def percent(share: float, digits: int = 0) -> str:
    """Return a share as a percentage, with a space that does not break a line."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def titled(name: str, blocks: Sequence[Block], arrays: Mapping[str, NDArray[Any]]) -> Section:
    """Return a part of the page."""
    return Section(name, TITLES[name], blocks, arrays)


def missing_section(name: str, reason: PokemonGenError) -> Section:
    """Return a part of the page that does not fit the model, with the reason."""
    return Section(name, TITLES[name], [], {}, str(reason))


def affordable(model: PreTrainedModel, length: int, most: int) -> int:
    """Return the number of sequences, 1 to `most`, whose attention fits `MOST_WEIGHTS`.

    Raises:
        PokemonGenError: as `decoder_layers` and `head_count`.
    """
    weights = len(decoder_layers(model)) * head_count(model) * length**2
    return min(most, max(1, MOST_WEIGHTS // weights))


def require_number(option: str, value: int, first: int, last: int) -> int:
    """Return a number if it is in a range.

    Raises:
        PokemonGenError: naming the option and the range.
    """
    if not first <= value <= last:
        raise PokemonGenError(f"{option}: {value} does not exist. Choose a number from {first} to {last}.")
    return value


def chosen_layer(model: PreTrainedModel, layer: int | None) -> int:
    """Return the layer whose output is split into features, counted from 1; the middle one by default.

    Raises:
        PokemonGenError: for a layer that does not exist.
    """
    layers = len(decoder_layers(model))
    return (layers + 1) // 2 if layer is None else require_number("--layer", layer, 1, layers)


def train_features(
    learned: NDArray[np.float32], held_out: NDArray[np.float32], steps: int, shown: int
) -> Features:
    """Train an autoencoder on vectors (M, D), and choose the features to show by other ones.

    A shown feature is active in at most a tenth of the held-out vectors and in at least `TOP_COUNT` of them.
    Among these, the features with the largest sum of squared activations explain most. Of several that are
    strongest in the same places, only the first is shown.
    """
    dead_active = max(1, int(DEAD_SHARE * learned.shape[1]))
    settings = FeatureSettings(
        features=FEATURES, active=ACTIVE, steps=steps, batch=BATCH, dead_active=dead_active
    )
    autoencoder = train_autoencoder(learned, settings, "train the autoencoder")
    report = measure(autoencoder, held_out)
    with torch.no_grad():
        strength = autoencoder.encode(torch.from_numpy(held_out)).square().sum(0).numpy()
    fits = (report.density <= RARE) & (report.density * len(held_out) >= TOP_COUNT)
    top = top_activations(autoencoder, held_out, TOP_COUNT)
    ranked = [int(feature) for feature in np.argsort(-strength * fits, kind="stable") if fits[feature]]
    return Features(autoencoder, report, top, different_features(ranked, top.rows, shown))


def different_features(ranked: Sequence[int], top: NDArray[np.int64], count: int) -> list[int]:
    """Return the first features that share at most half of their strongest places with any before them.

    Args:
        ranked: features, the strongest first.
        top: (F, places) the strongest places of each feature.
        count: the most features that are returned.
    """
    found: list[int] = []
    for feature in ranked:
        shared = [len(np.intersect1d(top[feature], top[other])) for other in found]
        if max(shared, default=0) <= top.shape[1] / 2:
            found.append(feature)
        if len(found) == count:
            break
    return found


def feature_quality(features: Features, learned: int, held_out: int, layer: int, noun: str) -> Table:
    """Return how well an autoencoder describes a layer, as a table."""
    report, settings = features.report, features.autoencoder.settings
    rows = [
        ("features", f"{settings.features}, at most {settings.active} active in a {noun}"),
        ("trained on", f"{learned:,} {noun}s of train, {settings.steps} steps of {settings.batch}"),
        ("measured on", f"{held_out:,} {noun}s of dev"),
        ("variance explained", percent(report.explained, 1)),
        ("active features", f"{report.active:.1f} in the mean"),
        ("dead features", f"{percent(report.dead, 1)} are active in none of these {noun}s"),
        ("median density", f"{percent(np.median(report.density), 2)} of these {noun}s"),
    ]
    note = (
        f"A TopK autoencoder writes the stream after layer {layer} as a sum of few directions, its features. "
        f"It explains {percent(report.explained)} of the variance of dev."
    )
    return Table("quality", "How well features describe the layer", note, ["Measure", "Value"], rows)


def density_rows(report: FeatureReport) -> Table:
    """Return how many features are active how often."""
    edges = [0, 1e-9, 1e-4, 1e-3, 1e-2, 1e-1, 1.000001]
    names = ["never", "up to 0.01 %", "up to 0.1 %", "up to 1 %", "up to 10 %", "more"]
    counts = np.histogram(report.density, edges)[0]
    rows = [
        (name, f"{count}", percent(count / len(report.density)))
        for name, count in zip(names, counts, strict=True)
    ]
    note = "Each row counts the features that are active in that share of the places."
    return Table("density", "How often features are active", note, ["Active in", "Features", "Share"], rows)


def heads_table(named: Sequence[NamedHead], entropy: NDArray[np.float64]) -> Table:
    """Return the heads with their names, best first; `entropy` is (L, H) as a share of the largest."""
    rows = []
    for head in named:
        shares = sorted(head.shares.items(), key=lambda item: -item[1])[:SHOWN_LIFTS]
        rows.append(
            (
                head_name(head.layer, head.head),
                head.name,
                f"{head.lift:+.2f}",
                f"{entropy[head.layer, head.head]:.2f}",
                ", ".join(f"{name} {percent(share)}" for name, share in shares),
            )
        )
    sharp = min(named, key=lambda head: entropy[head.layer, head.head])
    note = (
        "A head is named after the target that it attends to most in comparison with even attention; the "
        "lift is that difference of shares. Entropy is 0 where one key gets everything and 1 where all get "
        f"the same. The sharpest head is {head_name(sharp.layer, sharp.head)} "
        f"({entropy[sharp.layer, sharp.head]:.2f})."
    )
    columns = ["Head", "Looks at", "Lift", "Entropy", "Largest shares of its attention"]
    return Table("heads", "What each head looks at", note, columns, rows)


def head_name(layer: int, head: int) -> str:
    """Return the name of a head for people, who count from 1."""
    return f"layer {layer + 1}, head {head + 1}"


def part_name(row: AblationRow) -> str:
    """Return the name of an ablated part for people."""
    if row.head is not None:
        return head_name(row.layer, row.head)
    return f"layer {row.layer + 1}, {PARTS[row.what]}"


def depth_name(layers: int) -> str:
    """Return after how many layers the residual stream is read, in words."""
    return f"layer {layers}" if layers else "the embeddings"


def lens_table(lens: LayerPredictions, decided: NDArray[np.int64], sequences: str) -> Table:
    """Return the predictions by layer as a table; `lens` and `decided` have the positions that count."""
    rows = [
        (
            depth_name(depth),
            f"{lens.nll[depth].mean():.3f}",
            percent((predicted == lens.predicted[-1]).mean()),
            f"{lens.final_probability[depth].mean():.2f}",
            percent((decided == depth).mean()),
        )
        for depth, predicted in enumerate(lens.predicted)
    ]
    best = int(np.argmax([(decided == depth).mean() for depth in range(len(rows))]))
    note = (
        f"Over {sequences}. The probability is that of the token which the last layer predicts. The largest "
        f"share of the predictions, {rows[best][-1]}, is decided by {depth_name(best)}."
    )
    columns = ["After", "NLL in nats/token", "Predicts as the last layer", "Probability", "Decided here"]
    return Table("layers", "Predictions by layer", note, columns, rows)


@torch.no_grad()
def activations_by_layer(features: Features, states: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the activations of all features after each layer; (L + 1, T, D) → (L + 1, T, F)."""
    activations = features.autoencoder.encode(torch.from_numpy(states).flatten(0, 1))
    found: NDArray[np.float32] = activations.unflatten(0, states.shape[:2]).numpy()
    return found


def ablation_table(rows: Sequence[AblationRow], sequences: str) -> Table:
    """Return what the predictions lose without each part; the head that helps a group most stands out.

    Groups without positions are left out.
    """
    groups = [name for name, change in rows[0].by_group.items() if np.isfinite(change)]
    heads = [row for row in rows if row.what == "head"]
    most = {name: max(heads, key=lambda row: row.by_group[name]) for name in groups}
    most = {name: row for name, row in most.items() if row.by_group[name] > 0}
    best = max(heads, key=lambda row: row.change)
    cells = [
        (
            part_name(row),
            f"{row.change:+.3f}"
            + (f" ± {1.96 * row.standard_error:.3f}" if np.isfinite(row.standard_error) else ""),
            *(
                Cell(f"{row.by_group[name]:+.3f}") if row is most.get(name) else f"{row.by_group[name]:+.3f}"
                for name in groups
            ),
        )
        for row in rows
    ]
    carried = "; ".join(f"{name}: {part_name(row)} ({row.by_group[name]:+.3f})" for name, row in most.items())
    note = (
        f"Change of the NLL in nats/token on {sequences} when a part is switched off; positive means that "
        "the part helps. "
        + (
            f"The head that helps most is {part_name(best)} ({best.change:+.3f})."
            if best.change > 0
            else "No head helps in the mean."
        )
        + (f" The head that helps most with each group: {carried}." if most else "")
        + " A small change does not prove that a part is idle: another one can do the same."
    )
    columns = ["Switched off", "All tokens (95 % interval)", *groups]
    return Table("table", "What the predictions lose without each part", note, columns, cells)


def ablation_csv(rows: Sequence[AblationRow]) -> str:
    """Return the rows of an ablation as CSV; layers and heads are counted from 0."""
    file = io.StringIO()
    flat = [{**{k: v for k, v in asdict(row).items() if k != "by_group"}, **row.by_group} for row in rows]
    writer = csv.DictWriter(file, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return file.getvalue()


def ablation_arrays(rows: Sequence[AblationRow]) -> dict[str, NDArray[Any]]:
    """Return the changes of the NLL as arrays, in the order of the rows."""
    return {
        "what": np.array([row.what for row in rows]),
        "layer": np.array([row.layer for row in rows]),
        "head": np.array([-1 if row.head is None else row.head for row in rows]),
        "change": np.array([row.change for row in rows]),
        "standard_error": np.array([row.standard_error for row in rows]),
        **{f"change in {name}": np.array([row.by_group[name] for row in rows]) for name in rows[0].by_group},
    }


def compared_table(pairs: Sequence[FeaturePair], first: str, second: str) -> Table:
    """Return the largest activations of two inputs side by side."""
    rows = [(f"feature {pair.feature}", f"{pair.a:.2f}", f"{pair.b:.2f}") for pair in pairs]
    both = sum(pair.a > 0 and pair.b > 0 for pair in pairs)
    note = (
        f"The features with the largest activation in either input; {both} of these {len(pairs)} are active "
        "in both."
    )
    return Table("compared", f"Features of {first} and of {second}", note, ["Feature", first, second], rows)


def projections(
    vectors: NDArray[Any], points: Sequence[Point], what: str, seed: int, legend: Sequence[Any] = ()
) -> tuple[list[Scatter], dict[str, NDArray[Any]]]:
    """Return PCA and t-SNE of vectors (V, D) as scatter plots, with their arrays.

    Args:
        vectors: (V, D).
        points: their colours, words and labels; the places are replaced.
        what: the vectors in words.
        seed: of t-SNE.
        legend: names and colours of groups of points.
    """
    planes = {"pca": project(vectors, "pca", seed), "tsne": project(vectors, "tsne", seed)}
    share = explained_variance(vectors)[:2].sum()
    notes = {
        "pca": f"The two directions of the largest variance show {percent(share)} of it. Near points are "
        "similar as far as these directions tell.",
        "tsne": "Neighbours stay neighbours; sizes of clusters and distances between them mean nothing.",
    }
    titles = {"pca": f"PCA of {what}", "tsne": f"t-SNE of {what}"}
    plots = [
        Scatter(
            name,
            titles[name],
            notes[name],
            [
                Point(float(x), float(y), point.colour, point.words, point.label)
                for point, (x, y) in zip(points, plane, strict=True)
            ],
            legend,
        )
        for name, plane in planes.items()
    ]
    return plots, dict(planes)
