"""Record the weights of lanes during training, and measure the loss at any weights, always on the same samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nnspec.analysis.plane import Plane
from nnspec.checker.program import Experiment
from nnspec.compiler.batches import Batches
from nnspec.compiler.layout import lay_out
from nnspec.compiler.plan import build_network
from nnspec.compiler.preparing import divide, learned_by_loss
from nnspec.compiler.proofs import Compiled
from nnspec.data.source import Dataset
from nnspec.engine._numpy import np
from nnspec.engine.losses import Loss
from nnspec.engine.losses.composed import with_terms
from nnspec.engine.losses.contract import Mean
from nnspec.engine.parameter import Parameter
from nnspec.engine.random import Stream, stream
from nnspec.results.data_use import DataUse
from nnspec.results.lane import LaneResult
from nnspec.training.observer import Observer

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SAMPLES", "Copies", "Meter", "Tick", "Track", "cosine"]

Tick = Callable[[int, int], None]
"""Called with the amount done and the total."""

SAMPLES = 1000
"""The maximum number of training samples over which a loss is averaged."""
_BATCH = 250


@dataclass
class Track:
    """Copies of a lane's flat weights and of the state of its layers, at the start and after each epoch."""

    weights: list[NDArray[Any]] = field(default_factory=list)
    states: list[dict[str, NDArray[Any]]] = field(default_factory=list)

    def add(self, lane: LaneResult) -> None:
        """Copy the current weights and state of a lane's network."""
        self.weights.append(np.concatenate([p.data.reshape(-1) for p in lane.network.parameters()]))
        self.states.append({name: array.copy() for name, array in lane.network.state().items()})


