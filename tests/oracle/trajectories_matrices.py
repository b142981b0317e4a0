"""A hundred steps of optimizers of matrices: PyTorch's `Muon` for the weights and `AdamW` for the biases.

    python tests/oracle/make_reference.py trajectories_matrices

needs `torch`, and `muon-optimizer` of PyPI for the author's own iteration. Both round the iteration to bfloat16; here
they are made to compute it in float64, on a copy as before. PyTorch's `Muon` is given no bias, since it takes none.
"""

from __future__ import annotations

from typing import Any

import torch
import trajectories_100
from muon import zeropower_via_newtonschulz5
from row import normal
from torch import optim
from trajectories_100 import Row

Tensor = torch.Tensor
SHAPES = [(4, 6), (6, 4), (3, 3), (1, 5)]


class Muon:
    """PyTorch's `Muon` for the first group, and its `AdamW` for the second."""

    def __init__(self, groups: list[dict[str, Any]], **arguments: Any) -> None:
        weights, biases = groups
        factor = arguments.pop("adamw_lr_factor", 0.015)
        shared = {"lr": arguments["lr"] * factor, "betas": arguments.pop("betas", (0.9, 0.95))}
        adamw = optim.AdamW([biases], **shared, eps=arguments.pop("eps", 1e-10))
        adjusted = {"adjust_lr_fn": arguments.pop("adjust_lr", None)}
        self.both = optim.Muon([weights], **arguments, **adjusted), adamw

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        for each in self.both:
            each.zero_grad()

    def step(self) -> None:
        """Move weights and biases."""
        for each in self.both:
            each.step()


ROWS = [
    Row("Muon", Muon, {"lr": 0.02}),  # type: ignore[arg-type]
    Row("Muon", Muon, {"lr": 0.01, "nesterov": False, "momentum": 0.8, "ns_steps": 3}),  # type: ignore[arg-type]
    Row(
        "Muon",
        Muon,  # type: ignore[arg-type]
        {"lr": 0.01, "adamw_lr_factor": 1.0, "betas": [0.8, 0.95], "eps": 0.001, "adjust_lr": "match_rms_adamw"},
    ),
]


def content() -> dict[str, Any]:
    """Return what stands in the file: the same network and data as in `trajectories_100`."""
    rounded = Tensor.bfloat16
    Tensor.bfloat16 = lambda tensor: tensor.clone()  # type: ignore[method-assign]
    try:
        found = trajectories_100.content(ROWS)
        return {"cases": found["cases"], "orthogonal": [orthogonal(*shape) for shape in SHAPES]}
    finally:
        Tensor.bfloat16 = rounded  # type: ignore[method-assign]


def orthogonal(rows: int, columns: int) -> dict[str, Any]:
    """Return a matrix and what the author's iteration makes of it; it is large, so that 1e-7 more does not matter."""
    matrix = normal(rows, columns)
    steps = {str(steps): zeropower_via_newtonschulz5(matrix * 1e10, steps).tolist() for steps in (1, 5)}
    return {"matrix": matrix.tolist(), "steps": steps}
