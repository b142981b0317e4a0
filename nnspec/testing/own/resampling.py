"""Layers that change the resolution of samples, or the order of their numbers."""

from __future__ import annotations

from typing import Any

from nnspec.testing.samples import Sample


def _transposed(incoming: tuple[int, ...], out: int, kernel: Any, **more: Any) -> Sample:
    part = f"ConvTranspose{len(incoming) - 1}D"
    return Sample(part, {"out_channels": out, "kernel_size": kernel} | more, incoming)


SAMPLES = [
    _transposed((2, 3, 4), 3, 2),
    _transposed((1, 3, 3), 2, 2, bias=False),
    _transposed((2, 3, 2), 2, 3, stride=2, padding=1, output_padding=1),
    _transposed((2, 3, 2), 1, [3, 2], stride=[2, 3], padding=[1, 0], output_padding=[0, 2]),
    _transposed((2, 2, 3), 2, 3, stride=2, padding="same"),
    _transposed((2, 2, 3), 2, 2, stride=3, padding="same"),
    _transposed((4, 3, 2), 2, 2, groups=2, dilation=2),
    _transposed((3, 3, 3), 3, 3, groups=3, padding=1),
    _transposed((4, 2), 3, 3),
    _transposed((4, 2), 3, 3, stride=2, padding=1, output_padding=1),
    _transposed((3, 4), 2, 2, dilation=2, groups=2, bias=False),
    _transposed((3, 1), 2, 4, stride=2, padding="same"),
    Sample("Upsample", {}, (2, 3, 2)),
    Sample("Upsample", {"factor": [1, 3]}, (2, 2, 3)),
    Sample("Upsample", {"factor": 3}, (3, 2)),
    Sample("Upsample", {"mode": "bilinear"}, (2, 3, 4)),
    Sample("Upsample", {"mode": "bicubic"}, (3, 2)),
    Sample("Resize", {"size": 5}, (2, 3, 4)),
    Sample("Resize", {"size": [4, 6], "mode": "nearest"}, (2, 3, 4)),
    Sample("Resize", {"size": [4, 6], "mode": "nearest"}, (2, 2, 3)),
    Sample("Resize", {"size": 3, "antialias": True}, (2, 7, 5)),
    Sample("Resize", {"size": 3, "mode": "bicubic"}, (5, 2)),
    Sample("Resize", {"size": 4, "mode": "bicubic"}, (1, 4, 4)),
    Sample("Transpose", {}, (3, 4)),
    Sample("Transpose", {}, (2, 3, 4)),
    Sample("Patches", {"size": 2}, (3, 4, 6)),
    Sample("Patches", {"size": [1, 3]}, (2, 4, 6)),
    Sample("PixelShuffle", {"factor": 2}, (8, 2, 3)),
    Sample("PixelUnshuffle", {"factor": 2}, (2, 4, 6)),
]
