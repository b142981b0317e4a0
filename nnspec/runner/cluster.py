"""Groups of trainings on the workers of a Dask cluster: another machine's processes in the place of this one's.

A task is a group that trains together, as in a process of one's own (`workers.py`); its data is a task too, so that
the scheduler makes it anew where the worker that held it is gone. What a worker says on the way comes as events; what
it ends with is the result. Checkpoints are written by the client, whose disk the run is on, when a training comes back.
A cluster is trusted: whoever may send it tasks runs whatever code he likes there, and results are unpickled here.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, TypeAlias

from nnspec.compiler.plan import build_network
from nnspec.data.source import Dataset
from nnspec.engine._numpy import np
from nnspec.errors import NnspecError
from nnspec.runner.checkpoint import Checkpoint, Keeper, write_checkpoint
from nnspec.runner.environment import differences, environment, one_blas_thread
from nnspec.runner.history import LaneResult
from nnspec.runner.observer import Observer, Silent
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

    values: Mapping[str, Any]
    arrays: Sequence[Any]
    state: Mapping[str, Any]
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
        own = environment()["nnspec"]
        for worker, found in self._environments.items():
            if found["nnspec"] != own:
                raise ClusterError(
                    f"worker {worker} has nnspec {found['nnspec']}, and here it is {own}: its numbers would be those "
                    "of another program; install the same version on both"
                )

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
        Ctrl-C, here or in what is called, cancels all that trains. Raises ClusterError where the scheduler is gone.
        """
        assert self._client is not None
        client, topic = self._client, f"nnspec-{uuid.uuid4().hex}"
        said: SimpleQueue[Any] = SimpleQueue()
        client.subscribe_topic(topic, lambda event: said.put(event[1]))
        data: dict[int, Future] = {}
        tasks: dict[Future, _Task] = {}
        try:
            for number, (members, dataset) in enumerate(work):
                samples: Any = dataset
                if _size(dataset) > SMALL:
                    if id(dataset) not in data:
                        data[id(dataset)] = client.submit(_same, dataset, key=f"{topic}-data-{len(data)}")
                    samples = data[id(dataset)]
                key = f"{topic}-{number}"
                future = client.submit(_train, _to_send(members), samples, topic, number, key=key, pure=False)
                tasks[future] = _Task(members)
            self._collect(tasks, list(tasks.values()), said, observer, take)
        except KeyboardInterrupt:
            client.cancel([*tasks, *data.values()], force=True)
            raise

    def _collect(
        self,
        tasks: dict[Future, _Task],
        in_order: Sequence[_Task],
        said: SimpleQueue[Any],
        observer: Observer,
        take: Take,
    ) -> None:
        assert self._client is not None
        waiting, lost = dict(tasks), 0.0
        while waiting:
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
        from asyncio import CancelledError

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
        except (TimeoutError, CancelledError, CommClosedError):
            raise self._gone() from None
        self._environments[worker] = found
        results = []
        for place, one in enumerate(ended):
            training = task.group[place]
            self._trained[f"{training.experiment.name}, seed {training.experiment.seed}"] = worker
            known = task.lanes.get(place)
            lane = _lane(training, one)
            if known is None:
                observer.lane_begins(lane)
            if training.keeper is not None and one.checkpoint is not None:
                try:
                    write_checkpoint(training.keeper.path, one.checkpoint)
                except OSError as error:
                    lane.unsaved = f"the checkpoint {training.keeper.path} cannot be written: {error.strerror or error}"
            results.append(lane)
        return results


def _size(dataset: Dataset) -> int:
    return sum(array.nbytes for split in (dataset.train, dataset.test) for array in (split.x, split.y))


def _to_send(group: Group) -> Group:
    """Return a group whose keepers hold what they are to keep."""
    return tuple(
        each
        if each.keeper is None
        else replace(each, keeper=HeldKeeper(each.keeper.path, each.keeper.identity, 0.0, each.keeper.start))
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
            begun = LaneResult(network=build_network(task.group[place].experiment), **event["values"])
            if lane is None:
                task.lanes[place] = begun
                observer.lane_begins(begun)
            continue
        if lane is None or len(lane.epoch_seconds) >= event["epoch"]:
            continue
        for name, values in event["history"].items():
            lane.history[name] = list(values)
        lane.rates, lane.epoch_seconds = list(event["rates"]), list(event["seconds"])
        observer.epoch_done(lane)


def _lane(training: Training, ended: _Ended) -> LaneResult:
    network = build_network(training.experiment)
    for parameter, array in zip(network.parameters(), ended.arrays, strict=True):
        parameter.data = np.array(array)
    for name, array in network.state().items():
        np.copyto(array, ended.state[name])
    network.eval()
    return LaneResult(network=network, **ended.values)


# On a worker


def _same(dataset: Dataset) -> Dataset:
    """A data set as a task, which can be made again."""
    return dataset


def _train(group: Group, dataset: Dataset, topic: str, number: int) -> tuple[list[_Ended], str, dict[str, Any]]:
    """Train a group as a process of the client's would; return its trainings in order, and where that was."""
    from distributed import get_worker

    worker = get_worker()
    with one_blas_thread():
        found = environment()
        lanes = train_together(group, dataset, _Teller(group, topic, number))
    by_place = {_place(group, lane): lane for lane in lanes}
    ended = [_ended(training, by_place[place]) for place, training in enumerate(group)]
    return ended, str(worker.address), found


def _place(group: Group, lane: LaneResult) -> int:
    return next(i for i, t in enumerate(group) if (t.experiment.name, t.repeat) == (lane.name, lane.repeat))


def _values(lane: LaneResult) -> dict[str, Any]:
    return {one.name: getattr(lane, one.name) for one in fields(lane) if one.name != "network"}


def _ended(training: Training, lane: LaneResult) -> _Ended:
    held = training.keeper.held if isinstance(training.keeper, HeldKeeper) else None
    arrays = [parameter.data for parameter in lane.network.parameters()]
    return _Ended(_values(lane), arrays, dict(lane.network.state()), held)


class _Teller(Silent):
    """Tells the client what an observer is told, not too often."""

    def __init__(self, group: Group, topic: str, number: int) -> None:
        self._group, self._topic, self._number = group, topic, number
        self._last = 0.0

    def _say(self, kind: str, lane: LaneResult, **more: Any) -> None:
        from distributed import get_worker

        event = {"kind": kind, "task": self._number, "place": _place(self._group, lane), **more}
        get_worker().log_event(self._topic, event)

    def lane_begins(self, lane: LaneResult) -> None:
        """Say what is known of it."""
        self._say("begins", lane, values=_values(lane))

    def epoch_done(self, lane: LaneResult) -> None:
        """Say how far it is."""
        if time.monotonic() - self._last >= EVERY:
            self._last = time.monotonic()
            self._say(
                "epoch",
                lane,
                epoch=len(lane.epoch_seconds),
                history=lane.history,
                rates=lane.rates,
                seconds=lane.epoch_seconds,
            )
