"""The network and its parameters, as a program uses them."""

from __future__ import annotations

import copy
import types
from typing import Any

import numpy as np
import pytest

from nnspec import engine as nn


def small() -> nn.Sequential:
    nn.set_seed(42)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


def batch(count: int = 8) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((count, 6))


def test_the_calls_of_a_program_written_by_hand() -> None:
    nn.set_seed(42)
    model = nn.Sequential()
    model.add(nn.Linear(784, 64))
    model.add(nn.ReLU())
    model.add(nn.Dropout(0.2))
    model.add(nn.Linear(64, 10))
    optimizer = nn.Adam(model.parameters(), lr=0.001, betas=(0.9, 0.999), eps=1e-8)
    loss = nn.CrossEntropyLoss()
    rng = np.random.default_rng(0)
    x, labels = rng.random((32, 784)), rng.integers(0, 10, 32)
    logits = model.forward(x)
    assert logits.shape == (32, 10)
    assert isinstance(loss.forward(logits, labels), float)
    optimizer.zero_grad()
    assert model.backward(loss.backward()).shape == (32, 784)
    before = [parameter.data.copy() for parameter in model.parameters()]
    optimizer.step()
    assert all(np.any(p.data != was) for p, was in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize(
    "make",
    [
        lambda params: nn.SGD(params, lr=0.5),
        lambda params: nn.SGD(params, lr=0.1, momentum=0.9),
        lambda params: nn.Momentum(params, lr=0.1, momentum=0.9),
        lambda params: nn.Adam(params, lr=0.02),
    ],
    ids=["SGD", "SGD with momentum", "Momentum", "Adam"],
)
def test_training_learns_a_rule_that_no_line_can_draw(make: Any) -> None:
    nn.set_seed(42)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (200, 2))
    labels = (x[:, 0] * x[:, 1] > 0).astype(int)
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
    loss, optimizer = nn.CrossEntropyLoss(), make(model.parameters())
    values = []
    for _ in range(300):
        values.append(loss.forward(model.forward(x), labels))
        model.backward(loss.backward())
        optimizer.step()
    assert values[-1] < 0.25 * values[0]
    assert np.mean(model.forward(x).argmax(axis=1) == labels) > 0.95


def test_training_fits_values_too() -> None:
    nn.set_seed(42)
    x = np.linspace(-2, 2, 64)[:, None]
    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 8), nn.Sigmoid(), nn.Linear(8, 1))
    loss, optimizer = nn.MSELoss(), nn.Adam(model.parameters(), lr=0.02)
    values = []
    for _ in range(400):
        values.append(loss.forward(model.forward(x), np.sin(2 * x)))
        model.backward(loss.backward())
        optimizer.step()
    assert values[-1] < 0.02 * values[0]


def test_forward_is_its_layers_one_after_another() -> None:
    model, x = small(), batch()
    y = x
    for layer in model.layers:
        y = layer.forward(y)
    np.testing.assert_array_equal(model.forward(x), y)
    np.testing.assert_array_equal(model(x), y)


def test_backward_is_its_layers_in_reverse() -> None:
    model, x = small(), batch()
    grad = np.random.default_rng(4).standard_normal(model.forward(x).shape)
    result = model.backward(grad)
    written = [parameter.grad.copy() for parameter in model.parameters()]
    for layer in reversed(model.layers):
        grad = layer.backward(grad)
    np.testing.assert_array_equal(result, grad)
    for parameter, values in zip(model.parameters(), written, strict=True):
        np.testing.assert_array_equal(parameter.grad, values)


def test_add_returns_the_network() -> None:
    model = nn.Sequential()
    assert model.add(nn.Linear(2, 3)).add(nn.ReLU()) is model
    assert len(model.layers) == 2


def test_objects_that_are_not_layers_are_rejected() -> None:
    with pytest.raises(TypeError, match="Sequential takes layers"):
        nn.Sequential().add(nn.Linear)
    with pytest.raises(TypeError, match=r"takes layers, not CrossEntropyLoss\(\)$"):
        nn.Sequential(nn.CrossEntropyLoss())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"unpack a list: `Sequential\(\*layers\)`"):
        nn.Sequential([nn.ReLU()])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"make one: `ReLU\(…\)`"):
        nn.Sequential(nn.ReLU)  # type: ignore[arg-type]


