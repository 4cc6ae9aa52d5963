"""`metrics.py`: FID, KID and the scorecard of arrays, and of folders of images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.frechet import frechet_distance
from pokemon_gen.evaluation.inception import Inception
from pokemon_gen.evaluation.kid import Kernels
from pokemon_gen.evaluation.metrics import fid, kid, score_arrays
from pokemon_gen.palette import Palette
from pokemon_gen.report.tables import scorecard_table
from pokemon_gen.sprites.loading import Sprites
from tests.evaluation.builders import FixedRateJudge
from tests.model_builders import Projection


def save_images(pictures: np.ndarray, folder: Path) -> Path:
    """Write images as PNGs with an opaque alpha channel."""
    folder.mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).convert("RGBA").save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def inception(state: dict[str, Any]) -> Inception:
    return Inception(state, "seeded", "pytorch-fid")


def test_distances_of_arrays_and_folders_are_those_of_their_features(
    inception: Inception, pictures: np.ndarray, tmp_path: Path
) -> None:
    a, b = pictures[:2], pictures[2:4]
    features = inception.features(a, "a"), inception.features(b, "b")
    assert kid(a, b, inception=inception) == pytest.approx(Kernels.of(*features).distance(), rel=1e-5)
    folder = save_images(b, tmp_path / "images")
    assert fid(a, folder, inception=inception) == pytest.approx(frechet_distance(*features), rel=1e-5)


def test_a_reversed_array_and_a_folder_name_are_sets_of_images(pictures: np.ndarray, tmp_path: Path) -> None:
    folder = save_images(pictures, tmp_path / "images")
    network = Projection()
    assert fid(pictures[::-1], str(folder), inception=network) == pytest.approx(0, abs=1e-6)
    assert kid(folder, pictures[::-1], inception=network) < 0  # an unbiased estimate of 0 with shared samples


def test_transparent_pixels_become_white(tmp_path: Path) -> None:
    white = np.full((2, 20, 20, 3), 255, dtype=np.uint8)
    (tmp_path / "images").mkdir()
    for number in range(2):
        Image.new("RGBA", (20, 20), (9, 9, 9, 0)).save(tmp_path / "images" / f"{number}.png")
    assert fid(tmp_path / "images", white, inception=Projection()) == pytest.approx(0, abs=1e-9)


def test_the_weights_are_loaded_if_no_network_is_given(
    pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Inception, "load", Projection)
    assert fid(pictures, pictures) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("images", "facts"),
    [
        (np.zeros((4, 20, 20), dtype=np.uint8), ["a: ", "(4, 20, 20)", "(N, H, W, 3)"]),
        (np.zeros((4, 3, 20, 20), dtype=np.uint8), ["a: ", "(4, 3, 20, 20)"]),
        (np.zeros((4, 20, 20, 3)), ["a: ", "float64", "uint8"]),
        (np.zeros((1, 20, 20, 3), dtype=np.uint8), ["a: ", "two or more", "1"]),
    ],
)
def test_an_array_that_is_not_a_set_of_images_is_refused(images: np.ndarray, facts: list[str]) -> None:
    with pytest.raises(PokemonGenError) as caught:
        fid(images, np.zeros((4, 20, 20, 3), dtype=np.uint8), inception=Projection())
    assert all(fact in str(caught.value) for fact in facts)


def test_bad_folders_of_images_are_refused_by_name(pictures: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(PokemonGenError, match="nowhere"):
        kid(pictures, tmp_path / "nowhere", inception=Projection())
    folder = save_images(pictures, tmp_path / "images")
    Image.new("RGB", (30, 20)).save(folder / "9.png")
    with pytest.raises(PokemonGenError, match=r"9\.png: 30x20 .*20x20"):
        kid(pictures, folder, inception=Projection())
    (folder / "9.png").write_text("not an image")
    with pytest.raises(PokemonGenError, match=r"9\.png"):
        kid(pictures, folder, inception=Projection())


def test_arrays_have_a_scorecard(procedural: Sprites) -> None:
    truth, train, palette = procedural.tokens("dev")[:8], procedural.tokens("train")[:40], procedural.palette
    completions = truth.copy()
    completions[:, 240:] = 5
    bare = score_arrays(completions, truth, train, palette)
    assert "no Inception network" in bare["paired"]["not_computed"]
    assert "no judge" in bare["pdr"]["not_computed"]
    assert bare["nll"] is None
    assert bare["nearest_training_completion"]["real_sprites"] == "truth"
    scorecard = score_arrays(completions, truth, train, palette, FixedRateJudge(0.5, palette), Projection())
    assert scorecard["paired"]["fid"] > 0
    assert (scorecard["unpaired"]["reference"], scorecard["unpaired"]["real"]["sprites"]) == (
        "train",
        "truth",
    )
    assert scorecard["pdr"]["rate"] == 0.5
    assert scorecard_table(scorecard).row_count > 5


def test_arrays_that_do_not_fit_together_are_refused(procedural: Sprites) -> None:
    truth, train, palette = procedural.tokens("dev")[:4], procedural.tokens("train")[:4], procedural.palette
    other_colours = Palette(np.arange(30).reshape(10, 3))
    for completions, expected, facts in (
        (truth[:3], truth, ["completions", "3", "4"]),
        (truth[::-1], truth, ["completions[0]", "240", "order"]),
        (truth[:, :240], truth, ["completions", "(4, 240)", "400"]),
        (truth + 0.5, truth, ["completions", "float64"]),
        (np.where(truth == 0, 200, truth), truth, ["completions", "200", "166"]),
        (truth[:1], truth[:1], ["completions", "two or more", "1"]),
    ):
        with pytest.raises(PokemonGenError) as caught:
            score_arrays(completions, expected, train, palette)
        assert all(fact in str(caught.value) for fact in facts)
    with pytest.raises(PokemonGenError, match=r"judge fixed-rate: .*palette"):
        score_arrays(truth, truth, train, palette, FixedRateJudge(0.5, other_colours))
