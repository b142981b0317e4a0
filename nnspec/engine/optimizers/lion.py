"""Steps of one length: the sign of a momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.optimizers.contract import Decay, Optimizer
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Probability, Rate
from nnspec.engine.schedules import Schedule

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Lion"]


class Lion(Optimizer):
    """θ ← θ − lr · (sign(β₁·m + (1−β₁)·g) + λ·θ); then m ← β₂·m + (1−β₂)·g. λ is the weight decay.

    Every number moves by lr in each step, so the rate is to be three to ten times smaller than Adam's, and λ as much
    larger. Chen et al. 2023, algorithm 2. PyTorch has none; Keras's `Lion` decays biases too, by a rate of its own. The
    state kept here is m / (1−β₂); the sign stays what it is when its argument is divided by 1−β₁.
    """

    spec_name = "Lion"
    usual_rates = (1e-7, 0.01)
    also = ("lion",)
    decoupled = True
    scratches = ("scratch", "second_scratch")

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: Rate | Schedule = 1e-4,
        *,
        betas: tuple[Probability, Probability] = (0.9, 0.99),
        weight_decay: Decay = 0.0,
        decay_all: bool = False,
    ) -> None:
        super().__init__(params, lr, self.state_slots({}), weight_decay=weight_decay, decay_all=decay_all)
        self.betas = betas

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """The momentum, scaled as said above."""
        return ("momentum",)

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """θ ← θ − lr · sign(β₁ (1−β₂) / (1−β₁) · m′ + g); m′ ← β₂·m′ + g."""
        other, momentum = state
        beta1, beta2 = self.betas
        np.multiply(momentum, beta1 * (1 - beta2) / (1 - beta1), out=scratch)
        np.add(scratch, grad, out=scratch)
        # np.sign takes ten times as long as x / |x|.
        np.abs(scratch, out=other)
        np.maximum(other, np.finfo(other.dtype).tiny, out=other)
        np.divide(scratch, other, out=scratch)
        np.multiply(scratch, self.lr, out=scratch)
        np.subtract(theta, scratch, out=theta)
        np.multiply(momentum, beta2, out=momentum)
        np.add(momentum, grad, out=momentum)
