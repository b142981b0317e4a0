"""Write the reference numbers of `tests/test_oracle.py`, computed by PyTorch in float64.

    python tests/oracle/make_reference.py

needs `torch`, which neither nnspec nor its tests need: the JSON files beside this script are committed. One more
layer, loss or optimizer is one more row at the end of a table below, and leaves the numbers of the others as they are.
Weights are stored as nnspec keeps them, (in, out).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

HERE = Path(__file__).parent
Tensor = torch.Tensor


@dataclass(frozen=True)
class LayerRow:
    """A layer of nnspec by the name that a spec uses, with its arguments, and PyTorch's for it."""

    part: str
    case: str
    make: Callable[[], nn.Module]
    x: Tensor
    arguments: dict[str, Any] = field(default_factory=dict)
    training: bool = True


@dataclass(frozen=True)
class LossRow:
    """A loss of nnspec and PyTorch's for it, with what it is given."""

    part: str
    case: str
    make: Callable[[], nn.Module]
    outputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class OptimizerRow:
    """An optimizer of nnspec with its arguments, and PyTorch's for it."""

    part: str
    case: str
    make: Callable[[list[Tensor]], torch.optim.Optimizer]
    arguments: dict[str, Any] = field(default_factory=dict)


def normal(*shape: int, scale: float = 1.0) -> Tensor:
    """Normal numbers with four decimals, so that the files stay readable."""
    return (torch.randn(*shape) * scale * 1e4).round() / 1e4


def as_kept(parameter: Tensor) -> list[Any]:
    """Numbers of a parameter as nnspec keeps it: PyTorch's weights are (out, in)."""
    return (parameter.mT if parameter.ndim == 2 else parameter).tolist()


def layer_rows() -> list[LayerRow]:
    """The layers. Inputs reach into saturation and, for ReLU, stand on its kink."""
    far = torch.tensor([[-1000.0, -30.0, -1e-9, 0.0], [1e-9, 0.5, 30.0, 1000.0]])
    return [
        LayerRow("Linear", "with bias", lambda: nn.Linear(4, 3), normal(5, 4), {"in_features": 4, "out_features": 3}),
        LayerRow("Linear", "one by one", lambda: nn.Linear(1, 1), normal(1, 1), {"in_features": 1, "out_features": 1}),
        LayerRow(
            "Linear",
            "without bias",
            lambda: nn.Linear(3, 6, bias=False),
            normal(2, 3),
            {"in_features": 3, "out_features": 6, "bias": False},
        ),
        LayerRow("ReLU", "rows", nn.ReLU, normal(5, 4)),
        LayerRow("ReLU", "images", nn.ReLU, normal(2, 3, 2, 2)),
        LayerRow("ReLU", "far and at the kink", nn.ReLU, far),
        LayerRow("Sigmoid", "rows", nn.Sigmoid, normal(5, 4, scale=3)),
        LayerRow("Sigmoid", "far", nn.Sigmoid, far),
        LayerRow("Tanh", "rows", nn.Tanh, normal(5, 4, scale=2)),
        LayerRow("Tanh", "far", nn.Tanh, far),
        LayerRow("Dropout", "in use", lambda: nn.Dropout(0.4), normal(5, 4), {"p": 0.4}, training=False),
        LayerRow("Dropout", "training, nothing dropped", lambda: nn.Dropout(0.0), normal(5, 4), {"p": 0.0}),
        LayerRow("Flatten", "images", nn.Flatten, normal(3, 2, 2, 3)),
        LayerRow("Flatten", "rows", nn.Flatten, normal(3, 4)),
    ]


def loss_rows() -> list[LossRow]:
    """The losses. Logits around ±1000 overflow every softmax that does not take the maximum off first."""
    labels = torch.tensor([0, 3, 1, 1, 2])
    one_hot = functional.one_hot(labels, 4).to(torch.float64)
    rows = torch.softmax(normal(5, 4), dim=1)
    ordinary, wide, far = normal(5, 4), normal(5, 4, scale=20), normal(5, 4, scale=1000)
    steep = torch.tensor([[1000.0, -1000.0, 0.0], [-1000.0, -1000.0, -1000.0], [1000.0, 999.0, 1000.0]])
    return [
        LossRow("CrossEntropy", "class numbers", nn.CrossEntropyLoss, ordinary, labels),
        LossRow("CrossEntropy", "one-hot rows", nn.CrossEntropyLoss, ordinary, one_hot),
        LossRow("CrossEntropy", "rows of probabilities", nn.CrossEntropyLoss, wide, rows),
        LossRow("CrossEntropy", "far logits, class numbers", nn.CrossEntropyLoss, far, labels),
        LossRow("CrossEntropy", "far logits, rows of probabilities", nn.CrossEntropyLoss, far, rows),
        LossRow("CrossEntropy", "logits at ±1000, wrong", nn.CrossEntropyLoss, steep, torch.tensor([1, 2, 1])),
        LossRow("CrossEntropy", "logits at ±1000, right", nn.CrossEntropyLoss, steep, torch.tensor([0, 0, 2])),
        LossRow("CrossEntropy", "one sample", nn.CrossEntropyLoss, normal(1, 3), torch.tensor([2])),
        LossRow("CrossEntropy", "one class", nn.CrossEntropyLoss, normal(3, 1), torch.tensor([0, 0, 0])),
        LossRow("MSE", "rows", nn.MSELoss, normal(5, 3), normal(5, 3)),
        LossRow("MSE", "one number", nn.MSELoss, normal(1, 1), normal(1, 1)),
        LossRow("MSE", "far", nn.MSELoss, normal(4, 2, scale=1000), normal(4, 2)),
    ]


