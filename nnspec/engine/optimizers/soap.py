"""SOAP: Adam in the eigenbases of Shampoo's preconditioners, the correlations of the gradients of a matrix."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.optimizers.adam import Betas, Epsilon, moments
from nnspec.engine.optimizers.adaptive import normalised
from nnspec.engine.optimizers.contract import Decay, LearningRate, Optimizer
from nnspec.engine.part import Also, Count, Probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SOAP"]

_COLUMNS = 48
"""The number of columns that LAPACK decomposes at once."""
_NO_STEP = "the first step only computes the bases, as in the authors' code"


class SOAP(Optimizer):
    """G′ = Q_Lᵀ·G·Q_R; m ← β₁·m + (1−β₁)·G, v ← β₂·v + (1−β₂)·G′²; N = Q_L·(Q_Lᵀ·m·Q_R / (√v + ε))·Q_Rᵀ;
    θ ← (1 − lr·λ)·(θ − lr·√(1−β₂ᵗ) / (1−β₁ᵗ)·N) for the gradient G of a matrix.

    The columns of Q_L and Q_R are eigenvectors of L ← β·L + (1−β)·G·Gᵀ and R ← β·R + (1−β)·Gᵀ·G, with β =
    `shampoo_beta`, by default β₂. They come from a decomposition in the first step, which moves nothing, so that t
    counts from the second; from then on, every `precondition_frequency` steps, from one step of the power iteration
    and a QR decomposition, in the order of their eigenvalues. A side longer than `max_precond_dim` has no basis (Q =
    1). Vectors have none at all: Adam moves them, with ε added to the uncorrected √v.

    A tensor with more than two axes is a matrix of (first axis, all others): a convolution kernel is `(out, in·kh·kw)`.
    The authors' code has a basis for each axis; with `merge_dims=True` it merges axes from the first on, as long as
    their product is at most `max_precond_dim`, so that a small kernel becomes a vector with one basis.

    Vyas et al. 2024, algorithm 3; Gupta, Koren & Singer 2018 for Shampoo. The defaults are those of the authors' code,
    which computes bases in float32 and not in the dtype of the weights. PyTorch has no SOAP. Where the first gradient
    has a low rank, such as after a small batch, eigenvectors of the eigenvalue 0 are arbitrary: they depend on LAPACK
    and on rounding, and so do the steps along them; they are the same in every run on one machine. When bases are
    renewed, v is only reordered: where it is small in an old direction and m is not in the new one, a step becomes
    long, above all with one basis, sparse inputs and small batches.

    Each step takes four products of a tensor with its bases and two with itself; steps that renew bases also allocate
    memory. The state stored here is m / (1−β₁) in the bases, Q_Lᵀ·m·Q_R, v / (1−β₂), L / (1−β) and R / (1−β).
    """

    spec_name = "SOAP"
    usual_rates = (1e-5, 0.1)
    also = ("Soap", "soap")
    decoupled = True
    whole_tensors = True
    scratches = ("scratch", "second_scratch")
    expected_failures = MappingProxyType(
        {
            "writes_in_place": _NO_STEP,
            "descends": _NO_STEP,
            "float32": "eigenvectors of the eigenvalue 0 depend on rounding",
        }
    )

    lr: LearningRate = LearningRate(0.003)
    _: KW_ONLY
    betas: Betas = (0.95, 0.95)
    shampoo_beta: Probability | None = None
    eps: Epsilon = 1e-8
    precondition_frequency: Annotated[Count, Also("preconditioning_compute_steps", "update_freq")] = 10
    max_precond_dim: Annotated[Count, Also("max_precondition_dim", "max_preconditioner_dim", "block_size")] = 10_000
    weight_decay: Decay = 0.01

    @classmethod
    def state_slots(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """The two moments, scaled and in the bases as described above."""
        return ("turned_moment", "second_moment")

    @classmethod
    def state_of_tensor(cls, arguments: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, int]:
        """L and R, and Q_L and Q_R, one after the other."""
        size = sum(side * side for side in _matrix(shape) if len(shape) > 1 and side <= arguments["max_precond_dim"])
        return {"grams": size, "bases": size}

    def update(self, theta: NDArray[Any], grad: NDArray[Any], scratch: NDArray[Any], *state: NDArray[Any]) -> None:
        """Move one tensor, and then update its matrices."""
        other, first, second, grams, bases = state
        shape = _matrix(theta.shape)
        sides = [*self._sides(shape, grams, bases)]
        theta, grad, scratch, other, first, second = (
            array.reshape(shape) for array in (theta, grad, scratch, other, first, second)
        )
        if self.steps > 1:
            self._move_along(sides, theta, grad, scratch, other, first, second)
        beta = self.betas[1] if self.shampoo_beta is None else self.shampoo_beta
        for side in sides:
            _accumulate(side.gram, grad if side.axis == 0 else grad.T, beta, scratch.reshape(-1))
        if self.steps == 1:
            for side in sides:
                side.basis[...] = _eigenvectors(side.gram)
        elif (self.steps - 1) % self.precondition_frequency == 0:
            _turn(first, sides, scratch, back=True)
            for side in sides:
                _renew(side, second)
            _turn(first, sides, scratch)

    def _move_along(
        self,
        sides: Sequence[_Side],
        theta: NDArray[Any],
        grad: NDArray[Any],
        scratch: NDArray[Any],
        other: NDArray[Any],
        first: NDArray[Any],
        second: NDArray[Any],
    ) -> None:
        """θ ← (1 − lr·λ)·(θ − rate·N), with N from m′ = m / (1−β₁) and v′ = v / (1−β₂)."""
        (beta1, beta2), t = self.betas, self.steps - 1
        np.copyto(scratch, grad)
        _turn(scratch, sides, other)
        moments(first, second, scratch, other, self.betas)
        normalised(first, second, self.eps / math.sqrt(1 - beta2), out=scratch)
        _turn(scratch, sides, other, back=True)
        corrected = math.sqrt((1 - beta2**t) / (1 - beta2)) * (1 - beta1) / (1 - beta1**t)
        np.multiply(scratch, self.lr * corrected, out=scratch)
        np.subtract(theta, scratch, out=theta)
        if decay := self.moving.weight_decay:
            np.multiply(theta, 1 - self.lr * decay, out=theta)

    def _sides(self, shape: tuple[int, ...], grams: NDArray[Any], bases: NDArray[Any]) -> Iterator[_Side]:
        start = 0
        for axis, size in enumerate(shape):
            if start < grams.size and size <= self.max_precond_dim:
                part = slice(start, start + size * size)
                yield _Side(axis, grams[part].reshape(size, size), bases[part].reshape(size, size))
                start = part.stop


@dataclass(frozen=True)
class _Side:
    """The rows or the columns of a matrix."""

    axis: int
    gram: NDArray[Any]
    """L or R."""
    basis: NDArray[Any]
    """Q_L or Q_R."""


def _matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the shape of a tensor as a matrix; a vector is a column."""
    return shape[0], prod(shape[1:])


