"""The progress of a search: a line for each lane instead of one for each of its trials."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nnspec.checker.program import Program
from nnspec.engine.metrics.contract import higher_is_better
from nnspec.results.lane import LaneResult
from nnspec.results.rungs import DROPPED
from nnspec.view.terminal.screen import Column, table
from nnspec.view.wording import numbers

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["LaneTrials", "Trials", "trials_table"]


@dataclass
class LaneTrials:
    """The trials of a lane, of all studies."""

    lane: str
    by: str
    """The figure that decides."""
    count: int = 0
    ended: int = 0
    running: int = 0
    """Trials that began and have not ended."""
    dropped: int = 0
    """Trials that were stopped early because others were better."""
    lost: int = 0
    """Trials that diverged or failed."""
    figures: dict[str, float] = field(default_factory=dict)
    """The latest value of the deciding figure of each trial that can still win."""

    @property
    def best(self) -> str:
        """The best of the latest values, in words; empty if there is none."""
        values = [value for value in self.figures.values() if math.isfinite(value)]
        return numbers.figure(self.by, (max if higher_is_better(self.by) else min)(values)) if values else ""

    @property
    def in_words(self) -> str:
        """`SGD: 20 trials done, 1 diverged or failed, best val loss 0.231`."""
        dropped = f", {self.dropped} of them stopped early" if self.dropped else ""
        lost = f", {self.lost} diverged or failed" if self.lost else ""
        best = f", best {self.by.replace('_', ' ')} {self.best}" if self.best else ""
        return f"{self.lane}: {self.ended} trial{'s' * (self.ended != 1)} done{dropped}{lost}{best}"


class Trials:
    """Follows the trials of a program."""

    def __init__(self, program: Program, by: str) -> None:
        self._lane_of = {each.name: each.lane for each in program.lanes}
        self._trainings = {each.name: each.train.trainings for each in program.lanes}
        self.lanes = {lane: LaneTrials(lane, by) for lane in self._lane_of.values()}
        for lane, count in Counter(self._lane_of.values()).items():
            self.lanes[lane].count = count
        self.by = by
        self._records: dict[str, dict[int, int]] = {}
        self._share = 0.0

    @classmethod
    def of(cls, program: Program) -> Trials | None:
        """Return what follows the trials of a program; None if its lanes are not trials."""
        if program.tuning is None or not program.lanes or any(each.trial is None for each in program.lanes):
            return None
        return cls(program, str(program.tuning.settings.by))

    @property
    def count(self) -> int:
        """The number of all trials."""
        return len(self._lane_of)

    @property
    def ended(self) -> int:
        """The number of trials that have ended."""
        return sum(each.ended for each in self.lanes.values())

    @property
    def percent(self) -> int:
        """How much of the search is done, by the epochs of its trials; trials that end early are done."""
        return min(99 if self.ended < self.count else 100, int(100 * self._share / self.count))

    @property
    def in_words(self) -> str:
        """`tuning: 5 of 12 trials done, 42 % of the epochs`."""
        return f"tuning: {self.ended} of {self.count} trials done, {self.percent} % of the epochs"

    def lane_of(self, trial: LaneResult) -> str:
        """Return the lane that a trial belongs to."""
        return self._lane_of[trial.name]

    @property
    def best_in_words(self) -> str:
        """`best current val loss: SGD 0.231, Adam 0.223`; empty if there is none. It may get worse, since trials are
        compared at their end.
        """
        best = ", ".join(f"{each.lane} {each.best}" for each in self.lanes.values() if each.best)
        return f"best current {self.by.replace('_', ' ')}: {best}" if best else ""

    def begins(self, lane: LaneResult) -> None:
        """Count a trial that begins, or one that continues after a pause."""
        if lane.name not in self._records:
            self._records[lane.name] = {}
            self.lanes[self._lane_of[lane.name]].running += 1

    def epoch_done(self, lane: LaneResult) -> None:
        """Take the figures of an epoch."""
        records = self._records.setdefault(lane.name, {})
        done = len(lane.records)
        self._share += max(0, done - records.get(lane.repeat, 0)) / (lane.epochs * self._trainings[lane.name])
        records[lane.repeat] = max(done, records.get(lane.repeat, 0))
        if self.by in lane.figures:
            self.lanes[self._lane_of[lane.name]].figures[lane.name] = lane.final(self.by)

    def ends(self, lane: LaneResult) -> None:
        """Count a trial that ended; one that was interrupted did not."""
        own = self.lanes[self._lane_of[lane.name]]
        self.begins(lane)
        if lane.status == "interrupted":
            own.running -= 1
            return
        dropped = lane.stopped.endswith(DROPPED)
        own.running, own.ended = own.running - 1, own.ended + 1
        own.dropped += dropped
        own.lost += lane.status in ("diverged", "failed")
        done = sum(self._records[lane.name].values())
        self._share += 1 - done / (lane.epochs * self._trainings[lane.name])
        own.figures.pop(lane.name, None)
        if lane.status == "done" and not dropped and self.by in lane.figures:
            own.figures[lane.name] = lane.final(self.by)


def trials_table(trials: Trials, console: Console) -> Table:
    """The table of a search: a row for each lane."""
    lanes = trials.lanes.values()
    columns = [
        Column("lane", [each.lane for each in lanes], 0),
        Column("done", [f"{each.ended}/{each.count}" for each in lanes], 0, right=True),
        Column("training", [str(each.running or "–") for each in lanes], 2, right=True),
        Column("stopped early", [str(each.dropped or "") for each in lanes], 4, right=True),
        Column("diverged", [str(each.lost or "") for each in lanes], 3, right=True),
        Column(f"best current {trials.by.replace('_', ' ')}", [each.best or "–" for each in lanes], 1, right=True),
    ]
    return table(columns, console.width)