def test_layers_are_named_by_kind_and_number() -> None:
    model = small()
    assert model.names == ["Linear1", "ReLU1", "Linear2", "Tanh1", "Linear3"]
    assert list(model.named_parameters()) == [
        "Linear1.weight",
        "Linear1.bias",
        "Linear2.weight",
        "Linear2.bias",
        "Linear3.weight",
        "Linear3.bias",
    ]
    assert [p.shape for p in model.parameters()] == [(6, 5), (5,), (5, 4), (4,), (4, 3), (3,)]


def test_a_name_may_be_given_but_not_twice() -> None:
    model = nn.Sequential().add(nn.Linear(2, 3), name="hidden")
    assert list(model.named_parameters()) == ["hidden.weight", "hidden.bias"]
    with pytest.raises(ValueError, match="'hidden'"):
        model.add(nn.Linear(3, 1), name="hidden")
    assert len(model.layers) == 1


def test_a_network_without_parameters_has_none() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Flatten())
    assert model.parameters() == []
    np.testing.assert_array_equal(nn.Sequential().forward(np.ones((2, 3))), np.ones((2, 3)))


def test_train_and_eval_switch_dropout() -> None:
    model, x = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5)), np.ones((30, 6))
    assert np.any(model.forward(x) != x)
    assert model.eval() is model
    np.testing.assert_array_equal(model.forward(x), x)
    assert model.train() is model
    assert np.any(model.forward(x) != x)


