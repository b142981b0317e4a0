"""Training of recurrent networks by PyTorch in which states are carried from batch to batch.

    python tests/oracle/make_reference.py sequences

A text is cut into as many runs as a batch has rows, as in PyTorch's word_language_model; each row continues its run,
with the detached state of the previous batch. Each case has the text of nnspec's model, the weights at the start and at
the end, the loss of each batch, and the loss of the test part after each epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from axes import kept, names_of
from row import Tensor
from torch import nn
from torch.nn import functional

TEXT = "the owl and the cat went to sea in a boat they took some tea and a wood full of oats " * 3
CONTEXT, BATCH, EPOCHS, RATE, TEST = 4, 5, 3, 0.5, 0.2
ALPHABET = sorted(set(TEXT))


def batches(ids: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Consecutive windows of the text, in rows that each continue their own run. The first runs may be longer."""
    count = (len(ids) - 1) // CONTEXT
    lengths = [count // BATCH + (row < count % BATCH) for row in range(BATCH)]
    runs, start = [], 0
    for length in lengths:
        runs.append([start + i for i in range(length)])
        start += length
    for step in range(max(lengths)):
        windows = [run[step] * CONTEXT for run in runs if step < len(run)]
        yield tuple(torch.stack([ids[at + d : at + d + CONTEXT] for at in windows]) for d in (0, 1))


def cut(state: Any, rows: int) -> Any:
    """The state of the first rows, detached."""
    return tuple(each[:, :rows].detach() for each in state) if isinstance(state, tuple) else state[:, :rows].detach()


def case(text: str, cells: dict[str, nn.Module]) -> dict[str, Any]:
    """Train a model and evaluate it after each epoch."""
    width = next(iter(cells.values())).input_size
    last = [*cells.values()][-1].hidden_size
    modules = {"Embedding1": nn.Embedding(len(ALPHABET), width), **cells, "Linear1": nn.Linear(last, len(ALPHABET))}
    parameters = {k: v for name, module in modules.items() for k, v in names_of(name, module).items()}
    start = {name: kept(name, tensor.detach().clone()) for name, tensor in parameters.items()}
    ids = torch.tensor([ALPHABET.index(character) for character in TEXT])
    border = len(ids) - round(TEST * len(ids))
    optimizer = torch.optim.SGD(parameters.values(), lr=RATE)
    losses, tested = [], []

    def loss_of(x: Tensor, y: Tensor, states: dict[str, Any]) -> Tensor:
        h = modules["Embedding1"](x)
        for name, cell in cells.items():
            h, states[name] = cell(h, cut(states[name], len(x)) if name in states else None)
        return functional.cross_entropy(modules["Linear1"](h).flatten(0, 1), y.flatten())

    for _ in range(EPOCHS):
        states: dict[str, Any] = {}
        for x, y in batches(ids[:border]):
            optimizer.zero_grad()
            loss = loss_of(x, y, states)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        with torch.no_grad():
            states, total, count = {}, 0.0, 0
            for x, y in batches(ids[border:]):
                total, count = total + loss_of(x, y, states).item() * len(x), count + len(x)
        tested.append(total / count)
    end = {name: kept(name, tensor.detach()) for name, tensor in parameters.items()}
    return {"model": text, "start": start, "losses": losses, "tested": tested, "end": end}


def content() -> dict[str, Any]:
    """The models, and what they are trained on."""
    return {
        "text": TEXT,
        "context": CONTEXT,
        "batch": BATCH,
        "epochs": EPOCHS,
        "rate": RATE,
        "test": TEST,
        "cases": [
            case("RNN(4)", {"RNN1": nn.RNN(3, 4, batch_first=True)}),
            case("GRU(4)", {"GRU1": nn.GRU(3, 4, batch_first=True)}),
            case(
                "LSTM(4) * 2",
                {"LSTM1": nn.LSTM(3, 4, batch_first=True), "LSTM2": nn.LSTM(4, 4, batch_first=True)},
            ),
        ],
    }