def _turn(x: NDArray[Any], sides: Iterable[_Side], scratch: NDArray[Any], *, back: bool = False) -> None:
    """X ← Q_Lᵀ·X·Q_R, or back."""
    for side in sides:
        basis = side.basis.T if back else side.basis
        left, right = (x, basis) if side.axis else (basis.T, x)
        np.matmul(left, right, out=scratch)
        np.copyto(x, scratch)


def _accumulate(gram: NDArray[Any], x: NDArray[Any], beta: float, scratch: NDArray[Any]) -> None:
    """L ← β·L + X·Xᵀ, as many rows at a time as fit into `scratch`, which has the size of X; L is symmetric."""
    rows = max(1, scratch.size // len(gram))
    for start in range(0, len(gram), rows):
        stop = start + rows
        block = gram[start:stop, :stop]
        product = scratch[: block.size].reshape(block.shape)
        np.matmul(x[start:stop], x[:stop].T, out=product)
        np.multiply(block, beta, out=block)
        np.add(block, product, out=block)
        gram[:start, start:stop] = block[:, :start].T


def _eigenvectors(gram: NDArray[Any]) -> NDArray[Any]:
    """Return the eigenvectors as columns, that of the largest eigenvalue first; NaN if there are none."""
    try:
        return np.linalg.eigh(gram)[1][:, ::-1]
    except np.linalg.LinAlgError:  # of gradients that are not finite: the weights follow
        return np.full_like(gram, np.nan)


def _renew(side: _Side, second: NDArray[Any]) -> None:
    """Turn a basis towards the current eigenvectors, and reorder v with it."""
    turned = side.gram @ side.basis
    order = np.argsort(-np.add.reduce(side.basis * turned, axis=0), kind="stable")
    second[...] = second.take(order, axis=side.axis)
    side.basis[...] = _orthonormal(turned[:, order])


def _orthonormal(a: NDArray[Any]) -> NDArray[Any]:
    """Return Q of the QR decomposition of a square matrix, which is overwritten.

    `np.linalg.qr` computes in float64 and gains little from blocks: it takes twice as long for 784 columns of float32.
    Here it decomposes a few columns at a time, and the rest is matrix products: Q = Π (1 − V·T·Vᵀ) (Schreiber &
    Van Loan 1989). For small matrices, this is slower.
    """
    if len(a) <= 2 * _COLUMNS:
        return np.linalg.qr(a)[0]
    q, reflections = np.eye(len(a), dtype=a.dtype), []
    for start in range(0, len(a), _COLUMNS):
        below, stop = a[start:], start + _COLUMNS
        packed, scales = np.linalg.qr(below[:, start:stop], mode="raw")
        v = np.tril(packed.T, -1)
        np.fill_diagonal(v, scales != 0)  # a reflection of scale 0 is the identity
        t = np.linalg.inv(np.triu(v.T @ v, 1) + np.diag(1 / np.where(scales, scales, 1)))
        v, t = v.astype(a.dtype), t.astype(a.dtype)
        below[:, stop:] -= v @ (t.T @ (v.T @ below[:, stop:]))
        reflections.append((start, v, t))
    for start, v, t in reversed(reflections):
        q[start:, start:] -= v @ (t @ (v.T @ q[start:, start:]))
    return q
