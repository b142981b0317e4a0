"""Losses besides cross-entropy of rows and mean squares: PyTorch's numbers, and mpmath's (50 digits) for the hinge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mpmath import mp, mpf
from row import LossRow, Tensor, loss_case, normal
from torch import nn
from torch.nn import functional

Rows = list[list[Any]]


def classes_second(loss: nn.Module) -> Callable[[], Callable[[Tensor, Tensor], Tensor]]:
    """PyTorch has the classes of `(B, T, C)` second."""
    return lambda: lambda y, t: loss(y.movedim(-1, 1), t.movedim(-1, 1) if t.ndim == y.ndim else t)


def by_places(y: Tensor, t: Tensor) -> Tensor:
    """The divergence of each place, averaged over all of them."""
    loss = nn.KLDivLoss(reduction="batchmean")
    return loss(y.reshape(-1, y.shape[-1]), t.reshape(-1, t.shape[-1]))


def of_classes() -> list[LossRow]:
    """Losses of class numbers."""
    labels, places = torch.tensor([0, 3, 1, 1, 2]), torch.tensor([[0, 3, 1], [2, 2, 0]])
    ordinary, far, sequences = normal(5, 4), normal(5, 4, scale=1000), normal(2, 3, 4)
    logs, long_logs = torch.log_softmax(normal(5, 4, scale=3), -1), torch.log_softmax(normal(2, 3, 4), -1)
    weights = torch.tensor([0.5, 2.0, 1.0, 3.25])
    rows, long_rows = torch.softmax(normal(5, 4), dim=1), torch.softmax(normal(2, 3, 4), dim=2)
    found = [
        LossRow("CrossEntropy", "sequences", classes_second(nn.CrossEntropyLoss()), sequences, places),
        LossRow("CrossEntropy", "sequences, rows", classes_second(nn.CrossEntropyLoss()), sequences, long_rows),
    ]
    for smoothing, weight in ((0.1, None), (1.0, None), (0.0, weights), (0.2, weights)):
        loss = nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing)
        arguments: dict[str, Any] = {"label_smoothing": smoothing} if smoothing else {}
        arguments |= {"class_weights": weights.tolist()} if weight is not None else {}
        words = f"smoothing {smoothing}" + (", weights" if weight is not None else "")
        found += [
            LossRow("CrossEntropy", words, lambda loss=loss: loss, ordinary, labels, arguments),
            LossRow("CrossEntropy", f"{words}, far", lambda loss=loss: loss, far, labels, arguments),
            LossRow("CrossEntropy", f"{words}, rows", lambda loss=loss: loss, ordinary, rows, arguments),
            LossRow("CrossEntropy", f"{words}, sequences", classes_second(loss), sequences, places, arguments),
        ]
    weighted = {"class_weights": weights.tolist()}
    return [
        *found,
        LossRow("NLL", "rows", nn.NLLLoss, logs, labels),
        LossRow("NLL", "sequences", classes_second(nn.NLLLoss()), long_logs, places),
        LossRow("NLL", "weights", lambda: nn.NLLLoss(weights), logs, labels, weighted),
        LossRow("NLL", "weights, sequences", classes_second(nn.NLLLoss(weights)), long_logs, places, weighted),
    ]


def of_values() -> list[LossRow]:
    """Losses of numbers and of probabilities."""
    steep = torch.tensor([[1e4, -1e4, 0.0, -30.0], [-1e4, 1e4, 40.0, 1e-9]])
    answers = torch.tensor([[1.0, 0.0, 0.5, 0.0], [1.0, 0.0, 1.0, 0.25]])
    logs = torch.log_softmax(normal(5, 4, scale=3), -1)
    one_hot = functional.one_hot(torch.tensor([0, 3, 1, 1, 2]), 4).to(torch.float64)
    y, t = normal(5, 3, scale=2), normal(5, 3)
    touching = torch.tensor([[1.0, -1.0, 0.5, 0.0]])
    return [
        LossRow("BCEWithLogits", "rows", nn.BCEWithLogitsLoss, normal(5, 4, scale=3), torch.rand(5, 4)),
        LossRow("BCEWithLogits", "far", nn.BCEWithLogitsLoss, steep, answers),
        LossRow("BCEWithLogits", "one number", nn.BCEWithLogitsLoss, normal(1, 1), torch.ones(1, 1)),
        LossRow("KLDiv", "rows", lambda: by_places, logs, torch.softmax(normal(5, 4), -1)),
        LossRow("KLDiv", "one-hot rows", lambda: by_places, logs, one_hot),
        LossRow("KLDiv", "sequences", lambda: by_places, normal(2, 3, 4), torch.softmax(normal(2, 3, 4), -1)),
        LossRow("MAE", "rows", nn.L1Loss, y, t),
        LossRow("MAE", "touching", nn.L1Loss, touching, torch.tensor([[1.0, 1.0, 0.5, 0.0]])),
        LossRow("MAE", "far", nn.L1Loss, normal(4, 2, scale=1e4), normal(4, 2)),
        LossRow("Huber", "rows", nn.HuberLoss, y, t),
        LossRow("Huber", "delta 0.3", lambda: nn.HuberLoss(delta=0.3), y, t, {"delta": 0.3}),
        LossRow("Huber", "touching", nn.HuberLoss, touching, torch.zeros(1, 4)),
        LossRow("Huber", "far", nn.HuberLoss, normal(4, 2, scale=1e4), normal(4, 2)),
    ]


def focal(gamma: float, weights: Tensor | None = None) -> Callable[[], Callable[[Tensor, Tensor], Tensor]]:
    """Σ w (1 − p)^γ (−log p) / Σ w over all places, by PyTorch's log-softmax."""

    def loss(y: Tensor, t: Tensor) -> Tensor:
        log = torch.log_softmax(y.reshape(-1, y.shape[-1]), -1).gather(1, t.reshape(-1, 1))[:, 0]
        amounts = torch.ones_like(log) if weights is None else weights[t.reshape(-1)]
        return -(amounts * (1 - log.exp()) ** gamma * log).sum() / amounts.sum()

    return lambda: loss


