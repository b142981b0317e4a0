"""What an executor is: where groups of trainings run, and what a run may expect of it."""

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
"""Trainings that share a loop."""
Work: TypeAlias = Sequence[tuple[Group, Dataset]]
"""Groups, and the data of each."""
Take: TypeAlias = Callable[[list[LaneResult]], None]


class Executor(Protocol):
    """Trains groups. A context: leaving it ends whatever it has started.

    Every executor gives the same lanes, to the last bit. `tests/test_executors.py` holds all of them to what is said
    here.
    """

    remote: bool
    """Whether groups train outside of this process, which can do something else meanwhile."""

    @property
    def slots(self) -> int:
        """How many groups train at the same time."""

    def __enter__(self) -> Executor:
        """Start what is needed."""

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """End all of it."""

    def train(self, work: Work, observer: Observer, take: Take) -> None:
        """Train groups. `take` is given the trainings of each group once, when the group ends; the observer is told of
        the beginning of each training, and of its epochs in order.

        A training that cannot be finished, for want of memory or because its process died, is a lane that has failed,
        and does not keep the others from being trained. KeyboardInterrupt, from a signal, the observer or `take`, ends
        the groups that train: what they had is taken too, and it is raised again.
        """

    def record(self) -> dict[str, Any]:
        """Return what the summary of the run says of it, beside `jobs`."""
