"""Regression metrics: outputs `(B, *out)` against targets of the same shape, ignoring extents of 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape, ShapeError, shape_in_words
from nnspec.engine.metrics.contract import NO_ARGUMENTS, Averaging, Metric
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["R2", "MeanAbsoluteError", "MeanSquaredError"]


class Comparing(Metric):
    """Base of the metrics of differences."""

    needs_numbers = True

    @classmethod
    def fit(
        cls, outputs: Shape, classes: int | None, target: Shape = (), arguments: Mapping[str, Any] = NO_ARGUMENTS
    ) -> None:
        """As many outputs as there are numbers in a target."""
        if math.prod(outputs) != math.prod(target):
            raise ShapeError(
                f"`{cls.spec_name}` compares {shape_in_words(outputs)} outputs with targets of "
                f"{shape_in_words(target) or '1'}"
            )

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """The differences."""
        return {"difference": Work(outputs)}

    def _subtract(self, outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[Any]:
        difference = self.work_array("difference", outputs.shape, outputs.dtype)
        return np.subtract(outputs, targets.reshape(outputs.shape), out=difference)


class MeanSquaredError(Comparing, Averaging):
    """Mean of (y − t)² over all numbers of all samples, as the loss `MSE`."""

    spec_name = "mse"
    also = ("mean_squared_error", "MeanSquaredError")
    resembles = (("rmse", "RootMeanSquaredError", "root_mean_squared_error"), "the RMSE is its square root")

    def add(self, outputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Add the squares."""
        difference = self._subtract(outputs, targets)
        np.multiply(difference, difference, out=difference)
        self._total.add(np.add.reduce(difference, axis=None))
        self._seen.add(difference.size)


class MeanAbsoluteError(Comparing, Averaging):
    """Mean of |y − t| over all numbers of all samples: the average error in the unit of the targets."""

    spec_name = "mae"
    also = ("mean_absolute_error", "MeanAbsoluteError")

    def add(self, outputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Add the distances."""
        difference = self._subtract(outputs, targets)
        np.absolute(difference, out=difference)
        self._total.add(np.add.reduce(difference, axis=None))
        self._seen.add(difference.size)


class R2(Comparing):
    """1 − Σ (t − y)² / Σ (t − mean t)²: 1 for perfect predictions, 0 for always predicting the mean, with no lower
    bound.

    Computed for each number of a target separately and averaged; for a number that never changes, it is 1 if all
    predictions are exact and 0 otherwise. As scikit-learn's `r2_score`. The mean of all targets is unknown before the
    last batch, so the sums of batches are merged (Chan, Golub and LeVeque, Updating Formulae for Computing Sample
    Variances, 1979).
    """

    spec_name = "r2"
    also = ("r2_score", "R2", "R2Score", "r_squared")
    higher_is_better = True

    def begin(self) -> None:
        """Reset."""
        self._seen = 0
        self._errors: Any = 0.0
        self._spread: Any = 0.0
        self._mean: Any = 0.0

    def add(self, outputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Add the squared errors, and the squared distances of the targets from their mean so far."""
        rows = len(outputs)
        difference = self._subtract(outputs, targets)
        np.multiply(difference, difference, out=difference)
        self._errors = self._errors + np.add.reduce(difference, axis=0, dtype=np.float64)
        wanted = targets.reshape(outputs.shape)
        mean = np.add.reduce(wanted, axis=0, dtype=np.float64) / rows
        near = mean.astype(outputs.dtype)  # Σ (t − near)² is too large by n (mean − near)²
        np.subtract(wanted, near, out=difference)
        np.multiply(difference, difference, out=difference)
        spread = np.add.reduce(difference, axis=0, dtype=np.float64) - rows * (mean - near) ** 2
        seen, step = self._seen + rows, mean - self._mean
        self._spread = self._spread + np.maximum(spread, 0)
        self._spread = self._spread + step * step * (self._seen * rows / seen)
        self._mean = self._mean + step * (rows / seen)
        self._seen = seen

    def result(self) -> float:
        """The mean over the numbers of a target."""
        errors, spread = np.ravel(self._errors).tolist(), np.ravel(self._spread).tolist()
        shares = [1 - e / s if s else float(not e) for e, s in zip(errors, spread, strict=True)]
        return math.fsum(shares) / len(shares)
