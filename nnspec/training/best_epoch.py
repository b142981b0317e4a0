"""The best epoch of a training: its weights are kept beside the last ones, and may take their place in the end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nnspec.compiler.plan import Plan
from nnspec.engine._numpy import np
from nnspec.engine.metrics.contract import higher_is_better
from nnspec.engine.stopping import Stopping
from nnspec.results.lane import LaneResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Best", "Last"]


class Best:
    """Follows one training, and keeps what its network was after the best epoch so far, the first of equals.

    What is best is told by the figure that stops the training early, or else `val_loss` where samples are held out, or
    else `loss`; never by a test figure that nobody named, since a choice by it makes it no test any more.
    """

    def __init__(self, rule: Stopping | None, lane: LaneResult) -> None:
        self.figure = rule.of if rule is not None else "val_loss" if "val_loss" in lane.history else "loss"
        self.restores = rule is not None and rule.restore_best
        self._known: tuple[int, dict[str, NDArray[Any]], dict[str, list[list[int]]]] = (0, {}, {})
        self._spare: dict[str, NDArray[Any]] = {}
        self._lane = lane

    def look(self, plan: Plan) -> None:
        """Copy the network where the epoch that was added last is the best. Ctrl-C at any moment leaves the best of the
        epochs before, or this one."""
        values = self._lane.history[self.figure]
        if not values or (self.epoch and not self._better(values[-1], values[self.epoch - 1])):
            return
        copies, self._spare = self._spare, {}
        for name, array in plan.network.state_dict().items():
            if name in copies:
                np.copyto(copies[name], array)
            else:
                copies[name] = array.copy()
        before = self.arrays
        self._known = (len(values), copies, self._lane.tables)
        self._spare = before

    @property
    def epoch(self) -> int:
        """The best epoch, from 1 on; 0 before the first."""
        return self._known[0]

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Parameters by full name, and what layers remember beside them, after that epoch."""
        return self._known[1]

    @property
    def tables(self) -> dict[str, list[list[int]]]:
        """The tables of that epoch."""
        return self._known[2]

    def _better(self, value: float, other: float) -> bool:
        if math.isnan(other):
            return not math.isnan(value)
        return value > other if higher_is_better(self.figure) else value < other

    def restore(self, plan: Plan) -> None:
        """Give the network its best weights back, and note in the lane which epoch they are from.

        A lane that diverged has none but these; of any other, the last epoch's are there already.
        """
        lane = self._lane
        if not self.epoch or (self.epoch == len(lane.epoch_seconds) and lane.status != "diverged"):
            return
        plan.network.load_state_dict(self.arrays)
        lane.kept, lane.tables = self.epoch, self.tables

    def state(self) -> dict[str, Any]:
        """Return what it remembers besides arrays, as plain data."""
        return {"epoch": self.epoch, "figure": self.figure, "tables": self.tables}

    def keep_state(self, state: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on where another one was. Raises ValueError for what belongs to another training."""
        if state["figure"] != self.figure or not 0 <= state["epoch"] <= len(self._lane.epoch_seconds):
            raise ValueError("it knows another best epoch")
        self._known = (int(state["epoch"]), dict(arrays), state["tables"])


class Last:
    """What a network was after the last whole epoch: what it goes back to where it is interrupted amid the next.

    Copies of two epochs are kept, in turn, since Ctrl-C may come while one is taken.
    """

    def __init__(self, plan: Plan) -> None:
        self._copies = [{name: array.copy() for name, array in plan.network.state_dict().items()} for _ in range(2)]

    def look(self, plan: Plan, done: int) -> None:
        """Copy the network after so many epochs."""
        copies = self._copies[done % 2]
        for name, array in plan.network.state_dict().items():
            np.copyto(copies[name], array)

    def restore(self, plan: Plan, done: int) -> None:
        """Give the network the weights that it had after so many epochs, the last that were whole."""
        plan.network.load_state_dict(self._copies[done % 2])
