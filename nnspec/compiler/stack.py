"""Lanes of one shape, trained as one network with a lane axis in front.

The lanes of a race or a sweep mostly differ in how they move, not in what they compute. So every call of NumPy serves
all of them: the batch is gathered once, `(B, n)`, or `(L, B, n)` where seeds differ; a layer that treats every sample
by itself takes the samples of all lanes as one batch; a layer with a stack of its own (`Layer.stack`) takes all lanes
at once; of every other, each lane's own is called. Then each lane moves by its own optimizer, on its own row of one
matrix of parameters.

No number depends on it: every lane has the bits that it has alone. So how many lanes make a stack is a matter of speed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Experiment
from nnspec.compiler.batches import Batches
from nnspec.compiler.kinship import each_alone
from nnspec.compiler.layout import LayerLayout, Layout, dtype_of
from nnspec.compiler.narrowing import may_narrow
from nnspec.compiler.plan import Plan, make_layer
from nnspec.data.source import Dataset
from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Layer
from nnspec.engine.losses import Loss
from nnspec.engine.losses.contract import Mean
from nnspec.engine.parameter import Parameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LanePlan", "Stack"]


class LanePlan(Plan):
    """A plan like every other, that computes with its stack as long as it is in one."""

    stack: Stack | None = None
    lane: int = 0
    _seconds: float = 0.0

    def clock(self) -> float:
        """Seconds of training: in a stack, the time of its own steps and its share of what the lanes do as one."""
        return self._seconds if self.stack is not None else super().clock()

    def begin(self, epoch: int) -> None:
        """Begin an epoch; the first lane to do so has the stack train it."""
        if self.stack is None:
            super().begin(epoch)
            return
        self.stack.train(epoch)
        self._seconds += self.stack.seconds[self.lane]

    def train_batch(self, number: int) -> tuple[float, float]:
        """Return the loss of a batch that the stack trained, and its weight."""
        if self.stack is None:
            return super().train_batch(number)
        losses, weights = self.stack.trained[number]
        return losses[self.lane], weights[self.lane]

    def figures(self) -> tuple[float, ...]:
        """Return each metric over the batches since `begin`."""
        return super().figures() if self.stack is None else self.stack.figures[self.lane]

    def validate(self) -> tuple[float, tuple[float, ...]]:
        """Return mean loss and each metric over the samples held out."""
        return super().validate() if self.stack is None else self.stack.measured("validation")[self.lane]

    def test(self) -> tuple[float, tuple[float, ...]]:
        """Return mean loss and each metric over the test samples."""
        return super().test() if self.stack is None else self.stack.measured("test")[self.lane]

    def release(self) -> None:
        """Give the network away; the stack calls nothing of it any more, and does not have it train."""
        super().release()
        if self.stack is not None:
            self.stack.let_go(self)


Call = tuple[Callable[..., Any], "NDArray[Any]", "NDArray[Any]"]


@dataclass(frozen=True)
class _Pass:
    """The calls that batches of one size need, in order, each with the arrays that it reads and writes."""

    copies: tuple[tuple[NDArray[Any], NDArray[Any]], ...]
    """What is copied after a batch was brought: from -> to."""
    forward: tuple[Call, ...]
    metrics: tuple[Call, ...]
    losses: tuple[tuple[int, Loss, NDArray[Any], NDArray[Any], NDArray[Any]], ...]
    """Of the one loss, or each lane's: lane, loss, outputs, targets, where to work."""
    backward: tuple[tuple[Callable[..., Any], NDArray[Any], NDArray[Any] | None], ...]


