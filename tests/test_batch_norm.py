"""Batch normalisation: running statistics, and batches with too few samples."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_spec import compiled, spec

from nnspec import engine as nn


def numbers(*shape: int) -> np.ndarray:
    return 3 * np.random.default_rng(4).standard_normal(shape) + 2


@pytest.mark.parametrize("shape", [(50, 3), (10, 5, 3), (5, 3, 2, 4)])
def test_each_channel_of_a_batch_has_mean_zero_and_variance_one(shape: tuple[int, ...]) -> None:
    y = nn.BatchNorm(3, eps=1e-12).forward(numbers(*shape))
    features = 2 if len(shape) == 3 else 1
    others = tuple(axis for axis in range(len(shape)) if axis != features)
    np.testing.assert_allclose(y.mean(axis=others), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=others), 1, rtol=1e-9)


def test_running_statistics_converge_to_the_mean_and_variance_of_the_data() -> None:
    layer, x = nn.BatchNorm(3), numbers(40, 3)
    for _ in range(300):
        layer.forward(x)
    np.testing.assert_allclose(layer.state()["running_mean"], x.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(layer.state()["running_var"], x.var(axis=0, ddof=1), rtol=1e-10)


@pytest.mark.parametrize(("training", "held"), [(False, False), (True, True)])
def test_nothing_is_remembered_in_use_or_while_the_noise_is_held(training: bool, held: bool) -> None:
    layer = nn.BatchNorm(3)
    layer.training, layer.hold_noise = training, held
    layer.forward(numbers(40, 3))
    np.testing.assert_array_equal(layer.state()["running_mean"], np.zeros(3))
    np.testing.assert_array_equal(layer.state()["running_var"], np.ones(3))


@pytest.mark.parametrize("training", [True, False])
def test_a_single_number_a_channel_is_normalised_by_what_is_remembered(training: bool) -> None:
    layer = nn.BatchNorm(3, eps=1e-15)
    layer.weight.data, layer.bias.data = [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]
    layer.keep_state({"running_mean": np.zeros(3), "running_var": np.ones(3)})
    layer.state()["running_mean"][:] = [0, 1, 5]
    layer.state()["running_var"][:] = [1, 4, 16]
    layer.training = training
    np.testing.assert_allclose(layer.forward(np.array([[2.0, 3.0, 1.0]])), [[3, 4, 0]], atol=1e-12)
    np.testing.assert_allclose(layer.backward(np.ones((1, 3))), [[1, 1, 0.75]])
    np.testing.assert_allclose(layer.weight.grad, [2, 1, -1])
    np.testing.assert_array_equal(layer.state()["running_mean"], [0, 1, 5])
    np.testing.assert_array_equal(layer.state()["running_var"], [1, 4, 16])


def test_in_use_a_sample_does_not_depend_on_its_batch() -> None:
    layer, x = nn.BatchNorm(3), numbers(40, 3)
    layer.forward(x)
    layer.training = False
    np.testing.assert_array_equal(layer.forward(x)[:2], layer.forward(x[:2]))


@pytest.mark.parametrize("norm", [nn.BatchNorm(4), nn.LayerNorm(4), nn.RMSNorm(4), nn.PReLU(4)])
def test_weight_decay_leaves_scales_and_shifts_alone(norm: nn.Layer) -> None:
    assert not any(parameter.decays for parameter in norm.parameters().values())


def test_a_width_that_does_not_arrive_is_refused() -> None:
    for model in ("Linear(8); BatchNorm(7)", "Linear(8); LayerNorm(7)", "Linear(8); RMSNorm([2, 4])"):
        with pytest.raises(Exception, match="expects"):
            compiled(spec(f"{model}; Linear(10)"))
