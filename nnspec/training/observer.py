"""Observers follow the progress of a run: the runner calls them, and a view implements them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from nnspec.compiler.proofs import Compiled
from nnspec.engine._numpy import np
from nnspec.results.data_use import DataUse
from nnspec.results.lane import LaneResult

__all__ = ["Observer", "Silent"]


class Observer(Protocol):
    """Called at each stage of a run, in this order."""

    def run_begins(self, compiled: Compiled) -> None:
        """A run begins. The search of a spec with `tune` is a run of its trials, and its race another one."""

    def fetching(self, name: str, done: int, total: int | None) -> None:
        """`done` of `total` bytes of a file were downloaded."""

    def data_ready(self, data: Sequence[DataUse]) -> None:
        """The data was loaded: `data` says which it is, and whether it replaces other data."""

    def proving(self, lane: str) -> None:
        """The gradient check of a lane's network starts."""

    def compiling(self, kernels: int) -> None:
        """Training waits for `kernels` kernels to be compiled."""

    def lane_begins(self, lane: LaneResult) -> None:
        """The training of a lane, or of one of its repeats, starts."""

    def epoch_done(self, lane: LaneResult) -> bool | None:
        """The figures of an epoch were added to the lane, or to one of its repeats. True stops its training, if that
        runs in this process."""

    def lane_ends(self, lane: LaneResult) -> None:
        """A lane is done, has diverged or was interrupted; called once, after all of its repeats."""


class Silent:
    """Ignores all calls."""

    def run_begins(self, compiled: Compiled) -> None:
        """Ignore the call."""

    def fetching(self, name: str, done: int, total: int | None) -> None:
        """Ignore the call."""

    def data_ready(self, data: Sequence[DataUse]) -> None:
        """Ignore the call."""

    def proving(self, lane: str) -> None:
        """Ignore the call."""

    def compiling(self, kernels: int) -> None:
        """Ignore the call."""

    def lane_begins(self, lane: LaneResult) -> None:
        """Ignore the call."""

    def epoch_done(self, lane: LaneResult) -> None:
        """Ignore the call."""

    def lane_ends(self, lane: LaneResult) -> None:
        """Ignore the call."""


class Calling:
    """Passes everything on to another observer, and calls a function after each epoch."""

    def __init__(self, observer: Observer, on_epoch: Callable[[str, int, Mapping[str, float]], bool | None]) -> None:
        self._observer, self._on_epoch, self.run_begins = observer, on_epoch, observer.run_begins
        self.fetching, self.data_ready, self.proving = observer.fetching, observer.data_ready, observer.proving
        self.compiling, self.lane_begins, self.lane_ends = observer.compiling, observer.lane_begins, observer.lane_ends

    def epoch_done(self, lane: LaneResult) -> bool:
        """Call the function. Training stops if it returns True.

        Raises TypeError if it returns anything but a bool or None.
        """
        stops = bool(self._observer.epoch_done(lane))
        asked = self._on_epoch(lane.name, len(lane.records), dict(lane.records[-1].figures))
        if asked is not None and not isinstance(asked, (bool, np.bool_)):
            raise TypeError(f"`on_epoch` must return True to stop the lane, or None, not {asked!r}")
        return stops or bool(asked)
