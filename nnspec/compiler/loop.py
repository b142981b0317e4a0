"""The training loop: it runs the calls of a program, batch by batch, for a plan or for a stack of plans.

The lanes of a race or a sweep mostly differ in how they update weights, not in what they compute. Plans with the same
computation share a loop, with a leading axis of lanes on every value: a batch is gathered once, and every step serves
all lanes in the way that its rewrite chose (`Step.way`). Each lane is then updated by its own optimizer, on its own row
of one matrix of parameters. Stacking changes no number: every lane has the same bits as when it is trained alone.

To see what happens inside, set an observer (`Loop.observer`): the loop then reports every step that it has run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

from nnspec.checker.program import Experiment
from nnspec.compiler.allocate import allocate
from nnspec.compiler.bind import POOL, Call, Calls, Views, bind, work_arrays
from nnspec.compiler.layout import Layout
from nnspec.compiler.lower import layer_class
from nnspec.compiler.narrowing import may_narrow
from nnspec.compiler.plan import Plan, make_layer
from nnspec.compiler.repeating import Repeatable
from nnspec.compiler.rewrites import drop_dead_inputs, stack_lanes
from nnspec.compiler.steps import Step
from nnspec.compiler.verify import verified
from nnspec.data.source import Dataset
from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Layer
from nnspec.engine.losses import Loss
from nnspec.engine.losses.contract import Mean
from nnspec.engine.metrics import Metric
from nnspec.engine.metrics.contract import Places
from nnspec.engine.parameter import Parameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Scaling = tuple[NDArray[Any], NDArray[Any]]

__all__ = ["Loop", "Observer", "Watcher", "plan_alone", "plans_apart", "plans_together"]

Watcher = Callable[[str, str, int, "NDArray[Any] | None"], None]
"""Called after each step with the step's op and node, its nanoseconds, and the array that it wrote."""


class Observer(Protocol):
    """Observes a training."""

    def batch_begins(self) -> Watcher | None:
        """Return the function to call after every step of the batch that begins, or None to skip this batch."""

    def batch_ends(self, watched: bool, nanoseconds: int) -> None:
        """Called with the duration of the batch."""


def plan_alone(
    experiment: Experiment,
    layout: Layout,
    dataset: Dataset,
    *,
    scaling: Scaling | None = None,
    target_scaling: Scaling | None = None,
    learned: Mapping[str, NDArray[Any]] | None = None,
    narrow: bool = True,
) -> Plan:
    """Return a plan that is trained alone. `scaling` and `target_scaling` are those of its features and targets, and
    `learned` is what its loss knows, if they were learned before; with `narrow`, training may skip features that are
    always zero.
    """
    plan = Plan(
        experiment,
        layout,
        dataset,
        scaling=scaling,
        target_scaling=target_scaling,
        learned=learned,
        narrow=narrow,
    )
    plan.loop = Loop([plan])
    return plan


def plans_together(lanes: Sequence[tuple[Experiment, Layout]], dataset: Dataset) -> list[Plan]:
    """Return a plan for each lane of a compatible group, in order. They share a loop, unless that turns out to be
    impossible (seeds differ, and with them the features that are zero in all training samples).
    """
    layout, count = lanes[0][1], len(lanes)
    vectors = {name: np.empty((count, layout.params), layout.dtype) for name in ("parameters", "gradients")}
    shared = len({_order(experiment) for experiment, _ in lanes}) == 1
    entering = {b.name: np.empty((count, *b.shape), b.dtype) for b in layout.buffers if b.name in ENTERING}
    plans: list[Plan] = []
    for lane, (experiment, own) in enumerate(lanes):
        rows = {name: array[lane] for name, array in vectors.items()}
        if plans and shared:
            rows |= {b.name: plans[0].buffers[b.name] for b in own.buffers if b.group == "batch"}
            plan = Plan(experiment, own, dataset, rows, plans[0].data)
        else:
            rows |= {name: array[lane] for name, array in entering.items()}
            plan = Plan(experiment, own, dataset, rows)
        plan.lane = lane
        plans.append(plan)
    alive = {None if plan.data.alive is None else plan.data.alive.tobytes() for plan in plans}
    if count > 1 and len(alive) == 1:
        together = Loop(plans, vectors, entering)
        for plan in plans:
            plan.loop = together
    else:
        for plan in plans:
            plan.loop = Loop([plan])
    return plans


def plans_apart(lanes: Sequence[tuple[Experiment, Layout]], dataset: Dataset) -> list[Plan]:
    """Return a plan for each lane, in order, each trained alone."""
    plans = [plan_alone(experiment, layout, dataset) for experiment, layout in lanes]
    for lane, plan in enumerate(plans):
        plan.lane = lane
    return plans


