"""FID, KID and the scorecard of arrays, for notebooks and for sprites from other programs.

    from pokemon_gen.evaluation.metrics import fid
    fid(generated, real)  # (N, H, W, 3) uint8 arrays, or paths of folders of images

The stage `score` computes the same from checkpoints, text files and folders.
"""

import tempfile
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.constants import LENGTH, PROMPT_LENGTH
from pokemon_gen.discriminator.judge import Judge
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.distances import Reference
from pokemon_gen.evaluation.frechet import Floats, frechet_distance
from pokemon_gen.evaluation.inception import Inception
from pokemon_gen.evaluation.kid import Kernels
from pokemon_gen.evaluation.scorecard import ScorecardInputs, make_scorecard
from pokemon_gen.palette import Palette
from pokemon_gen.sprites.pictures import find_images, open_picture, upright_rgb

ImageSet: TypeAlias = NDArray[np.uint8] | str | Path
"""A set of images: an (N, H, W, 3) uint8 RGB array, or the path of a folder of images of one size."""


def fid(a: ImageSet, b: ImageSet, *, inception: Inception | None = None) -> float:
    """Return the Fréchet Inception distance between two sets of images (Heusel et al. 2017).

    Two values are comparable only if they have the same Inception weights, the same resizing (`Inception`'s
    protocol), the same reference images and the same number of images: FID is biased upwards for small sets.

    Args:
        a: the images, such as generated ones: an (N, H, W, 3) uint8 RGB array, or the path of a folder of
            images of one size. Transparent pixels of files become white.
        b: the reference images, such as real ones, in the same form. FID is symmetric.
        inception: the network. None calls `Inception.load()`, which may download the weights (96 MB).

    Returns:
        The squared distance, in squared units of the 2048 pool features. 0 is the ideal.

    Raises:
        PokemonGenError: for an array of another shape or type, a folder without images or with images of
            different sizes, a file that is not an image, fewer than two images, or damaged weights.
        WeightsMissingError: if the weights cannot be downloaded.
    """
    return frechet_distance(*_features_of_both(a, b, inception))


def kid(a: ImageSet, b: ImageSet, *, inception: Inception | None = None) -> float:
    """Return the kernel Inception distance between two sets of images (Bińkowski et al. 2018).

    Two values are comparable only if they have the same Inception weights, the same resizing (`Inception`'s
    protocol) and the same reference images. KID has no bias for small sets.

    Args:
        a: the images, such as generated ones: an (N, H, W, 3) uint8 RGB array, or the path of a folder of
            images of one size. Transparent pixels of files become white.
        b: the reference images, such as real ones, in the same form. KID is symmetric.
        inception: the network. None calls `Inception.load()`, which may download the weights (96 MB).

    Returns:
        The squared maximum mean discrepancy of the 2048 pool features with a cubic kernel, without a unit.
        Its expectation is 0 for two sets from one distribution, so it can be negative. Some publications
        multiply it by 1000.

    Raises:
        PokemonGenError: as `fid`.
        WeightsMissingError: if the weights cannot be downloaded.
    """
    return Kernels.of(*_features_of_both(a, b, inception)).distance()


