"""Write the reference numbers of `tests/test_oracle.py`, computed by PyTorch in float64.

    python tests/oracle/make_reference.py [layers_convolution ...]

needs `torch`, which neither nnspec nor its tests need: the JSON files beside this script are committed. One more
layer, loss or optimizer is one more row at the end of a table below, and leaves the numbers of the others as they are.
Weights are stored as nnspec keeps them, (in, out).
"""

from __future__ import annotations

import importlib
import json
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from row import LayerRow, LossRow, as_kept, loss_case, normal
from torch import nn
from torch.nn import functional

HERE = Path(__file__).parent
FAMILIES = (
    "layers_*.py",
    "losses_*.py",
    "trajectories_*.py",
    "schedules_*.py",
    "weighted_means.py",
    "axes.py",
    "graphs.py",
    "sequences.py",
    "starts.py",
)
"""Modules of their own: those of layers have `layer_rows()`, others `content()`, all of what stands in their file."""
Tensor = torch.Tensor


@dataclass(frozen=True)
class OptimizerRow:
    """An optimizer of nnspec with its arguments, and PyTorch's for it."""

    part: str
    case: str
    make: Callable[[list[Tensor]], torch.optim.Optimizer]
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ScheduleRow:
    """A schedule of nnspec with its arguments, and PyTorch's for it, of an optimizer whose rate is the start."""

    part: str
    case: str
    make: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]
    arguments: dict[str, Any]
    epochs: int = 12


@dataclass(frozen=True)
class ClipRow:
    """Gradients of several parameters, and the bounds that they are clipped to: value first, then norm."""

    case: str
    grads: list[Tensor]
    clip_value: float | None = None
    max_norm: float | None = None


@dataclass(frozen=True)
class CompositionRow:
    """A composition by the name that a spec uses, with its branches: layers, or compositions as rows of their own."""

    part: str
    case: str
    branches: dict[str, list[Any]]
    x: Tensor


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


UNUSED = torch.zeros(0)
"""The input of a composition inside another one."""


def linear(n: int, m: int) -> tuple[str, dict[str, Any]]:
    """A linear layer in a branch."""
    return "Linear", {"in_features": n, "out_features": m}


def composition_rows() -> list[CompositionRow]:
    """The compositions."""
    relu, sigmoid, tanh = ("ReLU", {}), ("Sigmoid", {}), ("Tanh", {})
    row = CompositionRow
    return [
        row("residual", "identity", {"body": [linear(4, 6), relu, linear(6, 4)]}, normal(5, 4)),
        row("residual", "activations first and last", {"body": [relu, linear(4, 4), sigmoid]}, normal(5, 4)),
        row(
            "residual",
            "shortcut",
            {"body": [linear(4, 5), tanh, linear(5, 3)], "shortcut": [linear(4, 3)]},
            normal(5, 4),
        ),
        row(
            "residual",
            "ReLU first in both",
            {"body": [relu, linear(4, 3)], "shortcut": [relu, linear(4, 3)]},
            normal(5, 4),
        ),
        row("residual", "one sample", {"body": [linear(4, 4)]}, normal(1, 4)),
        row("residual", "images", {"body": [tanh, relu]}, normal(3, 2, 4, 3)),
        row(
            "residual",
            "in a residual",
            {"body": [row("residual", "", {"body": [linear(4, 4)]}, UNUSED), tanh]},
            normal(5, 4),
        ),
        row(
            "add",
            "three branches",
            {"a": [linear(4, 3)], "b": [linear(4, 3), sigmoid], "c": [linear(4, 3)]},
            normal(5, 4),
        ),
        row("add", "an identity", {"a": [], "b": [tanh, linear(4, 4)]}, normal(5, 4)),
        row("add", "images", {"a": [sigmoid], "b": []}, normal(2, 3, 2, 2)),
        row("concat", "two branches", {"a": [linear(4, 3), relu], "b": [linear(4, 2)]}, normal(5, 4)),
        row("concat", "an identity", {"a": [], "b": [linear(4, 1), tanh], "c": [sigmoid]}, normal(5, 4)),
        row("concat", "images", {"a": [relu], "b": [], "c": [tanh]}, normal(2, 3, 2, 2)),
        row(
            "concat",
            "of compositions",
            {
                "a": [row("add", "", {"p": [linear(4, 3)], "q": [relu, linear(4, 3)]}, UNUSED), tanh],
                "b": [row("residual", "", {"body": [linear(4, 2)], "shortcut": [linear(4, 2)]}, UNUSED), linear(2, 2)],
            },
            normal(5, 4),
        ),
        row("concat", "sequences", {"a": [linear(4, 3), relu], "b": [], "c": [linear(4, 2)]}, normal(2, 3, 4)),
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


def warmed_up(
    epochs: int, after: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]
) -> Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]:
    """Put a linear warm-up from zero before a schedule. `LinearLR` cannot start from zero."""

    def make(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: epoch / epochs)
        return torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, after(optimizer)], [epochs])

    return make