def test_a_seed_gives_the_same_weights_again() -> None:
    one, other = small(), small()
    for first, second in zip(one.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(first.data, second.data)
    following = nn.Linear(6, 5)
    assert not np.array_equal(following.weight.data, one.layers[0].weight.data)
    nn.set_seed(43)
    assert not np.array_equal(nn.Linear(6, 5).weight.data, one.layers[0].weight.data)


def test_a_seed_gives_the_same_numbers_in_float32() -> None:
    nn.set_seed(42)
    single = nn.Linear(6, 5, dtype="float32")
    nn.set_seed(42)
    double = nn.Linear(6, 5)
    np.testing.assert_array_equal(single.weight.data, double.weight.data.astype(np.float32))


def test_a_float32_network_stays_float32() -> None:
    model = nn.Sequential(
        nn.Linear(6, 5, dtype="float32"), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3, dtype="float32")
    )
    loss, optimizer = nn.CrossEntropyLoss(), nn.Adam(model.parameters())
    logits = model.forward(batch().astype(np.float32))
    assert logits.dtype == np.float32
    loss.forward(logits, np.zeros(8, int))
    assert model.backward(loss.backward()).dtype == np.float32
    optimizer.step()
    assert {array.dtype for p in model.parameters() for array in (p.data, p.grad)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", ["data", "grad"])
def test_parameters_are_float64_arrays_of_the_weights_shape(name: str) -> None:
    for parameter in small().parameters():
        array = getattr(parameter, name)
        assert array.dtype == np.float64
        assert array.shape == parameter.shape
        assert array.flags.c_contiguous


@pytest.mark.parametrize("how", ["assigned", "written into", "added to"])
def test_new_weights_take_effect(how: str) -> None:
    layer, x = nn.Linear(6, 5), batch()
    weight = np.random.default_rng(5).standard_normal((6, 5))
    if how == "assigned":
        layer.weight.data = weight
    elif how == "written into":
        layer.weight.data[...] = weight
    else:
        layer.weight.data += weight - layer.weight.data
    np.testing.assert_allclose(layer.forward(x), x @ weight, rtol=1e-12)


def test_assigning_copies_into_the_array_that_is_there() -> None:
    parameter, values = nn.Linear(2, 3).weight, np.ones((2, 3))
    held = parameter.data
    parameter.data = values
    assert parameter.data is held
    values[:] = 7
    np.testing.assert_array_equal(held, np.ones((2, 3)))


@pytest.mark.parametrize("name", ["data", "grad"])
@pytest.mark.parametrize("shape", [(3, 2), (6,), (1, 3), (3,), (), (1, 2, 3)])
def test_an_array_of_another_shape_is_refused_instead_of_broadcast(name: str, shape: tuple[int, ...]) -> None:
    parameter = nn.Linear(2, 3).weight
    before = parameter.data.copy()
    with pytest.raises(ValueError, match=rf"Parameter\.{name} has shape \(2, 3\)"):
        setattr(parameter, name, np.ones(shape))
    np.testing.assert_array_equal(parameter.data, before)


def test_a_parameter_copies_what_it_is_made_of() -> None:
    values = np.ones((2, 3))
    parameter = nn.Parameter(values)
    values[:] = 7
    np.testing.assert_array_equal(parameter.data, np.ones((2, 3)))
    np.testing.assert_array_equal(parameter.grad, np.zeros((2, 3)))
    assert parameter.size == 6


def test_a_parameter_may_move_into_arrays_of_someone_else() -> None:
    layer, x = nn.Linear(6, 5), batch()
    y, weight = layer.forward(x), layer.weight.data.copy()
    layer.weight.grad = np.ones((6, 5))
    data, grad = np.empty((2, 6, 5))
    layer.weight.move_to(data, grad)
    np.testing.assert_array_equal(data, weight)
    np.testing.assert_array_equal(grad, np.ones((6, 5)))
    np.testing.assert_array_equal(layer.forward(x), y)
    layer.backward(y)
    np.testing.assert_allclose(grad, x.T @ y)
    data.fill(0)
    np.testing.assert_array_equal(layer.forward(x), np.zeros((8, 5)))


def test_a_parameter_may_be_made_over_arrays_of_someone_else() -> None:
    data, grad = np.ones((2, 6, 5))
    parameter = nn.Parameter.over(data, grad)
    assert parameter.data is data
    assert parameter.grad is grad
    parameter.data = np.full((6, 5), 3.0)
    np.testing.assert_array_equal(data, np.full((6, 5), 3.0))


def test_gradients_are_those_of_the_last_backward_pass() -> None:
    model, loss = small(), nn.CrossEntropyLoss()
    for count in (8, 3):
        labels = np.zeros(count, int)
        loss.forward(model.forward(batch(count)), labels)
        model.backward(loss.backward())
    fresh = copy.deepcopy(model)
    loss.forward(fresh.forward(batch(3)), np.zeros(3, int))
    fresh.backward(loss.backward())
    for ours, theirs in zip(model.parameters(), fresh.parameters(), strict=True):
        np.testing.assert_array_equal(ours.grad, theirs.grad)


def test_the_network_shows_its_layers() -> None:
    assert repr(nn.Sequential(nn.Linear(2, 3), nn.ReLU())) == (
        "Sequential(\n    Linear1: Linear(2, 3)\n    ReLU1: ReLU()\n)"
    )


def test_a_state_dict_goes_into_another_network() -> None:
    """Parameters and what layers remember, under one name each; what does not fit changes nothing."""

    def network(seed: int) -> nn.Sequential:
        rng = np.random.default_rng(seed)
        return nn.Sequential(nn.Linear(3, 4, rng=rng), nn.BatchNorm(4), nn.Linear(4, 2, rng=rng))

    one, other = network(1), network(2)
    one.train().forward(np.random.default_rng(3).normal(size=(8, 3)))
    arrays = one.state_dict()
    assert [*arrays][:3] == ["Linear1.weight", "Linear1.bias", "BatchNorm1.weight"]
    assert {"BatchNorm1.running_mean", "BatchNorm1.running_var"} <= {*arrays}
    other.load_state_dict(arrays)
    x = np.random.default_rng(4).normal(size=(5, 3))
    assert np.array_equal(one.eval().forward(x).copy(), other.eval().forward(x))
    untouched = network(5)
    before = {name: array.copy() for name, array in untouched.state_dict().items()}
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({name: a for name, a in arrays.items() if name != "Linear2.bias"}, "Linear2.bias is missing"),
        (arrays | {"more": x}, "more is not in the network"),
        (arrays | {"Linear2.bias": np.zeros(3)}, r"Linear2.bias is float64 \(3,\), not float64 \(2,\)"),
        (arrays | {"Linear2.bias": np.zeros(2, np.float32)}, "Linear2.bias is float32"),
    ]
    for wrong, message in wrongs:
        with pytest.raises(ValueError, match=message):
            untouched.load_state_dict(wrong)
    assert all(np.array_equal(array, before[name]) for name, array in untouched.state_dict().items())


def test_a_network_is_a_sequence_of_its_layers() -> None:
    model = small()
    assert len(model) == 5
    assert list(model) == model.layers
    assert model[0] is model.layers[0]
    assert model[-1] is model["Linear3"]
    assert len(nn.Sequential()) == 0
    with pytest.raises(IndexError):
        model[5]
    with pytest.raises(KeyError, match="no layer 'Linear4'; its layers are Linear1, ReLU1, Linear2, Tanh1, Linear3"):
        model["Linear4"]


