"""`embeddings.py`: known geometry is measured as it was made, and places are those drawn by hand."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from transformers import LlamaConfig, LlamaForCausalLM

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.interpret.embeddings import (
    contextual,
    explained_variance,
    nearest_colours,
    oklab_distance_correlation,
    place_labels,
    project,
    separation_by_layer,
)
from pokemon_gen.palette import oklab

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (30, 3)).astype(np.uint8)
ALL = np.ones(30, dtype=bool)
LETTERS = {".": "background", "o": "outline", "e": "eye", "i": "inside"}


EVEN = np.ones(10)
"""The lightness of colours that cast no shadows."""


def picture(*lines: str) -> np.ndarray:
    """Return a sprite, (1, 400), with digits at its top left corner one pixel from the frame, else 0."""
    pixels = np.zeros((20, 20), dtype=np.int64)
    for row, line in enumerate(lines, start=1):
        pixels[row, 1 : 1 + len(line)] = [int(digit) for digit in line]
    return pixels.reshape(1, 400)


def labels_of(sprite: np.ndarray, rows: int, columns: int) -> list[str]:
    """Return the first letters of the labels of the rows that `picture` drew."""
    letter = {label: letter for letter, label in LETTERS.items()}
    labels = place_labels(sprite, EVEN).reshape(20, 20)[1 : 1 + rows, 1 : 1 + columns]
    return ["".join(letter[label] for label in line) for line in labels]


def test_a_projection_onto_two_components_keeps_distances_in_a_plane() -> None:
    flat = RANDOM.normal(size=(12, 2)) @ RANDOM.normal(size=(2, 7)) + 3
    plane = project(flat, "pca", seed=0)
    before = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    after = np.linalg.norm(plane[:, None] - plane[None], axis=-1)
    assert after == pytest.approx(before)
    assert explained_variance(flat)[:2].sum() == pytest.approx(1)


def test_explained_variance_is_that_of_the_eigenvalues() -> None:
    vectors = RANDOM.normal(size=(50, 4)) * [4, 3, 2, 1]
    eigenvalues = np.linalg.eigvalsh(np.cov(vectors.T))[::-1]
    assert explained_variance(vectors) == pytest.approx(eigenvalues / eigenvalues.sum())


@pytest.mark.parametrize("count", [4, 40])
def test_tsne_is_deterministic_for_few_and_many_vectors(count: int) -> None:
    vectors = RANDOM.normal(size=(count, 8))
    plane = project(vectors, "tsne", seed=1)
    assert plane.shape == (count, 2)
    assert np.isfinite(plane).all()
    assert np.array_equal(plane, project(vectors, "tsne", seed=1))


def test_tsne_keeps_clusters_together() -> None:
    vectors = RANDOM.normal(size=(40, 8)) * 0.01
    vectors[20:] += 10
    plane = project(vectors, "tsne", seed=1)
    distances = np.linalg.norm(plane[:, None] - plane[None], axis=-1) + np.diag(np.full(40, np.inf))
    assert ((distances.argmin(1) < 20) == (np.arange(40) < 20)).all()


@pytest.mark.parametrize(("shape", "method"), [((3, 5), "pca"), ((9, 1), "tsne"), ((9, 5), "umap")])
def test_what_has_no_projection_is_refused(shape: tuple[int, int], method: str) -> None:
    with pytest.raises(PokemonGenError):
        project(np.ones(shape), method, seed=0)  # type: ignore[arg-type]


def test_embeddings_that_follow_colour_correlate_and_random_ones_do_not() -> None:
    lab = oklab(RGB)
    following = np.concatenate([lab - lab.mean(0), np.full((30, 1), 1.0)], axis=1)
    found = oklab_distance_correlation(following, RGB, ALL)
    cosines = [
        1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        for row, a in enumerate(following)
        for b in following[row + 1 :]
    ]
    distances = [np.linalg.norm(a - b) for row, a in enumerate(lab) for b in lab[row + 1 :]]
    assert found.spearman == pytest.approx(spearmanr(cosines, distances).statistic)
    assert found.spearman > 0.9
    assert found.p == pytest.approx(0.001)
    assert found.interval[0] <= found.spearman <= found.interval[1]

    random = oklab_distance_correlation(np.random.default_rng(3).normal(size=(30, 16)), RGB, ALL)
    assert random.p > 0.05
    assert random.interval[0] < 0 < random.interval[1]


def test_mantel_p_values_of_random_embeddings_are_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that took pairs as independent would find far too many small values."""
    monkeypatch.setattr("pokemon_gen.interpret.embeddings.RESAMPLES", 2)  # only p values count here
    random = np.random.default_rng(5)
    p = [oklab_distance_correlation(random.normal(size=(10, 2)), RGB[:10], ALL[:10]).p for _ in range(12)]
    assert min(p) > 0.005
    assert 0.2 < np.mean(p) < 0.8


