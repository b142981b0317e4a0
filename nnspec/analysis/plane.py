"""Planes in weight space: the two directions along which a loss landscape is drawn.

The weights of a network are a point θ in ℝᴾ, and its training is a path. The axes e₁, e₂ of a plane o + α·e₁ + β·e₂ are
orthonormal, so α and β are distances in ℝᴾ. H. Li, Z. Xu, G. Taylor, C. Studer, T. Goldstein:
"Visualizing the Loss Landscape of Neural Nets", NeurIPS 2018, sections 4 (random directions) and 7 (paths).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.parameter import Parameter
from nnspec.engine.penalties import units

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Plane", "filter_normalised", "principal_plane", "random_plane"]

_BLOCK = 65_536
"""Number of coordinates processed at a time, to avoid a second copy of all points."""
_NOTHING = 1e-10
"""An axis with a smaller share of the first one's variance is treated as rounding error."""


@dataclass(frozen=True)
class Plane:
    """o + α·e₁ + β·e₂."""

    origin: NDArray[Any] = field(repr=False)
    """o, `(P,)`."""
    axes: NDArray[Any] = field(repr=False)
    """e₁ and e₂, orthonormal, `(2, P)`."""
    reach: float = 0.0
    """The distance from the origin that the picture should show even without paths; 0 if unknown."""

    def at(self, alpha: float, beta: float) -> NDArray[Any]:
        """Return the point with these coordinates, `(P,)`."""
        return self.origin + alpha * self.axes[0] + beta * self.axes[1]

    def project(self, points: NDArray[Any]) -> NDArray[Any]:
        """Return the coordinates of the projections of points: `(n, P) -> (n, 2)`."""
        return self.along(points, self.origin)

    def along(self, points: NDArray[Any], origin: NDArray[Any] | float = 0.0) -> NDArray[Any]:
        """Return the components of (points − origin) along the two axes: `(n, P) -> (n, 2)`."""
        found = np.zeros((len(points), 2))
        for part in _parts(points.shape[1]):
            base = origin[part] if isinstance(origin, np.ndarray) else origin
            found += (points[:, part].astype(np.float64) - base) @ self.axes[:, part].T
        return found


def _parts(count: int) -> list[slice]:
    return [slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]


def principal_plane(points: NDArray[Any], origin: NDArray[Any], rng: Generator) -> Plane:
    """Return the plane through `origin` that explains most of the squared distances of points `(n, P)` from it.

    e₁, e₂ are the first two right singular vectors of X = points − origin. They are computed from the n×n matrix X·Xᵀ =
    U·Λ·Uᵀ as e = Xᵀ·u / √λ, without a P×P matrix. Li et al. also take the differences to the end of a path, and do not
    say whether they subtract the mean; here it is not subtracted, so that the plane contains the origin. Signs are
    chosen such that the first point has α ≤ 0, and the largest |β| belongs to a positive β. If the points lie on one
    line or coincide, the missing axes are drawn from `rng`.
    """
    origin = origin.astype(np.float64)
    gram = np.zeros((len(points), len(points)))
    for part in _parts(points.shape[1]):
        block = points[:, part].astype(np.float64) - origin[part]
        gram += block @ block.T
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1], vectors[:, ::-1]
    axes = rng.standard_normal((2, points.shape[1]))
    known = int(np.count_nonzero(values[:2] > _NOTHING * max(float(values[0]), np.finfo(np.float64).tiny)))
    weights = vectors[:, :known] / np.sqrt(values[:known])
    for part in _parts(points.shape[1]):
        axes[:known, part] = weights.T @ (points[:, part].astype(np.float64) - origin[part])
    plane = Plane(origin, _orthonormal(axes))
    found = plane.project(points)
    if found[0, 0] > 0:
        plane.axes[0] *= -1
    if found[np.abs(found[:, 1]).argmax(), 1] < 0:
        plane.axes[1] *= -1
    return plane


def random_plane(parameters: Mapping[str, Parameter], origin: NDArray[Any], rng: Generator) -> Plane:
    """Return the plane through `origin` along two filter-normalised random directions (see `filter_normalised`).

    The axes span the two directions: e₁ is along the first, e₂ along the component of the second orthogonal to it. The
    reach is the length of the longer direction, at which filters have moved by their own norm: the range from −1 to 1
    of Li et al.
    """
    origin = origin.astype(np.float64)
    directions = np.stack([filter_normalised(parameters, origin, rng) for _ in range(2)])
    return Plane(origin, _orthonormal(directions), float(np.linalg.norm(directions, axis=1).max()))


def filter_normalised(parameters: Mapping[str, Parameter], weights: NDArray[Any], rng: Generator) -> NDArray[Any]:
    """Return a random direction `(P,)`, each filter of which has the norm of the same filter of `weights` `(P,)`:

        dᵢ ← dᵢ / ‖dᵢ‖ · ‖θᵢ‖

    A filter is the incoming weights of a unit: a column of W `(in, out)` of `Linear`, a kernel of a convolution, a
    column of an embedding. Biases, and scales and shifts of normalisations, have a direction of 0. Li
    et al. 2018, section 4. Only shapes and kinds of `parameters` count.
    """
    direction, start = np.zeros(len(weights)), 0
    for parameter in parameters.values():
        part = slice(start, start + parameter.size)
        start = part.stop
        count, axis = units(parameter.shape)
        if not (count and parameter.decays):
            continue
        shape = (parameter.shape[0], parameter.size // parameter.shape[0])
        drawn, own = rng.standard_normal(shape), weights[part].reshape(shape)
        lengths = [np.linalg.norm(each, axis=1 - axis, keepdims=True) for each in (own, drawn)]
        direction[part] = (drawn * (lengths[0] / lengths[1])).reshape(-1)
    return direction


def _orthonormal(directions: NDArray[Any]) -> NDArray[Any]:
    """Return orthonormal axes that span two directions: the first along the first. A direction of 0 stays 0."""
    axes = directions.astype(np.float64)
    for i in range(2):
        for other in axes[:i]:
            axes[i] -= (axes[i] @ other) * other
        length = float(np.linalg.norm(axes[i]))
        if length > 0:
            axes[i] /= length
    return axes
