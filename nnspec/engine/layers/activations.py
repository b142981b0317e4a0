"""Activations: elementwise, without parameters. Each may overwrite its input."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Geometry, Layer, Shape, ShapeError, saved
from nnspec.engine.part import Also, Range, kept
from nnspec.engine.work import Work, samples_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Activation",
    "HardSigmoid",
    "HardTanh",
    "LeakyReLU",
    "LogSigmoid",
    "ReLU",
    "ReLU6",
    "Sigmoid",
    "SoftSign",
    "Tanh",
]


class Activation(Layer):
    """Base of the activations whose derivative is a function of their output: y `(B, *s)` for x `(B, *s)`."""

    backward_reads = frozenset({"output"})
    in_place = True
    batch_invariant = True
    with_padding = "keeps"
    samples_independent = True
    batch_last = "keeps"
    family = "activation"
    image_as = "any"
    suits: ClassVar[tuple[str, ...]] = ()
    """Suitable initialisers, if those for ReLU would start its units in the flat ends; the first is the usual
    choice.
    """
    flops_each: ClassVar[int] = 1
    """FLOPs per element; an exponential or a hyperbolic tangent counts as one."""
    work_dtype: ClassVar[Any] = "float"
    """dtype of the work array in which backward computes the derivative."""

    _y: NDArray[Any] | None = kept()

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
        memory = self.work_array("derivative", y.shape, bool)
        # In the memory order of y: NumPy processes arrays of the same order in one run.
        active = np.greater(y, 0, out=samples_in(memory, y.shape, batch_last=not y.flags.c_contiguous))
        return np.multiply(grad, active, out=out)

    def sides(self) -> NDArray[Any] | None:
        """Whether each unit is active."""
        return saved(self._y, self) > 0


class LeakyReLU(Activation):
    """y = max(x, a·x), 0 ≤ a < 1; dL/dx = g where y > 0, else a·g (also at the kink x = 0, as in PyTorch).

    a is the `negative_slope`, 0.01 as in PyTorch; Keras's is 0.3. Maas et al. 2013.
    """

    spec_name = "LeakyReLU"
    also = ("leaky_relu", "LReLU", "LeakyRelu")
    flops_each = 2

    negative_slope: Annotated[float, Range(low=0, high=1, open_high=True), Also("alpha", "slope")] = 0.01

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """max(x, a·x)."""
        scaled = np.multiply(x, self.negative_slope, out=self.work_array("derivative", x.shape, x.dtype))
        self._y = np.maximum(x, scaled, out=out)
        return self._y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g · max([y > 0], a)."""
        y = saved(self._y, self)
        slope = np.greater(y, 0, out=self.work_array("derivative", y.shape, y.dtype))
        np.maximum(slope, self.negative_slope, out=slope)
        return np.multiply(grad, slope, out=out)

    def sides(self) -> NDArray[Any] | None:
        """Whether each unit is above zero."""
        return saved(self._y, self) > 0


class Sigmoid(Activation):
    """y = 1 / (1 + e⁻ˣ); dL/dx = g · y (1 − y). Computed as (1 + tanh(x/2)) / 2, which cannot overflow."""

    spec_name = "Sigmoid"
    squashes_with = "sigmoid"
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


class HardSigmoid(Activation):
    """y = min(max(x/6 + 1/2, 0), 1); dL/dx = g/6 where 0 < y < 1, else 0. As PyTorch's and Keras's."""

    spec_name = "HardSigmoid"
    also = ("Hardsigmoid", "hard_sigmoid", "hardsigmoid")
    suits = ("xavier_normal", "xavier_uniform")
    flops_each = 4

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Any shape, unchanged."""
        geometry = super().geometry(incoming, arguments)
        work = {**geometry.work, "above": Work(incoming, "bool")}
        return Geometry(out=incoming, flops=geometry.flops, work=work)

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """min(max(x/6 + 1/2, 0), 1)."""
        y = np.multiply(x, 1 / 6, out=out)
        np.add(y, 0.5, out=y)
        np.maximum(y, 0, out=y)
        self._y = np.minimum(y, 1, out=y)
        return self._y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g/6 · [0 < y < 1]."""
        y = saved(self._y, self)
        slope = np.greater(y, 0, out=self.work_array("derivative", y.shape, y.dtype))
        np.multiply(slope, 1 / 6, out=slope)
        above = np.greater_equal(y, 1, out=self.work_array("above", y.shape, bool))
        np.copyto(slope, 0, where=above)
        return np.multiply(grad, slope, out=out)

    def sides(self) -> NDArray[Any] | None:
        """Which of the three linear pieces each unit is on."""
        y = saved(self._y, self)
        return (y > 0).astype(np.int8) + (y >= 1)


