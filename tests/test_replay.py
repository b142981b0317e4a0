"""Compiled steps: training without Python, with the bits of the NumPy calls."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_plan import MODELS
from tiny_spec import ROOT, compiled, environment, run, spec

from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import Plan
from nnspec.compiler.prospects import calls_no_python, replays
from nnspec.compiler.replay import Replay
from nnspec.data.source import Dataset
from nnspec.engine.part import PARTS
from nnspec.errors import NnspecError
from nnspec.native import library
from nnspec.native.builder import Builder
from nnspec.native.recording import Instruction
from nnspec.results.lane import LaneResult
from nnspec.runner.options import RunOptions
from nnspec.testing.samples import Composed, Sample, Wrapped
from nnspec.testing.tables import every_sample
from nnspec.testing.training import Arrays, arrays, drawn, layer_spec

needs_numba = pytest.mark.skipif(not library.available(), reason="compiled steps need Numba, which is an extra")
PYTHON = RunOptions(jobs=1, compiled="never")
COMPILED = RunOptions(jobs=1, compiled="always")
MOVERS = {part.__name__ for part in PARTS["optimizer"].values()}


SAMPLES = [sample for sample in every_sample() if not isinstance(sample, (Composed, Wrapped))]
LOADED: dict[str, int] = {}


@pytest.fixture
def _arrays() -> Iterator[None]:
    with arrays():
        yield


@pytest.fixture(autouse=True)
def _kernels(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are loaded once for all of these tests."""
    monkeypatch.setattr(library, "_loaded", LOADED)


def plan_of(text: str, dataset: Dataset) -> Plan:
    program = compiled(text)
    (experiment,) = program.program.lanes
    return plan_alone(experiment, program.layouts["run"], dataset)


def replayed(plan: Plan) -> Replay:
    replay = Replay(plan.loop.alone(plan))
    library.make(replay.kernels)
    replay.link()
    return replay


def facts(lane: LaneResult) -> dict[str, Any]:
    """All that must not depend on how a lane was trained."""
    state = lane.network.state_dict()
    return {
        "history": lane.history,
        "rates": lane.rates,
        "ended": (lane.status, lane.message, lane.stopped, lane.restored_epoch),
        "arrays": {name: array.tobytes() for name, array in state.items()},
        "digests": (lane.fingerprints, lane.trace),
        "watched": (lane.gradients, lane.dead, lane.broken, lane.tables),
        "repeats": [facts(each) for each in lane.repeats],
    }


def trainings(lane: LaneResult) -> tuple[LaneResult, ...]:
    return lane.repeats or (lane,)


