"""Adam and its variants: a step is the mean gradient divided by its typical magnitude."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.optimizers.adaptive import Epsilon, normalised
from nnspec.engine.optimizers.contract import Decay, LearningRate, Loop, Optimizer
from nnspec.engine.part import Also, Probability, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AMSGrad", "AdaMax", "Adam", "AdamW", "Betas", "Epsilon", "NAdam", "RAdam"]

Betas = tuple[Probability, Probability]


class Adam(Optimizer):
    """m ← β₁·m + (1−β₁)·g, v ← β₂·v + (1−β₂)·g²; θ ← θ − lr · (m / (1−β₁ᵗ)) / (√(v / (1−β₂ᵗ)) + ε) at step t.

    Kingma & Ba 2015, algorithm 1, with bias correction; as PyTorch's `Adam`. Keras's corrects the bias in the rate and
    adds its ε (1e-7) to the uncorrected √v. The state stored here is m / (1−β₁) and v / (1−β₂): the same recurrence
    with two fewer multiplications, whose constants are moved into the rate and into ε.
    """

    spec_name = "Adam"
    usual_rates = (1e-6, 0.05)
    also: ClassVar[tuple[str, ...]] = ("adam",)

    lr: LearningRate = LearningRate(0.001)
    _: KW_ONLY
    betas: Betas = (0.9, 0.999)
    eps: Epsilon = 1e-8

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """The two moments, scaled as described above."""
        return ("first_moment", "second_moment")

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """θ ← θ − rate · m′ / (√v′ + ε′), with m′ = m/(1−β₁) and v′ = v/(1−β₂)."""
        first, second = state
        _, _, eps, rate = self.numbers()
        moments(first, second, grad, scratch, self.betas)
        normalised(first, second, eps, out=scratch)
        np.multiply(scratch, rate, out=scratch)
        np.subtract(theta, scratch, out=theta)

    def numbers(self) -> tuple[float, ...]:
        """β₁, β₂, ε′ and the rate."""
        beta1, beta2 = self.betas
        # √(v/(1−β₂ᵗ)) = c·√v′, so m̂ / (√v̂ + ε) = m̂/c / (√v′ + ε/c).
        c = math.sqrt((1 - beta2) / (1 - beta2**self.steps))
        return beta1, beta2, self.eps / c, self.lr * (1 - beta1) / (1 - beta1**self.steps) / c

    def kernel(self) -> Loop | None:
        """All of it in one pass."""
        return _adam


def _adam(
    theta: Any,
    grad: Any,
    first: Any,
    second: Any,
    keep: Any,
    decay: Any,
    beta1: Any,
    beta2: Any,
    eps: Any,
    rate: Any,
) -> None:
    """`Adam.update`, number by number."""
    for i in range(theta.size):
        kept = theta[i] * keep
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        first[i] = first[i] * beta1 + g
        second[i] = second[i] * beta2 + g * g
        theta[i] = kept - first[i] / (np.sqrt(second[i]) + eps) * rate


class AdamW(Adam):
    """θ ← (1 − lr·λ)·θ, then Adam's step: decoupled weight decay λ, which is not divided by the gradient's magnitude.

    As PyTorch's `AdamW`, except that only weights decay (all parameters with `decay_all`). Keras's default is λ =
    0.004. The paper multiplies λ only by the schedule and not by the rate. Loshchilov & Hutter 2019, algorithm 2.
    """

    spec_name = "AdamW"
    also = ("adamw",)
    decoupled = True

    _: KW_ONLY
    weight_decay: Decay = 0.01


class AMSGrad(Adam):
    """Adam with the largest v so far, v̂ ← max(v̂, v), instead of v: the effective rate never grows again.

    As PyTorch's `Adam(amsgrad=True)`, where the maximum is also taken before bias correction. The paper has no bias
    correction. Reddi, Kale & Kumar 2018, algorithm 2.
    """

    spec_name = "AMSGrad"
    also = ("AmsGrad", "amsgrad")

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Adam's two moments, and the largest second moment so far, scaled alike."""
        return ("first_moment", "second_moment", "largest")

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """θ ← θ − rate · m′ / (√v̂′ + ε′), scaled as in Adam."""
        first, second, largest = state
        _, _, eps, rate = self.numbers()
        moments(first, second, grad, scratch, self.betas)
        np.maximum(largest, second, out=largest)
        normalised(first, largest, eps, out=scratch)
        np.multiply(scratch, rate, out=scratch)
        np.subtract(theta, scratch, out=theta)

    def kernel(self) -> Loop | None:
        """All of it in one pass."""
        return _amsgrad


