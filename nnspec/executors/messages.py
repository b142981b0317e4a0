"""What a training sends to another process: its start, its epochs, and its result.

A lane is sent as plain values and arrays (`plain` is the one place that lists them); its network is rebuilt where it
arrives. A message is the same for a pipe and for a cluster.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from nnspec.compiler.plan import build_network
from nnspec.engine._numpy import np
from nnspec.errors import NnspecError
from nnspec.results.lane import LaneResult
from nnspec.training.groups import Training

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Epochs",
    "MessageError",
    "Parcel",
    "decoded",
    "encoded",
    "lane_begun",
    "pack",
    "place_of",
    "plain",
    "values_of",
]

_REBUILT = frozenset({"network", "predictor", "writer", "repeats"})
"""Fields of a lane that are not sent: a single training has no repeats, and writes its sample where it arrived."""


class MessageError(NnspecError):
    """A value that cannot be sent to another process. The message names the field that holds it."""


def plain(value: Any, field: str) -> Any:
    """Return a value as a message holds it: None, bool, int, float, str, lists, tuples and mappings of these, arrays.

    NumPy scalars become Python's, and mappings become dicts. Raises MessageError for any other type.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return value
    if isinstance(value, np.generic) and value.dtype.kind in "biufU":
        return value.item()
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, (list, tuple)):
        items = [plain(item, f"{field}[{i}]") for i, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise MessageError(f"`{field}` has the key {wrong[0]!r}; a message to another process has text as keys")
        return {key: plain(item, f"{field}[{key!r}]") for key, item in value.items()}
    raise MessageError(
        f"`{field}` is of type {type(value).__name__}, which cannot be sent to another process: "
        "use numbers, text, lists, dicts or NumPy arrays, or train in one process (`--jobs 1`, without `--on`)"
    )


def encoded(value: Any, field: str) -> str:
    """Return a plain value as JSON, for a line that has no arrays, tuples or large integers. Raises MessageError."""
    return json.dumps(_tagged(plain(value, field)))


def decoded(text: str) -> Any:
    """Return the value of `encoded`."""
    return json.loads(text, object_hook=_untagged)


def _tagged(value: Any) -> Any:
    """What JSON lacks as an object with the one key `$array` or `$tuple`, which no field of a message has."""
    if isinstance(value, dict):
        return {key: _tagged(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    if isinstance(value, tuple):
        return {"$tuple": [_tagged(item) for item in value]}
    if isinstance(value, np.ndarray):
        return {"$array": [value.dtype.str, list(value.shape), base64.b64encode(value.tobytes()).decode()]}
    return value


def _untagged(found: dict[str, Any]) -> Any:
    if found.keys() == {"$tuple"}:
        return tuple(found["$tuple"])
    if found.keys() == {"$array"}:
        dtype, shape, data = found["$array"]
        return np.frombuffer(base64.b64decode(data), dtype).reshape(shape).copy()
    return found


def place_of(group: Sequence[Training], lane: LaneResult) -> int:
    """Return which training of a group a lane is."""
    return next(i for i, t in enumerate(group) if (t.experiment.name, t.repeat) == (lane.name, lane.repeat))


def values_of(lane: LaneResult) -> dict[str, Any]:
    """Return the fields of a lane that are sent. Raises MessageError."""
    names = (field.name for field in fields(lane) if field.name not in _REBUILT)
    return {name: plain(getattr(lane, name), name) for name in names}


def lane_begun(training: Training, values: Mapping[str, Any]) -> LaneResult:
    """Return a lane from the values that another process sent of it."""
    return LaneResult(network=build_network(training.experiment), **values)


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
        """Return what a lane has beyond so many epochs. Raises MessageError."""
        history = {name: plain(values[before:], f"history[{name!r}]") for name, values in lane.history.items()}
        return cls(before, history, plain(lane.rates[before:], "rates"), lane.epoch_seconds[before:])

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
    """Return a trained lane as it is sent. Raises MessageError."""
    return Parcel(values_of(lane), plain(lane.network.state_dict(), "network"))
