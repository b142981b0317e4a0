"""Activations that are linear on one side and different on the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, InitVar
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from nnspec.engine._numpy import np
from nnspec.engine.layers.activations import Activation
from nnspec.engine.layers.contract import (
    Geometry,
    Layer,
    Shape,
    ShapeError,
    beside_features,
    but_features,
    feature_axis,
    sample_in_words,
    saved,
)
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Also, Count, Positive, kept
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CELU", "ELU", "SELU", "PReLU"]


class _Exponential(Activation):
    """Base of these: y = s·x where x > 0, else s·α·(eˣ − 1); dL/dx = g·s where y > 0, else g·(y + s·α)."""

    flops_each = 5
    scale: ClassVar[float] = 1.0
    """s."""
    alpha = 1.0
    """α."""

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Any shape, unchanged."""
        geometry = super().geometry(incoming, arguments)
        work = {**geometry.work, "positive": Work(incoming, "bool")}
        return Geometry(out=incoming, flops=geometry.flops, work=work)

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """s·(max(x, 0) + α·(e^min(x, 0) − 1))."""
        below = np.minimum(x, 0, out=self.work_array("derivative", x.shape, x.dtype))
        np.expm1(below, out=below)
        np.multiply(below, self.alpha * self.scale, out=below)
        y = np.maximum(x, 0, out=out)
        if self.scale != 1:
            np.multiply(y, self.scale, out=y)
        self._y = np.add(y, below, out=y)
        return self._y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g·s where y > 0, else g·(y + s·α)."""
        y = saved(self._y, self)
        slope = np.add(y, self.scale * self.alpha, out=self.work_array("derivative", y.shape, y.dtype))
        positive = np.greater(y, 0, out=self.work_array("positive", y.shape, bool))
        np.copyto(slope, self.scale, where=positive)
        return np.multiply(grad, slope, out=out)

    def sides(self) -> NDArray[Any] | None:
        """Whether each unit is on its linear side."""
        return saved(self._y, self) > 0


class ELU(_Exponential):
    """y = x where x > 0, else α·(eˣ − 1); dL/dx = g where y > 0, else g·(y + α). Clevert et al. 2016; as in PyTorch."""

    spec_name = "ELU"
    also = ("elu", "Elu")

    alpha: Positive = 1.0


class CELU(_Exponential):
    """y = x where x > 0, else α·(e^(x/α) − 1); dL/dx = g where y > 0, else g·(y/α + 1). Barron 2017; as in PyTorch."""

    spec_name = "CELU"
    also = ("celu", "Celu")
    flops_each = 6

    alpha: Positive = 1.0

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """max(x, 0) + α·(e^(min(x, 0)/α) − 1)."""
        below = np.minimum(x, 0, out=self.work_array("derivative", x.shape, x.dtype))
        np.divide(below, self.alpha, out=below)
        np.expm1(below, out=below)
        np.multiply(below, self.alpha, out=below)
        y = np.maximum(x, 0, out=out)
        self._y = np.add(y, below, out=y)
        return self._y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g where y > 0, else g·(y/α + 1)."""
        y = saved(self._y, self)
        slope = np.minimum(y, 0, out=self.work_array("derivative", y.shape, y.dtype))
        np.divide(slope, self.alpha, out=slope)
        np.add(slope, 1, out=slope)
        return np.multiply(grad, slope, out=out)

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Any shape, unchanged."""
        geometry = super().geometry(incoming, arguments)
        return Geometry(out=incoming, flops=geometry.flops, work={"derivative": geometry.work["derivative"]})


class SELU(_Exponential):
    """y = s·x where x > 0, else s·α·(eˣ − 1), with s = 1.0507… and α = 1.6733…; dL/dx = g·s or g·(y + s·α).

    With weights from `lecun_normal`, units keep mean 0 and variance 1 from layer to layer. The two constants are from
    Klambauer et al. 2017; as in PyTorch.
    """

    spec_name = "SELU"
    also = ("selu", "Selu")
    suits = ("lecun_normal", "lecun_uniform")
    scale = 1.0507009873554804934193349852946
    alpha = 1.6732632423543772848170429916717


class PReLU(Layer):
    """y = max(x, 0) + a·min(x, 0), with learned a `(1,)`, or one per feature or channel of x, initially 0.25.

    dL/dx = g where x > 0, else a·g; dL/da = Σ g·min(x, 0) over all elements that share it. Weight decay does not apply
    to a, as the paper recommends. As PyTorch's `PReLU`; Keras has one a per unit, initially 0. He et al. 2015.
    """

    spec_name = "PReLU"
    with_padding = "keeps"
    samples_independent = True
    also = ("prelu", "PRelu", "ParametricReLU")
    backward_reads = frozenset({"input"})
    family = "activation"
    kinds = MappingProxyType({"weight": "slope"})
    image_as = "any"

    num_parameters: Annotated[Count, Also("channels")] = 1
    _: KW_ONLY
    init: Annotated[float, Also("alpha", "negative_slope")] = 0.25
    dtype: InitVar[str] = "float64"
    _x: NDArray[Any] | None = kept()

    def __post_init__(self, dtype: str) -> None:
        self.weight = Parameter(np.full(self.num_parameters, self.init), dtype, decays=False)

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """Any shape, unchanged; it must have `num_parameters` features or channels, unless that is 1."""
        count, features = arguments.get("num_parameters", 1), incoming[feature_axis(incoming)]
        if count not in (1, features):
            raise ShapeError(
                f"this PReLU has {count} slopes but got {sample_in_words(incoming)}",
                argument="num_parameters",
                label="one, or one for each feature or channel",
                help=f"`PReLU({features})` has one for each, and `PReLU` one for all",
            )
        return Geometry(
            out=incoming, flops=3 * prod(incoming), parameters={"weight": (count,)}, work={"term": Work(incoming)}
        )

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """max(x, 0) + a·min(x, 0)."""
        self._x = x
        below = np.minimum(x, 0, out=self.work_array("term", x.shape, x.dtype))
        np.multiply(below, self._slopes(x), out=below)
        y = np.maximum(x, 0, out=out)
        return np.add(y, below, out=y)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """g where x > 0, else a·g; writing dL/da."""
        x, slopes = saved(self._x, self), self._slopes(grad)
        term = np.minimum(x, 0, out=self.work_array("term", x.shape, x.dtype))
        np.multiply(term, grad, out=term)
        shared = but_features(x) if self.weight.size > 1 else tuple(range(x.ndim))
        np.add.reduce(term, axis=shared, out=self.weight.grad if self.weight.size > 1 else self.weight.grad.reshape(()))
        if not input_grad:
            return None
        np.greater(x, 0, out=term)
        passed = np.multiply(grad, term, out=out)
        np.subtract(1, term, out=term)
        np.multiply(term, slopes, out=term)
        np.multiply(term, grad, out=term)
        return np.add(passed, term, out=passed)

    def _slopes(self, x: NDArray[Any]) -> NDArray[Any]:
        """a in a shape that broadcasts against x."""
        if self.weight.size == 1:
            return self.weight.data
        return self.weight.data.reshape(beside_features(x.shape[1:]))

    def parameters(self) -> dict[str, Parameter]:
        """Return `weight`, a."""
        return {"weight": self.weight}

    def sides(self) -> NDArray[Any] | None:
        """Whether each unit is above zero."""
        return saved(self._x, self) > 0
