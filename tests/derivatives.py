"""Every derivative that a layer of the engine computes, to be spoilt on purpose, and an input to see it at."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nnspec import engine as nn
from nnspec.engine.layers.contract import Layer


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(11).standard_normal(shape)


@dataclass(frozen=True)
class Derivative:
    """A derivative that a backward pass computes: of which part, which array, and an input to see it at."""

    part: str
    which: str
    make: Callable[[], Layer]
    shape: tuple[int, ...]
    tokens: int = 0
    """How many different whole numbers the input is made of; 0 for real numbers."""

    def x(self) -> np.ndarray:
        return np.arange(np.prod(self.shape)).reshape(self.shape) % self.tokens if self.tokens else normal(*self.shape)

    def __str__(self) -> str:
        return f"{self.part} {self.which}"


DERIVATIVES = [
    Derivative("Linear", "input", lambda: nn.Linear(4, 3), (5, 4)),
    Derivative("Linear", "weight", lambda: nn.Linear(4, 3), (5, 4)),
    Derivative("Linear", "bias", lambda: nn.Linear(4, 3), (5, 4)),
    Derivative("ReLU", "input", nn.ReLU, (5, 6)),
    Derivative("Sigmoid", "input", nn.Sigmoid, (5, 6)),
    Derivative("Tanh", "input", nn.Tanh, (5, 6)),
    Derivative("Dropout", "input", nn.Dropout, (5, 6)),
    *(
        Derivative(cls.spec_name, "input", cls, (5, 6))
        for cls in (
            *(nn.LeakyReLU, nn.ELU, nn.SELU, nn.HardSigmoid, nn.Softmax, nn.LogSoftmax),
            *(nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.HardSwish),
        )
    ),
    *(Derivative("PReLU", which, lambda: nn.PReLU(6), (5, 6)) for which in ("input", "weight")),
    *(Derivative("BatchNorm", which, lambda: nn.BatchNorm(6), (5, 6)) for which in ("input", "weight", "bias")),
    *(Derivative("LayerNorm", which, lambda: nn.LayerNorm(6), (5, 6)) for which in ("input", "weight", "bias")),
    *(Derivative("RMSNorm", which, lambda: nn.RMSNorm(6), (5, 6)) for which in ("input", "weight")),
    Derivative("Flatten", "input", nn.Flatten, (5, 2, 3)),
    Derivative("Reshape", "input", lambda: nn.Reshape([3, -1]), (5, 6)),
    Derivative("Conv2D", "input", lambda: nn.Conv2D(2, 3, 2), (3, 2, 3, 4)),
    Derivative("Conv2D", "weight", lambda: nn.Conv2D(2, 3, 2), (3, 2, 3, 4)),
    Derivative("Conv2D", "bias", lambda: nn.Conv2D(2, 3, 2), (3, 2, 3, 4)),
    Derivative("Conv1D", "input", lambda: nn.Conv1D(2, 3, 2), (3, 5, 2)),
    Derivative("Conv1D", "weight", lambda: nn.Conv1D(2, 3, 2), (3, 5, 2)),
    Derivative("Conv1D", "bias", lambda: nn.Conv1D(2, 3, 2), (3, 5, 2)),
    Derivative("MaxPool", "input", nn.MaxPool, (3, 2, 4, 4)),
    Derivative("AvgPool", "input", nn.AvgPool, (3, 2, 4, 4)),
    Derivative("GlobalAvgPool", "input", nn.GlobalAvgPool, (3, 2, 3, 2)),
    Derivative("Embedding", "weight", lambda: nn.Embedding(4, 3), (5, 6), tokens=4),
    *(
        Derivative("PositionalEmbedding", which, lambda: nn.PositionalEmbedding(3, 2), (5, 3, 2))
        for which in ("input", "weight")
    ),
    Derivative("SinusoidalPositions", "input", nn.SinusoidalPositions, (5, 3, 2)),
    *(
        Derivative("MultiHeadAttention", which, lambda: nn.MultiHeadAttention(4, 2, causal=True), (5, 3, 4))
        for which in ("input", "qkv_weight", "qkv_bias", "out_weight", "out_bias")
    ),
    *(
        Derivative(cls.spec_name, which, functools.partial(cls, 4, 3), (5, 3, 4))
        for cls in (nn.RNN, nn.GRU, nn.LSTM)
        for which in ("input", "weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ),
]
