"""The compiled training loop: every buffer allocated once, every NumPy call known before the first step.

A step gathers a batch from the data in its stored type, runs the layers forward into the plan's buffers, lets the
loss work in the buffer of the outputs, runs backward down to the first layer with parameters, clips the one vector of
gradients where that is asked for, and has the optimizer move the one vector that holds all parameters. Nothing of a
batch's or a parameter's size is allocated on the way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nnspec.checker.program import Experiment, LayerNode
from nnspec.compiler.batches import Batches
from nnspec.compiler.layout import LayerLayout, Layout, WorkLayout, dtype_of
from nnspec.compiler.narrowing import Narrowing, may_narrow
from nnspec.data.source import Dataset
from nnspec.engine._numpy import np
from nnspec.engine.clipping import clip_grad_norm, clip_grad_value
from nnspec.engine.compiled import asked_for
from nnspec.engine.layers.composition import Composition
from nnspec.engine.layers.contract import Layer
from nnspec.engine.losses import Loss
from nnspec.engine.losses.contract import Mean
from nnspec.engine.metrics import Metric
from nnspec.engine.network import NumpyMLP
from nnspec.engine.optimizers import Optimizer
from nnspec.engine.parameter import Parameter
from nnspec.engine.penalties import constrain, penalise
from nnspec.engine.random import Stream, stream
from nnspec.engine.work import samples_in
from nnspec.errors import ensure

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Plan", "build_network", "make_layer"]


def build_network(experiment: Experiment, dtype: str | None = None) -> NumpyMLP:
    """Make the layers of an experiment with their starting weights, which depend on seed and place alone.

    Every layer draws from streams of its own, so lanes whose models differ in one layer share all other weights.
    """
    network = NumpyMLP()
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
    wanted = _accepted(part)
    if "dtype" in wanted:
        more["dtype"] = dtype
    if "rng" in wanted:
        purpose = Stream.WEIGHTS if node.geometry.parameters else Stream.NOISE
        more["rng"] = stream(seed, purpose, *place)
    return node.value.make(**more)


def _accepted(part: type) -> Mapping[str, Any]:
    import inspect

    return inspect.signature(part.__init__).parameters  # type: ignore[misc]


@dataclass(frozen=True)
class _Pass:
    """The views that a batch of one size needs: forward and backward, each layer with where it writes."""

    x: NDArray[Any]
    labels: NDArray[Any]
    targets: NDArray[Any]
    loss_out: NDArray[Any]
    forward: tuple[tuple[Layer, NDArray[Any]], ...]
    backward: tuple[tuple[Layer, NDArray[Any] | None], ...]


class Plan:
    """An experiment bound to its data, ready to train.

    `network` shares its numbers with the plan's vector: what the plan trains, the network computes with.
    """

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
        """Allocate what the layout says, but for `buffers` that are there already. `data` are batches of the same
        settings that another plan made and shares, together with the buffers that they are brought into. `scaling`
        and `target_scaling` are mean and deviation of each feature and target, where they were learned before."""
        self.experiment, self.layout, self.dataset = experiment, layout, dataset
        self.buffers: dict[str, NDArray[Any]] = {
            b.name: buffers[b.name] if b.name in buffers else np.empty(b.shape, b.dtype) for b in layout.buffers
        }
        self._network = build_network(experiment)
        self._absorbed = self._absorb()
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
        decaying = self._move_parameters()
        self._keep_state()
        self._lend()
        self._narrowing = self._make_narrowing()
        self.optimizer = self._make_optimizer(decaying)
        self._epoch = 0
        self._begin_metrics()
        self._passes: dict[tuple[int, bool], _Pass] = {}
        self.watch: Callable[[float], None] | None = None
        """Called with the loss, before the step, on the last batch of an epoch and where the loss is no number: the
        gradients are then as the backward pass left them."""

    @property
    def absorbed(self) -> frozenset[int]:
        """Which layers need not run, because the one behind each does their work too."""
        return self._absorbed

    @property
    def network(self) -> NumpyMLP:
        """The network that is trained, its numbers as they are now."""
        self._narrow(False)
        return self._network

    # Set-up

    def _absorb(self) -> frozenset[int]:
        """Let layers take over the work of those before them, and return which of these need not run."""
        return frozenset(i for i, (one, other) in enumerate(pairwise(self._network.layers)) if other.absorb(one))

    def _move_parameters(self) -> tuple[slice, ...]:
        """Make every layer's weights views of the one vector, and return which parts of it decay."""
        self.buffers["gradients"].fill(0)
        decaying: list[slice] = []
        for layer, place in zip(self._network.layers, self.layout.layers, strict=True):
            parameters = layer.parameters()
            ensure(
                list(parameters) == list(place.parameters), f"{place.node.name}: parameters differ from its geometry"
            )
            for name, parameter in parameters.items():
                offset, shape = place.parameters[name]
                ensure(parameter.shape == shape, f"{place.node.name}.{name}: shape differs from its geometry")
                part = slice(offset, offset + prod(shape))
                parameter.move_to(
                    self.buffers["parameters"][part].reshape(shape), self.buffers["gradients"][part].reshape(shape)
                )
                for start, stop, _ in (each.indices(parameter.size) for each in parameter.decaying):
                    decaying.append(slice(offset + start, offset + stop))
        return tuple(decaying)

    def _keep_state(self) -> None:
        """Keep what layers remember besides their parameters (running means, say) in buffers of the plan."""
        for i, (layer, place) in enumerate(zip(self._network.layers, self.layout.layers, strict=True)):
            declared = place.node.geometry.state
            ensure(layer.state().keys() == declared.keys(), f"{place.node.name}: state differs from its geometry")
            layer.keep_state({name: self.buffers[f"layer{i}.{name}"] for name in declared})

    def _make_narrowing(self) -> Narrowing | None:
        """Leave out what features that are always zero would meet, where there are such."""
        if self.data.alive is None:
            return None
        first = self._network.layers[0]
        scratch = self.buffers["optimizer.scratch"][: first.parameters()[first.rows_of].size]
        return Narrowing(first, self.data.alive, scratch)

    def _make_optimizer(self, decaying: tuple[slice, ...]) -> Optimizer:
        """Make the optimizer of all that is trained, as one vector."""
        start = self._narrowing.start if self._narrowing is not None else 0
        vector = Parameter.over(self.buffers["parameters"][start:], self.buffers["gradients"][start:], decaying)
        optimizer: Optimizer = self.experiment.optimizer.make(params=[vector])
        names = (*optimizer.state[0], *optimizer.work)
        optimizer.keep_in({name: self.buffers[f"optimizer.{name}"][start:] for name in names})
        if asked_for():
            optimizer.compile()
        return optimizer

    def _lend(self) -> None:
        for i, (layer, place) in enumerate(zip(self._network.layers, self.layout.layers, strict=True)):
            layer.lend(self._work(f"layer{i}", place.work))
        self.loss.lend(self._work("loss", self.layout.loss_work))
        for i, (metric, work) in enumerate(zip(self.metrics, self.layout.metric_work, strict=True)):
            metric.lend(self._work(f"metric{i}", work))

    def _work(self, owner: str, work: WorkLayout) -> dict[str, NDArray[Any]]:
        arrays = {name: self.buffers[f"{owner}.{name}"] for name in work.saved}
        for name, (offset, array) in work.pooled.items():
            dtype = np.dtype(dtype_of(array, self.layout.dtype))
            shape = (self.layout.batch, *array.shape)
            end = offset + prod(shape) * dtype.itemsize
            arrays[name] = self.buffers["pool"][offset:end].view(dtype).reshape(shape)
        return arrays

    def release(self) -> None:
        """Give the network to whoever uses it now: its layers allocate again, and do not train."""
        for layer in self.network.layers:
            layer.lend({})
        self._network.eval()

    # Training

    def clock(self) -> float:
        """Return seconds, counted from any moment, of which two tell how long training took between them."""
        return time.perf_counter()

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
        self._epoch = epoch
        self.data.shuffle(epoch)
        self._begin_metrics()

    def train_batch(self, number: int) -> tuple[float, float]:
        """Make one step on a batch of this epoch; return its mean loss, and the weight of that in the mean over the
        epoch. The metrics see it too."""
        rows = self.data.train(number)
        step = self._pass(rows, whole=False)
        loss, weight = self._evaluate(step)
        grad = self.loss.backward(out=step.loss_out)
        for layer, out in step.backward:
            grad = layer.backward(grad, out, input_grad=out is not None)  # type: ignore[assignment]
        return loss + self._move(number, loss), weight

    def figures(self) -> tuple[float, ...]:
        """Return each metric that is a figure over the batches since `begin`."""
        return tuple(metric.result() for metric in self.metrics if metric.is_figure)

    def tables(self) -> dict[str, list[list[int]]]:
        """Return each metric that is a table, over the samples measured last."""
        return {metric.spec_name: metric.result().tolist() for metric in self.metrics if not metric.is_figure}

    def _move(self, number: int, loss: float) -> float:
        """Add penalties to the gradients, clip these, and step, at the rate of this batch. Returns the penalties."""
        train, batches = self.experiment.train, self.batches
        if self.watch is not None and (number == batches - 1 or not math.isfinite(loss)):
            self.watch(loss)
        penalty = penalise(self.optimizer.params, train.penalties, self.buffers["penalty"]) if train.penalties else 0.0
        if train.clip_value is not None:
            clip_grad_value(self.optimizer.params, train.clip_value)
        if train.clip_norm is not None:
            clip_grad_norm(self.optimizer.params, train.clip_norm)
        self.optimizer.at(self._epoch + number / batches, train.epochs)
        self.optimizer.step()
        if train.constraint is not None:
            constrain(self._network.parameters(), train.constraint, self.buffers["constraint"])
        return penalty

    def validate(self) -> tuple[float, tuple[float, ...]]:
        """Return mean loss and each metric over the samples held out; the network is left ready to train."""
        return self._measure(self.data.validation())

    def test(self) -> tuple[float, tuple[float, ...]]:
        """Return mean loss and each metric over the test samples; the network is left ready to train."""
        return self._measure(self.data.test())

    def outputs(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield what the network makes of the test samples, `(B, *out)`, and their targets as the loss takes them.

        Both are copies, batch by batch. The network is left ready to train.
        """
        self._network.eval()
        for rows in self.data.test():
            step = self._pass(rows, whole=True)
            x = step.x
            for layer, out in step.forward:
                x = layer.forward(x, out)
            yield np.array(x, order="C"), np.array(step.targets)
        self._network.train()

    def show(self, most: int) -> int:
        """Run forward over at most so many of the samples that are trained on, as samples are measured, and return over
        how many. The network is left ready to train."""
        self._network.eval()
        count = 0
        for rows in self.data.trained(most):
            step = self._pass(rows, whole=True)
            x = step.x
            for layer, out in step.forward:
                x = layer.forward(x, out)
            count += rows
        self._network.train()
        return count

    def _measure(self, batches: Iterator[int]) -> tuple[float, tuple[float, ...]]:
        """Evaluate samples without training, as they are brought into the buffers."""
        mean = Mean()
        self._begin_metrics()
        self._network.eval()
        for rows in batches:
            mean.add(*self._evaluate(self._pass(rows, whole=True)))
        self._network.train()
        return mean.value, self.figures()

    def _begin_metrics(self) -> None:
        for metric in self.metrics:
            metric.begin()

    def _evaluate(self, step: _Pass) -> tuple[float, float]:
        """Run forward over the batch that lies in the buffers; the metrics see it. Returns its mean loss and weight."""
        x = step.x
        for layer, out in step.forward:
            x = layer.forward(x, out)
        if self.metrics:
            measured = self._in_units(x)
            for metric in self.metrics:
                metric.add(measured, step.labels)
        return self.loss.forward(x, step.targets, out=step.loss_out), self.loss.weight(len(x))

    def _in_units(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return outputs as metrics compare them with labels: in the targets' unit where these are standardised."""
        if "in_units" not in self.buffers:
            return outputs
        return np.multiply(outputs, self.buffers["target_deviation"], out=self.buffers["in_units"][: len(outputs)])

    # Views

    def _pass(self, rows: int, whole: bool) -> _Pass:
        """Return the views of so many samples, whole or as they are in training."""
        if self._narrowing is not None:
            self._narrowing.narrow(not whole)
        found = self._passes.get((rows, whole))
        if found is None:
            found = self._passes[rows, whole] = self._make_pass(rows, whole)
        return found

    def _narrow(self, wanted: bool) -> None:
        if self._narrowing is not None:
            self._narrowing.narrow(wanted)

    def _make_pass(self, rows: int, whole: bool) -> _Pass:
        layers = [*self._network.layers]
        if self._narrowing is not None and not whole:
            layers[0] = self._narrowing.layer
        x = self.data.x(rows, whole=whole)
        current, forward = x, []
        for i, (layer, place) in enumerate(zip(layers, self.layout.layers, strict=True)):
            out = place.node.geometry.out
            if i in self._absorbed:
                continue
            if place.in_place:
                current = current.reshape(rows, *out)
            else:
                current = samples_in(self.buffers[f"y{i}"], (rows, *out), batch_last=place.batch_last)
            forward.append((layer, current))
        loss_out = current if self.layout.loss_in_place else self.buffers["loss"][:rows]
        return _Pass(
            x=x,
            labels=self.data.labels(rows),
            targets=self.data.targets(rows),
            loss_out=loss_out,
            forward=tuple(forward),
            backward=tuple(self._backward(layers, rows, loss_out)),
        )

    def _backward(self, layers: list[Layer], rows: int, grad: NDArray[Any]) -> list[tuple[Layer, NDArray[Any] | None]]:
        """Give each layer, from the last to the first that is trained, the buffer of its result; None for the last."""
        steps: list[tuple[Layer, NDArray[Any] | None]] = []
        turn = 0
        for i in range(len(self.layout.layers) - 1, self.layout.first_trained, -1):
            if i in self._absorbed:
                continue
            place: LayerLayout = self.layout.layers[i]
            shape = (rows, *place.node.incoming)
            if layers[i].in_place:
                grad = grad.reshape(shape)
            else:
                batch_last = self.layout.layers[i - 1].batch_last
                grad = samples_in(self.buffers[f"g{turn}"], shape, batch_last=batch_last)
                turn = 1 - turn
            steps.append((layers[i], grad))
        steps.append((layers[self.layout.first_trained], None))
        return steps
