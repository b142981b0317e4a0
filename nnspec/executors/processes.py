"""Groups of trainings in parallel, each in its own process with one BLAS thread.

Threads share the interpreter, so two of them were no faster than one (measured on two cores). Processes are spawned, so
that no state of the parent leaks into them, on any system. A worker receives a group and its data, trains as the parent
would, and sends back the calls of an observer and, at the end, the weights.
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
"""Seconds of training for which another process pays off: starting one takes half a second to a second."""
PATIENCE = 10.0
"""Seconds that workers have to stop after Ctrl-C."""
ATTEMPTS = 3
"""Number of processes that may die before they are ready, with the same group, until its trainings have failed."""


@dataclass(frozen=True)
class _Job:
    """A group waiting to be trained, with its data."""

    group: Group
    dataset: Dataset
    deaths: int = 0
    """Number of processes that died with it before they were ready."""


class WorkerError(NnspecError):
    """A process that died before it started to train. The message says which lanes it had, and what to do."""


class _Lost(Exception):
    """A worker died or ran out of memory while it had a group. The message says how."""


def usual_jobs(everything: Sequence[Training]) -> int:
    """Return the number of processes that pay off: one per `WORTH` seconds of work, at most one per core."""
    return max(1, min(cores(), len(everything), int(math.fsum(each.layout.seconds for each in everything) / WORTH)))


# In the parent


class Processes:
    """Processes that train groups in parallel."""

    remote = True

    def __init__(self, slots: int, *, script: bool = False) -> None:
        """`script` says whether the processes import the running script, because it defines parts.

        Raises WorkerError if they cannot.
        """
        if script and not _importable_script():
            raise WorkerError(
                "parts that are defined in a notebook or an interactive session exist in this process only: put them "
                "into a module and import it, or train with jobs=1"
            )
        self.slots, self._script = slots, script
        self._workers: list[_Worker] = []
        self._proved = False
        """Whether a process was ever ready: if so, processes can be started here, and dead ones are replaced."""

    def __enter__(self) -> Processes:
        self._hire(self.slots)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        with _unheard():  # a second Ctrl-C has no effect until all of them have ended
            for worker in self._workers:
                worker.connection.close()
            for worker in self._workers:
                worker.end()

    def train(self, work: Work, observer: Observer, take: Take) -> None:
        """Train groups on all workers; see `Executor`.

        If a process dies during training, its trainings have failed. If it dies before it is ready, its group is given
        to another process. In both cases the process is replaced. Raises WorkerError if every process dies before any
        was ready.
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
        """Return {}: the options describe it completely."""
        return {}

    def _give(self, waiting: list[_Job], busy: dict[object, _Worker], observer: Observer) -> None:
        """Give waiting groups to idle workers, and replace workers that died."""
        if self._proved:
            self._hire(min(self.slots - len(self._workers), len(waiting) + len(busy) - len(self._workers)))
        for worker in [each for each in self._workers if each.connection not in busy][: len(waiting)]:
            job = waiting.pop()
            with suppress(OSError):  # it died; its closed connection shows that, as for one that dies later
                worker.give(job, observer)
            busy[worker.connection] = worker

    def _lost(self, worker: _Worker, lost: _Lost, waiting: list[_Job]) -> list[LaneResult] | None:
        """Return the trainings of a worker that died, or None if it trained nothing and another worker will.

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
        """Start `count` processes, or as many as the system allows. Raises WorkerError if it allows none."""
        try:
            with _unheard(), nullcontext() if self._script else _no_script():
                for _ in range(count):
                    self._workers.append(_Worker())
        except OSError as error:
            if not self._workers:
                raise WorkerError(f"cannot start a process: {error.strerror or error}; --jobs 1 needs none") from None

    def _stop(self, busy: dict[object, _Worker], take: Take) -> None:
        """Stop the workers, and take their partial results."""
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
    """The parent's end of one process."""

    job: _Job
    """The last group that it was given."""

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
        """Whether it is ready to train."""

    def give(self, job: _Job, observer: Observer) -> None:
        """Send it a group to train, and the data unless it has that already. Raises OSError if it is dead."""
        self.job, self._group, self._observer, self._lanes, self._ended = job, job.group, observer, {}, {}
        self.connection.send((job.group, None if job.dataset is self._dataset else job.dataset))
        self._dataset = job.dataset

    def stop(self) -> None:
        """Tell it to stop training, as Ctrl-C would, and no longer pass its messages to the observer."""
        self._observer = Silent()
        with suppress(OSError):
            self.connection.send(None)

    def end(self) -> None:
        """End the process."""
        self.connection.close()
        self._process.join(0.2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def hear(self) -> list[LaneResult] | None:
        """Receive one message; return the trainings once all of them have ended. Raises _Lost."""
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
        """Return the trainings of its group: those that ended, the others as failed with their epochs so far."""
        return [self._ended.get(place) or self._failed(place, why) for place in range(len(self._group))]

    def _failed(self, place: int, why: str) -> LaneResult:
        lost = failed(self._group[place], why)
        return replace(lost, records=tuple(self._lanes[place].lane.records)) if place in self._lanes else lost

    def _end_in_words(self) -> str:
        self._process.join(1)
        code = self._process.exitcode
        return f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"

    def gone(self) -> WorkerError:
        """Return an error that says how it ended."""
        how = self._end_in_words()
        names = ", ".join(each.label for each in self._group)
        return WorkerError(
            f"the process that trained {names} {how}; --jobs 1 trains without other processes "
            '(in a Python script that defines parts, call `nnspec.run` below `if __name__ == "__main__":`)'
        )


def needs_script(everything: Sequence[Training]) -> bool:
    """Return whether trainings have parts defined in the running script, so that other processes must import it."""
    return b"__main__" in bytes(ForkingPickler.dumps(everything))


def _importable_script() -> bool:
    """Return whether another process can import the running script: it is a file, or a module run with `-m`."""
    script = sys.modules["__main__"]
    path = getattr(script, "__file__", None)
    return getattr(script, "__spec__", None) is not None or (path is not None and os.path.isfile(path))


@contextmanager
def _no_script() -> Iterator[None]:
    """Start processes that do not import the running script, so that it needs no `if __name__ == "__main__"` guard."""
    script, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


@contextmanager
def _unheard() -> Iterator[None]:
    """Start processes that signals do not reach: the parent tells them when to stop.

    Blocked signals stay blocked in started processes, and reach this one afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        resource_tracker.ensure_running()  # it unblocks signals when it starts
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _proxy(values: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(values)


# Programs have read-only mappings, which Python cannot pickle.
ForkingPickler.register(MappingProxyType, lambda mapping: (_proxy, (dict(mapping),)))


# In the worker


def _work(connection: Connection) -> None:
    """Train the groups that arrive, until the parent ends. Only the parent can interrupt this, through the inbox."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    dataset: Dataset | None = None
    with one_blas_thread():
        inbox = _Inbox(connection)  # after NumPy is loaded, since two threads must not import it at once
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
    """Passes the calls of an observer to the parent."""

    def __init__(self, inbox: _Inbox, group: Group) -> None:
        self._inbox, self._group = inbox, group

    def lane_begins(self, lane: LaneResult) -> None:
        """Send its values."""
        self._inbox.send("begins", place_of(self._group, lane), lane_values(lane))

    def compiling(self, kernels: int) -> None:
        """Send the number of kernels."""
        self._inbox.send("compiling", 0, kernels)

    def epoch_done(self, lane: LaneResult) -> None:
        """Send the last epoch."""
        self._inbox.send("epoch", place_of(self._group, lane), epochs_since(lane, len(lane.records) - 1))


class _Inbox:
    """The worker's end of the connection. A thread listens, so that a request to stop can interrupt training."""

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
        """Train; a request to stop raises KeyboardInterrupt in it."""
        lanes: list[LaneResult] = []
        try:
            with self._lock:
                if self._stopped:  # the request came before the group was started
                    return []
                self._training = True
            lanes = train()
            with self._lock:
                self._training = False
        except KeyboardInterrupt:  # outside of trainings, which handle it themselves
            self._training = False
        return lanes

    def _heard_from_parent(self, *_: object) -> None:
        """Interrupt training if the parent requested it; the same signal from outside has no effect."""
        if self._stopped and self._training:
            raise KeyboardInterrupt

    def send(self, kind: str, place: int, said: object) -> None:
        """Send one message without being interrupted. Ends the process if the parent has ended."""
        with self._lock:
            try:
                self._connection.send((kind, place, said))
            except OSError:  # at any time, even at the start: a parent that is done does not wait for it
                os._exit(1)

    def _listen(self) -> None:
        while True:
            try:
                heard = self._connection.recv()
            except (EOFError, OSError):
                os._exit(1)  # the parent has ended
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
