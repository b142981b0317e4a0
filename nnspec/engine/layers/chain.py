"""A branch of a composition: layers in a row, between two arrays that belong to somebody else.

The array that enters is read by the other branches too, and so is the gradient that arrives: neither is ever written
to. Everything else lies in arrays that the chain is lent. Which those are is settled before any array exists, by the
two rules of the plan:

    forward     a layer writes over its input where it may, where the input is the chain's own, and where the layer
                before does not read that again; every other layer has a buffer, kept until backward if one of those
                that meet in it reads it again
    backward    a layer writes over its gradient where it may and where that is the chain's own; the others write into
                two buffers in turn, which all branches share
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Geometry, Layer, Shape, passed_on
from nnspec.engine.work import Work, samples_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GRADIENTS", "Chain", "Member", "buffer_of", "gradient_work", "work_of"]

GRADIENTS = ("gradient0", "gradient1")
"""The two buffers of backward."""

# Where a layer's backward pass writes: one of the two buffers, or over its gradient, or where the chain's result goes.
_OVER, _OUT = 2, 3


@dataclass(frozen=True)
class Member:
    """A layer in a branch before it is made: what the shapes and buffers of a composition follow from."""

    name: str
    """Its name within the branch: `Linear1`, or `Hidden1.Linear1` where it comes from a block."""
    part: type[Layer]
    incoming: Shape
    """What arrives at it."""
    geometry: Geometry

    @property
    def keeps_shape(self) -> bool:
        """Whether what leaves is shaped like what arrives."""
        return self.geometry.out == self.incoming


def buffer_of(path: str) -> str:
    """Name the buffer of the output of the layer at `path`; there is none where it writes over its input."""
    return f"y of {path}"


def work_of(branch: str, members: Mapping[str, Member]) -> Iterator[tuple[str, Work]]:
    """Yield the work arrays of a branch, whose members are given by their paths: its buffers and its layers' own."""
    yield from reversed(list(_buffers(branch, members)))
    for path, member in members.items():
        for name, work in member.geometry.work.items():
            inside = () if work.saved else (branch, path, *work.inside)
            yield f"{path}/{name}", replace(work, inside=inside)


def _buffers(branch: str, members: Mapping[str, Member]) -> Iterator[tuple[str, Work]]:
    """Yield the buffers of the outputs, from the last to the first."""
    rows = list(members.items())
    read_again = False  # what leaves the chain is joined with others and not read again
    inside: tuple[str, ...] = ()  # and lives until all branches are done
    for k, (path, member) in reversed(list(enumerate(rows))):
        read_again = read_again or "output" in member.part.backward_reads
        if k and _writes_over(member, rows[k - 1][1]):
            continue
        yield buffer_of(path), Work(member.geometry.out, saved=read_again, inside=() if read_again else inside)
        read_again, inside = "input" in member.part.backward_reads, (branch,)


def _writes_over(member: Member, before: Member) -> bool:
    return member.part.in_place and member.keeps_shape and "output" not in before.part.backward_reads


def gradient_work(branches: Sequence[Sequence[Member]], copied: bool) -> Iterator[tuple[str, Work]]:
    """Yield the buffers of backward; `copied` says that each branch is given a gradient of its own, in the first."""
    widths = [0, 0]
    for i, members in enumerate(branches):
        over = [member.part.in_place and member.keeps_shape for member in members]
        for member, target in zip(members, _targets(over, owned=copied, direct=i == 0), strict=True):
            if target < _OVER:
                widths[target] = max(widths[target], prod(member.incoming))
        if copied and members:
            widths[0] = max(widths[0], prod(members[-1].geometry.out))
    for name, width in zip(GRADIENTS, widths, strict=True):
        if width:
            yield name, Work((width,))


def _targets(over: Sequence[bool], *, owned: bool, direct: bool) -> tuple[int, ...]:
    """Say where each layer's backward pass writes.

    `over` says which layers may write over their gradient, `owned` that the one that arrives is in the first buffer,
    `direct` that the result of the first layer goes where the composition's own goes.
    """
    targets, turn = [], int(owned)
    for k in reversed(range(len(over))):
        if k == 0 and direct:
            targets.append(_OUT)
        elif owned and over[k]:
            targets.append(_OVER)
        else:
            targets.append(turn)
            turn, owned = 1 - turn, True
    return tuple(reversed(targets))


