"""The contract of layers, held against every layer that is registered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from allocations import growth
from cases import case, cases
from operations import Counted, operations
from samples import CLASSES, Sample, every_sample, spoilt, work_arrays

from nnspec import engine as nn
from nnspec.engine.layers.composition import Composition
from nnspec.engine.layers.contract import Layer, ShapeError
from nnspec.engine.part import Count, Inferred, Signature

SAMPLES = every_sample()


def by_part(samples: list[Sample]) -> dict[str, list[Sample]]:
    """Return the samples of each part."""
    return {part: [sample for sample in samples if sample.part == part] for part in {s.part: 0 for s in samples}}


every_layer = cases(sample=by_part(SAMPLES))
layers_in_place = cases(sample=by_part([sample for sample in SAMPLES if CLASSES[sample.part].in_place]))
# Compositions have no kernels of their own: a plan takes them apart (see test_plan).
every_kernel = cases(
    sample=by_part([sample for sample in SAMPLES if not issubclass(CLASSES[sample.part], Composition)])
)
BATCHES = (1, 5)


def forward(layer: Layer, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Forward with the same noise at every call."""
    nn.set_seed(7)
    return layer.forward(x, out=out)


def passes(layer: Layer, sample: Sample, batch: int, dtype: Any = np.float64) -> dict[str, np.ndarray]:
    """Everything that one forward and one backward pass compute, by allocating calls."""
    y = forward(layer, sample.x(batch, dtype)).copy()
    grad = layer.backward(sample.grad(batch, dtype))
    parameters = {name: parameter.grad.copy() for name, parameter in layer.parameters().items()}
    return {"output": y, "input gradient": np.array(grad)} | parameters


