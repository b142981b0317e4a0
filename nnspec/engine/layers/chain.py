"""A branch of a composition: layers in a row, between two arrays that belong to somebody else."""

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
    """A layer in a branch before it is made: what the shapes of a composition follow from."""

    name: str
    """Its name within the branch: `Linear1`, or `Hidden1.Linear1` where it comes from a block."""
    part: type[Layer]
    incoming: Shape
    """What arrives at it."""
    geometry: Geometry


class Chain:
    """The layers of a branch by their paths in the composition; none of them is the identity.

    The array that enters is read by the other branches too, and so is the gradient that arrives: neither is ever
    written to.
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
        """Run the layers in order; x is left as it is."""
        for layer in self._layers:
            x = layer.forward(x)
        return x

    def backward(self, grad: NDArray[Any], *, input_grad: bool) -> NDArray[Any] | None:
        """Run the layers in reverse, down to the first that is wanted; `grad` is left as it is.

        The result may be `grad` itself, where there are no layers.
        """
        last = 0 if input_grad else self._first_trained
        for k in reversed(range(last, len(self._layers))):
            layer, wanted = self._layers[k], input_grad or k > last
            passed = layer.backward(np.ascontiguousarray(grad), input_grad=wanted)
            if not wanted:
                return None
            grad = passed_on(passed, layer)
        return grad if input_grad else None
