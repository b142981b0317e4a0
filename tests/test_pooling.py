"""Pools and reshaping: what the contract of layers does not ask."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from nnspec import engine as nn
from nnspec.engine.layers.contract import ShapeError

POOL = {"kernel_size": 2, "stride": None, "padding": "valid"}
OVERLAPS = {"kernel_size": 3, "stride": 1, "padding": "same"}


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape)


def test_pools_by_hand() -> None:
    x = np.array([[[[1.0, 2.0, 5.0], [4.0, 3.0, 6.0]]]])
    g = np.array([[[[8.0]]]])
    largest, mean = nn.MaxPool(2), nn.AvgPool(2)
    np.testing.assert_array_equal(largest.forward(x), [[[[4]]]])
    np.testing.assert_array_equal(largest.backward(g), [[[[0, 0, 0], [8, 0, 0]]]])
    np.testing.assert_array_equal(mean.forward(x), [[[[2.5]]]])
    np.testing.assert_array_equal(mean.backward(g), [[[[2, 2, 0], [2, 2, 0]]]])
    of_all = nn.GlobalAvgPool()
    np.testing.assert_array_equal(of_all.forward(x), [[3.5]])
    np.testing.assert_array_equal(of_all.backward(np.array([[6.0]])), np.ones((1, 1, 2, 3)))


def test_the_first_of_equal_numbers_gets_the_gradient() -> None:
    layer = nn.MaxPool(2)
    layer.forward(np.array([[[[0.0, 3.0, 1.0, 1.0], [3.0, 3.0, 1.0, 1.0]]]]))
    np.testing.assert_array_equal(layer.backward(np.array([[[[5.0, 7.0]]]])), [[[[0, 5, 7, 0], [0, 0, 0, 0]]]])


def test_windows_that_overlap_add_their_gradients() -> None:
    layer = nn.MaxPool(2, stride=1)
    layer.forward(np.array([[[1.0], [9.0], [2.0]]]))
    np.testing.assert_array_equal(layer.backward(np.array([[[5.0], [7.0]]])), [[[0], [12], [0]]])


def test_padding_is_never_the_largest_and_counts_in_a_mean() -> None:
    x = np.full((1, 1, 2, 2), -3.0)
    np.testing.assert_array_equal(nn.MaxPool(2, padding=1).forward(x), np.full((1, 1, 2, 2), -3))
    np.testing.assert_array_equal(nn.AvgPool(2, padding=1).forward(x), np.full((1, 1, 2, 2), -0.75))


@pytest.mark.parametrize("part", [nn.MaxPool, nn.AvgPool])
@pytest.mark.parametrize("arguments", [{}, {"stride": 3}, OVERLAPS, {"kernel_size": 3, "stride": 2, "padding": 1}])
def test_the_order_of_arrays_in_memory_changes_no_bit(part: Any, arguments: dict[str, Any]) -> None:
    x = np.maximum(normal(4, 3, 8, 7), 0)
    other = np.moveaxis(np.empty((3, 8, 7, 4)), -1, 0)
    other[...] = x
    layer = part(**arguments)
    y = layer.forward(x).copy()
    dx = layer.backward(normal(*y.shape))
    out = np.moveaxis(np.empty((*y.shape[1:], 4)), -1, 0)
    np.testing.assert_array_equal(layer.forward(other, out), y)
    np.testing.assert_array_equal(layer.backward(normal(*y.shape), np.empty_like(other)), dx)


# Kinks


def test_sides_tell_which_place_is_the_largest() -> None:
    layer, x = nn.MaxPool(2), np.array([[[[1.0, 2.0], [3.0, 0.0]]]])
    layer.forward(x)
    before = layer.sides()
    x[0, 0, 0, 0] = 2.9
    layer.forward(x)
    np.testing.assert_array_equal(layer.sides(), before)
    x[0, 0, 0, 0] = 3.1
    layer.forward(x)
    assert not np.array_equal(layer.sides(), before)
    assert nn.AvgPool().sides() is None


def test_a_gradient_check_leaves_out_steps_in_which_another_number_becomes_the_largest() -> None:
    x = normal(2, 1, 4, 4)
    assert nn.numerical_gradient_check(nn.MaxPool(2), x) < 1e-7
    x[0, 0, 0, :2] = x[0, 0, :2, :2].max() + 1  # two of a window are equal: no derivative there
    network = nn.NumpyMLP(nn.MaxPool(2), nn.Flatten())
    report = nn.check_gradients(network, nn.MSELoss(), x, normal(2, 4))
    tensor = next(tensor for tensor in report.tensors if tensor.name == "input")
    assert tensor.left_out == ((0, 0, 0, 0), (0, 0, 0, 1))
    assert tensor.error < 1e-7


@pytest.mark.parametrize("arguments", [{}, OVERLAPS, {"padding": 1}])
def test_a_pool_that_takes_a_relu_over_gives_the_same_bits(arguments: dict[str, Any]) -> None:
    x = normal(5, 3, 6, 6)
    x[0] = -abs(x[0])  # windows in which nothing is above zero
    x[1, 0] = 0
    x[2, 1, :2, :2] = 1.5
    relu, pool, both = nn.ReLU(), nn.MaxPool(**arguments), nn.MaxPool(**arguments)
    both.absorb(relu)
    y = pool.forward(relu.forward(x))
    np.testing.assert_array_equal(both.forward(x), y)
    g = normal(*y.shape)
    expected = relu.backward(pool.backward(g))
    np.testing.assert_array_equal(both.backward(g), expected)
    # Both in turn are the same once more.
    np.testing.assert_array_equal(both.forward(relu.forward(x)), y)
    np.testing.assert_array_equal(relu.backward(both.backward(g)), expected)


def test_nothing_else_is_taken_over() -> None:
    assert nn.MaxPool.absorbs == (nn.ReLU,)
    assert nn.AvgPool.absorbs == ()
    for pool, layer in ((nn.MaxPool(), nn.Tanh()), (nn.AvgPool(), nn.ReLU())):
        with pytest.raises(TypeError, match="cannot absorb"):
            pool.absorb(layer)


# What does not fit


@pytest.mark.parametrize(
    ("part", "incoming", "arguments", "message"),
    [
        (nn.MaxPool, (784,), {}, "expects a sequence, places × features, but got 784 features"),
        (nn.AvgPool, (1, 2, 3, 4), {}, "expects an image, channels × rows × columns, but got an array of 1×2×3×4"),
        (nn.MaxPool, (3, 1, 4), {}, "a window of 2×2 does not fit into 1×4"),
        (nn.MaxPool, (3, 4, 4), {"padding": 2}, "at most half of its window of 2×2"),
        (
            nn.MaxPool,
            (3, 4),
            {"kernel_size": [2, 2]},
            "expects an image, channels × rows × columns, but got a sequence of",
        ),
        (nn.GlobalAvgPool, (784,), {}, "expects a sequence or an image but got 784 features"),
    ],
)
def test_what_does_not_fit_is_refused(
    part: Any, incoming: tuple[int, ...], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        part.geometry(incoming, POOL | arguments)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([3, 5], r"3×4 are 12 numbers, but \[3, 5\] holds 15"),
        ([5, -1], r"holds a multiple of 5"),
        ([-1, -1], "`shape` can contain -1 only once"),
        ([0, 12], "`shape` cannot contain 0"),
        ([], "`shape` cannot be empty"),
    ],
)
def test_a_shape_that_the_numbers_do_not_fit_is_refused(shape: list[int], message: str) -> None:
    with pytest.raises(ShapeError, match=message) as caught:
        nn.Reshape.geometry((3, 4), {"shape": shape})
    assert caught.value.argument == "shape"


@pytest.mark.parametrize("shape", [[-1, -1], [0, 3], [], [-2], [1.5], 3])
def test_invalid_shapes_are_rejected(shape: Any) -> None:
    with pytest.raises(ValueError, match="`shape`"):
        nn.Reshape(shape)


def test_reshape_costs_no_copy() -> None:
    x = normal(2, 3, 4)
    layer = nn.Reshape([2, -1])
    y = layer.forward(x)
    assert y.shape == (2, 2, 6)
    assert np.shares_memory(x, y)
    np.testing.assert_array_equal(layer.backward(y), x)
    assert math.prod(y.shape) == x.size
