"""Results of lanes with given losses, and an observer that records its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnspec.engine.network import Sequential
from nnspec.results.epochs import EpochRecord
from nnspec.results.lane import LaneResult
from nnspec.training.checkpoint import Keeper
from nnspec.training.observer import Silent


def epochs(history: Mapping[str, Sequence[float]], seconds: float = 1.0) -> tuple[EpochRecord, ...]:
    """Return epochs with figures from columns."""
    rows = zip(*history.values(), strict=True)
    return tuple(EpochRecord(dict(zip(history, row, strict=True)), seconds) for row in rows)


def lane(*losses: float, seconds: float = 1.0, status: Any = "done") -> LaneResult:
    records = epochs({"loss": losses}, seconds)
    return LaneResult("x", "SGD", "CrossEntropy", 0, "", len(losses), 1, ("loss",), records, Sequential(), status)


class Listener(Silent):
    """Records its calls; at `stop` = (event, lane, epoch) it presses Ctrl-C."""

    def __init__(self, stop: tuple[str, str, int] | None = None) -> None:
        self.stop, self.events = stop, []

    def _note(self, event: str, name: str, epoch: int) -> None:
        self.events.append((event, name, epoch))
        if self.stop == (event, name, epoch):
            raise KeyboardInterrupt

    def data_ready(self, data: Sequence[Any]) -> None:
        self._note("data", data[0].source, 0)

    def proving(self, lane: str) -> None:
        self._note("proving", lane, 0)

    def lane_begins(self, lane: LaneResult) -> None:
        self._note("begins", lane.name, 0)

    def epoch_done(self, lane: LaneResult) -> None:
        self._note("epoch", lane.name, len(lane.records))

    def lane_ends(self, lane: LaneResult) -> None:
        self._note("ends", lane.name, len(lane.records))


class Exhausted(Keeper):
    """Has no memory for the first checkpoint, in whichever process it trains."""

    def due(self) -> bool:
        raise MemoryError
