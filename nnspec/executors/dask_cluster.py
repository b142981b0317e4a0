"""Training on a Dask cluster: groups run on its workers instead of in processes of this machine.

A task is a group that trains together, as in `processes.py`. Each worker is asked for its environment when it joins; a
worker without nnspec, or with another version, is not used. A task is sent to one idle worker, so it is known which
worker trains what; if that worker dies, another one starts the task again. Large data is a task too, which workers
copy from each other. Progress arrives as events, and the trained lanes as the result of the task. The client, which has
the run on its disk, writes a checkpoint when a training ends.
A cluster is trusted: anyone who can reach the scheduler can run arbitrary code, and results are unpickled here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, TypeAlias

from nnspec._version import __version__
from nnspec.data.source import Dataset
from nnspec.environment import differences, environment, one_blas_thread
from nnspec.errors import NnspecError
from nnspec.executors.executor import Group, Take, Work
from nnspec.executors.messages import PackedLane, RemoteLane, epochs_since, pack, place_of
from nnspec.results.lane import LaneResult
from nnspec.results.stored import lane_values
from nnspec.training.checkpoint import Checkpoint, HeldKeeper
from nnspec.training.groups import failed, train_together
from nnspec.training.observer import Observer, Silent

__all__ = ["ClusterError", "DaskCluster"]

SCHEME = "dask://"
WAIT = 60.0
"""Seconds to wait for the first worker of a cluster."""
KNOCK = 6.0
"""Seconds to wait for the first answer of a scheduler."""
ANSWER = 10.0
"""Seconds to wait for any later answer of a scheduler."""
SMALL = 16 * 1024**2
"""Size in bytes up to which data is sent with every task; Dask prefers the worker that holds shared data."""
CLOSING = 2.0
PATIENCE = 10.0
"""Seconds that workers have to stop after Ctrl-C."""
EVERY = 0.2
"""Minimum time between two events of a training, in seconds."""
LOOK = 1.0
"""Seconds between two queries for the workers of a cluster."""
ALONE = 20.0
"""Seconds that a run waits for a new worker after all have left."""
DEATHS = 3
"""Number of workers that may die with a task until its trainings have failed."""

Client: TypeAlias = Any
Future: TypeAlias = Any
"""Types of Dask, which is imported where it is used."""


class ClusterError(NnspecError):
    """A cluster that cannot be used or reached. The message says why and what to do."""


@dataclass(frozen=True)
class _Ended:
    """The result of one training, as a worker sends it."""

    lane: PackedLane
    checkpoint: Checkpoint | None


@dataclass(eq=False)
class _Task:
    group: Group
    dataset: Dataset
    lanes: dict[int, RemoteLane] = field(default_factory=dict)
    worker: str = ""
    """The worker that trains it."""
    deaths: int = 0
    """Number of workers that died with it."""


class DaskCluster:
    """Trains groups on the workers of a Dask scheduler. Leaving the context disconnects from it."""

    remote = True

    def __init__(self, address: str) -> None:
        """`address` is `dask://HOST:PORT`. Raises ClusterError for anything else."""
        host, _, port = address.removeprefix(SCHEME).rpartition(":")
        if not address.startswith(SCHEME) or not host or not port.isdigit():
            raise ClusterError(f"--cluster must be dask://HOST:PORT, such as dask://10.0.0.5:8786, not {address}")
        self._address, self._scheduler = address, f"tcp://{host}:{port}"
        self._environments: dict[str, dict[str, Any]] = {}
        """The environment of each usable worker, including those that have left."""
        self._unusable: dict[str, str] = {}
        """Why each of the other workers cannot be used."""
        self._threads: dict[str, int] = {}
        """The number of threads of each worker that is present."""
        self._asked: set[str] = set()
        self._answers: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._looked = -math.inf
        self._trained: dict[str, str] = {}
        self._client: Client | None = None

    def __enter__(self) -> DaskCluster:
        """Connect, and wait for the first usable worker. Raises ClusterError if either fails."""
        try:
            import distributed
        except ImportError:
            raise ClusterError('--cluster requires Dask: `pip install "nnspec[dask]"`') from None
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # errors are reported by this class
        _ask_scheduler(self._address, self._scheduler)
        try:
            self._client = distributed.Client(self._scheduler, timeout=ANSWER, set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise ClusterError(f"no Dask scheduler at {self._address}: {_short(error)}") from None
        try:
            self._meet_scheduler()
            self._wait_for_a_worker()
        except BaseException:
            self._client.close(timeout=CLOSING)
            raise
        return self

    def _meet_scheduler(self) -> None:
        """Raises ClusterError if the scheduler cannot unpickle tasks, which it does before it assigns them."""
        assert self._client is not None
        try:
            there = self._client.run_on_scheduler(_version)
        except Exception as error:  # noqa: BLE001  (Dask raises the scheduler's exception, sometimes a bare Exception)
            raise ClusterError(
                f"the scheduler at {self._address} cannot run nnspec ({_short(error)}); install nnspec {__version__} "
                "there too"
            ) from None
        if there != __version__:
            raise ClusterError(f"the scheduler at {self._address} {_other_version(there)}")

    def _wait_for_a_worker(self) -> None:
        """Wait for a usable worker. Raises ClusterError if there is none."""
        end = time.monotonic() + WAIT
        while not self._usable:
            if self._threads and self._threads.keys() <= self._unusable.keys():
                raise ClusterError(f"no worker at {self._address} can be used: {self._why_not()}")
            if time.monotonic() > end:
                what = "no worker that responds" if self._threads else "no worker"
                raise ClusterError(
                    f"the scheduler at {self._address} has {what} after {WAIT:.0f} s; start one with `dask worker`"
                )
            time.sleep(0.05)
            self._look_around(0.2)

    @property
    def _usable(self) -> list[str]:
        """The workers that are present and usable."""
        return [worker for worker in self._threads if worker in self._environments]

    def _why_not(self) -> str:
        return "; ".join(f"worker {worker} {self._unusable[worker]}" for worker in self._unusable)

    def _look_around(self, every: float = LOOK) -> None:
        """Update the list of workers, at most once in `every` seconds, and ask new ones for their environment."""
        assert self._client is not None
        while not self._answers.empty():
            self._sort(self._answers.get())
        if time.monotonic() - self._looked < every or self._client.status != "running":
            return
        with suppress(OSError, TimeoutError):  # a lost scheduler is detected elsewhere
            self._threads = self._client.sync(self._client.scheduler.ncores, callback_timeout=ANSWER)
            self._looked = time.monotonic()
        new = [worker for worker in self._threads if worker not in self._asked]
        if new:
            self._asked.update(new)
            threading.Thread(target=self._ask, args=(new,), daemon=True).start()

    def _ask(self, workers: list[str]) -> None:
        """Ask workers for their environment, which may take long."""
        assert self._client is not None
        with suppress(OSError, TimeoutError, RuntimeError):  # the client is closed, or the scheduler was lost
            self._answers.put(self._client.run(environment, workers=workers, on_error="return"))

    def _sort(self, answers: dict[str, Any]) -> None:
        """Sort workers into usable and unusable ones by their answers."""
        for worker, found in answers.items():
            if isinstance(found, OSError):
                self._asked.discard(worker)  # it was not reached, and is asked again as long as it is present
            elif isinstance(found, BaseException):
                why = f"({type(found).__name__}: {_short(found)})"
                self._unusable[worker] = f"cannot run nnspec {why}; install nnspec {__version__} there"
            elif found["nnspec"] != __version__:
                self._unusable[worker] = _other_version(found["nnspec"])
            else:
                self._environments[worker] = found

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        assert self._client is not None
        self._client.close(timeout=CLOSING)

    @property
    def slots(self) -> int:
        """Number of tasks that run at the same time."""
        return max(1, sum(self._threads[worker] for worker in self._usable))

    def record(self) -> dict[str, Any]:
        """Return the environment of each worker, its trainings, and whether its kernels are the same as here."""
        here = environment()
        used = {worker: self._environments[worker] for worker in dict.fromkeys(self._trained.values())}
        unlike = {worker: differences(found, here) for worker, found in used.items()}
        return {
            "on": self._address,
            "workers": used,
            "trained_by": self._trained,
            **({"left_out": self._unusable} if self._unusable else {}),
            "same_kernels": not any(unlike.values()),
            "differences": {
                worker: {name: {"there": there, "here": own} for name, (there, own) in found.items()}
                for worker, found in unlike.items()
                if found
            },
        }

    def train(self, work: Work, observer: Observer, take: Take) -> None:
        """Train groups on all workers; see `Executor`.

        If a worker dies, its task is given to another one; after `DEATHS` deaths the trainings of the task have failed.
        Raises ClusterError if the scheduler or all workers are lost.
        """
        assert self._client is not None
        client, topic = self._client, f"nnspec-{uuid.uuid4().hex}"
        said: SimpleQueue[Any] = SimpleQueue()
        client.subscribe_topic(topic, lambda event: said.put(event[1]))
        tasks = [_Task(*each) for each in work]
        waiting = [*reversed(tasks)]
        running: dict[Future, _Task] = {}
        data = _Shared(client, topic)
        try:
            alone = math.inf
            while waiting or running:
                self._look_around()
                alone = min(alone, time.monotonic()) if not self._usable else math.inf
                if time.monotonic() - alone > ALONE:
                    raise self._nobody()
                self._give(waiting, running, lambda task: (topic, tasks.index(task)), data)
                self._collect(running, said, tasks, observer, take)
                for future in [each for each, task in running.items() if task.worker not in self._threads]:
                    self._died(future, running, waiting, take)
        except KeyboardInterrupt:
            try:
                workers = list({task.worker for task in running.values()})
                with suppress(OSError):  # workers that have lost the scheduler stop by themselves
                    client.run(_halt, topic, workers=workers, on_error="ignore")
                end = time.monotonic() + PATIENCE
                # Tasks that have not started return at once, without results.
                while running and time.monotonic() < end:
                    self._collect(running, SimpleQueue(), [], Silent(), take)
            finally:
                client.cancel([*running, *data.futures], force=True)
            raise

    def _give(
        self,
        waiting: list[_Task],
        running: dict[Future, _Task],
        names: Callable[[_Task], tuple[str, int]],
        data: _Shared,
    ) -> None:
        """Send waiting tasks to idle threads of workers."""
        assert self._client is not None
        used = Counter(task.worker for task in running.values())
        for worker in self._usable:
            for _ in range(min(self._threads[worker] - used[worker], len(waiting))):
                task = waiting.pop()
                task.worker = worker
                topic, number = names(task)
                sent = (_to_send(task.group), data.of(task.dataset, self._usable), topic, number)
                key = f"{topic}-{number}-{task.deaths}"
                running[self._client.submit(_train, *sent, key=key, pure=False, workers=[worker])] = task

    def _collect(
        self,
        running: dict[Future, _Task],
        said: SimpleQueue[Any],
        tasks: Sequence[_Task],
        observer: Observer,
        take: Take,
    ) -> None:
        """Process events and results; wait a moment if no task has ended. Raises ClusterError."""
        assert self._client is not None
        _hear(said, tasks, observer)
        done = [future for future in running if future.done()]
        for future in done:
            results = self._result(future, running[future], observer)
            del running[future]
            take(results)
        if not done:
            time.sleep(0.02)
        if self._client.status != "running":
            self._await_scheduler()

    def _await_scheduler(self) -> None:
        """Wait until the scheduler is back. Raises ClusterError if it does not return in time."""
        assert self._client is not None
        end = time.monotonic() + ANSWER
        while self._client.status != "running":
            if time.monotonic() > end:
                raise self._gone()
            time.sleep(0.05)

    def _died(self, future: Future, running: dict[Future, _Task], waiting: list[_Task], take: Take) -> None:
        """Return the task of a worker that died to the queue, or fail it after too many deaths."""
        task = running.pop(future)
        future.cancel(force=True)
        task.deaths += 1
        if task.deaths < DEATHS:
            waiting.append(task)
        else:
            take([failed(each, f"{DEATHS} workers died while training it") for each in task.group])

    def _nobody(self) -> ClusterError:
        why = f" can be used ({self._why_not()})" if self._threads else ""
        return ClusterError(
            f"no worker at {self._address}{why or ' is left'}; finished trainings are kept: start workers with "
            f"`dask worker {self._scheduler}`, and continue with --out DIR --resume"
        )

    def _gone(self) -> ClusterError:
        return ClusterError(
            f"lost the scheduler at {self._address}; finished trainings are kept: continue with --out DIR --resume"
        )

    def _result(self, future: Future, task: _Task, observer: Observer) -> list[LaneResult]:
        """Return the trainings of a completed task, as failed ones if it raised. Raises ClusterError."""
        from concurrent.futures import CancelledError

        from distributed import KilledWorker
        from distributed.comm.core import CommClosedError

        if future.status in ("cancelled", "lost"):
            raise self._gone()
        try:
            ended = future.result(timeout=ANSWER)
        except KilledWorker:
            return [failed(each, f"{DEATHS} workers died while training it") for each in task.group]
        except MemoryError:
            return [failed(each, "not enough memory on its worker") for each in task.group]
        except (TimeoutError, asyncio.CancelledError, CancelledError, CommClosedError):
            raise self._gone() from None
        results = []
        for place, one in ended.items():
            training = task.group[place]
            self._trained[f"{training.experiment.name}, seed {training.experiment.seed}"] = task.worker
            remote = task.lanes.get(place) or RemoteLane(training, one.lane.values)
            lane = remote.end(one.lane)
            if place not in task.lanes:
                observer.lane_begins(lane)
            if training.keeper is not None and one.checkpoint is not None:
                training.keeper.write(one.checkpoint)
                lane = replace(lane, unsaved=training.keeper.unsaved)
            results.append(lane)
        return results


def _version() -> str:
    """Return the version of nnspec on the machine that runs this."""
    return __version__


def _other_version(there: str) -> str:
    return f"has nnspec {there}, but this machine has {__version__}; install the same version on both"


class _Shared:
    """Data sets on the workers: a small one is sent with every task, a large one is a task whose result workers copy
    from each other."""

    def __init__(self, client: Client, topic: str) -> None:
        self._client, self._topic = client, topic
        self.futures: list[Future] = []
        self._held: dict[int, tuple[Future, set[str]]] = {}

    def of(self, dataset: Dataset, usable: Iterable[str]) -> Any:
        """Return what to send with a task: a data set, or a future of it."""
        if _size(dataset) <= SMALL:
            return dataset
        future, workers = self._held.get(id(dataset), (None, set()))
        if future is None or workers.isdisjoint(usable):  # all workers that had it have left
            workers, key = set(usable), f"{self._topic}-data-{len(self.futures)}"
            future = self._client.submit(_same, dataset, key=key, workers=[*workers])
            self.futures.append(future)
            self._held[id(dataset)] = (future, workers)
        return future


def _ask_scheduler(address: str, scheduler: str) -> None:
    """Raises ClusterError unless a Dask scheduler answers in time. Dask itself may wait forever if there is none."""
    import distributed

    async def identity() -> Any:
        async with distributed.rpc(scheduler) as there:
            return await there.identity()

    found: list[Any] = []

    def ask() -> None:
        try:
            found.append(asyncio.run(asyncio.wait_for(identity(), KNOCK)))
        except BaseException as error:  # noqa: BLE001  (an unknown server may send anything, even what causes a MemoryError)
            found.append(error)

    thread = threading.Thread(target=ask, daemon=True)  # not in this thread, which may already run an event loop
    thread.start()
    thread.join(KNOCK + 1)
    answer = found[0] if found else TimeoutError()
    if isinstance(answer, ConnectionError) or (isinstance(answer, OSError) and not isinstance(answer, TimeoutError)):
        raise ClusterError(f"no Dask scheduler at {address}: {_short(answer)}")
    kind = answer.get("type") if isinstance(answer, dict) else None
    if kind != "Scheduler":
        what = f"it is a Dask {kind.lower()}" if kind else "the server there is not Dask, or does not respond"
        raise ClusterError(
            f"no Dask scheduler at {address}: {what}; `dask scheduler` prints its address when it starts"
        )


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _size(dataset: Dataset) -> int:
    return sum(array.nbytes for split in (dataset.train, dataset.test) for array in (split.x, split.y))


def _to_send(group: Group) -> Group:
    """Return a copy of a group whose keepers hold checkpoints in memory."""
    return tuple(
        each
        if each.keeper is None
        else replace(
            each,
            keeper=HeldKeeper(each.keeper.path, each.keeper.identity, each.keeper.data, 0.0, each.keeper.start),
        )
        for each in group
    )


def _hear(said: SimpleQueue[Any], tasks: Sequence[_Task], observer: Observer) -> None:
    """Process events from workers. If a task is restarted on another worker, its start is reported only once."""
    while True:
        try:
            event = said.get_nowait()
        except Empty:
            return
        task, place = tasks[event["task"]], event["place"]
        lane = task.lanes.get(place)
        if event["kind"] == "begins":
            if lane is None:
                task.lanes[place] = RemoteLane(task.group[place], json.loads(event["said"]))
                observer.lane_begins(task.lanes[place].lane)
        elif lane is not None and lane.add(json.loads(event["said"])):
            observer.epoch_done(lane.lane)


# On a worker

_halted: set[str] = set()
"""Runs that are being stopped: their tasks here end after the current epoch."""


def _halt(topic: str) -> None:
    """Stop the tasks of a run on this worker."""
    _halted.add(topic)


def _same(dataset: Dataset) -> Dataset:
    """Return a data set: a task that Dask can repeat."""
    return dataset


def _train(group: Group, dataset: Dataset, topic: str, number: int) -> dict[int, _Ended]:
    """Train a group as a process on the client's machine would; return the results by index."""
    teller = _Teller(group, topic, number)
    with one_blas_thread():
        lanes = [] if teller.halted else train_together(group, dataset, teller)
    ended = {}
    for lane in lanes:
        place = place_of(group, lane)
        keeper = group[place].keeper
        ended[place] = _Ended(pack(lane), keeper.held if isinstance(keeper, HeldKeeper) else None)
    return ended