def score_arrays(
    completions: NDArray[Any],
    truth: NDArray[Any],
    train: NDArray[Any],
    palette: Palette,
    judge: Judge | None = None,
    inception: Inception | None = None,
) -> dict[str, Any]:
    """Return the scorecard of completions that are arrays of tokens.

    The paired distance compares the completions with the truth, the unpaired distance with train. The truth
    also serves as the real sprites that the other values are compared with. The scorecard has no likelihood,
    because no model is given, and no verdicts, because no bars are given.

    Args:
        completions: (N, 400) tokens; each row begins with its prompt of 240 tokens.
        truth: (N, 400) tokens, the true sprites of the same prompts in the same order.
        train: (M, 400) tokens, the training sprites.
        palette: the colours of all tokens.
        judge: computes the detection rate. None leaves it out.
        inception: computes FID and KID. None leaves them out; `Inception.load()` loads the network.

    Returns:
        The scorecard, as `make_scorecard` returns it and `scorecard.json` holds it.

    Raises:
        PokemonGenError: for arrays of another shape, tokens that the palette does not have, prompts of the
            completions that differ from the truth's, fewer than two sprites, or a judge with another palette.
    """
    completions, truth, train = (
        _checked_sprites(name, sprites, palette)
        for name, sprites in (("completions", completions), ("truth", truth), ("train", train))
    )
    if len(completions) != len(truth):
        raise PokemonGenError(f"completions: {len(completions)} sprites, but truth has {len(truth)}")
    differing = (completions[:, :PROMPT_LENGTH] != truth[:, :PROMPT_LENGTH]).any(1)
    if differing.any():
        raise PokemonGenError(
            f"completions[{int(differing.argmax())}]: the prompt, its first {PROMPT_LENGTH} tokens, differs "
            "from the prompt of the true sprite. Pass the true sprites in the order of the completions."
        )
    if judge is not None and judge.palette != palette:
        raise PokemonGenError(f"judge {judge.fingerprint}: it was trained with another palette")
    with tempfile.TemporaryDirectory() as cache:
        inputs = ScorecardInputs(
            name="completions",
            completions=completions,
            palette=palette,
            truth=Reference("truth", truth),
            reference=Reference("train", train),
            dev=Reference("truth", truth),
            train=Reference("train", train),
            nll=None,
            judge=judge or "no judge was given",
            inception=inception or "no Inception network was given",
            cache=Path(cache),
        )
        metadata = {"name": "completions", "checkpoint": None, "other_data": False}
        return make_scorecard(inputs, {}, metadata)


def _features_of_both(a: ImageSet, b: ImageSet, inception: Inception | None) -> tuple[Floats, Floats]:
    """Return the features of two sets of images, (N, 2048) and (M, 2048)."""
    # Both sets are checked before the network is loaded, which takes seconds.
    first, second = _checked_images("a", a), _checked_images("b", b)
    network = inception or Inception.load()
    return network.features(first, "a"), network.features(second, "b")


def _checked_images(name: str, images: ImageSet) -> NDArray[np.uint8]:
    """Return a set of images as an (N, H, W, 3) array of two or more."""
    if isinstance(images, str | Path):
        name, images = str(images), _read_images(Path(images))
    images = np.ascontiguousarray(images)  # torch takes no reversed views
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise PokemonGenError(
            f"{name}: this is a {images.shape} array of {images.dtype}. Pass an (N, H, W, 3) array of uint8, "
            "or the path of a folder of images."
        )
    if len(images) < 2:
        raise PokemonGenError(f"{name}: a distance needs two or more images, not {len(images)}")
    return images


def _read_images(folder: Path) -> NDArray[np.uint8]:
    """Read all images of a folder, which must have one size; → (N, H, W, 3)."""
    pictures: list[NDArray[np.uint8]] = []
    for file in find_images(folder):
        with open_picture(file) as image:
            picture = upright_rgb(image)
        if pictures and picture.shape != pictures[0].shape:
            (height, width), (first_height, first_width) = picture.shape[:2], pictures[0].shape[:2]
            raise PokemonGenError(
                f"{file}: {width}x{height} pixels, but the first image of the folder has "
                f"{first_width}x{first_height}. Resize the images to one size."
            )
        pictures.append(picture)
    return np.stack(pictures)


def _checked_sprites(name: str, sprites: NDArray[Any], palette: Palette) -> NDArray[np.int64]:
    """Return sprites as an (N, 400) array of tokens that the palette has."""
    sprites = np.asarray(sprites)
    if sprites.ndim != 2 or sprites.shape[1] != LENGTH or not np.issubdtype(sprites.dtype, np.integer):
        raise PokemonGenError(
            f"{name}: this is a {sprites.shape} array of {sprites.dtype}. Pass an (N, {LENGTH}) array of "
            "integer tokens."
        )
    if len(sprites) < 2:
        raise PokemonGenError(f"{name}: a scorecard needs two or more sprites, not {len(sprites)}")
    if sprites.min() < 0 or sprites.max() >= len(palette):
        bad = int(sprites.min() if sprites.min() < 0 else sprites.max())
        raise PokemonGenError(f"{name}: token {bad} has no colour: the tokens are 0..{len(palette) - 1}")
    return sprites.astype(np.int64)
