"""Evaluate a network at many values of one of its tensors as a batch.

The gradient check takes thousands of steps, each in one tensor. The input of the tensor's layer is the same for all
of them and is computed once. From there on, the B samples of C copies of the network are one batch of C·B samples,
since all copies share the weights of the later layers. Three kinds of calls are made separately for each copy:

- a layer whose own parameter is stepped, because its weights differ between copies;
- a layer that does not declare `Layer.samples_independent`, such as BatchNorm, or dropout, whose mask is held;
- a loss that does not declare `Loss.stacks`.

A composition is expanded: the layers of its branches are rows of layers like those of a network.

If a step can only change little, only that is computed: for a layer that declares `Layer.units_independent`, the unit
whose weight is stepped, and for layers that treat samples independently, the sample in which an input is stepped.

Declarations are tested before they are relied on: a batch must give the same result among other samples as alone, and
a unit the same alone as among others. If a test fails, the layer or the loss is called copy by copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.graph import Graph
from nnspec.engine.layers.composition import Composition
from nnspec.engine.layers.contract import Layer
from nnspec.engine.losses import Loss
from nnspec.engine.losses.composed import added_by
from nnspec.engine.network import Sequential
from nnspec.engine.parameter import Parameter
from nnspec.engine.penalties import Penalty
from nnspec.errors import ContractError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Copies", "Lines", "Objective", "Tensor", "loss_of", "product_with"]

NUMBERS = 1 << 19
"""The maximum number of layer outputs in one batch of copies, 4 MiB: more would not fit the processor's cache."""
AGREES = 1e-9
"""Tolerance between a batch among other samples and the batch alone, relative to its largest number: rounding."""

Sides = list["NDArray[Any]"]
"""For every source of kinks, a row for each copy that says on which side of them it is."""
Objective = Callable[["NDArray[Any]"], tuple["NDArray[Any]", Sides]]
"""Maps outputs `(C, B, *out)` to the value of each copy `(C,)`, and its sides."""


@dataclass(frozen=True)
class Tensor:
    """A tensor to step in: a parameter of layer `first`, or else the input of that layer."""

    name: str
    array: NDArray[Any]
    grad: NDArray[Any]
    first: int
    parameter: Parameter | None = None


@dataclass(frozen=True)
class Lines:
    """Lines θ + t·d through a tensor: `along` single entries `(lines,)`, or along directions `(lines, size)`."""

    along: NDArray[Any]

    def __len__(self) -> int:
        return len(self.along)

    @property
    def single(self) -> bool:
        """Whether each line changes one entry."""
        return self.along.ndim == 1

    def only(self, kept: NDArray[Any]) -> Lines:
        """Return the lines selected by `kept`."""
        return self if kept.all() else Lines(self.along[kept])

    def taken(self, here: NDArray[Any], h: float) -> NDArray[Any]:
        """Return the distance from −h to h on each line; for an entry, the actual distance after rounding."""
        if not self.single:
            return np.full(len(self), 2 * h)
        at = here[self.along]
        taken: NDArray[Any] = (at + h) - (at - h)
        return taken

    def points(
        self, here: NDArray[Any], which: NDArray[Any], t: NDArray[Any]
    ) -> Iterator[tuple[int | slice, NDArray[Any] | float]]:
        """Yield the entries to overwrite and their new values, for line `which[c]` at `t[c]`."""
        if self.single:
            entries = self.along[which]
            yield from zip(entries.tolist(), (here[entries] + t).tolist(), strict=True)
        else:
            for line, step in zip(which.tolist(), t.tolist(), strict=True):
                yield slice(None), here + step * self.along[line]


