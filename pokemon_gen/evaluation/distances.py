"""FID and KID of completions, paired and unpaired, with reference values and intervals.

The two kinds of distance are never mixed, because with 80 sprites the reference decides the value:

- A *paired* distance compares completions with the true sprites of the same prompts. Both sets share the
  prompts, which are 60 % of the pixels. The ideal is 0. The homework's FID is of this kind. It is reported
  with the distances of wrong completions (another sprite's completion for each prompt) and of noise.
- An *unpaired* distance compares completions with sprites of other prompts, in draws of equal size, because
  the distance shrinks as the sets grow. The ideal is the distance of real sprites, which is reported with it.

The intervals of FID come from a jackknife (`jackknife.py`), because a bootstrap's resamples contain
duplicates, which make the intervals too wide. KID can leave the duplicates out, so its intervals are the
percentiles of a bootstrap.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.constants import MEASURING_SEED
from pokemon_gen.discriminator.negatives import noise_completion, splice
from pokemon_gen.evaluation.frechet import Floats, GramMatrices
from pokemon_gen.evaluation.inception import Inception
from pokemon_gen.evaluation.jackknife import error_of_draws, error_of_pairs, normal_interval
from pokemon_gen.evaluation.kid import Kernels
from pokemon_gen.palette import Palette, to_picture

ROUNDS = 200
"""Number of bootstrap resamples, of draws from a reference, and of random halves."""
Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Reference:
    """A named set of sprites for a comparison.

    Attributes:
        name: `dev`, `train`, a file or a folder.
        sprites: (M, 400) tokens.
    """

    name: str
    sprites: Tokens


@dataclass(frozen=True)
class FeatureExtractor:
    """The Inception features of sprites.

    Attributes:
        inception: the network.
        palette: the colours of the tokens.
        cache: the folder of features that are already computed.
    """

    inception: Inception
    palette: Palette
    cache: Path

    def __call__(self, reference: Reference) -> Floats:
        """Return the features of sprites, (M, 2048).

        Raises:
            PokemonGenError: for fewer than two sprites, or features that are not finite.
        """
        pictures = to_picture(reference.sprites, self.palette)
        return self.inception.cached_features(pictures, reference.name, self.cache)

    @property
    def metadata(self) -> dict[str, str]:
        """The protocol and the weights, without which a distance cannot be compared."""
        return {"protocol": self.inception.protocol, "weights_sha256": self.inception.weights_sha256}


def paired_grams(completions: Reference, truth: Reference, extract: FeatureExtractor) -> GramMatrices:
    """Return the inner products of the features of completions and of their true sprites."""
    return GramMatrices.of(extract(completions), extract(truth))


def paired_distances(completions: Reference, truth: Reference, extract: FeatureExtractor) -> dict[str, Any]:
    """Return the distances from the true sprites of the same prompts.

    Args:
        completions: N sprites.
        truth: the N true sprites in the same order.
        extract: computes the features.

    Returns:
        `fid` and `kid` with their 95 % intervals, and both distances of `wrong_completions` and of `noise`.
        `fid_interval` is None for fewer than three sprites.

    Raises:
        PokemonGenError: for fewer than two sprites, or features that are not finite.
    """
    completed, true = extract(completions), extract(truth)
    generator = np.random.default_rng(MEASURING_SEED)
    reference_values = {}
    for name, corrupt in (("wrong_completions", splice), ("noise", noise_completion)):
        sprites = corrupt(truth.sprites, len(extract.palette), generator)
        corrupted = extract(Reference(f"{truth.name}, {name}", sprites))
        reference_values[name] = {
            "fid": GramMatrices.of(corrupted, true).frechet_distance(),
            "kid": Kernels.of(corrupted, true).distance(),
        }
    grams, kernels = GramMatrices.of(completed, true), Kernels.of(completed, true)
    fid, n = grams.frechet_distance(), len(completed)
    # A resample draws a completion and its true sprite together.
    kids = [kernels.paired_distance(_resample(n, generator)) for _ in range(ROUNDS)]
    error = error_of_pairs(lambda rows: grams.draw(rows, rows).frechet_distance(), n, generator)
    return {
        **extract.metadata,
        "n": n,
        "reference": truth.name,
        "fid": fid,
        "fid_interval": normal_interval(fid, error),
        "kid": kernels.distance(),
        "kid_interval": _percentile_interval(kids),
        **reference_values,
    }


def unpaired_distances(
    completions: Reference, reference: Reference, real: Reference, extract: FeatureExtractor
) -> dict[str, Any]:
    """Return the distances from sprites of other prompts, and the same distances of real sprites.

    Args:
        completions: the completed sprites.
        reference: sprites of other prompts.
        real: real sprites that are not in the reference. Their distance is the ideal.
        extract: computes the features.

    Returns:
        `fid` and `kid` with their 95 % intervals, and the same under `real`. The FIDs are means over 200
        draws of `n` sprites from each set. `fid_interval` is None if `n` is less than 3.

    Raises:
        PokemonGenError: for fewer than two sprites, or features that are not finite.
    """
    completed, references, reals = extract(completions), extract(reference), extract(real)
    n = min(len(completed), len(references), len(reals))
    return {
        **extract.metadata,
        "n": n,
        "reference": reference.name,
        "draws": ROUNDS,
        **_distances_of_draws(completed, references, n),
        "real": {"sprites": real.name, **_distances_of_draws(reals, references, n)},
    }


def _distances_of_draws(x: Floats, y: Floats, n: int) -> dict[str, Any]:
    """Return the mean FID between draws of `n` from each set and the KID of the full sets, with intervals."""
    grams, kernels = GramMatrices.of(x, y), Kernels.of(x, y)
    generator = np.random.default_rng(MEASURING_SEED)
    fids, kids = [], []
    for _ in range(ROUNDS):
        rows, columns = (generator.permutation(len(features))[:n] for features in (x, y))
        fids.append(grams.draw(rows, columns).frechet_distance())
        kids.append(kernels.distance(*(_resample(len(features), generator) for features in (x, y))))
    fid = float(np.mean(fids))
    return {
        "fid": fid,
        "fid_interval": normal_interval(fid, error_of_draws(grams, n, generator)),
        "kid": kernels.distance(),
        "kid_interval": _percentile_interval(kids),
    }


def _resample(n: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw n of n samples with replacement, at least two different ones; return their counts, (n,)."""
    while True:
        counts = np.bincount(generator.integers(0, n, n), minlength=n)
        if counts.max() < n:
            return counts


def _percentile_interval(values: list[float]) -> list[float]:
    """Return the 95 % interval between percentiles of resampled values."""
    return [float(quantile) for quantile in np.quantile(values, [0.025, 0.975])]
