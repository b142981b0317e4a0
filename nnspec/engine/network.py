"""A network in Python: a sequence of layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import indent
from typing import TYPE_CHECKING, Any, overload

from nnspec.engine.graph import Graph, is_graph
from nnspec.engine.layers.contract import Layer, Shape, ShapeError, kind_of, passed_on

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.engine.parameter import Parameter

__all__ = ["NumpyMLP", "Sequential"]


class Sequential:
    """A sequence of layers: `forward` runs them in order, `backward` in reverse.

        model = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
        logits = model(x)                  # (B, 784) -> (B, 10)
        model[0].weight, model["Linear2"], model[:2], len(model)

    Unlike PyTorch's `Sequential`, it is not a layer and cannot be nested. For branches within a network, use
    `Residual`, `Add` and `Concat`. Layers that read further values, such as `From("Linear1")`, name an earlier layer:
    `model.add(nn.Linear(8, 4), "code")` can be read as `"code"`.
    """

    def __init__(self, *layers: Layer) -> None:
        self.layers: list[Layer] = []
        self.names: list[str] = []
        self._inside: set[Layer] = set()
        self._graph: Graph | None = None
        self._chained = True
        for layer in layers:
            self.add(layer)

    def add(self, layer: Layer, name: str | None = None) -> Sequential:
        """Append a layer, whose parameters are then called `name.weight` and so on, and return the network.

        Without a name, the layer is named by its kind and number: `Linear1`, `ReLU1`, `Linear2`. Raises TypeError if
        `layer` is not a layer, and ValueError if the name is taken or the network contains the layer already, possibly
        within another layer.
        """
        if not isinstance(layer, Layer):
            raise TypeError(f"{type(self).__name__} takes layers, not {layer!r}{_hint(layer)}")
        inside = set(layer.walk())
        if not self._inside.isdisjoint(inside):
            raise ValueError(
                f"{layer!r} is already in the network; a layer stores its input for the backward pass, so it can only "
                "be used once"
            )
        kind = kind_of(layer)
        name = name or f"{kind}{1 + sum(type(other) is type(layer) for other in self.layers)}"
        if name in self.names:
            raise ValueError(f"the network already has a layer {name!r}")
        self._inside |= inside
        self._graph, self._chained = None, self._chained and not is_graph([layer])
        self.layers.append(layer)
        self.names.append(name)
        return self

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @overload
    def __getitem__(self, key: int | str) -> Layer: ...
    @overload
    def __getitem__(self, key: slice) -> Sequential: ...
    def __getitem__(self, key: int | str | slice) -> Layer | Sequential:
        """Return a layer by its number or name, or a network of a slice of the layers, which it shares.

        Raises IndexError or KeyError if there is no such layer.
        """
        if isinstance(key, str):
            if key not in self.names:
                raise KeyError(f"the network has no layer {key!r}; its layers are {', '.join(self.names)}")
            return self.layers[self.names.index(key)]
        if not isinstance(key, slice):
            return self.layers[key]
        part = type(self)()
        for layer, name in zip(self.layers[key], self.names[key], strict=True):
            part.add(layer, name)
        return part

    def share(self, name: str, owner: str) -> Sequential:
        """Let a layer use the parameters of another one, and return the network: `model.share("b", "a")`. Layers in
        compositions are named by their paths.

        Each use has a gradient of its own, and `backward` adds them to the owner's, first to last. A layer of the same
        kind uses all parameters and the state of its owner; a `Transposed`, its weight. Raises KeyError for an unknown
        name, and TypeError for layers of different kinds.
        """
        layers = dict(self.walk())
        one, other = layers[name], layers[owner]
        if type(one) is not type(other) and not one.owners():
            raise TypeError(f"{name} is {type(one).__name__}, and {owner} is {type(other).__name__}")
        one.share(other)
        self._graph, self._chained = None, False
        return self

    def walk(self) -> Iterator[tuple[str, Layer]]:
        """Iterate over all layers, also those within compositions, by their full names."""
        waiting = list(zip(reversed(self.names), reversed(self.layers), strict=True))
        while waiting:
            name, layer = waiting.pop()
            yield name, layer
            waiting.extend(reversed([(f"{name}.{path}", child) for path, child in layer.children().items()]))

    @property
    def graph(self) -> Graph | None:
        """The network as nodes that read values by name; None if every layer reads only the previous value.

        Raises ValueError for a layer that reads a value which no earlier layer has.
        """
        if self._graph is None and not self._chained:
            self._graph = Graph(self.names, self.layers)
        return self._graph

    def forward(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the outputs for a batch: `(B, *in) -> (B, *out)`.

        The samples must be as the first layer expects them: the network neither divides nor standardises anything. For
        a trained lane, `lane.predict` prepares samples as in training.

        Raises ShapeError, naming the layer, if the shape of the samples does not fit.
        """
        if self.graph is not None:
            return self.graph.forward(x)
        for name, layer in zip(self.names, self.layers, strict=True):
            try:
                x = layer(x)
            except ShapeError as error:
                raise ShapeError(f"{name}: {error}", argument=error.argument) from None
        return x

    __call__ = forward

    def output_shape(self, incoming: Shape) -> Shape:
        """Return the shape of one sample's output for the shape of one sample: `(784,) -> (10,)`.

        Raises ShapeError, naming the first layer that does not fit.
        """
        if self.graph is not None:
            return self.graph.output_shape(incoming)
        for name, layer in zip(self.names, self.layers, strict=True):
            try:
                incoming = layer.output_shape(incoming)
            except ShapeError as error:
                raise ShapeError(f"{name}: {error}", argument=error.argument) from None
        return incoming

    def backward(self, grad: NDArray[Any]) -> NDArray[Any]:
        """Turn dL/d(outputs) into dL/dx, `(B, *out) -> (B, *in)`, and write every parameter's `.grad`."""
        if self.graph is not None:
            return self.graph.backward(grad)
        for layer in reversed(self.layers):
            grad = passed_on(layer.backward(grad), layer)
        return grad

    def zero_grad(self) -> None:
        """Set every gradient to zero.

        A training loop does not need this: `backward` overwrites gradients, while PyTorch adds to them.
        """
        for parameter in self.parameters():
            parameter.grad.fill(0)

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
        """Return what layers remember besides their parameters, such as running means, by full name and in order.

        PyTorch calls these arrays buffers.
        """
        return {
            f"{name}.{key}": array
            for name, layer in zip(self.names, self.layers, strict=True)
            for key, array in layer.state().items()
        }

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return all parameters and all state by full name: the arrays themselves, not copies."""
        return {name: parameter.data for name, parameter in self.named_parameters().items()} | self.state()

    def load_state_dict(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Copy arrays into the network, for exactly the names of `state_dict`.

        Raises ValueError if a name is missing or unknown, or if a shape or dtype differs, before anything is changed.
        """
        own = self.state_dict()
        refuse_other_state(own, arrays)
        for name, array in own.items():
            array[...] = arrays[name]

    def train(self) -> Sequential:
        """Switch to training mode the layers that behave differently in training, such as `Dropout`."""
        return self._set_training(True)

    def eval(self) -> Sequential:
        """Switch to evaluation mode the layers that behave differently in training, such as `Dropout`."""
        return self._set_training(False)

    def _set_training(self, training: bool) -> Sequential:
        for layer in self.layers:
            layer.training = training
        return self

    def __repr__(self) -> str:
        layers = zip(self.names, self.layers, strict=True)
        body = "".join(f"\n    {name}: {indent(repr(layer), '    ').lstrip()}" for name, layer in layers)
        return f"{type(self).__name__}({body}\n)" if body else f"{type(self).__name__}()"


def _hint(given: object) -> str:
    """Say how layers are given, to someone who gave a list of them or a class."""
    if isinstance(given, (list, tuple)):
        return "; unpack a list: `Sequential(*layers)`"
    return f"; make one: `{given.__name__}(…)`" if isinstance(given, type) else ""


NumpyMLP = Sequential
"""The original name of `Sequential`."""


def refuse_other_state(own: Mapping[str, NDArray[Any]], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise ValueError unless arrays have the names, shapes and dtypes of a network's own."""
    for name in dict.fromkeys((*own, *arrays)):
        if name not in own or name not in arrays:
            raise ValueError(f"{name} is {'missing' if name in own else 'not in the network'}")
        found, array = arrays[name], own[name]
        if found.shape != array.shape or found.dtype != array.dtype:
            raise ValueError(f"{name} is {found.dtype} {found.shape}, not {array.dtype} {array.shape}")
