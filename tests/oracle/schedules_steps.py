"""The rates of schedules at every step, by PyTorch's schedulers: stepped after every step, or once per epoch.

    python tests/oracle/make_reference.py schedules_steps

`batches` is how many steps an epoch has. `inverse` and `inverse_sqrt` have no scheduler of PyTorch's: `LambdaLR` has
the formulas of Caffe (`inv`), Keras (`InverseTimeDecay`) and Vaswani et al., and `invscaling` is scikit-learn's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer
from torch import optim
from torch.optim import lr_scheduler

Maker = Callable[[optim.Optimizer], Any]


@dataclass(frozen=True)
class Row:
    """A schedule of nnspec with its arguments, and PyTorch's for it, of an optimizer whose rate is `base`."""

    part: str
    case: str
    make: Maker
    arguments: dict[str, Any]
    epochs: int = 6
    batches: int = 7
    per: str = "step"
    base: float = 0.2


def chained(at: list[int], *parts: Maker) -> Maker:
    """Return PyTorch's chain of schedulers."""
    return lambda o: lr_scheduler.SequentialLR(o, [part(o) for part in parts], at)


def by(formula: Callable[[int], float]) -> Maker:
    """Return a formula as a scheduler; it gives the factor of the base rate."""
    return lambda o: lr_scheduler.LambdaLR(o, formula)


class InvScaling:
    """scikit-learn's `invscaling`, which `MLPClassifier` updates once per epoch with the number of samples so far."""

    def __init__(self, optimizer: optim.Optimizer, samples: int, power: float) -> None:
        self.optimizer, self.samples, self.seen = optimizer, samples, 0
        start = optimizer.param_groups[0]["lr"]
        self.theirs = SGDOptimizer([], learning_rate_init=start, lr_schedule="invscaling", power_t=power)

    def step(self) -> None:
        """End an epoch."""
        self.seen += self.samples
        self.theirs.iteration_ends(self.seen)
        self.optimizer.param_groups[0]["lr"] = self.theirs.learning_rate


NOAM = 10
ROWS = [
    Row("linear", "per step", lambda o: lr_scheduler.LinearLR(o, 1.0, 0.1, 42), {"start": 0.2, "to": 0.02}),
    Row("step", "per step", lambda o: lr_scheduler.StepLR(o, 5, 0.5), {"start": 0.2, "every": 5, "gamma": 0.5}),
    Row("step", "per epoch", lambda o: lr_scheduler.StepLR(o, 2), {"start": 0.2, "every": 2}, per="epoch"),
    Row("exponential", "per step", lambda o: lr_scheduler.ExponentialLR(o, 0.95), {"start": 0.2, "gamma": 0.95}),
    Row(
        "exponential",
        "per epoch",
        lambda o: lr_scheduler.ExponentialLR(o, 0.8),
        {"start": 0.2, "gamma": 0.8},
        per="epoch",
    ),
    Row("cosine", "per step", lambda o: lr_scheduler.CosineAnnealingLR(o, 42, 0.01), {"start": 0.2, "to": 0.01}),
    Row("cosine", "per epoch", lambda o: lr_scheduler.CosineAnnealingLR(o, 6), {"start": 0.2}, per="epoch"),
    Row(
        "cosine",
        "warm-up per step",
        chained([9], by(lambda step: step / 9), lambda o: lr_scheduler.CosineAnnealingLR(o, 33)),
        {"start": 0.2, "warmup": 9},
    ),
    Row("polynomial", "per step", lambda o: lr_scheduler.PolynomialLR(o, 42, 2.0), {"start": 0.2}),
    Row(
        "piecewise",
        "per step",
        lambda o: lr_scheduler.MultiStepLR(o, [10, 30], 0.5),
        {"start": 0.2, "boundaries": [10, 30], "values": [0.1, 0.05]},
    ),
    Row(
        "cosine_restarts",
        "per step",
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5, 2),
        {"start": 0.2, "every": 5, "mult": 2},
    ),
    Row(
        "one_cycle",
        "per step",
        lambda o: lr_scheduler.OneCycleLR(o, 0.2, total_steps=43, pct_start=(0.3 * 42 + 1) / 43),
        {"peak": 0.2},
    ),
    Row("inverse", "Caffe", by(lambda t: (1 + 0.0001 * t) ** -0.75), {"start": 0.2, "gamma": 0.0001, "power": 0.75}),
    Row("inverse", "Keras", by(lambda t: 1 / (1 + 0.5 * t / 8)), {"start": 0.2, "gamma": 0.5 / 8}),
    Row(
        "inverse",
        "scikit-learn",
        lambda o: InvScaling(o, 120, 0.5),
        {"start": 0.2, "gamma": 120.0, "power": 0.5},
        per="epoch",
    ),
    Row(
        "inverse_sqrt",
        "Vaswani",
        by(lambda s: 64**-0.5 * min(s**-0.5 if s else 0.0, s * NOAM**-1.5)),
        {"start": (64 * NOAM) ** -0.5, "warmup": NOAM},
        base=1.0,
    ),
    Row(
        "chain",
        "constant, then cosine, per step",
        chained(
            [12], lambda o: lr_scheduler.ConstantLR(o, 1.0), lambda o: lr_scheduler.CosineAnnealingLR(o, 30, 0.001)
        ),
        {"schedules": [["constant", {"start": 0.2}], ["cosine", {"start": 0.2, "to": 0.001}]], "at": [12]},
    ),
    Row(
        "chain",
        "three, per epoch",
        chained(
            [2, 4],
            lambda o: lr_scheduler.LinearLR(o, 0.1, 1.0, 2),
            lambda o: lr_scheduler.ExponentialLR(o, 0.5),
            lambda o: lr_scheduler.PolynomialLR(o, 2, 1.0),
        ),
        {
            "schedules": [
                ["linear", {"start": 0.02, "to": 0.2}],
                ["exponential", {"start": 0.2, "gamma": 0.5}],
                ["linear", {"start": 0.2}],
            ],
            "at": [2, 4],
        },
        per="epoch",
    ),
]


def content() -> dict[str, Any]:
    """Return the content of the file."""
    return {"cases": [case(row) for row in ROWS]}


def case(row: Row) -> dict[str, Any]:
    """The rate of every step, and after the last one."""
    optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=row.base)
    schedule, rates = row.make(optimizer), []
    for step in range(row.epochs * row.batches + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if row.per == "step" or (step + 1) % row.batches == 0:
            schedule.step()
    how = {"per": "step"} if row.per == "step" else {"staircase": True}
    return {
        "part": row.part,
        "case": row.case,
        "arguments": row.arguments | how,
        "epochs": row.epochs,
        "batches": row.batches,
        "rates": rates,
    }
