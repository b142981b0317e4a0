"""Losses of weighted samples: PyTorch's numbers for each sample, and their weighted mean.

python tests/oracle/make_reference.py losses_weighted
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from row import Tensor, normal
from torch import nn
from torch.nn import functional

WEIGHTS = torch.tensor([0.5, 2.0, 0.0, 1.0, 3.25])
CLASSES = torch.tensor([0.5, 2.0, 1.0, 3.25])
Terms = Callable[[Tensor, Tensor], Tensor]


def by_sample(terms: Terms) -> Terms:
    """The mean of each sample's own numbers."""
    return lambda y, t: terms(y, t).reshape(len(y), -1).mean(dim=1)


def classes_second(terms: Terms) -> Terms:
    """PyTorch has the classes of `(B, T, C)` second."""
    return lambda y, t: terms(y.movedim(-1, 1) if y.ndim == 3 else y, t)


def hinge(y: Tensor, t: Tensor) -> Tensor:
    """max(0, 1 + largest other score − own)."""
    own = y.gather(-1, t[..., None])[..., 0]
    rivals = y.scatter(-1, t[..., None], -torch.inf).amax(dim=-1)
    return (1 + rivals - own).clamp(min=0)


def case(
    part: str, name: str, terms: Terms, y: Tensor, t: Tensor, arguments: dict[str, Any], of_labels: Tensor | None = None
) -> dict[str, Any]:
    """Σ w l / Σ w, and its gradient; `of_labels` are the weights of the classes, which l contains."""
    outputs = y.clone().requires_grad_()
    weights = WEIGHTS if of_labels is None else WEIGHTS * of_labels[t].reshape(len(y), -1).mean(dim=1)
    value = (WEIGHTS * by_sample(terms)(outputs, t)).sum() / weights.sum()
    value.backward()
    return {
        "part": part,
        "case": name,
        "arguments": arguments,
        "outputs": y.tolist(),
        "targets": t.tolist(),
        "weights": WEIGHTS.tolist(),
        "value": value.item(),
        "grad": outputs.grad.tolist(),
    }


def content() -> dict[str, Any]:
    """All losses, for rows and for sequences."""
    found = []
    for form, shape in (("rows", (5,)), ("sequences", (5, 3))):
        y, t = normal(*shape, 4, scale=2), normal(*shape, 4)
        labels = torch.randint(0, 4, shape)
        odds, logs = torch.softmax(normal(*shape, 4), -1), torch.log_softmax(normal(*shape, 4, scale=2), -1)
        for words, weight, smoothing in (
            ("", None, 0.0),
            (", smoothing", None, 0.2),
            (", class weights", CLASSES, 0.0),
            (", class weights and smoothing", CLASSES, 0.2),
        ):
            loss = nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing, reduction="none")
            arguments: dict[str, Any] = {"label_smoothing": smoothing} if smoothing else {}
            arguments |= {"class_weights": CLASSES.tolist()} if weight is not None else {}
            found.append(case("CrossEntropy", form + words, classes_second(loss), y, labels, arguments, weight))
        found.append(case("CrossEntropy", f"{form}, rows of probabilities", by_rows, y, odds, {}))
        for words, weight in (("", None), (", class weights", CLASSES)):
            arguments = {"class_weights": CLASSES.tolist()} if weight is not None else {}
            nll = classes_second(nn.NLLLoss(weight=weight, reduction="none"))
            found.append(case("NLL", form + words, nll, logs, labels, arguments, weight))
        found += [
            case("MSE", form, nn.MSELoss(reduction="none"), y, t, {}),
            case("MAE", form, nn.L1Loss(reduction="none"), y, t, {}),
            case("Huber", form, nn.HuberLoss(delta=0.7, reduction="none"), y, t, {"delta": 0.7}),
            case("BCEWithLogits", form, nn.BCEWithLogitsLoss(reduction="none"), y, torch.rand(*shape, 4), {}),
            case("KLDiv", form, lambda y, t: functional.kl_div(y, t, reduction="none").sum(-1), logs, odds, {}),
            case("Hinge", form, hinge, y, labels, {}),
        ]
    return {"cases": found}


def by_rows(y: Tensor, t: Tensor) -> Tensor:
    """Cross-entropy with targets that are probabilities."""
    loss: Tensor = nn.CrossEntropyLoss(reduction="none")(y.reshape(-1, 4), t.reshape(-1, 4))
    return loss.reshape(y.shape[:-1])
