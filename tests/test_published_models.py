"""Models that others published, as specs: they have as many parameters as published, and small ones train a step."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_plan import make_plan

from nnspec.checker import check
from nnspec.compiler.layout import lay_out
from nnspec.diagnostics import Source

INCEPTION = """
block Inception(n1, r3, n3, r5, n5, pool) {
    concat {
        one { Conv2D(n1, 1); ReLU }
        three { Conv2D(r3, 1); ReLU; Conv2D(n3, 3, padding=1); ReLU }
        five { Conv2D(r5, 1); ReLU; Conv2D(n5, 5, padding=2); ReLU }
        pooled { MaxPool(3, stride=1, padding=1); Conv2D(pool, 1); ReLU }
    }
}
"""
MODELS: dict[str, tuple[str, str, int]] = {
    "LeNet of Caffe": (
        "Given([1, 28, 28], 10)",
        "model { Conv2D(20, 5); MaxPool(2); Conv2D(50, 5); MaxPool(2); Flatten; Linear(500); ReLU; Linear(10) }",
        431_080,
    ),
    "All-CNN-C of DeepOBS, CIFAR-100": (
        "Given([3, 32, 32], 100)",
        """
        block C(n, k=3, s=1, pad=same) { Conv2D(n, k, stride=s, padding=pad, bias_init=fill(0.1)); ReLU }
        model {
            Dropout(0.2); C(96) * 2; C(96, s=2); Dropout(0.5); C(192) * 2; C(192, s=2); Dropout(0.5)
            C(192, pad=valid); C(192, k=1); C(100, k=1); GlobalAvgPool
        }
        """,
        1_387_108,
    ),
    "AlexNet of d2l": (
        "Given([1, 28, 28], 10)",
        """
        block C(n, k, s=1, pad=0) { Conv2D(n, k, stride=s, padding=pad); ReLU }
        model {
            Resize(224); C(96, 11, s=4, pad=1); MaxPool(3, stride=2); C(256, 5, pad=2); MaxPool(3, stride=2)
            C(384, 3, pad=1) * 2; C(256, 3, pad=1); MaxPool(3, stride=2); Flatten
            Linear(4096); ReLU; Dropout; Linear(4096); ReLU; Dropout; Linear(10)
        }
        """,
        46_764_746,
    ),
    "VGG-11 of PyTorch": (
        "Given([3, 224, 224], 1000)",
        """
        block C(n) { Conv2D(n, 3, padding=1, init=he_normal(mode=fan_out)); ReLU }
        model {
            C(64); MaxPool; C(128); MaxPool; C(256) * 2; MaxPool; C(512) * 2; MaxPool; C(512) * 2; MaxPool; Flatten
            Linear(4096); ReLU; Dropout; Linear(4096); ReLU; Dropout; Linear(1000)
        }
        """,
        132_863_336,
    ),
    "GoogLeNet of Caffe, without its side outputs and response normalisation": (
        "Given([3, 224, 224], 1000)",
        INCEPTION
        + """
        model {
            Conv2D(64, 7, stride=2, padding=3); ReLU; MaxPool(3, stride=2, ceil_mode=true)
            Conv2D(64, 1); ReLU; Conv2D(192, 3, padding=1); ReLU; MaxPool(3, stride=2, ceil_mode=true)
            Inception(64, 96, 128, 16, 32, 32); Inception(128, 128, 192, 32, 96, 64)
            MaxPool(3, stride=2, ceil_mode=true)
            Inception(192, 96, 208, 16, 48, 64); Inception(160, 112, 224, 24, 64, 64)
            Inception(128, 128, 256, 24, 64, 64); Inception(112, 144, 288, 32, 64, 64)
            Inception(256, 160, 320, 32, 128, 128); MaxPool(3, stride=2, ceil_mode=true)
            Inception(256, 160, 320, 32, 128, 128); Inception(384, 192, 384, 48, 128, 128)
            AvgPool(7); Flatten; Dropout(0.4); Linear(1000)
        }
        """,
        6_998_552,
    ),
    "DenseNet of d2l": (
        "Given([1, 96, 96], 10)",
        """
        block Layer { concat { before { } new { BatchNorm; ReLU; Conv2D(32, 3, padding=1) } } }
        block Shrink(n) { BatchNorm; ReLU; Conv2D(n, 1); AvgPool(2) }
        model {
            Conv2D(64, 7, stride=2, padding=3); BatchNorm; ReLU; MaxPool(3, stride=2, padding=1)
            Layer * 4; Shrink(96); Layer * 4; Shrink(112); Layer * 4; Shrink(120); Layer * 4
            BatchNorm; ReLU; GlobalAvgPool; Linear(10)
        }
        """,
        758_226,
    ),
    "convolutional autoencoder of Keras": (
        "Given([1, 28, 28], 10)",
        """
        model {
            Conv2D(32, 3, padding=same); ReLU; MaxPool(2, padding=same); Conv2D(32, 3, padding=same); ReLU
            MaxPool(2, padding=same)
            ConvTranspose2D(32, 3, stride=2, padding=same); ReLU; ConvTranspose2D(32, 3, stride=2, padding=same); ReLU
            Conv2D(1, 3, padding=same)
        }
        """,
        28_353,
    ),
    "super-resolution of PyTorch": (
        "Given([1, 8, 8], targets=[1, 24, 24])",
        """
        block C(n, k=3) { Conv2D(n, k, padding=same, init=orthogonal(gain=1.4142135623730951)); ReLU }
        model { C(64, 5); C(64); C(32); Conv2D(9, 3, padding=1, init=orthogonal); PixelShuffle(3) }
        """,
        59_657,
    ),
    "super-resolution of Keras": (
        "Given([1, 8, 8], targets=[1, 24, 24])",
        """
        block C(n, k=3) { Conv2D(n, k, padding=same, init=orthogonal); ReLU }
        model { C(64, 5); C(64); C(32); C(9); PixelShuffle(3) }
        """,
        59_657,
    ),
    "vision transformer ViT-B/16 of torchvision": (
        "Given([3, 224, 224], 1000)",
        """
        block Encoder(width, heads, hidden) {
            residual { LayerNorm(eps=1e-6); MultiHeadAttention(heads) }
            residual { LayerNorm(eps=1e-6); Linear(hidden); GELU; Linear(width) }
        }
        model {
            Patches(16); Linear(768); ClassToken; PositionalEmbedding; Encoder(768, 12, 3072) * 12
            LayerNorm(eps=1e-6); Select(0); Linear(1000)
        }
        """,
        86_567_656,
    ),
    "MLP-Mixer S/16 of the paper": (
        "Given([3, 224, 224], 1000)",
        """
        block Mixer(places, width, across, hidden) {
            residual { LayerNorm; Transpose; Linear(across); GELU; Linear(places); Transpose }
            residual { LayerNorm; Linear(hidden); GELU; Linear(width) }
        }
        model {
            Patches(16); Linear(512); Mixer(196, 512, 256, 2048) * 8; LayerNorm; GlobalAvgPool; Linear(1000)
        }
        """,
        18_528_264,
    ),
    "ConvNeXt-T of torchvision": (
        "Given([3, 224, 224], 1000)",
        """
        block Norm(n) { Reshape([n, -1]); Transpose; LayerNorm(eps=1e-6); Transpose }
        block Stage(n, side) {
            residual {
                Conv2D(n, 7, padding=3, groups=n); Norm(n); Transpose; Linear(4 * n); GELU; Linear(n)
                Scale(1e-6); Transpose; Reshape([n, side, side])
            }
        }
        block Down(n, m, side) { Norm(n); Reshape([n, side, side]); Conv2D(m, 2, stride=2) }
        model {
            Conv2D(96, 4, stride=4); Norm(96); Reshape([96, 56, 56]); Stage(96, 56) * 3
            Down(96, 192, 56); Stage(192, 28) * 3; Down(192, 384, 28); Stage(384, 14) * 9; Down(384, 768, 14)
            Stage(768, 7) * 3; GlobalAvgPool; LayerNorm(eps=1e-6); Linear(1000)
        }
        """,
        28_589_128,
    ),
}
"""By source and name: the data, the model, and the published number of parameters."""


def text_of(name: str, data: str = "") -> str:
    given, model, _ = MODELS[name]
    loss, more = "CrossEntropy", ""
    if "targets" in given:
        loss, more = "MSE", "metrics = []\n"
    elif "autoencoder" in name:
        loss, more = "BCEWithLogits", "metrics = []\ntrain.target = input\n"
    return f"data = {data or given}\n{model}\nloss = {loss}\noptimizer = Adam\ntrain.batch = 2\n{more}"


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_as_many_parameters_as_published(name: str) -> None:
    result = check(Source("model.nn", text_of(name)), [])
    assert not [found for found in result.diagnostics if found.severity == "error"], result.diagnostics
    assert lay_out(result.program.lanes[0]).params == MODELS[name][2]


@pytest.mark.parametrize("name", ["LeNet of Caffe", "convolutional autoencoder of Keras"])
def test_a_small_one_trains(name: str) -> None:
    plan = make_plan(text_of(name, "Digits(train=6, test=2)"))
    before = [parameter.data.copy() for parameter in plan.network.parameters()]
    plan.begin(0)
    plan.train_batch(0)
    for parameter, start in zip(plan.network.parameters(), before, strict=True):
        assert np.isfinite(parameter.data).all()
        assert (parameter.data != start).any()
