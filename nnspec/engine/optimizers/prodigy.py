"""Prodigy: Adam that estimates its own learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.optimizers.adaptive import Epsilon, normalised
from nnspec.engine.optimizers.contract import LearningRate, Loop, Optimizer
from nnspec.engine.part import Positive, Probability, Range

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from nnspec.engine.parameter import Parameter

__all__ = ["Prodigy"]


class Prodigy(Optimizer):
    """s ← β₃·s + lr·d²/d₀·g, q ← β₃·q + lr·d²/d₀·⟨g, θ₁ − θ⟩, d̂ = `d_coef`·q / ‖s‖₁, d′ = max(d, d̂);
    m ← β₁·m + (1−β₁)·d·g, v ← β₂·v + (1−β₂)·d²·g², θ ← (1 − lr·d·λ)·θ − lr·d·m / (√v + d′·ε); then d ← d′.

    d is one number for all parameters, which estimates the distance from the first weights θ₁ to the solution: ⟨ ⟩ and
    ‖ ‖₁ are sums over all that are trained. It starts from `d0` and never decreases; after its first increase, a step
    increases it at most by the factor `growth_rate` (`none`: any). So lr is a multiple of the estimate: leave it at 1,
    or give it a schedule; to tune the method, change `d_coef`. β₃ is √β₂ by default. `use_bias_correction` multiplies
    lr by √(1−β₂ᵗ) / (1−β₁ᵗ) at step t, and `safeguard_warmup` omits lr in s, for long warm-ups. At a rate of 0, a step
    changes nothing.

    Mishchenko & Defazio 2023, algorithm 4; as the authors' package `prodigyopt` 1.1 with its defaults, where m is
    computed for β₁ = 0 too, weight decay λ is always decoupled (a penalty is added to gradients), and sums are over all
    numbers (`slice_p=1`). ε is multiplied by d′, as there, and by d in the paper. A rate by layer scales the steps of
    that layer but not d; the authors' package raises an error for it. Each tensor is summed pairwise in its dtype, and
    the sums of tensors in order. PyTorch and Keras have none.
    """

    spec_name = "Prodigy"
    usual_rates = (0.01, 10.0)
    also = ("prodigy", "ProdigyOpt")
    whole_tensors = True
    couples_tensors = True
    starts_at_weights = ("first_weights",)

    lr: LearningRate = LearningRate(1.0)
    _: KW_ONLY
    betas: tuple[Probability, Probability] = (0.9, 0.999)
    beta3: Probability | None = None
    eps: Epsilon = 1e-8
    d0: Positive = 1e-6
    d_coef: Positive = 1.0
    growth_rate: Annotated[float, Range(low=1)] | None = None
    use_bias_correction: bool = False
    safeguard_warmup: bool = False

    def __post_init__(self, parameters: Iterable[Parameter]) -> None:
        super().__post_init__(parameters)
        self.d = self._before = self._largest = self.d0
        self._numerator, self._moves_made = 0.0, 0

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """m, v, s and θ₁."""
        return ("first_moment", "second_moment", "gradient_sum", "first_weights")

    def scalars(self) -> dict[str, Any]:
        """d, the largest d̂, q, and the number of steps at a rate above 0."""
        return {"d": self.d, "largest": self._largest, "numerator": self._numerator, "moves": self._moves_made}

    def keep_scalars(self, values: Mapping[str, Any]) -> None:
        """Restore them."""
        self.d, self._largest, self._numerator = (float(values[name]) for name in ("d", "largest", "numerator"))
        self._moves_made = int(values["moves"])

    def advance(self) -> None:
        """Count the next step, and estimate d from the gradients of all tensors."""
        super().advance()
        self._before = self.d
        if self.lr:
            self._moves_made += 1
            self._estimate()

    def _estimate(self) -> None:
        """s, q and d′, which `d` is from here on."""
        beta3 = math.sqrt(self.betas[1]) if self.beta3 is None else self.beta3
        share = self._before / self.d0
        self._numerator *= beta3
        size = 0.0
        for move in self._moves():
            scratch, *_, gradient_sum, first_weights = move.arrays
            np.subtract(first_weights, move.theta, out=scratch)
            np.multiply(scratch, move.grad, out=scratch)
            self._numerator += share * self._step * float(np.add.reduce(scratch, axis=None))
            np.multiply(gradient_sum, beta3, out=gradient_sum)
            np.multiply(move.grad, share * (self._before if self.safeguard_warmup else self._step), out=scratch)
            np.add(gradient_sum, scratch, out=gradient_sum)
            np.abs(gradient_sum, out=scratch)
            size += float(np.add.reduce(scratch, axis=None))
        if size:
            estimate = self.d_coef * self._numerator / size
            self._largest = max(self._largest, estimate)
            # The first growth is not limited.
            d = max(self._before, estimate) if self._before == self.d0 else self._before
            self.d = min(self._largest, math.inf if self.growth_rate is None else d * self.growth_rate)

    @property
    def _step(self) -> float:
        """lr·d, with the correction of the bias, at the rate of the group being updated."""
        (beta1, beta2), t = self.betas, self._moves_made
        return self.lr * self._before * (math.sqrt(1 - beta2**t) / (1 - beta1**t) if self.use_bias_correction else 1.0)

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """m, v and θ of one tensor, given d and d′."""
        first, second, *_ = state
        moves, beta1, share1, beta2, share2, keep, eps, step = self.numbers()
        if not moves:
            return
        np.multiply(first, beta1, out=first)
        np.multiply(grad, share1, out=scratch)
        np.add(first, scratch, out=first)
        np.multiply(second, beta2, out=second)
        np.multiply(grad, grad, out=scratch)
        np.multiply(scratch, share2, out=scratch)
        np.add(second, scratch, out=second)
        if keep != 1:
            np.multiply(theta, keep, out=theta)
        normalised(first, second, eps, out=scratch)
        np.multiply(scratch, step, out=scratch)
        np.subtract(theta, scratch, out=theta)

    def numbers(self) -> tuple[float, ...]:
        """Whether anything moves (1 or 0), and β₁, (1−β₁)·d, β₂, (1−β₂)·d², 1 − lr·d·λ, d′·ε and lr·d."""
        (beta1, beta2), d, step = self.betas, self._before, self._step if self.lr else 0.0
        keep = 1 - step * self.moving.weight_decay
        return float(self.lr > 0), beta1, (1 - beta1) * d, beta2, (1 - beta2) * d**2, keep, self.d * self.eps, step

    def kernel(self) -> Loop | None:
        """The update that follows the estimate of d, in one pass."""
        return _prodigy


def _prodigy(
    theta: Any,
    grad: Any,
    first: Any,
    second: Any,
    gradient_sum: Any,
    first_weights: Any,
    _keep: Any,
    _decay: Any,
    moves: Any,
    beta1: Any,
    share1: Any,
    beta2: Any,
    share2: Any,
    keep: Any,
    eps: Any,
    step: Any,
) -> None:
    """`Prodigy.update`, element by element."""
    for i in range(theta.size if moves > 0 else 0):
        first[i] = first[i] * beta1 + grad[i] * share1
        second[i] = second[i] * beta2 + grad[i] * grad[i] * share2
        theta[i] = theta[i] * keep - first[i] / (np.sqrt(second[i]) + eps) * step
