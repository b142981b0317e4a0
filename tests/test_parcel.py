"""What trainings send to other processes: every field of a lane arrives as it was, and nothing else is sent."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from dataclasses import asdict, fields
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spec import compiled, environment, run, spec

from nnspec.compiler.plan import build_network
from nnspec.executors.messages import Epochs, MessageError, decoded, encoded, pack, plain, values_of
from nnspec.results.lane import LaneResult
from nnspec.runner.run import Ways
from nnspec.training.groups import trainings
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
    if isinstance(one, dict):
        return [*one] == [*other] and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (one != one and other != other)


class Listening(Silent):
    """Holds every lane that is told of against its messages."""

    def __init__(self) -> None:
        self.fields: set[str] = set()

    def lane_begins(self, lane: LaneResult) -> None:
        self.epoch_done(lane)

    def epoch_done(self, lane: LaneResult) -> None:
        for sent in (values_of(lane), asdict(Epochs.since(lane, 0))):
            assert same(decoded(encoded(sent, "lane")), sent)
            self.fields |= {name for name, value in sent.items() if value}

    def lane_ends(self, lane: LaneResult) -> None:
        sent = pack(lane)
        assert same(decoded(encoded(dict(sent.values), "lane")), dict(sent.values))
        assert same(dict(pickle.loads(pickle.dumps(sent.arrays))), dict(lane.network.state_dict()))
        self.epoch_done(lane)


def test_every_field_of_a_lane_arrives_as_it_was() -> None:
    listening = Listening()
    result = run(EVERYTHING, observer=listening, ways=Ways(stacked=False))
    assert result["wild"].status == "diverged"
    assert result["SGD"].scaling is not None
    run(
        EVERYTHING.replace(WILD, "Momentum"),
        observer=listening,
        ways=Ways(profile=True),
    )
    regression = spec("Linear(1)", loss="MSE", data="Sine(train=30, test=10)", train="standardise_target = true")
    run(regression, observer=listening)
    not_sent = {"network", "predictor", "writer", "repeats"}  # rebuilt where they arrive
    not_here = {"unsaved", "sample", "compiled"}  # empty in this run
    assert {field.name for field in fields(LaneResult)} - listening.fields == not_sent | not_here


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 0, -1, 2**200, 0.1, -0.0, math.inf, math.nan, 5e-324, "", "é\udce9→\0", [], (), {}, {"": [()]}),
        (np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 2), np.int64)),
        np.array(3.5),
    ],
)
def test_plain_values_arrive_to_the_bit(value: Any) -> None:
    assert same(decoded(encoded(value, "x")), value)


def test_scalars_of_numpy_are_sent_as_those_of_python() -> None:
    sent = plain({"a": np.float32(0.1), "b": [np.int64(3)], "c": np.bool_(True), "d": np.float64(0.1)}, "x")
    assert same(sent, {"a": 0.10000000149011612, "b": [3], "c": True, "d": 0.1})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"loss": [1.0, object()]}, r"`history\['loss'\]\[1\]` is of type object, which cannot be sent"),
        ({"loss": {1.0}}, r"`history\['loss'\]` is of type set, which cannot be sent"),
        ({"loss": [np.array([object()])]}, r"`history\['loss'\]\[0\]` is of type ndarray"),
        ({3: 4}, r"`history` has the key 3"),
    ],
)
def test_anything_else_is_refused_by_the_name_of_its_field(value: Any, message: str) -> None:
    (training,) = trainings(compiled(spec()))
    lane = run(spec())["run"]
    lane.network, lane.history = build_network(training.experiment), value
    with pytest.raises(MessageError, match=message):
        values_of(lane)


def test_what_is_to_be_trained_arrives_as_it_was() -> None:
    """By a pipe and by Dask, which has a pickle of its own."""
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
