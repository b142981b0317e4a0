"""Pools."""

from __future__ import annotations

from typing import Any

from samples import Sample


def pool(part: str, incoming: tuple[int, ...], **arguments: Any) -> Sample:
    return Sample(part, arguments, incoming)


SAMPLES = [
    *(
        sample
        for part in ("MaxPool", "AvgPool")
        for sample in (
            pool(part, (2, 4, 4)),
            pool(part, (1, 5, 3)),
            pool(part, (2, 4, 3), kernel_size=[2, 3]),
            pool(part, (1, 4, 4), kernel_size=3, stride=1),
            pool(part, (1, 4, 5), kernel_size=2, stride=[3, 2]),
            pool(part, (2, 3, 3), kernel_size=3, stride=2, padding=1),
            pool(part, (1, 3, 4), kernel_size=2, padding="same"),
            pool(part, (2, 5), kernel_size=2),
            pool(part, (2, 5), kernel_size=3, stride=1, padding="same"),
        )
    ),
    pool("GlobalAvgPool", (3, 2, 4)),
    pool("GlobalAvgPool", (3, 4)),
]
