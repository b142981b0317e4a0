"""Pools, and the layers that only change shapes."""

from __future__ import annotations

from typing import Any

import torch
from row import LayerRow, OverPlaces, normal
from torch import nn

Tensor = torch.Tensor


def pool(part: str, case: str, x: Tensor, size: Any = 2, **arguments: Any) -> LayerRow:
    """A pool over the places of sequences (B, T, F), or the rows and columns of images (B, C, H, W)."""
    module = {
        ("MaxPool", 3): nn.MaxPool1d,
        ("MaxPool", 4): nn.MaxPool2d,
        ("AvgPool", 3): nn.AvgPool1d,
        ("AvgPool", 4): nn.AvgPool2d,
    }[part, x.ndim]
    theirs = {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
    kernel = tuple(size) if isinstance(size, list) else size

    def make() -> nn.Module:
        return OverPlaces(module(kernel, **theirs)) if x.ndim == 3 else module(kernel, **theirs)

    return LayerRow(part, case, make, x, {"kernel_size": size} | arguments)


def mean(x: Tensor) -> LayerRow:
    """The mean of each feature or channel."""

    def make() -> nn.Module:
        if x.ndim == 3:
            return OverPlaces(nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten()))
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    return LayerRow("GlobalAvgPool", f"{x.ndim - 2} axes", make, x)


def layer_rows() -> list[LayerRow]:
    """Every argument alone, and several together; numbers that are equal, so that it shows which of them is taken."""
    equal = torch.tensor(
        [[[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]], [[-1.0, -2.0, 3.0, 3.0], [-1.0, -1.0, 3.0, 3.0]]]
    )
    rows = []
    for part in ("MaxPool", "AvgPool"):
        rows += [
            pool(part, "plain", normal(2, 2, 4, 6)),
            pool(part, "what is left over", normal(2, 1, 5, 7), 3),
            pool(part, "equal numbers", equal[None]),
            pool(part, "equal numbers, windows that overlap", equal[None], stride=1),
            pool(part, "not square", normal(2, 2, 4, 6), [1, 3]),
            pool(part, "windows that overlap", normal(2, 2, 5, 5), 3, stride=1),
            pool(part, "strides", normal(2, 1, 6, 7), 2, stride=[1, 3]),
            pool(part, "padding", normal(2, 2, 4, 4), 3, stride=2, padding=1),
            pool(part, "padding, windows that do not overlap", normal(2, 1, 4, 4), 2, padding=1),
            pool(part, "paddings", normal(2, 1, 5, 4), [2, 3], stride=[2, 1], padding=[0, 1]),
            pool(part, "places", normal(2, 7, 3)),
            pool(part, "places, all arguments", normal(2, 8, 2), 4, stride=3, padding=2),
        ]
    return [
        *rows,
        mean(normal(3, 2, 4, 3)),
        mean(normal(3, 2, 5)),
        LayerRow("Reshape", "an image", lambda: nn.Unflatten(1, (1, 2, 3)), normal(2, 6), {"shape": [1, 2, -1]}),
        LayerRow("Reshape", "a row", nn.Flatten, normal(2, 2, 3), {"shape": [6]}),
        pool("MaxPool", "a last window beyond the end", normal(2, 2, 6, 7), 3, stride=2, ceil_mode=True),
        pool("MaxPool", "none that starts in the padding", normal(2, 1, 4, 5), 2, stride=3, padding=1, ceil_mode=True),
        pool("MaxPool", "places, beyond the end", normal(2, 6, 3), 3, stride=2, ceil_mode=True),
    ]