def same_both_ways(text: str, *, python: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Train a spec in Python and compiled; `python` are the parts, besides optimizers, that stay Python calls."""
    plain, fast = run(text, ways=PYTHON), run(text, ways=COMPILED)
    for name, lane in plain.lanes.items():
        assert facts(fast.lanes[name]) == facts(lane)
        for one, other in zip(trainings(lane), trainings(fast.lanes[name]), strict=True):
            assert one.compiled is None
            assert other.compiled is not None
            assert set(other.compiled["python"]) - MOVERS == python, other.compiled["python"]
    for experiment in compiled(text).program.lanes:
        if calls_no_python(experiment) and replays([experiment]):
            assert not trainings(fast.lanes[experiment.name])[0].compiled["python"]


# Every part


@needs_numba
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
@pytest.mark.usefixtures("_arrays")
def test_every_layer_is_recorded(sample: Sample) -> None:
    text = layer_spec(sample)
    program = compiled(text)
    (experiment,) = program.program.lanes
    source = experiment.data[0].source
    assert isinstance(source, Arrays)
    plan = plan_of(text, drawn(source))
    replay = replayed(plan)
    assert replay.gaps.keys() == {sample.part} & UNRECORDED
    assert replay.check() == ""


UNRECORDED = {"GaussianNoise"}
"""Layers that stay NumPy calls: it draws from the normal distribution."""


@needs_numba
@pytest.mark.parametrize("model", MODELS)
def test_every_composition_is_recorded(model: str, digits: Dataset) -> None:
    replay = replayed(plan_of(spec(model), digits))
    assert (replay.gaps, replay.check()) == ({}, "")


GRAPHS = {
    "from": "a: Linear(8); Tanh; Linear(6); concat { p { }; q { from(a) }; r { from(input); Linear(4) } }; Linear(10)",
    "same": "Linear(8); a: Linear(8); n: BatchNorm; same(a); same(n); d: Dropout(0.2); same(a); same(d); Linear(10)",
    "transposed": "Linear(9); h: Linear(8); Tanh; d: transposed(h, bias=true); Tanh; same(h); same(d); Linear(10)",
    "joins": "a: Linear(8); multiply { p { }; q { from(a); Sigmoid } }; subtract { p { }; q { Linear(8) } }; concat"
    " { angle { dot { p { }; q { from(a) } } }; far { distance { p { }; q { from(a) } } }; all { } }; Linear(10)",
    "a context": "Linear(16); Reshape([4, 4]); e: LSTM(4, return_cell=true, return_sequences=false); Linear(12);"
    " Reshape([3, 4]); k: GRU(4); LSTM(4, state=e); MultiHeadAttention(2, context=k); GlobalAvgPool; Linear(10)",
}


@needs_numba
@pytest.mark.parametrize("model", GRAPHS.values(), ids=GRAPHS)
def test_graphs_train_to_the_same_bits(model: str) -> None:
    same_both_ways(spec(model, optimizer="Adam(lr=0.01)", train="epochs = 3; batch = 16"))


OPTIMIZERS = [
    f"{name}({arguments})"
    for name, part in PARTS["optimizer"].items()
    if part.__module__.startswith("nnspec.") and name == part.spec_name and name != "LBFGS"
    for arguments in ("", "lr=cosine(0.01), weight_decay=0.1")
]


@needs_numba
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_optimizer_trains_to_the_same_bits(dtype: str) -> None:
    lanes = "; ".join(f"lane{i} {{ optimizer = {optimizer} }}" for i, optimizer in enumerate(OPTIMIZERS))
    same_both_ways(spec(race=lanes, train="epochs = 3; batch = 16", more=f"dtype = {dtype}"))


@needs_numba
@pytest.mark.parametrize(
    ("loss", "data", "width", "python"),
    [
        ("CrossEntropy", "Digits", 10, set()),
        ("CrossEntropy(label_smoothing=0.1)", "Digits", 10, {"CrossEntropyLoss"}),
        ("CrossEntropy(class_weights=[1, 2, 1, 1, 1, 1, 1, 1, 1, 0.5])", "Digits", 10, {"CrossEntropyLoss"}),
        ("NLL", "Digits", 10, set()),
        ("Hinge", "Digits", 10, set()),
        ("BCEWithLogits", "Moons", 1, set()),
        ("KLDiv", "Digits", 10, set()),
        ("MAE", "Sine", 1, set()),
        ("Huber(delta=0.1)", "Sine", 1, set()),
        ("MSE", "Sine", 1, set()),
        ("MSE", "Digits", 10, set()),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_loss_trains_to_the_same_bits(loss: str, data: str, width: int, python: set[str], dtype: str) -> None:
    model, source = f"Linear(12); Tanh; Linear({width})", f"{data}(train=50, test=20)"
    text = spec(model, loss=loss, data=source, race="SGD; Adam", more=f"dtype = {dtype}")
    same_both_ways(text, python=python)


@needs_numba
@pytest.mark.parametrize(
    ("train", "python"),
    [
        ("validation = 0.2; repeats = 2", set()),
        ("clip_norm = 0.1; penalty = L2(0.001)", set()),
        ("clip_value = 0.01; constraint = max_norm(1)", set()),
        ("standardise = true", set()),
        ("augment = noise(0.1)", {"Batches"}),
        ("drop_last = true; shuffle = false", set()),
        ("validation = 0.3; early_stop = patience(1)", set()),
        ("lr_factor { Linear = 0.5; bias = 2 }; weight_decay { Linear = 0.1; bias = 0.01 }", set()),
        ("freeze = Linear1", set()),
        ("freeze = [scale, Linear2.weight]; lr_factor.Linear1 = 0.1; clip_norm = 0.1", set()),
    ],
)
def test_every_setting_trains_to_the_same_bits(train: str, python: set[str]) -> None:
    text = spec(
        "Linear(12, bias=false); BatchNorm; ReLU; Dropout(0.3); Linear(10)",
        race="SGD; Adam(lr=plateau(0.01, of=loss, patience=1)); Momentum(lr=linear(0.01, warmup=3, per=step))",
        train=f"epochs = 4; batch = 16; {train}",
    )
    same_both_ways(text, python=python)


@needs_numba
@pytest.mark.parametrize(
    ("train", "python"),
    [
        ("steps = 13; record = 3; batch = 16; validation = 0.2", set()),
        ("steps = 11; record = 9; batch = 10", set()),  # all batches are full
        ("epochs = 3; record = 1; batch = 16", set()),
        ("steps = 13; record = 3; batch = 16; augment = noise(0.1)", {"Batches"}),
        ("steps = 7; record = 2; batch = 8; accumulate = 2", set()),
    ],
)
def test_records_within_epochs_train_to_the_same_bits(train: str, python: set[str]) -> None:
    text = spec(
        "Linear(12); ReLU; Dropout(0.3); Linear(10)",
        race="SGD; Adam(lr=cosine(0.01, warmup=2, per=step)); LAMB; ScheduleFreeSGD(lr=cosine(0.5))",
        train=train,
    )
    same_both_ways(text, python=python)


@needs_numba
def test_it_says_which_optimizers_move_in_python() -> None:
    race = "SGD; LAMB; Muon; Prodigy; ScheduleFreeAdamW; Adan; odd { optimizer = Adam; train.clip_norm = 1 }"
    lanes = run(spec(race=race), ways=COMPILED).lanes
    stays = {name: lane.compiled and lane.compiled["python"] for name, lane in lanes.items()}
    assert stays == {
        "SGD": {},
        "LAMB": {"LAMB": "it has no loop over numbers"},
        "Muon": {"Muon": "it has no loop over numbers"},
        "Prodigy": {"Prodigy": "it sums over all gradients in Python before every update"},
        "ScheduleFreeAdamW": {},
        "Adan": {},
        "odd": {"Adam": "gradients or weights are penalised, clipped or constrained in Python"},
    }


@needs_numba
@pytest.mark.parametrize(
    ("metrics", "python"),
    [("accuracy, top_k(3), perplexity", set()), ("accuracy, f1, confusion", {"F1", "Confusion"})],
)
def test_metrics_count_the_same(metrics: str, python: set[str]) -> None:
    same_both_ways(spec(more=f"metrics = [{metrics}]", race="SGD; Adam"), python=python)


@needs_numba
def test_lanes_that_diverge_end_where_they_do_in_python() -> None:
    race = "SGD(lr=1e30); Adam(lr=0.01); Momentum(lr=1e18); ScheduleFreeSGD(lr=1e30)"
    text = spec(race=race, train="epochs = 3; batch = 16")
    same_both_ways(text)


@needs_numba
@pytest.mark.parametrize(
    "model",
    [
        "Linear(8); Dropout(0.4); ReLU; Linear(10)",
        "LSTM(5, return_sequences=false); Linear(10)",
        "Conv2D(3, 5); BatchNorm; ReLU; MaxPool(2); Flatten; Linear(10)",
        "Reshape([28, 28]); MultiHeadAttention(2); Flatten; Linear(10)",
    ],
)
def test_lanes_that_compute_alike_are_recorded_once(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded, own = [], Replay._record

    def record(self: Replay) -> None:
        recorded.append(self)
        own(self)

    monkeypatch.setattr(Replay, "_record", record)
    lanes = "SGD(lr=0.1); Adam(lr=0.01); Momentum(lr=0.05); again { optimizer = SGD(lr=0.1) }"
    text = spec(model, race=lanes, train="epochs = 3; batch = 16; repeats = 2")
    same_both_ways(text)
    assert len(recorded) == 1  # whatever the number of groups


# When


@needs_numba
def test_a_run_starts_in_python_and_continues_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    text = spec(race="SGD(lr=0.1); Adam(lr=0.01)", train="epochs = 5; batch = 16")
    plain, turns = run(text, ways=PYTHON), []
    run(text, ways=COMPILED)  # the kernels are there now

    def later(self: Builder, names: Any, *, wait: bool = False) -> bool:
        turns.append(names)
        return len(turns) > 5

    monkeypatch.setattr(Builder, "ready", later)
    for bound in ("GAINS", "WORTH"):  # however short the training is
        monkeypatch.setattr(f"nnspec.compiler.switch.{bound}", -1.0)
    fast = run(text, ways=RunOptions(jobs=1, compiled="auto"))
    for name, lane in plain.lanes.items():
        assert facts(fast.lanes[name]) == facts(lane)
        found = fast.lanes[name].compiled
        assert found is not None
        assert found["since"] > 2


def test_without_numba_a_run_is_trained_in_python_or_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("nnspec.compiler.switch.available", "nnspec.environment.available"):
        monkeypatch.setattr(place, lambda: False)
    assert run(spec(), ways=RunOptions(jobs=1, compiled="auto")).lanes["run"].compiled is None
    with pytest.raises(NnspecError, match=r'pip install "nnspec\[fast\]"'):
        run(spec(), ways=COMPILED)


# What guards it


@needs_numba
def test_what_differs_from_numpy_by_a_bit_is_found(digits: Dataset) -> None:
    replay = replayed(plan_of(spec("Linear(6); Tanh; Linear(10)"), digits))
    found = looked = 0
    for program in replay._programs.values():
        for part in program.parts:
            assert isinstance(part, list)
            for place in range(len(part)):
                kept, part[place] = part[place], Instruction("run", (0, 0))  # one that does nothing
                program.load()
                found, looked = found + (replay.check() != ""), looked + 1
                part[place] = kept
                program.load()
    assert replay.check() == ""
    assert found >= 0.95 * looked  # a few write what changes nothing, such as the first number of a maximum


def test_code_that_is_damaged_or_that_others_may_write_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("llvmlite", reason="kernels are loaded by llvmlite, which is an extra")
    monkeypatch.setattr(library, "folder", lambda: tmp_path / "kernels")
    monkeypatch.setattr(library, "_loaded", {})
    library.make(["count"])
    (place,) = (tmp_path / "kernels").iterdir()
    assert place.stat().st_mode & 0o777 == 0o600
    assert library.missing(["count"]) == []
    whole = place.read_bytes()
    place.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert library.missing(["count"]) == ["count"]
    library.make(["count"])
    assert library.missing(["count"]) == []
    if hasattr(os, "getuid"):
        place.parent.chmod(0o777)
        assert library.missing(["count"]) == ["count"]
        library.make(["count"])  # for this process alone
        assert library.missing(["count"]) == []
        place.parent.chmod(0o700)
    with pytest.raises(KeyError):
        library.make(["no such kernel"])
    with pytest.raises(KeyError):
        library.make(["move:os:system:0:2:f4"])


@needs_numba
def test_kernels_are_built_in_a_separate_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "folder", lambda: tmp_path / "kernels")
    monkeypatch.setattr(library, "_loaded", {})
    builder = Builder()
    assert not builder.ready(["count"])
    assert builder._process is not None
    assert builder._process.wait(60) == 0
    assert builder.ready(["count"])
    builder.close()
    stranger = Builder()
    assert not stranger.ready(["run"])
    process = stranger._process
    assert process is not None
    stranger.close()  # at the end of a run that was shorter
    assert process.poll() is not None


@needs_numba
def test_loading_kernels_imports_no_compiler(kernels: Path, tmp_path: Path) -> None:
    library.make(["count"])
    code = "import sys; from nnspec.native.library import load; load(['count']); print('numba' in sys.modules)"
    variables = environment(tmp_path, NNSPEC_CACHE_DIR=str(kernels.parent))
    found = subprocess.run(
        [sys.executable, "-c", code], env=variables, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"


@needs_numba
def test_ctrl_c_amid_an_epoch_leaves_the_last_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    text = spec(train="epochs = 6; batch = 16")
    plain = run(spec(train="epochs = 2; batch = 16"), ways=PYTHON)
    whole = Replay.train

    def pressed(self: Replay, epoch: int) -> Any:
        if epoch == 2:
            raise KeyboardInterrupt
        return whole(self, epoch)

    monkeypatch.setattr(Replay, "train", pressed)
    result = run(text, ways=COMPILED)
    lane = result.lanes["run"]
    assert (result.interrupted, lane.status) == (True, "interrupted")
    assert lane.history == plain.lanes["run"].history
    for name, array in plain.lanes["run"].network.state_dict().items():
        np.testing.assert_array_equal(lane.network.state_dict()[name], array)


@needs_numba
def test_the_kernel_builder_ends_with_its_parent(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "nnspec.native.library",
        *(f"copy.u{n}.i{m}" for n in (1, 2, 4) for m in (1, 2, 4)),
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, env=environment(tmp_path, NNSPEC_CACHE_DIR=str(tmp_path)), cwd=ROOT
    )
    assert process.stdin is not None
    process.stdin.close()  # as when a worker is killed
    assert process.wait(60) == 1
