"""Normalisation within a sample; a scale and a shift that are neither one nor zero."""

from __future__ import annotations

from typing import Any

import torch
from row import LayerRow, normal
from torch import nn

Tensor = torch.Tensor


def norm(case: str, module: type[nn.Module], x: Tensor, shape: Any, eps: float = 1e-5, **arguments: Any) -> LayerRow:
    """A norm over the last axes, `shape`, in training."""

    def make() -> nn.Module:
        made = module(shape, eps=eps, **arguments)
        for parameter in made.parameters():
            parameter.data = normal(*parameter.shape)
        return made

    ours = {"normalized_shape": shape, "eps": eps} | arguments
    return LayerRow(module.__name__, case, make, x, ours, convert=as_they_are)


def as_they_are(tensors: dict[str, Tensor]) -> dict[str, list[Any]]:
    """Scales and shifts have the shape of what they are for, in PyTorch too."""
    return {name: tensor.tolist() for name, tensor in tensors.items()}


def layer_rows() -> list[LayerRow]:
    """Every argument of both, rows of one, and rows that are nearly constant or far from zero."""
    rows = []
    for module in (nn.LayerNorm, nn.RMSNorm):
        rows += [
            norm("rows", module, normal(5, 4, scale=3), 4),
            norm("sequences", module, normal(2, 3, 4), 4),
            norm("two axes", module, normal(3, 2, 2, 3), [2, 3]),
            norm("the whole sample", module, normal(3, 2, 3), [2, 3]),
            norm("without scale", module, normal(3, 4), 4, elementwise_affine=False),
            norm("a large eps", module, normal(3, 4), 4, eps=0.5),
            norm("far from zero", module, normal(3, 4) + 1000, 4),
            norm("nearly constant", module, 1 + normal(3, 4, scale=1e-3), 4),
            norm("a row of one", module, normal(3, 1), 1),
        ]
    rows.append(norm("without shift", nn.LayerNorm, normal(3, 4), 4, bias=False))
    return rows
