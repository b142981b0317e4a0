"""Schedule-Free descent: gradients are taken between a base sequence and its average, and the average is evaluated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.optimizers.adaptive import Epsilon, normalised
from nnspec.engine.optimizers.contract import LearningRate, Loop, Optimizer
from nnspec.engine.part import Also, Probability, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ScheduleFreeAdamW", "ScheduleFreeSGD"]


class _ScheduleFree(Optimizer):
    """The share of each step in the average, which both have in common."""

    starts_at_weights = ("base", "average")
    evaluated = "average"
    _largest, _total, _share = 0.0, 0.0, 0.0

    _: KW_ONLY
    r: Annotated[float, Range(low=0, high=20)] = 0.0
    weight_lr_power: Annotated[float, Range(low=0)] = 2.0

    def advance(self) -> None:
        """Count the next step, and compute its share c. Weights are relative to that of the largest rate so far."""
        super().advance()
        largest = max(self._largest, self._rate)
        if largest > self._largest > 0:
            self._total *= (self._largest / largest) ** self.weight_lr_power
        weight = self.steps**self.r if largest or not self.weight_lr_power else 0.0
        self._largest, self._total = largest, self._total + weight
        self._share = weight / self._total if self._total else 0.0

    def scalars(self) -> dict[str, Any]:
        """The largest rate, the sum of the weights, and c."""
        return {"largest": self._largest, "total": self._total, "share": self._share}

    def keep_scalars(self, values: Mapping[str, Any]) -> None:
        """Restore them."""
        self._largest, self._total, self._share = (float(values[name]) for name in ("largest", "total", "share"))


class ScheduleFreeSGD(_ScheduleFree):
    """z ← z − lr·g, x ← (1−c)·x + c·z, θ ← (1−μ)·z + μ·x, where x and z start from θ, and c = w / (w₁ + … + w) with
    w = tʳ · (largest rate so far)^`weight_lr_power` at step t.

    Gradients are taken at θ. The average x is what is evaluated and kept (see `AveragedWeights.of`), as with
    `train.average`. With r = 0 and a constant rate it is the mean of all z, so that neither a schedule nor the length
    of training has to be chosen; for a warm-up, write `lr=constant(1, warmup=…)`, whose rates give w. Rates are ten to
    fifty times those of SGD. Defazio et al. 2024, equations 3 to 5; defaults as in the authors' package `schedulefree`,
    whose `warmup_steps` starts from lr / `warmup_steps` instead of 0. There, weights are switched by calling `eval` and
    `train` of the optimizer, which compute x from θ and z. Weight decay is that of θ. PyTorch and Keras have none.
    """

    spec_name = "ScheduleFreeSGD"
    usual_rates = (1e-3, 100.0)
    also = ("SGDScheduleFree", "schedule_free_sgd")

    lr: LearningRate = LearningRate(1.0)
    _: KW_ONLY
    momentum: Annotated[Probability, Also("mu", "beta")] = 0.9

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """z and x."""
        return ("base", "average")

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """z ← z − lr·g, x ← x + c·(z − x), θ ← x + (1−μ)·(z − x)."""
        base, average = state
        rate, share, ahead = self.numbers()
        np.multiply(grad, rate, out=scratch)
        np.subtract(base, scratch, out=base)
        _average(theta, base, average, scratch, share, ahead)

    def numbers(self) -> tuple[float, ...]:
        """The rate, c and 1−μ."""
        return self.lr, self._share, 1 - self.momentum

    def kernel(self) -> Loop | None:
        """All of it in one pass."""
        return _schedule_free_sgd


def _schedule_free_sgd(
    theta: Any, grad: Any, base: Any, average: Any, keep: Any, decay: Any, rate: Any, share: Any, ahead: Any
) -> None:
    """`ScheduleFreeSGD.update`, number by number."""
    for i in range(theta.size):
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        base[i] = base[i] - g * rate
        average[i] = average[i] + (base[i] - average[i]) * share
        theta[i] = average[i] + (base[i] - average[i]) * ahead


class ScheduleFreeAdamW(_ScheduleFree):
    """v ← β₂·v + (1−β₂)·g², z ← z − lr · (g / (√(v / (1−β₂ᵗ)) + ε) + λ·θ), x ← (1−c)·x + c·z, θ ← (1−β₁)·z + β₁·x at
    step t, with x, z and c as in `ScheduleFreeSGD`. λ is the weight decay.

    Gradients are taken at θ; the average x is what is evaluated and kept. Rates are one to ten times those of AdamW.
    Defazio et al. 2024, algorithm 1, whose warm-up is a schedule here: `lr=constant(0.0025, warmup=…)`. As the authors'
    `AdamWScheduleFree`, with its defaults and bias correction. The state stored here is z, x and v / (1−β₂).
    """

    spec_name = "ScheduleFreeAdamW"
    usual_rates = (1e-5, 0.5)
    also = ("AdamWScheduleFree", "schedule_free_adamw", "ScheduleFreeAdam")
    decoupled = True

    lr: LearningRate = LearningRate(0.0025)
    _: KW_ONLY
    betas: tuple[Probability, Probability] = (0.9, 0.999)
    eps: Epsilon = 1e-8
    scratches = ("scratch", "second_scratch")

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """z, x and the second moment, scaled as described above."""
        return ("base", "average", "second_moment")

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """z ← z − rate · g / (√v′ + ε′) + (θ′ − θ), where θ′ has decayed; then as in `ScheduleFreeSGD`."""
        other, base, average, second = state
        beta2, eps, rate, share, ahead = self.numbers()
        # θ before it decayed
        np.subtract(base, average, out=other)
        np.multiply(other, ahead, out=other)
        np.add(average, other, out=other)
        np.subtract(theta, other, out=other)
        np.multiply(second, beta2, out=second)
        np.multiply(grad, grad, out=scratch)
        np.add(second, scratch, out=second)
        normalised(grad, second, eps, out=scratch)
        np.multiply(scratch, rate, out=scratch)
        np.subtract(base, scratch, out=base)
        np.add(base, other, out=base)
        _average(theta, base, average, scratch, share, ahead)

    def numbers(self) -> tuple[float, ...]:
        """β₂, ε′, the rate, c and 1−β₁."""
        beta1, beta2 = self.betas
        correction = math.sqrt((1 - beta2) / (1 - beta2**self.steps))
        return beta2, self.eps / correction, self.lr / correction, self._share, 1 - beta1

    def kernel(self) -> Loop | None:
        """All of it in one pass."""
        return _schedule_free_adamw


def _schedule_free_adamw(
    theta: Any,
    grad: Any,
    base: Any,
    average: Any,
    second: Any,
    keep: Any,
    decay: Any,
    beta2: Any,
    eps: Any,
    rate: Any,
    share: Any,
    ahead: Any,
) -> None:
    """`ScheduleFreeAdamW.update`, number by number."""
    for i in range(theta.size):
        decayed = theta[i] * keep - (average[i] + (base[i] - average[i]) * ahead)
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        second[i] = second[i] * beta2 + g * g
        base[i] = base[i] - g / (np.sqrt(second[i]) + eps) * rate + decayed
        average[i] = average[i] + (base[i] - average[i]) * share
        theta[i] = average[i] + (base[i] - average[i]) * ahead


def _average(
    theta: NDArray[Any], base: NDArray[Any], average: NDArray[Any], scratch: NDArray[Any], share: float, ahead: float
) -> None:
    """x ← x + c·(z − x); θ ← x + a·(z − x). Numbers at which x = z do not move."""
    np.subtract(base, average, out=scratch)
    np.multiply(scratch, share, out=scratch)
    np.add(average, scratch, out=average)
    np.subtract(base, average, out=scratch)
    np.multiply(scratch, ahead, out=scratch)
    np.add(average, scratch, out=theta)
