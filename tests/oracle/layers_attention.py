"""Embeddings, positions and attention."""

from __future__ import annotations

import math
from typing import Any

import torch
from row import LayerRow, Tensor, as_kept, normal
from torch import nn


def unturned(tensors: dict[str, Tensor]) -> dict[str, list[Any]]:
    """PyTorch keeps these as nnspec does."""
    return {name: tensor.tolist() for name, tensor in tensors.items()}


class Added(nn.Module):
    """Learned positions, as one writes them in PyTorch: an embedding of 0 … T − 1, added."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(length, width)

    def forward(self, x: Tensor) -> Tensor:
        """x + P."""
        return x + self.embedding(torch.arange(x.shape[1]))


class Waves(nn.Module):
    """The positions of Vaswani et al. 2017, number by number."""

    def forward(self, x: Tensor) -> Tensor:
        """x + P."""
        length, width = x.shape[1:]
        rows = []
        for t in range(length):
            angles = [t / 10000 ** (2 * (j // 2) / width) for j in range(width)]
            rows.append([math.cos(a) if j % 2 else math.sin(a) for j, a in enumerate(angles)])
        return x + torch.tensor(rows, dtype=x.dtype)


class Attention(nn.Module):
    """PyTorch's own module, of one sequence with itself, by the names of nnspec."""

    def __init__(self, width: int, heads: int, causal: bool, bias: bool) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(width, heads, bias=bias, batch_first=True)
        self.causal = causal
        if bias:  # PyTorch starts them at zero, where nothing would be seen of them
            self.inner.in_proj_bias.data = normal(3 * width)
            self.inner.out_proj.bias.data = normal(width)

    def forward(self, x: Tensor) -> Tensor:
        """The output without the weights."""
        length = x.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool).triu(1) if self.causal else None
        return self.inner(x, x, x, attn_mask=mask, need_weights=False)[0]


def of_attention(tensors: dict[str, Tensor]) -> dict[str, list[Any]]:
    """PyTorch keeps weights (out, in)."""
    names = {"in_proj_weight": "qkv_weight", "in_proj_bias": "qkv_bias"}
    names |= {"out_proj.weight": "out_weight", "out_proj.bias": "out_bias"}
    return {new: as_kept(tensors[f"inner.{old}"]) for old, new in names.items() if f"inner.{old}" in tensors}


def attention(case: str, x: Tensor, heads: int, *, causal: bool = False, bias: bool = True) -> LayerRow:
    """Attention of `heads` heads."""
    width = x.shape[-1]
    arguments = {"embed_dim": width, "num_heads": heads, "causal": causal, "bias": bias}

    def make() -> nn.Module:
        return Attention(width, heads, causal, bias)

    return LayerRow("MultiHeadAttention", case, make, x, arguments, convert=of_attention)


def layer_rows() -> list[LayerRow]:
    """The rows of this family."""
    few, many = torch.tensor([[0, 2, 2, 1], [4, 2, 0, 0]]), torch.tensor([[299, 0, 7], [7, 7, 256]])

    def ids(case: str, x: Tensor, vocabulary: int, width: int) -> LayerRow:
        arguments = {"num_embeddings": vocabulary, "embedding_dim": width}
        return LayerRow("Embedding", case, lambda: nn.Embedding(vocabulary, width), x, arguments, convert=unturned)

    return [
        attention("full", normal(3, 5, 4), 2),
        attention("causal", normal(3, 5, 4), 2, causal=True),
        attention("one head, no bias", normal(2, 4, 3), 1, bias=False),
        attention("causal, no bias", normal(2, 4, 6), 3, causal=True, bias=False),
        attention("one place", normal(2, 1, 4), 2, causal=True),
        attention("far", normal(2, 4, 4, scale=30), 2),
        attention("far, causal", normal(2, 4, 4, scale=60), 2, causal=True),
        ids("a small vocabulary", few, 5, 3),
        ids("a large vocabulary", many, 300, 2),
        LayerRow(
            "PositionalEmbedding",
            "of places",
            lambda: Added(4, 3),
            normal(5, 4, 3),
            {"length": 4, "embedding_dim": 3},
            convert=lambda found: {"weight": found["embedding.weight"].tolist()},
        ),
        LayerRow("SinusoidalPositions", "an even width", Waves, normal(2, 5, 4)),
        LayerRow("SinusoidalPositions", "an odd width", Waves, normal(2, 3, 5)),
    ]