def binary_focal(gamma: float = 2, alpha: float = 0.25) -> Callable[[], Callable[[Tensor, Tensor], Tensor]]:
    """The formula that torchvision documents for `sigmoid_focal_loss(reduction="mean")`."""

    def loss(y: Tensor, t: Tensor) -> Tensor:
        p, ce = torch.sigmoid(y), functional.binary_cross_entropy_with_logits(y, t, reduction="none")
        found = ce * (1 - (p * t + (1 - p) * (1 - t))) ** gamma
        return ((alpha * t + (1 - alpha) * (1 - t)) * found if alpha >= 0 else found).mean()

    return lambda: loss


def contrastive(margin: float) -> Callable[[], Callable[[Tensor, Tensor], Tensor]]:
    """The loss of Hadsell et al. 2006, equation 4."""
    return lambda: lambda d, t: (0.5 * (1 - t) * d**2 + 0.5 * t * (margin - d).clamp(min=0) ** 2).mean()


def of_decisions() -> list[LossRow]:
    """Weights of positives, focal losses and distances."""
    y, t, hard = normal(5, 4, scale=3), torch.rand(5, 4), (torch.rand(5, 4) > 0.7).to(torch.float64)
    labels, places, sequences = torch.tensor([0, 3, 1, 1, 2]), torch.tensor([[0, 3, 1], [2, 2, 0]]), normal(2, 3, 4)
    steep, answers = torch.tensor([[1e3, -1e3, 40.0, -30.0]]), torch.tensor([[0.0, 1.0, 0.0, 1.0]])
    weights = torch.tensor([0.5, 2.0, 1.0, 3.25])
    weighted, pos = {"class_weights": weights.tolist()}, {"pos_weight": weights.tolist()}
    distances = normal(6, 1).abs()
    pairs = torch.tensor([[0.0], [1.0], [1.0], [0.0], [1.0], [0.25]])

    def positives(weight: Tensor) -> Callable[[], Callable[[Tensor, Tensor], Tensor]]:
        return lambda: nn.BCEWithLogitsLoss(pos_weight=weight)

    return [
        LossRow("BCEWithLogits", "positives", positives(torch.tensor(9.0)), y, hard, {"pos_weight": 9.0}),
        LossRow("BCEWithLogits", "positives by output", positives(weights), y, t, pos),
        LossRow("BCEWithLogits", "positives, far", positives(weights), steep, answers, pos),
        LossRow("Focal", "rows", focal(2), normal(5, 4), labels),
        LossRow("Focal", "gamma 0.5", focal(0.5), normal(5, 4), labels, {"gamma": 0.5}),
        LossRow("Focal", "gamma 0", lambda: nn.CrossEntropyLoss(), normal(5, 4), labels, {"gamma": 0.0}),
        LossRow("Focal", "sequences, weights", focal(1.5, weights), sequences, places, {"gamma": 1.5} | weighted),
        LossRow("BinaryFocal", "rows", binary_focal(), y, hard),
        LossRow("BinaryFocal", "probabilities", binary_focal(), y, t),
        LossRow("BinaryFocal", "gamma 0.5", binary_focal(0.5, 0.7), y, hard, {"gamma": 0.5, "alpha": 0.7}),
        LossRow("BinaryFocal", "no alpha", binary_focal(3, -1), y, hard, {"gamma": 3.0, "alpha": None}),
        LossRow("Contrastive", "pairs", contrastive(1), distances, pairs),
        LossRow("Contrastive", "margin 0.5", contrastive(0.5), distances, pairs, {"margin": 0.5}),
    ]


