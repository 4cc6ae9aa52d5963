"""What a model's vectors of colours say: are similar colours similar, and do places of one colour differ?

A model reads tokens, and no RGB value reaches it. If its token embeddings of similar colours are similar, it
has learned that from where colours occur. Deeper states also depend on the context: one black may outline a
body or be an eye. These functions take arrays, so they serve every architecture and every layer.
"""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_samples

from pokemon_gen.constants import BACKGROUND, LENGTH, MEASURING_SEED, SIDE
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.interpret.pixel_groups import is_outline
from pokemon_gen.palette import oklab

Floats = NDArray[np.float64]
Method = Literal["pca", "tsne"]
PLACES = ("background", "outline", "eye", "shadow", "inside")
"""The places of a pixel that `place_labels` tells apart."""
DARKER = 0.05
"""A shadow is darker than the mean of its sprite's inside by this OKLab lightness (black 0, white 1).
Neighbouring shades of a procedural body differ by about twice as much."""
PERMUTATIONS = 999
"""Random permutations of a Mantel test: the smallest p value is 0.001."""
RESAMPLES = 500
"""Resamples of a bootstrap."""
_FEWEST = 4
"""The fewest vectors of a projection: fewer have no neighbours to preserve."""
_PERPLEXITY = 30.0
"""The perplexity of t-SNE, the number of neighbours that count: scikit-learn's default."""
_EACH_PLACE = 400
"""The most vectors of each place in a silhouette, which compares all pairs."""
_AROUND = [(-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)]
"""Steps (rows, columns) to the eight pixels around a pixel."""


