"""Ids, places and attention."""

from __future__ import annotations

from typing import Any

from samples import Sample


def ids(incoming: tuple[int, ...], vocabulary: int, width: int) -> Sample:
    return Sample("Embedding", {"num_embeddings": vocabulary, "embedding_dim": width}, incoming, vocabulary)


def heads(incoming: tuple[int, int], count: int, **more: Any) -> Sample:
    return Sample("MultiHeadAttention", {"num_heads": count} | more, incoming)


SAMPLES = [
    ids((4,), 5, 3),
    ids((3,), 300, 2),
    ids((2, 2), 3, 1),
    heads((3, 4), 2),
    heads((3, 4), 2, causal=True),
    heads((4, 3), 1, causal=True, bias=False),
    heads((1, 2), 2),
    Sample("PositionalEmbedding", {}, (4, 3)),
    Sample("PositionalEmbedding", {}, (1, 2)),
    Sample("SinusoidalPositions", {}, (5, 4)),
    Sample("SinusoidalPositions", {}, (3, 5)),
]
