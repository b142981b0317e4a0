"""A hundred steps of optimizers that PyTorch does not have, by packages of others in float64.

    python tests/oracle/make_reference.py trajectories_packages

needs `torch`, `mpmath`, `prodigyopt`, `pytorch-optimizer` and `schedulefree`. `after` holds the weights that are
evaluated, where they are not those that are trained.
"""

from __future__ import annotations

from typing import Any

import prodigyopt
import pytorch_optimizer
import schedulefree
import trajectories_100
from torch import optim
from trajectories_100 import Row


def adan(groups: list[dict[str, Any]], **arguments: Any) -> optim.Optimizer:
    """The authors' with `no_prox=True`, here `weight_decouple`."""
    return pytorch_optimizer.Adan(groups, weight_decouple=True, **arguments)


ROWS = [
    Row("Prodigy", prodigyopt.Prodigy, {"lr": 1.0, "d_coef": 0.3}),
    Row("Prodigy", prodigyopt.Prodigy, {"lr": 0.5, "d0": 0.001, "growth_rate": 1.05, "use_bias_correction": True}),
    Row(
        "Prodigy",
        prodigyopt.Prodigy,
        {"lr": 0.8, "betas": [0.8, 0.99], "beta3": 0.9, "d0": 1e-4, "d_coef": 0.7, "safeguard_warmup": True},
    ),
    Row("Adan", adan, {"lr": 0.01}),
    Row("Adan", adan, {"lr": 0.02, "betas": [0.9, 0.8, 0.95], "eps": 0.001}),
    Row("ScheduleFreeSGD", schedulefree.SGDScheduleFree, {"lr": 1.0}),
    Row("ScheduleFreeSGD", schedulefree.SGDScheduleFree, {"lr": 0.5, "momentum": 0.6, "r": 1.5}),
    Row("ScheduleFreeSGD", schedulefree.SGDScheduleFree, {"lr": 0.5, "weight_lr_power": 1.5}, warmup=20),
    Row("ScheduleFreeAdamW", schedulefree.AdamWScheduleFree, {"lr": 0.02}),
    Row("ScheduleFreeAdamW", schedulefree.AdamWScheduleFree, {"lr": 0.02, "r": 0.5}, warmup=30),
    Row(
        "ScheduleFreeAdamW", schedulefree.AdamWScheduleFree, {"lr": 0.05, "betas": [0.7, 0.95], "eps": 0.001, "r": 1.0}
    ),
]


def content() -> dict[str, Any]:
    """Return what stands in the file: the same network and data as in `trajectories_100`."""
    return trajectories_100.content(ROWS)
