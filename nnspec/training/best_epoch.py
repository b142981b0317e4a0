"""Copies of a network after two epochs: the best one so far and the last complete one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nnspec.compiler.plan import Plan
from nnspec.engine._numpy import np
from nnspec.engine.metrics.contract import higher_is_better
from nnspec.engine.network import Sequential, refuse_other_state
from nnspec.engine.stopping import Stopping
from nnspec.results.epochs import EpochRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BestEpoch", "LastEpoch"]


class BestEpoch:
    """Follows one training and keeps a copy of its network after the best epoch so far; of equal ones, the first.

    The best epoch is chosen by the figure of `early_stop`, else by `val_loss` if samples are held out, else by `loss`.
    A test figure is only used if the spec names it, since test data used for selection no longer tests anything.
    """

    def __init__(self, rule: Stopping | None, figures: Sequence[str]) -> None:
        self.figure = rule.of if rule is not None else "val_loss" if "val_loss" in figures else "loss"
        self.restores = rule is not None and rule.restore_best
        """Whether training ends with the best weights instead of the last ones."""
        self._best: tuple[int, float, dict[str, NDArray[Any]]] = (0, math.nan, {})
        self._spare: dict[str, NDArray[Any]] = {}

    def update(self, plan: Plan, records: Sequence[EpochRecord]) -> None:
        """Copy the network if the last epoch is the best.

        If interrupted at any point, the copy is that of the previous best epoch or of this one.
        """
        if not records or (self.epoch and not self._better(records[-1].figures[self.figure])):
            return
        copies, self._spare = self._spare, {}
        for name, array in plan.network.state_dict().items():
            if name in copies:
                np.copyto(copies[name], array)
            else:
                copies[name] = array.copy()
        before = self.arrays
        self._best = (len(records), records[-1].figures[self.figure], copies)
        self._spare = before

    @property
    def epoch(self) -> int:
        """The best epoch, counted from 1; 0 before the first."""
        return self._best[0]

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Parameters and other layer state after that epoch, by full name."""
        return self._best[2]

    def _better(self, value: float) -> bool:
        best = self._best[1]
        if math.isnan(best):
            return not math.isnan(value)
        return value > best if higher_is_better(self.figure) else value < best

    def restore(self, plan: Plan) -> None:
        """Restore the best weights of the network."""
        plan.network.load_state_dict(self.arrays)

    def state(self) -> dict[str, Any]:
        """Return its state except for arrays, as plain data."""
        return {"epoch": self.epoch, "figure": self.figure}

    def load_state(
        self,
        state: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        records: Sequence[EpochRecord],
        network: Sequential,
    ) -> None:
        """Continue from a stored state. Raises ValueError if that belongs to another training or network."""
        epoch = int(state["epoch"])
        if state["figure"] != self.figure or not 0 <= epoch <= len(records):
            raise ValueError("its best epoch does not belong to this training")
        if epoch:
            refuse_other_state(network.state_dict(), arrays)
        value = records[epoch - 1].figures[self.figure] if epoch else math.nan
        self._best = (epoch, value, dict(arrays))


class LastEpoch:
    """A copy of the network after the last complete epoch, restored if the next one is interrupted.

    Copies alternate between two buffers, since an interruption may come while one is being written.
    """

    def __init__(self, plan: Plan) -> None:
        self._copies = [{name: array.copy() for name, array in plan.network.state_dict().items()} for _ in range(2)]

    def update(self, plan: Plan, done: int) -> None:
        """Copy the network after `done` epochs."""
        copies = self._copies[done % 2]
        for name, array in plan.network.state_dict().items():
            np.copyto(copies[name], array)

    def restore(self, plan: Plan, done: int) -> None:
        """Restore the weights after `done` epochs, which must be the number of complete epochs."""
        plan.network.load_state_dict(self._copies[done % 2])