class Copies:
    """Forwards the events of a run, and copies the weights of every lane at the start and after each epoch.

    At these events a lane's network holds its current weights, even if lanes are trained in a stack, which trains and
    measures an epoch of all lanes before it reports the first.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._tracks: dict[str, Track] = {}

    def of(self, lane: LaneResult) -> Track:
        """Return the track of a lane up to the epoch whose weights it keeps."""
        track = self._tracks[lane.name]
        end = lane.restored_epoch + 1 if lane.restored_epoch else len(track.weights)
        return Track(track.weights[:end], track.states[:end])

    def run_begins(self, compiled: Compiled) -> None:
        """Forward the event."""
        self._observer.run_begins(compiled)

    def fetching(self, name: str, done: int, total: int | None) -> None:
        """Forward the event."""
        self._observer.fetching(name, done, total)

    def data_ready(self, data: Sequence[DataUse]) -> None:
        """Forward the event."""
        self._observer.data_ready(data)

    def proving(self, lane: str) -> None:
        """Forward the event."""
        self._observer.proving(lane)

    def compiling(self, kernels: int) -> None:
        """Forward the event."""
        self._observer.compiling(kernels)

    def lane_begins(self, lane: LaneResult) -> None:
        """Copy the starting weights."""
        self._tracks[lane.name] = Track()
        self._tracks[lane.name].add(lane)
        self._observer.lane_begins(lane)

    def epoch_done(self, lane: LaneResult) -> None:
        """Copy the weights after an epoch."""
        self._tracks[lane.name].add(lane)
        self._observer.epoch_done(lane)

    def lane_ends(self, lane: LaneResult) -> None:
        """Forward the event."""
        self._observer.lane_ends(lane)


class Meter:
    """Measures the loss at any weights of a network, always on the same training samples."""

    def __init__(self, experiment: Experiment, dataset: Dataset) -> None:
        train = replace(experiment.train, batch=_BATCH, carry_state=False)  # its samples are not consecutive
        experiment = replace(experiment, train=train, metrics=())
        layout = lay_out(experiment)
        trained, _ = divide(train, experiment.seed, dataset.train.y, *dataset.facts.counts[1:])
        self.trained_on, self.samples = len(trained), min(len(trained), SAMPLES)
        # Drawn, since data may be sorted, or alternate: of MNIST, every other digit is much the harder one. They are
        # measured as test samples, since those are not varied.
        drawn = stream(experiment.seed, Stream.LANDSCAPE, 1).permutation(len(trained))[: self.samples]
        rows = trained[np.sort(drawn)]
        measured = replace(dataset, test=dataset.train.rows(rows))
        buffers = {b.name: np.empty(b.shape, b.dtype) for b in layout.buffers if b.group == "batch"}
        source = Batches(experiment, layout, measured, buffers)
        self._batches = [
            (source.x(n).copy(), source.targets(n).copy(), _copy(source.weights(n))) for n in source.test()
        ]
        self._network = build_network(experiment).eval()
        loss = experiment.loss.make()
        loss.recall(learned_by_loss(loss, experiment, dataset, trained))
        self._loss: Loss = with_terms(loss, self._network.layers)
        self._first = layout.first_trained
        self._frozen = [tensor.part for tensor in layout.tensors if tensor.frozen]

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters of the network, in the order of the flat weights."""
        return self._network.named_parameters()

    def __call__(self, weights: NDArray[Any]) -> float:
        """Return the mean loss at flat weights `(P,)`, finite or not."""
        self._put(weights)
        mean = Mean()
        for x, targets, w in self._batches:
            loss = self._loss(self._network.forward(x), targets, w)
            mean.add(loss, self._loss.weight(len(x)))
        return mean.value

    def gradient(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Return ∇L at flat weights: `(P,) -> (P,)`, in float64; 0 for frozen parameters."""
        self._put(weights)
        total, weight = np.zeros(len(weights)), 0.0
        for x, targets, w in self._batches:
            self._loss(self._network.forward(x), targets, w)
            self._backward(self._loss.backward())
            own = np.concatenate([p.grad.reshape(-1) for p in self._network.parameters()])
            for part in self._frozen:
                own[part] = 0
            total += own.astype(np.float64) * self._loss.weight(len(x))
            weight += self._loss.weight(len(x))
        return total / weight

    def _backward(self, grad: NDArray[Any]) -> None:
        """Write the gradients of all parameters that are trained."""
        if self._network.graph is not None:
            self._network.backward(grad)
            return
        for i in range(len(self._network.layers) - 1, self._first - 1, -1):
            grad = self._network.layers[i].backward(grad, input_grad=i > self._first)  # type: ignore[assignment]

    def along(self, track: Track) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the loss at each point of a track, and the cosine between −∇L there and the step that follows."""
        losses, cosines = [], [math.nan] * len(track.weights)
        for i, (weights, state) in enumerate(zip(track.weights, track.states, strict=True)):
            self.remember(state)
            losses.append(self(weights))
            if i + 1 < len(track.weights):
                step = track.weights[i + 1].astype(np.float64) - weights
                cosines[i] = cosine(step, -self.gradient(weights))
        return np.array(losses), np.array(cosines)

    def remember(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Load the state of layers, such as running statistics."""
        for name, array in self._network.state().items():
            np.copyto(array, state[name])

    def over(
        self, plane: Plane, alpha: NDArray[Any], beta: NDArray[Any], tick: Callable[[int, int], None]
    ) -> NDArray[Any]:
        """Return the loss on a grid, `(rows, columns)`, NaN where it is not finite."""
        losses = np.empty((len(beta), len(alpha)))
        tick(0, losses.size)
        for row, b in enumerate(beta):
            for column, a in enumerate(alpha):
                losses[row, column] = self(plane.at(float(a), float(b)))
            tick((row + 1) * len(alpha), losses.size)
        losses[~np.isfinite(losses)] = np.nan
        return losses

    def _put(self, weights: NDArray[Any]) -> None:
        start = 0
        for parameter in self._network.parameters():
            parameter.data = weights[start : start + parameter.size].reshape(parameter.shape)
            start += parameter.size


def _copy(array: NDArray[Any] | None) -> NDArray[Any] | None:
    return None if array is None else array.copy()


def cosine(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the cosine between two vectors; NaN if one of them is 0 or not finite."""
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(one @ other) / lengths if 0 < lengths < math.inf else math.nan
