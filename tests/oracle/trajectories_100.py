"""A hundred steps of every optimizer with and without weight decay: PyTorch in float64; Lion and LAMB in 50 digits.

    python tests/oracle/make_reference.py trajectories_100

needs `torch` and `mpmath`. The network has no ReLU, so that no gradient is ever zero, where a step would be decided by
ε alone. Decay is that of the weights, and of all parameters where `decay_all` says so. PyTorch has neither Lion
nor LAMB: their rows follow algorithm 2 of each paper, with the network's own derivatives written out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import mpmath
import torch
from mpmath import mpf
from row import as_kept, normal
from torch import nn, optim

STEPS, KEPT = 100, (100,)
WIDTHS = (6, 5, 4, 3)
Tensor = torch.Tensor
Rows = list[list[mpf]]


@dataclass(frozen=True)
class Row:
    """An optimizer of nnspec with its arguments, and PyTorch's with its own besides."""

    part: str
    make: Callable[..., optim.Optimizer] | None
    arguments: dict[str, Any]
    theirs: dict[str, Any] = field(default_factory=dict)
    """Arguments of PyTorch's that are not those of nnspec's."""
    warmup: int = 0
    """Steps until the rate is `lr`, of those that have them: lr/n, 2·lr/n, …"""

    def variants(self) -> list[tuple[str, dict[str, Any]]]:
        """Each without decay, with decay of the weights, and with decay of everything."""
        shown = self.arguments | ({"warmup": self.warmup} if self.warmup else {})
        name = ", ".join(f"{key}={value}" for key, value in shown.items() if key != "lr") or "plain"
        decays = {"": {}, ", decay": {"weight_decay": 0.002}, ", decay_all": {"weight_decay": 0.002, "decay_all": True}}
        return [(f"{name}{more}", self.arguments | {"weight_decay": 0.0} | decay) for more, decay in decays.items()]


