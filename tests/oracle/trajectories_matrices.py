"""A hundred steps of optimizers of matrices: PyTorch's `Muon` with `AdamW` for the biases; SOAP of `pytorch-optimizer`.

    python tests/oracle/make_reference.py trajectories_matrices

needs `torch`, and of PyPI `muon-optimizer`, for the author's own iteration, and `pytorch-optimizer`. Muon rounds the
iteration to bfloat16, and SOAP its bases to float32; here they are made to compute both in float64.

The first gradient of a matrix, above all of the last one of a classifier, has a low rank, so that SOAP's bases of its
longer side are arbitrary or hang on rounding. Therefore most rows have bases of shorter sides only.
"""

from __future__ import annotations

from typing import Any

import pytorch_optimizer
import torch
import trajectories_100
from muon import zeropower_via_newtonschulz5
from pytorch_optimizer.optimizer import soap
from row import as_kept, normal
from torch import nn, optim
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


class InFloat64:
    """The module `torch`, with float64 for float32."""

    float32 = torch.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


class SOAP(pytorch_optimizer.SOAP):
    """Arguments as in nnspec."""

    def __init__(self, groups: Any, max_precond_dim: int = 10_000, **arguments: Any) -> None:
        super().__init__(groups, max_precondition_dim=max_precond_dim, **arguments)


ROWS = [
    Row("Muon", Muon, {"lr": 0.02}),  # type: ignore[arg-type]
    Row("Muon", Muon, {"lr": 0.01, "nesterov": False, "momentum": 0.8, "ns_steps": 3}),  # type: ignore[arg-type]
    Row(
        "Muon",
        Muon,  # type: ignore[arg-type]
        {"lr": 0.01, "adamw_lr_factor": 1.0, "betas": [0.8, 0.95], "eps": 0.001, "adjust_lr": "match_rms_adamw"},
    ),
    Row("SOAP", SOAP, {"lr": 0.01, "max_precond_dim": 3, "eps": 0.001}),
]
REGRESSIONS: list[dict[str, Any]] = [
    {"lr": 0.01, "weight_decay": 0.0, "betas": [0.8, 0.9], "max_precond_dim": 4, "eps": 1e-5},
    {"weight_decay": 0.0, "max_precond_dim": 4},
    {"lr": 0.01, "weight_decay": 0.05, "precondition_frequency": 1, "max_precond_dim": 4, "eps": 1e-5},
    {
        "lr": 0.02,
        "weight_decay": 0.0,
        "precondition_frequency": 4,
        "betas": [0.8, 0.9],
        "shampoo_beta": 0.7,
        "eps": 1e-4,
    },
]


def content() -> dict[str, Any]:
    """Return what stands in the file: the same network and data as in `trajectories_100`."""
    rounded = Tensor.bfloat16
    Tensor.bfloat16 = lambda tensor: tensor.clone()  # type: ignore[method-assign]
    try:
        soap.torch = InFloat64()
        found = trajectories_100.content(ROWS)
        matrices = [orthogonal(*shape) for shape in SHAPES]
        return {"cases": found["cases"], "orthogonal": matrices, "regression": regression()}
    finally:
        Tensor.bfloat16, soap.torch = rounded, torch  # type: ignore[method-assign]


def regression() -> dict[str, Any]:
    """Return the data, starting weights, and what SOAP makes of them."""
    x, y = normal(12, 5), normal(12, 4)
    start, cases = {}, []
    for arguments in REGRESSIONS:
        model, loss = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 4)), nn.MSELoss()
        start = start or {name: normal(*tensor.shape) for name, tensor in model.state_dict().items()}
        model.load_state_dict(start)
        groups = [
            {"params": [p for p in model.parameters() if (p.ndim > 1) is weights], "weight_decay": decay}
            for weights, decay in ((True, arguments["weight_decay"]), (False, 0.0))
        ]
        optimizer = SOAP(groups, **{name: value for name, value in arguments.items() if name != "weight_decay"})
        losses = []
        for _ in range(trajectories_100.STEPS):
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
            optimizer.step()
            losses.append(value.item())
        after = [as_kept(p.detach()) for p in model.parameters()]
        cases.append({"arguments": arguments, "losses": losses[::10], "after": after})
    return {"x": x.tolist(), "y": y.tolist(), "start": [as_kept(v) for v in start.values()], "cases": cases}


def orthogonal(rows: int, columns: int) -> dict[str, Any]:
    """Return a matrix and what the author's iteration makes of it; it is large, so that 1e-7 more does not matter."""
    matrix = normal(rows, columns)
    steps = {str(steps): zeropower_via_newtonschulz5(matrix * 1e10, steps).tolist() for steps in (1, 5)}
    return {"matrix": matrix.tolist(), "steps": steps}
