"""Groups of trainings on the workers of a Dask cluster: another machine's processes in the place of this one's.

A task is a group that trains together, as in a process of one's own (`workers.py`); its data is a task too, so that
the scheduler makes it anew where the worker that held it is gone. What a worker says on the way comes as events; what
it ends with is the result. Checkpoints are written by the client, whose disk the run is on, when a training comes back.
A cluster is trusted: whoever may send it tasks runs whatever code he likes there, and results are unpickled here.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, TypeAlias

from nnspec._version import __version__
from nnspec.data.source import Dataset
from nnspec.errors import NnspecError
from nnspec.runner.checkpoint import Checkpoint, Keeper, write_checkpoint
from nnspec.runner.environment import differences, environment, one_blas_thread
from nnspec.runner.history import LaneResult
from nnspec.runner.observer import Observer, Silent
from nnspec.runner.parcel import Epochs, Parcel, lane_begun, pack, place_of, values_of
from nnspec.runner.together import Training, failed, train_together

__all__ = ["Cluster", "ClusterError"]

SCHEME = "dask://"
WAIT = 60.0
"""Seconds that a cluster may take until its first worker is there."""
ANSWER = 10.0
"""Seconds that a scheduler has to answer."""
SMALL = 16 * 1024**2
"""Bytes of data up to which every task has its own: tasks that share it are drawn to the worker that holds it."""
CLOSING = 2.0
PATIENCE = 10.0
"""Seconds that workers have to come to an end after Ctrl-C."""
EVERY = 0.2
"""Least seconds between two events of one group."""

Client: TypeAlias = Any
Future: TypeAlias = Any
"""Dask's, which is imported where it is used."""
Group = tuple[Training, ...]
Take = Callable[[list[LaneResult]], None]


class ClusterError(NnspecError):
    """A cluster that cannot be used, or is gone. The message says why and what to do."""


@dataclass
class HeldKeeper(Keeper):
    """Keeps the last checkpoint of a training in memory, for whoever writes it elsewhere."""

    held: Checkpoint | None = None

    def due(self) -> bool:
        """Never: only the end of a training is told."""
        return False

    def store(self, checkpoint: Checkpoint) -> None:
        """Hold it."""
        self.held = checkpoint


@dataclass(frozen=True)
class _Ended:
    """What a worker sends back of one training."""

    parcel: Parcel
    checkpoint: Checkpoint | None


@dataclass
class _Task:
    group: Group
    lanes: dict[int, LaneResult] = field(default_factory=dict)