def test_unused_colours_do_not_count() -> None:
    embeddings = RANDOM.normal(size=(30, 8))
    used = np.arange(30) % 3 > 0
    changed = np.where(used[:, None], embeddings, 0)  # zero vectors would be refused
    assert oklab_distance_correlation(embeddings, RGB, used) == oklab_distance_correlation(changed, RGB, used)
    with pytest.raises(PokemonGenError, match="token 0 "):
        oklab_distance_correlation(changed, RGB, ALL)
    with pytest.raises(PokemonGenError, match="3 colours"):
        oklab_distance_correlation(embeddings, RGB, np.arange(30) < 3)


def test_nearest_colours_are_those_of_the_smallest_angle() -> None:
    angles = np.radians([0, 10, 50, 55, 300])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1) * [[1], [9], [2], [3], [1]]
    used = np.array([True, True, False, True, True])
    found = nearest_colours(embeddings, used, count=2)
    assert found.tokens.tolist() == [0, 1, 3, 4]
    assert found.nearest.tolist() == [[1, 3], [0, 3], [1, 0], [0, 1]]
    assert found.similarities[0] == pytest.approx(np.cos(np.radians([10, 55])))
    with pytest.raises(PokemonGenError, match="4 neighbours"):
        nearest_colours(embeddings, used, count=4)


def test_contextual_states_come_with_their_places() -> None:
    tokens = np.zeros((2, 240), dtype=np.int64)
    tokens[0, 43] = tokens[1, 239] = 7
    hidden = RANDOM.normal(size=(2, 240, 3))
    found = contextual(hidden, tokens, 7)
    assert found.where.tolist() == [[0, 2, 3], [1, 11, 19]]
    assert np.array_equal(found.vectors, [hidden[0, 43], hidden[1, 239]])


@pytest.mark.parametrize("length", [239, 401])
def test_states_of_other_tokens_are_refused(length: int) -> None:
    tokens = np.zeros((2, 401 if length == 401 else 240), dtype=np.int64)
    with pytest.raises(PokemonGenError, match=f"{length}"):
        contextual(np.zeros((2, length, 3)), tokens, 0)


def test_places_are_those_drawn_by_hand() -> None:
    sprite = picture(
        "1111111",
        "1222221",
        "1232421",  # 3 is an eye of one pixel, 4 and the 4 below it one of two
        "1222421",
        "1222221",
        "1155111",  # this 5 and its neighbour border the background
    )
    assert labels_of(sprite, 6, 7) == ["ooooooo", "oiiiiio", "oieieio", "oiiieio", "oiiiiio", "ooooooo"]


def test_islands_that_touch_the_outside_or_have_three_pixels_are_no_eyes() -> None:
    sprite = picture("1111111", "1322231", "1222221", "1222421", "1224221", "1222421", "1111111")
    # The 3s touch nothing but the outline, which is no outside. The 4s touch at their corners.
    assert labels_of(sprite, 7, 7) == ["ooooooo", "oeiiieo", *["oiiiiio"] * 4, "ooooooo"]
    half_outside = picture("11113", "12232", "12222", "12222", "11111")
    assert labels_of(half_outside, 5, 5) == ["ooooo", "oiiio", "oiiio", "oiiio", "ooooo"]


