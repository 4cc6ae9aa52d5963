"""The Fréchet distance between two sets of features, exact for few samples, in NumPy alone.

The squared distance between two normal distributions with means μ and covariances Σ is (Dowson & Landau 1982;
as FID: Heusel et al. 2017, arXiv:1706.08500):

    ‖μx − μy‖² + Tr Σx + Tr Σy − 2 Tr (Σx Σy)^½

Other implementations compute the last term from a d x d matrix root. This module needs no matrix root. Let
X (n x d) and Y (m x d) be the centred features, so that Σx = XᵀX / (n − 1) and Σy = YᵀY / (m − 1). The
eigenvalues of Σx Σy are the squared singular values of X Yᵀ / sqrt((n − 1)(m − 1)), so the trace of the root
is the sum of these singular values. For 80 sprites this is an 80 x 80 problem instead of a 2048 x 2048 one.
If there are more samples than dimensions, the triangular factor R of a QR decomposition (d x d) replaces X,
because RᵀR = XᵀX.

No epsilon is added, so equal covariances give exactly the squared distance of the means.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.errors import PokemonGenError

Floats = NDArray[np.float64]


def frechet_distance(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the Fréchet distance between normal distributions fitted to two sets of features.

    Args:
        x: (n, d) features, one sample per row; n >= 2.
        y: (m, d) features; m >= 2.

    Returns:
        The squared distance, in squared units of the features. The covariances have the divisor n - 1.

    Raises:
        PokemonGenError: for fewer than two samples, different dimensions, or values that are not finite.
    """
    x, y = checked_pair(x, y)
    mean_x, mean_y = x.mean(0), y.mean(0)
    factor_x, factor_y = _factor(x - mean_x), _factor(y - mean_y)
    means = float(((mean_x - mean_y) ** 2).sum())
    spread = float((factor_x**2).sum() + (factor_y**2).sum())  # Tr Σx + Tr Σy
    return means + spread - 2 * _nuclear_norm(factor_x @ factor_y.T)


def checked_features(features: NDArray[Any], name: str) -> Floats:
    """Check features and return them in double precision.

    Raises:
        PokemonGenError: if the features are not two or more rows of finite numbers. It names the set.
    """
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise PokemonGenError(f"{name}: a distance needs two or more samples; the shape is {features.shape}")
    not_finite = ~np.isfinite(features).all(1)
    if not_finite.any():
        sample = int(not_finite.argmax()) + 1
        raise PokemonGenError(f"{name}: sample {sample} has features that are not finite")
    return features


def checked_pair(x: NDArray[Any], y: NDArray[Any]) -> tuple[Floats, Floats]:
    """Check that a distance between two sets of features is defined; return them in double precision.

    Raises:
        PokemonGenError: for fewer than two samples, different dimensions, or values that are not finite.
    """
    x, y = checked_features(x, "the first set"), checked_features(y, "the second set")
    if x.shape[1] != y.shape[1]:
        raise PokemonGenError(
            f"the first set has features of {x.shape[1]} dimensions and the second of {y.shape[1]}. A "
            "distance needs features of one network."
        )
    return x, y


@dataclass(frozen=True)
class GramMatrices:
    """The inner products within and between two sets of features.

    The distance between any draws from the sets follows from them. A jackknife needs hundreds of such
    distances, and each costs n x m numbers here, whatever the dimension of the features.

    Attributes:
        xx: (n, n) inner products within the first set, after both sets are shifted to their common mean. The
            shift changes no distance.
        yy: (m, m) inner products within the second set.
        xy: (n, m) inner products between the sets.
    """

    xx: Floats
    yy: Floats
    xy: Floats

    @classmethod
    def of(cls, x: NDArray[Any], y: NDArray[Any]) -> "GramMatrices":
        """Return the inner products of features (n, d) and (m, d), shifted to their common mean."""
        x, y = checked_pair(x, y)
        common_mean = np.concatenate([x, y]).mean(0)  # a large mean would cost digits of precision
        x, y = x - common_mean, y - common_mean
        return cls(x @ x.T, y @ y.T, x @ y.T)

    def draw(self, rows: NDArray[Any], columns: NDArray[Any]) -> "GramMatrices":
        """Return the inner products of a draw.

        Args:
            rows: indices into the first set.
            columns: indices into the second set.
        """
        return GramMatrices(
            self.xx[np.ix_(rows, rows)], self.yy[np.ix_(columns, columns)], self.xy[np.ix_(rows, columns)]
        )

    def frechet_distance(self) -> float:
        """Return the distance that the function `frechet_distance` computes from the features."""
        n, m = self.xy.shape
        means = self.xx.mean() + self.yy.mean() - 2 * self.xy.mean()
        spread = (np.trace(self.xx) - n * self.xx.mean()) / (n - 1)
        spread += (np.trace(self.yy) - m * self.yy.mean()) / (m - 1)
        centred = self.xy - self.xy.mean(0) - self.xy.mean(1)[:, None] + self.xy.mean()
        return float(means + spread) - 2 * _nuclear_norm(centred) / float(np.sqrt((n - 1) * (m - 1)))


def _factor(centred: Floats) -> Floats:
    """Return a matrix F with FᵀF = Σ and at most as many rows as dimensions; (n, d) → (min(n, d), d)."""
    samples, dimensions = centred.shape
    scaled = centred / np.sqrt(samples - 1)
    if samples <= dimensions:
        return scaled
    factor: Any = np.linalg.qr(scaled, mode="r")
    return np.asarray(factor, dtype=np.float64)


def _nuclear_norm(matrix: Floats) -> float:
    return float(np.linalg.svd(matrix, compute_uv=False).sum())
