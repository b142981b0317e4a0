"""Regression losses: the distance of outputs from values of the same shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Shape
from nnspec.engine.losses.contract import NO_ARGUMENTS, Loss, fit_values, saved
from nnspec.engine.part import Also, Positive, kept
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["HuberLoss", "MAELoss", "MSELoss"]


class Distance(Loss):
    """Base of the losses of d = y − t, with y and t of the same shape.

    Class labels as targets are converted to one-hot rows if the outputs have as many columns as there are classes.
    """

    targets = "values"

    _difference: NDArray[Any] | None = kept()

    @classmethod
    def fit(
        cls, outputs: Shape, classes: int | None, target: Shape = (), arguments: Mapping[str, Any] = NO_ARGUMENTS
    ) -> None:
        """The shape of the target; or one output per class, since labels are compared as one-hot rows."""
        fit_values(cls, outputs, classes, target)

    def _subtract(
        self, outputs: NDArray[Any], targets: ArrayLike, out: NDArray[Any] | None, weights: ArrayLike | None
    ) -> NDArray[Any]:
        self._difference = np.subtract(outputs, self.values(outputs, targets, out, weights), out=out)
        return self._difference


class MSELoss(Distance):
    """L = mean (y − t)² over all B·out numbers; dL/dy = 2 (y − t) / (B·out). As PyTorch's default reduction.

    Class labels as targets are converted to one-hot rows if the outputs have as many columns as there are classes.
    """

    spec_name = "MSE"
    also = ("MeanSquaredError", "MSELoss", "L2", "EuclideanLoss")
    resembles = (("RMSE", "RMSELoss"), "the RMSE is its square root, so both have the same minimum")

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """One array for the squares."""
        return {"squares": Work(outputs)}

    @property
    def stacks(self) -> bool:
        """Always: each lane is computed alike."""
        return True

    def forward(
        self,
        outputs: NDArray[Any],
        targets: ArrayLike,
        out: NDArray[Any] | None = None,
        weights: ArrayLike | None = None,
    ) -> float:
        """Mean of the squared differences. Raises ValueError if shapes differ."""
        difference = self._subtract(outputs, targets, out, weights)
        squares = self.work_array("squares", outputs.shape, outputs.dtype)
        np.multiply(difference, difference, out=squares)
        return self.mean(squares)

    def backward(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """2 (y − t) / (B·out)."""
        difference = saved(self._difference, self)
        return self.weighed(np.multiply(difference, 2.0 * self.lanes / difference.size, out=out))


class MAELoss(Distance):
    """L = mean |y − t| over all B·out numbers; dL/dy = sign(y − t) / (B·out), and 0 where y = t. As PyTorch's `L1Loss`.

    Its gradient does not grow with the distance, so outliers pull no harder than other values.
    """

    spec_name = "MAE"
    also = ("MeanAbsoluteError", "L1Loss", "L1")

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """One array for the distances."""
        return {"distances": Work(outputs)}

    def forward(
        self,
        outputs: NDArray[Any],
        targets: ArrayLike,
        out: NDArray[Any] | None = None,
        weights: ArrayLike | None = None,
    ) -> float:
        """Mean of the distances. Raises ValueError if shapes differ."""
        difference = self._subtract(outputs, targets, out, weights)
        distances = np.absolute(difference, out=self.work_array("distances", outputs.shape, outputs.dtype))
        return self.mean(distances)

    def backward(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """sign(y − t) / (B·out)."""
        difference = saved(self._difference, self)
        grad = np.sign(difference, out=out)
        return self.weighed(np.multiply(grad, 1.0 / difference.size, out=grad))

    def sides(self) -> NDArray[Any] | None:
        """Which outputs are above their targets."""
        return saved(self._difference, self) > 0


class HuberLoss(Distance):
    """L = mean over all B·out numbers of ½ d² where |d| ≤ δ, and of δ (|d| − ½ δ) beyond, for d = y − t.

    dL/dy = clip(d, −δ, δ) / (B·out): quadratic near the target, with a bounded gradient far away. Huber, Robust
    Estimation of a Location Parameter, 1964. As PyTorch's `HuberLoss`; its `SmoothL1Loss` is this divided by δ.
    """

    spec_name = "Huber"
    also = ("HuberLoss", "SmoothL1Loss", "SmoothL1")

    delta: Annotated[Positive, Also("beta", "threshold")] = 1.0

    @classmethod
    def work(cls, outputs: Shape, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Mapping[str, Work]:
        """The clipped differences, and one array for the sum."""
        return {"clipped": Work(outputs), "terms": Work(outputs)}

    def forward(
        self,
        outputs: NDArray[Any],
        targets: ArrayLike,
        out: NDArray[Any] | None = None,
        weights: ArrayLike | None = None,
    ) -> float:
        """Mean of c (d − ½ c) with c = clip(d, −δ, δ), which covers both cases. Raises ValueError if shapes differ."""
        difference = self._subtract(outputs, targets, out, weights)
        clipped = self._clip(difference, self.work_array("clipped", outputs.shape, outputs.dtype))
        terms = np.multiply(clipped, -0.5, out=self.work_array("terms", outputs.shape, outputs.dtype))
        np.add(terms, difference, out=terms)
        np.multiply(terms, clipped, out=terms)
        return self.mean(terms)

    def backward(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """clip(y − t, −δ, δ) / (B·out)."""
        difference = saved(self._difference, self)
        grad = self._clip(difference, out)
        return self.weighed(np.multiply(grad, 1.0 / difference.size, out=grad))

    def _clip(self, difference: NDArray[Any], out: NDArray[Any] | None) -> NDArray[Any]:
        clipped = np.maximum(difference, -self.delta, out=out)
        return np.minimum(clipped, self.delta, out=clipped)

    def sides(self) -> NDArray[Any] | None:
        """Which outputs are further than δ from their targets, where the second derivative jumps."""
        return np.abs(saved(self._difference, self)) > self.delta
