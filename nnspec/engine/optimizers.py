"""Optimizers: how a gradient becomes a step. Ordered by how hard they are to understand.

θ is a parameter, g its gradient, lr the learning rate; all operations are element by element and in place. An
optimizer does not know how many layers there are: it takes any list of parameters, and the compiled plan gives it a
list of one, the vector that holds them all.

Where lr is a schedule, whoever trains says before each step where training stands:

    optimizer = nn.SGD(model.parameters(), lr=nn.CosineSchedule(0.1))
    optimizer.at(epoch + batch / batches, epochs)
    optimizer.step()
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Also, Part, Positive, Probability, Rate
from nnspec.engine.schedules import Schedule

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SGD", "Adam", "Momentum", "Optimizer"]


class Optimizer(Part):
    """Base of the optimizers: `step()` after each backward pass.

    Every parameter may have any shape; its state has the same. Raises ValueError for no parameters, TypeError for
    what are no Parameters.
    """

    kind: ClassVar[str] = "optimizer"
    usual_rates: ClassVar[tuple[float, float]] = (1e-6, 10.0)
    """Rates outside of these are rarely meant."""
    schedule: Schedule | None
    """What gives the rate, where it is not a plain number."""

    def __init__(self, params: Iterable[Parameter], slots: tuple[str, ...]) -> None:
        self.params = list(params)
        if not self.params:
            raise ValueError(f"{type(self).__name__}: there are no parameters to optimize")
        for parameter in self.params:
            if not isinstance(parameter, Parameter):
                raise TypeError(f"{type(self).__name__}: takes Parameters (model.parameters()), not {parameter!r}")
        self.state = [{slot: np.zeros_like(p.data) for slot in slots} for p in self.params]
        largest = max(self.params, key=lambda p: p.size).data
        self._scratch = np.empty(largest.size, largest.dtype)
        self.steps = 0

    @property
    def lr(self) -> float:
        """The rate of the next step: a number, also where a schedule gives it. Set to either, it counts from there."""
        return self._rate

    @lr.setter
    def lr(self, rate: float | Schedule) -> None:
        if isinstance(rate, Schedule):
            self.schedule, self._rate = rate, rate.rate(0.0, 1)
        else:
            self.schedule, self._rate = None, rate

    def at(self, epoch: float, epochs: int) -> None:
        """Say that training stands at `epoch`, a real number from 0, of `epochs`: a schedule gives its rate for that.

        Without it, every step has the schedule's rate at the start, which with a warm-up is 0. (PyTorch's schedulers
        are objects beside the optimizer, whose own `step()` moves the rate on.) A rate that is a number stays as it is.
        """
        if self.schedule is not None:
            self._rate = self.schedule.rate(epoch, epochs)

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Name the state that is kept for each parameter, each of the parameter's size."""
        raise NotImplementedError

    @classmethod
    def rests(cls, arguments: Mapping[str, Any]) -> bool:
        """Whether a number stays as it is while its gradient has always been zero. Weight decay would move it."""
        return not arguments.get("weight_decay", 0)

    def step(self) -> None:
        """Move every parameter once, along its `.grad`."""
        self.steps += 1
        for parameter, state in zip(self.params, self.state, strict=True):
            theta = parameter.data
            scratch = self._scratch[: theta.size].reshape(theta.shape)
            self.update(theta, parameter.grad, scratch, *state.values())

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """Move one parameter in place. `scratch` is an array of its shape to work in."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Set every gradient to zero. Backward overwrites gradients, so a training loop does not need it."""
        for parameter in self.params:
            parameter.grad.fill(0)

    def keep_in(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep the state of the only parameter, and `scratch`, in arrays of its shape that the caller owns."""
        (state,) = self.state
        for slot, values in state.items():
            arrays[slot][...] = values
            state[slot] = arrays[slot]
        self._scratch = arrays["scratch"]


class SGD(Optimizer):
    """θ ← θ − lr·g; with momentum μ: v ← μ·v + g, θ ← θ − lr·v, starting from v = 0.

    As PyTorch's `SGD`. Keras folds the rate into the velocity (v ← μ·v − lr·g, θ ← θ + v), which differs when the rate
    changes during training. Robbins & Monro 1951; Polyak 1964.
    """

    spec_name = "SGD"
    usual_rates = (1e-4, 2.0)
    also = ("GradientDescent", "sgd")

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: Rate | Schedule = 0.01,
        *,
        momentum: Annotated[Probability, Also("beta", "mu")] = 0.0,
    ) -> None:
        super().__init__(params, self.state_slots({"momentum": momentum}))
        self.lr = lr
        self.momentum = momentum

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """A velocity, where there is momentum."""
        return ("velocity",) if arguments["momentum"] else ()

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """v ← μ·v + g; θ ← θ − lr·v."""
        direction = grad
        for velocity in state:
            np.multiply(velocity, self.momentum, out=velocity)
            direction = np.add(velocity, grad, out=velocity)
        np.multiply(direction, self.lr, out=scratch)
        np.subtract(theta, scratch, out=theta)


class Momentum(SGD):
    """v ← μ·v + g; θ ← θ − lr·v: `SGD` under the name of what it adds, with μ = 0.9. Polyak 1964."""

    spec_name = "Momentum"
    usual_rates = (1e-5, 1.0)
    also = ("SGDMomentum", "HeavyBall")

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: Rate | Schedule = 0.01,
        momentum: Annotated[Probability, Also("beta", "mu")] = 0.9,
    ) -> None:
        super().__init__(params, lr, momentum=momentum)


class Adam(Optimizer):
    """m ← β₁·m + (1−β₁)·g, v ← β₂·v + (1−β₂)·g²; θ ← θ − lr · (m / (1−β₁ᵗ)) / (√(v / (1−β₂ᵗ)) + ε) at step t.

    Kingma & Ba 2015, algorithm 1, with bias correction; as PyTorch's `Adam`. Keras's corrects in the rate and adds
    its ε (1e-7) to the uncorrected √v. The state kept here is m / (1−β₁) and v / (1−β₂): the same recurrence with two
    multiplications fewer, their constants moved into the rate and into ε.
    """

    spec_name = "Adam"
    usual_rates = (1e-6, 0.05)
    also = ("adam",)

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: Rate | Schedule = 0.001,
        *,
        betas: tuple[Probability, Probability] = (0.9, 0.999),
        eps: Annotated[Positive, Also("epsilon")] = 1e-8,
    ) -> None:
        super().__init__(params, self.state_slots({}))
        self.lr = lr
        self.betas = betas
        self.eps = eps

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """The two moments, scaled as said above."""
        return ("first_moment", "second_moment")

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """θ ← θ − rate · m′ / (√v′ + ε′), with m′ = m/(1−β₁) and v′ = v/(1−β₂)."""
        first, second = state
        beta1, beta2 = self.betas
        # √(v/(1−β₂ᵗ)) = c·√v′, so m̂ / (√v̂ + ε) = m̂/c / (√v′ + ε/c).
        c = math.sqrt((1 - beta2) / (1 - beta2**self.steps))
        rate = self.lr * (1 - beta1) / (1 - beta1**self.steps) / c
        np.multiply(first, beta1, out=first)
        np.add(first, grad, out=first)
        np.multiply(second, beta2, out=second)
        np.multiply(grad, grad, out=scratch)
        np.add(second, scratch, out=second)
        np.sqrt(second, out=scratch)
        np.add(scratch, self.eps / c, out=scratch)
        np.divide(first, scratch, out=scratch)
        np.multiply(scratch, rate, out=scratch)
        np.subtract(theta, scratch, out=theta)
