"""Training with more than one gradient per step, or with more than one set of weights: PyTorch's, batch by batch.

Accumulated gradients, averages of weights (`torch.optim.swa_utils`), L-BFGS (`torch.optim.LBFGS`; also the minimum that
SciPy's L-BFGS-B finds), and sharpness-aware steps, for which PyTorch has no class: two gradients, as in Foret et al.
2021, equation 3, and Kwon et al. 2021 for the adaptive ones. Samples come in the order of the data.
`Lookahead` is that of `pytorch-optimizer`, of PyPI.

python tests/oracle/make_reference.py trajectories_optimizing
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from pytorch_optimizer import Lookahead
from row import as_kept, normal
from scipy import optimize, special
from torch import nn, optim
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

SAMPLES, BATCH, EPOCHS = 22, 4, 6
SGD, ADAM, MOMENTUM = ({"name": "SGD", "lr": 0.3}, {"name": "Adam", "lr": 0.02}, {"name": "Momentum", "lr": 0.1})
LBFGS: dict[str, Any] = {"name": "LBFGS", "lr": 1, "line_search": "strong_wolfe"}
CASES: list[dict[str, Any]] = [
    {"case": "accumulate, SGD", "optimizer": SGD, "accumulate": 4},
    {"case": "accumulate, Adam, L2, clipped", "optimizer": ADAM, "accumulate": 3, "l2": 0.02, "clip_norm": 0.2},
    {"case": "accumulate, BatchNorm", "optimizer": MOMENTUM, "accumulate": 4, "norm": True},
    {"case": "ema", "optimizer": ADAM, "ema": 0.9},
    {"case": "ema, BatchNorm", "optimizer": MOMENTUM, "ema": 0.8, "norm": True},
    {"case": "ema, accumulate", "optimizer": SGD, "ema": 0.5, "accumulate": 2},
    {"case": "swa", "optimizer": SGD, "swa": (3, 1)},
    {"case": "swa, every second, BatchNorm", "optimizer": MOMENTUM, "swa": (1, 2), "norm": True},
    {"case": "sam, SGD", "optimizer": SGD, "rho": 0.1},
    {"case": "sam, Adam, L2, clipped", "optimizer": ADAM, "rho": 0.5, "l2": 0.02, "clip_norm": 0.2},
    {"case": "sam, BatchNorm", "optimizer": MOMENTUM, "rho": 0.2, "norm": True},
    {"case": "adaptive sam", "optimizer": MOMENTUM, "rho": 1.0, "adaptive": True},
    {"case": "L-BFGS, all samples", "optimizer": LBFGS | {"max_iter": 10}, "batch": SAMPLES, "l2": 0.01},
    {
        "case": "L-BFGS, logistic regression",
        "optimizer": LBFGS | {"max_iter": 8, "history": 4},
        "batch": SAMPLES,
        "hidden": 0,
        "l2": 0.01,
        "epochs": 4,
    },
    {
        "case": "L-BFGS, batches",
        "optimizer": LBFGS | {"max_iter": 3, "history": 3, "lr": 0.5},
        "batch": 11,
        "l2": 0.05,
    },
    {
        "case": "L-BFGS, 50 steps",
        "optimizer": LBFGS | {"max_iter": 1, "max_eval": 20, "history": 6},
        "batch": SAMPLES,
        "l2": 0.02,
        "epochs": 50,
    },
    {
        "case": "L-BFGS without a line search",
        "optimizer": LBFGS | {"max_iter": 3, "lr": 0.1, "line_search": "none"},
        "batch": SAMPLES,
    },
    {
        "case": "L-BFGS without a line search, logistic regression",
        "optimizer": LBFGS | {"max_iter": 60, "lr": 0.3, "line_search": "none", "history": 5},
        "batch": SAMPLES,
        "hidden": 0,
        "l2": 0.05,
        "epochs": 1,
    },
    {
        "case": "L-BFGS, BatchNorm",
        "optimizer": LBFGS | {"max_iter": 5},
        "batch": SAMPLES,
        "norm": True,
        "l2": 0.01,
        "epochs": 4,
    },
    {"case": "lookahead", "optimizer": ADAM, "lookahead": (5, 0.5), "epochs": 17},
    {
        "case": "lookahead, BatchNorm, accumulate",
        "optimizer": SGD,
        "lookahead": (2, 0.8),
        "norm": True,
        "accumulate": 2,
    },
]


def content() -> dict[str, Any]:
    """Return what stands in the file."""
    torch.manual_seed(7)
    x, x_test = normal(SAMPLES, 6), normal(9, 6)
    labels, labels_test = torch.randint(0, 3, (SAMPLES,)), torch.randint(0, 3, (9,))
    starts: dict[str, Any] = {}
    cases = []
    for case in CASES:
        key = f"{case.get('hidden', 5)}{' norm' if case.get('norm') else ''}"
        model = network(case)
        if key not in starts:
            starts[key] = {name: normal(*tensor.shape, scale=0.5) for name, tensor in model.named_parameters()}
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(starts[key][name])
        cases.append(
            {"part": case["optimizer"]["name"], **case, "start": key}
            | trained(case, model, (x, labels), (x_test, labels_test))
        )
    return {
        "x": x.tolist(),
        "y": labels.tolist(),
        "x_test": x_test.tolist(),
        "y_test": labels_test.tolist(),
        "batch": BATCH,
        "epochs": EPOCHS,
        "starts": {key: {name: as_kept(t) for name, t in tensors.items()} for key, tensors in starts.items()},
        "cases": cases,
        "scipy": minimum(x.numpy(), labels.numpy()),
    }


def minimum(x: Any, labels: Any) -> dict[str, Any]:
    """Return where SciPy's L-BFGS-B finds the minimum of a logistic regression with `L2(0.01)`, and how low it is."""
    targets = np.eye(3)[labels]

    def objective(flat: Any) -> Any:
        weight, bias = flat[:18].reshape(6, 3), flat[18:]
        p = special.softmax(x @ weight + bias, axis=1)
        residual = (p - targets) / len(x)
        gradient = np.concatenate([(x.T @ residual + 0.02 * weight).ravel(), residual.sum(axis=0)])
        return -(targets * np.log(p)).sum() / len(x) + 0.01 * (weight**2).sum(), gradient

    options = {"ftol": 1e-16, "gtol": 1e-10, "maxiter": 10_000}
    found = optimize.minimize(objective, np.zeros(21), jac=True, method="L-BFGS-B", options=options)
    return {"loss": found.fun, "weight": found.x[:18].reshape(6, 3).tolist()}