class Cluster:
    """The workers of a Dask scheduler. A context: leaving it lets go of them."""

    def __init__(self, address: str) -> None:
        """`address` is `dask://HOST:PORT`. Raises ClusterError for any other."""
        host, _, port = address.removeprefix(SCHEME).rpartition(":")
        if not address.startswith(SCHEME) or not host or not port.isdigit():
            raise ClusterError(f"--on takes dask://HOST:PORT, such as dask://10.0.0.5:8786, not {address}")
        self._address, self._scheduler = address, f"tcp://{host}:{port}"
        self._environments: dict[str, dict[str, Any]] = {}
        self._trained: dict[str, str] = {}
        self._client: Client | None = None

    def __enter__(self) -> Cluster:
        """Connect, and wait for the first worker. Raises ClusterError where either cannot be had."""
        try:
            import distributed
        except ImportError:
            raise ClusterError('--on takes Dask: `pip install "nnspec[dask]"`') from None
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what is to be said is said here
        try:
            self._client = distributed.Client(self._scheduler, timeout=ANSWER, set_as_default=False)
        except (OSError, TimeoutError) as error:
            why = " ".join(str(error).split())[:200]
            raise ClusterError(f"there is no Dask scheduler at {self._address}: {why}") from None
        try:
            self._client.wait_for_workers(1, timeout=WAIT)
        except TimeoutError:
            self._client.close(timeout=CLOSING)
            raise ClusterError(
                f"the scheduler at {self._address} has no worker after {WAIT:.0f} s; start one with `dask worker`"
            ) from None
        try:
            self._meet()
        except BaseException:
            self._client.close(timeout=CLOSING)
            raise
        return self

    def _meet(self) -> None:
        """Ask every worker what it runs on. Raises ClusterError where one has no nnspec, or another one."""
        assert self._client is not None
        try:
            self._environments = dict(self._client.run(environment))
        except (ImportError, AttributeError) as error:
            raise ClusterError(f"a worker at {self._address} cannot run this: {error}; install nnspec there") from None
        for worker, found in self._environments.items():
            _same_version(worker, found["nnspec"], __version__)

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        assert self._client is not None
        self._client.close(timeout=CLOSING)

    @property
    def count(self) -> int:
        """How many tasks it runs at a time."""
        assert self._client is not None
        return max(1, sum(self._client.nthreads().values()))

    def record(self) -> dict[str, Any]:
        """Say where it ran: each worker's environment, which trainings it had, and whether kernels are as here."""
        here = environment()
        used = {worker: self._environments[worker] for worker in dict.fromkeys(self._trained.values())}
        unlike = {worker: differences(found, here) for worker, found in used.items()}
        return {
            "on": self._address,
            "workers": used,
            "trained_by": self._trained,
            "same_kernels": not any(unlike.values()),
            "differences": {
                worker: {name: {"there": there, "here": own} for name, (there, own) in found.items()}
                for worker, found in unlike.items()
                if found
            },
        }

    def train(self, work: Sequence[tuple[Group, Dataset]], observer: Observer, take: Take) -> None:
        """Train groups on all workers at once; `take` is given the trainings of each as it ends.

        Dask gives the tasks of a worker that died to others; where that happens too often, their trainings have failed.
        Ctrl-C, here or in what is called, ends what trains; what it had is taken too, and it is raised on. Raises
        ClusterError where the scheduler is gone, and where a worker that came later has another version.
        """
        assert self._client is not None
        client, topic = self._client, f"nnspec-{uuid.uuid4().hex}"
        said: SimpleQueue[Any] = SimpleQueue()
        client.subscribe_topic(topic, lambda event: said.put(event[1]))
        data: dict[int, Future] = {}
        in_order: list[_Task] = []
        waiting: dict[Future, _Task] = {}
        try:
            for number, (members, dataset) in enumerate(work):
                samples: Any = dataset
                if _size(dataset) > SMALL:
                    if id(dataset) not in data:
                        data[id(dataset)] = client.submit(_same, dataset, key=f"{topic}-data-{len(data)}")
                    samples = data[id(dataset)]
                key = f"{topic}-{number}"
                sent = (_to_send(members), samples, topic, number, __version__)
                in_order.append(_Task(members))
                waiting[client.submit(_train, *sent, key=key, pure=False)] = in_order[-1]
            self._collect(waiting, in_order, said, observer, take)
        except KeyboardInterrupt:
            try:
                with suppress(OSError):  # those that have lost the scheduler have nobody to work for
                    client.run(_halt, topic, on_error="ignore")
                # Tasks that nobody has taken up yet come back at once, with nothing.
                self._collect(waiting, [], SimpleQueue(), Silent(), take, PATIENCE)
            finally:
                client.cancel([*waiting, *data.values()], force=True)
            raise

    def _collect(
        self,
        waiting: dict[Future, _Task],
        in_order: Sequence[_Task],
        said: SimpleQueue[Any],
        observer: Observer,
        take: Take,
        seconds: float = math.inf,
    ) -> None:
        """Take the results of tasks as they come, until none is waited for, for so many seconds at most."""
        assert self._client is not None
        lost, end = 0.0, time.monotonic() + seconds
        while waiting and time.monotonic() < end:
            _hear(said, in_order, observer)
            done = [future for future in waiting if future.done()]
            for future in done:
                task = waiting.pop(future)
                take(self._result(future, task, observer))
            if done:
                continue
            time.sleep(0.05)
            alive = self._client.status == "running"
            lost = 0.0 if alive else lost or time.monotonic()
            if lost and time.monotonic() - lost > ANSWER:
                raise self._gone()

    def _gone(self) -> ClusterError:
        return ClusterError(
            f"the scheduler at {self._address} is gone; what had come back is kept: go on with --out DIR --resume"
        )

    def _result(self, future: Future, task: _Task, observer: Observer) -> list[LaneResult]:
        """Return the trainings of a task that is done; they have failed where it could not be."""
        import asyncio
        from concurrent.futures import CancelledError

        from distributed import KilledWorker
        from distributed.comm.core import CommClosedError

        if future.status in ("cancelled", "lost"):
            raise self._gone()
        try:
            ended, worker, found = future.result(timeout=ANSWER)
        except KilledWorker:
            return [failed(each, "the workers that trained it died, one after another") for each in task.group]
        except MemoryError:
            return [failed(each, "there is not enough memory for it on its worker") for each in task.group]
        except (TimeoutError, asyncio.CancelledError, CancelledError, CommClosedError):
            raise self._gone() from None
        self._environments[worker] = found
        results = []
        for place, one in ended.items():
            training = task.group[place]
            self._trained[f"{training.experiment.name}, seed {training.experiment.seed}"] = worker
            lane = task.lanes.get(place) or lane_begun(training, one.parcel.values)
            one.parcel.fill(lane)
            if place not in task.lanes:
                observer.lane_begins(lane)
            if training.keeper is not None and one.checkpoint is not None:
                try:
                    write_checkpoint(training.keeper.path, one.checkpoint)
                except OSError as error:
                    lane.unsaved = f"the checkpoint {training.keeper.path} cannot be written: {error.strerror or error}"
            results.append(lane)
        return results


