"""The affine layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.initializers import HeNormal, Initializer
from nnspec.engine.layers.contract import Geometry, Layer, Shape, ShapeError, saved, shape_in_words
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Also, Count, Inferred
from nnspec.engine.random import default_generator
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Linear"]

HE_NORMAL = HeNormal()


class Linear(Layer):
    """y = x W + b, with x `(B, in)`, W `(in, out)`, b `(out,)`, y `(B, out)`.

    dL/dW = xᵀ g, dL/db = Σ_B g, dL/dx = g Wᵀ for g = dL/dy. Weights start He-normal, biases at zero. PyTorch keeps W
    as `(out, in)` and starts both uniformly in ±1/√in; Keras starts W Glorot-uniform.
    """

    spec_name = "Linear"
    family = "linear"
    also = ("Dense", "FullyConnected", "Affine")
    backward_reads = frozenset({"input"})

    def __init__(
        self,
        in_features: Inferred[Annotated[Count, Also("in", "input_dim", "in_dim", "n_in", "inputs")]],
        out_features: Annotated[Count, Also("out", "units", "out_dim", "n_out", "outputs", "hidden_size", "width")],
        *,
        bias: Annotated[bool, Also("use_bias")] = True,
        init: Annotated[Initializer, Also("kernel_initializer", "weight_init")] = HE_NORMAL,
        dtype: str = "float64",
        rng: Generator | None = None,
    ) -> None:
        super().__init__()
        weights = init.draw((in_features, out_features), in_features, out_features, rng or default_generator())
        self.weight = Parameter(weights, dtype)
        self.bias = Parameter(np.zeros(out_features), dtype) if bias else None
        self._x: NDArray[Any] | None = None

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`(in,) -> (out,)`; 2·in·out FLOPs for the products, out more for the bias."""
        if len(incoming) != 1:
            raise ShapeError(
                f"Linear takes a row of features, and {shape_in_words(incoming)} arrives",
                help="put `Flatten` before it",
            )
        (arriving,), given = incoming, arguments.get("in_features")
        out, bias = arguments["out_features"], arguments["bias"]
        if given is not None and given != arriving:
            raise ShapeError(
                f"this Linear expects {given} features but gets {arriving}",
                argument="in_features",
                label=f"{given} expected here",
                help=f"`Linear({out})` takes whatever arrives",
            )
        return Geometry(
            out=(out,),
            flops=2 * arriving * out + (out if bias else 0),
            parameters={"weight": (arriving, out)} | ({"bias": (out,)} if bias else {}),
            inferred={"in_features": arriving},
            work={"ones": Work(())} if bias else {},
        )

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """y = x W + b: `(B, in) -> (B, out)`."""
        self._x = x
        y = np.matmul(x, self.weight.data, out=out)
        if self.bias is not None:
            np.add(y, self.bias.data, out=y)
        return y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """`(B, out) -> (B, in)`, writing dL/dW and dL/db."""
        x = saved(self._x, self)
        np.matmul(x.swapaxes(-1, -2), grad, out=self.weight.grad)
        if self.bias is not None:
            # Σ over the batch as a product with ones: three times as fast as a sum along that axis.
            ones = self.work_array("ones", grad.shape[:1], grad.dtype)
            ones.fill(1)
            np.matmul(ones, grad, out=self.bias.grad)
        return np.matmul(grad, self.weight.data.swapaxes(-1, -2), out=out) if input_grad else None

    def parameters(self) -> dict[str, Parameter]:
        """Return `weight`, and `bias` where there is one."""
        return {"weight": self.weight} | ({"bias": self.bias} if self.bias is not None else {})
