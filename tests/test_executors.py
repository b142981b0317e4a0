"""What every executor must do: the same lanes to the last bit, progress, failures, interruptions, cancellation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_lanes import Exhausted, Listener
from tiny_spec import OFFLINE, compiled, spec

from nnspec.data.source import Dataset
from nnspec.environment import one_blas_thread
from nnspec.executors.executor import Executor, Work
from nnspec.executors.in_process import InProcess
from nnspec.executors.processes import Processes
from nnspec.results.epochs import columns
from nnspec.results.lane import LaneResult
from nnspec.runner.load_data import load_data
from nnspec.training.groups import group, train_together, trainings
from nnspec.training.observer import Silent

pytestmark = pytest.mark.filterwarnings("ignore")
"""Dask's own, of its libraries and connections."""

MODEL = "Linear(6); BatchNorm; ReLU; Dropout(0.2); Linear(10)"
RACE = "SGD; Adam; wild { optimizer = SGD(lr=1e30) }; Momentum { optimizer = Momentum; train.batch = 20 }"
SPEC = spec(MODEL, race=RACE, train="epochs = 3; batch = 16", more="seed = 7")
ENDLESS = SPEC.replace("epochs = 3", "epochs = 1000000")


@pytest.fixture(scope="module")
def scheduler() -> Iterator[Callable[[], str]]:
    """The address of a Dask scheduler with two workers in this process, started when a test asks for it."""
    found: list[Any] = []

    def address() -> str:
        distributed = pytest.importorskip("distributed", reason="takes nnspec[dask]")
        if not found:
            workers = {"n_workers": 2, "threads_per_worker": 1, "processes": False}
            found.append(distributed.LocalCluster(**workers, protocol="tcp", dashboard_address=None))
        return "dask://" + found[0].scheduler_address.removeprefix("tcp://")

    yield address
    for cluster in found:
        cluster.close()


Make = Callable[[], AbstractContextManager[Executor]]


@pytest.fixture(params=["in process", "threads", "processes", "Dask"])
def make(request: pytest.FixtureRequest, scheduler: Callable[[], str]) -> Make:
    if request.param == "in process":
        return InProcess
    if request.param == "threads":
        return lambda: InProcess(threads=True)
    if request.param == "processes":
        request.getfixturevalue("forked_workers")
        return lambda: Processes(2)
    address = scheduler()
    from nnspec.executors.dask_cluster import DaskCluster

    return lambda: DaskCluster(address)


def work_of(text: str, parts: int = 1) -> list[Any]:
    program = compiled(text)
    data: dict[str, tuple[Dataset, Any]] = load_data(program.program, OFFLINE)
    groups = group(trainings(program), parts, stacked=False)
    return [(members, data[members[0].experiment.name][0]) for members in groups]


def train(executor: Executor, work: Work, observer: Any = None) -> dict[str, LaneResult]:
    found: dict[str, LaneResult] = {}
    with one_blas_thread():
        executor.train(work, observer or Silent(), lambda lanes: found.update({lane.name: lane for lane in lanes}))
    return found


def facts(lane: LaneResult) -> dict[str, Any]:
    """What of a lane must not depend on where it was trained."""
    table = {name: column for name, column in columns(lane.records, lane.figures).items() if name != "epoch_seconds"}
    weights = {name: array.tobytes() for name, array in lane.network.state_dict().items()}
    others = {name: getattr(lane, name) for name in ("status", "message", "fingerprints", "dead", "broken")}
    return {**table, **weights, **others}


@pytest.fixture(scope="module")
def alone() -> dict[str, dict[str, Any]]:
    return {name: facts(lane) for name, lane in train(InProcess(), work_of(SPEC)).items()}


