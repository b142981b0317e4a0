"""Binding: turn steps into NumPy calls on views of memory, for batches of one size. Each step is interpreted
only once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

from nnspec.compiler.allocate import Memory
from nnspec.compiler.steps import Step, Steps
from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Layer, feature_axis
from nnspec.engine.work import samples_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.engine.losses import Loss
    from nnspec.engine.metrics import Metric
    from nnspec.engine.metrics.contract import Places

__all__ = ["POOL", "Call", "Calls", "Kernels", "LossCall", "Views", "bind", "work_arrays"]

POOL = "pool"
"""The array of bytes shared by all work arrays of single calls."""

Call = tuple[Callable[..., Any], tuple[Any, ...], Step, "NDArray[Any] | None"]
"""The function to call, its arguments, the step that it computes, and the array that it writes."""


@dataclass(frozen=True)
class LossCall:
    """A loss with the arrays that it reads and works in, for all lanes or for one."""

    lane: int | None
    loss: Loss
    arguments: tuple[NDArray[Any], ...]
    """Outputs, targets, the array to work in and, if samples are weighted, their weights."""
    gradient: NDArray[Any]


@dataclass(frozen=True)
class Calls:
    """The calls for batches of one size, in order."""

    forward: tuple[Call, ...]
    metrics: tuple[Call, ...]
    losses: tuple[LossCall, ...]
    backward: tuple[Call, ...]


class Kernels(Protocol):
    """Provides the objects that compute the steps."""

    def layers(self, step: Step) -> Iterator[tuple[int | None, Layer]]:
        """Yield the layers that compute a step, each with its lane, or None for a layer that serves all lanes."""

    def metrics(self, step: Step) -> Iterator[tuple[int | None, Metric | Places]]:
        """Yield the metrics of a step, each with its lane."""

    @property
    def deviation(self) -> NDArray[Any]:
        """The standard deviation of each number of a target, if targets are standardised."""

    def losses(self, rows: int) -> Iterator[tuple[int | None, Loss]]:
        """Yield the loss of all lanes, or each lane's own, for batches of `rows` samples."""


class Views:
    """The memory of a program, viewed as its values, for batches of `rows` samples.

    `given` are the input arrays; `rooms` and `pool` hold bytes.
    """

    def __init__(
        self,
        steps: Steps,
        memory: Memory,
        rooms: Mapping[str, NDArray[Any]],
        given: Mapping[str, NDArray[Any]],
        rows: int,
    ) -> None:
        self._steps, self._memory, self._rooms, self._given, self._rows = steps, memory, rooms, given, rows

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a value: `(B, *shape)`, with a leading axis of lanes if it has one."""
        slot, place = self._steps.slots[name], self._memory.place_of[name]
        lanes = (slot.lanes,) if slot.lanes else ()
        if place in self._given:
            array = self._given[place]
            return array if slot.given else array.reshape(*lanes, self._rows, *slot.shape)
        memory = self._rooms[place].view(slot.dtype)
        if slot.samples_last:
            return samples_in(memory, (self._rows, *slot.shape), batch_last=True)
        return memory[: slot.numbers * self._rows].reshape(*lanes, self._rows, *slot.shape)

    def of(self, name: str, lane: int | None) -> NDArray[Any]:
        """Return a value, or one lane's slice of it if it has an axis of lanes."""
        array = self[name]
        return array[lane] if lane is not None and self._steps.slots[name].lanes else array

    def one_batch(self, name: str) -> NDArray[Any]:
        """Return the samples of all lanes stacked as one batch: `(L, B, *s)` as `(L·B, *s)`."""
        array = self[name]
        if not self._steps.slots[name].lanes:
            return array
        if not array.flags.c_contiguous:
            raise RuntimeError(f"the lanes of {name} do not lie one after another")
        return array.reshape(-1, *array.shape[2:])


def bind(steps: Steps, views: Views, kernels: Kernels, rows: int) -> Calls:
    """Return the calls of a program."""
    forward: list[Call] = []
    metrics: list[Call] = []
    losses: list[LossCall] = []
    backward: list[Call] = []
    gradient_step = next(step for step in steps if step.op == "loss gradient")
    for step in steps:
        if step.op == "copy":
            out = views[str(step.writes)]
            forward.append((np.copyto, (out, views[step.reads[0]]), step, out))
        elif step.op == "forward":
            forward += _layers(step, views, kernels)
        elif step.op in ("add", "concat"):
            forward.append(_joined(step, steps, views))
        elif step.op == "scale":
            out = views[str(step.writes)]
            forward.append((np.multiply, (views[step.reads[0]], kernels.deviation, out), step, out))
        elif step.op == "metric":
            for lane, metric in kernels.metrics(step):
                metrics.append((metric.add, tuple(views.of(name, lane) for name in step.reads), step, None))
        elif step.op == "loss":
            losses += _losses(step, gradient_step, views, kernels, rows)
        elif step.op == "backward":
            backward += _layers(step, views, kernels)
        elif step.op == "sum":
            out, reads = views[str(step.writes)], [views[name] for name in step.reads]
            backward.append((_add, (out, *reads), step, out))
        elif step.op == "gather":
            backward += _gathered(step, kernels)
        elif step.op == "split":
            backward.append(_split(step, steps, views))
    return Calls(tuple(forward), tuple(metrics), tuple(losses), tuple(backward))