class _Teller(Silent):
    """Passes the calls of an observer to the client, at a limited rate; ends training that is no longer wanted."""

    def __init__(self, group: Group, topic: str, number: int) -> None:
        from distributed import get_worker

        self._group, self._topic, self._number = group, topic, number
        self._worker: Any = get_worker()
        self._task = self._worker.get_current_task()
        self._told: dict[int, int] = {}
        self._last: dict[int, float] = {}

    @property
    def halted(self) -> bool:
        """Whether the run is being stopped, its client has left, or the task was cancelled."""
        task = self._worker.state.tasks.get(self._task)
        return self._topic in _halted or task is None or task.state == "cancelled"

    def _say(self, kind: str, place: int, said: Any) -> None:
        event = {"kind": kind, "task": self._number, "place": place, "said": json.dumps(said)}
        self._worker.log_event(self._topic, event)

    def lane_begins(self, lane: LaneResult) -> None:
        """Send its values."""
        place = place_of(self._group, lane)
        self._told[place] = len(lane.records)
        self._say("begins", place, lane_values(lane))

    def epoch_done(self, lane: LaneResult) -> None:
        """Send the epochs since the last event. Raises KeyboardInterrupt if the training is to end."""
        if self.halted:
            raise KeyboardInterrupt
        place, now = place_of(self._group, lane), time.monotonic()
        if now - self._last.get(place, 0.0) >= EVERY:
            self._last[place] = now
            self._say("epochs", place, epochs_since(lane, self._told[place]))
            self._told[place] = len(lane.records)