def network(case: dict[str, Any]) -> nn.Sequential:
    """Return the network of a case; its parameters are named as their layers are in a spec."""
    hidden = case.get("hidden", 5)
    if not hidden:
        return nn.Sequential(*named({"Linear1": nn.Linear(6, 3)}))
    layers: dict[str, nn.Module] = {"Linear1": nn.Linear(6, hidden)}
    layers |= {"BatchNorm1": nn.BatchNorm1d(hidden)} if case.get("norm") else {}
    return nn.Sequential(*named(layers | {"Tanh1": nn.Tanh(), "Linear2": nn.Linear(hidden, 3)}))


def named(layers: dict[str, nn.Module]) -> Any:
    """Return the only argument of a Sequential with names."""
    from collections import OrderedDict

    return (OrderedDict(layers),)


class Training:
    """One case."""

    def __init__(self, case: dict[str, Any], model: nn.Sequential) -> None:
        self.case, self.model = case, model
        self.evaluations = 0
        settings = case["optimizer"]
        params = [*model.parameters()]
        if settings["name"] == "LBFGS":
            search = settings["line_search"]
            self.optimizer: Any = optim.LBFGS(
                params,
                lr=settings["lr"],
                max_iter=settings["max_iter"],
                max_eval=settings.get("max_eval"),
                history_size=settings.get("history", 10),
                line_search_fn=None if search == "none" else search,
            )
        else:
            more = {"momentum": 0.9} if settings["name"] == "Momentum" else {}
            kind = optim.Adam if settings["name"] == "Adam" else optim.SGD
            self.optimizer = kind(params, lr=settings["lr"], **more)
            if "lookahead" in case:
                self.optimizer = Lookahead(self.optimizer, *case["lookahead"])

    def objective(self, x: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss, and the penalty."""
        self.evaluations += 1
        loss = nn.functional.cross_entropy(self.model(x), labels)
        weights = [p for p in self.model.parameters() if p.ndim > 1]
        return loss, self.case.get("l2", 0.0) * sum((w * w).sum() for w in weights)

    def step(self, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> list[float]:
        """Make one step on batches; return the loss of each, penalty included."""
        total = sum(len(labels) for _, labels in batches)
        if self.case["optimizer"]["name"] == "LBFGS":
            (batch,) = batches
            return [float(self.optimizer.step(self.closure(*batch)))]
        self.optimizer.zero_grad()
        losses = []
        for x, labels in batches:
            loss, penalty = self.objective(x, labels)
            ((loss + penalty) * len(labels) / total).backward()
            losses.append((loss + penalty).item())
        if "rho" in self.case:
            self.ascend(*batches[0])
        if "clip_norm" in self.case:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.case["clip_norm"])
        self.optimizer.step()
        return losses

    def ascend(self, x: torch.Tensor, labels: torch.Tensor) -> None:
        """Replace the gradients by those at θ + ε."""
        params, rho = [*self.model.parameters()], self.case["rho"]
        before, grads = [p.detach().clone() for p in params], [p.grad.detach().clone() for p in params]
        sizes = [p.abs() if self.case.get("adaptive") else torch.ones_like(p) for p in before]
        norm = torch.sqrt(sum(((s * g) ** 2).sum() for s, g in zip(sizes, grads, strict=True)))
        with torch.no_grad():
            for p, s, g in zip(params, sizes, grads, strict=True):
                p.add_(s * s * g * (rho / (norm + 1e-12)))
        self.optimizer.zero_grad()
        with running_statistics_held(self.model):
            sum(self.objective(x, labels)).backward()
        with torch.no_grad():
            for p, old in zip(params, before, strict=True):
                p.copy_(old)

    def closure(self, x: torch.Tensor, labels: torch.Tensor) -> Callable[[], Any]:
        """Return what L-BFGS evaluates: running statistics follow only the first evaluation of a step."""
        first = True

        def evaluate() -> Any:
            nonlocal first
            self.optimizer.zero_grad()
            with nullcontext() if first else running_statistics_held(self.model):
                value = sum(self.objective(x, labels))
                value.backward()
            first = False
            return value

        return evaluate


class running_statistics_held:
    """Running means and variances do not follow the batches."""

    def __init__(self, model: nn.Module) -> None:
        self.layers = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]

    def __enter__(self) -> None:
        self.kept = [(m.running_mean.clone(), m.running_var.clone()) for m in self.layers]

    def __exit__(self, *_: object) -> None:
        for m, (mean, var) in zip(self.layers, self.kept, strict=True):
            m.running_mean.copy_(mean)
            m.running_var.copy_(var)


def trained(case: dict[str, Any], model: nn.Sequential, train: Any, test: Any) -> dict[str, Any]:
    """Return loss and test loss of every epoch, the evaluations, and what is kept at the end."""
    (x, labels), size, training = train, case.get("batch", BATCH), Training(case, model)
    batches = [(x[i : i + size], labels[i : i + size]) for i in range(0, SAMPLES, size)]
    group = case.get("accumulate", 1)
    average = None
    if "ema" in case:
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(case["ema"]))
    if "swa" in case:
        average = AveragedModel(model)
    losses, tested, evaluations = [], [], []
    shown: nn.Module = model
    for epoch in range(case.get("epochs", EPOCHS)):
        model.train()
        total, before = 0.0, training.evaluations
        for start in range(0, len(batches), group):
            chosen = batches[start : start + group]
            values = training.step(chosen)
            total += sum(value * len(part) for value, (_, part) in zip(values, chosen, strict=True))
            if "ema" in case:
                average.update_parameters(model)
                shown = average.module
        if "swa" in case and epoch >= case["swa"][0] and (epoch - case["swa"][0]) % case["swa"][1] == 0:
            average.update_parameters(model)
            shown = average.module
        if "swa" in case and shown is not model:
            update_bn([part for part, _ in batches], average)
        losses.append(total / SAMPLES)
        evaluations.append(training.evaluations - before)
        shown.eval()
        if "lookahead" in case:
            training.optimizer.backup_and_load_cache()
        with torch.no_grad():
            tested.append(nn.functional.cross_entropy(shown(test[0]), test[1]).item())
        kept = {name: as_kept(t) for name, t in shown.state_dict().items() if "num_batches" not in name}
        if "lookahead" in case:
            training.optimizer.clear_and_load_backup()
    return {"losses": losses, "tested": tested, "evaluations": evaluations, "after": kept}
