"""Recurrent layers."""

from __future__ import annotations

from typing import Any

from nnspec.testing.samples import Sample


def _layer(part: str, incoming: tuple[int, ...], hidden: int, **more: Any) -> Sample:
    return Sample(part, {"hidden_size": hidden} | more, incoming)


SAMPLES = [
    sample
    for part in ("RNN", "GRU", "LSTM")
    for sample in (
        _layer(part, (3, 2), 2),
        _layer(part, (2, 3), 1, return_sequences=False),
        _layer(part, (1, 2), 2),
        _layer(part, (1, 1), 1, return_sequences=False, bias=False),
        _layer(part, (4, 1), 2, bias=False),
        _layer(part, (3, 2), 2, bidirectional=True),
        _layer(part, (4, 1), 2, bidirectional=True, return_sequences=False, bias=False),
    )
]
SAMPLES += [_layer("RNN", (3, 2), 2, activation="relu"), _layer("RNN", (2, 2), 1, activation="relu", bias=False)]
SAMPLES += [_layer("RNN", (2, 2), 2, activation="relu", bidirectional=True)]
SAMPLES += [
    _layer("LSTM", (3, 2), 2, return_cell=True),
    _layer("LSTM", (3, 2), 2, return_cell=True, bidirectional=True, return_sequences=False),
]
