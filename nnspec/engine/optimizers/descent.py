"""Gradient descent, with and without momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.optimizers.contract import LearningRate, Loop, Optimizer
from nnspec.engine.part import Also, Probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SGD", "Momentum", "Nesterov"]


class SGD(Optimizer):
    """θ ← θ − lr·g; with momentum μ: v ← μ·v + g, θ ← θ − lr·v, starting from v = 0.

    As PyTorch's `SGD`. Keras folds the rate into the velocity (v ← μ·v − lr·g, θ ← θ + v), which differs when the rate
    changes during training. Robbins & Monro 1951; Polyak 1964.
    """

    spec_name = "SGD"
    usual_rates = (1e-4, 2.0)
    also = ("GradientDescent", "sgd")

    lr: LearningRate = LearningRate(0.01)
    _: KW_ONLY
    momentum: Annotated[Probability, Also("beta", "mu")] = 0.0

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """A velocity, if there is momentum."""
        return ("velocity",) if arguments["momentum"] else ()

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """v ← μ·v + g; θ ← θ − lr·v."""
        direction = grad
        for velocity in state:
            np.multiply(velocity, self.momentum, out=velocity)
            direction = np.add(velocity, grad, out=velocity)
        np.multiply(direction, self.lr, out=scratch)
        np.subtract(theta, scratch, out=theta)

    def numbers(self) -> tuple[float, ...]:
        """The rate, preceded by μ if there is momentum."""
        return (self.momentum, self.lr) if self.momentum else (self.lr,)

    def kernel(self) -> Loop | None:
        """All of it in one pass."""
        return _descent_with_momentum if self.momentum else _descent


def _descent(theta: Any, grad: Any, keep: Any, decay: Any, rate: Any) -> None:
    """`SGD.update` without momentum, number by number."""
    for i in range(theta.size):
        kept = theta[i] * keep
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        theta[i] = kept - g * rate


def _descent_with_momentum(
    theta: Any, grad: Any, velocity: Any, keep: Any, decay: Any, momentum: Any, rate: Any
) -> None:
    """`SGD.update` with momentum, number by number."""
    for i in range(theta.size):
        kept = theta[i] * keep
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        velocity[i] = velocity[i] * momentum + g
        theta[i] = kept - velocity[i] * rate


class Momentum(SGD):
    """v ← μ·v + g; θ ← θ − lr·v: `SGD` with momentum, μ = 0.9 by default. Polyak 1964."""

    spec_name = "Momentum"
    usual_rates = (1e-5, 1.0)
    also = ("SGDMomentum", "HeavyBall")

    momentum: Annotated[Probability, Also("beta", "mu")] = 0.9


class Nesterov(Momentum):
    """v ← μ·v + g; θ ← θ − lr·(g + μ·v): evaluates the step as if the velocity had already been applied.

    As PyTorch's `SGD(nesterov=True)`. Keras folds the rate into the velocity, as with momentum. Nesterov 1983;
    Sutskever et al. 2013. The state stored here is μ·v: u ← μ·(u + g), θ ← θ − lr·(g + u), which needs one array less.
    """

    spec_name = "Nesterov"
    also = ("NAG", "NesterovMomentum")

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """u ← μ·(u + g); θ ← θ − lr·(g + u)."""
        direction = grad
        for ahead in state:
            np.add(ahead, grad, out=ahead)
            np.multiply(ahead, self.momentum, out=ahead)
            direction = np.add(grad, ahead, out=scratch)
        np.multiply(direction, self.lr, out=scratch)
        np.subtract(theta, scratch, out=theta)

    def kernel(self) -> Loop | None:
        """All of it in one pass."""
        return _ahead if self.momentum else _descent


def _ahead(theta: Any, grad: Any, ahead: Any, keep: Any, decay: Any, momentum: Any, rate: Any) -> None:
    """`Nesterov.update`, number by number."""
    for i in range(theta.size):
        kept = theta[i] * keep
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        ahead[i] = (ahead[i] + g) * momentum
        theta[i] = kept - (g + ahead[i]) * rate
