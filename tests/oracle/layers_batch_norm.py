"""Batch normalisation, in training and in use, with what it remembers."""

from __future__ import annotations

from typing import Any

import torch
from row import LayerRow, OverPlaces, normal
from torch import nn

Tensor = torch.Tensor


def norm(case: str, x: Tensor, *, training: bool = True, **arguments: Any) -> LayerRow:
    """Over as many axes as x has, with a scale, a shift and a memory that are not those of the start."""
    channels = x.shape[2 if x.ndim == 3 else 1]

    def make() -> nn.Module:
        module = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[x.ndim](channels, **arguments)
        for parameter in module.parameters():
            parameter.data = normal(channels)
        module.running_mean.copy_(normal(channels))
        module.running_var.copy_(normal(channels).abs() + 0.5)
        return OverPlaces(module) if x.ndim == 3 else module

    ours = {"num_features": channels} | arguments
    state = ("running_mean", "running_var")
    return LayerRow("BatchNorm", case, make, x, ours, training=training, state=state)


def layer_rows() -> list[LayerRow]:
    """Every argument, of rows, sequences and images, in training and in use."""
    rows = []
    for training in (True, False):
        how = "training" if training else "in use"
        rows += [
            norm(f"rows, {how}", normal(6, 4, scale=3), training=training),
            norm(f"two rows, {how}", normal(2, 3), training=training),
            norm(f"sequences, {how}", normal(3, 4, 2), training=training),
            norm(f"images, {how}", normal(3, 2, 3, 2), training=training),
            norm(f"one image, {how}", normal(1, 2, 2, 3), training=training),
            norm(f"eps and momentum, {how}", normal(4, 3), training=training, eps=0.3, momentum=0.7),
            norm(f"without scale, {how}", normal(4, 3), training=training, affine=False),
            norm(f"far from zero, {how}", normal(5, 3) + 1000, training=training),
        ]
    return rows