class Copies:
    """Evaluates copies of a network that differ in one tensor."""

    def __init__(
        self,
        network: Sequential,
        x: NDArray[Any],
        objective: Callable[[NDArray[Any]], Objective],
        penalties: Sequence[Penalty] = (),
    ) -> None:
        """`objective` maps the network's outputs to the value that is differentiated."""
        self.penalties = penalties
        self.terms = {
            p: sum(penalty.value(p.data.reshape(-1)[part]) for penalty in penalties for part in p.decaying)
            for p in (network.parameters() if penalties else ())
        }
        """The penalty on each parameter."""
        self.added: list[NDArray[Any]] = []
        """What layers have added to the loss of each copy, in the current call."""
        graph, layers = network.graph, network.layers
        self.row = Row(layers, x, self.added) if graph is None else GraphRow(graph, layers, x, self.added)
        self.added_before = added_by(network.layers)
        """What they add without a step."""
        self.objective = objective(self.outputs)

    @property
    def inputs(self) -> list[NDArray[Any]]:
        """The input of each layer, followed by the network's output."""
        return self.row.inputs

    @property
    def outputs(self) -> NDArray[Any]:
        """The network's output, `(B, *out)`."""
        return self.inputs[-1]

    def at_once(self, tensor: Tensor, lines: Lines) -> int:
        """Return the number of copies in one batch."""
        if tensor.parameter is not None:
            numbers = self.row.numbers(tensor.first, tensor.parameter)
        else:
            numbers = sum(x.size for x in self.inputs[tensor.first :])
            if self._in_one_sample(tensor, lines):
                numbers = numbers // len(tensor.array) + self.outputs.size
        return max(1, NUMBERS // max(1, numbers))

    def __call__(
        self, tensor: Tensor, lines: Lines, which: NDArray[Any], t: NDArray[Any]
    ) -> tuple[NDArray[Any], Sides]:
        """Return the value of each copy `(C,)` and its sides, with `tensor` at `t[c]` on line `which[c]`.

        Sides are comparable with those at other points of the same line; sides that cannot change along it may be
        omitted.
        """
        self.added.clear()
        if tensor.parameter is None:
            y, sides = self._stepping_what_enters(tensor, lines, which, t)
        else:
            y, sides = self.row.stepping(tensor.first, tensor.parameter, lines, which, t)
        values, more = self.objective(y)
        penalties, even_more = self._penalties(tensor.parameter, lines, which, t)
        return values + penalties + sum(self.added), [*sides, *more, *even_more]

    def _penalties(
        self, parameter: Parameter | None, lines: Lines, which: NDArray[Any], t: NDArray[Any]
    ) -> tuple[NDArray[Any], Sides]:
        """Return the penalties on all weights in each copy, and on which side of their kinks the stepped ones are."""
        total = np.zeros(len(which))
        total += sum(term for p, term in self.terms.items() if p is not parameter)
        if parameter is None or parameter not in self.terms:
            return total, []
        here, rows = parameter.data.reshape(-1), []
        flat = here.copy()
        for c, (where, there) in enumerate(lines.points(here, which, t)):
            flat[where] = there
            pairs = [(penalty, flat[part]) for penalty in self.penalties for part in parameter.decaying]
            total[c] += sum(penalty.value(w) for penalty, w in pairs)
            rows.append([side for penalty, w in pairs for side in _given(penalty.sides(w))])
            flat[where] = here[where]
        return total, _stacked(rows)

    def _in_one_sample(self, tensor: Tensor, lines: Lines) -> bool:
        """Whether each step changes one sample, without affecting any other."""
        layers = self.row.layers[tensor.first :]
        return tensor.parameter is None and lines.single and self.row.batched.issuperset(layers)

    def _stepping_what_enters(
        self, tensor: Tensor, lines: Lines, which: NDArray[Any], t: NDArray[Any]
    ) -> tuple[NDArray[Any], Sides]:
        start, here = tensor.array, tensor.array.reshape(-1)
        if self._in_one_sample(tensor, lines):
            sample, entry = np.divmod(lines.along[which], prod(start.shape[1:]))
            rows = start[sample]
            rows.reshape(len(rows), -1)[np.arange(len(rows)), entry] = here[lines.along[which]] + t
            stepped, sides = self.row.through(tensor.first, rows[:, None], [])
            y = np.repeat(self.outputs[None], len(which), axis=0)
            y[np.arange(len(rows)), sample] = stepped[:, 0]
            return y, sides
        x = np.repeat(start[None], len(which), axis=0)
        for copy, (where, there) in zip(x, lines.points(here, which, t), strict=True):
            copy.reshape(-1)[where] = there
        return self.row.through(tensor.first, x, [])


class Row:
    """A sequence of layers with input x `(B, *in)`: those of a network, or of a branch of a composition."""

    def __init__(self, layers: Sequence[Layer], x: NDArray[Any], added: list[NDArray[Any]]) -> None:
        """`added` is where the terms that layers add to the loss of each copy are collected."""
        self.layers, self.inputs = layers, [x]
        self.added: list[NDArray[Any]] = []  # what the tests below find is of no copy
        self.batched: set[Layer] = set()
        """Layers that process the samples of all copies as one batch."""
        self.by_unit: set[Layer] = set()
        """Layers whose units can be computed separately."""
        self.kinked: set[Layer] = set()
        """Layers with kinks."""
        self._branches: dict[tuple[Layer, str], Row] = {}
        for layer in layers:
            before = self.inputs[-1]
            if independent(layer, before):
                self.batched.add(layer)
            self.inputs.append(layer.forward(before))
            if sides_of(layer):
                self.kinked.add(layer)
            if self._has_units(len(self.inputs) - 2):
                self.by_unit.add(layer)
                layer.forward(before)
        self.added = added

    def numbers(self, first: int, parameter: Parameter) -> int:
        """Count the numbers in one copy with a step in a parameter of layer `first`."""
        count = sum(x.size for x in self.inputs[first + 1 :])
        if found := self._branch_of(first, parameter):
            _, row, inner = found
            count += row.numbers(inner, parameter)
        return count

    def through(self, first: int, y: NDArray[Any], sides: Sides) -> tuple[NDArray[Any], Sides]:
        """Run the input of layer `first` `(C, B, *s)` through the rest of the row."""
        copies = len(y)
        for layer in self.layers[first:]:
            if layer in self.batched:
                out = layer.forward(y.reshape(-1, *y.shape[2:]))
                y = out.reshape(copies, -1, *out.shape[1:])
                if layer in self.kinked:
                    sides = [*sides, *(side.reshape(copies, -1) for side in sides_of(layer))]
            else:
                outs, rows, terms = [], [], []
                for copy in y:
                    outs.append(layer.forward(copy).copy())
                    rows.append(sides_of(layer))
                    terms.append(added_by([layer]))
                self.added.append(np.array(terms))
                y, sides = np.stack(outs), [*sides, *_stacked(rows)]
        return y, sides

    def stepping(
        self, first: int, parameter: Parameter, lines: Lines, which: NDArray[Any], t: NDArray[Any]
    ) -> tuple[NDArray[Any], Sides]:
        """Run copies with steps in a parameter of layer `first` through the row, starting there."""
        if lines.single and self.layers[first] in self.by_unit:
            return self.through(first + 1, self._in_one_unit(first, parameter, lines, which, t), [])
        if found := self._branch_of(first, parameter):
            branch, row, inner = found
            y, sides = row.stepping(inner, parameter, lines, which, t)
            return self.through(first + 1, self._joined(first, branch, y), sides)
        return self.through(first + 1, *self._in_turn(first, parameter, lines, which, t))

    def _in_turn(
        self, first: int, parameter: Parameter, lines: Lines, which: NDArray[Any], t: NDArray[Any]
    ) -> tuple[NDArray[Any], Sides]:
        """Call the layer for each copy, with the parameter overwritten in place."""
        x, layer, flat = self.inputs[first], self.layers[first], parameter.data.reshape(-1)
        here, bends = flat.copy(), layer in self.kinked
        y, rows, terms = np.empty((len(which), *self.inputs[first + 1].shape)), [], []
        try:
            for c, (where, there) in enumerate(lines.points(here, which, t)):
                flat[where] = there
                y[c] = layer.forward(x)
                rows.append(sides_of(layer) if bends else [])
                terms.append(added_by([layer]))
                flat[where] = here[where]
        finally:
            flat[...] = here
        self.added.append(np.array(terms))
        return y, _stacked(rows)

    def _in_one_unit(
        self, first: int, parameter: Parameter, lines: Lines, which: NDArray[Any], t: NDArray[Any]
    ) -> NDArray[Any]:
        """Compute, for each copy, only the unit whose weights are stepped, as a stack of layers with one unit each."""
        layer, copy, entries = self.layers[first], np.arange(len(which)), lines.along[which]
        row, unit = np.divmod(entries, parameter.shape[-1])
        lanes = {}
        for name, p in layer.parameters().items():
            weights = np.ascontiguousarray(p.data.reshape(-1, p.shape[-1]).T)[unit]
            if p is parameter:
                weights[copy, row] = p.data.reshape(-1)[entries] + t
            weights = weights.reshape(len(copy), *p.shape[:-1], 1)
            lanes[name] = Parameter.over(weights, weights)
        stack = type(layer).stack(lanes)
        if stack is None:
            raise ContractError(f"{type(layer).__name__} declares independent units, but has no stack")
        y = np.repeat(self.inputs[first + 1][None], len(copy), axis=0)
        y[copy, ..., unit] = stack.forward(self.inputs[first], np.empty((*y.shape[:-1], 1)))[..., 0]
        return y

    def _has_units(self, first: int) -> bool:
        """Whether a layer's units can be computed separately, as it declares; tested with a few large steps."""
        layer = self.layers[first]
        parameters, units = layer.parameters().values(), self.inputs[first + 1].shape[-1:]
        if not layer.units_independent or layer in self.kinked or any(p.shape[-1:] != units for p in parameters):
            return False
        for p in parameters:
            points = Lines(np.array([0, p.size // 3, p.size - 1])), np.arange(3), np.ones(3)
            if not _agree(self._in_one_unit(first, p, *points), self._in_turn(first, p, *points)[0]):
                return False
        return True

    # Compositions: the layers of their branches are rows too

    def _branch_of(self, first: int, parameter: Parameter) -> tuple[str, Row, int] | None:
        """Return the branch of a composition that contains a parameter, as a row, and the index of its layer there."""
        layer = self.layers[first]
        if not isinstance(layer, Composition) or type(layer).forward is not Composition.forward:
            return None
        for branch, layers in layer.branches().items():
            for inner, candidate in enumerate(layers):
                if any(p is parameter for p in candidate.parameters().values()):
                    return branch, self._row_of(first, branch, layers), inner
        return None

    def _row_of(self, first: int, branch: str, layers: Sequence[Layer]) -> Row:
        key = self.layers[first], branch
        if key not in self._branches:
            self._branches[key] = Row(layers, self.inputs[first], self.added)
        return self._branches[key]

    def _joined(self, first: int, branch: str, y: NDArray[Any]) -> NDArray[Any]:
        """Join the output of a branch in each copy `(C, B, *s)` with the outputs of the others, which all copies
        share.
        """
        layer, copies = self.layers[first], len(y)
        assert isinstance(layer, Composition)
        ys = []
        for name, layers in layer.branches().items():
            whole = self._row_of(first, name, layers).inputs[-1]
            each = y if name == branch else np.broadcast_to(whole, (copies, *whole.shape))
            ys.append(each.reshape(-1, *each.shape[2:]))
        out = layer.joined(ys)
        return out.reshape(copies, -1, *out.shape[1:])


class GraphRow:
    """The nodes of a network whose layers read values by name, as a row. Only what a step changes is computed anew."""

    def __init__(self, graph: Graph, layers: Sequence[Layer], x: NDArray[Any], added: list[NDArray[Any]]) -> None:
        self.layers, self._graph, self._added = layers, graph, added
        self._values = [x, *(np.array(value) for value in graph.run(x)[1:])]
        self.inputs = [*[x] * len(layers), self._values[graph.result]]
        self.batched: set[Layer] = set()
        """No layer reads only the samples of its own copy: others may be read further down."""
        self._at_once = {
            node
            for node in graph.nodes
            if isinstance(node.layer, Composition)
            or (len(node.reads) == 1 and independent(node.layer, self._values[node.reads[0]]))
        }
        for node in graph.nodes:  # the tests above ran some layers on other samples
            graph.call(node, [self._values[read] for read in node.reads])

    def numbers(self, first: int, parameter: Parameter) -> int:
        """Count the numbers in one copy."""
        return sum(value.size for value in self._values)

    def through(self, first: int, y: NDArray[Any], sides: Sides) -> tuple[NDArray[Any], Sides]:
        """Run the network's input, or its output, `(C, B, *s)` through the rest of the network."""
        return (y, sides) if first else self._onwards({0: y}, 0, sides)

    def stepping(
        self, first: int, parameter: Parameter, lines: Lines, which: NDArray[Any], t: NDArray[Any]
    ) -> tuple[NDArray[Any], Sides]:
        """Run copies with steps in a parameter through the network."""
        number, node = next(
            (number, node)
            for number, node in enumerate(self._graph.nodes)
            if not isinstance(node.layer, Composition) and any(p is parameter for p in node.layer.parameters().values())
        )
        reads, flat = [self._values[read] for read in node.reads], parameter.data.reshape(-1)
        here, nodes = flat.copy(), self._graph.nodes
        uses = [use for use in nodes if any(p.owner is parameter for p in use.layer.shared().values())]
        if uses:
            return self._through_all(flat, lines, which, t)
        y, rows, terms = np.empty((len(which), *self._values[number + 1].shape)), [], []
        try:
            for c, (where, there) in enumerate(lines.points(here, which, t)):
                flat[where] = there
                y[c] = self._graph.call(node, reads)
                rows.append(sides_of(node.layer))
                terms.append(added_by([node.layer]))
                flat[where] = here[where]
        finally:
            flat[...] = here
        self._added.append(np.array(terms))
        return self._onwards({number + 1: y}, number + 1, _stacked(rows))

    def _through_all(
        self, flat: NDArray[Any], lines: Lines, which: NDArray[Any], t: NDArray[Any]
    ) -> tuple[NDArray[Any], Sides]:
        """Run the whole network for each copy: several layers use the stepped parameter."""
        here, x, ys, rows, terms = flat.copy(), self._values[0], [], [], []
        leaves = [node.layer for node in self._graph.nodes if not isinstance(node.layer, Composition)]
        try:
            for where, there in lines.points(here, which, t):
                flat[where] = there
                ys.append(np.array(self._graph.run(x)[self._graph.result]))
                rows.append([side.copy() for layer in leaves for side in sides_of(layer)])
                terms.append(added_by(leaves))
                flat[where] = here[where]
        finally:
            flat[...] = here
        self._added.append(np.array(terms))
        return np.stack(ys), _stacked(rows)

    def _onwards(self, changed: dict[int, NDArray[Any]], first: int, sides: Sides) -> tuple[NDArray[Any], Sides]:
        """Run the nodes from `first` on that read a changed value `(C, B, *s)`."""
        copies = len(next(iter(changed.values())))
        for number, node in enumerate(self._graph.nodes[first:], first):
            if changed.keys().isdisjoint(node.reads):
                continue
            reads = [
                changed[read] if read in changed else np.broadcast_to(whole, (copies, *whole.shape))
                for read in node.reads
                for whole in [self._values[read]]
            ]
            bends = [] if isinstance(node.layer, Composition) else sides_of(node.layer)
            if node in self._at_once:
                out = self._graph.call(node, [read.reshape(-1, *read.shape[2:]) for read in reads])
                y = out.reshape(copies, -1, *out.shape[1:])
                if bends:
                    sides = [*sides, *(side.reshape(copies, -1) for side in sides_of(node.layer))]
            else:
                outs, rows, terms = [], [], []
                for each in zip(*reads, strict=True):
                    outs.append(np.array(self._graph.call(node, each)))
                    rows.append(sides_of(node.layer) if bends else [])
                    terms.append(added_by([node.layer]))
                self._added.append(np.array(terms))
                y, sides = np.stack(outs), [*sides, *_stacked(rows)]
            changed[number + 1] = y
        result, whole = self._graph.result, self._values[self._graph.result]
        return changed.get(result, np.broadcast_to(whole, (copies, *whole.shape))), sides


def sides_of(layer: Layer) -> Sides:
    """Return the sides of a layer and of its children, after its forward pass."""
    return [side for inner in layer.walk() for side in _given(inner.sides())]


def _given(side: NDArray[Any] | None) -> Sides:
    return [] if side is None else [side]


def _stacked(rows: Sequence[Sides]) -> Sides:
    """Turn the sides of each copy into rows."""
    return [np.stack(side).reshape(len(rows), -1) for side in zip(*rows, strict=True)]


def crossed(one: Sides, other: Sides) -> NDArray[Any]:
    """Return for each copy whether it is on another side of a kink, `(C,)`; `(1,)` for all if there are no kinks."""
    differs = [(a != b).any(axis=1) for a, b in zip(one, other, strict=True)]
    return np.logical_or.reduce(differs) if differs else np.zeros(1, bool)


# Tests of declarations that allow calls for all copies at once


def independent(layer: Layer, x: NDArray[Any]) -> bool:
    """Whether a layer treats samples independently: it and its children declare it, and a test confirms it."""
    parts = list(layer.walk())
    if not all(part.samples_independent and part.declares("samples_independent") for part in parts) or not len(x):
        return False
    alone = layer.forward(x).copy()
    others = x[::-1] if any(part.looks_up for part in parts) else 0.5 * x[::-1] + 0.25
    return _agree(layer.forward(np.concatenate([x, others]))[: len(x)], alone)


def _agree(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    if found.shape != expected.shape:
        return False
    size = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    return np.allclose(found, expected, rtol=0, atol=AGREES * size, equal_nan=True)


# Objectives


def product_with(cotangent: NDArray[Any]) -> Objective:
    """Return Σ r·y for a fixed r of the outputs' shape."""
    return lambda outputs: ((outputs * cotangent).reshape(len(outputs), -1).sum(axis=1), [])


def loss_of(loss: Loss, targets: NDArray[Any], weights: NDArray[Any] | None, outputs: NDArray[Any]) -> Objective:
    """Return the loss as an objective: for all copies in one call if a test with some outputs shows that it can do
    that. `weights` are those of the samples, if these are weighted.
    """
    targets = np.asarray(targets)

    def one_by_one(outputs: NDArray[Any]) -> tuple[NDArray[Any], Sides]:
        values, rows = np.empty(len(outputs)), []
        for c, copy in enumerate(outputs):
            values[c] = loss(copy, targets, weights)
            rows.append(_given(loss.sides()))
        return values, _stacked(rows)

    def at_once(outputs: NDArray[Any]) -> tuple[NDArray[Any], Sides]:
        copies = len(outputs)
        if copies == 1:
            return one_by_one(outputs)
        repeated = np.broadcast_to(targets, (copies, *targets.shape)).reshape(-1, *targets.shape[1:])
        loss.lanes, loss.each = copies, []
        try:
            loss.forward(outputs.reshape(-1, *outputs.shape[2:]), repeated)
        finally:
            loss.lanes = 1
        return np.array(loss.each), [side.reshape(copies, -1) for side in _given(loss.sides())]

    if not loss.stacks or not len(outputs) or weights is not None:
        return one_by_one
    two = np.stack([outputs, outputs[::-1]])
    return at_once if _agree(at_once(two)[0], one_by_one(two)[0]) else one_by_one
