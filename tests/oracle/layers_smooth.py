"""Activations that keep their slope: far out, about zero, and on every argument's own value."""

from __future__ import annotations

from typing import Any

import torch
from row import LayerRow, normal
from torch import nn

Tensor = torch.Tensor


def rows_of(part: str, module: type[nn.Module], edges: list[float], **arguments: Any) -> list[LayerRow]:
    """A row for each of rows, images and what is far out."""
    far = [-1e4, -40.0, -9.0, -5.5, -1e-9, 0.0, 1e-9, 2.0, 5.5, 9.0, 40.0, 1e4]
    said = ", ".join(f"{name} {value}" for name, value in arguments.items())

    def row(case: str, x: Tensor) -> LayerRow:
        return LayerRow(part, f"{case}, {said}" if said else case, lambda: module(**arguments), x, arguments)

    return [
        row("rows", normal(5, 4, scale=3)),
        row("images", normal(2, 3, 2, 2)),
        row("far out", torch.tensor(far).reshape(3, 4)),
        *([row("edges", torch.tensor([edges]))] if edges else []),
    ]


def layer_rows() -> list[LayerRow]:
    """Every activation, and every argument of it."""
    return [
        *rows_of("GELU", nn.GELU, []),
        *rows_of("GELU", nn.GELU, [], approximate="tanh"),
        *rows_of("SiLU", nn.SiLU, []),
        *rows_of("Mish", nn.Mish, [19.5, 20.0, 20.5]),
        *rows_of("Softplus", nn.Softplus, [19.9, 20.0, 20.1]),
        *rows_of("Softplus", nn.Softplus, [0.9, 1.0, 1.1, 1.5], beta=2.0, threshold=2.0),
        *rows_of("HardSwish", nn.Hardswish, [-3.0, -2.9999, 0.0, 2.9999, 3.0, 3.0001]),
    ]