schedulers = torch.optim.lr_scheduler
SCHEDULES = [
    ScheduleRow("constant", "plain", lambda o: schedulers.ConstantLR(o, 1.0), {"start": 0.1}),
    ScheduleRow(
        "constant", "warm-up", warmed_up(4, lambda o: schedulers.ConstantLR(o, 1.0)), {"start": 0.1, "warmup": 4}
    ),
    ScheduleRow("linear", "to zero", lambda o: schedulers.LinearLR(o, 1.0, 0.0, 12), {"start": 0.2}),
    ScheduleRow("linear", "up", lambda o: schedulers.LinearLR(o, 0.25, 1.0, 12), {"start": 0.05, "to": 0.2}),
    ScheduleRow(
        "linear",
        "warm-up",
        warmed_up(2, lambda o: schedulers.LinearLR(o, 1.0, 0.1, 10)),
        {"start": 0.2, "to": 0.02, "warmup": 2},
    ),
    ScheduleRow("step", "tenths", lambda o: schedulers.StepLR(o, 5), {"start": 0.3, "every": 5}),
    ScheduleRow(
        "step",
        "halves, warm-up",
        warmed_up(3, lambda o: schedulers.StepLR(o, 2, 0.5)),
        {"start": 0.3, "every": 2, "gamma": 0.5, "warmup": 3},
    ),
    ScheduleRow("exponential", "plain", lambda o: schedulers.ExponentialLR(o, 0.8), {"start": 0.1, "gamma": 0.8}),
    ScheduleRow(
        "exponential",
        "warm-up",
        warmed_up(1, lambda o: schedulers.ExponentialLR(o, 0.5)),
        {"start": 0.1, "gamma": 0.5, "warmup": 1},
    ),
    ScheduleRow("cosine", "to zero", lambda o: schedulers.CosineAnnealingLR(o, 12), {"start": 1e-3}),
    ScheduleRow(
        "cosine", "to a floor", lambda o: schedulers.CosineAnnealingLR(o, 12, 1e-5), {"start": 1e-3, "to": 1e-5}
    ),
    ScheduleRow(
        "cosine",
        "warm-up",
        warmed_up(2, lambda o: schedulers.CosineAnnealingLR(o, 10, 1e-5)),
        {"start": 1e-3, "to": 1e-5, "warmup": 2},
    ),
]


def clip_rows() -> list[ClipRow]:
    """Gradients above, at and below their bounds; and where the 10⁻⁶ that PyTorch adds to the norm can be seen."""
    return [
        ClipRow("norm, above", [normal(4, 3, scale=3), normal(3)], max_norm=1.0),
        ClipRow("norm, below", [normal(4, 3), normal(3)], max_norm=100.0),
        ClipRow("norm, at the bound", [torch.tensor([3.0]), torch.tensor([4.0])], max_norm=5.0),
        ClipRow("norm, tiny", [torch.tensor([3e-6, 0.0]), torch.tensor([[4e-6]])], max_norm=2e-6),
        ClipRow("norm, zero", [torch.zeros(2, 2), torch.zeros(1)], max_norm=1.0),
        ClipRow("value", [normal(4, 3, scale=2), normal(3)], clip_value=0.5),
        ClipRow("value, nothing above", [normal(2, 3)], clip_value=50.0),
        ClipRow("both", [normal(4, 3, scale=5), normal(3)], clip_value=2.0, max_norm=1.5),
    ]


def layer_case(row: LayerRow) -> dict[str, Any]:
    """Forward, and the gradient of Σ r·y with respect to the input, unless it is whole numbers, and the parameters."""
    torch.manual_seed(zlib.crc32(f"{row.part}, {row.case}".encode()))
    module = row.make().train(row.training)
    before = {name: getattr(module, name).tolist() for name in row.state}
    x = row.x.clone().requires_grad_(row.x.is_floating_point())
    y = row.output(module(x))
    r = normal(*y.shape)
    (r * y).sum().backward()
    case = {
        "part": row.part,
        "case": row.case,
        "arguments": row.arguments,
        "training": row.training,
        "x": x.tolist(),
        "parameters": row.convert(dict(module.named_parameters())),
        "y": y.tolist(),
        "r": r.tolist(),
        "x_grad": None if x.grad is None else x.grad.tolist(),
        "parameter_grads": row.convert({name: p.grad for name, p in module.named_parameters()}),
    }
    if row.state:
        case |= {"state": before, "state_after": {name: getattr(module, name).tolist() for name in row.state}}
    return case


