"""Results of lanes with the losses that one gives, and an observer that writes down what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnspec.results.lane import LaneResult
from nnspec.training.observer import Silent


def lane(*losses: float, seconds: float = 1.0, status: Any = "done") -> LaneResult:
    history = {"loss": list(losses)}
    return LaneResult("x", "SGD", "CrossEntropy", 0, "", len(losses), 1, history, [seconds] * len(losses), None, status)  # type: ignore[arg-type]


class Listener(Silent):
    """Writes down what it is told; at `stop` = (event, lane, epoch) it presses Ctrl-C."""

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
        self._note("epoch", lane.name, len(lane.epoch_seconds))

    def lane_ends(self, lane: LaneResult) -> None:
        self._note("ends", lane.name, len(lane.epoch_seconds))
