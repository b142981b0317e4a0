"""The layout: what the plan will hold, known before any array exists, and true of the arrays once they do."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_plan import LOSSES, MODELS, OPTIMIZERS, make_plan
from tiny_spec import RACE, compiled, noise, spec

from nnspec.api import compile_spec
from nnspec.compiler.loop import plan_alone


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
    # The outputs of three layers, of which those of the last become its gradient; the gradient of the second layer's
    # input; that of the first one's goes where the outputs of the second were, which is made as large. And where each
    # label stands, which the loss keeps.
    assert account["values"] == 4 * 64 * (64 + 64 + 10 + 32) + 64 * 8
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
        plan = plan_alone(program.program.lanes[0], layout, noise(choice.facts))
        plan.begin(0)
        assert sum(plan.train_batch(number)[1] for number in range(plan.batches)) == choice.facts.train
