"""A loss with class weights in ragged batches: the figures of each epoch, and the parameters at the end.

python tests/oracle/make_reference.py weighted_means
"""

from __future__ import annotations

from typing import Any

import torch
from row import as_kept
from torch import nn, optim

WEIGHTS, EPOCHS, LR = [0.5, 1.0, 7.0], 3, 0.2


def content() -> dict[str, Any]:
    """Return what stands in the file. Numbers of samples are whole, and parameters start at 0."""
    x, x_test = torch.randint(-3, 4, (17, 4)), torch.randint(-3, 4, (11, 4))
    y, y_test = torch.arange(17) % 3, torch.arange(11) % 3
    y[5:9] = 0
    samples = {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}
    cases = [trained(batch, x.double(), y, x_test.double(), y_test) for batch in (1, 3, 4, 20)]
    setting = {"class_weights": WEIGHTS, "lr": LR} | {name: tensor.tolist() for name, tensor in samples.items()}
    return setting | {"cases": cases}


def trained(batch: int, x: torch.Tensor, y: torch.Tensor, x_test: torch.Tensor, y_test: torch.Tensor) -> dict[str, Any]:
    """Return the losses and the parameters. That of training is Σ w·l / Σ w, each l before the step of its sample."""
    layer, weights = nn.Linear(4, 3), torch.tensor(WEIGHTS)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    loss, each = nn.CrossEntropyLoss(weights), nn.CrossEntropyLoss(weights, reduction="none")
    optimizer = optim.SGD(layer.parameters(), lr=LR)
    figures: dict[str, list[float]] = {"loss": [], "test_loss": []}
    for _ in range(EPOCHS):
        total = 0.0
        for start in range(0, len(x), batch):
            part = slice(start, start + batch)
            optimizer.zero_grad()
            outputs = layer(x[part])
            total += each(outputs, y[part]).sum().item()
            loss(outputs, y[part]).backward()
            optimizer.step()
        figures["loss"].append(total / weights[y].sum().item())
        figures["test_loss"].append(loss(layer(x_test), y_test).item())
    return {"batch": batch, **figures, "weight": as_kept(layer.weight), "bias": as_kept(layer.bias)}
