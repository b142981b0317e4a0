"""The layout: what the plan will hold, known before any array exists, and true of the arrays once they do."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from test_plan import LOSSES, MODELS, OPTIMIZERS, make_plan
from tiny_spec import RACE, compiled, noise, spec

import nnspec.compiler.layout as layout_module
from nnspec.api import compile_spec
from nnspec.compiler.plan import Plan
from nnspec.engine.work import Work


def test_figures_of_the_race_are_exact() -> None:
    layouts = compile_spec(RACE).layouts
    assert set(layouts) == {"SGD", "Momentum", "Adam"}
    assert {layout.params for layout in layouts.values()} == {784 * 64 + 64 + 64 * 32 + 32 + 32 * 10 + 10} == {52_650}
    products, biases, activations = 2 * (784 * 64 + 64 * 32 + 32 * 10), 64 + 32 + 10, 64 + 32
    assert {layout.flops for layout in layouts.values()} == {products + biases + activations} == {105_290}


@pytest.mark.parametrize(("lane", "vectors"), [("SGD", 1), ("Momentum", 2), ("Adam", 3)])
def test_account_of_the_race_is_exact(lane: str, vectors: int) -> None:
    layout = compile_spec(RACE).layouts[lane]
    account = layout.groups()
    assert account["parameters"] == account["gradients"] == 4 * 52_650
    assert account["optimizer"] == vectors * 4 * 52_650
    assert account["batch"] == 64 * 784 * (1 + 4) + 64 * 8 + 2 * 2000 * 8
    assert account["activations"] == 4 * 64 * (64 + 32 + 10)
    assert account["backward"] == 2 * 4 * 64 * 64
    assert sum(account.values()) == layout.memory


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("model", MODELS)
def test_buffers_of_the_plan_are_those_of_the_layout(model: str, loss: str) -> None:
    for optimizer in OPTIMIZERS:
        plan = make_plan(spec(model, loss=loss, optimizer=optimizer))
        assert plan.layout.memory == sum(array.nbytes for array in plan.buffers.values())
        for buffer in plan.layout.buffers:
            array = plan.buffers[buffer.name]
            assert (array.shape, array.dtype, array.nbytes) == (buffer.shape, np.dtype(buffer.dtype), buffer.nbytes)


def test_sums_are_those_of_the_layers() -> None:
    layout = compiled(spec("Linear(12, bias=false); Sigmoid; Linear(10)")).layouts["run"]
    assert [layer.size for layer in layout.layers] == [784 * 12, 0, 130]
    assert layout.params == 784 * 12 + 130
    assert layout.flops == 2 * 784 * 12 + 4 * 12 + 2 * 12 * 10 + 10


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_all_weights_are_views_of_one_vector(optimizer: str) -> None:
    plan = make_plan(spec("Linear(12); ReLU; Linear(8, bias=false); Linear(10)", optimizer=optimizer))
    for name, part in (("parameters", "data"), ("gradients", "grad")):
        vector, offset = plan.buffers[name], 0
        for parameter in plan.network.parameters():
            view = getattr(parameter, part)
            assert view.ctypes.data == vector.ctypes.data + offset
            assert np.shares_memory(view, vector)
            offset += view.nbytes
        assert offset == vector.nbytes
    pairs = [(plan.optimizer.params[0].data, "parameters"), (plan.optimizer.work["scratch"], "optimizer.scratch")]
    pairs += [(array, f"optimizer.{slot}") for slot, array in plan.optimizer.state[0].items()]
    for array, name in pairs:
        assert array.ctypes.data == plan.buffers[name].ctypes.data
        assert array.shape == plan.buffers[name].shape


def test_work_arrays_of_one_layer_do_not_overlap_and_those_of_two_layers_may() -> None:
    place = layout_module._Placing(batch=5, dtype="float32")
    placed = place({"a": Work((3,)), "b": Work((7,), "bool"), "kept": Work((2,), saved=True), "c": Work((), "index")})
    assert list(placed.saved) == ["kept"]
    spans = [(offset, offset + 5 * size) for (offset, _), size in zip(placed.pooled.values(), (12, 7, 8), strict=True)]
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert all(start % 64 == 0 for start, _ in spans)
    assert spans[-1][1] <= placed.pool


@pytest.mark.parametrize(
    ("model", "in_place"),
    [
        ("Linear(12); ReLU; Linear(10)", [False, True, False]),
        ("Linear(12); ReLU; Dropout(0.5); Linear(10)", [False, True, False, False]),
        ("Linear(12); Dropout(0.5); ReLU; Linear(10)", [False, True, True, False]),
        ("Linear(12); Sigmoid; Tanh; ReLU; Linear(10)", [False, True, False, False, False]),
        ("Linear(12); Tanh; Flatten; Dropout(0.5); ReLU; Linear(10)", [False, True, False, True, True, False]),
        ("ReLU; Linear(10)", [True, False]),
    ],
)
def test_a_layer_writes_over_its_input_unless_the_one_before_reads_it_again(model: str, in_place: list[bool]) -> None:
    layout = compiled(spec(model)).layouts["run"]
    assert [layer.in_place for layer in layout.layers] == in_place
    activations = [buffer.name for buffer in layout.buffers if buffer.group == "activations"]
    assert activations == [f"y{i}" for i, written_over in enumerate(in_place) if not written_over]


@pytest.mark.parametrize(
    ("model", "own"),
    [
        ("Linear(10)", False),
        ("Linear(10); Dropout(0.5)", False),
        ("Linear(10); Tanh", True),
        ("Linear(10); ReLU", True),
    ],
)
def test_the_loss_works_in_the_outputs_unless_they_are_read_again(model: str, own: bool) -> None:
    layout = compiled(spec(model)).layouts["run"]
    assert layout.loss_in_place is not own
    assert ("loss" in {buffer.name for buffer in layout.buffers}) is own


@pytest.mark.parametrize(
    ("model", "widths"),
    [
        ("Linear(10)", []),
        ("Linear(12); ReLU; Linear(10)", [12]),
        ("Linear(12); ReLU; Dropout(0.5); Linear(10)", [12]),
        ("Linear(12); Linear(20); Linear(10)", [20, 20]),
        ("Tanh; Sigmoid; Linear(12); ReLU; Linear(10)", [12]),
    ],
)
def test_backward_has_the_buffers_that_it_uses_and_no_more(model: str, widths: list[int]) -> None:
    plan = make_plan(spec(model, train="batch = 16"))
    backward = [buffer.shape for buffer in plan.layout.buffers if buffer.group == "backward"]
    assert backward == [(16 * width,) for width in widths]
    plan.train_batch(0)
    outs = [out for _, out in plan._pass(16, whole=True).backward]
    used = {i for i in range(2) for out in outs if shares(out, plan.buffers.get(f"g{i}"))}
    assert used == set(range(len(widths)))


def shares(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is not None and other is not None and bool(np.shares_memory(one, other))


@pytest.mark.parametrize(("batch", "rows"), [(1, 1), (16, 16), (50, 50), (10_000, 50)])
def test_buffers_have_no_more_rows_than_there_are_samples(batch: int, rows: int) -> None:
    layout = compiled(spec(train=f"batch = {batch}")).layouts["run"]
    assert layout.batch == rows
    assert next(buffer for buffer in layout.buffers if buffer.name == "x").shape == (rows, 784)


def test_alternatives_of_different_size_fit_the_same_buffers() -> None:
    text = spec(data="MNIST(train=10, test=5) or Digits(train=50, test=20)", train="batch = 30")
    program = compiled(text)
    layout = program.layouts["run"]
    assert layout.batch == 30
    for choice in program.program.lanes[0].data:
        plan = Plan(program.program.lanes[0], layout, noise(choice.facts))
        plan.begin(0)
        assert sum(plan.train_batch(number)[1] for number in range(plan.batches)) == choice.facts.train
