"""Recurrent layers."""

from __future__ import annotations

from typing import Any

from samples import Sample


def layer(part: str, incoming: tuple[int, ...], hidden: int, **more: Any) -> Sample:
    return Sample(part, {"hidden_size": hidden} | more, incoming)


SAMPLES = [
    sample
    for part in ("RNN", "GRU", "LSTM")
    for sample in (
        layer(part, (3, 2), 2),
        layer(part, (2, 3), 1, return_sequences=False),
        layer(part, (1, 2), 2),
        layer(part, (1, 1), 1, return_sequences=False, bias=False),
        layer(part, (4, 1), 2, bias=False),
    )
]
SAMPLES += [layer("RNN", (3, 2), 2, activation="relu"), layer("RNN", (2, 2), 1, activation="relu", bias=False)]
