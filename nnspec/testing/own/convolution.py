"""Convolutions."""

from __future__ import annotations

from typing import Any

from nnspec.testing.samples import Sample


def _conv2d(incoming: tuple[int, ...], out: int, kernel: Any, **more: Any) -> Sample:
    return Sample("Conv2D", {"out_channels": out, "kernel_size": kernel} | more, incoming)


def _conv1d(incoming: tuple[int, ...], out: int, kernel: Any, **more: Any) -> Sample:
    return Sample("Conv1D", {"out_channels": out, "kernel_size": kernel} | more, incoming)


SAMPLES = [
    _conv2d((2, 3, 4), 3, 2),
    _conv2d((1, 3, 3), 2, 2),
    _conv2d((2, 3, 3), 1, 1, bias=False),
    _conv2d((1, 4, 3), 2, [2, 3], padding="same"),
    _conv2d((2, 4, 5), 2, 3, padding="same", stride=2),
    _conv2d((1, 3, 4), 2, [3, 2], padding=[2, 1], stride=[1, 2]),
    _conv2d((1, 5, 4), 2, 2, dilation=[3, 2]),
    _conv2d((2, 3, 3), 4, 2, groups=2, padding=1),
    _conv2d((3, 3, 3), 3, 2, groups=3),
    _conv2d((2, 5, 5), 1, 2, stride=3),
    _conv1d((5, 2), 3, 3),
    _conv1d((5, 1), 2, 2, stride=2),
    _conv1d((4, 2), 2, 3, padding="same", dilation=2, groups=2),
    _conv1d((5, 3), 2, 3, padding="causal", dilation=2),
]
