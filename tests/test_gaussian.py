"""The tail of the normal distribution, against 50 digits; and the activations far from zero."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

from nnspec import engine as nn
from nnspec.engine.gaussian import tail_of

# Φ(−u) to 17 digits, by mpmath with 50.
TAILS = {
    0.0: 0.5,
    0.125: 0.450261775169887107,
    0.5: 0.308537538725986896,
    0.75: 0.226627352376868199,
    1.0: 0.158655253931457051,
    1.5: 0.066807201268858066,
    2.0: 0.0227501319481792072,
    3.0: 0.00134989803163009453,
    4.0: 0.0000316712418331199213,
    5.0: 2.86651571879193912e-7,
    6.5: 4.01600058385911781e-11,
    8.0: 6.22096057427178412e-16,
    10.0: 7.61985302416052607e-24,
    12.0: 1.776482112077679e-33,
    20.0: 2.7536241186062337e-89,
    30.0: 4.90671392714818706e-198,
    37.0: 5.72557122252457682e-300,
}


def tail(u: Any, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    u = np.array(u, dtype)
    found, bell = np.full_like(u, np.nan), np.full_like(u, np.nan)
    tail_of(u, found, bell)
    return found, bell


def test_it_is_right_to_a_few_roundings_also_where_it_is_tiny() -> None:
    found, _ = tail([*TAILS])
    np.testing.assert_allclose(found, [*TAILS.values()], rtol=0, atol=3e-16)
    # The exponent u²/2 is rounded, so its exponential is off by that many more units.
    for u, ours, right in zip(TAILS, found, TAILS.values(), strict=True):
        assert abs(ours / right - 1) < 1e-15 + 2.3e-16 * u * u, u


def test_single_precision_is_right_to_a_few_of_its_roundings() -> None:
    near = {u: right for u, right in TAILS.items() if u <= 12}
    found, _ = tail([*near], np.float32)
    assert found.dtype == np.float32
    for u, ours, right in zip(near, found, near.values(), strict=True):
        assert abs(ours / right - 1) < 6e-7 + 1.2e-7 * u * u, u


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_agrees_with_the_library_of_c_everywhere(dtype: Any) -> None:
    u = np.linspace(0, 6, 20_011).astype(dtype)
    found, bell = tail(u, dtype)
    unit = np.finfo(dtype).eps
    # u/√2 and u²/2 are rounded before they go into an exponent of up to 18.
    np.testing.assert_allclose(found, [math.erfc(v / math.sqrt(2)) / 2 for v in u.tolist()], rtol=60 * unit)
    np.testing.assert_allclose(bell, [math.exp(-v * v / 2) for v in u.tolist()], rtol=60 * unit)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_ends_at_zero_and_keeps_nan(dtype: Any) -> None:
    found, bell = tail([40.0, 1e4, np.inf, np.nan], dtype)
    np.testing.assert_array_equal(found, [0, 0, 0, np.nan])
    np.testing.assert_array_equal(bell, [0, 0, 0, np.nan])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "layer",
    [nn.GELU(), nn.GELU(approximate="tanh"), nn.SiLU(), nn.Mish(), nn.Softplus(), nn.Softplus(3.0), nn.HardSwish()],
    ids=["GELU", "GELU tanh", "SiLU", "Mish", "Softplus", "Softplus 3", "HardSwish"],
)
def test_far_from_zero_they_are_a_line_and_silent(layer: Any, dtype: Any) -> None:
    x = np.array([[-1e4, -200.0, 200.0, 1e4]], dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(layer.forward(x), [[0, 0, 200, 1e4]], rtol=0, atol=1e-80)
        np.testing.assert_allclose(layer.backward(np.ones_like(x)), [[0, 0, 1, 1]], rtol=0, atol=1e-80)


@pytest.mark.parametrize("shape", [(3, 9000), (18_000, 2), (2, 3, 6000)])
def test_what_is_worked_on_in_blocks_is_the_same_as_alone(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape)
    layer = nn.GELU()
    y = layer.forward(x)
    dx = layer.backward(np.ones_like(x))
    chosen = np.random.default_rng(1).integers(0, x.size, 200)
    one = nn.GELU()
    np.testing.assert_allclose(one.forward(x.reshape(-1, 1)[chosen])[:, 0], y.reshape(-1)[chosen], rtol=1e-14)
    np.testing.assert_allclose(one.backward(np.ones((200, 1)))[:, 0], dx.reshape(-1)[chosen], rtol=1e-13)