def _amsgrad(
    theta: Any,
    grad: Any,
    first: Any,
    second: Any,
    largest: Any,
    keep: Any,
    decay: Any,
    beta1: Any,
    beta2: Any,
    eps: Any,
    rate: Any,
) -> None:
    """`AMSGrad.update`, number by number."""
    for i in range(theta.size):
        kept = theta[i] * keep
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        first[i] = first[i] * beta1 + g
        second[i] = second[i] * beta2 + g * g
        # NaN in either is propagated, as by np.maximum.
        largest[i] = largest[i] if largest[i] >= second[i] or largest[i] != largest[i] else second[i]
        theta[i] = kept - first[i] / (np.sqrt(largest[i]) + eps) * rate


class AdaMax(Optimizer):
    """m ← β₁·m + (1−β₁)·g, u ← max(β₂·u, |g| + ε); θ ← θ − lr / (1−β₁ᵗ) · m / u at step t.

    Kingma & Ba 2015, algorithm 2, where ε is 0; as PyTorch's `Adamax`. Keras's adds ε to u in the step. The state
    stored here is m / (1−β₁) and u.
    """

    spec_name = "AdaMax"
    usual_rates = (1e-6, 0.1)
    also = ("Adamax", "adamax")

    lr: LearningRate = LearningRate(0.002)
    _: KW_ONLY
    betas: Betas = (0.9, 0.999)
    eps: Epsilon = 1e-8

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """The first moment, scaled, and the decaying maximum of gradient magnitudes."""
        return ("first_moment", "largest")

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """m′ ← β₁·m′ + g, u ← max(β₂·u, |g| + ε); θ ← θ − lr (1−β₁) / (1−β₁ᵗ) · m′ / u."""
        first, largest = state
        beta1, beta2, eps, rate = self.numbers()
        np.multiply(first, beta1, out=first)
        np.add(first, grad, out=first)
        np.abs(grad, out=scratch)
        np.add(scratch, eps, out=scratch)
        np.multiply(largest, beta2, out=largest)
        np.maximum(largest, scratch, out=largest)
        np.divide(first, largest, out=scratch)
        np.multiply(scratch, rate, out=scratch)
        np.subtract(theta, scratch, out=theta)

    def numbers(self) -> tuple[float, ...]:
        """β₁, β₂, ε and lr (1−β₁) / (1−β₁ᵗ)."""
        beta1, beta2 = self.betas
        return beta1, beta2, self.eps, self.lr * (1 - beta1) / (1 - beta1**self.steps)

    def kernel(self) -> Loop | None:
        """All of it in one pass."""
        return _adamax


def _adamax(
    theta: Any,
    grad: Any,
    first: Any,
    largest: Any,
    keep: Any,
    decay: Any,
    beta1: Any,
    beta2: Any,
    eps: Any,
    rate: Any,
) -> None:
    """`AdaMax.update`, number by number."""
    for i in range(theta.size):
        kept = theta[i] * keep
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        first[i] = first[i] * beta1 + g
        size, before = abs(g) + eps, largest[i] * beta2
        # NaN in either is propagated, as by np.maximum.
        largest[i] = before if before >= size or before != before else size
        theta[i] = kept - first[i] / largest[i] * rate


class NAdam(Adam):
    """Adam with Nesterov momentum that grows: μₜ = β₁·(1 − 0.96^(t·ψ) / 2), Πₜ = μ₁·…·μₜ, ψ the `momentum_decay`;

        θ ← θ − lr · (μₜ₊₁ / (1 − Πₜ₊₁) · m + (1−μₜ) / (1 − Πₜ) · g) / (√(v / (1−β₂ᵗ)) + ε) at step t

    with Adam's m and v. Dozat 2016; as PyTorch's `NAdam`. Keras's `Nadam` fixes ψ = 0.004, the default here. The state
    stored here is m / (1−β₁) and v / (1−β₂).
    """

    spec_name = "NAdam"
    also = ("Nadam", "nadam")
    scratches = ("scratch", "second_scratch")

    lr: LearningRate = LearningRate(0.002)
    _: KW_ONLY
    momentum_decay: Annotated[float, Range(low=0), Also("psi", "schedule_decay")] = 0.004
    _product, _factors = 1.0, 0

    def _momentum(self, step: int) -> float:
        """μₜ at step t."""
        return self.betas[0] * (1 - 0.96 ** (step * self.momentum_decay) / 2)

    def _products(self) -> tuple[float, float]:
        """Πₜ and Πₜ₊₁: functions of the step number only, independent of earlier steps."""
        if self._factors > self.steps:
            self._product, self._factors = 1.0, 0
        while self._factors < self.steps:
            self._factors += 1
            self._product *= self._momentum(self._factors)
        return self._product, self._product * self._momentum(self.steps + 1)

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """θ ← θ − (a·m′ + b·g) / (√v′ + ε′), scaled as in Adam."""
        other, first, second = state
        _, _, eps, a, b = self.numbers()
        moments(first, second, grad, scratch, self.betas)
        np.multiply(first, a, out=other)
        np.multiply(grad, b, out=scratch)
        np.add(other, scratch, out=other)
        normalised(other, second, eps, out=scratch)
        np.subtract(theta, scratch, out=theta)

    def numbers(self) -> tuple[float, ...]:
        """β₁, β₂, ε′, a and b."""
        beta1, beta2 = self.betas
        product, next_product = self._products()
        c = math.sqrt((1 - beta2) / (1 - beta2**self.steps))
        a = self.lr * self._momentum(self.steps + 1) / (1 - next_product) * (1 - beta1) / c
        b = self.lr * (1 - self._momentum(self.steps)) / (1 - product) / c
        return beta1, beta2, self.eps / c, a, b

    def kernel(self) -> Loop | None:
        """All of it in one pass."""
        return _nadam


