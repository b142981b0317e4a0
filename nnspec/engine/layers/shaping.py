"""Layers that change the shape and leave the numbers alone."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Geometry, Layer, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Flatten"]


class Flatten(Layer):
    """Each sample as one row: `(B, *s) -> (B, Π s)`, in C order. The result shares memory with x where it can."""

    spec_name = "Flatten"
    in_place = True

    def __init__(self) -> None:
        super().__init__()
        self._shape: tuple[int, ...] | None = None

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`s -> (Π s,)`, free of cost."""
        return Geometry(out=(prod(incoming),), flops=0)

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Reshape to `(B, Π s)`."""
        self._shape = x.shape
        return _reshaped(x, (len(x), prod(x.shape[1:])), out)

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Reshape back to `(B, *s)`."""
        if self._shape is None:
            raise RuntimeError("Flatten.backward needs a forward pass first")
        return _reshaped(grad, self._shape, out)


def _reshaped(x: NDArray[Any], shape: tuple[int, ...], out: NDArray[Any] | None) -> NDArray[Any]:
    view = x.reshape(shape)
    if out is None:
        return view
    if not np.may_share_memory(view, out):
        np.copyto(out, view)
    return out