def _layers(step: Step, views: Views, kernels: Kernels) -> Iterator[Call]:
    """Yield the calls of a layer's kernel, forward or backward."""
    for lane, layer in kernels.layers(step):
        see = views.one_batch if step.way == "batch" else partial(views.of, lane=lane)
        out = see(step.writes) if step.writes is not None else None
        call: Callable[..., Any] = layer.forward if step.op == "forward" else layer.backward
        if step.op == "backward" and out is None:
            call = partial(call, input_grad=False)
        if step.op == "forward":
            yield call, (see(step.reads[0]), out, *map(see, step.reads[1:])), step, out
        else:
            yield call, (see(step.reads[0]), out, *map(see, step.also)), step, out


def _losses(step: Step, gradient: Step, views: Views, kernels: Kernels, rows: int) -> Iterator[LossCall]:
    names = (*step.reads[:2], str(step.writes), *step.reads[2:], str(gradient.writes))
    for lane, loss in kernels.losses(rows):
        *arguments, out = (views.one_batch(name) if lane is None else views.of(name, lane) for name in names)
        yield LossCall(lane, loss, tuple(arguments), out)


def _add(out: NDArray[Any], first: NDArray[Any], second: NDArray[Any], *others: NDArray[Any]) -> None:
    """out = ((first + second) + third) + …, in this order; `out` may be `first`."""
    np.add(first, second, out=out)
    for other in others:
        np.add(out, other, out=out)


def _gathered(step: Step, kernels: Kernels) -> Iterator[Call]:
    """Yield the calls that add the gradients of a layer's parameters at its other uses to its own."""
    users = [dict(kernels.layers(replace(step, node=name))) for name in step.uses]
    for lane, owner in kernels.layers(step):
        for parameter in owner.parameters().values():
            for use in (shared for user in users for shared in user[lane].shared().values()):
                if use.owner is parameter:
                    out = parameter.grad
                    yield partial(np.add, out=out), (out, use.grad), step, out


def _joined(step: Step, steps: Steps, views: Views) -> Call:
    out, reads = views[str(step.writes)], [views[name] for name in step.reads]
    if step.op == "add":
        return _add, (out, *reads), step, out
    axis = _axis(steps, str(step.writes), out)
    return partial(np.concatenate, axis=axis, out=out), (reads,), step, out


def _split(step: Step, steps: Steps, views: Views) -> Call:
    whole, out = views[step.reads[0]], views[str(step.writes)]
    axis = _axis(steps, step.reads[0], whole)
    start, end = step.part or (0, 0)
    part = whole[(slice(None),) * axis + (slice(start, end),)]
    return np.copyto, (out, part), step, out


def _axis(steps: Steps, name: str, array: NDArray[Any]) -> int:
    """Return the axis along which the parts of an array are joined."""
    shape = steps.slots[name].shape
    return array.ndim - len(shape) + feature_axis(shape)


def work_arrays(
    node: str,
    steps: Steps,
    memory: Memory,
    rooms: Mapping[str, NDArray[Any]],
    batch: int,
    *,
    lane: int = 0,
    lanes: int = 1,
) -> dict[str, NDArray[Any]]:
    """Return the work arrays of a layer, loss or metric by the names used in its class, with `lanes` batches of
    samples: those of all lanes in sequence, or those of one lane.
    """
    found = {}
    for name, slot in steps.work_of.get(node, ()):
        rows = batch * lanes
        count = rows * prod(slot.shape)
        if slot.name in memory.scratch_at:
            start = memory.scratch_at[slot.name]
            numbers = rooms[POOL][start : start + count * np.dtype(slot.dtype).itemsize].view(slot.dtype)
        else:
            numbers = rooms[memory.place_of[slot.name]].view(slot.dtype)[lane * count :][:count]
        found[name] = numbers.reshape(rows, *slot.shape)
    return found
