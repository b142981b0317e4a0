"""A lane in training: its network, its optimizer, its metrics and its own numbers, each in a buffer of its layout.

What computes the steps of a batch is its loop (`loop.py`), which it may share with lanes that compute alike. What it
does with the gradients is its own: penalties, clipping, and the optimizer's move of the one vector that holds all
parameters. Nothing of a batch's or a parameter's size is allocated on the way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Experiment, LayerNode
from nnspec.compiler.batches import Batches
from nnspec.compiler.layout import Layout
from nnspec.compiler.narrowing import Narrowing, may_narrow
from nnspec.data.source import Dataset
from nnspec.engine._numpy import np
from nnspec.engine.clipping import clip_grad_norm, clip_grad_value
from nnspec.engine.layers.composition import Composition
from nnspec.engine.layers.contract import Layer
from nnspec.engine.losses import Loss
from nnspec.engine.metrics import Metric
from nnspec.engine.network import Sequential
from nnspec.engine.optimizers import Optimizer
from nnspec.engine.parameter import Parameter, Segment
from nnspec.engine.penalties import constrain, penalise
from nnspec.engine.random import Stream, stream
from nnspec.errors import ensure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnspec.compiler.loop import Loop, Watcher
    from nnspec.compiler.switch import CompiledLoop

__all__ = ["Plan", "build_network", "make_layer"]


def build_network(experiment: Experiment, dtype: str | None = None) -> Sequential:
    """Make the layers of an experiment with their starting weights, which depend on seed and place alone.

    Every layer draws from streams of its own, so lanes whose models differ in one layer share all other weights.
    """
    network = Sequential()
    for i, node in enumerate(experiment.layers):
        network.add(make_layer(node, experiment.seed, dtype or experiment.dtype, (i,)), node.name)
    return network


def make_layer(node: LayerNode, seed: int, dtype: str, place: tuple[int, ...]) -> Layer:
    """Make a layer. `place` leads to it: its number in the model; within, that of a branch and its number there."""
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
        return compose(**chains)
    more: dict[str, Any] = dict(node.geometry.inferred)
    if part.accepts("dtype"):
        more["dtype"] = dtype
    if part.accepts("rng"):
        purpose = Stream.WEIGHTS if node.geometry.parameters else Stream.NOISE
        more["rng"] = stream(seed, purpose, *place)
    return node.value.make(**more)


class Plan:
    """An experiment bound to its data, ready to train.

    `network` shares its numbers with the plan's vector: what the plan trains, the network computes with.
    """

    loop: Loop | CompiledLoop
    """What trains it, alone or together with other lanes, by NumPy calls or by tapes."""
    next_epoch: int = 0
    """The epoch that it trains next."""
    refusal: str = ""
    """Why it is not trained by compiled steps, though it was to be."""
    lane: int = 0
    """Its place among them."""

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
    ) -> None:
        """Allocate what the layout says, but for what a loop allocates, and for `buffers` that are there already.
        `data` are batches of the same settings that another plan made and shares, together with the buffers that they
        are brought into. `scaling` and `target_scaling` are mean and deviation of each feature and target, where they
        were learned before."""
        self.experiment, self.layout, self.dataset = experiment, layout, dataset
        self.buffers: dict[str, NDArray[Any]] = {
            b.name: buffers[b.name] if b.name in buffers else np.empty(b.shape, b.dtype)
            for b in layout.buffers
            if b.name not in layout.room_names
        }
        self.full_network = build_network(experiment)
        self.layers: dict[str, Layer] = dict(_by_name(experiment.layers, self.full_network.layers))
        self.loss: Loss = experiment.loss.make()
        self.metrics: tuple[Metric, ...] = tuple(metric.make() for metric in experiment.metrics)
        self.data = data or Batches(
            experiment,
            layout,
            dataset,
            self.buffers,
            narrow=may_narrow(experiment),
            scaling=scaling,
            target_scaling=target_scaling,
        )
        segments = self._move_parameters()
        self._keep_state()
        self.narrowing = self._make_narrowing()
        self.optimizer = self._make_optimizer(segments)
        self._trust_ids()
        self.epoch = 0
        self._seconds = 0.0
        self.begin_metrics()
        self.watch: Callable[[float], None] | None = None
        """Called with the loss, before the step, on the last batch of an epoch and where the loss is no number: the
        gradients are then as the backward pass left them."""

    @property
    def network(self) -> Sequential:
        """The network that is trained, its numbers as they are now."""
        self.narrow(False)
        return self.full_network

    def layer(self, name: str, whole: bool) -> Layer:
        """Return the layer of a full name, as it computes whole samples or those that are trained on."""
        if not whole and self.narrowing is not None and name == self.experiment.layers[0].name:
            return self.narrowing.layer
        return self.layers[name]

    # Set-up

    def _move_parameters(self) -> list[Segment]:
        """Make every layer's weights views of the one vector, and return the tensors that it holds, in order."""
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
                    (segment.start, segment.shape, segment.decays) == (offset, shape, parameter.decays),
                    f"{place.node.name}.{name}: is not the tensor that it is declared to be",
                )
                parameter.move_to(*(self.buffers[v][segment.part].reshape(shape) for v in ("parameters", "gradients")))
                parameter.segments = (replace(segment, start=0),)
        for name, layer in self.layers.items():
            layer.trains = name not in self.layout.frozen
        return list(self.layout.tensors)

    def _keep_state(self) -> None:
        """Keep what layers remember besides their parameters (running means, say) in buffers of the plan."""
        for i, (layer, place) in enumerate(zip(self.full_network.layers, self.layout.layers, strict=True)):
            declared = place.node.geometry.state
            ensure(layer.state().keys() == declared.keys(), f"{place.node.name}: state differs from its geometry")
            layer.keep_state({name: self.buffers[f"layer{i}.{name}"] for name in declared})

    def _make_narrowing(self) -> Narrowing | None:
        """Leave out what features that are always zero would meet, where there are such."""
        if self.data.alive is None:
            return None
        first = self.full_network.layers[0]
        scratch = self.buffers["optimizer.scratch"][: first.parameters()[first.rows_of].size]
        return Narrowing(first, self.data.alive, scratch)

    def _make_optimizer(self, segments: list[Segment]) -> Optimizer:
        """Make the optimizer of all that is trained, as one vector."""
        start = self.narrowing.start if self.narrowing is not None else 0
        if self.narrowing is not None:
            segments = list(self.narrowing.narrowed_segments(segments))
        vector = Parameter.over(self.buffers["parameters"][start:], self.buffers["gradients"][start:], segments)
        optimizer: Optimizer = self.experiment.optimizer.make(params=[vector])
        names = (*optimizer.state[0], *optimizer.work)
        optimizer.keep_in({name: self.buffers[f"optimizer.{name}"][start:] for name in names})
        return optimizer

    def part(self) -> None:
        """Have batches of its own, from buffers of its own, where it shares them with other plans."""
        own = {name: self.buffers[name].copy() for name in self.layout.batch_names}
        self.buffers |= own
        self.data = self.data.apart(self.experiment, self.buffers)

    def _trust_ids(self) -> None:
        """Let the first layer look up ids without checking every batch, where all of the data's are in range."""
        first, most = self.full_network.layers[0], self.dataset.facts.tokens
        if isinstance(first, Layer) and type(first).looks_up:
            splits = [split.x for split in (self.dataset.train, self.dataset.test) if split.x.size]
            rows = len(first.parameters()[next(iter(first.parameters()))].data)
            first.trusts_ids = all(x.min() >= 0 and x.max() < min(rows, most or rows) for x in splits)

    def release(self) -> None:
        """Give the network to whoever uses it now: its layers allocate again, and do not train."""
        for layer in self.layers.values():
            layer.lend({})
            layer.trains = True
            layer.trusts_ids = False
        self.network.eval()
        self.loop.let_go(self)

    def narrow(self, wanted: bool) -> None:
        """Have the rows of the first weight in the order of training, or in the network's."""
        if self.narrowing is not None:
            self.narrowing.narrow(wanted)

    # Training

    def clock(self) -> float:
        """Return the seconds of training so far: its own steps, and its share of what lanes do as one."""
        return self._seconds

    @property
    def adjusts(self) -> bool:
        """Whether anything is done to gradients or weights besides the optimizer's step."""
        train = self.experiment.train
        clips = train.clip_value is not None or train.clip_norm is not None
        return bool(train.penalties) or clips or train.constraint is not None

    @property
    def held_out(self) -> int:
        """How many training samples are held out for validation."""
        return self.data.held_out

    @property
    def batches(self) -> int:
        """Steps an epoch."""
        return len(self.data)

    def begin(self, epoch: int) -> None:
        """Begin an epoch: its own order of samples, and metrics that have seen nothing."""
        self.epoch = epoch
        self.loop.begin(epoch)

    def train_batch(self, number: int) -> tuple[float, float]:
        """Make one step on a batch of this epoch; return its mean loss, and the weight of that in the mean over the
        epoch. The metrics see it too."""
        loss, weight, seconds = self.loop.train(number, self.lane)
        self._seconds += seconds
        return loss, weight

    def figures(self) -> tuple[float, ...]:
        """Return each metric that is a figure over the batches since `begin`."""
        return self.loop.figures(self)

    def own_figures(self) -> tuple[float, ...]:
        """Return each metric that is a figure over the batches that its own metrics have seen."""
        return tuple(metric.result() for metric in self.metrics if metric.is_figure)

    def tables(self) -> dict[str, list[list[int]]]:
        """Return each metric that is a table, over the samples measured last."""
        return {metric.spec_name: metric.result().tolist() for metric in self.metrics if not metric.is_figure}

    def move(self, number: int, loss: float, look: Watcher | None = None) -> float:
        """Add penalties to the gradients, clip these, and step, at the rate of this batch. Returns the penalties."""
        train, batches = self.experiment.train, self.batches
        started = time.perf_counter_ns()
        self.look(number, loss)
        penalty = penalise(self.optimizer.params, train.penalties, self.buffers["penalty"]) if train.penalties else 0.0
        if train.clip_value is not None:
            clip_grad_value(self.optimizer.params, train.clip_value)
        if train.clip_norm is not None:
            clip_grad_norm(self.optimizer.params, train.clip_norm)
        clipped = time.perf_counter_ns()
        self.optimizer.at(self.epoch + number / batches, train.epochs)
        self.optimizer.step()
        moved = time.perf_counter_ns()
        if train.constraint is not None:
            constrain(self.full_network.parameters(), train.constraint, self.buffers["constraint"])
        if look is not None:
            look("update", "optimizer", moved - clipped, None)
            if self.adjusts:
                look("update", "penalties and clipping", clipped - started + time.perf_counter_ns() - moved, None)
        return penalty

    def look(self, number: int, loss: float) -> None:
        """Let whoever watches see the gradients of the last batch, and of one whose loss is not finite."""
        if self.watch is not None and (number == self.batches - 1 or not math.isfinite(loss)):
            self.watch(loss)

    def begin_metrics(self) -> None:
        """Let the metrics forget all batches."""
        for metric in self.metrics:
            metric.begin()

    # Measuring

    def validate(self) -> tuple[float, tuple[float, ...]]:
        """Return mean loss and each metric over the samples held out; the network is left ready to train."""
        return self.loop.measured("validation", self.lane)

    def test(self) -> tuple[float, tuple[float, ...]]:
        """Return mean loss and each metric over the test samples; the network is left ready to train."""
        return self.loop.measured("test", self.lane)

    def outputs(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield what the network makes of the test samples, `(B, *out)`, and their targets as the loss takes them.

        Both are copies, batch by batch. The network is left ready to train.
        """
        loop = self.loop.alone(self)
        self.full_network.eval()
        for rows in self.data.test():
            loop.forward(rows)
            views = loop.views(rows)
            yield np.array(views[loop.outputs], order="C"), np.array(views["targets"])
        self.full_network.train()

    def show(self, most: int, look: Watcher | None = None) -> int:
        """Run forward over at most so many of the samples that are trained on, as samples are measured, and return over
        how many. `look` is told of every step. The network is left ready to train."""
        loop, count = self.loop.alone(self), 0
        self.full_network.eval()
        for rows in self.data.trained(most):
            loop.forward(rows, look)
            count += rows
        self.full_network.train()
        return count


def _by_name(nodes: Iterable[LayerNode], layers: Iterable[Layer]) -> Iterator[tuple[str, Layer]]:
    """Yield every layer that computes by its full name: of compositions, what they are made of."""
    for node, layer in zip(nodes, layers, strict=True):
        for inner, made in zip(node.walk(), layer.walk(), strict=True):
            if not inner.branches:
                yield inner.name, made
