"""Messages from workers about their trainings, over a pipe or a cluster: start, epochs and result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nnspec.compiler.plan import build_network
from nnspec.engine.network import NumpyMLP
from nnspec.results.epochs import EpochRecord, columns, from_columns
from nnspec.results.lane import LaneResult
from nnspec.results.stored import lane_from, lane_values, plain, scaling_arrays
from nnspec.training.groups import Training

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PackedLane", "RemoteLane", "epochs_since", "pack", "place_of"]


def place_of(group: Sequence[Training], lane: LaneResult) -> int:
    """Return the index in a group of the training that a lane belongs to."""
    return next(i for i, t in enumerate(group) if (t.experiment.name, t.repeat) == (lane.name, lane.repeat))


def epochs_since(lane: LaneResult, before: int) -> dict[str, Any]:
    """Return the epochs of a lane after the first `before`, as JSON values. Raises UnstorableError."""
    table = columns(lane.records[before:], lane.figures)
    return {"before": before, **{name: plain(column, name) for name, column in table.items()}}


@dataclass(frozen=True)
class PackedLane:
    """A lane at the end of its training, ready to be sent."""

    values: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    """Means and deviations of standardised data, and weights, with names that start with `scaling.` and `network.`."""


def pack(lane: LaneResult) -> PackedLane:
    """Pack a trained lane. Raises UnstorableError."""
    weights = {f"network.{name}": array for name, array in lane.network.state_dict().items()}
    return PackedLane(lane_values(lane), scaling_arrays(lane) | weights)


class RemoteLane:
    """A training in another process, as known from its messages."""

    def __init__(self, training: Training, values: Mapping[str, Any]) -> None:
        """`values` are the lane's plain values before its first epoch."""
        self._experiment = training.experiment
        lane = lane_from(values, {}, build_network(training.experiment))
        self._records: list[EpochRecord] = [*lane.records]
        self.lane = replace(lane, records=self._records)
        """The result as passed to observers; it has each epoch as soon as that has arrived."""

    def add(self, epochs: Mapping[str, Any]) -> bool:
        """Add the epochs that `epochs_since` returned; return whether any of them were new."""
        known = len(self._records) - int(epochs["before"])
        new = from_columns(epochs)[known:] if known >= 0 else []
        self._records += new
        return bool(new)

    def end(self, packed: PackedLane) -> LaneResult:
        """Return the trained lane; a trial has no network."""
        if self._experiment.trial is not None:
            return lane_from(packed.values, packed.arrays, NumpyMLP())
        network, start = self.lane.network, "network."
        arrays = packed.arrays.items()
        network.load_state_dict({name.removeprefix(start): array for name, array in arrays if name.startswith(start)})
        network.eval()
        return lane_from(packed.values, packed.arrays, network)
