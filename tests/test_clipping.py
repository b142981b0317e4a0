"""Gradient clipping: PyTorch's numbers, nothing allocated, and the plan that uses it."""

from __future__ import annotations

import json
import math
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_plan import by_hand, make_plan, train
from tiny_spec import run, spec

from nnspec import engine as nn
from nnspec.data.source import Dataset
from nnspec.engine.random import Stream, stream

REFERENCE = json.loads((Path(__file__).parent / "oracle/clipping.json").read_text(encoding="utf-8"))


def parameters(*grads: Any, dtype: str = "float64") -> list[nn.Parameter]:
    params = [nn.Parameter(np.zeros(np.shape(grad)), dtype) for grad in grads]
    for parameter, grad in zip(params, grads, strict=True):
        parameter.grad = grad
    return params


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: case["case"])
def test_clipping_agrees_with_pytorch(case: dict[str, Any]) -> None:
    params = parameters(*case["grads"])
    arrays = [parameter.grad for parameter in params]
    if case["clip_value"] is not None:
        nn.clip_grad_value(params, case["clip_value"])
    if case["max_norm"] is not None:
        assert nn.clip_grad_norm(params, case["max_norm"]) == pytest.approx(case["norm"], rel=1e-14)
    for parameter, array, after in zip(params, arrays, case["after"], strict=True):
        assert parameter.grad is array
        np.testing.assert_allclose(array, np.array(after), rtol=1e-14, atol=0)


def test_gradients_within_their_bounds_keep_every_bit() -> None:
    row = np.random.default_rng(0).standard_normal(50)
    params = parameters(row)
    nn.clip_grad_value(params, 10.0)
    nn.clip_grad_norm(params, 1e3)
    np.testing.assert_array_equal(params[0].grad, row)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e18, 1e25, 1e38])
def test_the_norm_is_bounded_also_where_squares_overflow(scale: float, dtype: str) -> None:
    row = np.array([1.0, -2.0, 0.5]) * (scale if dtype == "float32" else scale**8)
    params = parameters(row, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        norm = nn.clip_grad_norm(params, 1e-3)
    assert norm == pytest.approx(abs(row[0]) * math.sqrt(5.25), rel=1e-5)
    expected = row / norm * min(1e-3, norm)
    np.testing.assert_allclose(params[0].grad, expected, rtol=2e-3)
    assert np.linalg.norm(params[0].grad.astype(np.float64)) <= 1e-3 * (1 + 1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_inf_are_kept_so_that_divergence_is_seen(bad: float) -> None:
    params = parameters([1.0, bad], [3.0])
    norm = nn.clip_grad_norm(params, 0.5)
    assert not math.isfinite(norm)
    np.testing.assert_array_equal(params[0].grad, [1.0, bad])
    np.testing.assert_array_equal(params[1].grad, [3.0])


@pytest.mark.parametrize("clip", [nn.clip_grad_norm, nn.clip_grad_value])
@pytest.mark.parametrize("bound", [0, -1.0, math.nan, math.inf])
def test_a_bound_that_is_not_positive_is_rejected(clip: Any, bound: float) -> None:
    with pytest.raises(ValueError, match="must be greater than 0"):
        clip(parameters([1.0]), bound)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1.0, 1e30])
def test_clipping_allocates_no_array(dtype: str, scale: float) -> None:
    params = parameters(np.full(200_000, 5.0 * scale), dtype=dtype)
    nn.clip_grad_norm(parameters([5.0]), 1.0)
    tracemalloc.start()
    try:
        nn.clip_grad_value(params, 2.0 * scale)
        nn.clip_grad_norm(params, 1.0)
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()


# The plan

CLIPS = {
    "clip_norm = 0.05": lambda p: nn.clip_grad_norm(p, 0.05),
    "clip_value = 0.001": lambda p: nn.clip_grad_value(p, 0.001),
    "clip_norm = 0.02; clip_value = 0.001": lambda p: (nn.clip_grad_value(p, 0.001), nn.clip_grad_norm(p, 0.02)),
}


@pytest.mark.parametrize("settings", CLIPS)
@pytest.mark.parametrize("optimizer", ["SGD(lr=0.5)", "Adam(lr=0.01)"])
def test_a_plan_clips_as_the_loop_does(settings: str, optimizer: str, digits: Dataset) -> None:
    model = "Linear(12); ReLU; Linear(10)"
    text = spec(model, optimizer=optimizer, train=f"batch = 16; {settings}", more="dtype = float64")
    plan = make_plan(text, digits)
    network, loss, losses = by_hand(model), nn.CrossEntropyLoss(), []
    steps = nn.SGD(network.parameters(), 0.5) if "SGD" in optimizer else nn.Adam(network.parameters(), 0.01)
    x, y = digits.train.x * (1 / 255), digits.train.y.astype(int)
    for epoch in range(3):
        order = np.arange(len(x))
        stream(0, Stream.SHUFFLE, epoch).shuffle(order)
        for start in range(0, len(x), 16):
            chosen = order[start : start + 16]
            losses.append(loss.forward(network.forward(x[chosen]), y[chosen]))
            network.backward(loss.backward())
            CLIPS[settings](network.parameters())
            steps.step()
    np.testing.assert_allclose(train(plan), losses, rtol=1e-11)
    for mine, theirs in zip(plan.network.parameters(), network.parameters(), strict=True):
        np.testing.assert_allclose(mine.data, theirs.data, rtol=1e-9, atol=1e-12)


def test_every_step_of_a_plan_stays_within_its_bounds(digits: Dataset) -> None:
    plan = make_plan(spec(train="batch = 16; clip_norm = 0.02; clip_value = 0.005"), digits)
    plan.begin(0)
    for number in range(plan.batches):
        plan.train_batch(number)
        grad = plan.buffers["gradients"]
        assert np.abs(grad).max() <= 0.005
        assert np.linalg.norm(grad) <= 0.02 * (1 + 1e-5)


def test_bounds_that_nothing_reaches_change_no_bit() -> None:
    plain, clipped = (
        run(spec())["run"],
        run(spec(train="epochs = 2; batch = 16; clip_norm = 1e6; clip_value = 1e6"))["run"],
    )
    assert plain.history == clipped.history


def test_a_run_that_diverges_is_kept_on_course_by_clipping() -> None:
    wild = spec("Linear(10)", loss="MSE", optimizer="SGD(lr=10)", train="epochs = 60; batch = 16")
    assert run(wild)["run"].status == "diverged"
    assert run(wild, "train.clip_norm=0.01")["run"].status == "done"
