"""Groups of trainings side by side, each in a process of its own with one BLAS thread.

Processes, because threads share the interpreter: two of them were no faster than one (measured on two cores). They
are started anew (`spawn`), so nothing of the parent's state leaks into them, on any system. A worker is sent a group
and its data, trains as the parent would, and sends back what an observer is told and, at the end, the weights.
"""

from __future__ import annotations

import _thread
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from types import MappingProxyType, ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

from nnspec.data.source import Dataset
from nnspec.environment import cores, one_blas_thread
from nnspec.errors import NnspecError
from nnspec.executors.executor import NO_MEMORY, Group, Take, Work
from nnspec.executors.messages import RemoteLane, epochs_since, pack, place_of
from nnspec.interrupts import SIGNALS, CtrlC
from nnspec.results.lane import LaneResult
from nnspec.results.stored import lane_values
from nnspec.training.groups import Training, failed, train_together
from nnspec.training.observer import Observer, Silent

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

__all__ = ["Processes", "WorkerError", "needs_script", "usual_jobs"]

WORTH = 3.0
"""Seconds of training that make another process worth its while: one starts in half a second to one."""
PATIENCE = 10.0
"""Seconds that workers have to come to an end after Ctrl-C."""
ATTEMPTS = 3
"""How many processes may die before they are ready, with the same group, until its trainings have failed."""


@dataclass(frozen=True)
class _Job:
    """A group that is to be trained on its data."""

    group: Group
    dataset: Dataset
    deaths: int = 0
    """How many processes died with it before they were ready."""


class WorkerError(NnspecError):
    """A process that was to train lanes is gone before it began. The message says which lanes, and what to do."""


class _Lost(Exception):
    """A worker is gone, or has no memory left, amid a group. The message says how."""


def usual_jobs(everything: Sequence[Training]) -> int:
    """Return how many processes are worth their while: one for every few seconds of work, at most one a core."""
    return max(1, min(cores(), len(everything), int(math.fsum(each.layout.seconds for each in everything) / WORTH)))


# In the parent


class Processes:
    """Processes that train groups side by side."""

    remote = True

    def __init__(self, slots: int, *, script: bool = False) -> None:
        """`script` says whether the processes import the script that runs, because parts are defined in it."""
        self.slots, self._script = slots, script
        self._workers: list[_Worker] = []
        self._proved = False
        """Whether a process was ever ready: processes can be started here, and another one is worth starting."""

    def __enter__(self) -> Processes:
        self._hire(self.slots)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        with _unheard():  # a second Ctrl-C waits until all of them have ended
            for worker in self._workers:
                worker.connection.close()
            for worker in self._workers:
                worker.end()

    def train(self, work: Work, observer: Observer, take: Take) -> None:
        """Train groups on all workers at once; `take` is given the trainings of each as it ends.

        A process that dies while it trains leaves trainings that failed. One that dies before it is ready has trained
        nothing: its group is given to another process. In both cases another process takes its place. Ctrl-C, here or
        in what is called, ends the groups that train; what they had is taken too, and it is raised again. Raises
        WorkerError where every process dies before any was ready.
        """
        waiting = [_Job(*each) for each in reversed(work)]
        busy: dict[object, _Worker] = {}
        with CtrlC() as pressed:
            try:
                while waiting or busy:
                    pressed.check()
                    self._give(waiting, busy, observer)
                    for ready in wait([worker.connection for worker in busy.values()], 0.1) if busy else ():
                        worker = busy[ready]
                        try:
                            results = worker.hear()
                        except _Lost as lost:
                            results = self._lost(worker, lost, waiting)
                            del busy[ready]
                        else:
                            self._proved = True
                            if results is not None:
                                del busy[ready]
                        if results is not None:
                            take(results)
                pressed.check()
            except KeyboardInterrupt:
                self._stop(busy, take)
                raise

    def record(self) -> dict[str, Any]:
        """Return nothing: the options say it all."""
        return {}

    def _give(self, waiting: list[_Job], busy: dict[object, _Worker], observer: Observer) -> None:
        """Give what waits to workers that are free, and start others in the place of those that died."""
        if self._proved:
            self._hire(min(self.slots - len(self._workers), len(waiting) + len(busy) - len(self._workers)))
        for worker in [each for each in self._workers if each.connection not in busy][: len(waiting)]:
            job = waiting.pop()
            with suppress(OSError):  # it died; the end of its line says so, as for one that dies later
                worker.give(job, observer)
            busy[worker.connection] = worker

    def _lost(self, worker: _Worker, lost: _Lost, waiting: list[_Job]) -> list[LaneResult] | None:
        """Return the trainings of a worker that died; None where nothing was trained, and others will.

        Raises WorkerError.
        """
        self._workers.remove(worker)
        worker.end()
        if worker.ready:
            return worker.left(str(lost))
        if not self._proved and not self._workers:
            raise worker.gone()
        job = worker.job
        if job.deaths + 1 >= ATTEMPTS:
            how = str(lost).removeprefix("its process ")
            return worker.left(f"{ATTEMPTS} processes died before they could train it; the last one {how}")
        waiting.append(replace(job, deaths=job.deaths + 1))
        return None

    def _hire(self, count: int) -> None:
        """Start so many processes, or as many as the system allows. Raises WorkerError where it allows none."""
        try:
            with _unheard(), nullcontext() if self._script else _no_script():
                for _ in range(count):
                    self._workers.append(_Worker())
        except OSError as error:
            if not self._workers:
                raise WorkerError(f"cannot start a process: {error.strerror or error}; --jobs 1 needs none") from None

    def _stop(self, busy: dict[object, _Worker], take: Take) -> None:
        """Have the workers come to an end, and take what they had."""
        for worker in busy.values():
            worker.stop()
        end = time.monotonic() + PATIENCE
        while busy and time.monotonic() < end:
            for ready in wait([worker.connection for worker in busy.values()], 0.1):
                try:
                    results = busy[ready].hear()
                except _Lost as lost:
                    results = busy[ready].left(str(lost)) if busy[ready].ready else []
                if results is not None:
                    del busy[ready]
                    take(results)
        for worker in busy.values():
            if worker.ready:
                take(worker.left(f"its process did not stop within {PATIENCE:.0f} s"))


