"""A branch of a composition: a sequence of layers between two arrays that it does not own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Geometry, Layer, Shape, passed_on

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Chain"]


@dataclass(frozen=True)
class Member:
    """A layer of a branch before it is created, used to infer the shapes of a composition."""

    name: str
    """Its name within the branch: `Linear1`, or `Hidden1.Linear1` if it comes from a block."""
    part: type[Layer]
    incoming: Shape
    """The shape of its input."""
    geometry: Geometry


class Chain:
    """The layers of a branch by their paths in the composition, without identities.

    The input is also read by the other branches, and so is the incoming gradient: neither is ever written to.
    """

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        self.layers = dict(layers)
        self._layers = tuple(layers.values())
        trained = (k for k, layer in enumerate(self._layers) if layer.parameters())
        self._first_trained = next(trained, len(self._layers))

    def output_shape(self, incoming: Shape) -> Shape:
        """Return the shape of one sample's output. Raises ShapeError if the layers do not fit."""
        for layer in self._layers:
            incoming = layer.output_shape(incoming)
        return incoming

    def forward(self, x: NDArray[Any]) -> NDArray[Any]:
        """Run the layers in order; x is not modified."""
        for layer in self._layers:
            x = layer.forward(x)
        return x

    def backward(self, grad: NDArray[Any], *, input_grad: bool) -> NDArray[Any] | None:
        """Run the layers in reverse, down to the first one needed; `grad` is not modified.

        The result may be `grad` itself if there are no layers.
        """
        last = 0 if input_grad else self._first_trained
        for k in reversed(range(last, len(self._layers))):
            layer, wanted = self._layers[k], input_grad or k > last
            passed = layer.backward(np.ascontiguousarray(grad), input_grad=wanted)
            if not wanted:
                return None
            grad = passed_on(passed, layer)
        return grad if input_grad else None