def _same_version(worker: str, there: str, here: str) -> None:
    """Raises ClusterError where versions differ."""
    if there != here:
        raise ClusterError(
            f"worker {worker} has nnspec {there}, and here it is {here}: its numbers would be those of another "
            "program; install the same version on both"
        )


def _size(dataset: Dataset) -> int:
    return sum(array.nbytes for split in (dataset.train, dataset.test) for array in (split.x, split.y))


def _to_send(group: Group) -> Group:
    """Return a group whose keepers hold what they are to keep."""
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
    """Take in what workers said. A task that another worker took up begins again; observers are told of it once."""
    while True:
        try:
            event = said.get_nowait()
        except Empty:
            return
        task, place = tasks[event["task"]], event["place"]
        lane = task.lanes.get(place)
        if event["kind"] == "begins":
            if lane is None:
                task.lanes[place] = lane_begun(task.group[place], event["said"])
                observer.lane_begins(task.lanes[place])
        elif lane is not None and Epochs(**event["said"]).add_to(lane):
            observer.epoch_done(lane)


# On a worker

_halted: set[str] = set()
"""Runs that are to end: their tasks here stop behind the epoch that they are in."""


def _halt(topic: str) -> None:
    """Have the tasks of a run end here."""
    _halted.add(topic)


def _same(dataset: Dataset) -> Dataset:
    """A data set as a task, which can be made again."""
    return dataset


def _train(
    group: Group, dataset: Dataset, topic: str, number: int, version: str
) -> tuple[dict[int, _Ended], str, dict[str, Any]]:
    """Train a group as a process of the client's would; return its trainings by place, and where that was.

    Raises ClusterError on a worker that has another version than the client.
    """
    from distributed import get_worker

    worker, teller = get_worker(), _Teller(group, topic, number)
    with one_blas_thread():
        found = environment()
        _same_version(str(worker.address), found["nnspec"], version)
        lanes = [] if teller.halted else train_together(group, dataset, teller)
    ended = {}
    for lane in lanes:
        place = place_of(group, lane)
        keeper = group[place].keeper
        ended[place] = _Ended(pack(lane), keeper.held if isinstance(keeper, HeldKeeper) else None)
    return ended, str(worker.address), found


class _Teller(Silent):
    """Tells the client what an observer is told, not too often; ends training where nobody waits for it any more."""

    def __init__(self, group: Group, topic: str, number: int) -> None:
        from distributed import get_worker

        self._group, self._topic, self._number = group, topic, number
        self._worker: Any = get_worker()
        self._task = self._worker.get_current_task()
        self._told: dict[int, int] = {}
        self._last: dict[int, float] = {}

    @property
    def halted(self) -> bool:
        """Whether the run is to end, or its client is gone, or has taken the task back."""
        task = self._worker.state.tasks.get(self._task)
        return self._topic in _halted or task is None or task.state == "cancelled"

    def _say(self, kind: str, place: int, said: Any) -> None:
        self._worker.log_event(self._topic, {"kind": kind, "task": self._number, "place": place, "said": said})

    def lane_begins(self, lane: LaneResult) -> None:
        """Say what is known of it."""
        place = place_of(self._group, lane)
        self._told[place] = len(lane.epoch_seconds)
        self._say("begins", place, values_of(lane))

    def epoch_done(self, lane: LaneResult) -> None:
        """Say how far it is. Raises KeyboardInterrupt where it is to end here."""
        if self.halted:
            raise KeyboardInterrupt
        place, now = place_of(self._group, lane), time.monotonic()
        if now - self._last.get(place, 0.0) >= EVERY:
            self._last[place] = now
            self._say("epochs", place, asdict(Epochs.since(lane, self._told[place])))
            self._told[place] = len(lane.epoch_seconds)
