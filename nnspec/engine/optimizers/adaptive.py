"""Adaptive rates: each number is scaled by the magnitude of its past gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.optimizers.contract import LearningRate, Loop, Optimizer
from nnspec.engine.part import Also, Positive, Probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AdaDelta", "AdaGrad", "RMSProp"]

Epsilon = Annotated[Positive, Also("epsilon")]


def normalised(x: NDArray[Any], square: NDArray[Any], eps: float, out: NDArray[Any]) -> NDArray[Any]:
    """Return x / (√s + ε), written to `out`, which may be s."""
    np.sqrt(square, out=out)
    np.add(out, eps, out=out)
    return np.divide(x, out, out=out)


class AdaGrad(Optimizer):
    """s ← s + g²; θ ← θ − lr·g / (√s + ε), starting from s = 0.

    As PyTorch's `Adagrad`; its `lr_decay` corresponds to a schedule here. Keras's starts from s = 0.1 and has ε = 1e-7
    under the root. Duchi, Hazan & Singer 2011.
    """

    spec_name = "AdaGrad"
    usual_rates = (1e-4, 1.0)
    also = ("Adagrad", "adagrad")

    lr: LearningRate = LearningRate(0.01)
    _: KW_ONLY
    eps: Epsilon = 1e-10

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """The sum of squares."""
        return ("square_sum",)

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """s ← s + g²; θ ← θ − lr·g / (√s + ε)."""
        (square_sum,) = state
        np.multiply(grad, grad, out=scratch)
        np.add(square_sum, scratch, out=square_sum)
        normalised(grad, square_sum, self.eps, out=scratch)
        np.multiply(scratch, self.lr, out=scratch)
        np.subtract(theta, scratch, out=theta)

    def numbers(self) -> tuple[float, ...]:
        """ε and the rate."""
        return self.eps, self.lr

    def kernel(self) -> Loop | None:
        """All of it in one pass."""
        return _adagrad


def _adagrad(theta: Any, grad: Any, square_sum: Any, keep: Any, decay: Any, eps: Any, rate: Any) -> None:
    """`AdaGrad.update`, number by number."""
    for i in range(theta.size):
        kept = theta[i] * keep
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        square_sum[i] = square_sum[i] + g * g
        theta[i] = kept - g / (np.sqrt(square_sum[i]) + eps) * rate


class RMSProp(Optimizer):
    """s ← α·s + (1−α)·g²; θ ← θ − lr·v, where v = g / (√s + ε).

    With momentum μ: v ← μ·v + g / (√s + ε). If centered, s is reduced by the square of the mean gradient,
    m ← α·m + (1−α)·g: √(s − m²), an estimate of the standard deviation (Graves 2013).

    As PyTorch's `RMSprop`, except that rounding cannot make s − m² negative here. Keras's has α = 0.9, called `rho`,
    and ε = 1e-7 under the root. Tieleman & Hinton 2012. The state stored here is s / (1−α), m / (1−α) and √(1−α)·v: the
    same recurrence with fewer multiplications, whose constants are moved into the rate and into ε.
    """

    spec_name = "RMSProp"
    usual_rates = (1e-6, 0.1)
    also = ("RMSprop", "rmsprop")

    lr: LearningRate = LearningRate(0.01)
    _: KW_ONLY
    alpha: Annotated[Probability, Also("rho", "decay")] = 0.99
    momentum: Annotated[Probability, Also("mu")] = 0.0
    centered: bool = False
    eps: Epsilon = 1e-8

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """The mean square; the mean, if centered; a velocity, if there is momentum. Scaled as described above."""
        means = ("square", "mean") if arguments["centered"] else ("square",)
        return (*means, "velocity") if arguments["momentum"] else means

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """s′ ← α·s′ + g², m′ ← α·m′ + g; θ ← θ − lr/c · g / (√(s′ − c²·m′²) + ε/c), with c = √(1−α)."""
        square, *rest = state
        c = math.sqrt(1 - self.alpha)
        np.multiply(square, self.alpha, out=square)
        np.multiply(grad, grad, out=scratch)
        np.add(square, scratch, out=square)
        spread = square
        if self.centered:
            mean = rest.pop(0)
            np.multiply(mean, self.alpha, out=mean)
            np.add(mean, grad, out=mean)
            np.multiply(mean, mean, out=scratch)
            np.multiply(scratch, c * c, out=scratch)
            np.subtract(square, scratch, out=scratch)
            spread = np.maximum(scratch, 0, out=scratch)
        normalised(grad, spread, self.eps / c, out=scratch)
        direction = scratch
        for velocity in rest:
            np.multiply(velocity, self.momentum, out=velocity)
            direction = np.add(velocity, scratch, out=velocity)
        np.multiply(direction, self.lr / c, out=scratch)
        np.subtract(theta, scratch, out=theta)

    def numbers(self) -> tuple[float, ...]:
        """α, μ, c², ε/c and lr/c, with c = √(1−α)."""
        c = math.sqrt(1 - self.alpha)
        return self.alpha, self.momentum, c * c, self.eps / c, self.lr / c

    def kernel(self) -> Loop | None:
        """All of it in one pass."""
        if self.centered:
            return _centered_with_momentum if self.momentum else _centered
        return _rmsprop_with_momentum if self.momentum else _rmsprop


def _rmsprop(
    theta: Any, grad: Any, square: Any, keep: Any, decay: Any, alpha: Any, mu: Any, share: Any, eps: Any, rate: Any
) -> None:
    """`RMSProp.update`, number by number."""
    for i in range(theta.size):
        kept = theta[i] * keep
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        square[i] = square[i] * alpha + g * g
        theta[i] = kept - g / (np.sqrt(square[i]) + eps) * rate


def _rmsprop_with_momentum(
    theta: Any,
    grad: Any,
    square: Any,
    velocity: Any,
    keep: Any,
    decay: Any,
    alpha: Any,
    mu: Any,
    share: Any,
    eps: Any,
    rate: Any,
) -> None:
    """`RMSProp.update` with momentum, number by number."""
    for i in range(theta.size):
        kept = theta[i] * keep
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        square[i] = square[i] * alpha + g * g
        velocity[i] = velocity[i] * mu + g / (np.sqrt(square[i]) + eps)
        theta[i] = kept - velocity[i] * rate


def _centered(
    theta: Any,
    grad: Any,
    square: Any,
    mean: Any,
    keep: Any,
    decay: Any,
    alpha: Any,
    mu: Any,
    share: Any,
    eps: Any,
    rate: Any,
) -> None:
    """`RMSProp.update` centered, number by number."""
    zero = eps - eps  # in the arrays' dtype
    for i in range(theta.size):
        kept = theta[i] * keep
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        square[i] = square[i] * alpha + g * g
        mean[i] = mean[i] * alpha + g
        spread = square[i] - mean[i] * mean[i] * share
        spread = zero if spread < zero else spread
        theta[i] = kept - g / (np.sqrt(spread) + eps) * rate


def _centered_with_momentum(
    theta: Any,
    grad: Any,
    square: Any,
    mean: Any,
    velocity: Any,
    keep: Any,
    decay: Any,
    alpha: Any,
    mu: Any,
    share: Any,
    eps: Any,
    rate: Any,
) -> None:
    """`RMSProp.update` centered and with momentum, number by number."""
    zero = eps - eps  # in the arrays' dtype
    for i in range(theta.size):
        kept = theta[i] * keep
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        square[i] = square[i] * alpha + g * g
        mean[i] = mean[i] * alpha + g
        spread = square[i] - mean[i] * mean[i] * share
        spread = zero if spread < zero else spread
        velocity[i] = velocity[i] * mu + g / (np.sqrt(spread) + eps)
        theta[i] = kept - velocity[i] * rate


class AdaDelta(Optimizer):
    """s ← ρ·s + (1−ρ)·g²; Δ = √(u + ε) / √(s + ε) · g; u ← ρ·u + (1−ρ)·Δ²; θ ← θ − lr·Δ.

    As PyTorch's `Adadelta`; the paper has no rate, which corresponds to lr = 1, and Keras's default of 0.001 makes it
    very slow. The first steps are small, because u grows from 0. Zeiler 2012.
    """

    spec_name = "AdaDelta"
    usual_rates = (1e-3, 10.0)
    also = ("Adadelta", "adadelta")
    scratches = ("scratch", "second_scratch")

    lr: LearningRate = LearningRate(1.0)
    _: KW_ONLY
    rho: Annotated[Probability, Also("alpha", "decay")] = 0.9
    eps: Epsilon = 1e-6

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """The mean squares of gradients and of steps."""
        return ("square", "square_step")

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """Δ = √((u + ε) / (s + ε)) · g; θ ← θ − lr·Δ."""
        other, square, square_step = state
        self._mean(square, grad, scratch)
        np.add(square, self.eps, out=other)
        np.add(square_step, self.eps, out=scratch)
        np.divide(scratch, other, out=scratch)
        np.sqrt(scratch, out=scratch)
        np.multiply(scratch, grad, out=scratch)
        self._mean(square_step, scratch, other)
        np.multiply(scratch, self.lr, out=scratch)
        np.subtract(theta, scratch, out=theta)

    def numbers(self) -> tuple[float, ...]:
        """ρ, 1−ρ, ε and the rate."""
        return self.rho, 1 - self.rho, self.eps, self.lr

    def kernel(self) -> Loop | None:
        """All of it in one pass."""
        return _adadelta

    def _mean(self, mean: NDArray[Any], values: NDArray[Any], scratch: NDArray[Any]) -> None:
        """Mean ← ρ · mean + (1−ρ) · values²."""
        np.multiply(values, values, out=scratch)
        np.multiply(scratch, 1 - self.rho, out=scratch)
        np.multiply(mean, self.rho, out=mean)
        np.add(mean, scratch, out=mean)


def _adadelta(
    theta: Any,
    grad: Any,
    square: Any,
    square_step: Any,
    keep: Any,
    decay: Any,
    rho: Any,
    rest: Any,
    eps: Any,
    rate: Any,
) -> None:
    """`AdaDelta.update`, number by number."""
    for i in range(theta.size):
        kept = theta[i] * keep
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        square[i] = square[i] * rho + g * g * rest
        step = np.sqrt((square_step[i] + eps) / (square[i] + eps)) * g
        square_step[i] = square_step[i] * rho + step * step * rest
        theta[i] = kept - step * rate
