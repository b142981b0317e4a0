"""When plans change from NumPy calls to compiled steps, and the loop that they have then."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from nnspec.compiler.replay import Epoch, Replay, move_kernels, unmoved
from nnspec.engine._numpy import np
from nnspec.native.builder import the_builder
from nnspec.native.library import available, missing

if TYPE_CHECKING:
    from nnspec.compiler.loop import Loop
    from nnspec.compiler.plan import Plan

__all__ = ["CompiledLoop", "Switch"]

Kept = TypeVar("Kept")


class CompiledLoop:
    """The loop of a plan whose epochs are replayed, each in another thread. It is asked as any loop is (`loop.py`)."""

    observer = None

    def __init__(self, loop: Loop, replay: Replay, epoch: int) -> None:
        self._loop, self._replay, self._since = loop, replay, epoch
        self._job: Future[Epoch] | None = None
        self._done: Epoch | None = None
        self._busy, self._halts = threading.Lock(), 0

    @property
    def compiled(self) -> dict[str, Any]:
        """Since which epoch, from 1 on, it is replayed, and what stays a Python call, and why."""
        return {"since": self._since + 1, "python": self._replay.gaps}

    def ahead(self, epoch: int) -> None:
        """Begin an epoch in another thread."""
        if self._job is None:
            self._job = _threads().submit(self._epoch, epoch, self._halts)

    def _epoch(self, epoch: int, halts: int) -> Epoch:
        """Train an epoch, unless `halt` was called since it was asked for."""
        with self._busy:
            if halts != self._halts:
                raise CancelledError
            return self._replay.run(epoch)

    def halt(self) -> None:
        """End what the other thread is at, amid an epoch, and wait for it. What it was asked to do before and has not
        begun is not done: Ctrl-C may have come before the job was known here."""
        self._job, self._halts = None, self._halts + 1
        self._replay.halt()
        with self._busy:
            self._replay.clear()

    def begin(self, epoch: int) -> None:
        """Train an epoch, and measure what is measured after it."""
        self._done = None
        self.ahead(epoch)
        self._done = ensured(self._job).result()
        self._job = None

    def train(self, number: int, lane: int) -> tuple[float, float, float]:
        """Return the loss of a batch of this epoch, its weight, and its share of the seconds."""
        done = ensured(self._done)
        return done.losses[number], done.weights[number], done.seconds / len(done.losses)

    def figures(self, plan: Plan) -> tuple[float, ...]:
        """Return the metrics over the batches of this epoch."""
        return ensured(self._done).figures

    def measured(self, samples: str, lane: int) -> tuple[float, tuple[float, ...]]:
        """Return mean loss and each metric over the samples held out (`validation`) or those of the `test`."""
        return ensured(self._done).measured[samples]

    def alone(self, plan: Plan) -> Loop:
        """Return a loop that makes NumPy calls."""
        return self._loop

    def dissolve(self) -> None:
        """Nobody shares this loop."""

    def settle(self, leaving: Sequence[Plan]) -> None:
        """Nobody shares this loop."""

    def let_go(self, plan: Plan) -> None:
        """Call nothing of this plan any more."""
        self.halt()
        self._loop.let_go(plan)


class Switch:
    """Has plans that train side by side replayed, as soon as that can be had.

    With `always` their kernels are made at once, and else meanwhile, in a process of its own (`auto`), where the
    `seconds` that training is thought to take are worth it. `never` leaves all as it is.
    """

    def __init__(self, plans: Sequence[Plan], how: str, seconds: float) -> None:
        self._how, self._worth = how, how == "always" or seconds > WORTH
        self._waiting: dict[Plan, Replay | None] = dict.fromkeys(plans) if how != "never" and available() else {}

    def __call__(self, going: Sequence[Plan]) -> None:
        """Between two turns: replay those plans that can be, and begin their next epochs."""
        waiting = [plan for plan in going if plan in self._waiting]
        if waiting and self._ready({name for plan in waiting for name in likely_kernels(plan)}):
            for plan in waiting:
                self._try(plan)
        for plan in going:
            plan.loop.ahead(plan.next_epoch)

    def _ready(self, names: set[str]) -> bool:
        if not self._worth:
            return not missing(names)
        return the_builder().ready(names, wait=self._how == "always")

    def _try(self, plan: Plan) -> None:
        replay = self._waiting[plan]
        if replay is None:
            plan.loop.dissolve()
            replay = self._waiting[plan] = Replay(plan.loop.alone(plan))
        if not self._ready(replay.kernels):
            return
        del self._waiting[plan]
        replay.link()
        wrong = replay.check()
        if wrong:
            raise RuntimeError(f"compiled steps do not give the bits of NumPy's: {wrong}")
        plan.loop = CompiledLoop(plan.loop.alone(plan), replay, plan.next_epoch)


WORTH = 3.0
"""Seconds of training that make it worth while to compile meanwhile."""


def likely_kernels(plan: Plan) -> Iterator[str]:
    """Name kernels that a plan is likely to need, as can be said without recording it: where these are there, the
    others mostly are."""
    kind = f"f{np.dtype(plan.layout.dtype).itemsize}"
    yield from ("run", "batches", "loop", f"copy.{kind}.{kind}")
    yield from () if plan.dataset.train.x.dtype == plan.layout.dtype else (f"gather.{kind}", "take")
    yield from () if plan.experiment.classes is None else (f"argmax.{kind}", f"put.{kind}", "count")
    yield from () if unmoved(plan) else move_kernels(plan)


@cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads that replay: as many as this process may use processors."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ThreadPoolExecutor(cores, "nnspec")


def ensured(value: Kept | None) -> Kept:
    """Return what an epoch left. Raises RuntimeError where none was begun."""
    if value is None:
        raise RuntimeError("no epoch was begun")
    return value