class Stack:
    """The plans of some lanes of one kin, on the same data, bound to one another.

    They are as many as asked for, in order. Where it turns out that they cannot be stacked after all (seeds differ, and
    with them which features are zero throughout), each is a plan on its own from the start.
    """

    def __init__(self, lanes: Sequence[tuple[Experiment, Layout]], dataset: Dataset) -> None:
        self.layout = lanes[0][1]
        self._count = len(lanes)
        vectors = {name: self._empty((self.layout.params,)) for name in ("parameters", "gradients")}
        features = prod(lanes[0][0].layers[0].incoming)
        self._x = self._empty((self.layout.batch * features,))
        self.plans: list[LanePlan] = []
        self._shared = len({_order(experiment) for experiment, _ in lanes}) == 1
        for lane, (experiment, layout) in enumerate(lanes):
            rows = {name: array[lane] for name, array in vectors.items()}
            if self.plans and self._shared:
                first = self.plans[0]
                rows |= {b.name: first.buffers[b.name] for b in layout.buffers if b.group == "batch"}
                plan = LanePlan(experiment, layout, dataset, rows, first.data)
            else:
                rows |= {} if self._shared else {"x": self._x[lane].reshape(layout.batch, features)}
                plan = LanePlan(experiment, layout, dataset, rows)
            plan.lane = lane
            self.plans.append(plan)
        self._vectors = vectors
        self._sources: tuple[Batches, ...] = tuple(dict.fromkeys(plan.data for plan in self.plans))
        self._active = list(self.plans)  # those that are still in the stack
        self._going = self._active  # those of them that have not diverged in this epoch
        self._epoch = -1
        self._known: dict[str, list[tuple[float, tuple[float, ...]]]] = {}
        self._passes: dict[tuple[int, bool], _Pass] = {}
        self.seconds = [0.0] * self._count
        self.trained: list[tuple[list[float], list[float]]] = []
        self.figures: list[tuple[float, ...]] = []
        if self._alike():
            self._bind()

    def _empty(self, shape: tuple[int, ...], dtype: str | None = None) -> NDArray[Any]:
        return np.empty((self._count, *shape), dtype or self.layout.dtype)

    def _alike(self) -> bool:
        """Whether the same features are left in training, and there are several lanes."""
        alive = {None if source.alive is None else source.alive.tobytes() for source in self._sources}
        return self._count > 1 and len(alive) == 1

    # Set-up

    def _bind(self) -> None:
        """Make what all lanes work in and with."""
        layout = self.layout
        for plan in self.plans:
            plan.stack = self
        self._outputs = [self._empty((layout.batch * prod(p.node.geometry.out),)) for p in layout.layers]
        widths = [prod(place.node.incoming) for place in layout.layers]
        self._gradients = [self._empty((layout.batch * max(widths),)) for _ in range(2)]
        self._loss_out = None if layout.loss_in_place else self._empty(self._outputs[-1].shape[1:])
        self._layers = [self._layer(i, place) for i, place in enumerate(layout.layers)]
        narrowing = self.plans[0]._narrowing
        start = narrowing.start if narrowing is not None else 0
        self._narrow_layer = self._stacked(0, layout.layers[0], start) if start else self._layers[0]
        targets = self.plans[0].data.targets(layout.batch)
        self._targets = np.empty((self._count * layout.batch, *targets.shape[1:]), targets.dtype)
        experiment = self.plans[0].experiment
        loss: Loss = experiment.loss.make()
        self._loss = loss if loss.stacks else None
        if self._loss is not None:
            self._loss.lanes = self._count
            self._loss.lend(self._work({**layout.loss_work.saved, **_arrays(layout.loss_work.pooled)}))

    def _layer(self, i: int, place: LayerLayout) -> Layer | None:
        """Make what stands for a layer of all lanes; None where each lane's own does."""
        if each_alone(place.node):
            layer = make_layer(place.node, 0, self.layout.dtype, (i,))
            layer.lend(self._work({**place.work.saved, **_arrays(place.work.pooled)}))
            return layer
        return self._stacked(i, place)

    def _stacked(self, i: int, place: LayerLayout, start: int = 0) -> Layer | None:
        """Make the stack of a layer's lanes; of its rows of weights, those from `start` in the vector on."""
        parameters = {}
        own = self.plans[0]._network.layers[i].parameters()
        for name, (offset, shape) in place.parameters.items():
            left = shape
            end = offset + prod(shape)
            if start and name == _own_rows(place):
                left = (shape[0] - start // prod(shape[1:]), *shape[1:])
                offset = end - prod(left)
            data, grad = (self._vectors[v][:, offset:end].reshape(self._count, *left) for v in self._vectors)
            parameters[name] = Parameter.over(data, grad, own[name].decaying)
        part = place.node.value.part
        assert issubclass(part, Layer)
        layer = part.stack(parameters)
        if layer is not None:
            layer.lend(self._work({**place.work.saved, **_arrays(place.work.pooled)}, lanes=1))
        return layer

    def _work(self, work: Any, lanes: int = 0) -> dict[str, NDArray[Any]]:
        rows = (lanes or self._count) * self.layout.batch
        return {n: np.empty((rows, *w.shape), dtype_of(w, self.layout.dtype)) for n, w in work.items()}

    # Training

    def train(self, epoch: int) -> None:
        """Train an epoch of all lanes that are still in the stack, unless that has been done."""
        if epoch == self._epoch:
            return
        self._known.clear()
        self.trained, own = [], [0.0] * self._count
        started = time.perf_counter()
        for source in self._sources:
            source.shuffle(epoch)
        for plan in self._active:
            plan._epoch = epoch
            plan._begin_metrics()
            plan._narrow(True)
        self._let_go_on(self._active)
        for number in range(len(self._sources[0])):
            for source in self._sources:
                rows = source.train(number)
            step = self._pass(rows, whole=False)
            losses, weights = self._evaluate(step)
            self._backward(step)
            for plan in self._going:
                before = time.perf_counter()
                losses[plan.lane] += plan._move(number, losses[plan.lane])
                own[plan.lane] += time.perf_counter() - before
            if not all(map(math.isfinite, losses)):  # a lane that has diverged stays where it is
                self._let_go_on([plan for plan in self._going if math.isfinite(losses[plan.lane])])
            self.trained.append((losses, weights))
        self.figures = [Plan.figures(plan) for plan in self.plans]
        common = time.perf_counter() - started - math.fsum(own)
        self.seconds = [seconds + common / len(self._active) for seconds in own]
        self._epoch = epoch

    def measured(self, samples: str) -> list[tuple[float, tuple[float, ...]]]:
        """Return mean loss and each metric of every lane over the samples held out, or those of the test."""
        if samples not in self._known:
            batches = (source.validation() if samples == "validation" else source.test() for source in self._sources)
            self._known[samples] = self._measure(zip(*batches, strict=True))
        return self._known[samples]

    def _measure(self, batches: Iterator[tuple[int, ...]]) -> list[tuple[float, tuple[float, ...]]]:
        means = [Mean() for _ in self.plans]
        for plan in self._going:
            plan._begin_metrics()
            plan._narrow(False)
            plan._network.eval()
        for rows, *_ in batches:
            for mean, loss, weight in zip(means, *self._evaluate(self._pass(rows, whole=True)), strict=True):
                mean.add(loss, weight)
        for plan in self._going:
            plan._network.train()
        return [(mean.value, Plan.figures(plan)) for mean, plan in zip(means, self.plans, strict=True)]

    def _evaluate(self, step: _Pass) -> tuple[list[float], list[float]]:
        """Run forward over the batch that lies in the buffers; the metrics see it. Returns the loss of every lane, and
        the weight of each."""
        for source, target in step.copies:
            np.copyto(target, source)
        for call, x, out in step.forward:
            call(x, out)
        for call, outputs, labels in step.metrics:
            call(outputs, labels)
        losses, weights = [math.nan] * self._count, [math.nan] * self._count
        for lane, loss, outputs, targets, out in step.losses:
            mean = loss.forward(outputs, targets, out=out)
            if loss is self._loss:
                return loss.each, [loss.weight(len(outputs) // self._count)] * self._count
            losses[lane], weights[lane] = mean, loss.weight(len(outputs))
        return losses, weights

    def _backward(self, step: _Pass) -> None:
        for _, loss, _, _, out in step.losses:
            loss.backward(out=out)
        for call, grad, target in step.backward:
            call(grad, target, input_grad=target is not None)

    # Leaving

    def settle(self, leaving: Sequence[LanePlan]) -> None:
        """Let lanes go that train no longer. When few are left, they go on as plans of their own."""
        if not leaving or self.plans[0].stack is None:
            return
        self._active = [plan for plan in self._active if plan not in leaving]
        if 2 * len(self._active) <= self._count or len(self._active) == 1:
            for plan in self.plans:
                plan.stack = None

    def let_go(self, plan: LanePlan) -> None:
        """Call nothing of this lane any more, though others are still measured after the epoch that it ended with."""
        self._let_go_on([each for each in self._going if each is not plan])

    def _let_go_on(self, plans: list[LanePlan]) -> None:
        """Call no layer, loss or metric of any other lane from now on."""
        if plans != self._going:
            self._going = plans
            self._passes.clear()

    # Views

    def _pass(self, rows: int, whole: bool) -> _Pass:
        found = self._passes.get((rows, whole))
        if found is None:
            found = self._passes[rows, whole] = self._make_pass(rows, whole)
        return found

    def _make_pass(self, rows: int, whole: bool) -> _Pass:
        layers = [*self._layers]
        if not whole:
            layers[0] = self._narrow_layer
        copies, x = self._entry(rows, whole, layers[0])
        forward: list[Call] = []
        current = x
        for i, place in enumerate(self.layout.layers):
            shape = (rows, *place.node.geometry.out)
            # Over its input only where the lanes lie one after another there, as they do in all outputs. The samples
            # that enter do not: each lane's have a row of their own, or all lanes share them.
            over = place.in_place and i > 0
            out = current.reshape(self._count, *shape) if over else self._cut(self._outputs[i], shape)
            calls = self._calls(i, layers[i], whole, current, out)
            forward += [(layer.forward, read, written) for layer, read, written in calls]
            current = out
        loss_out = current if self._loss_out is None else self._cut(self._loss_out, current.shape[1:])
        targets = self._targets[: self._count * rows].reshape(self._count, rows, *self._targets.shape[1:])
        for lane, source in enumerate(self._sources):
            copies.append((source.targets(rows), targets if self._shared else targets[lane]))
        metrics: list[Call] = []
        for plan in self._going:
            labels = plan.data.labels(rows)
            metrics += [(metric.add, current[plan.lane], labels) for metric in plan.metrics]
        return _Pass(
            copies=tuple(copies),
            forward=tuple(forward),
            metrics=tuple(metrics),
            losses=tuple(self._losses(current, targets, loss_out)),
            backward=tuple(self._way_back(layers, whole, rows, loss_out)),
        )

    def _entry(
        self, rows: int, whole: bool, first: Layer | None
    ) -> tuple[list[tuple[NDArray[Any], NDArray[Any]]], NDArray[Any]]:
        """Return what is copied after a batch was brought, and the x that the first layer takes."""
        x = self._sources[0].x(rows, whole=whole)
        if self._shared and first is not None and not each_alone(self.layout.layers[0].node):
            return [], x
        if not self._shared:  # every lane's samples are brought to a row of its own
            x = self._x[:, : x.size].reshape(self._count, *x.shape)
            if not each_alone(self.layout.layers[0].node):
                return [], x
        lanes = self._cut(self._empty((self._x.shape[1],)), x.shape[-x.ndim + (not self._shared) :])
        return [(x, lanes)], lanes

    def _cut(self, buffer: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Return each lane's part of a buffer, one behind the other, so that they may be seen as one batch."""
        return buffer.reshape(-1)[: self._count * prod(shape)].reshape(self._count, *shape)

    def _calls(
        self, i: int, layer: Layer | None, whole: bool, read: NDArray[Any], written: NDArray[Any]
    ) -> Iterator[tuple[Layer, NDArray[Any], NDArray[Any]]]:
        """Yield the layers that are called in one place, with what each reads and writes."""
        if layer is None:
            for plan in self._going:
                narrowed = i == 0 and not whole and plan._narrowing is not None
                own = plan._narrowing.layer if narrowed and plan._narrowing is not None else plan._network.layers[i]
                yield own, read[plan.lane], written[plan.lane]
        elif each_alone(self.layout.layers[i].node):
            yield layer, _one_batch(read), _one_batch(written)
        else:
            yield layer, read, written

    def _losses(
        self, outputs: NDArray[Any], targets: NDArray[Any], out: NDArray[Any]
    ) -> Iterator[tuple[int, Loss, NDArray[Any], NDArray[Any], NDArray[Any]]]:
        # Of batches of one sample, sums run along another axis than of several, and round otherwise.
        if self._loss is not None and outputs.shape[1] > 1:
            yield 0, self._loss, _one_batch(outputs), _one_batch(targets), _one_batch(out)
            return
        for plan in self._going:
            yield plan.lane, plan.loss, outputs[plan.lane], targets[plan.lane], out[plan.lane]

    def _way_back(
        self, layers: list[Layer | None], whole: bool, rows: int, grad: NDArray[Any]
    ) -> Iterator[tuple[Callable[..., Any], NDArray[Any], NDArray[Any] | None]]:
        """Yield the backward passes from the last layer to the first that is trained, as a plan has them."""
        first, turn = self.layout.first_trained, 0
        for i in range(len(layers) - 1, first - 1, -1):
            shape = (rows, *self.layout.layers[i].node.incoming)
            part = self.layout.layers[i].node.value.part
            assert issubclass(part, Layer)
            if part.in_place or i == first:
                target = grad if i == first else grad.reshape(self._count, *shape)
            else:
                target = self._cut(self._gradients[turn], shape)
                turn = 1 - turn
            for layer, read, written in self._calls(i, layers[i], whole, grad, target):
                yield layer.backward, read, None if i == first else written
            grad = target


def _own_rows(place: LayerLayout) -> str:
    """Return the parameter of a layer whose rows meet one feature each."""
    part = place.node.value.part
    assert issubclass(part, Layer)
    return part.rows_of


def _order(experiment: Experiment) -> tuple[int, bool]:
    """Return what batches depend on besides what kin have in common."""
    return experiment.seed, may_narrow(experiment)


def _arrays(pooled: Any) -> dict[str, Any]:
    """Return the work arrays of a pool, without their places in it."""
    return {name: array for name, (_, array) in pooled.items()}


def _one_batch(array: NDArray[Any]) -> NDArray[Any]:
    """The samples of all lanes below each other: `(L, B, *s)` as `(L·B, *s)`. Raises ValueError where that takes a
    copy, since what is written to it is lost."""
    return array.reshape(-1, *array.shape[2:], copy=False)
