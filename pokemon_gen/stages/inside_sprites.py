"""The inside of a model of sprites: what each part of the page shows, computed on dev sprites.

Conditioning tokens precede the pixels of models that were trained with augmentation, so that position
skip + p holds pixel p. Rows, columns, layers and heads are counted from 1 in words, and from 0 in arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from pokemon_gen.augmentation import flip_table, identity_tokens, prepend_identity
from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.constants import BACKGROUND, LENGTH, MEASURING_SEED, PROMPT_LENGTH, SIDE
from pokemon_gen.interpret.ablation import AblationRow, ablate
from pokemon_gen.interpret.activations import add_to_stream, read_activations
from pokemon_gen.interpret.attention import (
    SPREAD,
    NamedHead,
    entropy,
    mean_by_offset,
    name_heads,
    rollout,
    sprite_targets,
)
from pokemon_gen.interpret.embeddings import (
    PLACES,
    DistanceCorrelation,
    contextual,
    nearest_colours,
    oklab_distance_correlation,
    place_labels,
    project,
    separation_by_layer,
)
from pokemon_gen.interpret.features import compare
from pokemon_gen.interpret.lens import LayerPredictions, decision_layer, logit_lens
from pokemon_gen.interpret.pixel_groups import pixel_groups
from pokemon_gen.palette import Palette
from pokemon_gen.report.inside import Block, Scatter, Section, SpriteAttention, Table, Tiles
from pokemon_gen.report.inside_pictures import (
    Point,
    Tile,
    attention_pixels,
    heat_pixels,
    pale_sprite,
    sprite_pixels,
)
from pokemon_gen.stages.inside_parts import (
    RARE,
    TOP_COUNT,
    Features,
    ablation_arrays,
    ablation_table,
    activations_by_layer,
    affordable,
    compared_table,
    density_rows,
    depth_name,
    feature_quality,
    head_name,
    heads_table,
    lens_table,
    percent,
    projections,
    titled,
    train_features,
)

FEW, MOST_DEV, MOST_TRAIN, ABLATED = 16, 80, 160, 24
"""The most sprites whose attention and predictions are read, whose states are read, that the autoencoder
learns from, and on which parts are switched off."""
ROWS_UP = 10
"""Rows of keys above a query that a picture of offsets shows."""
MOST_POINTS = 800
"""The most states of one colour in a scatter plot."""
STEERED, STRENGTHS = 4, (0.5, 1.0)
"""Features that steer a completion, and their strengths as multiples of their largest activation on dev.
Twice that activation fills a completion with one colour."""
FOLLOWED = 4
"""Features whose activation on the inspected sprite is shown after every layer."""
PLACE_COLOURS = ((150, 155, 165), (47, 109, 181), (224, 123, 31), (126, 70, 160), (73, 140, 74))
"""Colours of `PLACES` in a scatter plot."""


@dataclass(frozen=True)
class SpriteView:
    """What is inspected.

    Attributes:
        model: of sprites, in eval mode.
        palette: of its tokens.
        train: (N, 400) training sprites.
        dev: (N, 400) dev sprites.
        number: the inspected dev sprite, counted from 1.
        pixel: the pixel whose attention is shown first, 0 to 399.
        layer: the layer whose output is split into features, counted from 1.
        token: the colour whose states are compared; None chooses one.
        steps: of the autoencoder's training.
        shown: the most features that are shown.
    """

    model: PreTrainedModel
    palette: Palette
    train: NDArray[np.int64]
    dev: NDArray[np.int64]
    number: int
    pixel: int
    layer: int
    token: int | None
    steps: int
    shown: int

    @property
    def sprite(self) -> NDArray[np.int64]:
        """The inspected sprite, (400,)."""
        return self.dev[self.number - 1]

    @property
    def skip(self) -> int:
        """The number of conditioning tokens."""
        return len(identity_tokens(self.model))

    @property
    def first(self) -> int:
        """The first pixel whose state counts: without conditioning tokens, heads use pixel 0 as an anchor."""
        return 0 if self.skip else 1

    @cached_property
    def dev_shown(self) -> NDArray[np.int64]:
        """The dev sprites whose states are read, (N, 400), of which the first is the inspected one."""
        others = np.delete(self.dev, self.number - 1, axis=0)[: MOST_DEV - 1]
        return np.concatenate([self.sprite[None], others])

    @property
    def few(self) -> NDArray[np.int64]:
        """The first few of them, (N, 400), for what takes more time or memory."""
        return self.dev_shown[:FEW]

    @cached_property
    def places(self) -> NDArray[np.str_]:
        """The place of each pixel of `dev_shown`, (N, 400)."""
        return place_labels(self.dev_shown, self.palette.lab[:, 0])

    @cached_property
    def dev_states(self) -> NDArray[np.float32]:
        """The residual stream of `dev_shown`, (L + 1, N, 400, D)."""
        return self.states(self.dev_shown)

    def tokens(self, sprites: NDArray[np.int64]) -> Tensor:
        """Return what the model reads, (N, skip + 400)."""
        return prepend_identity(self.model, torch.from_numpy(sprites).to(self.model.device))

    def states(self, sprites: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the residual stream at the pixels of sprites, (L + 1, N, 400, D)."""
        return read_activations(self.model, self.tokens(sprites)).hidden[:, :, self.skip :]


