"""Penalties on large weights, which are part of the loss, and constraints, which hold after every step.

Both are about weights that are trained, and not about biases and the scales and shifts of normalisations: about what
`Parameter.decaying` names. A penalty differs from an optimizer's weight decay in that its value counts in the training
loss, and that its gradient is clipped with all others.
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
"""How many weights are worked on at a time: few enough to stay in the processor's cache."""

Strength = Annotated[Positive, Also("lambda", "weight", "alpha", "rate")]


class Penalty(PlainPart):
    """Base of the penalties: strength · Σ f(w) over all weights w, added to the training loss.

    Keras adds its `regularizers` to the loss as well, layer by layer; there, they also count in what is measured on
    other samples, where here the loss stands alone, so that lanes with different penalties can be compared.
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
        """Return which side of its kink each weight is on; None where f has none."""
        return None


class L2(Penalty):
    """λ · Σ w², whose gradient is 2λ·w: for SGD what a weight decay of 2λ is. Keras's `L2`. Hoerl & Kennard 1970."""

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
    """λ · Σ |w|, whose gradient is λ·sign(w), and 0 at 0: it draws weights to zero. Keras's `L1`. Tibshirani 1996.

    Steps go past zero by their length, so that few weights are zero exactly. `[L1(a), L2(b)]` is the elastic net.
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
    """Base of the constraints: what weights are held to after every step."""

    kind: ClassVar[str] = "constraint"

    def hold(self, weights: NDArray[Any], axis: int, scratch: NDArray[Any]) -> None:
        """Bring weights `(units, rest)` into what they are held to, in place, or `(rest, units)` where `axis` is 1.

        `scratch` is a vector of as many numbers as there are units.
        """
        raise NotImplementedError


class MaxNorm(Constraint):
    """‖w‖₂ ≤ c for the incoming weights w of every unit: w ← w · c / max(‖w‖₂, c) after each step.

    Of `Linear`, a unit is a column of W; of a convolution, one of the kernels. Keras's `MaxNorm`, to be told the axes
    of a convolution, whose default is c = 2; PyTorch has it in `Embedding` alone. Srivastava et al. 2014, section 5.1.
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
    """Return how many units a weight of a shape belongs to, and on which of its axes they are; 0 units for a vector."""
    if len(shape) < 2:
        return 0, 0
    return (shape[1], 1) if len(shape) == 2 else (shape[0], 0)


def constrain(params: Iterable[Parameter], constraint: Constraint, scratch: NDArray[Any]) -> None:
    """Hold the weights among `params`, each of its own shape, to a constraint.

    `scratch` is a vector of at least as many numbers as the widest of them has units; nothing else is allocated.
    """
    for parameter in params:
        count, axis = units(parameter.shape)
        if count and parameter.decaying:
            first = parameter.shape[0]
            matrix = parameter.data.reshape(first, math.prod(parameter.shape[1:]))
            constraint.hold(matrix, axis, scratch[:count])
