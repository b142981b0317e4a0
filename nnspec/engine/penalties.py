"""Penalties on large weights, which are part of the loss, and constraints, which are enforced after every step.

Both apply to trained weights, not to biases or to scales and shifts of normalisations: to the tensors in
`Parameter.decaying`. Unlike an optimizer's weight decay, a penalty is included in the training loss, and its gradient
is clipped with all others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Also, PlainPart, Positive

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["L1", "L2", "Constraint", "MaxNorm", "Penalty"]

BLOCK = 16_384
"""The number of weights processed at a time: few enough to stay in the processor's cache."""

Strength = Annotated[Positive, Also("lambda", "weight", "alpha", "rate")]


class Penalty(PlainPart):
    """Base of the penalties: strength · Σ f(w) over all weights w, added to the training loss.

    Keras also adds its `regularizers` to the loss, layer by layer, but includes them in the validation and test loss as
    well; here those are reported without penalties, so that lanes with different penalties can be compared.
    """

    kind: ClassVar[str] = "penalty"
    strength: Strength

    def value(self, weights: NDArray[Any]) -> float:
        """Return strength · Σ f(w)."""
        raise NotImplementedError

    def add(self, weights: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any]) -> float:
        """Add strength · f′(w) to the gradient, and return the value. All three have one shape."""
        raise NotImplementedError

    def sides(self, weights: NDArray[Any]) -> NDArray[Any] | None:
        """Return which side of its kink each weight is on; None if f has no kinks."""
        return None


class L2(Penalty):
    """λ · Σ w², with gradient 2λ·w: for SGD equivalent to a weight decay of 2λ. Keras's `L2`. Hoerl & Kennard 1970."""

    spec_name = "L2"
    also = ("l2", "ridge", "Ridge")

    def value(self, weights: NDArray[Any]) -> float:
        """λ · Σ w²."""
        return self.strength * float(np.vdot(weights, weights))

    def add(self, weights: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any]) -> float:
        """g ← g + 2λ·w."""
        np.multiply(weights, 2 * self.strength, out=scratch)
        np.add(grad, scratch, out=grad)
        return self.value(weights)


class L1(Penalty):
    """λ · Σ |w|, with gradient λ·sign(w), and 0 at 0: it drives weights to zero. Keras's `L1`. Tibshirani 1996.

    Steps overshoot zero, so few weights are exactly zero. `[L1(a), L2(b)]` is the elastic net.
    """

    spec_name = "L1"
    also = ("l1", "lasso", "Lasso")

    def value(self, weights: NDArray[Any]) -> float:
        """λ · Σ |w|."""
        return self.strength * float(np.abs(weights).sum())

    def add(self, weights: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any]) -> float:
        """g ← g + λ·sign(w)."""
        np.abs(weights, out=scratch)
        total = self.strength * float(scratch.sum())
        # np.sign takes ten times as long as x / |x|.
        np.maximum(scratch, np.finfo(scratch.dtype).tiny, out=scratch)
        np.divide(weights, scratch, out=scratch)
        np.multiply(scratch, self.strength, out=scratch)
        np.add(grad, scratch, out=grad)
        return total

    def sides(self, weights: NDArray[Any]) -> NDArray[Any] | None:
        """Where it is above zero."""
        return weights > 0


def penalise(params: Iterable[Parameter], penalties: Sequence[Penalty], scratch: NDArray[Any]) -> float:
    """Add the gradients of penalties to those of the weights, and return the sum of their values.

    `scratch` is a vector of any size of the parameters' dtype; nothing else is allocated.
    """
    total = 0.0
    for parameter in params:
        theta, grad = parameter.data.reshape(-1), parameter.grad.reshape(-1)
        for part in parameter.decaying:
            for first in range(part.start, part.stop, scratch.size):
                block = slice(first, min(first + scratch.size, part.stop))
                weights, slopes, work = theta[block], grad[block], scratch[: block.stop - first]
                for penalty in penalties:
                    total += penalty.add(weights, slopes, work)
    return total


class Constraint(PlainPart):
    """Base of the constraints, which are enforced on weights after every step."""

    kind: ClassVar[str] = "constraint"

    def hold(self, weights: NDArray[Any], axis: int, scratch: NDArray[Any]) -> None:
        """Enforce the constraint on weights `(units, rest)` in place, or on `(rest, units)` if `axis` is 1.

        `scratch` is a vector with one number per unit.
        """
        raise NotImplementedError


class MaxNorm(Constraint):
    """‖w‖₂ ≤ c for the incoming weights w of every unit: w ← w · c / max(‖w‖₂, c) after each step.

    For `Linear`, a unit is a column of W; for a convolution, one of the kernels. Keras's `MaxNorm` must be given the
    axes of a convolution, and its default is c = 2; PyTorch has it only in `Embedding`. Srivastava et al. 2014, section
    5.1.
    """

    spec_name = "max_norm"
    also = ("MaxNorm", "maxnorm", "max_norm_constraint")
    limit: Annotated[Positive, Also("max_value", "c")]

    def hold(self, weights: NDArray[Any], axis: int, scratch: NDArray[Any]) -> None:
        """w ← w · c / max(‖w‖₂, c)."""
        np.einsum("ij,ij->i" if axis == 0 else "ij,ij->j", weights, weights, out=scratch)
        np.sqrt(scratch, out=scratch)
        np.maximum(scratch, self.limit, out=scratch)
        np.divide(self.limit, scratch, out=scratch)
        np.multiply(weights, scratch[:, None] if axis == 0 else scratch, out=weights)


def units(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the number of units of a weight of this shape, and their axis; 0 units for a vector."""
    if len(shape) < 2:
        return 0, 0
    return (shape[1], 1) if len(shape) == 2 else (shape[0], 0)


def constrain(params: Iterable[Parameter], constraint: Constraint, scratch: NDArray[Any]) -> None:
    """Enforce a constraint on the weights among `params`, each in its own shape.

    `scratch` is a vector with at least as many numbers as the largest number of units; nothing else is allocated.
    """
    for parameter in params:
        count, axis = units(parameter.shape)
        if count and parameter.decaying:
            first = parameter.shape[0]
            matrix = parameter.data.reshape(first, math.prod(parameter.shape[1:]))
            constraint.hold(matrix, axis, scratch[:count])
