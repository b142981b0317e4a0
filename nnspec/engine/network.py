"""A stack of layers."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import indent
from typing import TYPE_CHECKING, Any

from nnspec.engine.layers.contract import Layer, kind_of, passed_on

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.engine.parameter import Parameter

__all__ = ["NumpyMLP"]


class NumpyMLP:
    """Layers one after another: `forward` runs them in order, `backward` in reverse."""

    def __init__(self, *layers: Layer) -> None:
        self.layers: list[Layer] = []
        self.names: list[str] = []
        self._inside: set[Layer] = set()
        for layer in layers:
            self.add(layer)

    def add(self, layer: Layer, name: str | None = None) -> NumpyMLP:
        """Put a layer at the end; its parameters are called `name.weight` and so on. Returns the network.

        Without a name it gets its kind and number: `Linear1`, `ReLU1`, `Linear2`. Raises TypeError for what is no
        layer, ValueError for a name that is taken, and for a layer that is in the network already, also within another.
        """
        if not isinstance(layer, Layer):
            raise TypeError(f"NumpyMLP.add takes a layer, not {layer!r}")
        inside = set(layer.walk())
        if not self._inside.isdisjoint(inside):
            raise ValueError(
                f"{layer!r} is in the network already: a layer keeps what its own backward pass needs, once"
            )
        kind = kind_of(layer)
        name = name or f"{kind}{1 + sum(type(other) is type(layer) for other in self.layers)}"
        if name in self.names:
            raise ValueError(f"there is a layer {name!r} already")
        self._inside |= inside
        self.layers.append(layer)
        self.names.append(name)
        return self

    def forward(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the outputs for a batch: `(B, *in) -> (B, *out)`.

        x is what the first layer takes, and nothing is done to it: no division, no standardising. Of a trained lane,
        `lane.predict` prepares samples as in training.
        """
        for layer in self.layers:
            x = layer.forward(x)
        return x

    __call__ = forward

    def backward(self, grad: NDArray[Any]) -> NDArray[Any]:
        """Turn dL/d(outputs) into dL/dx, `(B, *out) -> (B, *in)`, writing every parameter's `.grad`."""
        for layer in reversed(self.layers):
            grad = passed_on(layer.backward(grad), layer)
        return grad

    def named_parameters(self) -> dict[str, Parameter]:
        """Return every parameter by its full name, in the order of the layers."""
        return {
            f"{name}.{key}": parameter
            for name, layer in zip(self.names, self.layers, strict=True)
            for key, parameter in layer.parameters().items()
        }

    def parameters(self) -> list[Parameter]:
        """Return every parameter, in the order of the layers."""
        return list(self.named_parameters().values())

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what layers remember besides their parameters (running means, say), by full name, in their order."""
        return {
            f"{name}.{key}": array
            for name, layer in zip(self.names, self.layers, strict=True)
            for key, array in layer.state().items()
        }

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return all that a trained network is: its parameters and its state, by full name; the arrays themselves."""
        return {name: parameter.data for name, parameter in self.named_parameters().items()} | self.state()

    def load_state_dict(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Copy arrays into the network: all those of `state_dict`, and no others.

        Raises ValueError for a name too many or too few, and for another shape or dtype, before anything is changed.
        """
        own = self.state_dict()
        for name in dict.fromkeys((*own, *arrays)):
            if name not in own or name not in arrays:
                raise ValueError(f"{name} is {'missing' if name in own else 'not in the network'}")
            found, array = arrays[name], own[name]
            if found.shape != array.shape or found.dtype != array.dtype:
                raise ValueError(f"{name} is {found.dtype} {found.shape}, not {array.dtype} {array.shape}")
        for name, array in own.items():
            array[...] = arrays[name]

    def train(self) -> NumpyMLP:
        """Switch the layers that differ (dropout) to training."""
        return self._set_training(True)

    def eval(self) -> NumpyMLP:
        """Switch the layers that differ (dropout) to use."""
        return self._set_training(False)

    def _set_training(self, training: bool) -> NumpyMLP:
        for layer in self.layers:
            layer.training = training
        return self

    def __repr__(self) -> str:
        return "NumpyMLP(" + "".join(f"\n{indent(repr(layer), '    ')}," for layer in self.layers) + "\n)"
