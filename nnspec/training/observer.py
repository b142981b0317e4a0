"""Observers follow the progress of a run: the runner calls them, and a view implements them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nnspec.results.data_use import DataUse
from nnspec.results.lane import LaneResult

__all__ = ["Observer", "Silent"]


class Observer(Protocol):
    """Called at each stage of a run, in this order."""

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

    def epoch_done(self, lane: LaneResult) -> None:
        """The figures of an epoch were added to the lane, or to one of its repeats."""

    def lane_ends(self, lane: LaneResult) -> None:
        """A lane is done, has diverged or was interrupted; called once, after all of its repeats."""


class Silent:
    """Ignores all calls."""

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