class _Worker:
    """One process, as its parent sees it."""

    job: _Job
    """What it was given last."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=_work, args=(theirs,), name="nnspec", daemon=True)
        self._process.start()
        theirs.close()
        self._group: Group = ()
        self._lanes: dict[int, RemoteLane] = {}
        self._ended: dict[int, LaneResult] = {}
        self._observer: Observer = Silent()
        self._dataset: Dataset | None = None
        self.ready = False
        """Whether it has come so far that it trains."""

    def give(self, job: _Job, observer: Observer) -> None:
        """Send it a group to train; the data only where it has not got it yet. Raises OSError where it is dead."""
        self.job, self._group, self._observer, self._lanes, self._ended = job, job.group, observer, {}, {}
        self.connection.send((job.group, None if job.dataset is self._dataset else job.dataset))
        self._dataset = job.dataset

    def stop(self) -> None:
        """Have it stop training, as Ctrl-C would. Nobody is told of what it still says."""
        self._observer = Silent()
        with suppress(OSError):
            self.connection.send(None)

    def end(self) -> None:
        """End it."""
        self.connection.close()
        self._process.join(0.2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def hear(self) -> list[LaneResult] | None:
        """Take in one thing that it says; return the trainings when all of them have ended. Raises _Lost."""
        try:
            kind, place, said = self.connection.recv()
        except (EOFError, OSError) as error:
            raise _Lost(f"its process {self._end_in_words()}") from error
        self.ready = True
        if kind == "ready":
            return None
        if kind == "memory":
            raise _Lost(NO_MEMORY)
        if kind == "error":
            raise NnspecError(said)
        if kind == "fault":
            raise RuntimeError(f"a worker failed:\n{said}")
        if kind == "done":
            return [self._ended[place] for place in said]
        if kind == "begins":
            self._lanes[place] = RemoteLane(self._group[place], said)
            self._observer.lane_begins(self._lanes[place].lane)
        elif kind == "compiling":
            self._observer.compiling(said)
        elif kind == "epoch":
            self._lanes[place].add(said)
            self._observer.epoch_done(self._lanes[place].lane)
        else:
            self._ended[place] = self._lanes[place].end(said)
        return None

    def left(self, why: str) -> list[LaneResult]:
        """Return the trainings of its group: those that had ended, and the others as failed, with what is known."""
        return [self._ended.get(place) or self._failed(place, why) for place in range(len(self._group))]

    def _failed(self, place: int, why: str) -> LaneResult:
        lost = failed(self._group[place], why)
        return replace(lost, records=tuple(self._lanes[place].lane.records)) if place in self._lanes else lost

    def _end_in_words(self) -> str:
        self._process.join(1)
        code = self._process.exitcode
        return f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"

    def gone(self) -> WorkerError:
        """Return the error that says how it ended."""
        how = self._end_in_words()
        names = ", ".join(each.label for each in self._group)
        return WorkerError(
            f"the process that trained {names} {how}; with --jobs 1 nothing is trained in a process of its own "
            '(a Python script with parts of its own asks for jobs below `if __name__ == "__main__":`)'
        )


def needs_script(everything: Sequence[Training]) -> bool:
    """Whether trainings have parts that are defined in the script that runs: another process must import it."""
    return b"__main__" in bytes(ForkingPickler.dumps(everything))


@contextmanager
def _no_script() -> Iterator[None]:
    """Within, processes are started that do not import the script that runs. So it needs no guard against being run
    again in each of them."""
    script, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


@contextmanager
def _unheard() -> Iterator[None]:
    """Within, processes are started that signals do not reach: the parent tells them when to stop.

    Blocked signals stay blocked in a process that is started, and reach this one afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        resource_tracker.ensure_running()  # which unblocks signals when it starts
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _proxy(values: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(values)


# Programs hold read-only mappings, which Python does not send by itself.
ForkingPickler.register(MappingProxyType, lambda mapping: (_proxy, (dict(mapping),)))


# In the worker


def _work(connection: Connection) -> None:
    """Train the groups that arrive, until the parent is gone. Only the parent interrupts, through the inbox."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    dataset: Dataset | None = None
    with one_blas_thread():
        inbox = _Inbox(connection)  # with NumPy loaded: two threads at once may not be the first to need it
        inbox.send("ready", 0, None)
        while True:
            group, sent = inbox.next()
            dataset = sent or dataset
            assert dataset is not None, "data is sent with the first group"
            try:
                lanes = inbox.guarded(lambda: train_together(group, dataset, _Speaker(inbox, group)))  # noqa: B023
                for lane in lanes:
                    inbox.send("ends", place_of(group, lane), pack(lane))
                inbox.send("done", 0, [place_of(group, lane) for lane in lanes])
            except MemoryError:
                inbox.send("memory", 0, None)
            except NnspecError as error:
                inbox.send("error", 0, str(error))
            except Exception:  # noqa: BLE001  (the parent raises it again)
                inbox.send("fault", 0, traceback.format_exc())


class _Speaker(Silent):
    """Tells the parent what an observer is told."""

    def __init__(self, inbox: _Inbox, group: Group) -> None:
        self._inbox, self._group = inbox, group

    def lane_begins(self, lane: LaneResult) -> None:
        """Send what is known of it."""
        self._inbox.send("begins", place_of(self._group, lane), lane_values(lane))

    def compiling(self, kernels: int) -> None:
        """Send how many."""
        self._inbox.send("compiling", 0, kernels)

    def epoch_done(self, lane: LaneResult) -> None:
        """Send the epoch alone."""
        self._inbox.send("epoch", place_of(self._group, lane), epochs_since(lane, len(lane.records) - 1))


class _Inbox:
    """The worker's end of the line: a thread listens, so that a word to stop reaches training that is under way."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._training = False
        self._stopped = False
        self._groups: SimpleQueue[tuple[Group, Dataset | None]] = SimpleQueue()
        signal.signal(signal.SIGTERM, self._heard_from_parent)
        threading.Thread(target=self._listen, daemon=True).start()

    def next(self) -> tuple[Group, Dataset | None]:
        """Wait for a group."""
        return self._groups.get()

    def guarded(self, train: Callable[[], list[LaneResult]]) -> list[LaneResult]:
        """Train so that a word to stop comes as KeyboardInterrupt."""
        lanes: list[LaneResult] = []
        try:
            with self._lock:
                if self._stopped:  # the word came before the group was taken up
                    return []
                self._training = True
            lanes = train()
            with self._lock:
                self._training = False
        except KeyboardInterrupt:  # outside of all trainings, which see to their own
            self._training = False
        return lanes

    def _heard_from_parent(self, *_: object) -> None:
        """Interrupt training where the parent said so; the signal itself, from outside, does nothing."""
        if self._stopped and self._training:
            raise KeyboardInterrupt

    def send(self, kind: str, place: int, said: object) -> None:
        """Say one thing, all of it: no word to stop comes in between. Ends the process where the parent is gone."""
        with self._lock:
            try:
                self._connection.send((kind, place, said))
            except OSError:  # at any time, also at the start: a parent that is done does not wait for it
                os._exit(1)

    def _listen(self) -> None:
        while True:
            try:
                heard = self._connection.recv()
            except (EOFError, OSError):
                os._exit(1)  # the parent is gone
            except BaseException:  # noqa: BLE001  (the parent raises it again)
                self.send("fault", 0, traceback.format_exc())
                os._exit(1)
            if heard is not None:
                self._groups.put(heard)
                continue
            with self._lock:
                self._stopped = True
                if self._training:
                    _thread.interrupt_main(signal.SIGTERM)