OPTIMIZERS = [
    OptimizerRow("SGD", "plain", lambda p: torch.optim.SGD(p, lr=0.1), {"lr": 0.1}),
    OptimizerRow(
        "SGD", "with momentum", lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9), {"lr": 0.05, "momentum": 0.9}
    ),
    OptimizerRow("Momentum", "its own default", lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9), {"lr": 0.05}),
    OptimizerRow(
        "Momentum", "lighter", lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.5), {"lr": 0.05, "momentum": 0.5}
    ),
    OptimizerRow("Adam", "defaults", torch.optim.Adam),
    OptimizerRow(
        "Adam",
        "all arguments",
        lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.95), eps=1e-3),
        {"lr": 0.02, "betas": [0.8, 0.95], "eps": 1e-3},
    ),
]
KEPT_STEPS = (1, 2, 10, 50)


def layer_case(row: LayerRow) -> dict[str, Any]:
    """Forward, and the gradient of Σ r·y with respect to the input and the parameters."""
    torch.manual_seed(zlib.crc32(f"{row.part}, {row.case}".encode()))
    module = row.make().train(row.training)
    x = row.x.clone().requires_grad_()
    y = module(x)
    r = normal(*y.shape)
    (r * y).sum().backward()
    return {
        "part": row.part,
        "case": row.case,
        "arguments": row.arguments,
        "training": row.training,
        "x": x.tolist(),
        "parameters": {name: as_kept(p) for name, p in module.named_parameters()},
        "y": y.tolist(),
        "r": r.tolist(),
        "x_grad": x.grad.tolist(),
        "parameter_grads": {name: as_kept(p.grad) for name, p in module.named_parameters()},
    }


def loss_case(row: LossRow) -> dict[str, Any]:
    """Value, and gradient with respect to the outputs."""
    outputs = row.outputs.clone().requires_grad_()
    value = row.make()(outputs, row.targets)
    value.backward()
    return {
        "part": row.part,
        "case": row.case,
        "outputs": outputs.tolist(),
        "targets": row.targets.tolist(),
        "value": value.item(),
        "grad": outputs.grad.tolist(),
    }


def trajectory(row: OptimizerRow, start: dict[str, Tensor], x: Tensor, labels: Tensor) -> dict[str, Any]:
    """Train the 6-5-4-3 network on one fixed batch: every loss, and the parameters after some of the steps."""
    model = network()
    model.load_state_dict(start)
    loss, optimizer = nn.CrossEntropyLoss(), row.make(list(model.parameters()))
    losses, after = [], {}
    for step in range(1, KEPT_STEPS[-1] + 1):
        optimizer.zero_grad()
        value = loss(model(x), labels)
        value.backward()
        optimizer.step()
        losses.append(value.item())
        if step in KEPT_STEPS:
            after[str(step)] = parameters_of(model)
    return {"part": row.part, "case": row.case, "arguments": row.arguments, "losses": losses, "after": after}


def network() -> nn.Sequential:
    """The network of the trajectories."""
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


def parameters_of(model: nn.Module) -> list[Any]:
    """Weight and bias of each layer, in order, weights as (in, out)."""
    return [as_kept(p) for p in model.parameters()]


def write(name: str, content: dict[str, Any]) -> None:
    """One value a line would be long, and one line in all unreadable: a line a case."""
    head = {
        "about": "Reference numbers in float64, written by tests/oracle/make_reference.py; do not edit.",
        "torch": torch.__version__,
    }
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in (head | content).items() if key != "cases"]
    cases = ",\n".join(json.dumps(case, ensure_ascii=False) for case in content["cases"])
    parts.append(f'"cases": [\n{cases}\n]')
    (HERE / name).write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def main() -> None:
    """Write the three files."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.manual_seed(1)
    write("layers.json", {"cases": [layer_case(row) for row in layer_rows()]})
    torch.manual_seed(2)
    write("losses.json", {"cases": [loss_case(row) for row in loss_rows()]})
    torch.manual_seed(3)
    model, x, labels = network(), normal(8, 6), torch.tensor([0, 1, 2, 2, 1, 0, 0, 2])
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    setting = {"x": x.tolist(), "labels": labels.tolist(), "start": parameters_of(model)}
    cases = [trajectory(row, start, x, labels) for row in OPTIMIZERS]
    write("trajectories.json", setting | {"cases": cases})


if __name__ == "__main__":
    main()
