"""The Fréchet distance between two sets of features, exact for few samples; NumPy alone.

Two normal distributions with means μ and covariances Σ are this far apart (Dowson & Landau 1982; as FID:
Heusel et al. 2017, arXiv:1706.08500):

    ‖μx − μy‖² + Tr Σx + Tr Σy − 2 Tr (Σx Σy)^½

The last term is usually had from a matrix root of d x d numbers. It needs none: with the centred features
X (n x d) and Y (m x d), Σx = XᵀX / (n − 1) and Σy = YᵀY / (m − 1), the eigenvalues of Σx Σy are the squared
singular values of X Yᵀ / sqrt((n − 1)(m − 1)), so the trace of its root is their sum. For 80 sprites that is
an 80 x 80 problem in place of a 2048 x 2048 one. Where there are more samples than dimensions, the
triangular factor of a QR decomposition (d x d) stands for X, because RᵀR = XᵀX.

No epsilon is added anywhere, so equal covariances give the squared distance of the means.
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
        x: (n, d) features, one sample a row; n >= 2.
        y: (m, d) features; m >= 2.

    Returns:
        The squared distance, in squared units of the features. Covariances are divided by n - 1.

    Raises:
        PokemonGenError: for fewer than two samples, other dimensions, or values that are not finite.
    """
    x, y = checked_pair(x, y)
    mean_x, mean_y = x.mean(0), y.mean(0)
    factor_x, factor_y = _factor(x - mean_x), _factor(y - mean_y)
    means = float(((mean_x - mean_y) ** 2).sum())
    spread = float((factor_x**2).sum() + (factor_y**2).sum())  # Tr Σx + Tr Σy
    return means + spread - 2 * _nuclear_norm(factor_x @ factor_y.T)


def checked_features(features: NDArray[Any], name: str) -> Floats:
    """Return features in double precision.

    Raises:
        PokemonGenError: naming the set, if they are not two or more rows of finite numbers.
    """
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise PokemonGenError(f"{name}: a distance needs two or more samples, not {features.shape}")
    bad = ~np.isfinite(features).all(1)
    if bad.any():
        raise PokemonGenError(f"{name}: sample {int(bad.argmax()) + 1} has features that are not finite")
    return features


def checked_pair(x: NDArray[Any], y: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return two sets of features that have a distance, in double precision.

    Raises:
        PokemonGenError: for fewer than two samples, other dimensions, or values that are not finite.
    """
    x, y = checked_features(x, "the first set"), checked_features(y, "the second set")
    if x.shape[1] != y.shape[1]:
        raise PokemonGenError(f"features of {x.shape[1]} and of {y.shape[1]} dimensions have no distance")
    return x, y


@dataclass(frozen=True)
class GramMatrices:
    """All inner products of two sets: what any distance between draws from them can be had from.

    A jackknife asks for hundreds of distances between draws of the same features. From the inner products
    each costs n x m numbers, whatever the dimension.

    Attributes:
        xx: (n, n); the features are taken from their common mean, which no distance changes by.
        yy: (m, m).
        xy: (n, m).
    """

    xx: Floats
    yy: Floats
    xy: Floats

    @classmethod
    def of(cls, x: NDArray[Any], y: NDArray[Any]) -> "GramMatrices":
        """Return the inner products of features (n, d) and (m, d), shifted to their common mean."""
        x, y = checked_pair(x, y)
        middle = np.concatenate([x, y]).mean(0)  # large means would drown the digits that matter
        x, y = x - middle, y - middle
        return cls(x @ x.T, y @ y.T, x @ y.T)

    def draw(self, rows: NDArray[Any], columns: NDArray[Any]) -> "GramMatrices":
        """Return the inner products of a draw: `rows` index the first set, `columns` the second."""
        return GramMatrices(
            self.xx[np.ix_(rows, rows)], self.yy[np.ix_(columns, columns)], self.xy[np.ix_(rows, columns)]
        )

    def frechet_distance(self) -> float:
        """Return the same distance as the function of this name."""
        n, m = self.xy.shape
        means = self.xx.mean() + self.yy.mean() - 2 * self.xy.mean()
        spread = (np.trace(self.xx) - n * self.xx.mean()) / (n - 1)
        spread += (np.trace(self.yy) - m * self.yy.mean()) / (m - 1)
        centred = self.xy - self.xy.mean(0) - self.xy.mean(1)[:, None] + self.xy.mean()
        return float(means + spread) - 2 * _nuclear_norm(centred) / float(np.sqrt((n - 1) * (m - 1)))


def _factor(centred: Floats) -> Floats:
    """Return F with FᵀF = Σ, and no more rows than dimensions."""
    samples, dimensions = centred.shape
    scaled = centred / np.sqrt(samples - 1)
    if samples <= dimensions:
        return scaled
    factor: Any = np.linalg.qr(scaled, mode="r")
    return np.asarray(factor, dtype=np.float64)


def _nuclear_norm(matrix: Floats) -> float:
    return float(np.linalg.svd(matrix, compute_uv=False).sum())
