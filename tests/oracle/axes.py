"""Small models of sequences by PyTorch, whose layers take some as (B, T, F) and others as (B, F, T).

    python tests/oracle/make_reference.py axes

Each case has the text of nnspec's model, its parameters by nnspec's names, what goes in, the outputs, and the gradients
of Σ outputs · g.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from row import Tensor, normal
from torch import nn
from torch.nn import functional

TOKENS, PLACES, FEATURES = 5, 6, 3


def names_of(name: str, module: nn.Module) -> dict[str, Tensor]:
    """Parameters by nnspec's names."""
    return {f"{name}.{key.removesuffix('_l0')}": tensor for key, tensor in module.named_parameters()}


def kept(name: str, tensor: Tensor) -> list[Any]:
    """Matrices of `Linear` and recurrent layers are (in, out) in nnspec; all else is kept as PyTorch keeps it."""
    return (tensor.mT if tensor.ndim == 2 and not name.startswith("Embedding") else tensor).tolist()


def case(text: str, modules: dict[str, nn.Module], run: Callable[..., Tensor], ids: bool = False) -> dict[str, Any]:
    """Run a model and its backward pass."""
    parameters = {k: v for name, module in modules.items() for k, v in names_of(name, module).items()}
    x = torch.randint(TOKENS, (2, PLACES)) if ids else normal(2, PLACES, FEATURES).requires_grad_()
    y = run(x, *modules.values())
    g = normal(*y.shape)
    (y * g).sum().backward()
    return {
        "model": text,
        "ids": ids,
        "x": x.tolist(),
        "g": g.tolist(),
        "y": y.tolist(),
        "parameters": {name: kept(name, tensor) for name, tensor in parameters.items()},
        "gradients": {name: kept(name, tensor.grad) for name, tensor in parameters.items()},
        "input_gradient": None if ids else x.grad.tolist(),
    }


def causal(x: Tensor, embedding: nn.Module, conv: nn.Module) -> Tensor:
    """A convolution whose zeros all stand before the first place."""
    padded = functional.pad(embedding(x).mT, (2 * conv.dilation[0], 0))
    y: Tensor = conv(padded).mT
    return y


def content() -> dict[str, Any]:
    """The models."""

    def lstm(hidden: int, features: int = FEATURES) -> nn.Module:
        return nn.LSTM(features, hidden, batch_first=True)

    return {
        "cases": [
            case(
                "Embedding(4); Conv1D(3, 3, padding=causal, dilation=2)",
                {"Embedding1": nn.Embedding(TOKENS, 4), "Conv1D1": nn.Conv1d(4, 3, 3, dilation=2)},
                causal,
                ids=True,
            ),
            case(
                "concat { a { LSTM(4) } b { GRU(2) } }",
                {"concat1.a.LSTM1": lstm(4), "concat1.b.GRU1": nn.GRU(FEATURES, 2, batch_first=True)},
                lambda x, a, b: torch.cat([a(x)[0], b(x)[0]], dim=2),
            ),
            case(
                "LSTM(4); GlobalAvgPool; Linear(2)",
                {"LSTM1": lstm(4), "Linear1": nn.Linear(4, 2)},
                lambda x, a, b: b(a(x)[0].mean(dim=1)),
            ),
            case(
                "Linear(4); Tanh; Flatten; Linear(2)",
                {"Linear1": nn.Linear(FEATURES, 4), "Linear2": nn.Linear(4 * PLACES, 2)},
                lambda x, a, b: b(a(x).tanh().flatten(1)),
            ),
            case(
                "LSTM(4); BatchNorm; MaxPool; Conv1D(2, 2)",
                {"LSTM1": lstm(4), "BatchNorm1": nn.BatchNorm1d(4), "Conv1D1": nn.Conv1d(4, 2, 2)},
                lambda x, a, b, c: c(functional.max_pool1d(b(a(x)[0].mT), 2)).mT,
            ),
        ]
    }
