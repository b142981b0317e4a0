"""What a row of the reference says of a layer or a loss; families of layers have modules `layers_*.py` of their own.

Each of these has `layer_rows()`, and its numbers stand in the JSON file of the same name:

    python tests/oracle/make_reference.py layers_convolution
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

Tensor = torch.Tensor


def normal(*shape: int, scale: float = 1.0) -> Tensor:
    """Normal numbers with four decimals, so that the files stay readable."""
    return (torch.randn(*shape) * scale * 1e4).round() / 1e4


def as_kept(parameter: Tensor) -> list[Any]:
    """Numbers of a parameter as nnspec keeps it: PyTorch's weights are (out, in)."""
    return (parameter.mT if parameter.ndim == 2 else parameter).tolist()


def as_nnspec(tensors: dict[str, Tensor]) -> dict[str, list[Any]]:
    """Parameters, or their gradients, by PyTorch's names: by nnspec's names, and as nnspec keeps them."""
    return {name: as_kept(tensor) for name, tensor in tensors.items()}


class OverPlaces(nn.Module):
    """A layer of PyTorch's that takes sequences as (B, F, T), for sequences (B, T, F); names are the layer's own."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Transpose, apply, transpose back."""
        y: Tensor = self.layer(x.mT)
        return y.mT if y.ndim == 3 else y

    def named_parameters(self, *args: Any, **kwargs: Any) -> Any:
        """Those of the layer, by its own names."""
        return self.layer.named_parameters(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """What the layer remembers, by its own names."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.layer, name)


@dataclass(frozen=True)
class LayerRow:
    """A layer of nnspec by the name that a spec uses, with its arguments, and PyTorch's for it."""

    part: str
    case: str
    make: Callable[[], nn.Module]
    x: Tensor
    arguments: dict[str, Any] = field(default_factory=dict)
    training: bool = True
    convert: Callable[[dict[str, Tensor]], dict[str, list[Any]]] = as_nnspec
    """From PyTorch's names and arrays to nnspec's, of parameters and of their gradients."""
    state: tuple[str, ...] = ()
    """PyTorch's buffers, such as `running_mean`, that nnspec remembers under the same names."""
    output: Callable[[Any], Tensor] = lambda y: y
    """The output, where the module returns more than that."""


@dataclass(frozen=True)
class LossRow:
    """A loss of nnspec with its arguments, and PyTorch's for it, with what it is given."""

    part: str
    case: str
    make: Callable[[], Callable[[Tensor, Tensor], Tensor]]
    outputs: Tensor
    targets: Tensor
    arguments: dict[str, Any] = field(default_factory=dict)


def loss_case(row: LossRow) -> dict[str, Any]:
    """Value, and gradient with respect to the outputs."""
    outputs = row.outputs.clone().requires_grad_()
    value = row.make()(outputs, row.targets)
    value.backward()
    return {
        "part": row.part,
        "case": row.case,
        **({"arguments": row.arguments} if row.arguments else {}),
        "outputs": outputs.tolist(),
        "targets": row.targets.tolist(),
        "value": value.item(),
        "grad": outputs.grad.tolist(),
    }
