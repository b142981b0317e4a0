"""Networks whose layers read more than the previous value: values by name, and reverse mode over all of them.

A network is flattened into nodes in the order in which they run. Value 0 is the network's input x, and value k the
output of node k; each node says which values it reads. `From` is no node: what follows it reads another value. If a
value is read several times, its gradient is the sum over its readers, first to last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.composition import Composition
from nnspec.engine.layers.contract import Layer, Shape, ShapeError
from nnspec.engine.layers.wiring import From

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Graph", "Node", "is_graph"]

INPUT = "input"
"""The name of the network's own input, unless a layer has it."""


def is_graph(layers: Iterable[Layer]) -> bool:
    """Whether any of the layers, or a layer within one, reads a value by name."""
    return any(inner.read() or inner.shared() or isinstance(inner, From) for layer in layers for inner in layer.walk())


@dataclass(frozen=True)
class Node:
    """A call of a layer, or the joining of a composition's branches, with the numbers of the values that it reads."""

    name: str
    layer: Layer
    reads: tuple[int, ...]

    def check(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape of its output for those that it reads. Raises ShapeError, naming the layer."""
        try:
            if isinstance(self.layer, Composition):
                return self.layer.join(shapes[0], dict(zip(self.layer.branches(), shapes[1:], strict=True)))
            return self.layer.output_shape(*shapes)
        except ShapeError as error:
            raise ShapeError(f"{self.name}: {error}", argument=error.argument) from None


class Graph:
    """The nodes of a network with the layers of these names."""

    def __init__(self, names: Sequence[str], layers: Sequence[Layer]) -> None:
        """Raises ValueError for a layer that reads a value which no earlier layer has."""
        self.nodes: list[Node] = []
        self._values: dict[str, int] = {}
        self.result = self._chain(zip(names, layers, strict=True), 0, "")
        self._fits: Shape | None = None
        self._like: NDArray[Any] | None = None

    def _chain(self, layers: Iterable[tuple[str, Layer]], x: int, inside: str) -> int:
        for path, layer in layers:
            name = f"{inside}{path}"
            x = self._values[name] = self._layer(name, layer, x)
        return x

    def _layer(self, name: str, layer: Layer, x: int) -> int:
        if isinstance(layer, From):
            return self._add(name, layer, (0,)) if layer.is_input else self._others(name, layer)[0]
        if isinstance(layer, Composition):
            ends = (self._chain(chain.items(), x, f"{name}.") for chain in layer.chains().values())
            return self._add(name, layer, (x, *ends))
        return self._add(name, layer, (x, *self._others(name, layer)))

    def _add(self, name: str, layer: Layer, reads: tuple[int, ...]) -> int:
        self.nodes.append(Node(name, layer, reads))
        return len(self.nodes)

    def _others(self, name: str, layer: Layer) -> list[int]:
        """Return the further values that a layer reads."""
        named = layer.read()
        full = [0 if source == INPUT else self._values[source] for source in layer.sources]
        return [*full, *(self._find(each, name) for each in named[len(full) :])]

    def _find(self, wanted: str, by: str) -> int:
        """Return the value of a name, looked up from the inside out."""
        scope = by.split(".")[:-1]
        for depth in range(len(scope), -1, -1):
            found = self._values.get(".".join([*scope[:depth], wanted]))
            if found is not None:
                return found
        if wanted == INPUT:
            return 0
        raise ValueError(f"{by} reads {wanted!r}, but no earlier layer has that name")

    def forward(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the outputs for a batch: `(B, *in) -> (B, *out)`. Raises ShapeError, naming the layer, if shapes do
        not fit.
        """
        return self.run(x)[self.result]

    def run(self, x: NDArray[Any]) -> Sequence[NDArray[Any]]:
        """Return all values for a batch: x and the output of each node."""
        if x.shape[1:] != self._fits:
            self.output_shape(x.shape[1:])
            self._fits = x.shape[1:]
        values = [x]
        for node in self.nodes:
            values.append(self.call(node, [values[read] for read in node.reads]))
        self._like = x
        return values

    @staticmethod
    def call(node: Node, reads: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return the output of a node for what it reads."""
        if isinstance(node.layer, Composition):
            return node.layer.join_outputs(reads[0], reads[1:])
        forward: Callable[..., NDArray[Any]] = node.layer.forward
        return forward(reads[0], None, *reads[1:]) if reads[1:] else forward(reads[0])

    def output_shape(self, incoming: Shape) -> Shape:
        """Return the shape of one sample's output. Raises ShapeError, naming the first layer that does not fit."""
        shapes = [incoming]
        for node in self.nodes:
            shapes.append(node.check([shapes[read] for read in node.reads]))
        return shapes[self.result]

    def backward(self, grad: NDArray[Any]) -> NDArray[Any]:
        """Turn dL/d(outputs) into dL/dx, and write every parameter's `.grad`: zero for a layer whose output is not
        used.
        """
        if self._like is None:
            raise RuntimeError("backward needs a forward pass first")
        shares: dict[int, list[NDArray[Any]]] = {self.result: [grad]}
        for number in reversed(range(len(self.nodes))):
            node, own = self.nodes[number], shares.pop(number + 1, [])
            if not own:
                _no_gradient(node)
                continue
            for read, share in reversed([*zip(*_backward(node, _sum(own)), strict=True)]):
                shares.setdefault(read, []).append(share)
        for node in self.nodes:
            for shared in node.layer.shared().values():
                np.add(shared.owner.grad, shared.grad, out=shared.owner.grad)
        own = shares.pop(0, [])
        return _sum(own) if own else np.zeros_like(self._like)


def _backward(node: Node, grad: NDArray[Any]) -> tuple[Sequence[int], Sequence[NDArray[Any]]]:
    """Return the values that a node has gradients for, and these, in the order in which it reads them."""
    if isinstance(node.layer, Composition):
        return node.reads[1:], [*node.layer.branch_gradients(grad)]
    found = node.layer.backward(np.ascontiguousarray(grad))
    return node.reads[: -1 if node.layer.mask is not None else None], [*found] if isinstance(found, tuple) else [found]  # type: ignore[list-item]


def _sum(shares: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Add contributions, collected from the last reader to the first, from the first to the last."""
    total, *others = reversed(shares)
    for share in others:
        total = total + share
    return total


def _no_gradient(node: Node) -> None:
    if not isinstance(node.layer, Composition):
        for parameter in (*node.layer.parameters().values(), *node.layer.shared().values()):
            parameter.grad.fill(0)
