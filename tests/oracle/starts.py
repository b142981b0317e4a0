"""How PyTorch's layers start: moments and quantiles of each parameter, over many draws.

python tests/oracle/make_reference.py starts
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
LAYERS: dict[str, tuple[Callable[[], nn.Module], dict[str, str]]] = {
    "Linear(80, 50)": (lambda: nn.Linear(80, 50), {"weight": "weight", "bias": "bias"}),
    "Conv1D(6, 10, 5)": (lambda: nn.Conv1d(6, 10, 5), {"weight": "weight", "bias": "bias"}),
    "Conv2D(8, 12, 3, groups=2)": (lambda: nn.Conv2d(8, 12, 3, groups=2), {"weight": "weight", "bias": "bias"}),
    "ConvTranspose2D(12, 8, 3, groups=2)": (
        lambda: nn.ConvTranspose2d(12, 8, 3, groups=2),
        {"weight": "weight", "bias": "bias"},
    ),
    "Embedding(40, 16)": (lambda: nn.Embedding(40, 16), {"weight": "weight"}),
    "LSTM(9, 25)": (
        lambda: nn.LSTM(9, 25),
        {f"{kind}_{name}": f"{kind}_{name}_l0" for kind in ("weight", "bias") for name in ("ih", "hh")},
    ),
    "GRU(30, 4)": (
        lambda: nn.GRU(30, 4),
        {f"{kind}_{name}": f"{kind}_{name}_l0" for kind in ("weight", "bias") for name in ("ih", "hh")},
    ),
    "MultiHeadAttention(24, 4)": (
        lambda: nn.MultiheadAttention(24, 4),
        {
            "qkv_weight": "in_proj_weight",
            "qkv_bias": "in_proj_bias",
            "out_weight": "out_proj.weight",
            "out_bias": "out_proj.bias",
        },
    ),
    "LayerNorm(5)": (lambda: nn.LayerNorm(5), {"weight": "weight", "bias": "bias"}),
    "BatchNorm(5)": (lambda: nn.BatchNorm1d(5), {"weight": "weight", "bias": "bias"}),
}
NUMBERS = 60_000
"""How many numbers of each parameter are drawn at least."""


def content() -> dict[str, Any]:
    """Of each parameter: its mean, its deviation, its largest magnitude and its quantiles."""
    found = []
    for layer, (make, names) in LAYERS.items():
        sizes = {name: dict(make().named_parameters())[theirs].numel() for name, theirs in names.items()}
        drawn: dict[str, list[torch.Tensor]] = {name: [] for name in names}
        for _ in range(-(-NUMBERS // min(sizes.values()))):
            parameters = dict(make().named_parameters())
            for name, theirs in names.items():
                if len(drawn[name]) * sizes[name] < NUMBERS:
                    drawn[name].append(parameters[theirs].detach().reshape(-1))
        for name, tensors in drawn.items():
            values = torch.cat(tensors)
            found.append(
                {
                    "layer": layer,
                    "parameter": name,
                    "mean": values.mean().item(),
                    "deviation": values.std(correction=0).item(),
                    "largest": values.abs().max().item(),
                    "quantiles": values.quantile(torch.tensor(QUANTILES, dtype=values.dtype)).tolist(),
                }
            )
    return {"at": QUANTILES, "numbers": NUMBERS, "cases": found}
