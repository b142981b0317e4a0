"""Training by PyTorch of networks in which states are passed on: from batch to batch, and from layer to layer.

    python tests/oracle/make_reference.py sequences

`graphs`: layers that begin with the state of another, trained on numbers in batches of 4. `cases`: a text is cut into
as many runs as a batch has rows, as in PyTorch's word_language_model; each row continues its run, with the detached
state of the previous batch. Each has the text of nnspec's model, the weights at the start and at the end, the loss of
each batch, and `cases` the loss of the test part after each epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from axes import kept, names_of
from row import Tensor, normal
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


STEPS, SAMPLES, FEATURES, SGD = 6, 8, 3, 0.2


def name_of(key: str) -> str:
    """nnspec's name of a parameter of a recurrent layer, or of attention."""
    words = {"_l0": "", "in_proj": "qkv", "out_proj.": "out_"}
    for theirs, own in words.items():
        key = key.replace(theirs, own)
    return key


def graph(text: str, modules: dict[str, nn.Module], run: Callable[..., Tensor], places: int = 5) -> dict[str, Any]:
    """Train a network on the mean squared error, in batches of half the samples."""
    parameters = {f"{n}.{name_of(k)}": p for n, module in modules.items() for k, p in module.named_parameters()}
    x = normal(SAMPLES, places, FEATURES)
    y = normal(*run(x, *modules.values()).shape)
    start = {name: kept(name, tensor.detach().clone()) for name, tensor in parameters.items()}
    optimizer, losses = torch.optim.SGD(parameters.values(), lr=SGD), []
    for step in range(STEPS):
        part = slice(0, SAMPLES // 2) if step % 2 == 0 else slice(SAMPLES // 2, SAMPLES)
        optimizer.zero_grad()
        loss = functional.mse_loss(run(x[part], *modules.values()), y[part])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    end = {name: kept(name, tensor.detach()) for name, tensor in parameters.items()}
    return {"model": text, "x": x.tolist(), "y": y.tolist(), "start": start, "losses": losses, "end": end}


def side_by_side(state: Tensor) -> Tensor:
    """h or c of each direction, `(directions, B, hidden)`, in one row."""
    return torch.cat([*state], dim=-1)


def cells(x: Tensor, layer: nn.LSTM) -> Tensor:
    """h and c after each step."""
    state, rows = None, []
    for place in range(x.shape[1]):
        y, state = layer(x[:, place : place + 1], state)
        rows.append(torch.cat([y, state[1].transpose(0, 1)], dim=-1))
    return torch.cat(rows, dim=1)


def graphs() -> list[dict[str, Any]]:
    """Layers that begin with the state of another layer."""

    def make(cls: Any, hidden: int, **more: Any) -> nn.Module:
        return cls(FEATURES, hidden, batch_first=True, **more)

    def both(cls: Any, hidden: int, outputs: int, out: int = 2, **more: Any) -> dict[str, nn.Module]:
        layers = {"encoder": make(cls, hidden, **more), "decoder": make(cls, hidden, **more)}
        return layers | {"Linear1": nn.Linear(outputs, out)}

    def last(x: Tensor, encoder: nn.Module, decoder: nn.Module, linear: nn.Module) -> Tensor:
        y: Tensor = linear(decoder(x, encoder(x)[1])[0])
        return y

    def ends(x: Tensor, encoder: nn.Module, decoder: nn.Module, linear: nn.Module) -> Tensor:
        y: Tensor = linear(side_by_side(decoder(x, encoder(x)[1])[1]))
        return y

    def started(x: Tensor, start: nn.Module, layer: nn.Module, linear: nn.Module) -> Tensor:
        y: Tensor = linear(layer(x, start(x.flatten(1))[None])[0])
        return y

    def attended(x: Tensor, encoder: nn.Module, queries: nn.Module, mha: nn.Module, linear: nn.Module) -> Tensor:
        c, q = encoder(x)[0], queries(x)
        y: Tensor = linear(q + mha(q, c, c, need_weights=False)[0])
        return y

    def shorter(x: Tensor, encoder: nn.Module, queries: nn.Module, mha: nn.Module, linear: nn.Module) -> Tensor:
        c, q = encoder(x.mT).mT, queries(x)
        y: Tensor = linear(mha(q, c, c, need_weights=False)[0])
        return y

    def attention(encoder: nn.Module, heads: int, bias: bool = True) -> dict[str, nn.Module]:
        mha = nn.MultiheadAttention(4, heads, bias=bias, batch_first=True)
        if bias:  # PyTorch starts them at zero, where nothing would be seen of them
            mha.in_proj_bias.data, mha.out_proj.bias.data = normal(12), normal(4)
        return {"c": encoder, "q": nn.Linear(FEATURES, 4), "mha": mha, "Linear2": nn.Linear(4, 2)}

    again = "from(input); decoder:"
    return [
        graph(f"encoder: GRU(4); {again} GRU(4, state=encoder); Linear(2)", both(nn.GRU, 4, 4), last),
        graph(
            "encoder: RNN(4, activation=relu, return_sequences=false);"
            f" {again} RNN(4, activation=relu, state=encoder); Linear(2)",
            both(nn.RNN, 4, 4, nonlinearity="relu"),
            last,
        ),
        graph(
            f"encoder: LSTM(4, return_cell=true, return_sequences=false); {again} LSTM(4, state=encoder); Linear(2)",
            both(nn.LSTM, 4, 4),
            last,
        ),
        graph(
            f"encoder: LSTM(4, return_cell=true); {again} LSTM(4, state=encoder, bias=true); Linear(2)",
            both(nn.LSTM, 4, 4),
            last,
            places=1,
        ),
        graph(f"encoder: GRU(4); {again} GRU(4, state=encoder); Linear(2)", both(nn.GRU, 4, 4), last, places=1),
        graph(
            "encoder: GRU(3, bidirectional=true, return_sequences=false);"
            f" {again} GRU(3, bidirectional=true, state=encoder, return_sequences=false); Linear(2)",
            both(nn.GRU, 3, 6, bidirectional=True),
            ends,
        ),
        graph(
            "encoder: LSTM(3, bidirectional=true, return_cell=true, return_sequences=false);"
            f" {again} LSTM(3, bidirectional=true, state=encoder); Linear(2)",
            both(nn.LSTM, 3, 6, bidirectional=True),
            last,
        ),
        graph(
            "layer: LSTM(3, return_cell=true); Linear(2)",
            {"layer": make(nn.LSTM, 3), "Linear1": nn.Linear(6, 2)},
            lambda x, layer, linear: linear(cells(x, layer)),
        ),
        graph(
            "Flatten; start: Linear(4); from(input); layer: RNN(4, state=start); Linear(2)",
            {"start": nn.Linear(5 * FEATURES, 4), "layer": make(nn.RNN, 4), "Linear2": nn.Linear(4, 2)},
            started,
        ),
        graph(
            "c: GRU(4); from(input); q: Linear(4); mha: MultiHeadAttention(2, context=c);"
            " add { a { } b { from(q) } }; Linear(2)",
            attention(make(nn.GRU, 4), 2),
            attended,
        ),
        graph(
            "c: Conv1D(4, 2, stride=2); from(input); q: Linear(4);"
            " mha: MultiHeadAttention(1, context=c, bias=false); Linear(2)",
            attention(nn.Conv1d(FEATURES, 4, 2, stride=2), 1, bias=False),
            shorter,
        ),
    ]


SYMBOLS, LENGTH = 6, 4


def reversing(text: str, cell: Any, context: bool) -> dict[str, Any]:
    """Train an encoder and a decoder, which gets the previous symbol of the target, to reverse sequences."""
    source = torch.randint(SYMBOLS - 1, (SAMPLES, LENGTH))
    labels = source.flip(1)
    shifted = torch.cat([torch.full((SAMPLES, 1), SYMBOLS - 1), labels[:, :-1]], dim=1)
    modules = {
        "e": nn.Embedding(SYMBOLS, 4),
        "encoder": cell(4, 4, batch_first=True),
        "d": nn.Embedding(SYMBOLS, 4),
        "decoder": cell(4, 4, batch_first=True),
        "mha": nn.MultiheadAttention(4, 2, batch_first=True),
        "out": nn.Linear(4, SYMBOLS - 1),
    }
    if not context:
        del modules["mha"]
    parameters = {f"{n}.{name_of(k)}": p for n, module in modules.items() for k, p in module.named_parameters()}
    start = {name: by_name(name, tensor.detach().clone()) for name, tensor in parameters.items()}
    optimizer, losses = torch.optim.SGD(parameters.values(), lr=SGD), []
    for step in range(STEPS):
        part = slice(0, SAMPLES // 2) if step % 2 == 0 else slice(SAMPLES // 2, SAMPLES)
        optimizer.zero_grad()
        outputs, state = modules["encoder"](modules["e"](source[part]))
        y, _ = modules["decoder"](modules["d"](shifted[part]), state)
        y = y + modules["mha"](y, outputs, outputs, need_weights=False)[0] if context else y
        loss = functional.cross_entropy(modules["out"](y).flatten(0, 1), labels[part].flatten())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    end = {name: by_name(name, tensor.detach()) for name, tensor in parameters.items()}
    data = {"source": source.tolist(), "shifted": shifted.tolist(), "labels": labels.tolist()}
    return {"model": text, **data, "symbols": SYMBOLS, "start": start, "losses": losses, "end": end}


def by_name(name: str, tensor: Tensor) -> list[Any]:
    """As nnspec keeps it: an embedding as PyTorch does."""
    return tensor.tolist() if name in ("e.weight", "d.weight") else kept(name, tensor)


def reversals() -> list[dict[str, Any]]:
    """Sequence to sequence."""
    decoder = "from(shifted); d: Embedding(4); decoder:"
    return [
        reversing(
            f"from(source); e: Embedding(4); encoder: GRU(4); {decoder} GRU(4, state=encoder);"
            " add { a { } b { mha: MultiHeadAttention(2, context=encoder) } }; out: Linear(data.classes)",
            nn.GRU,
            context=True,
        ),
        reversing(
            "from(source); e: Embedding(4); encoder: LSTM(4, return_cell=true, return_sequences=false);"
            f" {decoder} LSTM(4, state=encoder); out: Linear(data.classes)",
            nn.LSTM,
            context=False,
        ),
    ]


def content() -> dict[str, Any]:
    """The models, and what they are trained on."""
    return {
        "text": TEXT,
        "context": CONTEXT,
        "batch": BATCH,
        "epochs": EPOCHS,
        "rate": RATE,
        "test": TEST,
        "graphs": graphs(),
        "reversals": reversals(),
        "cases": [
            case("RNN(4)", {"RNN1": nn.RNN(3, 4, batch_first=True)}),
            case("GRU(4)", {"GRU1": nn.GRU(3, 4, batch_first=True)}),
            case(
                "LSTM(4) * 2",
                {"LSTM1": nn.LSTM(3, 4, batch_first=True), "LSTM2": nn.LSTM(4, 4, batch_first=True)},
            ),
        ],
    }
