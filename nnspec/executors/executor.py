"""The protocol of executors, which run groups of trainings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, TypeAlias

from nnspec.data.source import Dataset
from nnspec.results.lane import LaneResult
from nnspec.training.groups import Training
from nnspec.training.observer import Observer

__all__ = ["NO_MEMORY", "Executor", "Group", "Take", "Work"]

NO_MEMORY = "not enough memory; `nnspec show SPEC` shows how much is needed"

Group: TypeAlias = tuple[Training, ...]
"""Trainings that share a training loop."""
Work: TypeAlias = Sequence[tuple[Group, Dataset]]
"""Groups with their data."""
Take: TypeAlias = Callable[[list[LaneResult]], None]


class Executor(Protocol):
    """Trains groups. It is a context manager: leaving it stops everything that it has started.

    All executors give the same results, to the last bit. `tests/test_executors.py` tests each of them against this
    description.
    """

    remote: bool
    """Whether groups train outside this process, which can do other work meanwhile."""

    @property
    def slots(self) -> int:
        """Number of groups that train at the same time."""

    def __enter__(self) -> Executor:
        """Start processes or connections."""

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Stop them."""

    def train(self, work: Work, observer: Observer, take: Take) -> None:
        """Train groups. `take` is called once per group, with its results, when the group ends; the observer is called
        at the start of each training and after each of its epochs, in order.

        A training that cannot be finished, because memory ran out or its process died, becomes a failed lane; the
        others continue. KeyboardInterrupt, from a signal, the observer or `take`, ends all groups; `take` is then
        called with their partial results, and the exception is raised again.
        """

    def record(self) -> dict[str, Any]:
        """Return what to store about it in the summary of the run, in addition to `jobs`."""