class Composed(nn.Module):
    """A composition as one writes it in PyTorch."""

    def __init__(self, row: CompositionRow) -> None:
        super().__init__()
        self.part = row.part
        self.branches = nn.ModuleDict({name: nn.Sequential(*map(module, row.branches[name])) for name in row.branches})

    def forward(self, x: Tensor) -> Tensor:
        """Join what the branches give."""
        if self.part == "residual":
            around = self.branches["shortcut"](x) if "shortcut" in self.branches else x
            return self.branches["body"](x) + around
        outputs = [branch(x) for branch in self.branches.values()]
        features = 2 if outputs[0].ndim == 3 else 1
        return torch.cat(outputs, dim=features) if self.part == "concat" else torch.stack(outputs).sum(dim=0)


def module(item: Any) -> nn.Module:
    """Make what stands in a branch."""
    return Composed(item) if isinstance(item, CompositionRow) else getattr(nn, item[0])(**item[1])


def written(row: CompositionRow) -> dict[str, Any]:
    """The branches of a composition in JSON."""
    return {
        name: [[i.part, written(i)] if isinstance(i, CompositionRow) else list(i) for i in items]
        for name, items in row.branches.items()
    }


def composition_case(row: CompositionRow) -> dict[str, Any]:
    """Forward, and the gradient of Σ r·y with respect to the input and the parameters, these in order."""
    torch.manual_seed(zlib.crc32(f"{row.part}, {row.case}".encode()))
    composed = Composed(row)
    x = row.x.clone().requires_grad_()
    y = composed(x)
    r = normal(*y.shape)
    (r * y).sum().backward()
    return {
        "part": row.part,
        "case": row.case,
        "branches": written(row),
        "x": x.tolist(),
        "parameters": [as_kept(p) for p in composed.parameters()],
        "y": y.tolist(),
        "r": r.tolist(),
        "x_grad": x.grad.tolist(),
        "parameter_grads": [as_kept(p.grad) for p in composed.parameters()],
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


def schedule_case(row: ScheduleRow) -> dict[str, Any]:
    """The rate of every epoch, and after the last one."""
    base = max(row.arguments["start"], row.arguments.get("to", 0.0))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
    schedule, rates = row.make(optimizer), []
    for _ in range(row.epochs + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return {"part": row.part, "case": row.case, "arguments": row.arguments, "epochs": row.epochs, "rates": rates}


def clip_case(row: ClipRow) -> dict[str, Any]:
    """The gradients before and after, and the norm that was found."""
    params = [nn.Parameter(torch.zeros_like(grad)) for grad in row.grads]
    for parameter, grad in zip(params, row.grads, strict=True):
        parameter.grad = grad.clone()
    if row.clip_value is not None:
        nn.utils.clip_grad_value_(params, row.clip_value)
    norm = None if row.max_norm is None else nn.utils.clip_grad_norm_(params, row.max_norm).item()
    return {
        "part": "clipping",
        "case": row.case,
        "clip_value": row.clip_value,
        "max_norm": row.max_norm,
        "grads": [grad.tolist() for grad in row.grads],
        "norm": norm,
        "after": [p.grad.tolist() for p in params],
    }


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


def others_in(files: str, but: str) -> set[str]:
    """Return the parts that have cases in files of a pattern, of all but one."""
    tables = (json.loads(path.read_text(encoding="utf-8")) for path in HERE.glob(files) if path.name != but)
    return {case["part"] for table in tables for case in table["cases"] if "part" in case}


def main(*families: str) -> None:
    """Write the files; of the families with a module of their own, those that are named, or all."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    for family in families or sorted(path.stem for glob in FAMILIES for path in HERE.glob(glob)):
        torch.manual_seed(1)
        module = importlib.import_module(family)
        made = hasattr(module, "content")
        write(f"{family}.json", module.content() if made else {"cases": [layer_case(r) for r in module.layer_rows()]})
    if families:
        return
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
    torch.manual_seed(4)
    write("compositions.json", {"cases": [composition_case(row) for row in composition_rows()]})
    write("schedules.json", {"cases": [schedule_case(row) for row in SCHEDULES]})
    torch.manual_seed(4)
    write("clipping.json", {"cases": [clip_case(row) for row in clip_rows()]})


if __name__ == "__main__":
    main(*sys.argv[1:])
