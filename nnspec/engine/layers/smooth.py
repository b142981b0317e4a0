"""Activations whose derivative is not a function of their output: forward computes it too, while x is available.

Backward is then one multiplication, x may be overwritten, and as much is kept as the size of x. Computations run in
blocks that stay in the cache, since each formula makes about fifteen passes over its block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nnspec.engine._numpy import np
from nnspec.engine.gaussian import DENSITY_AT_ZERO, tail_of
from nnspec.engine.layers.activations import Activation
from nnspec.engine.layers.contract import Geometry, Shape, saved
from nnspec.engine.part import Also, Positive, Range, kept
from nnspec.engine.work import Work, samples_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GELU", "HardSwish", "Mish", "SiLU", "SmoothActivation", "Softplus"]

BLOCK = 16384
"""Numbers per block."""


class SmoothActivation(Activation):
    """Base: computes y and the slope dy/dx block by block; dL/dx = g · slope."""

    backward_reads = frozenset()

    _slope: NDArray[Any] | None = kept()

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Any shape, unchanged."""
        return Geometry(
            out=incoming,
            flops=cls.flops_each * prod(incoming),
            work={"slope": Work(incoming, saved=True), "scratch": Work((2, *incoming))},
        )

    def _apply(self, y: NDArray[Any], slope: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> None:
        """Replace x, which is in y, by f(x), and write f′(x) to `slope`; `a` and `b` are work arrays."""
        raise NotImplementedError

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """f(x), keeping f′(x)."""
        y = np.empty_like(x) if out is None else out
        if y is not x:
            np.copyto(y, x)
        memory = self.work_array("slope", x.shape, x.dtype)
        slope = samples_in(memory, x.shape, batch_last=not y.flags.c_contiguous)
        scratch = self.work_array("scratch", (len(x), 2, *x.shape[1:]), x.dtype).reshape(-1)
        for one, other in _blocks(y, slope):
            a = scratch[: one.size].reshape(one.shape)
            b = scratch[one.size : 2 * one.size].reshape(one.shape)
            self._apply(one, other, a, b)
        self._slope = slope
        return y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g · f′(x)."""
        return np.multiply(grad, saved(self._slope, self), out=out)


def _blocks(y: NDArray[Any], slope: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Split two arrays of one shape into pairs of blocks; into runs of memory if both are contiguous in the same
    order.
    """
    one, other = y, slope
    if not y.flags.c_contiguous:
        one, other = np.moveaxis(y, 0, -1), np.moveaxis(slope, 0, -1)
    if one.flags.c_contiguous and other.flags.c_contiguous:
        one, other, step = one.reshape(-1), other.reshape(-1), BLOCK
    else:
        one, other, step = y, slope, max(1, BLOCK // max(1, prod(y.shape[1:])))
    for start in range(0, len(one), step):
        yield one[start : start + step], other[start : start + step]


class GELU(SmoothActivation):
    """y = x Φ(x), Φ the normal distribution function; dL/dx = g · (Φ(x) + x φ(x)). Hendrycks & Gimpel 2016.

    Computed as max(x, 0) − |x| Φ(−|x|), which avoids cancellation. With `approximate=tanh`, as in GPT-2, Φ(x) is
    ½ (1 + tanh(√(2/π) (x + 0.044715 x³))), with an error of up to 5·10⁻⁴.
    """

    spec_name = "GELU"
    also = ("gelu", "Gelu", "GeLU")
    flops_each = 40

    _: KW_ONLY
    approximate: Annotated[Literal["none", "tanh"], Also("approximation")] = "none"

    def _apply(self, y: NDArray[Any], slope: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> None:
        if self.approximate == "tanh":
            _gelu_by_tanh(y, slope, a, b)
            return
        u = np.abs(y, out=a)
        tail_of(u, slope, b)
        # d = Φ(−u) − u φ(u) is the slope for x < 0, and 1 − d for x > 0.
        np.multiply(b, u, out=b)
        np.multiply(b, DENSITY_AT_ZERO, out=b)
        np.subtract(slope, b, out=b)
        np.multiply(u, slope, out=a)
        _either_side(b, y, slope)
        np.maximum(y, 0, out=y)
        np.subtract(y, a, out=y)


def _either_side(d: NDArray[Any], x: NDArray[Any], slope: NDArray[Any]) -> None:
    """Write 1 − d where x is positive and d where it is negative, for d at most ½; d is overwritten.

    That is ½ + copysign(½ − d, x), whose sign bit is set directly: `np.copysign` takes as long as twenty additions.
    """
    np.subtract(0.5, d, out=slope)
    bits, sign = (np.int32, -(2**31)) if x.dtype.itemsize == 4 else (np.int64, -(2**63))
    signs = np.bitwise_and(x.view(bits), sign, out=d.view(bits))
    np.bitwise_or(slope.view(bits), signs, out=slope.view(bits))
    np.add(slope, 0.5, out=slope)


def _gelu_by_tanh(y: NDArray[Any], slope: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> None:
    first, third = 2 * DENSITY_AT_ZERO, 0.044715
    square = np.multiply(y, y, out=a)
    np.multiply(square, first * third, out=b)
    np.add(b, first, out=b)
    np.multiply(b, y, out=b)
    t = np.tanh(b, out=b)
    np.multiply(square, 3 * first * third, out=a)
    np.add(a, first, out=a)
    # ½ (1 + t) + ½ x (1 − t²) z′
    np.multiply(t, t, out=slope)
    np.subtract(1, slope, out=slope)
    np.multiply(slope, a, out=slope)
    np.multiply(slope, y, out=slope)
    np.add(slope, t, out=slope)
    np.add(slope, 1, out=slope)
    np.multiply(slope, 0.5, out=slope)
    np.add(t, 1, out=b)
    np.multiply(b, 0.5, out=b)
    np.multiply(y, b, out=y)


class SiLU(SmoothActivation):
    """y = x σ(x) with σ the sigmoid; dL/dx = g · (σ + x σ (1 − σ)). Elfwing et al. 2017; Swish of Ramachandran et al.

    σ is computed as in `Sigmoid`, so that nothing overflows.
    """

    spec_name = "SiLU"
    also = ("silu", "Silu", "Swish", "swish")
    flops_each = 8

    def _apply(self, y: NDArray[Any], slope: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> None:
        np.multiply(y, 0.5, out=a)
        np.tanh(a, out=a)
        np.multiply(a, 0.5, out=a)
        sigmoid = np.add(a, 0.5, out=a)
        np.multiply(y, sigmoid, out=y)
        np.multiply(y, sigmoid, out=slope)
        np.subtract(y, slope, out=slope)
        np.add(slope, sigmoid, out=slope)


class Mish(SmoothActivation):
    """y = x t with t = tanh(log(1 + eˣ)); dL/dx = g · (t + x (1 − t²) σ(x)). Misra 2019.

    With w = eˣ and n = w (w + 2), t is n / (n + 2). From x = 20 on, t rounds to 1.
    """

    spec_name = "Mish"
    also = ("mish",)
    flops_each = 14

    def _apply(self, y: NDArray[Any], slope: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> None:
        np.minimum(y, 20, out=a)
        w = np.exp(a, out=a)
        np.add(w, 2, out=b)
        n = np.multiply(b, w, out=b)
        np.add(n, 2, out=slope)
        t = np.divide(n, slope, out=b)
        np.add(w, 1, out=slope)
        sigmoid = np.divide(w, slope, out=a)
        np.multiply(t, t, out=slope)
        np.subtract(1, slope, out=slope)
        np.multiply(slope, sigmoid, out=slope)
        np.multiply(slope, y, out=slope)
        np.add(slope, t, out=slope)
        np.multiply(y, t, out=y)


class Softplus(SmoothActivation):
    """y = log(1 + e^(βx)) / β, and x itself where βx > threshold; dL/dx = g · σ(βx), and g there. As in PyTorch.

    Computed as max(x, 0) + log(1 + e^(−β|x|)) / β, which cannot overflow.
    """

    spec_name = "Softplus"
    also = ("softplus", "SoftPlus")
    flops_each = 12

    beta: Positive = 1.0
    threshold: Annotated[float, Range(low=0)] = 20.0

    def _apply(self, y: NDArray[Any], slope: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> None:
        np.abs(y, out=a)
        np.multiply(a, -self.beta, out=a)
        np.exp(a, out=a)
        # Nothing is added if x is above the threshold.
        np.multiply(y, self.beta, out=b)
        np.less_equal(b, self.threshold, out=b)
        np.multiply(a, b, out=a)
        np.log1p(a, out=b)
        np.divide(b, self.beta, out=b)
        np.add(a, 1, out=slope)
        np.divide(a, slope, out=a)  # σ(−β|x|)
        _either_side(a, y, slope)
        np.maximum(y, 0, out=y)
        np.add(y, b, out=y)


class HardSwish(SmoothActivation):
    """y = x h with h = min(max(x/6 + ½, 0), 1); dL/dx = g · (h + x/6 where |x| < 3). Howard et al. 2019.

    At the kinks ±3, the slope is that of the outer side, as in PyTorch.
    """

    spec_name = "HardSwish"
    also = ("hardswish", "Hardswish", "hard_swish")
    flops_each = 7

    def _apply(self, y: NDArray[Any], slope: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> None:
        sixth = np.divide(y, 6, out=a)
        h = np.add(sixth, 0.5, out=b)
        np.maximum(h, 0, out=h)
        np.minimum(h, 1, out=h)
        np.abs(y, out=slope)
        np.less(slope, 3, out=slope)
        np.multiply(slope, sixth, out=slope)
        np.add(slope, h, out=slope)
        np.multiply(y, h, out=y)

    def sides(self) -> NDArray[Any] | None:
        """Whether each unit is on an outer side, where the slope is 0 or 1."""
        slope = saved(self._slope, self)
        return (slope == 0) | (slope == 1)
