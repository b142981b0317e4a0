"""Ids, positions and attention."""

from __future__ import annotations

from typing import Any

from nnspec.testing.samples import Sample


def _ids(incoming: tuple[int, ...], vocabulary: int, width: int) -> Sample:
    return Sample("Embedding", {"num_embeddings": vocabulary, "embedding_dim": width}, incoming, vocabulary)


def _heads(incoming: tuple[int, int], count: int, **more: Any) -> Sample:
    return Sample("MultiHeadAttention", {"num_heads": count} | more, incoming)


SAMPLES = [
    _ids((4,), 5, 3),
    _ids((3,), 300, 2),
    _ids((2, 2), 3, 1),
    _heads((3, 4), 2),
    _heads((3, 4), 2, causal=True),
    _heads((4, 3), 1, causal=True, bias=False),
    _heads((1, 2), 2),
    _heads((3, 4), 2, dropout=0.4, causal=True),
    Sample("OneHot", {"num_classes": 4}, (3,), 4),
    Sample("OneHot", {"num_classes": 5}, (2, 3), 4),
    Sample("ClassToken", {}, (3, 4)),
    Sample("PositionalEmbedding", {}, (4, 3)),
    Sample("PositionalEmbedding", {}, (1, 2)),
    Sample("SinusoidalPositions", {}, (5, 4)),
    Sample("SinusoidalPositions", {}, (3, 5)),
]
