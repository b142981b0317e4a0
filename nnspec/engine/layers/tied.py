"""Layers that use the parameters of another one: the same layer once more, and its weight transposed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, final

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Geometry, Layer, Shape, ShapeError, rows_of_places, sample_in_words, saved
from nnspec.engine.parameter import Parameter, Shared
from nnspec.engine.part import Also, LayerName, argument, kept

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Same", "Transposed"]


@final
class Same(Layer):
    """y = f(x), with f the layer, use of a block or composition called `name` once more, with the same parameters.

    Each use keeps what its own backward pass needs; the gradient of a parameter is the sum over its uses, first to
    last. As with a module that PyTorch calls twice, BatchNorm updates its running statistics at each use, and dropout
    draws new masks. Bromley et al. 1993. In a spec, the checker puts the layers themselves in its place.
    """

    spec_name = "same"
    also = ("Same", "shared", "Shared", "reuse")
    image_as = "any"

    name: LayerName

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """That of the layer that it repeats."""
        raise ShapeError("`same` has the shape of the layer that it repeats")

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Raise TypeError: in Python, make the layer again and call `Sequential.share`."""
        raise TypeError("in Python, add the layer again, and call `network.share(name, owner)`")

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Raise TypeError, as `forward`."""
        raise TypeError("in Python, add the layer again, and call `network.share(name, owner)`")


@final
class Transposed(Layer):
    """y = x Wᵀ + b, with the weight W `(n, m)` of the `Linear` or `Embedding` called `name`: `(B, m) -> (B, n)`, and
    `(B, T, m) -> (B, T, n)`.

    dL/dx = g W, and gᵀ x is added to dL/dW. After an embedding, it is the tied output layer of a language model (Press
    and Wolf 2017); after a linear layer, a tied decoder. In PyTorch, `F.linear(x, W.T)`, or assign the weight.
    """

    spec_name = "transposed"
    also = ("Transposed", "tied", "Tied", "weight_tying", "tie_weights")
    family = "linear"
    backward_reads = frozenset({"input"})
    with_padding = "keeps"
    samples_independent = True

    name: LayerName
    use_bias: Annotated[bool, Also("use_bias")] = argument(alias="bias", default=False)
    dtype: InitVar[str] = "float64"
    _x: NDArray[Any] | None = kept()
    _weight: Shared | None = kept()

    def __post_init__(self, dtype: str) -> None:
        self.bias: Parameter | None = None
        self._dtype = dtype

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`(m,) -> (n,)` and `(T, m) -> (T, n)`; 2·m·n FLOPs per position, n more with a bias."""
        rows, columns = arguments["name"]
        if len(incoming) not in (1, 2) or incoming[-1] != columns:
            raise ShapeError(
                f"the transposed weight takes {columns} features but got {sample_in_words(incoming)}",
                argument="name",
                label=f"its weight is {rows}×{columns}",
                help=f"put `Linear({columns})` before it" if len(incoming) in (1, 2) else "put `Flatten` before it",
            )
        places, bias = incoming[:-1], arguments["bias"]
        return Geometry(
            out=(*places, rows),
            flops=prod(places) * (2 * rows * columns + (rows if bias else 0)),
            parameters={"bias": (rows,)} if bias else {},
        )

    def share(self, owner: Layer) -> None:
        """Use the weight of a layer. Raises TypeError if it has no weight with two axes."""
        if isinstance(owner, Transposed):
            super().share(owner)
            return
        weight = vars(owner).get("weight")
        if not isinstance(weight, Parameter) or len(weight.shape) != 2:
            raise TypeError(f"{type(owner).__name__} has no weight that could be transposed")
        self._weight = Shared(weight)
        if self.use_bias and self.bias is None:
            self.bias = Parameter(np.zeros(weight.shape[0]), self._dtype, decays=False)

    def output_shape(self, incoming: Shape, *others: Shape) -> Shape:
        """Return the shape of one sample's output. Raises ShapeError if it does not fit the weight."""
        return self.geometry(incoming, self.arguments() | {"name": self._tied.shape}).out

    def as_linear(self) -> dict[str, Parameter]:
        """Return the parameters of the `Linear` that computes the same: Wᵀ, and b if there is one."""
        data, grad = self._tied.data.T, self._tied.grad.T
        return {"weight": Parameter.over(data, grad)} | ({} if self.bias is None else {"bias": self.bias})

    @property
    def _tied(self) -> Shared:
        if self._weight is None:
            raise ValueError(f"Transposed uses the weight of {self.name!r}: call `network.share(name, {self.name!r})`")
        return self._weight

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """x Wᵀ + b."""
        self._x = x
        w = self._tied.data
        y = np.empty((*x.shape[:-1], len(w)), x.dtype) if out is None else out
        np.matmul(rows_of_places(x), w.T, out=rows_of_places(y))
        if self.bias is not None:
            np.add(y, self.bias.data, out=y)
        return y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """`(B, n) -> (B, m)`, writing its share of dL/dW, and dL/db."""
        x, g = saved(self._x, self), rows_of_places(grad)
        np.matmul(g.T, rows_of_places(x), out=self._tied.grad)
        if self.bias is not None:
            np.sum(g, axis=0, out=self.bias.grad)
        if not input_grad:
            return None
        passed = np.empty(x.shape, grad.dtype) if out is None else out
        np.matmul(g, self._tied.data, out=rows_of_places(passed))
        return passed