def body_pixel(sprite: NDArray[np.int64]) -> int:
    """Return the body's pixel nearest to the middle of the completion's first row, or that without a body."""
    middle = np.array([PROMPT_LENGTH // SIDE, SIDE // 2])
    body = np.flatnonzero(sprite != BACKGROUND)
    if not len(body):
        return int(middle[0] * SIDE + middle[1])
    rows, columns = np.divmod(body, SIDE)
    distances = (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2
    return int(body[distances.argmin()])


def attention_section(view: SpriteView) -> Section:
    """Return where each head looks."""
    few = view.few[: affordable(view.model, view.skip + LENGTH, FEW)]
    attentions = read_activations(view.model, view.tokens(few), attentions=True).attentions
    assert attentions is not None
    ink = pixel_groups(few, view.palette)["ink"]
    named = name_heads(attentions, sprite_targets(few, ink, view.skip))
    nats, shares = (measured.mean(1) for measured in entropy(attentions))  # (L, H)
    flow = rollout(attentions[:, :1])[:, 0]  # (L, T, T)
    offsets = np.stack([mean_by_offset(layer.mean(0), SIDE, view.skip) for layer in attentions])
    return titled(
        "attention",
        [
            _attention_view(view, attentions[:, 0], flow, named),
            _offset_tiles(named, offsets, len(few)),
            heads_table(named, shares),
        ],
        {
            "attention": attentions[:, 0],
            "rollout": flow.astype(np.float32),
            "mean_by_offset": offsets,
            "entropy_nats": nats,
            "entropy_share": shares,
            **_named_arrays(named),
        },
    )


def _named_arrays(named: Sequence[NamedHead]) -> dict[str, NDArray[Any]]:
    """Return the names of the heads as arrays, the largest lift first."""
    return {
        "named_layer": np.array([head.layer for head in named]),
        "named_head": np.array([head.head for head in named]),
        "named_name": np.array([head.name for head in named]),
        "named_lift": np.array([head.lift for head in named]),
        "target": np.array(list(named[0].shares)),
        "named_share": np.array([list(head.shares.values()) for head in named]),
    }


def _attention_view(
    view: SpriteView, attention: NDArray[np.float32], flow: NDArray[np.float64], named: Sequence[NamedHead]
) -> SpriteAttention:
    """Return the maps of all heads (L, H, T, T) and of the rollout (L, T, T), layer by layer."""
    names = {(head.layer, head.head): head.name for head in named}
    pale = pale_sprite(view.sprite, view.palette)
    rows = np.concatenate([attention, flow[:, None].astype(np.float32)], axis=1)  # (L, H + 1, T, T)
    layers, each = rows.shape[:2]
    tiles = []
    for layer, head in np.ndindex(layers, each):
        weights = rows[layer, head, view.skip + view.pixel]  # (T,)
        on_grid = weights[view.skip : view.skip + view.pixel + 1]
        is_head = head < each - 1
        name = (
            f"{head_name(layer, head)}\n{names[layer, head]}"
            if is_head
            else f"rollout\nup to layer {layer + 1}"
        )
        most = percent(on_grid.max())
        apart = f"\nconditioning {percent(weights[: view.skip].sum())}" if view.skip else ""
        words = f"Most attention, {most}, on {_place(int(on_grid.argmax()))}"
        tiles.append(Tile(attention_pixels(on_grid, pale), f"{name}\nmost {most}{apart}", words, view.pixel))
    not_drawn = " The share of the conditioning tokens is written below each map." if view.skip else ""
    note = (
        "Click a pixel of the sprite, or use the arrow keys. Each map shows where a head looks once the "
        "model has read that pixel and is about to paint the next one: the redder, the more, relative to "
        "the largest share in the map. Grey pixels are not read yet. The rollout follows the attention of "
        f"all heads through the layers, half of it through the residual stream.{not_drawn}"
    )
    return SpriteAttention(
        "pixel",
        f"Where each head looks, dev sprite {view.number}",
        note,
        Tile(sprite_pixels(view.sprite, view.palette), f"dev sprite {view.number}", "the sprite", view.pixel),
        tiles,
        rows.reshape(layers * each, *rows.shape[2:]),
        view.skip,
        pale,
        view.pixel,
        each,
    )


def _offset_tiles(named: Sequence[NamedHead], offsets: NDArray[np.float64], sprites: int) -> Tiles:
    """Draw the mean attention by offset, (L, H, rows, 39), of every head, clear targets first."""
    tiles = []
    for head in named:
        shown = offsets[head.layer, head.head, :ROWS_UP]
        up, column = np.unravel_index(int(np.nanargmax(shown)), shown.shape)
        largest = float(np.nanmax(shown))
        where = _offset(int(up), int(column) - SIDE + 1)
        tiles.append(
            Tile(
                heat_pixels(shown[::-1], largest),
                f"{head_name(head.layer, head.head)}: {head.name}\nhere most, {percent(largest)}, on {where}",
                f"{head_name(head.layer, head.head)} looks at {head.name}: in these {ROWS_UP} rows "
                f"most, {percent(largest)}, on {where}",
                (ROWS_UP - 1) * (2 * SIDE - 1) + SIDE - 1,
            )
        )
    clear = sum(head.name != SPREAD for head in named)
    note = (
        f"The mean over {sprites} dev sprites, at offsets of up to {ROWS_UP - 1} rows: pixels further up are "
        "not shown. The framed pixel is the one that looks; a dark pixel above it is looked at often. "
        f"{clear} of {len(named)} heads have a clear target; those come first. Offsets that do not exist are "
        "grey."
    )
    top = f"the head's largest share in these {ROWS_UP} rows"
    return Tiles("offsets", "Mean attention by offset", note, tiles, 5, 4, top=top)


def _offset(up: int, right: int) -> str:
    """Return an offset in words."""
    parts = [f"{up} up"] if up else []
    parts += [f"{abs(right)} {'right' if right > 0 else 'left'}"] if right else []
    return " and ".join(parts) or "itself"


def _place(pixel: int) -> str:
    return f"row {pixel // SIDE + 1}, column {pixel % SIDE + 1}"


def embedding_section(view: SpriteView) -> Section:
    """Return what the vectors of colours say."""
    vectors = view.model.get_input_embeddings().weight.detach().float().cpu().numpy()[: len(view.palette)]
    counts = np.bincount(view.train.ravel(), minlength=len(view.palette))
    used = counts > 0
    tokens = np.flatnonzero(used)
    points = [
        Point(0, 0, _rgb(view.palette, token), f"token {token}, {_hex(view.palette, token)}")
        for token in tokens.tolist()
    ]
    plots, planes = projections(vectors[tokens], points, "the token embeddings", MEASURING_SEED)
    found = oklab_distance_correlation(vectors, view.palette.rgb, used)
    neighbours = nearest_colours(vectors, used)
    blocks: list[Block] = [*plots, _oklab_table(found, len(tokens), len(view.palette))]
    arrays: dict[str, NDArray[Any]] = {
        "tokens": tokens, "embeddings": vectors, **planes,
        "nearest": neighbours.nearest, "nearest_similarity": neighbours.similarities,
        "oklab_correlation": np.array([found.spearman, *found.interval, found.p]),
    }  # fmt: skip
    token = _colour_in_places(view) if view.token is None else view.token
    if token is not None:
        scatter, layers, more = _contextual(view, token)
        blocks += [scatter, layers]
        arrays |= more
    return titled("embeddings", blocks, arrays)


def _oklab_table(found: DistanceCorrelation, used: int, colours: int) -> Table:
    """Return how far similar colours have similar embeddings."""
    low, high = found.interval
    rows = [
        ("Spearman's correlation", f"{found.spearman:.3f}"),
        ("95 % interval (bootstrap of colours)", f"{low:.3f} to {high:.3f}"),
        ("p (Mantel test, one-sided)", f"{found.p:.3f}"),
        ("colours of train", f"{used} of {colours}"),
    ]
    relation = "have no clear relation"
    if low > 0 or high < 0:
        relation = "rise together" if low > 0 else "run against each other"
    note = (
        "The rank correlation over all pairs of colours between the cosine distance of their embeddings and "
        "their OKLab distance, which is that of the eye. 0 means no relation, and 1 the same order. Here the "
        f"two {relation}: {found.spearman:.2f} ({low:.2f} to {high:.2f})."
    )
    return Table("oklab", "Are similar colours similar?", note, ["Measure", "Value"], rows)


def _colour_in_places(view: SpriteView) -> int | None:
    """Return the body's most frequent colour that occurs twice in at least two places, or None."""
    labels = view.places
    counts = np.bincount(view.dev_shown[view.dev_shown != BACKGROUND], minlength=len(view.palette))
    for token in np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]:
        _, often = np.unique(labels[view.dev_shown == token], return_counts=True)
        if (often > 1).sum() > 1:
            return int(token)
    return None


def _contextual(view: SpriteView, token: int) -> tuple[Scatter, Table, dict[str, NDArray[Any]]]:
    """Return the states of one colour in different places, and how well each layer tells the places apart."""
    layers = view.dev_states
    separation = separation_by_layer(layers, view.dev_shown, token, view.places)
    states = contextual(layers[view.layer], view.dev_shown, token)
    drawn = np.random.default_rng(MEASURING_SEED).permutation(len(states.vectors))[:MOST_POINTS]
    labels = view.places[view.dev_shown == token][drawn]
    plane = project(states.vectors[drawn], "pca", MEASURING_SEED)
    legend = dict(zip(PLACES, PLACE_COLOURS, strict=True))
    points = [
        Point(float(x), float(y), legend[label], f"{label}, row {row + 1}, column {column + 1}")
        for (x, y), label, (_, row, column) in zip(
            plane, labels.tolist(), states.where[drawn].tolist(), strict=True
        )
    ]
    best = int(np.argmax([one.silhouette for one in separation]))
    counted = {place: int((labels == place).sum()) for place in PLACES}
    scatter = Scatter(
        "contextual",
        f"One colour in different places: token {token}, {_hex(view.palette, token)}",
        f"PCA of the states after layer {view.layer} at {len(drawn)} pixels of this colour; the colour of a "
        "point is the place of its pixel. An eye is an island of one or two pixels, and a shadow is darker "
        "than the mean of its sprite's inside.",
        points,
        [(f"{place} ({counted[place]})", colour) for place, colour in legend.items() if counted[place]],
    )
    table = Table(
        "places",
        "How well each layer tells the places apart",
        "Silhouette of the places by the cosine distance of the states: 1 if they are far apart, about 0 "
        f"if they overlap. It is largest after {depth_name(best)}: {separation[best].silhouette:.3f}, and "
        f"{separation[best].shuffled:.3f} with shuffled places.",
        ["After", "Silhouette", "With shuffled places"],
        [(depth_name(n), f"{one.silhouette:.3f}", f"{one.shuffled:.3f}") for n, one in enumerate(separation)],
    )
    arrays = {
        "contextual_token": np.array(token), "contextual_pca": plane, "contextual_place": labels,
        "contextual_where": states.where[drawn], "silhouette": np.array(separation),
    }  # fmt: skip
    return scatter, table, arrays


def _rgb(palette: Palette, token: int) -> tuple[int, int, int]:
    red, green, blue = palette.rgb[token].tolist()
    return red, green, blue


def _hex(palette: Palette, token: int) -> str:
    return "#" + palette.rgb[token].tobytes().hex()


def lens_section(view: SpriteView) -> Section:
    """Return what each layer would paint, and where the decision falls."""
    found = logit_lens(view.model, view.tokens(view.few))
    counting = slice(view.skip, view.skip + LENGTH - 1)  # they predict pixels 1 to 399
    lens = LayerPredictions(
        found.predicted[:, :, counting], found.nll[:, :, counting], found.final_probability[:, :, counting]
    )
    decided = decision_layer(lens.predicted)  # (N, 399)
    painted = [np.concatenate([view.sprite[:1], predicted]) for predicted in lens.predicted[:, 0]]
    return titled(
        "lens",
        [
            _painted_tiles(view, painted, lens.nll[:, 0].mean(-1)),
            _decision_tiles(view, decided, len(painted) - 1),
            lens_table(lens, decided, f"{len(view.few)} dev sprites"),
        ],
        {
            "painted": np.stack(painted),
            "predicted": lens.predicted,
            "decided": decided,
            "nll": lens.nll,
            "final_probability": lens.final_probability,
        },
    )


def _painted_tiles(view: SpriteView, painted: Sequence[NDArray[np.int64]], nll: NDArray[np.float32]) -> Tiles:
    """Return the sprite that each layer would paint, (400,) tokens, with its mean NLL, (L + 1,)."""
    tiles = [
        Tile(
            sprite_pixels(sprite, view.palette),
            f"after {depth_name(depth)}\n{nll[depth]:.2f} nats/token",
            f"what the model would paint after {depth_name(depth)}",
        )
        for depth, sprite in enumerate(painted)
    ]
    tiles.append(Tile(sprite_pixels(view.sprite, view.palette), "the true sprite", "the true sprite"))
    grey = " Grey pixels are predictions of a conditioning token." if view.skip else ""
    note = (
        "Each pixel is the most probable one after the true pixels before it, if the model stopped after "
        f"that layer. The first pixel is given. Early layers were never trained to be read this way.{grey}"
    )
    return Tiles("painted", "What each layer would paint", note, tiles, 6, len(tiles))


def _decision_tiles(view: SpriteView, decided: NDArray[np.int64], layers: int) -> Tiles:
    """Draw the layer that decides each pixel of the sprite, the first of the few sprites; (N, 399)."""
    by_group = {
        name: float(decided[mask[:, 1:]].mean())
        for name, mask in pixel_groups(view.few, view.palette).items()
        if mask[:, 1:].any()
    }
    latest, earliest = max(by_group, key=by_group.__getitem__), min(by_group, key=by_group.__getitem__)
    note = (
        "The first layer from which on the prediction does not change, by pixel: light for an early "
        f"decision, dark for the last layer. In the mean over {len(view.few)} dev sprites, pixels of the "
        f"group {latest} are decided last (layer {by_group[latest]:.2f}) and those of {earliest} first "
        f"(layer {by_group[earliest]:.2f})."
    )
    pixels = heat_pixels(np.concatenate([[np.nan], decided[0]]).reshape(SIDE, SIDE), layers)
    mean = f"mean layer {decided[0].mean():.2f}"
    tiles = [
        Tile(pixels, mean, f"the layer that decides each pixel, {mean}"),
        Tile(sprite_pixels(view.sprite, view.palette), f"dev sprite {view.number}", "the sprite"),
    ]
    return Tiles("decided", "Where the decision falls", note, tiles, 8, 2, top=f"layer {layers}")


def feature_section(view: SpriteView) -> tuple[Section, Features]:
    """Return the sparse features of a layer, and the autoencoder that found them."""
    generator = np.random.default_rng(MEASURING_SEED)
    learned_from = view.train[np.sort(generator.permutation(len(view.train))[:MOST_TRAIN])]
    learned = _vectors(view, _states_of_layer(view, learned_from))
    held_out = _vectors(view, view.dev_states[view.layer])
    features = train_features(learned, held_out, view.steps, view.shown)
    quality = feature_quality(features, len(learned), len(held_out), view.layer, "pixel")
    top = [_top_tiles(view, features, feature) for feature in features.shown]
    followed, activations = _followed(view, features)
    steered = _steered(view, features)
    blocks: list[Block] = [quality, density_rows(features.report), *top]
    if len(followed):
        blocks.append(_by_layer_tiles(view, followed, activations))
    blocks.append(_compared(view, features))
    if features.shown:
        blocks.append(_steered_tiles(view, features, steered))
    arrays = {
        "shown": np.array(features.shown), "density": features.report.density,
        "top_sprite": features.top.rows // (LENGTH - view.first),
        "top_pixel": _pixels(view, features.top.rows), "top_value": features.top.values,
        "followed": followed, "by_layer": activations, "steered": steered, "dev_sprites": view.dev_shown,
    }  # fmt: skip
    return titled("features", blocks, arrays), features


def _states_of_layer(view: SpriteView, sprites: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the stream after the chosen layer, (N, 400, D); a few sprites at a time bound the memory."""
    parts = [view.states(sprites[start : start + FEW])[view.layer] for start in range(0, len(sprites), FEW)]
    return np.concatenate(parts)


def _vectors(view: SpriteView, states: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the states (N, 400, D) of the pixels that count as vectors, (M, D)."""
    return np.ascontiguousarray(states[:, view.first :].reshape(-1, states.shape[-1]))


def _pixels(view: SpriteView, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pixels of the rows of `_vectors`."""
    return rows % (LENGTH - view.first) + view.first


def _top_tiles(view: SpriteView, features: Features, feature: int) -> Tiles:
    """Return the pixels that excite a feature most, each marked on its sprite."""
    rows, values = features.top.rows[feature], features.top.values[feature]
    numbers, pixels = rows // (LENGTH - view.first), _pixels(view, rows)
    tiles = [
        Tile(
            sprite_pixels(view.dev_shown[number], view.palette),
            f"{value:.1f}",
            f"activation {value:.1f} at {_place(pixel)}",
            pixel,
        )
        for number, pixel, value in zip(numbers.tolist(), pixels.tolist(), values.tolist(), strict=True)
    ]
    sprites, groups = len(set(numbers.tolist())), pixel_groups(view.dev_shown, view.palette)
    common = [
        f"{int(mask[numbers, pixels].sum())} in the group {name}"
        for name, mask in groups.items()
        if mask[numbers, pixels].mean() >= 0.5
    ]
    token, often = max(
        zip(*np.unique(view.dev_shown[numbers, pixels], return_counts=True), strict=True),
        key=lambda one: one[1],
    )
    note = (
        f"Active in {percent(features.report.density[feature], 1)} of the pixels. Of its {len(tiles)} "
        f"strongest pixels, which are framed, {often} have the colour {_hex(view.palette, int(token))}"
        + "".join(f", {words}" for words in common)
        + f"; they are in {sprites} sprite{'s' if sprites > 1 else ''}."
    )
    return Tiles(f"feature-{feature}", f"Feature {feature}", note, tiles, 4, TOP_COUNT // 2)


def _followed(view: SpriteView, features: Features) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the features that are most active in the inspected sprite, and their activations by layer.

    Returns:
        (followed,) rare features that are active in it, by their largest activation after their own layer,
        and their activations after each layer, (L + 1, 400, followed).
    """
    activations = activations_by_layer(features, view.dev_states[:, 0])
    largest = activations[view.layer, view.first :].max(0) * (features.report.density <= RARE)
    followed = np.argsort(-largest, kind="stable")[: min(FOLLOWED, np.count_nonzero(largest))]
    return followed, activations[..., followed]


def _by_layer_tiles(view: SpriteView, followed: NDArray[np.int64], activations: NDArray[np.float32]) -> Tiles:
    """Draw the activations of a few features, (L + 1, 400, followed), by layer and pixel."""
    tiles = []
    for feature, values in zip(followed.tolist(), np.moveaxis(activations, -1, 0), strict=True):
        maps = np.where(np.arange(LENGTH) < view.first, np.nan, values).reshape(-1, SIDE, SIDE)
        top = max(float(np.nanmax(maps)), 1e-9)
        for depth, one in enumerate(maps):
            words = f"feature {feature}\n{depth_name(depth)}: {np.nanmax(one):.1f}"
            tiles.append(Tile(heat_pixels(one, top), words, words.replace("\n", ", largest after ")))
    note = (
        f"The rows are the rare features that are most active in dev sprite {view.number}, the columns "
        "layers, with the largest activation in each picture. The autoencoder learned the stream after "
        f"layer {view.layer}; after other layers it reads the same directions, which may mean something "
        "else there."
    )
    columns = len(activations)
    return Tiles(
        "by-layer", "Activation by layer and by pixel", note, tiles, 5, columns, True,
        "the largest activation of the feature",
    )  # fmt: skip


def _compared(view: SpriteView, features: Features) -> Table:
    """Return the features of the chosen pixel in the sprite and in its mirror image."""
    mirrored = view.sprite[flip_table("mirror")[1]]
    state = view.dev_states[view.layer, 0, view.pixel]
    other = view.states(mirrored[None])[view.layer, 0, view.pixel]
    pairs = compare(features.autoencoder, state, other)
    where = _place(view.pixel)
    return compared_table(pairs, f"the sprite at {where}", f"its mirror image at {where}")


def _steered(view: SpriteView, features: Features) -> NDArray[np.int64]:
    """Complete the sprite's prompt with a few features added: (features, strengths, 400).

    The first row of `strengths` is always the completion without steering.
    """
    prompt = view.sprite[None, :PROMPT_LENGTH]
    plain = complete_prompts(view.model, prompt)[0]
    found = []
    for feature in features.shown[:STEERED]:
        largest = float(features.top.values[feature, 0])
        completions = [plain]
        for strength in STRENGTHS:
            direction = features.autoencoder.decoder[feature]
            with add_to_stream(view.model, view.layer - 1, direction, strength * largest):
                completions.append(complete_prompts(view.model, prompt)[0])
        found.append(np.stack(completions))
    return np.stack(found) if found else np.zeros((0, 1 + len(STRENGTHS), LENGTH), dtype=np.int64)


def _steered_tiles(view: SpriteView, features: Features, steered: NDArray[np.int64]) -> Tiles:
    """Return the steered completions, and how many pixels differ from the one without steering."""
    tiles = []
    for feature, completions in zip(features.shown, steered, strict=False):
        plain = completions[0]
        for strength, sprite in zip((0, *STRENGTHS), completions, strict=True):
            changed = int((sprite != plain).sum())
            words = (
                f"feature {feature} x {strength:g}\n{changed} pixels differ"
                if strength
                else "without steering\n"
            )
            tiles.append(Tile(sprite_pixels(sprite, view.palette), words, words.replace("\n", ", ")))
    lengths = LENGTH - PROMPT_LENGTH
    changes = (steered != steered[:, :1]).sum(2)[:, 1:]
    note = (
        "The first 12 rows are given, and the last 8 are painted greedily while a feature is added to the "
        f"stream after layer {view.layer} at every pixel, {STRENGTHS[0]:g} and {STRENGTHS[1]:g} times as "
        f"strong as its largest activation on dev. Of the {lengths} painted pixels, {changes.min()} to "
        f"{changes.max()} differ."
    )
    return Tiles("steered", "What a feature paints", note, tiles, 6, 1 + len(STRENGTHS), True)


def ablation_section(view: SpriteView) -> tuple[Section, list[AblationRow]]:
    """Return what the predictions lose without each part."""
    sprites = view.dev[:ABLATED]
    groups = {name: mask[:, 1:] for name, mask in pixel_groups(sprites, view.palette).items()}
    rows = ablate(view.model, view.tokens(sprites), groups, view.skip)
    table = ablation_table(rows, f"{len(sprites)} dev sprites")
    return titled("ablation", [table], ablation_arrays(rows)), rows
