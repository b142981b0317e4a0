"""Where a chain of layers continues from: an earlier value instead of the previous one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Geometry, Layer, Shape, ShapeError, sample_in_words
from nnspec.engine.part import ValueName, kept

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["From"]


@final
class From(Layer):
    """y = the value `name`: the output of an earlier layer, or an input of the data. The chain continues from there.

    The previous value is not read. dL/dv of the value v is the sum of the gradients of everything that reads it. In a
    `Sequential`, `name` is the name of an earlier layer, `Linear1` or `residual1.Linear1`, or `input`, the network's
    own input. In Keras's functional interface and in PyTorch, write the variable again.
    """

    spec_name = "from"
    also = ("From", "Route", "route")
    image_as = "any"
    with_padding = "keeps"
    samples_independent = True

    name: ValueName
    _range: tuple[int, int, Shape] | None = kept()
    _seen = 0

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """The shape of the value; nothing is computed."""
        return Geometry(out=arguments["name"], flops=0)

    @property
    def is_input(self) -> bool:
        """Whether it is one of several inputs: a range of the row that is a sample."""
        return self._range is not None

    def of_row(self, start: int, stop: int, shape: Shape) -> None:
        """From now on, return the numbers `start` to `stop` of each sample, a row `(B, n)`, as `(B, *shape)`."""
        self._range = (start, stop, shape)

    def read(self) -> tuple[str, ...]:
        """Return the name of the value; nothing for a range of the network's input."""
        return () if self.is_input else (self.name,)

    def output_shape(self, incoming: Shape, *others: Shape) -> Shape:
        """Return the shape of the value. Raises ShapeError if the row that it is a range of is too short."""
        if self._range is None:
            return super().output_shape(incoming, *others)
        _, stop, shape = self._range
        if len(incoming) != 1 or incoming[0] < stop:
            raise ShapeError(f"the input {self.name!r} ends at {stop}, but samples are {sample_in_words(incoming)}")
        return shape

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None, *others: NDArray[Any]) -> NDArray[Any]:
        """Return its range of the row x, `(B, n) -> (B, *shape)`, or else the value itself."""
        if self._range is None:
            (value,) = others
            return value
        start, stop, shape = self._range
        y = np.empty((len(x), *shape), x.dtype) if out is None else out
        self._seen = x.shape[1]
        np.copyto(y.reshape(len(x), -1), x[:, start:stop])
        return y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Put g into its range of the row; the other numbers have no gradient."""
        if self._range is None:
            raise RuntimeError("the gradient of a value of a network is computed by the network")
        start, stop, _ = self._range
        passed = np.empty((len(grad), self._seen), grad.dtype) if out is None else out
        passed.fill(0)
        np.copyto(passed[:, start:stop], grad.reshape(len(grad), -1))
        return passed
