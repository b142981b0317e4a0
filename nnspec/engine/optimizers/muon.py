"""Muon: the momentum of each matrix is orthogonalised, so that a step is equally long in all directions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import KW_ONLY
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nnspec.engine._numpy import np
from nnspec.engine.optimizers.adam import Adam, Betas, Epsilon
from nnspec.engine.optimizers.contract import Decay, Group, LearningRate
from nnspec.engine.optimizers.lamb import norm
from nnspec.engine.parameter import Parameter, Segment
from nnspec.engine.part import Also, BareWord, Count, Positive, Probability, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Muon"]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""a, b and c of the iteration, chosen by its author so that small singular values grow as fast as possible."""
LEAST_NORM = 1e-7


class Muon(Adam):
    """m ← μ·m + (1−μ)·g; θ ← (1 − lr·λ)·θ − lr·s·O, where O is u = μ·m + (1−μ)·g (without `nesterov`, u = m) with
    singular values near 1, and s = √max(1, out / in).

    O is UVᵀ of u = UΣVᵀ, approximately: X = u / ‖u‖, then X ← a·X + (b·A + c·A²)·X with A = XXᵀ, `ns_steps` times. Five
    iterations move singular values above 0.005 to between 0.68 and 1.16. With `adjust_lr=match_rms_adamw`, s =
    0.2·√max(in, out), so that rates for AdamW fit (Liu et al. 2025).

    Matrices are weights of two or more axes: of `Linear`, `(in, out)`; kernels of convolutions, `(out, in, kh, kw)`, as
    matrices `(out, in·kh·kw)`; weights of all gates of a recurrent layer, or of queries, keys and values, as one. All
    others are moved by `AdamW` at the rate `adamw_lr_factor`·lr, with `betas`, `eps` and the same λ: biases, scales and
    shifts, slopes, and tables of rows that are looked up, as of `Embedding`. So are the first and the last matrix, in
    the order of parameters, with `hidden_only=true`, as the author recommends for transformers; a network with two
    matrices is then trained by `AdamW` alone.

    Jordan et al. 2024 (kellerjordan.github.io/posts/muon). The author's code has the same defaults, rounds the
    iteration to bfloat16 and adds 1e-7 to ‖u‖; here it is computed in the dtype of the weights and ‖u‖ is at least
    1e-7, as in PyTorch. That code computes s of a convolution from kh / kw. PyTorch's `Muon` (lr = 0.001, λ = 0.1)
    moves matrices alone, and leaves others to a second optimizer. Keras's has six iterations, lr = 0.001,
    `adamw_lr_factor=0.1`, and moves kernels of images by Adam.

    The state stored here is m / (1−μ), and AdamW's moments as in `Adam`; the second is not used for matrices.
    """

    spec_name = "Muon"
    usual_rates = (1e-5, 1.0)
    also = ("muon", "MuonWithAuxAdam", "SingleDeviceMuon")
    decoupled = True
    whole_tensors = True
    scratches = ("scratch", "second_scratch", "gram")

    lr: LearningRate = LearningRate(0.02)
    _: KW_ONLY
    momentum: Annotated[Probability, Also("mu", "beta")] = 0.95
    nesterov: bool = True
    ns_steps: Annotated[Count, Range(low=1, high=99), Also("steps", "backend_steps")] = 5
    adjust_lr: Annotated[Literal["original", "match_rms_adamw"], Also("adjust_lr_fn")] = BareWord("original")  # type: ignore[assignment]
    hidden_only: bool = False
    adamw_lr_factor: Annotated[Positive, Also("adam_lr_ratio", "adamw_lr", "adam_lr")] = 0.015
    betas: Annotated[Betas, Also("adamw_betas", "adam_betas")] = (0.9, 0.95)
    eps: Annotated[Epsilon, Also("adamw_eps", "adam_eps")] = 1e-10
    weight_decay: Decay = 0.0

    def __post_init__(self, parameters: Iterable[Parameter]) -> None:
        super().__post_init__(parameters)
        tensors = [(i, s) for i, parameter in enumerate(self.params) for s in parameter.segments if _is_matrix(s)]
        self._ends = {(i, segment.start) for i, segment in (*tensors[:1], *tensors[-1:])}

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """A matrix moves along its orthogonalised momentum, any other tensor as by AdamW."""
        other, gram, first, second = state
        group, rate = self.moving, self.lr
        matrix = _is_matrix(group) and not (self.hidden_only and (group.parameter, group.start) in self._ends)
        if group.weight_decay:
            np.multiply(theta, 1 - rate * (1 if matrix else self.adamw_lr_factor) * group.weight_decay, out=theta)
        if not matrix:
            super().update(theta, grad, scratch, first, second)
            return
        np.multiply(first, self.momentum, out=first)
        np.add(first, grad, out=first)
        if self.nesterov:
            np.multiply(first, self.momentum, out=scratch)
            np.add(scratch, grad, out=scratch)
        else:
            np.copyto(scratch, first)
        np.divide(scratch, max(norm(scratch, other), LEAST_NORM / (1 - self.momentum)), out=scratch)
        shape = theta.shape[0], prod(theta.shape[1:])
        _orthogonalise(scratch.reshape(shape), other.reshape(shape), gram.reshape(-1), self.ns_steps)
        np.multiply(scratch, rate * self._factor(theta.shape), out=scratch)
        np.subtract(theta, scratch, out=theta)

    def numbers(self) -> tuple[float, ...]:
        """AdamW's β₁, β₂, ε′ and rate."""
        *constants, rate = super().numbers()
        return (*constants, rate * self.adamw_lr_factor)

    def _factor(self, shape: tuple[int, ...]) -> float:
        """Return s for a matrix `(in, out)` or a kernel `(out, in, …)`."""
        size, others = shape[0], prod(shape[1:])
        incoming, outgoing = (size, others) if len(shape) == 2 else (others, size)
        if self.adjust_lr == "original":
            return math.sqrt(max(1.0, outgoing / incoming))
        return 0.2 * math.sqrt(max(incoming, outgoing))


def _is_matrix(tensor: Segment | Group) -> bool:
    return len(tensor.shape) > 1 and tensor.decays and not tensor.looked_up


def _orthogonalise(x: NDArray[Any], scratch: NDArray[Any], gram: NDArray[Any], steps: int) -> None:
    """X ← a·X + (b·A + c·A²)·X, or X·(…) with A = XᵀX if that is smaller; ‖X‖ must be at most 1."""
    a, b, c = COEFFICIENTS
    side, tall = min(x.shape), x.shape[0] > x.shape[1]
    square, power = (array.reshape(-1)[: side * side].reshape(side, side) for array in (gram, scratch))
    for _ in range(steps):
        left, right = (x.T, x) if tall else (x, x.T)
        np.matmul(left, right, out=square)
        np.matmul(square, square, out=power)
        np.multiply(power, c, out=power)
        np.multiply(square, b, out=square)
        np.add(square, power, out=square)
        left, right = (x, square) if tall else (square, x)
        np.matmul(left, right, out=scratch)
        np.multiply(x, a, out=x)
        np.add(x, scratch, out=x)
