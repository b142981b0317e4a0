"""Pools."""

from __future__ import annotations

from typing import Any

from nnspec.testing.samples import Sample


def _pool(part: str, incoming: tuple[int, ...], **arguments: Any) -> Sample:
    return Sample(part, arguments, incoming)


SAMPLES = [
    *(
        sample
        for part in ("MaxPool", "AvgPool")
        for sample in (
            _pool(part, (2, 4, 4)),
            _pool(part, (1, 5, 3)),
            _pool(part, (2, 4, 3), kernel_size=[2, 3]),
            _pool(part, (1, 4, 4), kernel_size=3, stride=1),
            _pool(part, (1, 4, 5), kernel_size=2, stride=[3, 2]),
            _pool(part, (2, 3, 3), kernel_size=3, stride=2, padding=1),
            _pool(part, (1, 3, 4), kernel_size=2, padding="same"),
            _pool(part, (2, 5), kernel_size=2),
            _pool(part, (2, 5), kernel_size=3, stride=1, padding="same"),
        )
    ),
    _pool("MaxPool", (2, 6, 5), kernel_size=3, stride=2, ceil_mode=True),
    _pool("MaxPool", (1, 4, 4), kernel_size=2, stride=3, padding=1, ceil_mode=True),
    _pool("MaxPool", (6, 2), kernel_size=3, stride=2, ceil_mode=True),
    _pool("GlobalAvgPool", (3, 2, 4)),
    _pool("GlobalAvgPool", (3, 4)),
    _pool("GlobalMaxPool", (3, 2, 4)),
    _pool("GlobalMaxPool", (3, 4)),
]
