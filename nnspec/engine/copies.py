"""A network at many values of one of its tensors, evaluated as a batch.

The gradient check takes some thousands of steps, each in one tensor. What enters the tensor's layer is the same at all
of them and is computed once. From there on, the B samples of C copies of the network are one batch of C·B samples,
since all copies share the weights of the later layers. Three kinds of calls stay apart, copy by copy:

- a layer whose own parameter is stepped, because its weights differ from copy to copy;
- a layer that does not declare `Layer.samples_independent`, such as BatchNorm, or dropout, whose mask is held;
- a loss that does not declare `Loss.stacks`.

Where a step can change little, little is computed: of a layer that declares `Layer.units_independent` the unit whose
weight is stepped, and of layers that keep samples apart the sample in which a number of the input is stepped.

Declarations are tested before they are relied on: among other samples, a batch must get what it gets alone, and a unit
alone must give what it gives among others. Where one does not hold, the layer or the loss is called copy by copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Layer
from nnspec.engine.losses import Loss
from nnspec.engine.network import NumpyMLP
from nnspec.engine.parameter import Parameter
from nnspec.engine.penalties import Penalty
from nnspec.errors import ContractError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Copies", "Lines", "Objective", "Tensor", "loss_of", "product_with"]

NUMBERS = 1 << 19
"""Numbers of the layers' outputs in one batch of copies, 4 MiB: more would leave the processor's cache."""
AGREES = 1e-9
"""How far a batch among other samples may be from the batch alone, as a share of its largest number: rounding."""

Sides = list["NDArray[Any]"]
"""For every source of kinks, a row for each copy that says which side of them it is on."""
Objective = Callable[["NDArray[Any]"], tuple["NDArray[Any]", Sides]]
"""Outputs `(C, B, *out)` to the value of each copy `(C,)`, and its sides."""


@dataclass(frozen=True)
class Tensor:
    """A tensor to step in: a parameter of layer `first`, or else the array that enters there."""

    name: str
    array: NDArray[Any]
    grad: NDArray[Any]
    first: int
    parameter: Parameter | None = None


@dataclass(frozen=True)
class Lines:
    """Lines θ + t·d through a tensor: `along` one entry each `(lines,)`, or along directions `(lines, size)`."""

    along: NDArray[Any]

    def __len__(self) -> int:
        return len(self.along)

    @property
    def single(self) -> bool:
        """Whether each line changes one entry."""
        return self.along.ndim == 1

    def only(self, kept: NDArray[Any]) -> Lines:
        """Return some of the lines."""
        return self if kept.all() else Lines(self.along[kept])

    def taken(self, here: NDArray[Any], h: float) -> NDArray[Any]:
        """Return the distance from −h to h on each line: of an entry, as rounding leaves it."""
        if not self.single:
            return np.full(len(self), 2 * h)
        at = here[self.along]
        taken: NDArray[Any] = (at + h) - (at - h)
        return taken

    def points(
        self, here: NDArray[Any], which: NDArray[Any], t: NDArray[Any]
    ) -> Iterator[tuple[int | slice, NDArray[Any] | float]]:
        """Yield the entries to overwrite, and with what, for line `which[c]` at `t[c]`."""
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
        network: NumpyMLP,
        x: NDArray[Any],
        objective: Callable[[NDArray[Any]], Objective],
        penalties: Sequence[Penalty] = (),
    ) -> None:
        """`objective` makes what is differentiated, given the network's outputs."""
        self.network, self.penalties = network, penalties
        self.terms = {
            p: sum(penalty.value(p.data.reshape(-1)[part]) for penalty in penalties for part in p.decaying)
            for p in (network.parameters() if penalties else ())
        }
        """What the penalties on each parameter add."""
        self.inputs = [x]
        self.batched: set[Layer] = set()
        """Layers that take the samples of all copies as one batch."""
        self.by_unit: set[Layer] = set()
        """Layers whose units are computed one by one."""
        self.bent: set[Layer] = set()
        """Layers with kinks."""
        for layer in network.layers:
            before = self.inputs[-1]
            if independent(layer, before):
                self.batched.add(layer)
            self.inputs.append(layer.forward(before))
            if sides_of(layer):
                self.bent.add(layer)
            if self._has_units(len(self.inputs) - 2):
                self.by_unit.add(layer)
                layer.forward(before)
        self.objective = objective(self.outputs)

    @property
    def outputs(self) -> NDArray[Any]:
        """What the network gives, `(B, *out)`."""
        return self.inputs[-1]

    def at_once(self, tensor: Tensor, lines: Lines) -> int:
        """Return how many copies one batch takes."""
        numbers = sum(x.size for x in self.inputs[tensor.first + 1 :])
        if tensor.parameter is None:
            numbers += tensor.array.size
            if self._in_one_sample(tensor, lines):
                numbers = numbers // len(tensor.array) + self.outputs.size
        return max(1, NUMBERS // max(1, numbers))

    def __call__(
        self, tensor: Tensor, lines: Lines, which: NDArray[Any], t: NDArray[Any]
    ) -> tuple[NDArray[Any], Sides]:
        """Return the value of each copy `(C,)` and its sides, with `tensor` at `t[c]` on line `which[c]`.

        Sides can be compared with those at other points of the same line, of which they may leave out what cannot
        change.
        """
        if tensor.parameter is None:
            y, sides = self._stepping_what_enters(tensor, lines, which, t)
        else:
            y, sides = self._stepping_a_parameter(tensor, tensor.parameter, lines, which, t)
        values, more = self.objective(y)
        penalties, even_more = self._penalties(tensor, lines, which, t)
        return values + penalties, [*sides, *more, *even_more]

    def _penalties(
        self, tensor: Tensor, lines: Lines, which: NDArray[Any], t: NDArray[Any]
    ) -> tuple[NDArray[Any], Sides]:
        """Return the penalties on all weights in each copy, and on which side of their kinks the stepped ones are."""
        total = np.zeros(len(which))
        total += sum(term for p, term in self.terms.items() if p is not tensor.parameter)
        if tensor.parameter not in self.terms:
            return total, []
        flat, rows = tensor.array.reshape(-1).copy(), []
        for c, (where, there) in enumerate(lines.points(tensor.array.reshape(-1), which, t)):
            flat[where] = there
            pairs = [(penalty, flat[part]) for penalty in self.penalties for part in tensor.parameter.decaying]
            total[c] += sum(penalty.value(w) for penalty, w in pairs)
            rows.append([side for penalty, w in pairs for side in _given(penalty.sides(w))])
            flat[where] = tensor.array.reshape(-1)[where]
        return total, _stacked(rows)

    # A step in a parameter

    def _stepping_a_parameter(
        self, tensor: Tensor, parameter: Parameter, lines: Lines, which: NDArray[Any], t: NDArray[Any]
    ) -> tuple[NDArray[Any], Sides]:
        if lines.single and self.network.layers[tensor.first] in self.by_unit:
            return self._through(tensor.first + 1, self._in_one_unit(tensor, parameter, lines, which, t), [])
        return self._through(tensor.first + 1, *self._in_turn(tensor, lines, which, t))

    def _in_turn(
        self, tensor: Tensor, lines: Lines, which: NDArray[Any], t: NDArray[Any]
    ) -> tuple[NDArray[Any], Sides]:
        """Call the layer for each copy, with the parameter overwritten in place."""
        x, layer, flat = self.inputs[tensor.first], self.network.layers[tensor.first], tensor.array.reshape(-1)
        here, bends = flat.copy(), layer in self.bent
        y, rows = np.empty((len(which), *self.inputs[tensor.first + 1].shape)), []
        try:
            for c, (where, there) in enumerate(lines.points(here, which, t)):
                flat[where] = there
                y[c] = layer.forward(x)
                rows.append(sides_of(layer) if bends else [])
                flat[where] = here[where]
        finally:
            flat[...] = here
        return y, _stacked(rows)

    def _in_one_unit(
        self, tensor: Tensor, parameter: Parameter, lines: Lines, which: NDArray[Any], t: NDArray[Any]
    ) -> NDArray[Any]:
        """Compute the one unit of each copy whose weights are stepped, as a stack of layers with a unit each."""
        layer, copy, entries = self.network.layers[tensor.first], np.arange(len(which)), lines.along[which]
        row, unit = np.divmod(entries, parameter.shape[-1])
        lanes = {}
        for name, p in layer.parameters().items():
            weights = np.ascontiguousarray(p.data.reshape(-1, p.shape[-1]).T)[unit]
            if p is parameter:
                weights[copy, row] = tensor.array.reshape(-1)[entries] + t
            weights = weights.reshape(len(copy), *p.shape[:-1], 1)
            lanes[name] = Parameter.over(weights, weights)
        stack = type(layer).stack(lanes)
        if stack is None:
            raise ContractError(f"{type(layer).__name__} declares independent units, but has no stack")
        y = np.repeat(self.inputs[tensor.first + 1][None], len(copy), axis=0)
        y[copy, ..., unit] = stack.forward(self.inputs[tensor.first], np.empty((*y.shape[:-1], 1)))[..., 0]
        return y

    def _has_units(self, number: int) -> bool:
        """Whether a layer's units can be computed one by one, as it says: a few large steps show it."""
        layer = self.network.layers[number]
        parameters, units = layer.parameters(), self.inputs[number + 1].shape[-1:]
        if not layer.units_independent or layer in self.bent or any(p.shape[-1:] != units for p in parameters.values()):
            return False
        for name, p in parameters.items():
            tensor, lines = Tensor(name, p.data, p.grad, number, p), Lines(np.array([0, p.size // 3, p.size - 1]))
            points = lines, np.arange(len(lines)), np.ones(len(lines))
            if not _agree(self._in_one_unit(tensor, p, *points), self._in_turn(tensor, *points)[0]):
                return False
        return True

    # A step in what enters a layer

    def _in_one_sample(self, tensor: Tensor, lines: Lines) -> bool:
        """Whether each step changes one sample, and no other sample sees it."""
        layers = self.network.layers[tensor.first :]
        return tensor.parameter is None and lines.single and self.batched.issuperset(layers)

    def _stepping_what_enters(
        self, tensor: Tensor, lines: Lines, which: NDArray[Any], t: NDArray[Any]
    ) -> tuple[NDArray[Any], Sides]:
        start, here = tensor.array, tensor.array.reshape(-1)
        if self._in_one_sample(tensor, lines):
            sample, entry = np.divmod(lines.along[which], prod(start.shape[1:]))
            rows = start[sample]
            rows.reshape(len(rows), -1)[np.arange(len(rows)), entry] = here[lines.along[which]] + t
            stepped, sides = self._through(tensor.first, rows[:, None], [])
            y = np.repeat(self.outputs[None], len(which), axis=0)
            y[np.arange(len(rows)), sample] = stepped[:, 0]
            return y, sides
        x = np.repeat(start[None], len(which), axis=0)
        for copy, (where, there) in zip(x, lines.points(here, which, t), strict=True):
            copy.reshape(-1)[where] = there
        return self._through(tensor.first, x, [])

    def _through(self, first: int, y: NDArray[Any], sides: Sides) -> tuple[NDArray[Any], Sides]:
        """Run what enters layer `first` `(C, B, *s)` through the rest of the network."""
        copies = len(y)
        for layer in self.network.layers[first:]:
            if layer in self.batched:
                out = layer.forward(y.reshape(-1, *y.shape[2:]))
                y = out.reshape(copies, -1, *out.shape[1:])
                if layer in self.bent:
                    sides = [*sides, *(side.reshape(copies, -1) for side in sides_of(layer))]
            else:
                outs, rows = [], []
                for copy in y:
                    outs.append(layer.forward(copy).copy())
                    rows.append(sides_of(layer))
                y, sides = np.stack(outs), [*sides, *_stacked(rows)]
        return y, sides


def sides_of(layer: Layer) -> Sides:
    """Return the sides of a layer and of all that it is made of, after its forward pass."""
    return [side for inner in layer.walk() for side in _given(inner.sides())]


def _given(side: NDArray[Any] | None) -> Sides:
    return [] if side is None else [side]


def _stacked(rows: Sequence[Sides]) -> Sides:
    """Turn the sides of each copy into rows."""
    return [np.stack(side).reshape(len(rows), -1) for side in zip(*rows, strict=True)]


def crossed(one: Sides, other: Sides) -> NDArray[Any]:
    """Return for each copy whether it is on another side of a kink, `(C,)`; `(1,)` for all where there are no kinks."""
    differs = [(a != b).any(axis=1) for a, b in zip(one, other, strict=True)]
    return np.logical_or.reduce(differs) if differs else np.zeros(1, bool)


# What declares that it may be called for all copies at once, put to the test


def independent(layer: Layer, x: NDArray[Any]) -> bool:
    """Whether a layer treats samples independently: it says so, and so does all that it is made of, and so it does."""
    parts = list(layer.walk())
    if not all(part.samples_independent for part in parts) or not len(x):
        return False
    alone = layer.forward(x).copy()
    others = x[::-1] if any(part.looks_up for part in parts) else 0.5 * x[::-1] + 0.25
    return _agree(layer.forward(np.concatenate([x, others]))[: len(x)], alone)


def _agree(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    if found.shape != expected.shape:
        return False
    size = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    return np.allclose(found, expected, rtol=0, atol=AGREES * size, equal_nan=True)


# What is differentiated


def product_with(cotangent: NDArray[Any]) -> Objective:
    """Return Σ r·y for a fixed r of the outputs' shape."""
    return lambda outputs: ((outputs * cotangent).reshape(len(outputs), -1).sum(axis=1), [])


def loss_of(loss: Loss, targets: NDArray[Any], outputs: NDArray[Any]) -> Objective:
    """Return the loss: of all copies in one call, where it can do that, as it is tested to with some outputs."""
    targets = np.asarray(targets)

    def one_by_one(outputs: NDArray[Any]) -> tuple[NDArray[Any], Sides]:
        values, rows = np.empty(len(outputs)), []
        for c, copy in enumerate(outputs):
            values[c] = loss.forward(copy, targets)
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

    if not loss.stacks or not len(outputs):
        return one_by_one
    two = np.stack([outputs, outputs[::-1]])
    return at_once if _agree(at_once(two)[0], one_by_one(two)[0]) else one_by_one
