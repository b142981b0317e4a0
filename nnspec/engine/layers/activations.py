"""Activations: element by element, no parameters. Each may write over its input."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Geometry, Layer, Shape, saved
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Activation", "ReLU", "Sigmoid", "Tanh"]


class Activation(Layer):
    """Base of the activations whose derivative is a function of their output: y `(B, *s)` for x `(B, *s)`."""

    backward_reads = frozenset({"output"})
    in_place = True
    family = "activation"
    suits: ClassVar[tuple[str, ...]] = ()
    """The initialisers made for it, where those made for ReLU start its units in the flat ends; the first is usual."""
    flops_each: ClassVar[int] = 1
    """FLOPs an element; an exponential or a hyperbolic tangent counts as one."""
    work_dtype: ClassVar[Any] = "float"
    """dtype of the work array in which backward puts the derivative together."""

    def __init__(self) -> None:
        super().__init__()
        self._y: NDArray[Any] | None = None

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Any shape, unchanged."""
        return Geometry(
            out=incoming,
            flops=cls.flops_each * prod(incoming),
            work={"derivative": Work(incoming, cls.work_dtype)},
        )


class ReLU(Activation):
    """y = max(x, 0); dL/dx = g where y > 0, else 0 (also at the kink x = 0, as in PyTorch)."""

    spec_name = "ReLU"
    also = ("relu", "Relu")
    work_dtype = "bool"

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """max(x, 0)."""
        self._y = np.maximum(x, 0, out=out)
        return self._y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g · [y > 0]."""
        y = saved(self._y, self)
        active = np.greater(y, 0, out=self.work_array("derivative", y.shape, bool))
        return np.multiply(grad, active, out=out)

    def sides(self) -> NDArray[Any] | None:
        """Whether each unit is active."""
        return saved(self._y, self) > 0


class Sigmoid(Activation):
    """y = 1 / (1 + e⁻ˣ); dL/dx = g · y (1 − y). Computed as (1 + tanh(x/2)) / 2, which cannot overflow."""

    spec_name = "Sigmoid"
    suits = ("xavier_normal", "xavier_uniform")
    also = ("sigmoid", "Logistic")
    flops_each = 4

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """1 / (1 + e⁻ˣ)."""
        y = np.multiply(x, 0.5, out=out)
        np.tanh(y, out=y)
        np.multiply(y, 0.5, out=y)
        self._y = np.add(y, 0.5, out=y)
        return self._y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g · y (1 − y)."""
        y = saved(self._y, self)
        slope = np.subtract(1, y, out=self.work_array("derivative", y.shape, y.dtype))
        np.multiply(slope, y, out=slope)
        return np.multiply(grad, slope, out=out)


class Tanh(Activation):
    """y = tanh x; dL/dx = g · (1 − y²)."""

    spec_name = "Tanh"
    suits = ("xavier_normal", "xavier_uniform")
    also = ("tanh",)

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Hyperbolic tangent."""
        self._y = np.tanh(x, out=out)
        return self._y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g · (1 − y²)."""
        y = saved(self._y, self)
        slope = np.multiply(y, y, out=self.work_array("derivative", y.shape, y.dtype))
        np.subtract(1, slope, out=slope)
        return np.multiply(grad, slope, out=out)
