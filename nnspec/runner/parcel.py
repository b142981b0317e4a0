"""What a training says of itself to another process: its beginning, its epochs, and what it has come to in the end.

A lane goes over the line as plain values and arrays; its network is built anew where it arrives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from nnspec.compiler.plan import build_network
from nnspec.runner.history import LaneResult
from nnspec.runner.together import Training

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Epochs", "Parcel", "lane_begun", "pack", "place_of", "values_of"]


def place_of(group: Sequence[Training], lane: LaneResult) -> int:
    """Return which training of a group a lane is."""
    return next(i for i, t in enumerate(group) if (t.experiment.name, t.repeat) == (lane.name, lane.repeat))


def values_of(lane: LaneResult) -> dict[str, Any]:
    """Return everything about a lane but its network."""
    return {field.name: getattr(lane, field.name) for field in fields(lane) if field.name != "network"}


def lane_begun(training: Training, values: Mapping[str, Any]) -> LaneResult:
    """Return a lane of which another process has told these values; what grows are lists, whatever arrived."""
    growing = {name: [*values[name]] for name in ("rates", "epoch_seconds")}
    history = {name: [*figures] for name, figures in values["history"].items()}
    return LaneResult(network=build_network(training.experiment), **{**values, **growing, "history": history})


@dataclass(frozen=True)
class Epochs:
    """What epochs, one or several, added to a lane."""

    before: int
    """How many there were before."""
    history: Mapping[str, Sequence[float]]
    rates: Sequence[float]
    seconds: Sequence[float]

    @classmethod
    def since(cls, lane: LaneResult, before: int) -> Epochs:
        """Return what a lane has beyond so many epochs."""
        history = {name: values[before:] for name, values in lane.history.items()}
        return cls(before, history, lane.rates[before:], lane.epoch_seconds[before:])

    def add_to(self, lane: LaneResult) -> bool:
        """Add to a lane what it has not got yet; say whether there was any. Epochs that do not follow on are none."""
        known = len(lane.epoch_seconds) - self.before
        if not 0 <= known < len(self.seconds):
            return False
        for name, values in self.history.items():
            lane.history[name].extend(values[known:])
        lane.rates.extend(self.rates[known:])
        lane.epoch_seconds.extend(self.seconds[known:])
        return True


@dataclass(frozen=True)
class Parcel:
    """A lane at the end of its training."""

    values: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]

    def fill(self, lane: LaneResult) -> None:
        """Give a lane everything that its training left."""
        for name, value in self.values.items():
            setattr(lane, name, value)
        lane.network.load_state_dict(self.arrays)
        lane.network.eval()


def pack(lane: LaneResult) -> Parcel:
    """Return a lane as it goes to another process."""
    return Parcel(values_of(lane), lane.network.state_dict())
