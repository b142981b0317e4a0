"""Gradient accumulation: several small batches in place of one large one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.parameter import Parameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Accumulator"]


class Accumulator:
    """The weighted mean of the gradients of several batches: g = Σ wᵢ·gᵢ / Σ wᵢ.

        for x, y in batches:
            value = loss(model(x), y)
            model.backward(loss.backward())
            accumulator.add(loss.weight(len(x)))
        accumulator.average()
        optimizer.step()

    With the weight of each batch in the mean of the loss (`Loss.weight`, the number of samples unless samples or
    classes are weighted), g is the gradient of all samples taken as one batch, up to rounding. PyTorch sums gradients
    in `.grad`; dividing each loss by the number of batches, as is usual there, is the same only if all are of one size.

    A layer that computes with its batch still sees small ones: `BatchNorm` normalises by each batch on its own, and
    its running statistics follow each. `Dropout` draws a mask for each batch.

    `arrays` are those to accumulate in, one of each parameter's shape; by default, they are allocated.
    """

    def __init__(self, params: Iterable[Parameter], arrays: Sequence[NDArray[Any]] = ()) -> None:
        self.params = list(params)
        self._sums = list(arrays) or [np.empty_like(parameter.grad) for parameter in self.params]
        self._batches, self.weight = 0, 0.0

    def add(self, weight: float) -> None:
        """Add the gradients of a batch, which are overwritten. The first of a group keeps every bit."""
        for parameter, total in zip(self.params, self._sums, strict=True):
            if self._batches == 0:
                np.copyto(total, parameter.grad)
                continue
            if self._batches == 1:
                np.multiply(total, self.weight, out=total)
            np.multiply(parameter.grad, weight, out=parameter.grad)
            np.add(total, parameter.grad, out=total)
        self._batches += 1
        self.weight += weight

    def average(self) -> float:
        """Write the mean into the parameters' gradients, and begin anew. Returns Σ wᵢ; if it is 0, so is the mean."""
        weight, batches = self.weight, self._batches
        for parameter, total in zip(self.params, self._sums, strict=True):
            np.copyto(parameter.grad, total)
            if batches > 1:
                np.multiply(parameter.grad, 1 / weight if weight else 0.0, out=parameter.grad)
        self._batches, self.weight = 0, 0.0
        return weight