def _nadam(
    theta: Any,
    grad: Any,
    first: Any,
    second: Any,
    keep: Any,
    decay: Any,
    beta1: Any,
    beta2: Any,
    eps: Any,
    a: Any,
    b: Any,
) -> None:
    """`NAdam.update`, number by number."""
    for i in range(theta.size):
        kept = theta[i] * keep
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        first[i] = first[i] * beta1 + g
        second[i] = second[i] * beta2 + g * g
        theta[i] = kept - (first[i] * a + g * b) / (np.sqrt(second[i]) + eps)


class RAdam(Adam):
    """Rectified Adam: divides by √v only once v is reliable, and then corrects for its variance:

        ρ∞ = 2 / (1−β₂) − 1,  ρₜ = ρ∞ − 2·t·β₂ᵗ / (1−β₂ᵗ),  r = √((ρₜ−4)(ρₜ−2)ρ∞ / ((ρ∞−4)(ρ∞−2)ρₜ))
        θ ← θ − lr · r · √(1−β₂ᵗ) · m̂ / (√v + ε) if ρₜ > 5, else θ ← θ − lr · m̂, with m̂ = m / (1−β₁ᵗ)

    with Adam's m and v, so that no warm-up is needed. As PyTorch's `RAdam`; the paper has ρₜ > 4 and no ε. Liu et al.
    2020. The state stored here is m / (1−β₁) and v / (1−β₂).
    """

    spec_name = "RAdam"
    also = ("RectifiedAdam", "radam")

    def _rectification(self) -> float:
        """r, or 0 while the variance is too unreliable to divide by."""
        beta2 = self.betas[1]
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * self.steps * beta2**self.steps / (1 - beta2**self.steps)
        if length <= 5:
            return 0.0
        share = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        return math.sqrt(share)

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """θ ← θ − rate · m′ / (√v′ + ε/c) with c = √(1−β₂), or θ ← θ − rate · m′."""
        first, second = state
        _, _, eps, rate, divides = self.numbers()
        moments(first, second, grad, scratch, self.betas)
        direction = first
        if divides:
            direction = normalised(first, second, eps, out=scratch)
        np.multiply(direction, rate, out=scratch)
        np.subtract(theta, scratch, out=theta)

    def numbers(self) -> tuple[float, ...]:
        """β₁, β₂, ε/c, the rate, and whether it divides: 1 or 0."""
        beta1, beta2 = self.betas
        c, r = math.sqrt(1 - beta2), self._rectification()
        rate = self.lr * (1 - beta1) / (1 - beta1**self.steps)
        if r:
            rate *= r * math.sqrt(1 - beta2**self.steps) / c
        return beta1, beta2, self.eps / c, rate, 1.0 if r else 0.0

    def kernel(self) -> Loop | None:
        """All of it in one pass."""
        return _radam


def _radam(
    theta: Any,
    grad: Any,
    first: Any,
    second: Any,
    keep: Any,
    decay: Any,
    beta1: Any,
    beta2: Any,
    eps: Any,
    rate: Any,
    divides: Any,
) -> None:
    """`RAdam.update`, number by number."""
    for i in range(theta.size):
        kept = theta[i] * keep
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        first[i] = first[i] * beta1 + g
        second[i] = second[i] * beta2 + g * g
        direction = first[i] / (np.sqrt(second[i]) + eps) if divides > 0 else first[i]
        theta[i] = kept - direction * rate


def moments(
    first: NDArray[Any], second: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], betas: tuple[float, float]
) -> None:
    """m′ ← β₁·m′ + g, v′ ← β₂·v′ + g²."""
    np.multiply(first, betas[0], out=first)
    np.add(first, grad, out=first)
    np.multiply(second, betas[1], out=second)
    np.multiply(grad, grad, out=scratch)
    np.add(second, scratch, out=second)