class _Clipped(Activation):
    """Base of the activations that clip: y = min(max(x, low), high); dL/dx = g where low < y < high, else 0."""

    flops_each = 2
    min_val = 0.0
    max_val = 0.0

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Any shape, unchanged."""
        geometry = super().geometry(incoming, arguments)
        work = {"derivative": Work(incoming, "bool"), "above": Work(incoming, "bool")}
        return Geometry(out=incoming, flops=geometry.flops, work=work)

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """min(max(x, low), high)."""
        y = np.maximum(x, self.min_val, out=out)
        self._y = np.minimum(y, self.max_val, out=y)
        return self._y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g · [low < y < high]."""
        y = saved(self._y, self)
        inside = np.greater(y, self.min_val, out=self.work_array("derivative", y.shape, bool))
        above = np.greater_equal(y, self.max_val, out=self.work_array("above", y.shape, bool))
        return np.multiply(grad, np.greater(inside, above, out=inside), out=out)

    def sides(self) -> NDArray[Any] | None:
        """Which of the three pieces each unit is on."""
        y = saved(self._y, self)
        return (y > self.min_val).astype(np.int8) + (y >= self.max_val)


class HardTanh(_Clipped):
    """y = min(max(x, `min_val`), `max_val`), -1 and 1 by default; dL/dx = g strictly between the two, else 0.

    As in PyTorch. Raises ValueError if `min_val` is not below `max_val`.
    """

    spec_name = "HardTanh"
    also = ("Hardtanh", "hardtanh", "hard_tanh", "Clip")
    suits = ("xavier_normal", "xavier_uniform")

    min_val: Annotated[float, Range(low=-1e9, high=1e9), Also("low", "min")] = -1.0
    max_val: Annotated[float, Range(low=-1e9, high=1e9), Also("high", "max")] = 1.0

    def __post_init__(self) -> None:
        if problem := _clip_problem(self.min_val, self.max_val):
            raise ValueError(f"HardTanh: {problem}")

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Any shape, unchanged."""
        if problem := _clip_problem(arguments["min_val"], arguments["max_val"]):
            raise ShapeError(problem, argument="min_val", label="not below `max_val`", help="swap the two")
        return super().geometry(incoming, arguments)


def _clip_problem(low: float, high: float) -> str:
    return "" if low < high else f"`min_val` must be less than `max_val`, got {low:g} and {high:g}"


class ReLU6(_Clipped):
    """y = min(max(x, 0), 6); dL/dx = g where 0 < y < 6, else 0. Krizhevsky 2010; as in PyTorch and MobileNet."""

    spec_name = "ReLU6"
    also = ("relu6", "Relu6")
    max_val = 6.0


class SoftSign(Activation):
    """y = x / (1 + |x|); dL/dx = g · (1 − |y|)². As PyTorch's and Keras's. Bergstra et al. 2009."""

    spec_name = "SoftSign"
    also = ("Softsign", "softsign")
    suits = ("xavier_normal", "xavier_uniform")
    flops_each = 3

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """x / (1 + |x|)."""
        size = np.abs(x, out=self.work_array("derivative", x.shape, x.dtype))
        np.add(size, 1, out=size)
        self._y = np.divide(x, size, out=out)
        return self._y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g · (1 − |y|)²."""
        y = saved(self._y, self)
        slope = np.abs(y, out=self.work_array("derivative", y.shape, y.dtype))
        np.subtract(1, slope, out=slope)
        np.multiply(slope, slope, out=slope)
        return np.multiply(grad, slope, out=out)


class LogSigmoid(Activation):
    """y = −log(1 + e⁻ˣ), the logarithm of the sigmoid; dL/dx = g · (1 − eʸ). As PyTorch's."""

    spec_name = "LogSigmoid"
    also = ("logsigmoid", "log_sigmoid")
    suits = ("xavier_normal", "xavier_uniform")
    flops_each = 5

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """min(x, 0) − log(1 + e^−|x|)."""
        more = np.abs(x, out=self.work_array("derivative", x.shape, x.dtype))
        np.negative(more, out=more)
        np.exp(more, out=more)
        np.log1p(more, out=more)
        y = np.minimum(x, 0, out=out)
        self._y = np.subtract(y, more, out=y)
        return self._y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g · (1 − eʸ)."""
        y = saved(self._y, self)
        slope = np.expm1(y, out=self.work_array("derivative", y.shape, y.dtype))
        np.negative(slope, out=slope)
        return np.multiply(grad, slope, out=out)