class Chain:
    """The layers of a branch by their paths in the composition; none of them is the identity."""

    def __init__(self, layers: Mapping[str, Layer], *, owned: bool, direct: bool) -> None:
        self.layers = dict(layers)
        self._layers = tuple(layers.values())
        self._owned, self._direct = owned, direct
        self._batch_last = False
        trained = (k for k, layer in enumerate(self._layers) if layer.parameters())
        self._first_trained = next(trained, len(self._layers))
        self._shapes: list[tuple[int, ...]] = []
        self.take({})

    def take(self, buffers: Mapping[str, NDArray[Any]]) -> None:
        """Work in these buffers from now on; allocate where there are none."""
        self._outs = [buffers.get(buffer_of(path)) for path in self.layers]
        self._gradients = [buffers.get(name) for name in GRADIENTS]
        self._room = min((len(array) for array in self._outs if array is not None), default=-1)
        self._routes: tuple[int, ...] = ()

    def forward(self, x: NDArray[Any]) -> NDArray[Any]:
        """Run the layers in order; x is left as it is."""
        self._shapes = [x.shape]
        self._batch_last = _is_batch_last(x)
        lent = len(x) <= self._room
        for layer, buffer in zip(self._layers, self._outs, strict=True):
            out: NDArray[Any] | None = None
            if lent:
                out = x if buffer is None else self._cut(buffer, (len(x), *buffer.shape[1:]))
            x = layer.forward(x, out)
            self._shapes.append(x.shape)
        return x

    def backward(self, grad: NDArray[Any], out: NDArray[Any] | None, *, input_grad: bool) -> NDArray[Any] | None:
        """Run the layers in reverse, down to the first that is wanted; `grad` is left as it is.

        The result may be `out`, one of the two buffers, or `grad` itself where there are no layers.
        """
        if self._owned and self._layers and (input_grad or self._first_trained < len(self._layers)):
            grad = self._copy(grad)
        for k in reversed(range(len(self._layers))):
            if not input_grad and k <= self._first_trained:
                if k == self._first_trained:
                    self._layers[k].backward(grad, input_grad=False)
                return None
            layer = self._layers[k]
            grad = passed_on(layer.backward(grad, self._target(k, grad, out)), layer)
        return grad

    def _target(self, k: int, grad: NDArray[Any], out: NDArray[Any] | None) -> NDArray[Any] | None:
        """Return the array that the result of layer k goes into, or None where it is to allocate."""
        if k == 0 and self._direct and out is not None:
            return out
        if len(grad) > self._room:
            return None
        route = self._route()[k]
        if route == _OUT:  # an array in any case: a layer may return a view of a buffer that the next branch writes to
            return np.empty(self._shapes[k], grad.dtype)
        return grad if route == _OVER else self._cut(self._gradients[route], self._shapes[k])

    def _route(self) -> tuple[int, ...]:
        if not self._routes:
            keep_shape = (before[1:] == after[1:] for before, after in pairwise(self._shapes))
            over = [layer.in_place and keeps for layer, keeps in zip(self._layers, keep_shape, strict=True)]
            self._routes = _targets(over, owned=self._owned, direct=self._direct)
        return self._routes

    def _copy(self, grad: NDArray[Any]) -> NDArray[Any]:
        """Copy a part of a gradient that others read too, so that the layers find it in one piece."""
        if len(grad) > self._room:
            return grad.copy()
        own = self._cut(self._gradients[0], grad.shape)
        np.copyto(own, grad)
        return own

    def _cut(self, buffer: NDArray[Any] | None, shape: tuple[int, ...]) -> NDArray[Any]:
        assert buffer is not None, "a composition is lent all of its work arrays or none"
        return samples_in(buffer, shape, batch_last=self._batch_last)


def _is_batch_last(x: NDArray[Any]) -> bool:
    """Whether the samples are the last axis in memory, as they are where all layers of the chain would have it."""
    return x.ndim > 2 and x.strides[0] == x.itemsize and not x.flags.c_contiguous
