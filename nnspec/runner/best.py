"""The best epoch of a training: its weights are kept beside the last ones, and may take their place in the end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nnspec.compiler.plan import Plan
from nnspec.engine._numpy import np
from nnspec.engine.metrics import higher_is_better
from nnspec.engine.stopping import Stopping
from nnspec.runner.history import LaneResult

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
        self.epoch = 0
        """The best epoch, from 1 on; 0 before the first."""
        self.arrays: dict[str, NDArray[Any]] = {}
        """Parameters by full name, and what layers remember beside them."""
        self.tables: dict[str, list[list[int]]] = {}
        self._lane = lane

    def look(self, plan: Plan) -> None:
        """Copy the network where the epoch that was added last is the best."""
        values = self._lane.history[self.figure]
        if self.epoch and not self._better(values[-1], values[self.epoch - 1]):
            return
        self.epoch, self.tables = len(values), self._lane.tables
        for name, array in plan.network.state_dict().items():
            if name in self.arrays:
                np.copyto(self.arrays[name], array)
            else:
                self.arrays[name] = array.copy()

    def _better(self, value: float, other: float) -> bool:
        if math.isnan(other):
            return not math.isnan(value)
        return value > other if higher_is_better(self.figure) else value < other

    def restore(self, plan: Plan) -> None:
        """Give the network its best weights back, and note in the lane which epoch they are from."""
        lane = self._lane
        if not self.epoch or self.epoch == len(lane.epoch_seconds):
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
        self.epoch, self.tables, self.arrays = int(state["epoch"]), state["tables"], dict(arrays)


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