def same(ours: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> None:
    assert ours.keys() == reference.keys()
    for name, values in reference.items():
        np.testing.assert_array_equal(ours[name], values, err_msg=name, strict=True)


@pytest.mark.parametrize("name", CLASSES)
def test_every_layer_is_sampled(name: str) -> None:
    assert name in {sample.part for sample in SAMPLES}, (
        f"{name} cannot be made without arguments: give it a row in tests/samples"
    )


@every_layer
def test_a_call_checks_the_shape_that_a_spec_checks(sample: Sample) -> None:
    layer, x = sample.make(), sample.x(3)
    nn.set_seed(7)
    assert layer(x).shape[1:] == layer.output_shape(x.shape[1:])
    try:
        layer.output_shape((2, 3, 5, 7, 11))
    except ShapeError:
        with pytest.raises(ShapeError, match="x has shape"):
            layer(np.ones((3, 2, 3, 5, 7, 11)))


@every_layer
def test_gradients_agree_with_finite_differences(sample: Sample) -> None:
    for batch in BATCHES:
        with case(batch=batch):
            assert nn.numerical_gradient_check(sample.make(), sample.x(batch)) < 1e-7


@every_layer
def test_out_gives_the_same_numbers_as_allocating(sample: Sample) -> None:
    for batch in BATCHES:
        with case(batch=batch):
            layer = sample.make()
            reference = passes(layer, sample, batch)
            for parameter in layer.parameters().values():
                parameter.grad.fill(np.nan)
            y, dx = spoilt(reference["output"].shape), spoilt((batch, *sample.incoming))
            assert forward(layer, sample.x(batch), out=y) is y
            assert layer.backward(sample.grad(batch), out=dx) is dx
            grads = {name: parameter.grad for name, parameter in layer.parameters().items()}
            same({"output": y, "input gradient": dx} | grads, reference)


@layers_in_place
def test_a_layer_in_place_may_write_over_its_input_and_its_gradient(sample: Sample) -> None:
    for batch in BATCHES:
        with case(batch=batch):
            layer = sample.make()
            reference = passes(layer, sample, batch)
            x, grad = sample.x(batch), sample.grad(batch)
            y = forward(layer, x, out=x.reshape(reference["output"].shape))
            np.testing.assert_array_equal(y, reference["output"], strict=True)
            assert np.shares_memory(y, x)
            dx = layer.backward(grad, out=grad.reshape(reference["input gradient"].shape))
            np.testing.assert_array_equal(dx, reference["input gradient"], strict=True)
            assert np.shares_memory(dx, grad)


@every_layer
def test_allocating_calls_leave_their_arguments_alone(sample: Sample) -> None:
    for batch in BATCHES:
        with case(batch=batch):
            layer, x, grad = sample.make(), sample.x(batch), sample.grad(batch)
            before = {name: parameter.data.copy() for name, parameter in layer.parameters().items()}
            layer.forward(x)
            layer.backward(grad)
            np.testing.assert_array_equal(x, sample.x(batch))
            np.testing.assert_array_equal(grad, sample.grad(batch))
            same({name: parameter.data for name, parameter in layer.parameters().items()}, before)


@every_layer
def test_backward_reads_only_what_the_layer_declares(sample: Sample) -> None:
    layer = sample.make()
    reference = passes(layer, sample, 5)
    x, y = sample.x(5), spoilt(reference["output"].shape)
    forward(layer, x, out=y)
    for name, array in (("input", x), ("output", y)):
        if name not in layer.backward_reads:
            array.fill(np.nan)
    np.testing.assert_array_equal(layer.backward(sample.grad(5)), reference["input gradient"])
    for name, parameter in layer.parameters().items():
        np.testing.assert_array_equal(parameter.grad, reference[name])


@every_layer
def test_lent_work_arrays_change_no_number(sample: Sample) -> None:
    reference = passes(sample.make(), sample, 5)
    for lent_for in (3, 5, 8):
        with case(lent_for=lent_for):
            layer = sample.make()
            layer.lend(work_arrays(sample, lent_for))
            same(passes(layer, sample, 5), reference)


@every_layer
def test_lent_work_arrays_are_used(sample: Sample) -> None:
    layer, lent = sample.make(), work_arrays(sample, 8)
    layer.lend(lent)
    for work in lent.values():
        work.fill(2)
    before = {name: work.copy() for name, work in lent.items()}
    passes(layer, sample, 5)
    for name, work in lent.items():
        assert not np.array_equal(work[:5], before[name][:5]), f"{name} stays as it was"
        np.testing.assert_array_equal(work[5:], before[name][5:], err_msg=f"{name} beyond the batch")


@every_kernel
def test_with_out_and_lent_work_no_array_is_allocated(sample: Sample) -> None:
    batch = 10_000
    layer, x, y = sample.make(), np.ones((batch, *sample.incoming)), np.ones((batch, *sample.geometry().out))
    dx, grad = np.empty_like(x), np.ones_like(y)
    layer.lend(work_arrays(sample, batch))
    layer.forward(x, out=y)  # once before, for what is kept over batches
    layer.backward(grad, out=dx)
    grown = growth(lambda: (layer.forward(x, out=y), layer.backward(grad, out=dx)))
    assert grown < 9_000  # the smallest array here, a byte a sample, is 10 kB


@every_layer
def test_only_saved_work_lives_from_forward_to_backward(sample: Sample) -> None:
    layer = sample.make()
    reference = passes(layer, sample, 5)
    lent = work_arrays(sample, 5)
    layer.lend(lent)
    forward(layer, sample.x(5))
    for name, work in sample.geometry().work.items():
        if not work.saved:
            lent[name][...] = spoilt(lent[name].shape, lent[name].dtype)
    np.testing.assert_array_equal(layer.backward(sample.grad(5)), reference["input gradient"])


@every_layer
def test_geometry_is_what_really_happens(sample: Sample) -> None:
    for batch in BATCHES:
        with case(batch=batch):
            layer, geometry = sample.make(), sample.geometry()
            y = layer.forward(sample.x(batch))
            assert y.shape == (batch, *geometry.out)
            dx = layer.backward(sample.grad(batch))
            assert dx is not None
            assert dx.shape == (batch, *sample.incoming)
            shapes = {name: parameter.shape for name, parameter in layer.parameters().items()}
            assert dict(geometry.parameters) == shapes
            assert {name: parameter.grad.shape for name, parameter in layer.parameters().items()} == shapes


FLOPS_APART = {
    "Dropout": 3.0,  # drawing the mask is not counted
    "GELU": 2.5,  # the tanh form has fewer operations, and both find the slope on their way
    **dict.fromkeys(("RNN", "GRU", "LSTM"), 1.7),  # the first step needs no product with the state
    "MaxPool": 2.0,  # the first place of a window is compared with nothing
    "BatchNorm": 1.6,  # work on one number a channel counts as work on every number
    "GlobalAvgPool": 1.6,  # the division of a sum is not counted
}
"""By how much the declared FLOPs of a layer may differ from the operations of its kernel, where not by a third."""


@every_kernel
def test_declared_flops_are_the_operations_of_the_kernel(sample: Sample) -> None:
    layer, batch = sample.make(), 5
    layer.trusts_ids = True
    layer.lend({name: work.view(Counted) for name, work in work_arrays(sample, batch).items()})
    x, out = sample.x(batch).view(Counted), spoilt((batch, *sample.geometry().out)).view(Counted)
    declared, counted = batch * sample.geometry().flops, operations(lambda: layer.forward(x, out=out))
    if "hidden_size" in sample.arguments and sample.incoming[0] == 1:
        return  # a sequence of one step has no product with the state at all
    apart = FLOPS_APART.get(sample.part, 4 / 3)
    assert counted / apart <= declared <= counted * apart, f"{declared} FLOPs are declared, {counted} are computed"


@every_layer
def test_float32_is_followed(sample: Sample) -> None:
    layer, double = sample.make_in("float32"), sample.make()
    noisy = any(isinstance(inner, nn.Dropout) for inner in layer.walk())
    for mode in (True, False):
        layer.training = double.training = mode and not noisy
        ours, reference = passes(layer, sample, 5, np.float32), passes(double, sample, 5)
        for name, values in ours.items():
            assert values.dtype == np.float32, name
            np.testing.assert_allclose(values, reference[name], rtol=1e-5, atol=1e-5, err_msg=name)
    for parameter in layer.parameters().values():
        assert parameter.data.dtype == parameter.grad.dtype == np.float32


@every_layer
def test_parameters_are_float64_by_default(sample: Sample) -> None:
    for parameter in sample.make().parameters().values():
        assert parameter.data.dtype == parameter.grad.dtype == np.float64


@every_layer
def test_large_numbers_neither_overflow_nor_warn(sample: Sample) -> None:
    for dtype in ("float32", "float64"):
        with case(dtype=dtype), np.errstate(over="raise", invalid="raise", divide="raise"):
            layer, x = sample.make_in(dtype), sample.x(5, dtype)
            if not sample.tokens:
                x *= 1e4
            y = layer.forward(x)
            dx = layer.backward(sample.grad(5, dtype))
            for array in (y, dx, *(parameter.grad for parameter in layer.parameters().values())):
                assert np.isfinite(array).all()


@every_layer
def test_each_backward_overwrites_the_gradients(sample: Sample) -> None:
    layer = sample.make()
    reference = passes(layer, sample, 5)
    same(passes(layer, sample, 5), reference)


@every_layer
def test_a_batch_of_another_size_may_follow(sample: Sample) -> None:
    layer = sample.make()
    for batch in (5, 2, 7):
        same(passes(layer, sample, batch), passes(sample.make(), sample, batch))


@every_layer
def test_parameter_gradients_do_not_hang_on_the_input_gradient(sample: Sample) -> None:
    layer = sample.make()
    reference = passes(layer, sample, 5)
    for parameter in layer.parameters().values():
        parameter.grad.fill(np.nan)
    layer.backward(sample.grad(5), input_grad=False)
    for name, parameter in layer.parameters().items():
        np.testing.assert_array_equal(parameter.grad, reference[name], err_msg=name)


@every_layer
def test_backward_before_forward_is_an_error(sample: Sample) -> None:
    layer = sample.make()
    with pytest.raises(RuntimeError, match=rf"{type(layer).__name__}\.backward needs a forward pass first"):
        layer.backward(sample.grad(2))


@every_layer
def test_fortran_order_and_strides_change_no_number(sample: Sample) -> None:
    layer = sample.make()
    reference = passes(layer, sample, 5)
    for arranged in (np.asfortranarray, lambda array: np.repeat(array, 2, axis=0)[::2]):
        nn.set_seed(7)
        np.testing.assert_allclose(layer.forward(arranged(sample.x(5))), reference["output"], rtol=1e-13)
        dx = layer.backward(arranged(sample.grad(5)))
        np.testing.assert_allclose(dx, reference["input gradient"], rtol=1e-13)


@every_layer
def test_samples_that_are_last_in_memory_change_no_number(sample: Sample) -> None:
    layer = sample.make()
    wishes = {leaf.batch_last for leaf in layer.walk() if not leaf.children()}
    if "no" in wishes or ("rows" in wishes and len(sample.incoming) > 1):
        return  # it wants C order
    leaving = last_in_memory if wishes <= {"keeps", "prefers"} else np.ascontiguousarray
    reference = passes(layer, sample, 5)
    x, dx = last_in_memory(sample.x(5)), last_in_memory(spoilt((5, *sample.incoming)))
    y, grad = leaving(spoilt(reference["output"].shape)), leaving(sample.grad(5))
    np.testing.assert_allclose(forward(layer, x, out=y), reference["output"], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(layer.backward(grad, out=dx), reference["input gradient"], rtol=1e-12, atol=1e-13)
    for name, parameter in layer.parameters().items():
        np.testing.assert_allclose(parameter.grad, reference[name], rtol=1e-12, atol=1e-13)


def last_in_memory(array: np.ndarray) -> np.ndarray:
    """The same array with its samples along the last axis in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 0, -1)), -1, 0)


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
    assert CLASSES[part].signature().names_of_positionals(count, keywords) == names


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
