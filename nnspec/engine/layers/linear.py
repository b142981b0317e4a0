"""The affine layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, InitVar
from math import prod
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.initializers import BiasInit, HeNormal, Initializer
from nnspec.engine.layers.contract import (
    Geometry,
    Layer,
    Shape,
    ShapeError,
    check_given,
    rows_of_places,
    sample_in_words,
    saved,
)
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Also, Count, Inferred, argument, kept
from nnspec.engine.random import default_generator
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Linear"]

HE_NORMAL = HeNormal()


class Linear(Layer):
    """y = x W + b, with x `(B, in)`, W `(in, out)`, b `(out,)`, y `(B, out)`.

    For sequences `(B, T, in)`, it is applied to every position: y `(B, T, out)`.
    dL/dW = xᵀ g, dL/db = Σ g over batch and positions, dL/dx = g Wᵀ for g = dL/dy. Weights start He-normal, biases at
    zero, or as `bias_init` says. PyTorch stores W as `(out, in)` and initialises both uniformly in ±1/√in, as
    `init=pytorch` does; Keras initialises W Glorot-uniform.
    """

    spec_name = "Linear"
    family = "linear"
    skips_frozen = True
    also = ("Dense", "FullyConnected", "Affine", "InnerProduct")
    backward_reads = frozenset({"input"})
    rows_of = "weight"
    batch_last = "rows"
    with_padding = "keeps"
    samples_independent = True
    units_independent = True

    in_features: Inferred[Annotated[Count, Also("in", "input_dim", "in_dim", "n_in", "inputs")]]
    out_features: Annotated[
        Count, Also("out", "units", "out_dim", "n_out", "outputs", "hidden_size", "width", "features")
    ]
    _: KW_ONLY
    use_bias: Annotated[bool, Also("use_bias")] = argument(alias="bias", default=True)
    init: Annotated[Initializer, Also("kernel_initializer", "weight_init")] = HE_NORMAL
    bias_init: BiasInit = None
    dtype: InitVar[str] = "float64"
    rng: InitVar[Generator | None] = None
    _x: NDArray[Any] | None = kept()

    def __post_init__(self, dtype: str, rng: Generator | None) -> None:
        fans, draw = (self.in_features, self.out_features), rng or default_generator()
        self.weight = Parameter(self.init.draw(fans, *fans, draw), dtype)
        start = self.bias_init or self.init.biases()
        bias = start.draw((self.out_features,), *fans, draw) if self.use_bias else None
        self.bias = None if bias is None else Parameter(bias, dtype, decays=False)

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`(in,) -> (out,)`, `(T, in) -> (T, out)`; 2·in·out FLOPs per position for the products, out more for the
        bias.
        """
        if len(incoming) not in (1, 2):
            raise ShapeError(
                f"Linear expects features but got {sample_in_words(incoming)}", help="add `Flatten` before it"
            )
        *places, arriving = incoming
        out, bias = arguments["out_features"], arguments["bias"]
        check_given(cls, arguments, "in_features", arriving, without=f"Linear({out})")
        return Geometry(
            out=(*places, out),
            flops=prod(places) * (2 * arriving * out + (out if bias else 0)),
            parameters={"weight": (arriving, out)} | ({"bias": (out,)} if bias else {}),
            inferred={"in_features": arriving},
            work={"ones": Work(tuple(places))} if bias else {},
        )

    @classmethod
    def stack(cls, parameters: Mapping[str, Parameter]) -> Layer:
        """Return the layers of all lanes as one, whose products run lane by lane within one call."""
        return _Lanes(parameters["weight"], parameters.get("bias"))

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """y = x W + b: `(B, in) -> (B, out)`, and `(B, T, in) -> (B, T, out)`."""
        self._x = x
        if x.ndim == 2:
            y = np.matmul(x, self.weight.data, out=out)
        else:
            # One product for all positions, instead of one for each sample.
            y = np.empty((*x.shape[:-1], self.weight.shape[1]), x.dtype) if out is None else out
            np.matmul(rows_of_places(x), self.weight.data, out=rows_of_places(y))
        if self.bias is not None:
            np.add(y, self.bias.data, out=y)
        return y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """`(B, out) -> (B, in)`, writing dL/dW and dL/db; sequences likewise."""
        x = saved(self._x, self)
        g = rows_of_places(grad)
        if self.trains:
            np.matmul(rows_of_places(x).T, g, out=self.weight.grad)
        if self.trains and self.bias is not None:
            # Σ over the batch as a product with ones: three times as fast as a sum along that axis.
            ones = self.work_array("ones", grad.shape[:-1], grad.dtype)
            ones.fill(1)
            np.matmul(ones.reshape(-1), g, out=self.bias.grad)
        if not input_grad:
            return None
        if x.ndim == 2:
            return np.matmul(grad, self.weight.data.T, out=out)
        passed = np.empty(x.shape, grad.dtype) if out is None else out
        np.matmul(g, self.weight.data.T, out=rows_of_places(passed))
        return passed


class _Lanes(Layer):
    """y[l] = x[l] W[l] + b[l], with x `(L, B, in)`, or `(B, in)` for all lanes, W `(L, in, out)`, b `(L, out)`.

    The operations of `Linear` with an additional axis, in the same order; a stack of products is one product per lane,
    so results are bit-identical. Sequences `(L, B, T, in)` are handled likewise.
    """

    def __init__(self, weight: Parameter, bias: Parameter | None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self._x: NDArray[Any] | None = None

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """`(L, B, in) -> (L, B, out)`."""
        weight, shared = self.weight.data, x.ndim < (3 if out is None else out.ndim)
        lead = x.shape[:-1] if not shared else (len(weight), *x.shape[:-1])
        y = np.empty((*lead, weight.shape[-1]), x.dtype) if out is None else out
        self._x = rows_of_places(x) if shared else _lane_rows(x)
        rows = _lane_rows(y)
        np.matmul(self._x, weight, out=rows)
        if self.bias is not None:
            np.add(rows, self.bias.data[:, None], out=rows)
        return y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """`(L, B, out) -> (L, B, in)`, writing dL/dW and dL/db of every lane."""
        x, g = saved(self._x, self), _lane_rows(grad)
        if self.trains:
            np.matmul(x.swapaxes(-1, -2), g, out=self.weight.grad)
        if self.trains and self.bias is not None:
            ones = self.work_array("ones", grad.shape[1:-1], grad.dtype)
            ones.fill(1)
            np.matmul(ones.reshape(-1), g, out=self.bias.grad)
        if not input_grad:
            return None
        passed = np.empty((*grad.shape[:-1], self.weight.shape[1]), grad.dtype) if out is None else out
        np.matmul(g, self.weight.data.swapaxes(-1, -2), out=_lane_rows(passed))
        return passed

    def parameters(self) -> dict[str, Parameter]:
        """Return `weight`, and `bias` if there is one, of all lanes."""
        return {"weight": self.weight} | ({"bias": self.bias} if self.bias is not None else {})


def _lane_rows(array: NDArray[Any]) -> NDArray[Any]:
    """View the positions of a lane's samples as rows: `(L, B, T, n)` as `(L, B·T, n)`."""
    return array if array.ndim == 3 else array.reshape(len(array), -1, array.shape[-1])
