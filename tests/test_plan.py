"""The compiled plan: the same numbers as a loop written with the teaching API, in buffers that it never leaves."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from tiny_plan import (
    ALLOCATION,
    EPOCHS,
    LOSSES,
    MODELS,
    OPTIMIZERS,
    SAMPLES,
    SIZES,
    assert_equal_training,
    eager,
    make_plan,
    peak_growth,
    train,
)
from tiny_spec import spec

from nnspec import engine as nn
from nnspec.compiler.batches import Batches
from nnspec.compiler.loop import Loop
from nnspec.data.source import Dataset, Split

BATCHES = (
    "batch = 16",
    "batch = 25",
    "batch = 49",
    "batch = 50",
    "batch = 5000",
    "batch = 1",
    "batch = 16; drop_last = true",
    "batch = 16; shuffle = false",
)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_as_the_loop_does(model: str, loss: str, digits: Dataset) -> None:
    for text, optimizer in OPTIMIZERS.items():
        plan = make_plan(spec(model, loss=loss, optimizer=text, more="dtype = float64"), digits)
        assert_equal_training(plan, train(plan), *eager(model, LOSSES[loss](), optimizer, digits, 16))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("settings", BATCHES)
def test_every_way_to_cut_batches_trains_as_the_loop_does(settings: str, loss: str, digits: Dataset) -> None:
    model = "Linear(12); ReLU; Dropout(0.3); Linear(10)"
    plan = make_plan(spec(model, loss=loss, optimizer="SGD(lr=0.05)", train=settings, more="dtype = float64"), digits)
    batch = int(re.search(r"\d+", settings)[0])
    wanted = eager(
        model, LOSSES[loss](), OPTIMIZERS["SGD(lr=0.05)"], digits, batch, "shuffle" not in settings, "drop" in settings
    )
    assert_equal_training(plan, train(plan), *wanted)


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ("batch = 16", [16, 16, 16, 2]),
        ("batch = 16; drop_last = true", [16, 16, 16]),
        ("batch = 50", [50]),
        ("batch = 51", [50]),
        ("batch = 49", [49, 1]),
    ],
)
def test_sizes_of_batches(settings: str, sizes: list[int]) -> None:
    plan = make_plan(spec(train=settings))
    plan.begin(0)
    assert [plan.train_batch(number)[1] for number in range(plan.batches)] == sizes


def test_test_figures_are_those_of_the_network_in_use(digits: Dataset) -> None:
    plan = make_plan(spec("Linear(12); ReLU; Dropout(0.5); Linear(10)", more="dtype = float64"), digits)
    train(plan)
    loss, (accuracy,) = plan.test()
    plan.release()
    outputs = plan.network.forward(digits.test.x / 255)
    labels = digits.test.y.astype(int)
    assert loss == pytest.approx(nn.CrossEntropyLoss().forward(outputs, labels), rel=1e-12)
    assert accuracy == np.mean(outputs.argmax(axis=1) == labels)


def test_testing_in_between_changes_nothing_of_the_training(digits: Dataset) -> None:
    text = spec("Linear(12); ReLU; Dropout(0.5); Linear(10)")
    once, often = make_plan(text, digits), make_plan(text, digits)
    for epoch in range(EPOCHS):
        for plan in (once, often):
            plan.begin(epoch)
            for number in range(plan.batches):
                plan.train_batch(number)
                if plan is often:
                    plan.test()
    for mine, theirs in zip(once.network.parameters(), often.network.parameters(), strict=True):
        np.testing.assert_array_equal(mine.data, theirs.data)


def test_a_released_network_takes_batches_of_any_size_and_leaves_the_plans_buffers(digits: Dataset) -> None:
    plan = make_plan(spec("Linear(12); ReLU; Dropout(0.5); Linear(10)"), digits)
    train(plan)
    plan.release()
    x = digits.test.x.astype(np.float32) / 255
    outputs = plan.network.forward(x)
    assert not any(np.shares_memory(outputs, buffer) for buffer in plan.buffers.values())
    for rows in (1, 3, 20):
        np.testing.assert_allclose(plan.network.forward(x[:rows]), outputs[:rows], rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_read_before_it_is_written(
    model: str, loss: str, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = spec(model, loss=loss, optimizer="Adam(lr=0.01)")
    clean = make_plan(text, digits)
    losses = train(clean)
    empty = np.empty

    def poisoned(shape: Any, dtype: Any = float, **more: Any) -> np.ndarray:
        array = empty(shape, dtype, **more)
        array.fill(np.nan if array.dtype.kind == "f" else 1)
        return array

    monkeypatch.setattr(np, "empty", poisoned)
    plan = make_plan(text, digits)
    assert train(plan) == losses
    np.testing.assert_array_equal(plan.buffers["parameters"], clean.buffers["parameters"])


# Memory and repetition

LARGE = (
    "Linear(width); ReLU; Dropout(0.2); Linear(32); Sigmoid; Tanh; Linear(10)",
    "concat { a { Linear(width); ReLU }; b { Linear(32) } }; Tanh; residual { ReLU; residual { Tanh; Dropout(0.2) } };"
    " add { a { Linear(32); Sigmoid }; b { residual { Linear(32); shortcut { ReLU; Linear(32) } } } }; Sigmoid;"
    " residual { ReLU; concat { a { Tanh }; b { } }; Linear(32) }; Sigmoid; Linear(10)",
)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layers", LARGE, ids=["a chain", "compositions"])
def test_training_allocates_no_arrays(layers: str, size: str, optimizer: str, loss: str) -> None:
    batch, width, samples = SIZES[size]
    model = layers.replace("width", str(width))
    data = f"Digits(train={samples}, test={batch + 7})"
    plan = make_plan(spec(model, loss=loss, optimizer=optimizer, train=f"batch = {batch}", data=data))
    train(plan, 1)
    assert peak_growth(plan) <= ALLOCATION


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_seeds_give_equal_bits_and_others_do_not(dtype: str, digits: Dataset) -> None:
    def trained(seed: int) -> tuple[bytes, list[float]]:
        model = "Linear(12); ReLU; Dropout(0.3); Linear(10)"
        plan = make_plan(spec(model, more=f"dtype = {dtype}\nseed = {seed}"), digits)
        losses = train(plan)
        return plan.buffers["parameters"].tobytes(), losses

    assert trained(7) == trained(7)
    assert trained(7)[0] != trained(8)[0]
    assert trained(7)[1] != trained(8)[1]


def test_lanes_start_with_the_same_weights_and_see_the_same_batches() -> None:
    text = spec(race="SGD(lr=0.1); Momentum; Adam", train="batch = 16")
    plans = [make_plan(text, lane=lane) for lane in ("SGD", "Momentum", "Adam")]
    for other in plans[1:]:
        np.testing.assert_array_equal(plans[0].buffers["parameters"], other.buffers["parameters"])
    for epoch in (0, 5):
        for plan in plans:
            plan.begin(epoch)
        orders = [plan.buffers["order"].tolist() for plan in plans]
        assert orders[0] == orders[1] == orders[2] != sorted(orders[0])


def test_epochs_have_orders_of_their_own_that_do_not_depend_on_those_before() -> None:
    plan, other = make_plan(spec()), make_plan(spec())
    orders = []
    for epoch in range(4):
        plan.begin(epoch)
        orders.append(plan.buffers["order"].tolist())
    assert len({tuple(order) for order in orders}) == 4
    assert all(sorted(order) == list(range(SAMPLES)) for order in orders)
    other.begin(3)
    assert other.buffers["order"].tolist() == orders[3]


@pytest.mark.parametrize(
    ("other", "unchanged"),
    [
        ("Linear(12); Tanh; Linear(8); Linear(10)", [0, 2, 3]),
        ("Linear(12); ReLU; Linear(9); Linear(10)", [0]),
        ("Linear(13); ReLU; Linear(8); Linear(10)", [3]),
        ("Linear(12); ReLU; Linear(8); Linear(11)", [0, 2]),
        ("Linear(12); Dropout(0.5); Linear(8); Linear(10)", [0, 2, 3]),
    ],
)
def test_a_change_to_one_layer_leaves_the_weights_of_the_others(other: str, unchanged: list[int]) -> None:
    one = make_plan(spec("Linear(12); ReLU; Linear(8); Linear(10)")).network
    two = make_plan(spec(other)).network
    for place in unchanged:
        np.testing.assert_array_equal(one.layers[place].weight.data, two.layers[place].weight.data)


# Features that are always zero


@pytest.mark.parametrize("optimizer", ["SGD(lr=0.05)", "Momentum(lr=0.05)", "Adam(lr=0.01)"])
def test_features_that_are_always_zero_are_skipped_and_nothing_else_changes(optimizer: str, digits: Dataset) -> None:
    ink_everywhere = np.random.default_rng(5).integers(1, 256, digits.test.x.shape).astype(np.uint8)
    data = dataclasses.replace(digits, test=Split(ink_everywhere, digits.test.y))
    at_rest = ~data.train.x.reshape(SAMPLES, -1).any(axis=0)
    text = spec("Linear(12); ReLU; Linear(10)", optimizer=optimizer)
    narrow, whole = make_plan(text, data), make_plan(text, data)
    whole.data = Batches(whole.experiment, whole.layout, data, whole.buffers, narrow=False)
    whole.narrowing = None
    whole.optimizer = whole._make_optimizer(())
    whole.loop = Loop([whole])
    start = [parameter.data.copy() for parameter in narrow.network.parameters()]
    for epoch in range(3):
        for plan in (narrow, whole):
            plan.begin(epoch)
            for number in range(plan.batches):
                plan.train_batch(number)
        np.testing.assert_allclose(narrow.test()[0], whole.test()[0], rtol=1e-5)
    for mine, theirs in zip(narrow.network.parameters(), whole.network.parameters(), strict=True):
        np.testing.assert_allclose(mine.data, theirs.data, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(narrow.network.parameters()[0].data[at_rest], start[0][at_rest])
    assert at_rest.sum() > 100
    assert narrow.optimizer.params[0].size == whole.optimizer.params[0].size - at_rest.sum() * 12


@pytest.mark.parametrize("model", ["residual { Linear(784) }; Linear(10)", "ReLU; Linear(10)"])
def test_only_a_weight_with_a_row_for_each_feature_is_narrowed(model: str, digits: Dataset) -> None:
    assert make_plan(spec(model), digits).data.alive is None
    assert make_plan(spec("Linear(10)"), digits).data.alive is not None


@pytest.mark.parametrize(
    ("optimizer", "train"),
    [
        ("SGD(lr=0.05, weight_decay=0.1)", ""),
        ("AdamW(weight_decay=0.1)", ""),
        ("SGD", "penalty = L2(0.1)"),
        ("SGD", "constraint = max_norm(0.1)"),
        ("SGD", "standardise = true"),
        ("SGD", "augment = noise(0.1)"),
    ],
)
def test_weights_that_move_without_a_gradient_are_not_skipped(optimizer: str, train: str, digits: Dataset) -> None:
    text = spec("Linear(10)", optimizer=optimizer, train=f"epochs = 1; batch = 16; {train}")
    plan = make_plan(text, digits)
    assert plan.data.alive is None
    before = plan.network.parameters()[0].data.copy()
    plan.begin(0)
    plan.train_batch(0)
    at_rest = ~digits.train.x.reshape(SAMPLES, -1).any(axis=0)
    moved = plan.network.parameters()[0].data[at_rest] != before[at_rest]
    assert moved.all() == (train not in ("standardise = true",))


def test_weights_that_decay_are_never_skipped() -> None:
    assert nn.Adam.rests({"lr": 0.1})
    assert nn.Adam.rests({"lr": 0.1, "weight_decay": 0.0})
    assert not nn.Adam.rests({"lr": 0.1, "weight_decay": 0.01})
