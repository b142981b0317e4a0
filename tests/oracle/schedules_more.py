"""The rates of schedules by PyTorch's schedulers, epoch by epoch; some with a warm-up in front of them.

    python tests/oracle/make_reference.py schedules_more

`figures` are what a schedule that goes by one is told after each epoch. PyTorch counts otherwise in two places, which
the rows translate: `OneCycleLR` ends its phases a step early, and the patience of `ReduceLROnPlateau` is one less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import optim
from torch.optim import lr_scheduler

Maker = Callable[[optim.Optimizer], Any]
FALLING = [5.0, 4.0, 4.5, 4.2, 3.9, 3.95, 3.95, 3.95, 4.0, 4.1, 3.0, 3.1, 3.2, 3.3, 3.4, 3.5, 3.6, 3.0, 2.95, 3.0]


@dataclass(frozen=True)
class Row:
    """A schedule of nnspec with its arguments, and PyTorch's for it, of an optimizer whose rate is `base`."""

    part: str
    case: str
    make: Maker
    arguments: dict[str, Any]
    epochs: int = 12
    base: float = 0.2
    figures: list[float] = field(default_factory=list)


def behind(epochs: int, after: Maker) -> Maker:
    """Put a linear warm-up from zero before a schedule. `LinearLR` cannot start from zero."""

    def make(optimizer: optim.Optimizer) -> Any:
        warmup = lr_scheduler.LambdaLR(optimizer, lambda epoch: epoch / epochs)
        return lr_scheduler.SequentialLR(optimizer, [warmup, after(optimizer)], [epochs])

    return make


def one_cycle(epochs: int, up: float, **more: float) -> Maker:
    """Return PyTorch's scheduler whose phases end at up · epochs and at epochs."""
    share = (up * epochs + 1) / (epochs + 1)
    return lambda o: lr_scheduler.OneCycleLR(o, 0.2, total_steps=epochs + 1, pct_start=share, **more)


def plateau(patience: int, gamma: float, **more: Any) -> Maker:
    """Return PyTorch's scheduler for a patience that counts as nnspec's."""
    return lambda o: lr_scheduler.ReduceLROnPlateau(
        o, factor=gamma, patience=patience - 1, threshold_mode="abs", eps=0.0, **{"threshold": 0.0} | more
    )


ROWS = [
    Row("polynomial", "squares", lambda o: lr_scheduler.PolynomialLR(o, 12, 2.0), {"start": 0.2}),
    Row("polynomial", "a root", lambda o: lr_scheduler.PolynomialLR(o, 12, 0.5), {"start": 0.2, "power": 0.5}),
    Row(
        "polynomial",
        "warm-up",
        behind(2, lambda o: lr_scheduler.PolynomialLR(o, 10, 3.0)),
        {"start": 0.2, "power": 3.0, "warmup": 2},
    ),
    Row(
        "piecewise",
        "tenths",
        lambda o: lr_scheduler.MultiStepLR(o, [3, 4, 9]),
        {"start": 0.2, "boundaries": [3, 4, 9], "values": [0.02, 0.002, 0.0002]},
    ),
    Row(
        "piecewise",
        "halves, warm-up",
        behind(3, lambda o: lr_scheduler.MultiStepLR(o, [2, 5], 0.5)),
        {"start": 0.2, "boundaries": [2, 5], "values": [0.1, 0.05], "warmup": 3},
    ),
    Row(
        "cosine_restarts",
        "equal",
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5),
        {"start": 0.2, "every": 5},
        epochs=17,
    ),
    Row(
        "cosine_restarts",
        "twice as long",
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, 2, 0.01),
        {"start": 0.2, "every": 2, "mult": 2, "to": 0.01},
        epochs=33,
    ),
    Row(
        "cosine_restarts",
        "three times as long, warm-up",
        behind(4, lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 1, 3)),
        {"start": 0.2, "every": 1, "mult": 3, "warmup": 4},
        epochs=20,
    ),
    Row("one_cycle", "plain", one_cycle(12, 0.3), {"peak": 0.2}),
    Row(
        "one_cycle",
        "all arguments",
        one_cycle(20, 0.45, div_factor=10.0, final_div_factor=50.0),
        {"peak": 0.2, "up": 0.45, "div": 10.0, "final_div": 50.0},
        epochs=20,
    ),
    Row("plateau", "plain", plateau(3, 0.1), {"start": 0.2, "patience": 3}, figures=FALLING),
    Row(
        "plateau",
        "halves down to a floor",
        plateau(1, 0.5, min_lr=0.03),
        {"start": 0.2, "patience": 1, "gamma": 0.5, "to": 0.03},
        figures=FALLING,
    ),
    Row(
        "plateau",
        "cooldown",
        plateau(2, 0.5, cooldown=3),
        {"start": 0.2, "patience": 2, "gamma": 0.5, "cooldown": 3},
        figures=FALLING,
    ),
    Row(
        "plateau",
        "small improvements",
        plateau(2, 0.5, threshold=0.2),
        {"start": 0.2, "patience": 2, "gamma": 0.5, "min_delta": 0.2},
        figures=FALLING,
    ),
    Row(
        "plateau",
        "rising is better",
        plateau(2, 0.5, mode="max"),
        {"start": 0.2, "patience": 2, "gamma": 0.5, "of": "val_accuracy"},
        figures=[-value for value in FALLING],
    ),
]


def content() -> dict[str, Any]:
    """Return what stands in the file."""
    return {"cases": [case(row) for row in ROWS]}


def case(row: Row) -> dict[str, Any]:
    """The rate of every epoch, and after the last one."""
    optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=row.base)
    schedule, rates = row.make(optimizer), []
    epochs = len(row.figures) or row.epochs
    for epoch in range(epochs + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if epoch < epochs:
            schedule.step(*row.figures[epoch : epoch + 1])
    found = {"part": row.part, "case": row.case, "arguments": row.arguments, "epochs": epochs, "rates": rates}
    return found | ({"figures": row.figures} if row.figures else {})
