"""What is particular to single layers, and to the declaration of layers; what all must do is in nnspec.testing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnspec import engine as nn
from nnspec.engine.layers.contract import Layer, ShapeError
from nnspec.engine.part import PARTS, Count, Inferred, Signature
from nnspec.testing.samples import Sample


@pytest.mark.parametrize("bias", [True, False])
def test_linear_costs_two_flops_a_weight_and_one_a_bias(bias: bool) -> None:
    geometry = nn.Linear.geometry((784,), {"in_features": None, "out_features": 64, "bias": bias})
    assert geometry.flops == 2 * 784 * 64 + (64 if bias else 0)
    assert geometry.inferred == {"in_features": 784}


@pytest.mark.parametrize(("part", "flops"), [("ReLU", 6), ("Sigmoid", 24), ("Tanh", 6), ("Dropout", 6), ("Flatten", 0)])
def test_other_layers_cost_by_the_element(part: str, flops: int) -> None:
    assert Sample(part, {}, (2, 3)).geometry().flops == flops


def test_linear_refuses_a_width_that_does_not_arrive() -> None:
    with pytest.raises(ShapeError, match="expects 128 features but got 64") as caught:
        nn.Linear.geometry((64,), {"in_features": 128, "out_features": 10, "bias": True})
    assert caught.value.argument == "in_features"
    assert "Linear(10)" in caught.value.help


def test_linear_refuses_images() -> None:
    with pytest.raises(ShapeError, match="3×28×28") as caught:
        nn.Linear.geometry((3, 28, 28), {"in_features": None, "out_features": 10, "bias": True})
    assert "Flatten" in caught.value.help


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        (lambda: nn.Dropout(1.5), "p"),
        (lambda: nn.Dropout(1.0), "p"),
        (lambda: nn.Dropout(-0.1), "p"),
        (lambda: nn.Dropout(float("nan")), "p"),
        (lambda: nn.Dropout("half"), "p"),
        (lambda: nn.Linear(-3, 2), "in_features"),
        (lambda: nn.Linear(0, 2), "in_features"),
        (lambda: nn.Linear(None, 2), "in_features"),
        (lambda: nn.Linear(3, 64.7), "out_features"),
        (lambda: nn.Linear(3, "64"), "out_features"),
        (lambda: nn.Linear(3, True), "out_features"),
        (lambda: nn.Linear(3, 2, bias=1), "bias"),
        (lambda: nn.Linear(3, 2, init="he_normal"), "init"),
    ],
)
def test_a_wrong_value_is_refused_by_the_arguments_name(wrong: Any, argument: str) -> None:
    with pytest.raises(ValueError, match=f"`{argument}`"):
        wrong()


@pytest.mark.parametrize("wrong", [lambda: nn.Linear(3), lambda: nn.Linear(3, 2, width=4), lambda: nn.ReLU(3)])
def test_wrong_arguments_are_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError):
        wrong()


def test_numpy_integers_are_counts() -> None:
    assert nn.Linear(np.int64(3), np.int32(2)).weight.shape == (3, 2)


@pytest.mark.parametrize(
    ("part", "count", "keywords", "names"),
    [
        ("Linear", 0, {}, ()),
        ("Linear", 1, {}, ("out_features",)),
        ("Linear", 2, {}, ("in_features", "out_features")),
        ("Linear", 3, {}, None),
        ("Linear", 1, {"in_features": 784}, ("out_features",)),
        ("Linear", 1, {"out_features": 64}, ("in_features",)),
        ("Linear", 2, {"out_features": 64}, None),
        ("Linear", 1, {"bias": False}, ("out_features",)),
        ("Dropout", 0, {}, ()),
        ("Dropout", 1, {}, ("p",)),
        ("Dropout", 2, {}, None),
        ("ReLU", 0, {}, ()),
        ("ReLU", 1, {}, None),
    ],
)
def test_an_inferred_argument_steps_back_when_values_are_few(
    part: str, count: int, keywords: dict[str, Any], names: tuple[str, ...] | None
) -> None:
    assert PARTS["layer"][part].signature().names_of_positionals(count, keywords) == names


def test_an_inferred_argument_stays_while_there_are_values_for_all_that_have_no_default() -> None:
    def scaled(in_features: Inferred[Count], out_features: Count, scale: float = 1.0) -> None: ...

    signature = Signature.of(scaled)
    assert signature.names_of_positionals(1, {}) == ("out_features",)
    assert signature.names_of_positionals(2, {}) == ("in_features", "out_features")
    assert signature.names_of_positionals(3, {}) == ("in_features", "out_features", "scale")


def test_linear_by_hand() -> None:
    layer = nn.Linear(2, 3)
    layer.weight.data = [[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]
    layer.bias.data = [0.5, 0.0, -0.5]
    np.testing.assert_array_equal(layer.forward(np.array([[1.0, 0.0], [2.0, 1.0]])), [[1.5, 2, 2.5], [12.5, 24, 35.5]])
    dx = layer.backward(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]]))
    np.testing.assert_array_equal(dx, [[1, 10], [6, 60]])
    np.testing.assert_array_equal(layer.weight.grad, [[1, 0, 4], [0, 0, 2]])
    np.testing.assert_array_equal(layer.bias.grad, [1, 0, 2])


def test_linear_returns_no_input_gradient_where_none_is_wanted() -> None:
    layer = nn.Linear(4, 3)
    layer.forward(np.ones((2, 4)))
    assert layer.backward(np.ones((2, 3)), input_grad=False) is None


def test_relu_passes_nothing_back_at_its_kink() -> None:
    layer = nn.ReLU()
    np.testing.assert_array_equal(layer.forward(np.array([[-1.0, 0.0, -0.0, 1e-300]])), [[0, 0, 0, 1e-300]])
    np.testing.assert_array_equal(layer.backward(np.ones((1, 4))), [[0, 0, 0, 1]])


@pytest.mark.parametrize(("layer", "low"), [(nn.Sigmoid(), 0.0), (nn.Tanh(), -1.0)], ids=["Sigmoid", "Tanh"])
def test_saturation_is_exact_and_silent(layer: Layer, low: float) -> None:
    np.testing.assert_array_equal(layer.forward(np.array([[-1e300, -1e3, 1e3, 1e300]])), [[low, low, 1, 1]])
    np.testing.assert_array_equal(layer.backward(np.ones((1, 4))), np.zeros((1, 4)))


def test_dropout_keeps_its_share_scaled_so_that_the_mean_stays() -> None:
    nn.set_seed(5)
    y = nn.Dropout(0.3).forward(np.ones((200, 500)))
    kept = y != 0
    assert abs(kept.mean() - 0.7) < 0.01
    np.testing.assert_allclose(y[kept], 1 / 0.7, rtol=1e-15)


def test_dropout_sends_the_gradient_through_the_same_units() -> None:
    layer = nn.Dropout(0.5)
    y = layer.forward(np.ones((20, 30)))
    np.testing.assert_array_equal(layer.backward(np.ones((20, 30))), y)


def test_dropout_draws_anew_at_each_pass_unless_its_noise_is_held() -> None:
    layer, x = nn.Dropout(0.5), np.ones((20, 30))
    first = layer.forward(x)
    second = layer.forward(x)
    assert not np.array_equal(first, second)
    layer.hold_noise = True
    np.testing.assert_array_equal(layer.forward(x), second)
    layer.hold_noise = False
    assert not np.array_equal(layer.forward(x), second)


def test_held_noise_of_another_shape_is_drawn_anew() -> None:
    layer = nn.Dropout(0.5)
    layer.forward(np.ones((1, 30)))
    layer.hold_noise = True
    y = layer.forward(np.ones((20, 30)))
    assert not np.array_equal(y[:-1], y[1:])
    np.testing.assert_array_equal(layer.forward(np.ones((20, 30))), y)


def test_dropout_does_nothing_in_use() -> None:
    layer, x = nn.Dropout(0.5), np.random.default_rng(0).standard_normal((4, 6))
    layer.forward(x)
    layer.training = False
    np.testing.assert_array_equal(layer.forward(x), x)
    np.testing.assert_array_equal(layer.backward(x), x)


def test_dropout_draws_from_the_generator_that_it_is_given() -> None:
    x = np.ones((20, 30))
    one, other = (nn.Dropout(0.5, rng=np.random.default_rng(3)).forward(x) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_flatten_keeps_c_order_and_costs_no_copy() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    layer = nn.Flatten()
    y = layer.forward(x)
    np.testing.assert_array_equal(y, [np.arange(12.0), np.arange(12.0, 24.0)])
    assert np.shares_memory(x, y)
    np.testing.assert_array_equal(layer.backward(y), x)


@pytest.mark.parametrize(
    "init", [nn.Zeros(), nn.XavierNormal(), nn.XavierUniform(), nn.HeNormal(), nn.HeUniform()], ids=repr
)
def test_linear_starts_as_its_initializer_draws(init: Any) -> None:
    layer = nn.Linear(30, 20, init=init, rng=np.random.default_rng(3))
    np.testing.assert_array_equal(layer.weight.data, init.draw((30, 20), 30, 20, np.random.default_rng(3)))
    np.testing.assert_array_equal(layer.bias.data, np.zeros(20))


@pytest.mark.parametrize(
    ("init", "variance"),
    [
        (nn.Zeros(), 0),
        (nn.XavierNormal(), 2 / 500),
        (nn.XavierUniform(), 2 / 500),
        (nn.HeNormal(), 2 / 400),
        (nn.HeUniform(), 2 / 400),
    ],
    ids=repr,
)
def test_initializers_have_the_variance_that_their_papers_ask(init: Any, variance: float) -> None:
    weights = init.draw((400, 100), 400, 100, np.random.default_rng(0))
    assert weights.var() == pytest.approx(variance, rel=0.03)
    assert abs(weights.mean()) <= 4 * (variance / weights.size) ** 0.5


def test_linear_is_he_normal_by_default() -> None:
    weights = nn.Linear(400, 100, rng=np.random.default_rng(0)).weight.data
    np.testing.assert_array_equal(weights, nn.HeNormal().draw((400, 100), 400, 100, np.random.default_rng(0)))
