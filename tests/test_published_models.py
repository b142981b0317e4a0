"""Large models that others published, too large to train here, have as many parameters as published. For small ones see
`specs/models`."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_as_many_parameters_as_published(name: str) -> None:
    given, model, params = MODELS[name]
    text = f"data = {given}\n{model}\nloss = CrossEntropy\noptimizer = Adam\ntrain.batch = 2\n"
    result = check(Source("model.nn", text), [])
    assert not [found for found in result.diagnostics if found.severity == "error"], result.diagnostics
    assert lay_out(result.program.lanes[0]).params == params