def project(vectors: NDArray[Any], method: Method, seed: int) -> Floats:
    """Project vectors onto a plane, to draw them; (V, D) → (V, 2).

    Distances of `pca` are those of the vectors, as far as two dimensions show them. `tsne` keeps neighbours
    together (van der Maaten and Hinton 2008, "Visualizing Data using t-SNE"); sizes of its clusters and
    distances between them mean nothing. Equal arguments give equal results on one machine.

    Args:
        vectors: (V, D), at least four vectors of two dimensions.
        method: `pca` or `tsne`.
        seed: of t-SNE's optimizer; PCA draws nothing.

    Raises:
        PokemonGenError: for too few vectors or dimensions, or an unknown method.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) < _FEWEST or vectors.shape[1] < 2:
        raise PokemonGenError(
            f"vectors of shape {vectors.shape}: they have no projection. Pass at least {_FEWEST} vectors of "
            "at least 2 dimensions."
        )
    if method not in get_args(Method):
        raise PokemonGenError(f"method {method!r}: unknown. Choose one of {', '.join(get_args(Method))}.")
    if method == "pca":
        plane: Floats = PCA(2, svd_solver="full").fit_transform(vectors)
    else:
        # scikit-learn wants fewer neighbours than vectors; van der Maaten's code wants a third of them.
        perplexity = min(_PERPLEXITY, (len(vectors) - 1) / 3)
        tsne = TSNE(init="pca", perplexity=perplexity, random_state=seed)
        plane = tsne.fit_transform(vectors).astype(np.float64)
    return plane


def explained_variance(vectors: NDArray[Any]) -> Floats:
    """Return the share of the variance along each principal component, falling; (V, D) → (min(V, D),)."""
    shares: Floats = (
        PCA(svd_solver="full").fit(np.asarray(vectors, dtype=np.float64)).explained_variance_ratio_
    )
    return shares


class DistanceCorrelation(NamedTuple):
    """How far distances between embeddings rank the pairs of colours as the eye does.

    Attributes:
        spearman: Spearman's correlation of the two distances over all pairs of used colours.
        interval: its 95 % interval, the percentiles of a bootstrap of colours.
        p: the one-sided p value of a Mantel test.
    """

    spearman: float
    interval: tuple[float, float]
    p: float


def oklab_distance_correlation(
    embeddings: NDArray[Any], rgb: NDArray[Any], used: NDArray[np.bool_]
) -> DistanceCorrelation:
    """Correlate the cosine distances of token embeddings with the OKLab distances of their colours.

    Pairs that share a colour depend on each other, so neither the interval nor the p value treats pairs as
    independent. The bootstrap draws colours, and leaves out pairs of a colour with itself. The test permutes
    the colours of one distance matrix (Mantel 1967, "The detection of disease clustering and a generalized
    regression approach").

    Args:
        embeddings: (V, D) one vector per token.
        rgb: (V, 3) bytes, the palette.
        used: (V,) which colours count. Leave out those of no training sprite: their embeddings are random.

    Raises:
        PokemonGenError: for fewer than four used colours, or for an embedding that is zero.
    """
    tokens = np.flatnonzero(used)
    if len(tokens) < _FEWEST:
        raise PokemonGenError(
            f"used: {len(tokens)} colours have too few pairs for a correlation. Pass at least {_FEWEST}."
        )
    by_embedding = 1 - _cosine_similarities(embeddings, tokens)
    lab = oklab(np.asarray(rgb)[tokens])
    by_eye = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    generator = np.random.default_rng(MEASURING_SEED)
    first, second = np.triu_indices(len(tokens), k=1)
    x, y = by_embedding[first, second], by_eye[first, second]
    return DistanceCorrelation(
        spearman=float(spearmanr(x, y).statistic),
        interval=_bootstrap_interval(by_embedding, by_eye, generator),
        p=_mantel_p(by_embedding, by_eye, generator),
    )


def _mantel_p(x: Floats, y: Floats, generator: np.random.Generator) -> float:
    """Return the share of permutations of x's colours that correlate with y at least as much; (U, U) each."""
    first, second = np.triu_indices(len(x), k=1)
    ranks = np.zeros_like(x)
    ranks[first, second] = rankdata(x[first, second])
    ranks += ranks.T  # a permutation moves ranks and changes none, so they are ranked once
    y_ranks = rankdata(y[first, second])
    y_ranks -= y_ranks.mean()

    def covariance(order: NDArray[np.int64]) -> float:
        return float(ranks[order[first], order[second]] @ y_ranks)

    observed = covariance(np.arange(len(x)))
    as_large = sum(covariance(generator.permutation(len(x))) >= observed for _ in range(PERMUTATIONS))
    return (1 + as_large) / (1 + PERMUTATIONS)


def _bootstrap_interval(x: Floats, y: Floats, generator: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % percentiles of Spearman's correlation over resampled colours; (U, U) each."""
    first, second = np.triu_indices(len(x), k=1)
    found = []
    for _ in range(RESAMPLES):
        drawn = generator.integers(len(x), size=len(x))
        a, b = drawn[first], drawn[second]
        different = a != b
        if len(np.unique(drawn)) >= _FEWEST:
            pairs = a[different], b[different]
            found.append(float(spearmanr(x[pairs], y[pairs]).statistic))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


class Neighbours(NamedTuple):
    """The colours whose embeddings are nearest to that of each used colour.

    Attributes:
        tokens: (U,) the used colours.
        nearest: (U, count) tokens of the others, the nearest first.
        similarities: (U, count) their cosine similarities, falling.
    """

    tokens: NDArray[np.int64]
    nearest: NDArray[np.int64]
    similarities: Floats


def nearest_colours(embeddings: NDArray[Any], used: NDArray[np.bool_], count: int = 3) -> Neighbours:
    """Return the used colours that are nearest to each used colour by the cosine of their embeddings.

    Args:
        embeddings: (V, D) one vector per token.
        used: (V,) which colours count; see `oklab_distance_correlation`.
        count: neighbours of each colour.

    Raises:
        PokemonGenError: if fewer than `count` + 1 colours are used, or for an embedding that is zero.
    """
    tokens = np.flatnonzero(used)
    if len(tokens) <= count:
        raise PokemonGenError(
            f"used: {len(tokens)} colours do not have {count} neighbours each. Pass more, or a smaller count."
        )
    similarities = _cosine_similarities(embeddings, tokens)
    np.fill_diagonal(similarities, -np.inf)  # no colour is its own neighbour
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :count]
    return Neighbours(tokens, tokens[order], np.take_along_axis(similarities, order, axis=1))


def _cosine_similarities(embeddings: NDArray[Any], tokens: NDArray[np.int64]) -> Floats:
    """Return the cosine similarities of the embeddings of U tokens, (U, U)."""
    vectors = np.asarray(embeddings, dtype=np.float64)[tokens]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not lengths.all():
        zero = tokens[int(lengths.argmin())]
        raise PokemonGenError(f"embeddings: that of token {zero} is zero and has no direction. Leave it out.")
    vectors /= lengths
    similarities: Floats = vectors @ vectors.T
    return similarities


class Contextual(NamedTuple):
    """The states of one token in different places.

    Attributes:
        vectors: (K, D).
        where: (K, 3) the sprite, row and column of each.
    """

    vectors: NDArray[Any]
    where: NDArray[np.int64]


def contextual(hidden: NDArray[Any], tokens: NDArray[Any], token: int) -> Contextual:
    """Return the states at all positions that hold one token.

    The state at a position of a causal model has read the pixels above and to the left of it, and its own.
    It can know the pixels below only by what the others suggest.

    Args:
        hidden: (N, T, D) states of one layer; drop those of conditioning tokens.
        tokens: (N, T) the tokens that the model has read, row by row; T is at most 400.
        token: the colour.

    Raises:
        PokemonGenError: if the shapes do not fit each other.
    """
    if hidden.shape[:2] != tokens.shape or tokens.shape[1] > LENGTH:
        raise PokemonGenError(
            f"states of shape {hidden.shape} and tokens of shape {tokens.shape}: they do not match. "
            f"Pass (N, T, D) and (N, T) with T up to {LENGTH}, without conditioning tokens."
        )
    sprites, positions = np.nonzero(tokens == token)
    rows, columns = np.divmod(positions, SIDE)
    return Contextual(hidden[sprites, positions], np.stack([sprites, rows, columns], axis=1))


def place_labels(sprites: NDArray[Any], lightness: Floats) -> NDArray[np.str_]:
    """Label the place of each pixel, one of `PLACES`; (N, 400) → (N, 400).

    `lightness` is that of each token, (V,), `Palette.lab[:, 0]`.

    - `background`: the background's token.
    - `outline`: the group of this name in `pixel_groups`.
    - `eye`: an island of one or two pixels of one colour, neither of which is outline. No pixel of the same
      colour is among the eight around each, so pupils, glints and lone spots are islands, and lines are not.
    - `shadow`: another pixel that is darker than the mean of the other pixels of its sprite, by `DARKER`. One
      colour can be the shadow of a pale body and the main colour of a dark one.
    - `inside`: every other pixel.
    """
    pictures = np.asarray(sprites).reshape(-1, SIDE, SIDE).astype(np.int64)
    is_body = pictures != BACKGROUND
    outline = is_outline(sprites).reshape(-1, SIDE, SIDE)
    same = np.array([_moved(pictures, step, -1) == pictures for step in _AROUND])  # (8, N, 20, 20)
    count = same.sum(0)
    # In an island of two, each pixel is the only equal neighbour of the other.
    partner_fits = [_moved((count == 1) & ~outline, step, False) for step in _AROUND]
    is_pair = (count == 1) & (same & partner_fits).any(0)
    is_eye = is_body & ~outline & ((count == 0) | is_pair)
    rest = is_body & ~outline & ~is_eye
    shade = np.asarray(lightness)[pictures]
    mean = (shade * rest).sum((1, 2)) / np.maximum(rest.sum((1, 2)), 1)
    is_shadow = rest & (shade < mean[:, None, None] - DARKER)
    labels = np.select([~is_body, outline, is_eye, is_shadow], PLACES[:4], PLACES[4])
    return labels.reshape(-1, LENGTH)


def _moved(pictures: NDArray[Any], step: tuple[int, int], frame: int) -> NDArray[Any]:
    """Return the value of each pixel's neighbour, (N, 20, 20); neighbours outside have the value `frame`."""
    padded = np.pad(pictures, [(0, 0), (1, 1), (1, 1)], constant_values=frame)
    row, column = step[0] + 1, step[1] + 1
    return padded[:, row : row + SIDE, column : column + SIDE]


class Separation(NamedTuple):
    """How well a layer's states of one token fall into clusters by place.

    Attributes:
        silhouette: between -1 and 1: 1 if places are compact and far apart, about 0 if they overlap.
        shuffled: the same with the labels shuffled, what chance gives.
    """

    silhouette: float
    shuffled: float


def separation_by_layer(
    layers: Iterable[NDArray[Any]], sprites: NDArray[Any], token: int, places: NDArray[np.str_]
) -> list[Separation]:
    """Measure in each layer how far a model tells apart the places of one colour.

    The silhouette (Rousseeuw 1987, "Silhouettes: a graphical aid to the interpretation and validation of
    cluster analysis") uses the cosine distance, because the length of states grows with depth. Every place
    counts the same, however many pixels it has. Compare layers with each other and with `shuffled`: places
    can overlap and still be separable by a linear probe.

    Args:
        layers: for each layer its states, (N, 400, D), as `contextual`.
        sprites: (N, 400) tokens.
        token: the colour, such as black.
        places: of each pixel, (N, 400), by `place_labels`.

    Raises:
        PokemonGenError: if the colour does not occur twice in two of the places.
    """
    labels_of_all = places[sprites == token]
    generator = np.random.default_rng(MEASURING_SEED)
    chosen = _sample(labels_of_all, generator)
    labels = labels_of_all[chosen]
    if len(np.unique(labels)) < 2:
        raise PokemonGenError(
            f"token {token}: it does not occur twice in two of {', '.join(PLACES)}. Choose another colour "
            "or pass more sprites."
        )
    shuffled = generator.permutation(labels)
    found = []
    for hidden in layers:
        vectors = contextual(hidden, sprites, token).vectors[chosen]
        found.append(Separation(_silhouette(vectors, labels), _silhouette(vectors, shuffled)))
    return found


def _sample(labels: NDArray[np.str_], generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw at most `_EACH_PLACE` rows of each place that occurs at least twice; (K,) → (S,)."""
    rows_of_place = [np.flatnonzero(labels == place) for place in PLACES]
    drawn = [generator.permutation(rows)[:_EACH_PLACE] for rows in rows_of_place if len(rows) > 1]
    return np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, dtype=np.int64)


def _silhouette(vectors: NDArray[Any], labels: NDArray[np.str_]) -> float:
    """Return the mean over the labels of their mean silhouette."""
    if (vectors == vectors[0]).all():
        return 0.0  # without position embeddings, nothing tells places apart before the first layer
    scores = silhouette_samples(vectors.astype(np.float64), labels, metric="cosine")
    return float(np.mean([scores[labels == label].mean() for label in np.unique(labels)]))
