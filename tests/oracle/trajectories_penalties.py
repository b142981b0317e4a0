"""Training with penalties that are part of PyTorch's loss, and with weights that are scaled down after each step.

python tests/oracle/make_reference.py trajectories_penalties
"""

from __future__ import annotations

from typing import Any

import torch
from row import as_kept, normal
from torch import nn, optim

STEPS = 40
CASES: list[dict[str, Any]] = [
    {"case": "L2", "optimizer": "SGD", "penalties": {"L2": 0.02}},
    {"case": "L1", "optimizer": "SGD", "penalties": {"L1": 0.01}},
    {"case": "elastic net", "optimizer": "SGD", "penalties": {"L1": 0.005, "L2": 0.01}},
    {"case": "L2, Adam", "optimizer": "Adam", "penalties": {"L2": 0.02}},
    {"case": "clipped", "optimizer": "SGD", "penalties": {"L2": 0.05}, "clip_norm": 0.1},
    {"case": "max_norm", "optimizer": "SGD", "penalties": {}, "max_norm": 0.6},
    {"case": "all of it", "optimizer": "Adam", "penalties": {"L1": 0.01, "L2": 0.02}, "max_norm": 0.7},
]
RATES = {"SGD": 0.2, "Adam": 0.02}


def content() -> dict[str, Any]:
    """Return what stands in the file."""
    model, x, labels = network(), normal(8, 6), torch.tensor([0, 1, 2, 2, 1, 0, 0, 2])
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kept = [as_kept(p) for p in model.parameters()]
    cases = [case | {"lr": RATES[case["optimizer"]]} | trained(case, start, x, labels) for case in CASES]
    return {"x": x.tolist(), "labels": labels.tolist(), "start": kept, "cases": cases}


def network() -> nn.Sequential:
    """Return the network of all cases."""
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


def trained(case: dict[str, Any], start: dict[str, Any], x: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
    """Return the losses, penalties included, and the parameters at the end."""
    model = network()
    model.load_state_dict(start)
    optimizer = getattr(optim, case["optimizer"])(model.parameters(), lr=RATES[case["optimizer"]])
    weights, losses = [p for p in model.parameters() if p.ndim > 1], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        value = nn.functional.cross_entropy(model(x), labels)
        value = value + case["penalties"].get("L1", 0.0) * sum(w.abs().sum() for w in weights)
        value = value + case["penalties"].get("L2", 0.0) * sum((w * w).sum() for w in weights)
        value.backward()
        if "clip_norm" in case:
            nn.utils.clip_grad_norm_(model.parameters(), case["clip_norm"])
        optimizer.step()
        for w in weights if "max_norm" in case else ():
            w.data = torch.renorm(w.data, 2, 0, case["max_norm"])
        losses.append(value.item())
    return {"losses": losses[::10], "after": [as_kept(p) for p in model.parameters()]}