ENTERING = ("x", "labels", "targets", "weights")
"""The buffers that input values are loaded into."""


def _order(experiment: Experiment) -> tuple[int, bool]:
    """Return what batches depend on besides what the lanes of a group share."""
    return experiment.seed, may_narrow(experiment)


@dataclass(frozen=True)
class _Trained:
    """The results of a batch for each lane: its loss, the weight of that in the mean over the epoch, and its
    seconds.
    """

    losses: list[float]
    weights: list[float]
    seconds: list[float]


class Loop:
    """The plans of several lanes of a compatible group, on the same data, or a single plan.

    With several plans, `vectors` hold the parameters and gradients of all lanes, one row per lane, and `entering` the
    input values.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        vectors: dict[str, NDArray[Any]] | None = None,
        entering: dict[str, NDArray[Any]] | None = None,
    ) -> None:
        self.plans = tuple(plans)
        self.observer: Observer | None = None
        """Observes training batches if set, which makes training slightly slower."""
        self._watch: Watcher | None = None
        self._lanes = len(plans) if len(plans) > 1 else 0
        self._vectors, self._entering = vectors or {}, entering or {}
        first = plans[0]
        self._layout, self._sources = first.layout, tuple(dict.fromkeys(plan.data for plan in plans))
        self._shared = len(self._sources) == 1
        self._active = list(plans)  # lanes that have not left
        self._going = list(plans)  # active lanes that have not diverged in this epoch
        self._dissolved = False
        self._record, self._span, self._epoch = -1, range(0), -1
        self._shuffling = 0.0
        self._trained: dict[int, _Trained] = {}
        self._measured: dict[str, list[tuple[float, tuple[float, ...]]]] = {}
        self._figures: list[tuple[float, ...]] = []
        self._calls: dict[tuple[int, bool], Calls] = {}
        self._set_up()

    # Set-up

    def _set_up(self) -> None:
        """Take the program, allocate its memory, and create the objects that compute its steps."""
        layout, lanes, first = self._layout, self._lanes, self.plans[0]
        self._steps, self._memory = layout.steps, layout.values
        if lanes:
            self._steps = stack_lanes(self._steps, lanes, shared=self._shared)
            self._memory = verified(self._steps, allocate(self._steps, layout.batch))
        alive = first.data.alive
        self._narrowed = self._steps if alive is None else drop_dead_inputs(self._steps, len(alive))
        self._rooms = {name: np.empty(size, np.uint8) for name, size in self._memory.rooms.items()}
        self._rooms[POOL] = np.empty(self._memory.pool, np.uint8)
        if not lanes:
            first.buffers |= {name: self._rooms[name] for name in layout.room_names}
        self._stacked: dict[str, Layer] = {}
        self._stacked_narrow: dict[str, Layer] = {}
        for step in self._steps:
            if step.op == "forward":
                self._make(step)
        self._lend_to_the_rest()

    def _make(self, step: Step) -> None:
        """Create the layer of all lanes if the step has one; otherwise lend work arrays to each lane's own layer."""
        name, node = step.node, self._steps.nodes[step.node]
        if step.way == "batch":
            layer = make_layer(node, 0, self._layout.dtype, ())
            self._absorb(name, layer)
            layer.lend(self._work(name, lanes=self._lanes))
            self._stacked[name] = layer
        elif step.way == "stack":
            self._stacked[name] = self._stack(name, 0)
            narrowing = self.plans[0].narrowing
            if narrowing is not None and step.reads == ("x",):
                self._stacked_narrow[name] = self._stack(name, narrowing.start)
        else:
            for plan in self.plans:
                self._absorb(name, plan.layers[name])
                plan.layers[name].lend(self._work(name, lane=plan.lane if self._lanes else 0))

    def _absorb(self, name: str, layer: Layer) -> None:
        """Let a layer do the work of the absorbed layers before it."""
        for before, by in self._steps.absorbed.items():
            if by == name:
                layer.absorb(self.plans[0].layers[before])

    def _stack(self, name: str, start: int) -> Layer:
        """Create the layer of all lanes; its rows of weights begin at `start` in the vector."""
        parameters = {}
        node, own = self._steps.nodes[name], self.plans[0].layers[name].parameters()
        rows_of = layer_class(node).rows_of
        for parameter, (offset, shape) in self._layout.parameters_of(name).items():
            left, end = shape, offset + prod(shape)
            if start and parameter == rows_of:
                left = (shape[0] - start // prod(shape[1:]), *shape[1:])
                offset = end - prod(left)
            data, grad = (
                self._vectors[v][:, offset:end].reshape(self._lanes, *left) for v in ("parameters", "gradients")
            )
            parameters[parameter] = Parameter.over(data, grad, decays=own[parameter].decays)
        layer = layer_class(node).stack(parameters)
        if layer is None:
            raise TypeError(f"{name} has no kernel for several lanes after all")
        layer.trains = self.plans[0].layers[name].trains
        layer.lend(self._work(name, lanes=self._lanes))
        return layer

    def _lend_to_the_rest(self) -> None:
        """Lend work arrays to losses and metrics, and create the loss of all lanes if there is one."""
        loss: Loss = self.plans[0].experiment.loss.make()
        stacks = loss.stacks and type(loss).declares("stacks") and "weights" not in self._steps.slots
        stacks = stacks and not self.plans[0].experiment.train.mixes
        stacks = stacks and not self.plans[0].loss.parts
        self._loss = loss if self._lanes and stacks else None
        if self._loss is not None:
            self._loss.lanes = self._lanes
            self._loss.lend(self._work("loss", lanes=self._lanes))
        for plan in self.plans:
            lane = plan.lane if self._lanes else 0
            plan.loss.lend(self._work("loss", lane=lane))
            for number, metric in enumerate(plan.measures, 1):
                metric.lend(self._work(f"metric{number}", lane=lane))

    def _work(self, node: str, *, lane: int = 0, lanes: int = 0) -> dict[str, NDArray[Any]]:
        return work_arrays(
            node, self._steps, self._memory, self._rooms, self._layout.batch, lane=lane, lanes=lanes or 1
        )

    # Training

    def begin(self, record: int) -> None:
        """Begin a record, which is an epoch by default: shuffle the samples where an epoch begins, and reset the
        metrics. With several lanes, the first to call begins the record for all of them.
        """
        if self._lanes and record == self._record:
            return
        started = time.perf_counter()
        self._record, self._span = record, self._active[0].span(record)
        self._trained.clear()
        self._measured.clear()
        self._figures.clear()
        for plan in self._active:
            plan.enter(record)
            plan.begin_pass()
        self._enter(*divmod(self._span.start, len(self._sources[0])))
        self._let_go_on(self._active)
        self._shuffling = time.perf_counter() - started

    def _enter(self, epoch: int, number: int) -> None:
        """Go to a batch of an epoch."""
        self._epoch = epoch
        for source in self._sources:
            source.enter(epoch, number)
        for plan in self._active:
            plan.epoch = epoch

    def train(self, number: int, lane: int) -> tuple[float, float, float]:
        """Train a batch of this record, counted from 0, unless another lane has already done so; return the lane's
        loss, its weight, and the lane's seconds: those of its own update, and its share of what all lanes do together.
        """
        done = self._trained.get(number) if self._lanes else None
        if done is None:
            done = self._train(number) if self.observer is None else self._observed(number, self.observer)
            if self._lanes:
                self._trained[number] = done
        place = lane if self._lanes else 0
        return done.losses[place], done.weights[place], done.seconds[place]

    def _observed(self, number: int, observer: Observer) -> _Trained:
        self._watch = observer.batch_begins()
        watched, started = self._watch is not None, time.perf_counter_ns()
        try:
            done = self._train(number)
        finally:
            self._watch = None
        observer.batch_ends(watched, time.perf_counter_ns() - started)
        return done

    def _train(self, number: int) -> _Trained:
        started, own = time.perf_counter(), [0.0] * len(self.plans)
        last = number == len(self._span) - 1
        epoch, number = divmod(self._span[number], len(self._sources[0]))
        if epoch != self._epoch:
            self._enter(epoch, number)
        rows = self._bring(number)
        calls = self.calls_for(rows, whole=False)
        for plan in self._going:
            if plan.repeatable is not None:
                plan.repeatable.first()
        losses, weights = self._evaluate(calls)
        self._differentiate(calls)
        for plan in self._going:
            before = time.perf_counter()
            place = plan.lane if self._lanes else 0
            again = partial(self._again, plan.repeatable, calls) if plan.repeatable is not None else None
            losses[place] += plan.move(number, losses[place], weights[place], again, self._watch)
            own[place] = time.perf_counter() - before
        share = (time.perf_counter() - started - math.fsum(own) + self._shuffling) / len(self._going)
        self._shuffling = 0.0
        if self._lanes and not all(map(math.isfinite, losses)):  # a diverged lane is not updated
            self._let_go_on([plan for plan in self._going if math.isfinite(losses[plan.lane])])
        if last:
            self._figures = [plan.own_figures() for plan in self.plans] if self._lanes else []
        for plan in (each for each in self._going if each.average is not None and each.ends_epoch(number)):
            before, place = time.perf_counter(), plan.lane if self._lanes else 0
            if math.isfinite(losses[place]):
                plan.end_epoch()
            own[place] += time.perf_counter() - before
        return _Trained(losses, weights, [seconds + share for seconds in own])

    def _differentiate(self, calls: Calls) -> None:
        """Run the backward pass after the loss has been computed."""
        for call in calls.losses:
            self._time("loss gradient", call.loss.backward, call.gradient)
        self._run(calls.backward)

    def _again(self, repeatable: Repeatable, calls: Calls) -> float:
        """Compute loss and gradients of the current batch, of a plan trained alone, once more: see `repeating.py`."""
        repeatable.begin_again()
        self._run(calls.forward)
        (call,) = calls.losses
        loss: float = self._time("loss", call.loss.forward, *call.arguments)
        self._differentiate(calls)
        repeatable.end_again()
        return loss

    def figures(self, plan: Plan) -> tuple[float, ...]:
        """Return a plan's metrics over the batches of this epoch, as they were before any evaluation."""
        return self._figures[plan.lane] if self._figures else plan.own_figures()

    def _bring(self, number: int) -> int:
        if self._watch is None:
            return max([source.train(number) for source in self._sources])
        started = time.perf_counter_ns()
        rows = max([source.train(number) for source in self._sources])
        self._watch("batch", "", time.perf_counter_ns() - started, None)
        return rows

    def measured(self, samples: str, lane: int) -> tuple[float, tuple[float, ...]]:
        """Return a lane's mean loss and each metric over the held-out samples (`validation`) or those of the `test`."""
        if not self._lanes:
            return self._measure(samples)[0]
        if samples not in self._measured:
            self._measured[samples] = self._measure(samples)
        return self._measured[samples][lane]

    def _measure(self, samples: str) -> list[tuple[float, tuple[float, ...]]]:
        means = [Mean() for _ in self.plans]
        for plan in self._going:
            plan.begin_pass()
            plan.full_network.eval()
        with ExitStack() as stack:
            for plan in self._going:
                stack.enter_context(plan.shown())
            self._add(means, samples)
        for plan in self._going:
            plan.full_network.train()
        return [(mean.value, plan.own_figures()) for mean, plan in zip(means, self.plans, strict=True)]

    def _add(self, means: Sequence[Mean], samples: str) -> None:
        """Evaluate all batches, with the weights that the networks have."""
        batches = (source.validation() if samples == "validation" else source.test() for source in self._sources)
        for rows, *_ in zip(*batches, strict=True):
            for mean, loss, weight in zip(means, *self._evaluate(self.calls_for(rows, whole=True)), strict=True):
                mean.add(loss, weight)

    def alone(self, plan: Plan) -> Loop:
        """Return a loop that runs this plan alone."""
        return Loop([plan]) if self._lanes else self

    def forward(self, rows: int, look: Watcher | None = None) -> None:
        """Run the layers of a plan that is trained alone over the samples in the buffers, with all their features."""
        before, self._watch = self._watch, look
        try:
            self._run(self.calls_for(rows, whole=True).forward)
        finally:
            self._watch = before

    def views(self, rows: int) -> Views:
        """Return the values of a program over samples with all their features, as they are after a forward pass."""
        return self._views(rows, whole=True)

    @property
    def outputs(self) -> str:
        """The name of the network's output value."""
        return next(step.reads[0] for step in self._steps if step.op == "loss")

    def _evaluate(self, calls: Calls) -> tuple[list[float], list[float]]:
        """Run the forward pass over the batch in the buffers and update the metrics. Returns the loss of every lane,
        and the weight of each.
        """
        self._run(calls.forward)
        self._run(calls.metrics)
        losses, weights = [math.nan] * len(self.plans), [math.nan] * len(self.plans)
        for call in calls.losses:
            loss, rows = self._time("loss", call.loss.forward, *call.arguments), len(call.arguments[0])
            if call.lane is None and self._lanes:
                return list(call.loss.each), [call.loss.weight(rows // self._lanes)] * self._lanes
            losses[call.lane or 0], weights[call.lane or 0] = loss, call.loss.weight(rows)
        return losses, weights

    def _run(self, calls: Sequence[Call]) -> None:
        if self._watch is None:
            for call, arguments, _, _ in calls:
                call(*arguments)
            return
        for call, arguments, step, written in calls:
            started = time.perf_counter_ns()
            call(*arguments)
            self._watch(step.op, step.node, time.perf_counter_ns() - started, written)

    def _time(self, op: str, call: Callable[..., Any], *arguments: Any) -> Any:
        if self._watch is None:
            return call(*arguments)
        started = time.perf_counter_ns()
        result = call(*arguments)
        self._watch(op, "loss", time.perf_counter_ns() - started, None)
        return result

    # Leaving

    def settle(self, leaving: Sequence[Plan]) -> None:
        """Remove plans whose training has ended. If few remain, they continue in loops of their own."""
        if not leaving or not self._lanes or self._dissolved:
            return
        self._active = [plan for plan in self._active if plan not in leaving]
        if 2 * len(self._active) <= len(self.plans) or len(self._active) == 1:
            self.dissolve()

    def dissolve(self) -> None:
        """Move every plan that is still training to a loop of its own, with batches of its own. Called between two
        epochs of all lanes.
        """
        if self._lanes and not self._dissolved:
            self._dissolved = True
            for plan in self._active:
                if self._shared:
                    plan.part()
                plan.loop = Loop([plan])

    def ahead(self, epoch: int) -> None:
        """Begin an epoch in another thread if the plan is trained that way; this loop is not."""

    def halt(self) -> None:
        """Stop another thread in the middle of an epoch."""

    @property
    def compiled(self) -> dict[str, Any] | None:
        """How its plan is trained by compiled steps, as plain data; None if it is not."""
        return None

    def let_go(self, plan: Plan) -> None:
        """Stop using this plan, though others may still be evaluated after the epoch in which it ended."""
        if self._lanes:
            self._let_go_on([each for each in self._going if each is not plan])

    def _let_go_on(self, plans: Sequence[Plan]) -> None:
        """From now on, call no layer, loss or metric of any other plan."""
        if plans != self._going:
            self._going = list(plans)
            self._calls.clear()

    # Views

    @property
    def pool(self) -> NDArray[Any]:
        """The bytes for the work arrays of single calls."""
        return self._rooms[POOL]

    def calls_for(self, rows: int, whole: bool) -> Calls:
        """Return the calls for batches of one size, with all features or with those used in training."""
        for plan in self._going:
            plan.narrow(not whole)
        found = self._calls.get((rows, whole))
        if found is None:
            steps = self._steps if whole else self._narrowed
            found = self._calls[rows, whole] = bind(steps, self._views(rows, whole), _Kernels(self, whole), rows)
        return found

    def _views(self, rows: int, whole: bool) -> Views:
        steps = self._steps if whole else self._narrowed
        given = {name: self._given(name, rows, whole) for name, slot in steps.slots.items() if slot.given}
        return Views(steps, self._memory, self._rooms, given, rows)

    def _given(self, name: str, rows: int, whole: bool) -> NDArray[Any]:
        """Return the array that samples or their targets are loaded into."""
        found = [
            source.x(rows, whole=whole) if name == "x" else getattr(source, name)(rows) for source in self._sources
        ]
        if self._shared:
            return found[0]
        # Each lane has a row of one array.
        buffer = next(array for array in self._entering.values() if np.may_share_memory(array, found[0]))
        own = found[0]
        flat = buffer.reshape(len(buffer), -1)
        return flat[:, : own.size].reshape(len(buffer), *own.shape)


class _Kernels:
    """The objects that compute the steps of a loop, for samples with all features or for training samples."""

    def __init__(self, loop: Loop, whole: bool) -> None:
        self._loop, self._whole = loop, whole

    def layers(self, step: Step) -> Iterator[tuple[int | None, Layer]]:
        loop = self._loop
        if step.way in ("batch", "stack"):
            narrow = loop._stacked_narrow if not self._whole else {}
            yield None, narrow.get(step.node, loop._stacked[step.node])
            return
        for plan in loop._going:
            yield plan.lane if loop._lanes else None, plan.layer(step.node, self._whole)

    def metrics(self, step: Step) -> Iterator[tuple[int | None, Metric | Places]]:
        number = int(step.node.removeprefix("metric")) - 1
        for plan in self._loop._going:
            yield plan.lane if self._loop._lanes else None, plan.measures[number]

    @property
    def deviation(self) -> NDArray[Any]:
        return self._loop.plans[0].buffers["target_deviation"]

    def losses(self, rows: int) -> Iterator[tuple[int | None, Loss]]:
        loop = self._loop
        # For a batch of one sample, sums run along a different axis and round differently.
        if loop._loss is not None and rows > 1:
            yield None, loop._loss
            return
        for plan in loop._going:
            yield plan.lane if loop._lanes else None, plan.loss
