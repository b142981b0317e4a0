"""Training in this process: one group after another, or trainings in threads."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from nnspec.compiler.stacking import widest
from nnspec.compiler.switch import Recorded
from nnspec.data.source import Dataset
from nnspec.environment import cores
from nnspec.executors.executor import NO_MEMORY, Group, Take, Work
from nnspec.training.groups import Training, Turns, failed
from nnspec.training.observer import Observer

__all__ = ["InProcess"]

READY = 3
"""Trainings per core that are set up, so that no core waits for Python's work on one of them."""


@dataclass(frozen=True)
class InProcess:
    """Trains groups in this process, one after another.

    With `threads`, trainings that replay compiled steps do so in parallel threads. They are then set up one by one, as
    soon as there is room, and no longer in groups: no thread waits for another.
    """

    threads: bool = False
    """Whether trainings take turns in threads, one per core. With NumPy calls, threads are no faster."""
    remote = False
    slots = 1

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Do nothing."""

    def train(self, work: Work, observer: Observer, take: Take) -> None:
        """Train groups; see `Executor`."""
        groups = _Groups(work, observer, take, self.threads)
        try:
            while groups.begin():
                groups.turn()
        except KeyboardInterrupt:
            groups.interrupt()
            raise
        finally:
            groups.halt()

    def record(self) -> dict[str, Any]:
        """Return {}: the options describe it completely."""
        return {}


class _Groups:
    """The groups that wait, and those that train."""

    def __init__(self, work: Work, observer: Observer, take: Take, threads: bool) -> None:
        self._waiting = [*reversed(work)]
        self._going: dict[Turns, tuple[Group, Dataset]] = {}
        self._observer, self._take = observer, take
        self._threads = self._joining = threads
        self._divided = False
        """Whether trainings of the next group have begun by themselves."""
        self._seconds = math.fsum(each.layout.seconds for group, _ in work for each in group)
        self._recorded: Recorded = {}
        self._left = Counter(each.kin for group, _ in work for each in group)
        """The number of trainings of each kin that have not ended."""

    def begin(self) -> bool:
        """Begin as many trainings as there is room for; return whether any is in progress.

        Trainings join others one at a time, so that they are not all set up, and do not all end, at once.
        """
        if self._waiting and self._going and self._joining:
            if all(turns.replayed for turns in self._going):
                if self._room(self._waiting[-1][0][0]):
                    self._begin(joins=True)
            elif self._divided:  # compiled steps are not available after all
                self._begin()
        while self._waiting and not self._going:
            self._begin()
        return bool(self._going)

    def _begin(self, *, joins: bool = False) -> None:
        """Begin the next group, or only its first training if that joins others, or if the others are to join it."""
        group, dataset = self._waiting.pop()
        first = joins or (self._joining and not self._divided and len(group) > 1)
        try:
            turns = self._turns(group[:1] if first else group, dataset)
            if first and not joins and not turns.compiles:
                first, turns = False, self._turns(group, dataset)
        except MemoryError:
            self._out_of_memory(group, dataset)
            return
        rest = group[1:] if first else ()
        if rest:
            self._waiting.append((rest, dataset))
        self._divided = bool(rest)
        self._going[turns] = group[:1] if first else group, dataset

    def _turns(self, group: Group, dataset: Dataset) -> Turns:
        return Turns(group, dataset, self._observer, self._recorded, self._seconds)

    def _room(self, training: Training) -> bool:
        """Whether there is room for a training that will replay compiled steps as soon as it has begun."""
        going = sum(turns.going for turns in self._going)
        if going >= max(cores(), min(READY * cores(), widest(training.layout))):
            return False
        if training.kin is None:
            return going < cores()
        return any(training.kin == key[0] for key in self._recorded)

    def turn(self) -> None:
        """Train a record of every training."""
        for turns, (group, dataset) in [*self._going.items()]:
            try:
                turns.take()
            except MemoryError:
                del self._going[turns]
                self._out_of_memory(group, dataset)
                continue
            if turns.going:
                continue
            del self._going[turns]
            self._forget(group)
            results = turns.results
            self._take(results)
            if len(results) < len(group) or any(one.status == "interrupted" for one in results):
                raise KeyboardInterrupt

    def _forget(self, group: Group) -> None:
        """Drop what was recorded for trainings of which this group was the last: it has the memory of a whole plan."""
        self._left.subtract(each.kin for each in group)
        for key in [key for key in self._recorded if not self._left[key[0]]]:
            del self._recorded[key]

    def _out_of_memory(self, group: Group, dataset: Dataset) -> None:
        """Train a group again, each by itself, once the others have ended: there may be enough memory for one."""
        if self._threads and (self._going or len(group) > 1):
            self._joining = False
            self._waiting += [((each,), dataset) for each in reversed(group)]
        else:
            self._take([failed(each, NO_MEMORY) for each in group])

    def interrupt(self) -> None:
        """Interrupt all that are being trained."""
        for turns in self._going:
            turns.interrupt()
        self._take([one for turns in self._going for one in turns.results])

    def halt(self) -> None:
        """Stop all threads."""
        for turns in self._going:
            turns.halt()