def hinge(outputs: Tensor, labels: Tensor, margin: float) -> Any:
    """Mean over all places of max(0, m + largest other score − own), or for one score max(0, m ∓ score)."""
    rows, found = exact(outputs.reshape(-1, outputs.shape[-1])), mpf(0)
    for row, label in zip(rows, labels.reshape(-1).tolist(), strict=True):
        if len(row) == 1:
            found += max(mpf(0), margin - (2 * label - 1) * row[0])
        else:
            found += max(mpf(0), margin + max(z for j, z in enumerate(row) if j != label) - row[label])
    return found / len(rows)


def exact(outputs: Tensor) -> Rows:
    """Numbers as they are, with 50 digits."""
    return [[mpf(z) for z in row] if isinstance(row, list) else row for row in outputs.tolist()]


def hinge_case(case: str, outputs: Tensor, labels: Tensor, arguments: dict[str, float]) -> dict[str, Any]:
    """Value, and gradient by central differences, exact for a piecewise linear function away from its kinks."""
    mp.dps = 50
    margin, step, slopes = mpf(arguments.get("margin", 1.0)), 2.0**-20, torch.zeros_like(outputs)
    for i in range(outputs.numel()):
        up, down = outputs.clone().reshape(-1), outputs.clone().reshape(-1)
        up[i] += step
        down[i] -= step
        taken = mpf(up[i].item()) - mpf(down[i].item())
        high, low = (hinge(moved.reshape(outputs.shape), labels, margin) for moved in (up, down))
        slopes.reshape(-1)[i] = float((high - low) / taken)
    return {
        "part": "Hinge",
        "case": case,
        "arguments": arguments,
        "outputs": outputs.tolist(),
        "targets": labels.tolist(),
        "value": float(hinge(outputs, labels, margin)),
        "grad": slopes.tolist(),
    }


def hinges() -> list[dict[str, Any]]:
    """Scores of several classes, and one score for two."""
    labels, places = torch.tensor([0, 3, 1, 1, 2]), torch.tensor([[0, 3, 1], [2, 2, 0]])
    answers = torch.tensor([0, 1, 1, 0, 1])
    return [
        hinge_case("rows", normal(5, 4), labels, {}),
        hinge_case("rows, margin 0.25", normal(5, 4), labels, {"margin": 0.25}),
        hinge_case("far", normal(5, 4, scale=1e4), labels, {}),
        hinge_case("sequences", normal(2, 3, 4), places, {}),
        hinge_case("one score", normal(5, 1), answers, {}),
        hinge_case("one score, margin 2", normal(5, 1, scale=3), answers, {"margin": 2.0}),
        hinge_case("one score, sequences", normal(2, 3, 1), places % 2, {}),
    ]


def content() -> dict[str, Any]:
    """All of them."""
    return {
        "cases": [
            *(loss_case(row) for row in (*of_classes(), *of_values())),
            *hinges(),
            *map(loss_case, of_decisions()),
        ]
    }
