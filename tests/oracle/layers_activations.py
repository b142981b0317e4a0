"""Activations whose derivative is a function of their output, those with a line on one side, and softmax."""

from __future__ import annotations

from typing import Any

import torch
from row import LayerRow, OverPlaces, normal
from torch import nn
from torch.nn import functional

Tensor = torch.Tensor


class HardSigmoid(nn.Module):
    """By its definition: the slope of `nn.Hardsigmoid` is a sixth in single precision only, in float64 too."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x/6 + 1/2 between 0 and 1."""
        return functional.relu6(x + 3) / 6


def rows_of(part: str, module: type[nn.Module], edges: list[float] | None = None, **arguments: Any) -> list[LayerRow]:
    """A row for each of rows, images, what is far out, and edges."""
    far = [-1e4, -40.0, -9.0, -2.0, -1e-9, 0.0, 1e-9, 2.0, 5.5, 9.0, 40.0, 1e4]
    said = ", ".join(f"{name} {value}" for name, value in arguments.items())

    def row(case: str, x: Tensor) -> LayerRow:
        return LayerRow(part, f"{case}, {said}" if said else case, lambda: module(**arguments), x, arguments)

    found = [row("rows", normal(5, 4, scale=3)), row("images", normal(2, 3, 2, 2))]
    found.append(row("far out", torch.tensor(far).reshape(3, 4)))
    return [*found, row("edges", torch.tensor([edges]))] if edges else found


def slopes(case: str, x: Tensor) -> LayerRow:
    """A PReLU with a slope for each feature or channel."""
    channels = x.shape[2 if x.ndim == 3 else 1]

    def make() -> nn.Module:
        return OverPlaces(nn.PReLU(channels)) if x.ndim == 3 else nn.PReLU(channels)

    return LayerRow("PReLU", f"a slope a channel, {case}", make, x, {"num_parameters": channels})


def softmax(part: str, module: type[nn.Module], case: str, x: Tensor) -> LayerRow:
    """A softmax along the features, or the channels of images."""
    return LayerRow(part, case, lambda: module(dim=1 if x.ndim == 4 else -1), x)


def layer_rows() -> list[LayerRow]:
    """Every activation, and every argument of it."""
    rows = [
        *rows_of("LeakyReLU", nn.LeakyReLU),
        *rows_of("LeakyReLU", nn.LeakyReLU, negative_slope=0.3),
        *rows_of("LeakyReLU", nn.LeakyReLU, negative_slope=0.0),
        *rows_of("PReLU", nn.PReLU),
        *rows_of("PReLU", nn.PReLU, init=-0.5),
        *rows_of("ELU", nn.ELU),
        *rows_of("ELU", nn.ELU, alpha=0.3),
        *rows_of("SELU", nn.SELU),
        *rows_of("HardSigmoid", HardSigmoid, [-3.0, -2.9999, 0.0, 2.9999, 3.0, 3.0001]),
    ]
    for case, x in (("rows", normal(4, 3)), ("images", normal(2, 3, 2, 2)), ("sequences", normal(2, 5, 2))):
        rows.append(slopes(case, x))
    for part, module in (("Softmax", nn.Softmax), ("LogSoftmax", nn.LogSoftmax)):
        rows += [
            softmax(part, module, "rows", normal(5, 4, scale=3)),
            softmax(part, module, "sequences", normal(2, 3, 4)),
            softmax(part, module, "far apart", torch.tensor([[-1e4, 0.0, 1e4], [1e4, 1e4, -40.0]])),
            softmax(part, module, "one", normal(3, 1)),
        ]
    for part, module in (("Softmax", nn.Softmax), ("LogSoftmax", nn.LogSoftmax)):
        rows.append(softmax(part, module, "images", normal(2, 3, 2, 2)))
    return rows
