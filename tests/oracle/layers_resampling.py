"""Transposed convolutions, other resolutions, and layers that change the order of numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from row import LayerRow, OverPlaces, normal
from torch import nn
from torch.nn import functional

Tensor = torch.Tensor


def unchanged(tensors: dict[str, Tensor]) -> dict[str, list[Any]]:
    """Weights of convolutions are kept as PyTorch's are: (in, out / groups, kernel)."""
    return {name: tensor.tolist() for name, tensor in tensors.items()}


class Applied(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return self.function(x)


class KerasSame(nn.Module):
    """A transposed convolution whose output is cut, or filled, to stride times the size of x, as Keras does."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Cut or fill the end, after half of what is too much is cut off before."""
        y: Tensor = self.layer(x)
        pads: list[int] = []
        for axis in range(y.ndim - 1, 1, -1):
            more = y.shape[axis] - x.shape[axis] * self.layer.stride[axis - 2]
            before = max(more, 0) // 2
            pads += [-before, before - more]
        y = functional.pad(y - self.layer.bias.reshape(-1, *[1] * (y.ndim - 2)), pads)
        return y + self.layer.bias.reshape(-1, *[1] * (y.ndim - 2))

    def named_parameters(self, *args: Any, **kwargs: Any) -> Any:
        """Those of the layer, by its own names."""
        return self.layer.named_parameters(*args, **kwargs)


def transposed(case: str, x: Tensor, out: int, kernel: Any, **arguments: Any) -> LayerRow:
    """A transposed convolution, with the arguments that nnspec and PyTorch have in common."""
    axes = x.ndim - 2
    channels = x.shape[1 if axes == 2 else 2]
    theirs = {name: tuple(v) if isinstance(v, list) else v for name, v in arguments.items() if v != "same"}
    size = tuple(kernel) if isinstance(kernel, list) else kernel

    def make() -> nn.Module:
        layer: nn.Module = (nn.ConvTranspose2d if axes == 2 else nn.ConvTranspose1d)(channels, out, size, **theirs)
        layer = KerasSame(layer) if arguments.get("padding") == "same" else layer
        return OverPlaces(layer) if axes == 1 else layer

    ours = {"in_channels": channels, "out_channels": out, "kernel_size": kernel} | arguments
    return LayerRow(f"ConvTranspose{axes}D", case, make, x, ours, convert=unchanged)


def resized(part: str, case: str, x: Tensor, how: Any, mode: str, **more: Any) -> LayerRow:
    """`F.interpolate` by a factor or to a size."""
    size = tuple(how) if isinstance(how, list) else how
    theirs: dict[str, Any] = {"scale_factor" if part == "Upsample" else "size": size}
    theirs["mode"] = "linear" if x.ndim == 3 and mode == "bilinear" else mode
    if mode != "nearest":
        theirs |= {"align_corners": False, **more}
    if x.ndim == 4 and part == "Resize" and isinstance(how, int):
        theirs["size"] = (how, how)
    if x.ndim == 3 and mode == "bicubic":  # which PyTorch has for images only
        theirs = {"size": (1, how), "mode": mode, "align_corners": False}

        def over(x: Tensor) -> Tensor:
            return functional.interpolate(x.mT[:, :, None], **theirs)[:, :, 0].mT

        return LayerRow(part, case, lambda: Applied(over), x, {"size": how, "mode": mode})
    name = "factor" if part == "Upsample" else "size"

    def make() -> nn.Module:
        module = Applied(lambda x: functional.interpolate(x, **theirs))
        return OverPlaces(module) if x.ndim == 3 else module

    return LayerRow(part, case, make, x, {name: how, "mode": mode, **more})


def patches(x: Tensor, p: int, q: int) -> Tensor:
    """Patches as rows: row, column and channel of each pixel, the channel fastest."""
    return x.unfold(2, p, p).unfold(3, q, q).permute(0, 2, 3, 4, 5, 1).flatten(1, 2).flatten(2)


def layer_rows() -> list[LayerRow]:
    """Every argument alone, and several together."""
    return [
        transposed("plain", normal(2, 2, 3, 4), 3, 3),
        transposed("one channel, no bias", normal(2, 1, 3, 3), 2, 2, bias=False),
        transposed("stride", normal(2, 2, 3, 2), 2, 3, stride=2),
        transposed("a stride wider than the kernel", normal(2, 2, 3, 2), 2, 2, stride=3),
        transposed("strides, paddings", normal(2, 2, 3, 4), 1, [3, 4], stride=[1, 2], padding=[1, 0]),
        transposed("twice as large", normal(2, 3, 3, 3), 2, 4, stride=2, padding=1),
        transposed("output padding", normal(2, 2, 3, 3), 2, 3, stride=2, padding=1, output_padding=1),
        transposed("output paddings", normal(2, 2, 2, 3), 2, 3, stride=[2, 3], padding=1, output_padding=[1, 2]),
        transposed("dilation", normal(2, 2, 3, 3), 2, 2, dilation=[2, 3]),
        transposed("groups", normal(2, 4, 3, 3), 6, 3, groups=2, stride=2),
        transposed("depthwise", normal(2, 3, 3, 2), 3, 2, groups=3),
        transposed("same", normal(2, 2, 3, 4), 2, 3, stride=2, padding="same"),
        transposed("same, a wide stride", normal(2, 2, 2, 3), 2, 2, stride=3, padding="same"),
        transposed("same, without a stride", normal(2, 2, 3, 4), 2, [4, 3], padding="same"),
        transposed("plain", normal(2, 4, 3), 2, 3),
        transposed(
            "all", normal(2, 4, 4), 2, 3, stride=2, padding=1, output_padding=1, groups=2, dilation=2, bias=False
        ),
        transposed("same", normal(2, 4, 2), 3, 5, stride=2, padding="same"),
        resized("Upsample", "nearest", normal(2, 2, 3, 2), 2, "nearest"),
        resized("Upsample", "nearest, factors", normal(2, 1, 2, 3), [1, 3], "nearest"),
        resized("Upsample", "bilinear", normal(2, 2, 3, 4), 2, "bilinear"),
        resized("Upsample", "bicubic", normal(1, 1, 4, 5), [3, 2], "bicubic"),
        resized("Upsample", "places", normal(2, 3, 2), 3, "nearest"),
        resized("Upsample", "places, linear", normal(2, 4, 2), 2, "bilinear"),
        resized("Resize", "larger", normal(2, 2, 3, 4), [7, 5], "bilinear"),
        resized("Resize", "smaller", normal(2, 2, 7, 6), [3, 4], "bilinear"),
        resized("Resize", "one pixel", normal(2, 2, 1, 3), 4, "bilinear"),
        resized("Resize", "nearest, smaller", normal(2, 2, 7, 6), [3, 4], "nearest"),
        resized("Resize", "nearest, larger", normal(2, 1, 3, 4), [7, 6], "nearest"),
        resized("Resize", "bicubic", normal(2, 1, 5, 4), [3, 7], "bicubic"),
        resized("Resize", "places", normal(2, 5, 2), 3, "bilinear"),
        resized("Resize", "places, bicubic", normal(2, 5, 2), 8, "bicubic"),
        resized("Resize", "antialias", normal(1, 2, 8, 7), [3, 2], "bilinear", antialias=True),
        resized("Resize", "antialias, larger and smaller", normal(1, 1, 3, 9), [5, 4], "bilinear", antialias=True),
        resized("Resize", "antialias, bicubic", normal(1, 1, 9, 7), [4, 5], "bicubic", antialias=True),
        LayerRow("Transpose", "places", lambda: Applied(lambda x: x.mT), normal(2, 3, 4)),
        LayerRow("Transpose", "images", lambda: Applied(lambda x: x.mT), normal(2, 2, 3, 4)),
        LayerRow("Patches", "squares", lambda: Applied(lambda x: patches(x, 2, 2)), normal(2, 3, 4, 6), {"size": 2}),
        LayerRow("Patches", "wide", lambda: Applied(lambda x: patches(x, 1, 3)), normal(2, 2, 2, 6), {"size": [1, 3]}),
        LayerRow("PixelShuffle", "two", lambda: nn.PixelShuffle(2), normal(2, 8, 2, 3), {"factor": 2}),
        LayerRow("PixelShuffle", "three", lambda: nn.PixelShuffle(3), normal(1, 9, 2, 1), {"factor": 3}),
        LayerRow("PixelUnshuffle", "two", lambda: nn.PixelUnshuffle(2), normal(2, 2, 4, 6), {"factor": 2}),
    ]