def test_lanes_are_the_same_to_the_last_bit_and_a_lane_that_diverges_keeps_none_from_its_end(
    make: Make, alone: dict[str, dict[str, Any]]
) -> None:
    with make() as executor:
        assert executor.slots >= 1
        first, again = (train(executor, work_of(SPEC)) for _ in range(2))
        assert isinstance(executor.record(), dict)
    assert {lane.status for lane in first.values()} == {"done", "diverged"}
    for found in (first, again):
        assert found.keys() == alone.keys()
        assert all(str(facts(lane)) == str(alone[name]) for name, lane in found.items())  # by text: NaN is not NaN
        assert all(isinstance(lane.records, tuple) for lane in found.values())


def test_observers_hear_of_every_lane_and_epoch_in_order(make: Make) -> None:
    listener = Listener()
    with make() as executor:
        found = train(executor, work_of(SPEC.replace("epochs = 3", "epochs = 40")), listener)
    for name, lane in found.items():
        heard = [(event, epoch) for event, lane_name, epoch in listener.events if lane_name == name]
        epochs = [epoch for event, epoch in heard if event == "epoch"]
        assert heard[0] == ("begins", 0)
        assert [event for event, _ in heard].count("begins") == 1
        assert epochs == sorted(set(epochs)), "none twice"
        if not executor.remote:
            assert epochs == [*range(1, len(lane.records) + 1)]


def test_an_interruption_by_the_observer_ends_what_trains_and_takes_what_there_is(make: Make) -> None:
    found: dict[str, LaneResult] = {}

    class Pressed(Silent):
        def epoch_done(self, lane: LaneResult) -> None:
            if lane.name == "Adam":
                raise KeyboardInterrupt

    work = [each for each in work_of(ENDLESS) if each[0][0].experiment.name in ("Adam", "Momentum")]
    with make() as executor, one_blas_thread(), pytest.raises(KeyboardInterrupt):
        executor.train(work, Pressed(), lambda lanes: found.update({lane.name: lane for lane in lanes}))
    assert found["Adam"].status == "interrupted"
    assert found["Adam"].message == f"after {len(found['Adam'].records)} of 1000000 epochs"
    assert len(found["Adam"].records) >= 1
    assert all(lane.status == "interrupted" for lane in found.values())
    assert found["Adam"].network.forward(np.zeros((3, 784))).shape == (3, 10)


def test_cancellation_by_who_takes_lanes_ends_the_others(make: Make) -> None:
    """As a run that ends with its first lane that diverges."""
    found: dict[str, LaneResult] = {}

    def take(lanes: list[LaneResult]) -> None:
        found.update({lane.name: lane for lane in lanes})
        if any(lane.status == "diverged" for lane in lanes):
            raise KeyboardInterrupt

    work = [each for each in work_of(ENDLESS) if each[0][0].experiment.name in ("wild", "Momentum")]
    halting = [(tuple(replace(training, halts=True) for training in members), data) for members, data in work]
    with make() as executor, one_blas_thread(), pytest.raises(KeyboardInterrupt):
        executor.train(halting, Silent(), take)
    assert found["wild"].status == "diverged"
    assert all(lane.status in ("diverged", "interrupted") for lane in found.values())


def test_a_group_without_enough_memory_has_failed_and_the_others_are_trained(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(members: Any, *rest: Any) -> list[LaneResult]:
        if members[0].experiment.name == "SGD":
            raise MemoryError
        return train_together(members, *rest)

    monkeypatch.setattr("nnspec.executors.dask_cluster.train_together", short, raising=False)  # its workers are here
    (first, dataset), *others = work_of(spec(race="SGD; Adam; Momentum", train="epochs = 2; batch = 16"))
    exhausted = tuple(replace(training, keeper=Exhausted(Path("none"), "", "", 0.0)) for training in first)
    with make() as executor:
        found = train(executor, [(exhausted, dataset), *others])
    assert (found["SGD"].status, "not enough memory" in found["SGD"].message) == ("failed", True)
    assert {name: lane.status for name, lane in found.items() if name != "SGD"} == {"Adam": "done", "Momentum": "done"}
