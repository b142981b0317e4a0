"""Convolutions."""

from __future__ import annotations

from typing import Any

import torch
from row import LayerRow, OverPlaces, normal
from torch import nn

Tensor = torch.Tensor


def unchanged(tensors: dict[str, Tensor]) -> dict[str, list[Any]]:
    """Weights of convolutions are kept as PyTorch's are: (out, in / groups, kernel)."""
    return {name: tensor.tolist() for name, tensor in tensors.items()}


def row2d(case: str, x: Tensor, out: int, kernel: Any, **arguments: Any) -> LayerRow:
    """A convolution over rows and columns, with the arguments that nnspec and PyTorch have in common."""
    return _row("Conv2D", nn.Conv2d, case, x, out, kernel, arguments)


def row1d(case: str, x: Tensor, out: int, kernel: Any, **arguments: Any) -> LayerRow:
    """A convolution over the places of sequences (B, T, F)."""
    return _row("Conv1D", nn.Conv1d, case, x, out, kernel, arguments)


def _row(
    part: str, module: type[nn.Module], case: str, x: Tensor, out: int, kernel: Any, arguments: dict[str, Any]
) -> LayerRow:
    channels = x.shape[1 if part == "Conv2D" else 2]
    theirs = {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
    size = tuple(kernel) if isinstance(kernel, list) else kernel

    def make() -> nn.Module:
        if theirs.get("padding") == "causal":
            reach = (size - 1) * theirs.get("dilation", 1)
            return OverPlaces(
                _Causal(channels, out, size, reach, **{k: v for k, v in theirs.items() if k != "padding"})
            )
        convolution = module(channels, out, size, **theirs)
        return OverPlaces(convolution) if part == "Conv1D" else convolution

    ours = {"in_channels": channels, "out_channels": out, "kernel_size": kernel} | arguments
    return LayerRow(part, case, make, x, ours, convert=unchanged)


class _Causal(nn.Conv1d):
    """A convolution with zeros before the first place, as many as its window reaches back."""

    def __init__(self, channels: int, out: int, size: int, reach: int, **more: Any) -> None:
        super().__init__(channels, out, size, **more)
        self.reach = reach

    def forward(self, x: Tensor) -> Tensor:
        """Pad, and slide."""
        return super().forward(nn.functional.pad(x, (self.reach, 0)))


def layer_rows() -> list[LayerRow]:
    """Every argument alone, and several together."""
    return [
        row2d("plain", normal(2, 2, 5, 4), 3, 3),
        row2d("one channel", normal(2, 1, 5, 5), 2, 3),
        row2d("one sample, one by one", normal(1, 3, 2, 2), 2, 1),
        row2d("no bias", normal(2, 2, 4, 4), 2, 2, bias=False),
        row2d("a kernel that is not square", normal(2, 2, 4, 5), 2, [2, 3]),
        row2d("stride", normal(2, 1, 7, 6), 2, 3, stride=2),
        row2d("strides", normal(2, 1, 7, 6), 2, 2, stride=[3, 1]),
        row2d("strides wider than the kernel", normal(2, 2, 7, 7), 2, 2, stride=3),
        row2d("padding", normal(2, 2, 4, 4), 2, 3, padding=1),
        row2d("paddings", normal(2, 1, 4, 3), 2, 3, padding=[0, 2]),
        row2d("same", normal(2, 2, 4, 5), 2, 3, padding="same"),
        row2d("same, an even kernel", normal(2, 1, 5, 4), 2, [2, 4], padding="same"),
        row2d("same, dilated", normal(2, 1, 5, 6), 2, 3, padding="same", dilation=2),
        row2d("dilation", normal(2, 2, 7, 7), 2, 3, dilation=2),
        row2d("dilations", normal(2, 1, 7, 6), 2, 2, dilation=[3, 2]),
        row2d("groups", normal(2, 4, 4, 4), 6, 3, groups=2),
        row2d("depthwise", normal(2, 3, 5, 4), 3, 3, groups=3, padding=1),
        row2d("depthwise, two of each", normal(2, 2, 4, 4), 4, 2, groups=2, bias=False),
        row2d("all together", normal(2, 4, 9, 8), 4, [3, 2], stride=[2, 1], padding=[2, 1], dilation=[1, 2], groups=2),
        row1d("plain", normal(2, 7, 3), 2, 3),
        row1d("one feature", normal(2, 6, 1), 2, 3),
        row1d("stride, padding, dilation", normal(2, 9, 2), 3, 3, stride=2, padding=2, dilation=2),
        row1d("same, groups", normal(2, 6, 4), 2, 4, padding="same", groups=2, bias=False),
        row1d("causal", normal(2, 6, 3), 4, 3, padding="causal"),
        row1d("causal, dilated", normal(2, 8, 2), 3, 3, padding="causal", dilation=2),
    ]
