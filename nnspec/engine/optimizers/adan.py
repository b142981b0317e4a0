"""Adan: Nesterov momentum, estimated from changes of the gradient, with adaptive rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.optimizers.adaptive import Epsilon, normalised
from nnspec.engine.optimizers.contract import LearningRate, Loop, Optimizer
from nnspec.engine.part import Probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Adan"]


class Adan(Optimizer):
    """m ← β₁·m + (1−β₁)·g, v ← β₂·v + (1−β₂)·(g − g₋), n ← β₃·n + (1−β₃)·(g + β₂·(g − g₋))²; θ ← (1 − lr·λ)·θ − lr ·
    (m / (1−β₁ᵗ) + β₂·v / (1−β₂ᵗ)) / (√(n / (1−β₃ᵗ)) + ε) at step t.

    g₋ is the gradient of the step before, in the first step g itself. λ is the weight decay. Xie et al. 2022, algorithm
    1, whose β are one minus those here, with the defaults and the bias correction of the authors' code. Weight decay
    is that of their `no_prox=True`, as in `AdamW`; their default, and the paper, divide by 1 + lr·λ after the step
    instead, which differs in the second order of lr. Their `max_grad_norm` is `train.clip_norm` here. PyTorch and Keras
    have no Adan; pytorch-optimizer's divides unless `weight_decouple=True`.

    The state stored here is m / (1−β₁), v / (1−β₂), n / (1−β₃) and g₋.
    """

    spec_name = "Adan"
    usual_rates = (1e-6, 0.05)
    also = ("adan",)
    decoupled = True
    scratches = ("scratch", "second_scratch")

    lr: LearningRate = LearningRate(0.001)
    _: KW_ONLY
    betas: tuple[Probability, Probability, Probability] = (0.98, 0.92, 0.99)
    eps: Epsilon = 1e-8

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """The moments of gradients, of their changes, and of squares, scaled as described above; and the gradient."""
        return ("first_moment", "change", "second_moment", "previous")

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """θ ← θ − (a·m′ + b·v′) / (√n′ + ε′), with m′ = m/(1−β₁), v′ = v/(1−β₂) and n′ = n/(1−β₃)."""
        other, first, change, second, previous = state
        beta1, beta2, beta3, eps, a, b, has_previous = self.numbers()
        np.subtract(grad, previous if has_previous else grad, out=scratch)
        np.copyto(previous, grad)
        np.multiply(first, beta1, out=first)
        np.add(first, grad, out=first)
        np.multiply(change, beta2, out=change)
        np.add(change, scratch, out=change)
        np.multiply(scratch, beta2, out=scratch)
        np.add(scratch, grad, out=scratch)
        np.multiply(scratch, scratch, out=scratch)
        np.multiply(second, beta3, out=second)
        np.add(second, scratch, out=second)
        np.multiply(first, a, out=other)
        np.multiply(change, b, out=scratch)
        np.add(other, scratch, out=other)
        normalised(other, second, eps, out=scratch)
        np.subtract(theta, scratch, out=theta)

    def numbers(self) -> tuple[float, ...]:
        """β₁, β₂, β₃, ε′, a, b, and whether there was a step before: 1 or 0."""
        (beta1, beta2, beta3), t = self.betas, self.steps
        c = math.sqrt((1 - beta3) / (1 - beta3**t))
        a = self.lr * (1 - beta1) / (1 - beta1**t) / c
        b = self.lr * beta2 * (1 - beta2) / (1 - beta2**t) / c
        return beta1, beta2, beta3, self.eps / c, a, b, 0.0 if t == 1 else 1.0

    def kernel(self) -> Loop | None:
        """All of it in one pass."""
        return _adan


def _adan(
    theta: Any,
    grad: Any,
    first: Any,
    change: Any,
    second: Any,
    previous: Any,
    keep: Any,
    decay: Any,
    beta1: Any,
    beta2: Any,
    beta3: Any,
    eps: Any,
    a: Any,
    b: Any,
    has_previous: Any,
) -> None:
    """`Adan.update`, number by number."""
    for i in range(theta.size):
        kept = theta[i] * keep
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        difference = g - previous[i] if has_previous > 0 else g - g
        previous[i] = g
        first[i] = first[i] * beta1 + g
        change[i] = change[i] * beta2 + difference
        ahead = difference * beta2 + g
        second[i] = second[i] * beta3 + ahead * ahead
        theta[i] = kept - (first[i] * a + change[i] * b) / (np.sqrt(second[i]) + eps)