ROWS = [
    Row("SGD", optim.SGD, {"lr": 0.3}),
    Row("SGD", optim.SGD, {"lr": 0.05, "momentum": 0.8}),
    Row("Momentum", optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    Row("Nesterov", optim.SGD, {"lr": 0.05, "momentum": 0.9}, {"nesterov": True}),
    Row("AdaGrad", optim.Adagrad, {"lr": 0.1}),
    Row("AdaGrad", optim.Adagrad, {"lr": 0.2, "eps": 0.01}),
    Row("RMSProp", optim.RMSprop, {"lr": 0.01}),
    Row("RMSProp", optim.RMSprop, {"lr": 0.01, "alpha": 0.9, "eps": 0.001}),
    Row("RMSProp", optim.RMSprop, {"lr": 0.005, "momentum": 0.8}),
    Row("RMSProp", optim.RMSprop, {"lr": 0.005, "centered": True}),
    Row("RMSProp", optim.RMSprop, {"lr": 0.005, "alpha": 0.95, "momentum": 0.5, "centered": True, "eps": 0.001}),
    Row("AdaDelta", optim.Adadelta, {"lr": 1.0}),
    Row("AdaDelta", optim.Adadelta, {"lr": 2.0, "rho": 0.8, "eps": 0.001}),
    Row("Adam", optim.Adam, {"lr": 0.01}),
    Row("Adam", optim.Adam, {"lr": 0.02, "betas": [0.8, 0.95], "eps": 0.001}),
    Row("AdamW", optim.AdamW, {"lr": 0.01}),
    Row("AdamW", optim.AdamW, {"lr": 0.02, "betas": [0.8, 0.95], "eps": 0.001}),
    Row("AMSGrad", optim.Adam, {"lr": 0.01}, {"amsgrad": True}),
    Row("AMSGrad", optim.Adam, {"lr": 0.02, "betas": [0.8, 0.9], "eps": 0.001}, {"amsgrad": True}),
    Row("AdaMax", optim.Adamax, {"lr": 0.02}),
    Row("AdaMax", optim.Adamax, {"lr": 0.02, "betas": [0.8, 0.9], "eps": 0.01}),
    Row("NAdam", optim.NAdam, {"lr": 0.01}),
    Row("NAdam", optim.NAdam, {"lr": 0.01, "betas": [0.8, 0.95], "momentum_decay": 0.05}),
    Row("RAdam", optim.RAdam, {"lr": 0.01}),
    Row("RAdam", optim.RAdam, {"lr": 0.02, "betas": [0.8, 0.95], "eps": 0.001}),
    Row("RAdam", optim.RAdam, {"lr": 0.02, "betas": [0.8, 0.6]}),
    Row("Lion", None, {"lr": 0.004}),
    Row("Lion", None, {"lr": 0.003, "betas": [0.8, 0.95]}),
    Row("LAMB", None, {"lr": 0.01}),
    Row("LAMB", None, {"lr": 0.02, "betas": [0.8, 0.95], "eps": 0.001, "adapt_all": True}),
]


def network() -> nn.Sequential:
    """Return the network of all rows."""
    a, b, c, d = WIDTHS
    return nn.Sequential(nn.Linear(a, b), nn.Tanh(), nn.Linear(b, c), nn.Sigmoid(), nn.Linear(c, d))


def content(rows: Sequence[Row] = ROWS) -> dict[str, Any]:
    """Return what stands in the file."""
    model, x, labels = network(), normal(8, WIDTHS[0]), torch.tensor([0, 1, 2, 2, 1, 0, 0, 2])
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kept = [as_kept(p) for p in model.parameters()]
    cases = []
    for row in rows:
        for name, arguments in row.variants():
            if row.make is None:
                move = {"Lion": lion, "LAMB": lamb}[row.part]
                losses, after = digits(move, arguments, kept, x.tolist(), labels.tolist())
            else:
                losses, after = trajectory(row, arguments, start, x, labels)
            case = {"part": row.part, "case": name, "arguments": arguments, "losses": losses, "after": after}
            cases.append(case | ({"warmup": row.warmup} if row.warmup else {}))
    return {"x": x.tolist(), "labels": labels.tolist(), "start": kept, "cases": cases}


def trajectory(
    row: Row, arguments: dict[str, Any], start: dict[str, Tensor], x: Tensor, labels: Tensor
) -> tuple[list[float], dict[str, Any]]:
    """Train by PyTorch: every tenth loss (a wrong step is wrong ever after), and the parameters at the end."""
    model = network()
    model.load_state_dict(start)
    more = dict(arguments)
    decay, whole = more.pop("weight_decay"), more.pop("decay_all", False)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": decay if whole else 0.0},
    ]
    assert row.make is not None
    if row.warmup:
        more["warmup_steps"] = row.warmup
    optimizer, loss = row.make(groups, **more, **row.theirs), nn.CrossEntropyLoss()
    if hasattr(optimizer, "train"):
        optimizer.train()
    losses, after = [], {}
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        value = loss(model(x), labels)
        value.backward()
        assert all(bool((p.grad != 0).all()) for p in model.parameters())
        optimizer.step()
        if step % 10 == 1:
            losses.append(value.item())
        if step in KEPT:
            if hasattr(optimizer, "eval"):
                optimizer.eval()
            after[str(step)] = [as_kept(p) for p in model.parameters()]
    return losses, after


# Lion and LAMB, in 50 digits: plain lists, weights as (in, out)

Move = Callable[[dict[str, Any], int, Rows, Rows, Rows, Rows, bool], None]


def digits(
    move: Move, arguments: dict[str, Any], start: list[Any], x: list[list[float]], labels: list[int]
) -> tuple[list[float], dict[str, Any]]:
    """Train by a rule for one tensor: `move(arguments, step, theta, m, v, g, is_weight)`."""
    mpmath.mp.dps = 50
    theta = [[[mpf(v) for v in line] for line in (p if isinstance(p[0], list) else [p])] for p in start]
    first, second = ([[[mpf(0)] * len(line) for line in p] for p in theta] for _ in range(2))
    inputs = [[mpf(v) for v in line] for line in x]
    losses, after = [], {}
    for step in range(1, STEPS + 1):
        loss, grads = gradients(theta, inputs, labels)
        for i, (p, m, v, g) in enumerate(zip(theta, first, second, grads, strict=True)):
            move(arguments, step, p, m, v, g, i % 2 == 0)
        if step % 10 == 1:
            losses.append(float(loss))
        if step in KEPT:
            lines = [[[float(v) for v in line] for line in p] for p in theta]
            after[str(step)] = [p if i % 2 == 0 else p[0] for i, p in enumerate(lines)]
    return losses, after