def test_a_slice_is_a_network_of_the_same_layers_and_names() -> None:
    model, x = small(), batch()
    head, tail = model[:3], model[3:]
    assert isinstance(head, nn.Sequential)
    assert (head.names, tail.names) == (["Linear1", "ReLU1", "Linear2"], ["Tanh1", "Linear3"])
    assert tail[1] is model[4]
    np.testing.assert_array_equal(tail(head(x)), model(x))


def test_layers_and_losses_are_called_as_functions() -> None:
    layer, loss, x, labels = nn.Linear(6, 5), nn.CrossEntropyLoss(), batch(), np.zeros(8, int)
    np.testing.assert_array_equal(layer(x), layer.forward(x))
    assert loss(layer(x), labels) == loss.forward(layer.forward(x), labels)


def test_zero_grad_clears_every_gradient() -> None:
    model, loss = small(), nn.CrossEntropyLoss()
    loss(model(batch()), np.zeros(8, int))
    model.backward(loss.backward())
    assert all(np.any(p.grad) for p in model.parameters())
    model.zero_grad()
    assert not any(np.any(p.grad) for p in model.parameters())


def test_the_engine_exports_its_parts_and_no_modules() -> None:
    assert nn.NumpyMLP is nn.Sequential
    assert dir(nn) == nn.__all__
    assert not [name for name in nn.__all__ if isinstance(getattr(nn, name), types.ModuleType)]
    of_the_engine = {part for parts in nn.PARTS.values() for part in parts.values() if ".engine." in part.__module__}
    exported = [getattr(nn, name) for name in nn.__all__]
    assert [part for part in of_the_engine if part not in exported] == []
    assert {"Layer", "Loss", "Optimizer", "Parameter", "Sequential", "set_seed", "check_gradients"} <= {*nn.__all__}
    assert "higher_is_better" not in nn.__all__


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((8, 5), r"Linear1: this Linear expects 6 features but got 5; x has shape \(8, 5\)"),
        ((6,), r"Linear1: Linear expects a batch of samples; x has shape \(6,\), so one sample is `x\[None\]`"),
        ((), r"Linear1: Linear expects a batch of samples; x has shape \(\)"),
        ((8, 1, 2, 6), "Linear1: Linear expects features but got an image of 1×2×6"),
    ],
)
def test_samples_of_a_wrong_shape_are_an_error_that_names_the_layer(shape: tuple[int, ...], message: str) -> None:
    model = small()
    with pytest.raises(nn.ShapeError, match=message):
        model(np.ones(shape))
    assert model(np.ones((2, 6))).shape == (2, 3)
    with pytest.raises(nn.ShapeError, match="Linear1"):
        model(np.ones(shape))  # also after samples that fit


def test_a_network_says_its_output_shape_before_any_sample() -> None:
    model = nn.Sequential(nn.Conv2D(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Residual([nn.Linear(144, 144)]))
    assert model.output_shape((1, 8, 8)) == (144,) == model(np.ones((2, 1, 8, 8))).shape[1:]
    with pytest.raises(nn.ShapeError, match="residual1"):
        model.output_shape((1, 9, 9))


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (lambda: nn.Linear(6, 5), "Linear(6, 5)"),
        (lambda: nn.Linear(6, 5, bias=False, init=nn.XavierNormal()), "Linear(6, 5, bias=False, init=xavier_normal)"),
        (lambda: nn.Conv2D(3, 4, 3, padding="same"), "Conv2D(3, 4, 3, padding='same')"),
        (lambda: nn.Dropout(0.2), "Dropout(p=0.2)"),
        (lambda: nn.HuberLoss(), "HuberLoss()"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=0.1), "CrossEntropyLoss(label_smoothing=0.1)"),
        (lambda: nn.Adam(small().parameters()), "Adam(lr=0.001)"),
        (lambda: nn.SGD(small().parameters(), nn.CosineSchedule(0.1)), "SGD(lr=cosine(0.1))"),
        (lambda: nn.Accuracy(), "Accuracy()"),
    ],
)
def test_parts_show_the_call_that_makes_them(part: Any, text: str) -> None:
    assert repr(part()) == text
