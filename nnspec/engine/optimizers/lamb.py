"""LAMB: layer-wise trust ratios make steps proportional to the norm of the tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.optimizers.adam import Betas, Epsilon, moments
from nnspec.engine.optimizers.adaptive import normalised
from nnspec.engine.optimizers.contract import Decay, LearningRate, Optimizer
from nnspec.engine.part import Also

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LAMB", "norm"]


class LAMB(Optimizer):
    """u = m̂ / (√v̂ + ε) + λ·θ; θ ← θ − lr · ‖θ‖ / ‖u‖ · u, tensor by tensor, with Adam's m̂ = m / (1−β₁ᵗ) and
    v̂ = v / (1−β₂ᵗ) at step t. The ratio is 1 if either norm is 0.

    You et al. 2020, algorithm 2, with φ(z) = z: every step changes a weight by the fraction lr of its own norm. As in
    the authors' code, the ratio is 1 for biases and for scales and shifts of normalisations; `adapt_all=True` computes
    it for them as well, as optax's `lamb` does. Keras's `Lamb` adapts all, too. NVIDIA's `FusedLAMB` and timm's `Lamb`
    adapt a tensor only if it decays, and the former clips the norm of all gradients first; timm's `trust_clip`, which
    limits the ratio to 1, is not implemented. PyTorch has no LAMB. λ = 0.01 is the
    default of `FusedLAMB`; the authors' code, in ALBERT, has λ = 0 and no bias correction. ‖·‖ is the L2 norm, summed
    pairwise in the dtype of the tensor.

    The state stored here is m / (1−β₁) and v / (1−β₂), as in `Adam`.
    """

    spec_name = "LAMB"
    usual_rates = (1e-5, 0.1)
    also = ("Lamb", "lamb", "FusedLAMB")
    whole_tensors = True
    scratches = ("scratch", "second_scratch")

    lr: LearningRate = LearningRate(0.001)
    _: KW_ONLY
    betas: Betas = (0.9, 0.999)
    eps: Epsilon = 1e-6
    weight_decay: Decay = 0.01
    decay_all: bool = False
    adapt_all: Annotated[bool, Also("always_adapt", "use_nvlamb")] = False

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """The two moments, scaled as described above."""
        return ("first_moment", "second_moment")

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """θ ← θ − lr · ‖θ‖ / ‖u‖ · u of one tensor, with u = a · m′ / (√v′ + ε′) + λ·θ."""
        other, first, second = state
        (beta1, beta2), group = self.betas, self.moving
        c = math.sqrt((1 - beta2) / (1 - beta2**self.steps))
        moments(first, second, grad, scratch, self.betas)
        normalised(first, second, self.eps / c, out=scratch)
        np.multiply(scratch, (1 - beta1) / (1 - beta1**self.steps) / c, out=scratch)
        if group.weight_decay:
            np.multiply(theta, group.weight_decay, out=other)
            np.add(scratch, other, out=scratch)
        ratio = 1.0
        if self.adapt_all or group.decays:
            size, length = norm(theta, other), norm(scratch, other)
            ratio = size / length if size and length else 1.0
        np.multiply(scratch, self.lr * ratio, out=scratch)
        np.subtract(theta, scratch, out=theta)


def norm(x: NDArray[Any], scratch: NDArray[Any]) -> float:
    """‖x‖₂; `scratch` has the shape of x."""
    np.multiply(x, x, out=scratch)
    return math.sqrt(float(np.add.reduce(scratch, axis=None)))
