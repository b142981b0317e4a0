"""Plans of small models, and the same training written by hand with the teaching API."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from tiny_spec import compiled, noise

from nnspec import engine as nn
from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import Plan
from nnspec.data.source import Dataset
from nnspec.engine.random import Stream, stream
from nnspec.testing.memory import growth

SAMPLES, EPOCHS, SEED = 50, 3, 0
MODELS = (
    "Linear(10)",
    "Linear(12); ReLU; Linear(10)",
    "Linear(12); Sigmoid; Linear(10)",
    "Linear(12); Tanh; Linear(10)",
    "Linear(12); Dropout(0.4); Linear(10)",
    "Linear(12); Flatten; Linear(10)",
    "Linear(12); ReLU; Dropout(0.4); Linear(10)",
    "Linear(12); Dropout(0.3); ReLU; Linear(10)",
    "Linear(12); ReLU; Tanh; Sigmoid; Linear(10)",
    "Linear(12); Tanh; Flatten; Dropout(0.3); ReLU; Linear(8); Linear(10)",
    "Linear(12); Dropout(0.2); Flatten; Dropout(0.2); Linear(10)",
    "Linear(10); ReLU",
    "Linear(10); Sigmoid",
    "Linear(10); Tanh",
    "Linear(10); Flatten",
    "Linear(10); Dropout(0.2)",
    "Linear(10); Tanh; Dropout(0.5)",
    "Tanh; Linear(10)",
    "ReLU; Linear(12); ReLU; Linear(10)",
    "Dropout(0.2); Linear(10)",
    "Flatten; Sigmoid; Tanh; Dropout(0.2); Linear(12); Sigmoid; Linear(10)",
    "Linear(12); residual { Linear(12); ReLU; Linear(12) }; ReLU; Linear(10)",
    "Linear(12); Tanh; residual { ReLU; Linear(8); Sigmoid; shortcut { ReLU; Linear(8); Sigmoid } }; Linear(10)",
    "Linear(12); Tanh; residual { Dropout(0.3); Tanh }; residual { Linear(12); Dropout(0.3) }; Linear(10)",
    "residual { Tanh; Linear(12); shortcut { Linear(12) } }; Linear(10)",
    "residual { ReLU }; Linear(10)",
    "Linear(12); Sigmoid; residual { Linear(10); Dropout(0.2); shortcut { Linear(10) } }; Sigmoid",
    "Linear(12); residual { Linear(10); Sigmoid; shortcut { Linear(10); Tanh } }",
    "Linear(12); Sigmoid; add { a { Linear(12) }; b { }; c { Linear(9); ReLU; Linear(12) } }; Tanh; Linear(10)",
    "Linear(12); Tanh; add { a { }; b { Dropout(0.3) }; c { Tanh; Flatten; ReLU } }; Linear(10)",
    "Linear(12); add { a { Linear(10); ReLU }; b { Linear(10) } }",
    "add { a { Linear(12) }; b { Linear(12) }; c { ReLU; Linear(12) } }; Sigmoid; Linear(10)",
    "Linear(12); concat { a { Linear(3); Sigmoid }; b { }; c { ReLU; Dropout(0.2) } }; Linear(10)",
    "concat { a { Linear(5) }; b { Dropout(0.4); Linear(5); Tanh } }; Linear(10)",
    "Linear(12); concat { a { Linear(5); Tanh }; b { Linear(5) } }",
    "Linear(12); Sigmoid; residual { residual { Linear(12); ReLU }; residual { Tanh; residual { Linear(12) } } }; Tanh;"
    " concat { a { add { p { Linear(6) }; q { residual { Linear(6); shortcut { Linear(6) } }; Sigmoid } } };"
    " b { concat { p { ReLU }; q { residual { Sigmoid } } }; Dropout(0.2); Linear(4) } }",
)
OPTIMIZERS = {
    "SGD(lr=0.05)": lambda params: nn.SGD(params, lr=0.05),
    "SGD(lr=0.01, momentum=0.8)": lambda params: nn.SGD(params, lr=0.01, momentum=0.8),
    "Momentum(lr=0.005, momentum=0.9)": lambda params: nn.Momentum(params, lr=0.005, momentum=0.9),
    "Adam(lr=0.01)": lambda params: nn.Adam(params, lr=0.01),
}
LOSSES = {"CrossEntropy": nn.CrossEntropyLoss, "MSE": nn.MSELoss}
ALLOCATION = 8 * 1024
"""Bytes that Python objects may take while a warm plan trains."""
SIZES = {"batch 64": (64, 64, 200), "batch 512, width 128": (512, 128, 1100)}


def make_plan(text: str, dataset: Dataset | None = None, lane: str = "run") -> Plan:
    program = compiled(text)
    experiment = next(e for e in program.program.lanes if e.name == lane)
    return plan_alone(experiment, program.layouts[lane], dataset or noise(experiment.facts))


def train(plan: Plan, epochs: int = EPOCHS) -> list[float]:
    """Train a plan; return the loss of every batch."""
    losses = []
    for epoch in range(epochs):
        plan.begin(epoch)
        losses += [plan.train_batch(number)[0] for number in range(plan.batches)]
        plan.test()
    return losses


def by_hand(model: str) -> nn.NumpyMLP:
    """Make the layers of a model one by one, each with the stream that belongs to its place."""
    layers, _ = chain(re.findall(r"\w+(?:\([\d.]+\))?|[{}]", model), 784, ())
    return nn.NumpyMLP(*layers)


def chain(words: list[str], width: int, place: tuple[int, ...]) -> tuple[list[nn.Layer], int]:
    """Make layers up to the end of their braces, which is taken off; return the width that leaves too."""
    layers: list[nn.Layer] = []
    while words and words[0] != "shortcut" and (word := words.pop(0)) != "}":
        kind, argument = re.fullmatch(r"(\w+)(?:\(([\d.]+)\))?", word).groups()
        here = (*place, len(layers))
        if kind == "Linear":
            layers.append(nn.Linear(width, int(argument), rng=stream(SEED, Stream.WEIGHTS, *here)))
            width = int(argument)
        elif kind == "Dropout":
            layers.append(nn.Dropout(float(argument), rng=stream(SEED, Stream.NOISE, *here)))
        elif kind in ("residual", "add", "concat"):
            layer, width = composition(kind, words, width, here)
            layers.append(layer)
        else:
            layers.append(getattr(nn, kind)())
    return layers, width


def composition(kind: str, words: list[str], width: int, place: tuple[int, ...]) -> tuple[nn.Layer, int]:
    """Make a composition, of which the words from its brace on are still there."""
    del words[0]
    if kind == "residual":
        body, out = chain(words, width, (*place, 0))
        shortcut: list[nn.Layer] = []
        if words[:1] == ["shortcut"]:
            del words[:2]
            shortcut, out = chain(words, width, (*place, 1))
            del words[0]
        return nn.Residual(body, shortcut), out
    branches, outs = {}, []
    while (name := words.pop(0)) != "}":
        del words[0]
        branches[name], out = chain(words, width, (*place, len(branches)))
        outs.append(out)
    return (nn.Add(**branches), outs[0]) if kind == "add" else (nn.Concat(**branches), sum(outs))


def eager(
    model: str, loss: nn.Loss, optimizer: Any, data: Dataset, batch: int, shuffle: bool = True, drop_last: bool = False
) -> tuple[nn.NumpyMLP, list[float]]:
    """Train with a loop that allocates memory; return the network and the loss of every batch."""
    network, losses = by_hand(model), []
    steps = optimizer(network.parameters())
    x, y = data.train.x * (1 / 255), data.train.y.astype(int)
    targets = np.eye(10)[y] if isinstance(loss, nn.MSELoss) else y
    for epoch in range(EPOCHS):
        order = np.arange(len(x))
        if shuffle:
            stream(SEED, Stream.SHUFFLE, epoch).shuffle(order)
        for start in range(0, len(x), batch):
            chosen = order[start : start + batch]
            if drop_last and len(chosen) < batch:
                break
            losses.append(loss.forward(network.forward(x[chosen]), targets[chosen]))
            network.backward(loss.backward())
            steps.step()
    return network, losses


def assert_equal_training(plan: Plan, found: list[float], network: nn.NumpyMLP, losses: list[float]) -> None:
    np.testing.assert_allclose(found, losses, rtol=1e-12, atol=1e-12)
    wanted = network.parameters()
    assert len(wanted) == len(plan.network.parameters())
    for mine, theirs in zip(plan.network.parameters(), wanted, strict=True):
        np.testing.assert_allclose(mine.data, theirs.data, rtol=1e-12, atol=1e-12)


def peak_growth(plan: Plan) -> int:
    """Return by how many bytes memory grows at most while a warm plan trains an epoch and tests."""
    return growth(lambda: train(plan, 1))
