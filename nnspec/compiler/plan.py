"""A lane in training: its network, optimizer, metrics and parameters, each in a buffer of its layout.

The steps of a batch are computed by its loop (`loop.py`), which it may share with lanes of the same computation. What
happens to the gradients is specific to the plan: penalties, clipping, and the optimizer's update of the one vector that
holds all parameters. Nothing of the size of a batch or a parameter is allocated in training.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Experiment, LayerNode
from nnspec.compiler.batches import Batches
from nnspec.compiler.layout import KEPT, Layout, averaged_in, carried_name, renews_statistics
from nnspec.compiler.narrowing import Narrowing, may_narrow
from nnspec.compiler.preparing import learned_by_loss
from nnspec.compiler.repeating import Repeatable, is_repeated
from nnspec.data.source import Dataset
from nnspec.engine._numpy import np
from nnspec.engine.accumulation import Accumulator
from nnspec.engine.averaging import AveragedWeights, renewing
from nnspec.engine.clipping import clip_grad_norm, clip_grad_value
from nnspec.engine.layers.composition import Composition
from nnspec.engine.layers.contract import Layer
from nnspec.engine.layers.wiring import From
from nnspec.engine.losses import Loss
from nnspec.engine.losses.composed import with_terms
from nnspec.engine.losses.mixed import MixedLoss
from nnspec.engine.metrics import Metric
from nnspec.engine.metrics.contract import Places
from nnspec.engine.network import Sequential
from nnspec.engine.optimizers import Optimizer
from nnspec.engine.optimizers.contract import Closure
from nnspec.engine.parameter import Parameter, Segment
from nnspec.engine.penalties import constrain, penalise
from nnspec.engine.random import Stream, stream
from nnspec.engine.sharpness import Ascent
from nnspec.errors import ensure

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from nnspec.compiler.loop import Loop, Watcher
    from nnspec.compiler.switch import CompiledLoop

__all__ = ["Plan", "build_network", "make_layer"]


def build_network(experiment: Experiment, dtype: str | None = None) -> Sequential:
    """Create the layers of an experiment with their initial weights, which depend only on seed and position, or are
    those that the experiment has read from files.

    Every layer draws from streams of its own, so lanes whose models differ in one layer share all other weights.
    """
    network = Sequential()
    for i, node in enumerate(experiment.layers):
        network.add(make_layer(node, experiment.seed, dtype or experiment.dtype, (i,)), node.name)
    for node in (inner for layer in experiment.layers for inner in layer.walk() if inner.owners):
        network.share(node.name, node.owners[0])
    if experiment.initial is not None and experiment.initial.arrays:
        own = network.state_dict()
        for name, array in experiment.initial.arrays.items():
            own[name][...] = array
    return network


def make_layer(node: LayerNode, seed: int, dtype: str, place: tuple[int, ...]) -> Layer:
    """Create a layer. `place` is the path to it: its index in the model, then the index of a branch and its index
    there.
    """
    part = node.value.part
    if issubclass(part, Composition):
        compose: Callable[..., Layer] = part
        chains = {
            branch.name: {
                part.name_within(node.name, branch.name, child.name): make_layer(child, seed, dtype, (*place, i, j))
                for j, child in enumerate(branch.layers)
            }
            for i, branch in enumerate(node.branches)
        }
        return compose(**chains, **{name: bound.value for name, bound in node.value.arguments.items()})
    more: dict[str, Any] = dict(node.geometry.inferred)
    if part.accepts("dtype"):
        more["dtype"] = dtype
    if part.accepts("rng"):
        purpose = Stream.WEIGHTS if node.geometry.parameters else Stream.NOISE
        more["rng"] = stream(seed, purpose, *place)
    layer = node.value.make(**more)
    if isinstance(layer, From) and node.field is not None:
        layer.of_row(node.field.start, node.field.stop, node.field.shape)
    else:  # an argument may name the use of a block, and only the compiler knows its last layer
        layer.sources = node.reads
    return layer if node.mask is None else layer.masked(node.mask.ids, node.mask.padding)


class Plan:
    """An experiment bound to its data, ready to train.

    `network` shares its parameters with the plan's vector: it always computes with the current weights.
    """

    loop: Loop | CompiledLoop
    """The loop that trains it, alone or together with other lanes, by NumPy calls or by tapes."""
    next_record: int = 0
    """The record to train next: an epoch, unless steps between records are given."""
    refusal: str = ""
    """Why compiled steps are not used, although they were requested."""
    lane: int = 0
    """Its index among the lanes of its loop."""

    def __init__(
        self,
        experiment: Experiment,
        layout: Layout,
        dataset: Dataset,
        buffers: Mapping[str, NDArray[Any]] = MappingProxyType({}),
        data: Batches | None = None,
        *,
        scaling: tuple[NDArray[Any], NDArray[Any]] | None = None,
        target_scaling: tuple[NDArray[Any], NDArray[Any]] | None = None,
        learned: Mapping[str, NDArray[Any]] | None = None,
        narrow: bool = True,
    ) -> None:
        """Allocate the buffers of the layout, except those that a loop allocates and those passed as `buffers`. `data`
        are batches of the same settings that were created by another plan and are shared, together with their buffers.
        `scaling` and `target_scaling` are mean and deviation of each feature and target if they were learned before,
        and `learned` what the loss had learned (`Loss.learn`).
        With `narrow`, training may skip features that are always zero.
        """
        self.experiment, self.layout, self.dataset = experiment, layout, dataset
        self.buffers: dict[str, NDArray[Any]] = {
            b.name: buffers[b.name] if b.name in buffers else np.empty(b.shape, b.dtype)
            for b in layout.buffers
            if b.name not in layout.room_names
        }
        self.full_network = build_network(experiment)
        self.layers: dict[str, Layer] = dict(_by_name(experiment.layers, self.full_network.layers))
        self.loss_of_outputs: Loss = experiment.loss.make()
        """The loss of samples that are not mixed, without the terms that layers add."""
        self.metrics: tuple[Metric, ...] = tuple(metric.make() for metric in experiment.metrics)
        self.measures: tuple[Metric | Places, ...] = self.metrics
        """What batches are added to: the metrics, or metrics of those positions that count."""
        if experiment.facts.ignores:
            self.measures = tuple(Places(metric) for metric in self.metrics)
        self.data = data or Batches(
            experiment,
            layout,
            dataset,
            self.buffers,
            narrow=narrow and may_narrow(experiment),
            scaling=scaling,
            target_scaling=target_scaling,
        )
        loss = self.loss_of_outputs
        self.learned = learned_by_loss(loss, experiment, dataset, self.data.order) if learned is None else learned
        """What the loss has learned from the targets of the training samples."""
        loss.recall(self.learned)
        self.mixed = None if self.data.mixture is None else MixedLoss(loss, self.data.mixture)
        """The loss of mixed samples, if training samples are mixed."""
        self.loss: Loss = with_terms(self.mixed or loss, self.full_network.layers)
        segments = self._move_parameters()
        self._keep_state()
        self.narrowing = self._make_narrowing()
        self.optimizer = self._make_optimizer(segments)
        self.accumulator = self._make_accumulator()
        self.average = self._make_average()
        self.ascent = self._make_ascent()
        self.repeatable = self._make_repeatable()
        self._trust_ids()
        self.length = experiment.train.length(self.steps)
        self.epoch, self._last = 0, (0, self.batches - 1)
        self._seconds = 0.0
        self.begin_pass()
        self.watch: Callable[[float], None] | None = None
        """Called with the loss, before the update, on the last batch of a record and when the loss is not finite: the
        gradients are then as the backward pass left them.
        """

    @property
    def network(self) -> Sequential:
        """The network in training, with its current weights."""
        self.narrow(False)
        return self.full_network

    def layer(self, name: str, whole: bool) -> Layer:
        """Return the layer of a full name: the one for samples with all features, or the one used in training."""
        if not whole and self.narrowing is not None and name == self.experiment.layers[0].name:
            return self.narrowing.layer
        return self.layers[name]

    # Set-up

    def _move_parameters(self) -> list[Segment]:
        """Turn every layer's weights into views of the one vector, and return the tensors that it holds, in order."""
        self.buffers["gradients"].fill(0)
        segments = iter(self.layout.tensors)
        for layer, place in zip(self.full_network.layers, self.layout.layers, strict=True):
            parameters = layer.parameters()
            ensure(
                list(parameters) == list(place.parameters), f"{place.node.name}: parameters differ from its geometry"
            )
            for name, parameter in parameters.items():
                offset, shape = place.parameters[name]
                ensure(parameter.shape == shape, f"{place.node.name}.{name}: shape differs from its geometry")
                segment = next(segments)
                ensure(
                    (segment.start, segment.shape, segment.decays, segment.looked_up)
                    == (offset, shape, parameter.decays, parameter.segments[0].looked_up),
                    f"{place.node.name}.{name}: is not the tensor that it is declared to be",
                )
                parameter.move_to(*(self.buffers[v][segment.part].reshape(shape) for v in ("parameters", "gradients")))
                parameter.segments = (replace(segment, start=0),)
        nodes = [node for layer in self.experiment.layers for node in layer.walk()]
        owners = {node.name: node.owners[-1] for node in nodes if node.owners}
        for name, layer in self.layers.items():
            layer.trains = owners.get(name, name) not in self.layout.frozen
        start = 0
        for name in owners:
            for use in self.layers[name].shared().values():
                end = start + use.size
                use.keep_gradient_in(self.buffers["shared gradients"][start:end].reshape(use.shape))
                start = end
        return list(self.layout.tensors)

    def _keep_state(self) -> None:
        """Move the layers' other state (running means, say) to buffers of the plan, and find those of the states that
        are carried from batch to batch, by layer.
        """
        for i, (layer, place) in enumerate(zip(self.full_network.layers, self.layout.layers, strict=True)):
            declared = place.node.geometry.state
            ensure(layer.state().keys() == declared.keys(), f"{place.node.name}: state differs from its geometry")
            layer.keep_state({name: self.buffers[f"layer{i}.{name}"] for name in declared})
        nodes = [node for layer in self.experiment.layers for node in layer.walk() if node.geometry.carried]
        self._carried = {
            node.name: {name: self.buffers[carried_name(node, name)] for name in node.geometry.carried}
            for node in nodes
            if self.experiment.train.carry_state
        }

    def _make_narrowing(self) -> Narrowing | None:
        """Exclude the weights of features that are always zero, if there are any."""
        if self.data.alive is None:
            return None
        first = self.full_network.layers[0]
        size = first.parameters()[first.rows_of].size
        own = self.experiment.optimizer.part.work_slots(decays=False)  # free between steps
        scratch = self.buffers[f"optimizer.{own[0]}"][:size] if own else np.empty(size, self.layout.dtype)
        average = averaged_in(self.experiment)
        averages = [self.buffers[average][:size]] if average else []
        return Narrowing(first, self.data.alive, scratch, averages)

    def _make_optimizer(self, segments: list[Segment]) -> Optimizer:
        """Create the optimizer for all trained parameters, as one vector."""
        start = self.narrowing.start if self.narrowing is not None else 0
        if self.narrowing is not None:
            segments = list(self.narrowing.narrowed_segments(segments))
        vector = Parameter.over(self.buffers["parameters"][start:], self.buffers["gradients"][start:], segments)
        optimizer: Optimizer = self.experiment.optimizer.make(params=[vector])
        names = (*optimizer.state[0], *optimizer.work)
        optimizer.keep_in({name: self.buffers[f"optimizer.{name}"][start:] for name in names})
        return optimizer

    def _make_accumulator(self) -> Accumulator | None:
        """Create what averages the gradients of several batches, if a step follows more than one."""
        if self.experiment.train.accumulate == 1:
            return None
        sums = self.buffers["step.accumulated"]
        return Accumulator(self.optimizer.params, [sums[sums.size - self.optimizer.params[0].size :]])

    def _make_average(self) -> AveragedWeights | None:
        """Create the average of the weights, if there is one."""
        name, buffers = averaged_in(self.experiment), self.buffers
        if not name:
            return None
        prefix = "step.average."
        state = [(buffers[n.removeprefix(prefix)], array) for n, array in buffers.items() if n.startswith(prefix)]
        weights = [(buffers["parameters"], buffers[name])]
        for own, kept in (*weights, *state):
            np.copyto(kept, own)
        rule = self.experiment.train.average
        average = AveragedWeights.over(rule, weights, state, buffers["step.block"])
        if rule is None and not state:  # no running statistics, which the average has after the first epoch
            average.update()
        return average

    def _make_ascent(self) -> Ascent | None:
        """Create the way to where gradients are taken, if that is not at the weights."""
        rule = self.experiment.train.sharpness
        if rule is None:
            return None
        params, before = self.optimizer.params, self.buffers["step.before"]
        return Ascent(params, rule, [before[before.size - params[0].size :]], self.buffers["step.block"])

    def _make_repeatable(self) -> Repeatable | None:
        """Create what allows a batch to be evaluated again, if steps need that."""
        if not is_repeated(self.experiment):
            return None
        copies = {name.removeprefix(KEPT): array for name, array in self.buffers.items() if name.startswith(KEPT)}
        return Repeatable(self.noise, [self.buffers[name] for name in copies], [*copies.values()])

    @property
    def noise(self) -> list[Generator]:
        """The generators of layers that draw random numbers in training, in the order of the network."""
        layers = (inner for layer in self.full_network.layers for inner in layer.walk())
        return [layer.noise for layer in layers if layer.noise is not None]

    @property
    def converged(self) -> str:
        """Why training is at its end, according to the optimizer: only if its loss is that of all samples, every time
        the same.
        """
        same = self.batches == 1 and not self.noise and not self.data.varies
        return self.optimizer.converged if same else ""

    def part(self) -> None:
        """Switch to batches with buffers of its own if it shares them with other plans."""
        own = {name: self.buffers[name].copy() for name in self.layout.batch_names}
        self.buffers |= own
        self.data = self.data.apart(self.experiment, self.buffers)
        if self.mixed is not None and self.data.mixture is not None:
            self.mixed.mixture = self.data.mixture

    def _trust_ids(self) -> None:
        """Let the first layer look up ids without checking every batch if all ids of the data are in range."""
        first, most = self.full_network.layers[0], self.dataset.facts.tokens
        if isinstance(first, Layer) and type(first).looks_up:
            splits = [split.x for split in (self.dataset.train, self.dataset.test) if split.x.size]
            rows = getattr(first, first.looks_up)
            first.trusts_ids = all(x.min() >= 0 and x.max() < min(rows, most or rows) for x in splits)

    def release(self) -> None:
        """Release the network: its layers allocate their own arrays again, and are no longer in training mode."""
        self.end_sequences()
        for layer in self.layers.values():
            layer.lend({})
            layer.trains = True
            layer.trusts_ids = False
        self.network.eval()
        self.loop.let_go(self)

    def narrow(self, wanted: bool) -> None:
        """Put the rows of the first weight into the order of training, or into that of the network."""
        if self.narrowing is not None:
            self.narrowing.narrow(wanted)

    # Training

    def clock(self) -> float:
        """Return the seconds of training so far: those of its own steps, and its share of what lanes compute
        together.
        """
        return self._seconds

    @property
    def adjusts(self) -> bool:
        """Whether gradients or weights are modified by anything besides the optimizer's update."""
        train = self.experiment.train
        clips = train.clip_value is not None or train.clip_norm is not None
        return bool(train.penalties) or clips or train.constraint is not None

    @property
    def held_out(self) -> int:
        """The number of training samples held out for validation."""
        return self.data.held_out

    @property
    def batches(self) -> int:
        """Batches per epoch."""
        return len(self.data)

    @property
    def steps(self) -> int:
        """Optimizer steps per epoch: one for every `accumulate` batches, and one for those that remain."""
        return -(-self.batches // self.experiment.train.accumulate)

    def span(self, record: int) -> range:
        """Return the batches of a record, numbered throughout training: the batch b of epoch e is e · batches + b.
        Beyond the length of a training in epochs, a record is an epoch.
        """
        by_step = self.experiment.train.steps or self.experiment.train.record
        first, end = (self._batch_after(self.length.steps_at(records)) for records in (record, record + 1))
        if first < end or by_step:
            return range(first, end)
        return range(record * self.batches, (record + 1) * self.batches)

    def _batch_after(self, steps: int) -> int:
        epoch, within = divmod(steps, self.steps)
        return epoch * self.batches + within * self.experiment.train.accumulate

    def enter(self, record: int) -> None:
        """Prepare to train a record."""
        span = self.span(record)
        self.epoch = span.start // self.batches
        self._last = divmod(span.stop - 1, self.batches)

    def begin(self, record: int) -> range:
        """Begin a record, which is an epoch by default: shuffle the samples where an epoch begins, and reset the
        metrics. Returns its batches, numbered throughout training.
        """
        self.loop.begin(record)
        return self.span(record)

    def train_batch(self, number: int) -> tuple[float, float]:
        """Train on a batch of this record, counted from 0; return its mean loss, and the weight of that in the mean
        over the record. The metrics are updated too.
        """
        loss, weight, seconds = self.loop.train(number, self.lane)
        self._seconds += seconds
        return loss, weight

    def figures(self) -> tuple[float, ...]:
        """Return the figures of the loss's parts and each scalar metric over the batches since `begin`."""
        return self.loop.figures(self)

    def own_figures(self) -> tuple[float, ...]:
        """Return the figures of the loss's parts and each scalar metric over the batches that its own loss and metrics
        have seen.
        """
        return (*self.loss.figures(), *(metric.result() for metric in self.metrics if metric.is_figure))

    def tables(self) -> dict[str, list[list[int]]]:
        """Return each metric that is a table, over the samples evaluated last."""
        return {metric.spec_name: metric.result().tolist() for metric in self.metrics if not metric.is_figure}

    def move(
        self, number: int, loss: float, weight: float, again: Closure | None = None, look: Watcher | None = None
    ) -> float:
        """Add penalties to the gradients, clip them, and update the weights, at the learning rate of this step.

        Returns the penalties. If gradients are accumulated, all of this happens after the last batch of a group, whose
        loss then has the penalties of all of them: `weight` is that of this batch in the mean over the epoch. `again`
        evaluates the batch once more, with the weights as they are then.
        """
        train = self.experiment.train
        started, evaluating = time.perf_counter_ns(), self._evaluating
        share = 1.0
        if self.accumulator is not None:
            self.accumulator.add(weight)
            if (number + 1) % train.accumulate and number + 1 < self.batches:
                self.look(number, loss)
                return 0.0
            total = self.accumulator.average()
            share = total / weight if weight else 0.0
        self.look(number, loss)
        penalty = self._penalise()
        if self.ascent is not None and again is not None:
            self.ascent.up()
            again()
            self._penalise()
            self.ascent.down()
        if train.clip_value is not None:
            clip_grad_value(self.optimizer.params, train.clip_value)
        if train.clip_norm is not None:
            clip_grad_norm(self.optimizer.params, train.clip_norm)
        clipped, evaluated = time.perf_counter_ns(), self._evaluating
        self.optimizer.at(self.epoch + number // train.accumulate / self.steps, self.length.epochs, self.steps)
        if again is None:
            self.optimizer.step()
        else:
            self.optimizer.step(self._objective(loss + penalty, again))
        moved = time.perf_counter_ns()
        if train.constraint is not None:
            constrain(self.full_network.parameters(), train.constraint, self.buffers["constraint"])
        if self.average is not None and self.average.every_step:
            self.average.update()
        if look is not None:
            look("update", "optimizer", moved - clipped - (self._evaluating - evaluated), None)
            if self.adjusts:
                others = clipped - started - (evaluated - evaluating) + time.perf_counter_ns() - moved
                look("update", "penalties and clipping", others, None)
        return penalty * share

    @property
    def _evaluating(self) -> int:
        """Nanoseconds of further evaluations so far, whose steps are timed by themselves."""
        return self.repeatable.nanoseconds if self.repeatable is not None else 0

    def _penalise(self) -> float:
        """Add the gradients of penalties, and return the penalties."""
        penalties = self.experiment.train.penalties
        return penalise(self.optimizer.params, penalties, self.buffers["penalty"]) if penalties else 0.0

    def _objective(self, value: float, again: Closure) -> Closure | None:
        """Return what an optimizer evaluates, if it does: first `value`, whose gradients have been computed."""
        values = [value]
        return (lambda: values.pop() if values else again() + self._penalise()) if self.optimizer.evaluates else None

    def look(self, number: int, loss: float) -> None:
        """Call `watch` with the gradients of the last batch of a record, and of any batch whose loss is not finite."""
        if self.watch is not None and ((self.epoch, number) == self._last or not math.isfinite(loss)):
            self.watch(loss)

    def ends_epoch(self, number: int) -> bool:
        """Whether a batch of this epoch is its last one, which may be the last of the training."""
        last = self.epoch * self.batches + number == self._batch_after(self.length.steps) - 1
        return number == self.batches - 1 or last

    def end_epoch(self) -> None:
        """Average the weights if those after this epoch count, and compute running statistics for the average."""
        average = self.average
        if average is None or not average.includes(self.epoch, math.ceil(self.length.epochs)):
            return
        average.update()
        if renews_statistics(self.experiment):
            with average.shown(), closing(renewing(self.full_network.layers)) as turns:
                loop = self.loop.alone(self)
                self.begin_sequences()
                for rows, _ in zip(self.data.trained(len(self.data.order)), turns, strict=False):
                    loop.forward(rows)
            self.full_network.train()

    def shown(self) -> AbstractContextManager[None]:
        """Within a `with` block, the network has the averaged weights, if there are any."""
        return nullcontext() if self.average is None else self.average.shown()

    def averages(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the average: `parameters`, and `layer.…` state by the names of the network."""
        if self.average is None:
            return {}
        self.narrow(False)
        own = {id(array): f"layer.{name}" for name, array in self.full_network.state().items()}
        own[id(self.buffers["parameters"])] = "parameters"
        return {own[id(array)]: average for array, average in self.average.pairs}

    def begin_pass(self) -> None:
        """Begin a pass over samples: reset the metrics, the figures of the loss's parts, and the states that layers
        carry from batch to batch.
        """
        self.loss.begin()
        for metric in self.metrics:
            metric.begin()
        self.begin_sequences()

    def begin_sequences(self) -> None:
        """Carry states from batch to batch from now on, if the experiment does; they begin at zero."""
        for name, arrays in self._carried.items():
            self.layers[name].carry(arrays)
            for array in arrays.values():
                array.fill(0)

    def end_sequences(self) -> None:
        """Let layers begin every sample anew: until the next pass, others may use the network."""
        for name in self._carried:
            self.layers[name].carry({})

    # Evaluation

    def validate(self) -> tuple[float, tuple[float, ...]]:
        """Return mean loss and each metric over the held-out samples; the network is left ready to train."""
        return self.loop.measured("validation", self.lane)

    def test(self) -> tuple[float, tuple[float, ...]]:
        """Return mean loss and each metric over the test samples; the network is left ready to train."""
        return self.loop.measured("test", self.lane)

    def outputs(self) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]]:
        """Yield the network's outputs for the test samples, `(B, *out)`, their targets in the form that the loss
        expects, and their weights if they are weighted.

        All are copies, batch by batch. The network is left ready to train.
        """
        loop = self.loop.alone(self)
        self.full_network.eval()
        self.begin_sequences()
        for rows in self.data.test():
            loop.forward(rows)
            views = loop.views(rows)
            weights = self.data.weights(rows)
            weights = None if weights is None else weights.copy()
            yield np.array(views[loop.outputs], order="C"), np.array(views["targets"]), weights
        self.full_network.train()

    def show(self, most: int, look: Watcher | None = None) -> int:
        """Run the forward pass over at most `most` training samples, as in evaluation, and return their number. `look`
        is called after every step. The network is left ready to train.
        """
        loop, count = self.loop.alone(self), 0
        self.full_network.eval()
        self.begin_sequences()
        for rows in self.data.trained(most):
            loop.forward(rows, look)
            count += rows
        self.full_network.train()
        return count


def _by_name(nodes: Iterable[LayerNode], layers: Iterable[Layer]) -> Iterator[tuple[str, Layer]]:
    """Yield every layer that computes, by its full name; a composition is replaced by its layers."""
    for node, layer in zip(nodes, layers, strict=True):
        for inner, made in zip(node.walk(), layer.walk(), strict=True):
            if isinstance(made, Composition):
                if made.kernel is not None:
                    yield inner.name, made.kernel
            else:
                yield inner.name, made
