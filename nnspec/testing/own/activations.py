"""Activations."""

from __future__ import annotations

from nnspec.testing.samples import Sample

SAMPLES = [
    Sample("LeakyReLU"),
    Sample("LeakyReLU", {"negative_slope": 0.0}, (2, 3)),
    Sample("LeakyReLU", {"negative_slope": 0.3}, (2, 3)),
    Sample("PReLU"),
    Sample("PReLU", {"num_parameters": 3}, (3,)),
    Sample("PReLU", {"num_parameters": 2}, (2, 3, 2)),
    Sample("ELU"),
    Sample("ELU", {"alpha": 0.4}, (2, 3)),
    Sample("SELU", {}, (2, 3)),
    Sample("HardSigmoid", {}, (3, 4)),
    Sample("HardSwish", {}, (3, 4)),
    Sample("Softplus"),
    Sample("Softplus", {"beta": 2.5}, (2, 3)),
    Sample("SiLU", {}, (2, 3)),
    Sample("GELU"),
    Sample("GELU", {"approximate": "tanh"}, (2, 3)),
    Sample("Mish", {}, (2, 2, 2)),
    Sample("HardTanh"),
    Sample("HardTanh", {"min_val": -0.5, "max_val": 0.25}, (2, 3)),
    Sample("ReLU6", {}, (2, 3)),
    Sample("SoftSign", {}, (2, 3)),
    Sample("LogSigmoid", {}, (2, 3)),
    Sample("CELU"),
    Sample("CELU", {"alpha": 0.4}, (2, 3)),
    Sample("Softmax"),
    Sample("Softmax", {}, (2, 3)),
    Sample("Softmax", {}, (1,)),
    Sample("LogSoftmax"),
    Sample("LogSoftmax", {}, (3, 2)),
]
