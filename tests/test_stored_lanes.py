"""What trainings send to other processes: every field of a lane arrives as it was, and nothing else is sent."""

from __future__ import annotations

import copy
import json
import math
import pickle
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import compiled, environment, run, spec

from nnspec.executors.messages import PackedLane, RemoteLane, epochs_since, pack
from nnspec.results.epochs import EpochRecord
from nnspec.results.lane import LaneResult
from nnspec.results.run import RunResult
from nnspec.results.stored import UnstorableError, lane_from, lane_values, plain, scaling_arrays
from nnspec.runner.options import RunOptions
from nnspec.training.groups import Training, trainings
from nnspec.training.observer import Silent

WILD = "wild { optimizer = SGD(lr=1, weight_decay=1e9); train.early_stop = none }"
EVERYTHING = spec(
    "Linear(12); BatchNorm; ReLU; Dropout(0.2); Linear(10)",
    race=f"SGD(lr=plateau(0.1)); Adam(lr=cosine(0.01)); {WILD}",
    train="epochs = 9; batch = 16; validation = 0.2; standardise = true; early_stop = patience(1, restore_best=true)",
    more="seed = 7; metrics = [accuracy, confusion, precision, recall, f1, top_k(2)]",
)


def same(one: Any, other: Any) -> bool:
    """Whether two values are of one type and, to the bit, of one value; NaN is NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if is_dataclass(one):
        return all(same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    if isinstance(one, dict):
        return [*one] == [*other] and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (one != one and other != other)


class Listening(Silent):
    """Sends every lane that it observes through JSON, and compares what arrives."""

    def __init__(self) -> None:
        self.fields: set[str] = set()
        self.trainings: list[Training] = []

    def lane_begins(self, lane: LaneResult) -> None:
        self.epoch_done(lane)

    def epoch_done(self, lane: LaneResult) -> None:
        sent = lane_values(lane)
        arrived = json.loads(json.dumps(sent))
        assert same(arrived, sent)
        self.compare(lane_from(arrived, pickle.loads(pickle.dumps(scaling_arrays(lane))), lane.network), lane)

    def lane_ends(self, lane: LaneResult) -> None:
        self.epoch_done(lane)
        packed = pack(lane)
        arrived = PackedLane(json.loads(json.dumps(packed.values)), pickle.loads(pickle.dumps(packed.arrays)))
        (training,) = [each for each in self.trainings if each.experiment.name == lane.name]
        found = RemoteLane(training, arrived.values).end(arrived)
        self.compare(found, lane)
        assert same(dict(found.network.state_dict()), dict(lane.network.state_dict()))

    def compare(self, found: LaneResult, lane: LaneResult) -> None:
        for field in fields(LaneResult):
            if field.name not in NOT_SENT:
                value = getattr(lane, field.name)
                if field.name == "records":  # the digest of the order is sent for the last one alone
                    value = (*(replace(record, order="") for record in value[:-1]), *value[-1:])
                assert same(getattr(found, field.name), value), field.name
                self.fields |= {field.name} if value else set()


NOT_SENT = {"network", "predictor", "writer", "repeats"}
"""Fields that are made again where a lane arrives."""


def listening_to(text: str, **more: Any) -> tuple[set[str], RunResult]:
    listening = Listening()
    listening.trainings = trainings(compiled(text))
    return listening.fields, run(text, observer=listening, **more)


def test_every_field_of_a_lane_arrives_as_it_was() -> None:
    first, result = listening_to(EVERYTHING, ways=RunOptions(jobs=1, stack=False))
    assert result["wild"].status == "diverged"
    assert result["SGD"].scaling is not None
    filled = [field.name for field in fields(EpochRecord) if field.name != "evaluations"]  # that SGD does not count
    assert all(all(getattr(record, name) for name in filled) for record in result["SGD"].records)
    second, _ = listening_to(EVERYTHING.replace(WILD, "Momentum"), ways=RunOptions(jobs=1, profile=True))
    regression = spec(
        "Linear(1)", loss="MSE", data="Sine(train=30, test=10)", train="standardise_target = true; record = 1"
    )
    third, _ = listening_to(regression)
    fourth, _ = listening_to(spec(loss="CrossEntropy(class_weights=balanced)", data="Digits(train=100, test=20)"))
    not_here = {"unsaved", "sample", "compiled"}  # empty in these runs
    assert {field.name for field in fields(LaneResult)} - first - second - third - fourth == NOT_SENT | not_here


def test_epochs_arrive_one_after_another_and_none_twice() -> None:
    text = spec(optimizer="SGD(lr=linear(0.1))", train="epochs = 5; batch = 16")
    lane, (training,) = run(text)["run"], trainings(compiled(text))
    there = RemoteLane(training, lane_values(replace(lane, records=())))

    def send(before: int, until: int) -> bool:
        return there.add(json.loads(json.dumps(epochs_since(replace(lane, records=lane.records[:until]), before))))

    assert (send(0, 1), send(0, 1), send(2, 3), send(0, 3), send(3, 5), send(5, 5)) == (
        True,
        False,
        False,
        True,
        True,
        False,
    )
    assert there.lane.history == lane.history
    assert (there.lane.rates, there.lane.epoch_seconds) == (lane.rates, lane.epoch_seconds)
    assert (there.lane.trace, there.lane.gradients) == (lane.trace, lane.gradients)


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1, 2**200, 0.1, -0.0, math.inf, math.nan, 5e-324, "", "é\udce9→\0", [], {}, {"": [[]]}],
)
def test_plain_values_arrive_to_the_bit(value: Any) -> None:
    assert same(json.loads(json.dumps(plain(value, "x"))), value)


def test_scalars_of_numpy_are_held_as_those_of_python_and_tuples_as_lists() -> None:
    held = plain({"a": np.float32(0.1), "b": (np.int64(3),), "c": np.bool_(True), "d": np.float64(0.1)}, "x")
    assert same(held, {"a": 0.10000000149011612, "b": [3], "c": True, "d": 0.1})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"loss": [1.0, object()]}, r"`tables\['loss'\]\[1\]` is of type object, which cannot be stored or sent"),
        ({"loss": {1.0}}, r"`tables\['loss'\]` is of type set, which cannot be stored or sent"),
        ({"loss": [np.array([1.0])]}, r"`tables\['loss'\]\[0\]` is of type ndarray"),
        ({3: 4}, r"`tables` has the key 3"),
    ],
)
def test_anything_else_is_refused_by_the_name_of_its_field(value: Any, message: str) -> None:
    with pytest.raises(UnstorableError, match=message):
        lane_values(replace(run(spec())["run"], tables=value))


def test_what_is_to_be_trained_arrives_as_it_was() -> None:
    """Over a pipe and over Dask, which has its own pickling."""
    sent = trainings(compiled(EVERYTHING))
    ways = [lambda value: pickle.loads(ForkingPickler.dumps(value))]
    try:
        from distributed.protocol import pickle as theirs
    except ImportError:
        pass
    else:
        ways.append(lambda value: theirs.loads(theirs.dumps(value)))
    for way in ways:
        for one, there in zip(sent, way(sent), strict=True):
            assert (there.label, there.repeat, there.layout.batch) == (one.label, one.repeat, one.layout.batch)
            assert repr(there.layout.steps) == repr(one.layout.steps)
            assert repr(there.experiment.train) == repr(one.experiment.train)
            assert str(there.experiment.optimizer) == str(one.experiment.optimizer)


def test_whichever_thread_trains_products_are_on_one_blas_thread(tmp_path: Path) -> None:
    """One thread after another, as on a worker of a cluster, and two at once; the first is not the last."""
    code = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
import numpy
from threadpoolctl import threadpool_info
from nnspec.environment import one_blas_thread

def threads():
    return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")

def within(meet):
    with one_blas_thread():
        meet.wait()
        seen = threads()
        meet.wait()
    return seen

pools = [ThreadPoolExecutor(2) for _ in range(3)]
print(threads(), within(Barrier(1)), threads())
for pool in pools:
    meet = Barrier(2)
    print(*(each.result() for each in [pool.submit(within, meet), pool.submit(within, meet)]), threads())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path, OPENBLAS_NUM_THREADS="2", OMP_NUM_THREADS="2", MKL_NUM_THREADS="2"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["2 1 2", *["1 1 2"] * 3]


@pytest.fixture(scope="module")
def sent() -> tuple[LaneResult, dict[str, Any]]:
    lane = run(spec(optimizer="SGD(lr=linear(0.1))", train="epochs = 2; batch = 16"))["run"]
    return lane, lane_values(lane)


@pytest.mark.parametrize(
    "place",
    [
        ("history", "loss", 1),
        ("epoch_seconds", 0),
        ("rates", 1),
        ("trace", "Linear1.bias", 0),
        ("gradients", "Linear1.bias", 1),
        ("fingerprints", "order"),
        ("fingerprints", "start", "Linear1.bias"),
        ("status",),
        ("kept",),
        ("tables",),
        ("dead", "ReLU1"),
    ],
    ids=str,
)
@pytest.mark.parametrize("value", [[1.0], True, b""], ids=["list", "bool", "bytes"])
def test_values_of_another_type_are_refused(sent: tuple[LaneResult, dict[str, Any]], place: Any, value: Any) -> None:
    """A checkpoint may come from anywhere, with a digest that is right."""
    lane, values = sent
    changed = copy.deepcopy(values)
    inner: Any = changed
    for key in place[:-1]:
        inner = inner[key]
    assert inner[place[-1]] is not None
    inner[place[-1]] = value
    with pytest.raises(TypeError):
        lane_from(changed, {}, lane.network)
    assert lane_from(values, {}, lane.network).history == lane.history


def test_a_lane_without_a_digest_of_each_tensor_is_refused(sent: tuple[LaneResult, dict[str, Any]]) -> None:
    lane, values = sent
    changed = copy.deepcopy(values)
    del changed["fingerprints"]["start"]["Linear1.bias"]
    with pytest.raises(LookupError, match=r"no digest of the initial Linear1\.bias"):
        lane_from(changed, {}, lane.network)