def test_a_shadow_is_darker_than_the_inside_of_its_sprite() -> None:
    lightness = np.array([1, 0.1, 0.6, 0.9, 0.3, 0.55, 0, 0, 0, 0])
    pale = picture("11111", "13321", "13321", "13321", "11111")  # 2 is the shade of 3
    dark = picture("11111", "12241", "12241", "12241", "11111")  # and here the colour of the body
    alike = picture("11111", "12251", "12251", "12251", "11111")  # 5 is hardly darker
    labels = place_labels(np.concatenate([pale, dark, alike]), lightness).reshape(3, 20, 20)[:, 3, 2:5]
    assert labels.tolist() == [
        ["inside", "inside", "shadow"],
        ["inside", "inside", "shadow"],
        ["inside", "inside", "inside"],
    ]


def test_the_frame_is_outline() -> None:
    labels = place_labels(np.full((1, 400), 2), EVEN).reshape(20, 20)
    assert (labels[0] == "outline").all()
    assert (labels[:, -1] == "outline").all()
    assert (labels[1:-1, 1:-1] == "inside").all()


def faces(count: int) -> np.ndarray:
    """Return bodies whose outline and eyes have colour 1, at random rows."""
    return np.concatenate(
        [picture(*[""] * shift, "11111", "12221", "12121", "12221", "11111") for shift in range(count)]
    )


def test_states_that_hold_the_place_are_separated_and_others_are_not() -> None:
    sprites = faces(8)
    is_eye = place_labels(sprites, EVEN) == "eye"
    noise = np.random.default_rng(1).normal(size=(8, 400, 6))
    known = noise.copy()
    known[..., 0] += np.where(is_eye, 50, -50)
    blind, knowing = separation_by_layer([noise, known], sprites, token=1, places=place_labels(sprites, EVEN))
    assert abs(blind.silhouette) < 0.15
    assert knowing.silhouette > 0.9
    assert abs(knowing.shuffled) < 0.3


def test_every_place_counts_the_same_in_a_silhouette() -> None:
    sprites = picture("11111", "11111", "11111", "11111", "11111")  # 16 pixels are outline, 9 inside
    labels = place_labels(sprites, EVEN)
    labels_of_body = labels[sprites == 1]
    hidden = np.random.default_rng(4).normal(size=(1, 400, 3)) + 2 * (labels == "inside")[..., None]
    found = separation_by_layer([hidden], sprites, token=1, places=place_labels(sprites, EVEN))[0].silhouette
    scores = [silhouette_of(hidden[sprites == 1], labels_of_body, place) for place in ("outline", "inside")]
    assert found == pytest.approx(np.mean(scores))


def silhouette_of(vectors: np.ndarray, labels: np.ndarray, place: str) -> float:
    """Return the mean silhouette of the vectors of one place, by its definition."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = 1 - units @ units.T
    own = labels == place
    inner = distances[own][:, own].sum(1) / (own.sum() - 1)
    outer = distances[own][:, ~own].mean(1)
    return float(((outer - inner) / np.maximum(inner, outer)).mean())


def test_a_model_without_positions_tells_nothing_apart_before_its_first_layer() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=400,
    )
    sprites = faces(4)
    with torch.no_grad():
        layers = LlamaForCausalLM(config)(torch.from_numpy(sprites), output_hidden_states=True).hidden_states
    first, second = separation_by_layer(
        [layer.numpy() for layer in layers], sprites, token=1, places=place_labels(sprites, EVEN)
    )
    assert (first.silhouette, first.shuffled) == (0, 0)
    assert second.silhouette != 0


def test_a_colour_in_one_place_only_cannot_be_separated() -> None:
    with pytest.raises(PokemonGenError, match="token 2"):
        separation_by_layer([], faces(3), token=2, places=place_labels(faces(3), EVEN))