def lion(arguments: dict[str, Any], step: int, p: Rows, m: Rows, v: Rows, g: Rows, is_weight: bool) -> None:
    """Algorithm 2 of Chen et al. 2023: c = β₁m + (1−β₁)g, θ ← θ − lr(sign(c) + λθ), m ← β₂m + (1−β₂)g."""
    rate, (beta1, beta2) = mpf(arguments["lr"]), (mpf(beta) for beta in arguments.get("betas", (0.9, 0.99)))
    shrinks = mpf(arguments["weight_decay"]) if arguments.get("decay_all") or is_weight else mpf(0)
    for line, means, slopes in zip(p, m, g, strict=True):
        for j, slope in enumerate(slopes):
            c = beta1 * means[j] + (1 - beta1) * slope
            line[j] -= rate * (mpmath.sign(c) + shrinks * line[j])
            means[j] = beta2 * means[j] + (1 - beta2) * slope


def lamb(arguments: dict[str, Any], step: int, p: Rows, m: Rows, v: Rows, g: Rows, is_weight: bool) -> None:
    """Algorithm 2 of You et al. 2020 with φ(z) = z: r = m̂ / (√v̂ + ε), θ ← θ − lr · ‖θ‖ / ‖r + λθ‖ · (r + λθ)."""
    rate, (beta1, beta2) = mpf(arguments["lr"]), (mpf(beta) for beta in arguments.get("betas", (0.9, 0.999)))
    eps = mpf(arguments.get("eps", 1e-6))
    decay = mpf(arguments["weight_decay"]) if arguments.get("decay_all") or is_weight else mpf(0)
    steps: Rows = []
    for line, means, squares, slopes in zip(p, m, v, g, strict=True):
        steps.append([])
        for j, slope in enumerate(slopes):
            means[j] = beta1 * means[j] + (1 - beta1) * slope
            squares[j] = beta2 * squares[j] + (1 - beta2) * slope**2
            corrected = means[j] / (1 - beta1**step), squares[j] / (1 - beta2**step)
            steps[-1].append(corrected[0] / (mpmath.sqrt(corrected[1]) + eps) + decay * line[j])
    ratio = length(p) / length(steps) if is_weight or arguments.get("adapt_all") else mpf(1)
    for line, moves in zip(p, steps, strict=True):
        line[:] = [value - rate * (ratio or 1) * move for value, move in zip(line, moves, strict=True)]


def length(p: Rows) -> mpf:
    """Return ‖p‖₂."""
    return mpmath.sqrt(sum(value**2 for line in p for value in line))


def gradients(theta: list[Rows], x: Rows, labels: list[int]) -> tuple[mpf, list[Rows]]:
    """Return the mean cross-entropy and its derivative with respect to every parameter."""
    w1, b1, w2, b2, w3, b3 = theta
    grads = [[[mpf(0)] * len(line) for line in p] for p in theta]
    loss = mpf(0)
    for sample, label in zip(x, labels, strict=True):
        h = [mpmath.tanh(v) for v in affine(sample, w1, b1)]
        s = [1 / (1 + mpmath.exp(-v)) for v in affine(h, w2, b2)]
        powers = [mpmath.exp(v) for v in affine(s, w3, b3)]
        shares = [p / sum(powers) for p in powers]
        loss -= mpmath.log(shares[label]) / len(x)
        d3 = [(p - (k == label)) / len(x) for k, p in enumerate(shares)]
        d2 = [d * v * (1 - v) for d, v in zip(back(d3, w3), s, strict=True)]
        d1 = [d * (1 - v * v) for d, v in zip(back(d2, w2), h, strict=True)]
        for i, (incoming, d) in enumerate(((sample, d1), (h, d2), (s, d3))):
            for a, line in zip(incoming, grads[2 * i], strict=True):
                line[:] = [g + a * v for g, v in zip(line, d, strict=True)]
            grads[2 * i + 1][0][:] = [g + v for g, v in zip(grads[2 * i + 1][0], d, strict=True)]
    return loss, grads


def affine(x: list[mpf], w: Rows, b: Rows) -> list[mpf]:
    """Return xW + b."""
    return [sum(a * line[j] for a, line in zip(x, w, strict=True)) + b[0][j] for j in range(len(b[0]))]


def back(d: list[mpf], w: Rows) -> list[mpf]:
    """Return dWᵀ."""
    return [sum(v * a for v, a in zip(d, line, strict=True)) for line in w]
