"""Layers of small models, in what the contract of layers does not ask: noise, drops, and what messages say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny_spec import spec

from nnspec import engine as nn
from nnspec.checker import check
from nnspec.diagnostics import Source


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape)


def test_attention_drops_shares_of_its_softmax() -> None:
    """Against the formula, with the mask that it drew: softmax(q kᵀ/√d) ∘ m / (1 − p) v."""
    layer, x = nn.MultiHeadAttention(6, 2, dropout=0.4, causal=True, rng=np.random.default_rng(3)), normal(4, 5, 6)
    y, grad = layer.forward(x), normal(4, 5, 6)
    dx, mask = layer.backward(grad).copy(), layer._mask.copy()
    assert set(np.unique(mask)) == {0, 1 / 0.6}
    assert mask.shape == (4, 2, 5, 5)

    def formula(x: np.ndarray) -> np.ndarray:
        qkv = (x @ layer.qkv_weight.data + layer.qkv_bias.data).reshape(4, 5, 3, 2, 3).transpose(2, 0, 3, 1, 4)
        scores = np.where(np.tri(5, dtype=bool), qkv[0] @ qkv[1].swapaxes(-1, -2) / np.sqrt(3), -np.inf)
        shares = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True) * mask
        return (shares @ qkv[2]).transpose(0, 2, 1, 3).reshape(4, 5, 6) @ layer.out_weight.data + layer.out_bias.data

    np.testing.assert_allclose(y, formula(x), rtol=0, atol=1e-12)
    step = 1e-6 * normal(4, 5, 6)[::-1]
    change = ((formula(x + step) - formula(x - step)) * grad).sum() / 2
    assert change == pytest.approx((dx * step).sum(), rel=1e-6)
    layer.training = False
    mask = np.ones_like(mask)
    np.testing.assert_allclose(layer.forward(x), formula(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("shape", "axes"), [((50, 40, 6, 7), (2, 3)), ((50, 9, 40), (1,))])
def test_spatial_dropout_drops_whole_channels(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    layer = nn.SpatialDropout(0.3, rng=np.random.default_rng(0))
    y = layer.forward(np.ones(shape))
    assert np.ptp(y, axis=axes).max() == 0
    assert set(np.unique(y)) == {0, 1 / 0.7}
    assert y.mean() == pytest.approx(1, abs=0.05)


def test_gaussian_noise_has_its_deviation_and_passes_gradients_on() -> None:
    layer, x = nn.GaussianNoise(0.5, rng=np.random.default_rng(0)), normal(200, 50)
    noise = layer.forward(x) - x
    assert noise.std() == pytest.approx(0.5, rel=0.02)
    assert abs(noise.mean()) < 0.02
    np.testing.assert_array_equal(layer.backward(x), x)
    layer.training = False
    np.testing.assert_array_equal(layer.forward(x), x)


def test_group_norm_ends_at_instance_norm_and_layer_norm() -> None:
    x = normal(3, 6, 4, 5)
    np.testing.assert_allclose(nn.GroupNorm(6, 6).forward(x), nn.InstanceNorm(6).forward(x), rtol=1e-13)
    layer_norm = nn.LayerNorm((6, 4, 5), elementwise_affine=False)
    np.testing.assert_allclose(nn.GroupNorm(1, 6).forward(x), layer_norm.forward(x), rtol=1e-10, atol=1e-12)


def test_a_convolution_that_is_transposed_twice_is_itself() -> None:
    """⟨Conv x, y⟩ = ⟨x, Convᵀ y⟩ with the same weights."""
    for more in ({"stride": 2, "padding": 1}, {"padding": "same", "stride": 2}, {"dilation": 2, "groups": 2}):
        x, straight = normal(2, 4, 8, 6), nn.Conv2D(4, 6, 3, bias=False, **more)
        y = normal(*straight.forward(x).shape)
        back = {} if more.get("padding") != 1 else {"output_padding": 1}
        transposed = nn.ConvTranspose2D(6, 4, 3, bias=False, **more, **back)
        transposed.weight.data = straight.weight.data
        np.testing.assert_allclose((straight.forward(x) * y).sum(), (x * transposed.forward(y)).sum(), rtol=1e-12)


def test_one_hot_and_linear_are_an_embedding() -> None:
    ids = np.array([[0.0, 3.0, 2.0], [1.0, 1.0, 3.0]])
    embedding, linear = nn.Embedding(4, 5), nn.Linear(4, 5, bias=False)
    linear.weight.data = embedding.weight.data
    np.testing.assert_array_equal(linear.forward(nn.OneHot(4).forward(ids)), embedding.forward(ids))
    with pytest.raises(ValueError, match="OneHot takes ids from 0 to 3, not 0 to 4"):
        nn.OneHot(4).forward(ids + (ids == 3))


HELP = [
    ("Reshape([1, 28, 28]); Patches(5); Flatten", "patches of 5×5 do not divide 28×28", "`Patches(4)` does"),
    ("Reshape([1, 28, 28]); PixelShuffle(2); Flatten", "1 channels are not a multiple of 2² = 4", "`Conv2D(4, 3, "),
    (
        "ConvTranspose2D(2, 3, output_padding=1); Flatten",
        "output padding of a ConvTranspose2D must be less",
        "remove it",
    ),
    ("ConvTranspose2D(2, 3, padding=20); Flatten", "the padding of this ConvTranspose2D removes", "smaller padding"),
    ("Resize(5, mode=nearest, antialias=true); Flatten", "`antialias` needs a mode that interpolates", "remove it"),
    ("Conv2D(6, 3); GroupNorm(4); Flatten", "4 groups do not divide 6 channels", "`GroupNorm(3)` does"),
    ("Linear(5); GLU", "GLU halves the features", "`Linear(6)`"),
    ("Linear(6); SpatialDropout", "SpatialDropout expects a sequence or an image", "write `Dropout` instead"),
    ("Reshape([28, 28]); Select(28)", "a sequence of 28 positions has no position 28", "`Select(-1)`"),
    ("Cropping(14); Flatten", "Cropping leaves nothing", "crop less"),
    ("OneHot; Flatten", "OneHot expects ids but got numbers", "remove it"),
    ("Linear(6); HardTanh(1, 0)", "`min_val` must be less than `max_val`", "swap"),
    ("Linear(6); Transpose", "Transpose expects a sequence or an image", "remove it"),
    ("RepeatVector(0)", "`length` must be at least 1", ""),
]


@pytest.mark.parametrize(("model", "message", "help"), HELP, ids=[row[0] for row in HELP])
def test_what_does_not_fit_is_an_error_with_help(model: str, message: str, help: str) -> None:
    found = [d for d in check(Source("a.nn", spec(f"{model}; Linear(10)")), []).diagnostics if d.severity == "error"]
    assert message in found[0].message
    assert help in (found[0].help or "")


BENDS: dict[str, Any] = {"keras": "Conv2DTranspose", "torch": "ConvTranspose2d"}


@pytest.mark.parametrize("name", BENDS.values())
def test_names_of_other_frameworks_are_known(name: str) -> None:
    (found, *_) = check(Source("a.nn", spec(f"{name}(4, 3); Flatten; Linear(10)")), []).diagnostics
    assert "did you mean `ConvTranspose2D`?" in found.help
