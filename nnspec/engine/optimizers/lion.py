"""Lion: steps of constant size, along the sign of a momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.optimizers.contract import LearningRate, Loop, Optimizer
from nnspec.engine.part import Probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Lion"]


class Lion(Optimizer):
    """θ ← θ − lr · (sign(β₁·m + (1−β₁)·g) + λ·θ); then m ← β₂·m + (1−β₂)·g. λ is the weight decay.

    Every number changes by lr in each step, so the rate should be three to ten times smaller than Adam's, and λ larger
    by the same factor. Chen et al. 2023, algorithm 2. PyTorch has no Lion; Keras's `Lion` also decays biases, with a
    rate of its own. The state stored here is m / (1−β₂); the sign is unaffected by dividing its argument by 1−β₁.
    """

    spec_name = "Lion"
    usual_rates = (1e-7, 0.01)
    also = ("lion",)
    decoupled = True
    scratches = ("scratch", "second_scratch")

    lr: LearningRate = LearningRate(1e-4)
    _: KW_ONLY
    betas: tuple[Probability, Probability] = (0.9, 0.99)

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """The momentum, scaled as described above."""
        return ("momentum",)

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """θ ← θ − lr · sign(β₁ (1−β₂) / (1−β₁) · m′ + g); m′ ← β₂·m′ + g."""
        other, momentum = state
        share, beta2, rate = self.numbers()
        np.multiply(momentum, share, out=scratch)
        np.add(scratch, grad, out=scratch)
        # np.sign takes ten times as long as x / |x|.
        np.abs(scratch, out=other)
        np.maximum(other, np.finfo(other.dtype).tiny, out=other)
        np.divide(scratch, other, out=scratch)
        np.multiply(scratch, rate, out=scratch)
        np.subtract(theta, scratch, out=theta)
        np.multiply(momentum, beta2, out=momentum)
        np.add(momentum, grad, out=momentum)

    def numbers(self) -> tuple[float, ...]:
        """β₁ (1−β₂) / (1−β₁), β₂ and the rate."""
        beta1, beta2 = self.betas
        return beta1 * (1 - beta2) / (1 - beta1), beta2, self.lr

    def kernel(self) -> Loop | None:
        """All of it in one pass."""
        return _lion


def _lion(theta: Any, grad: Any, momentum: Any, keep: Any, decay: Any, share: Any, beta2: Any, rate: Any) -> None:
    """`Lion.update`, number by number."""
    tiny = np.finfo(theta.dtype).tiny
    for i in range(theta.size):
        kept = theta[i] * keep
        g = theta[i] * decay + grad[i] if decay > 0 else grad[i]
        direction = momentum[i] * share + g
        size = abs(direction)
        size = tiny if size < tiny else size
        theta[i] = kept - direction / size * rate
        momentum[i] = momentum[i] * beta2 + g
