"""Training in this process: one group after another, or trainings without a stack in threads."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any

from nnspec.compiler.switch import Recorded
from nnspec.data.source import Dataset
from nnspec.environment import cores
from nnspec.executors.executor import NO_MEMORY, Group, Take, Work
from nnspec.training.groups import failed, train_together
from nnspec.training.observer import Observer

__all__ = ["InProcess"]


@dataclass(frozen=True)
class InProcess:
    """Trains groups in this process, one after another."""

    threads: bool = False
    """Whether trainings without a stack take turns, one per core. Each gets a thread once its steps are compiled; with
    NumPy calls, threads are no faster."""
    remote = False
    slots = 1

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Do nothing."""

    def train(self, work: Work, observer: Observer, take: Take) -> None:
        """Train groups; see `Executor`."""
        waiting = [*reversed(_joined(work) if self.threads else work)]
        recorded: Recorded = {}
        while waiting:
            group, dataset = waiting.pop()
            try:
                results = train_together(group, dataset, observer, recorded)
            except MemoryError:
                if self.threads and len(group) > 1:  # there may be enough memory for one at a time
                    waiting += [((each,), dataset) for each in reversed(group)]
                    continue
                results = [failed(each, NO_MEMORY) for each in group]
            take(results)
            if len(results) < len(group) or any(one.status == "interrupted" for one in results):
                raise KeyboardInterrupt

    def record(self) -> dict[str, Any]:
        """Return {}: the options describe it completely."""
        return {}


def _joined(work: Work) -> list[tuple[Group, Dataset]]:
    """Join consecutive groups of one training with the same data, up to the number of cores."""
    found: list[tuple[Group, Dataset]] = []
    joining = False
    for group, dataset in work:
        if joining and len(group) == 1 and len(found[-1][0]) < cores() and found[-1][1] is dataset:
            found[-1] = ((*found[-1][0], *group), dataset)
        else:
            found.append((group, dataset))
            joining = len(group) == 1
    return found
