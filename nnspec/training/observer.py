"""Who is told how a run goes. The runner speaks; a view listens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nnspec.results.data_use import DataUse
from nnspec.results.lane import LaneResult

__all__ = ["Observer", "Silent"]


class Observer(Protocol):
    """Told of each stage of a run, in this order."""

    def fetching(self, name: str, done: int, total: int | None) -> None:
        """Bytes of a file that arrive from the network."""

    def data_ready(self, data: Sequence[DataUse]) -> None:
        """The data is there: what it is, and whether it stands in for something else."""

    def proving(self, lane: str) -> None:
        """The gradient check of a lane's network begins."""

    def compiling(self, kernels: int) -> None:
        """So many kernels are compiled, and training waits for them."""

    def lane_begins(self, lane: LaneResult) -> None:
        """A lane begins to train, or one of its repeats does."""

    def epoch_done(self, lane: LaneResult) -> None:
        """An epoch's figures were added to the history of the lane, or of its repeat, that began last."""

    def lane_ends(self, lane: LaneResult) -> None:
        """A lane is done, has diverged, or was interrupted; told once, of all repeats together."""


class Silent:
    """Listens and says nothing."""

    def fetching(self, name: str, done: int, total: int | None) -> None:
        """Say nothing."""

    def data_ready(self, data: Sequence[DataUse]) -> None:
        """Say nothing."""

    def proving(self, lane: str) -> None:
        """Say nothing."""

    def compiling(self, kernels: int) -> None:
        """Say nothing."""

    def lane_begins(self, lane: LaneResult) -> None:
        """Say nothing."""

    def epoch_done(self, lane: LaneResult) -> None:
        """Say nothing."""

    def lane_ends(self, lane: LaneResult) -> None:
        """Say nothing."""
