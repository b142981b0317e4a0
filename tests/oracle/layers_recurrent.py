"""Recurrent layers."""

from __future__ import annotations

from typing import Any

import torch
from row import LayerRow, Tensor, as_nnspec, normal
from torch import nn


def first_layer(tensors: dict[str, Tensor]) -> dict[str, list[Any]]:
    """PyTorch numbers the layers of a stack: `weight_ih_l0`, `weight_ih_l0_reverse`."""
    return as_nnspec({name.replace("_l0", ""): tensor for name, tensor in tensors.items()})


def final_state(state: Any) -> Tensor:
    """The last h of each direction, side by side: `(directions, B, hidden)`, or that and the cells of an LSTM."""
    return torch.cat([*(state[0] if isinstance(state, tuple) else state)], dim=-1)


def rows_of(part: str, **more: Any) -> list[LayerRow]:
    """A layer with all its arguments in turn."""
    cls = getattr(nn, part)
    arguments = {"activation": more["nonlinearity"]} if more else {}
    words = f", {more['nonlinearity']}" if more else ""

    def row(case: str, x: Tensor, hidden: int, last: bool = False, **given: Any) -> LayerRow:
        sizes = {"in_features": x.shape[-1], "hidden_size": hidden}
        return LayerRow(
            part,
            case + words,
            lambda: cls(x.shape[-1], hidden, batch_first=True, **given, **more),
            x,
            sizes | arguments | given | ({"return_sequences": False} if last else {}),
            convert=first_layer,
            output=lambda found: final_state(found[1]) if last else found[0],
        )

    return [
        row("sequences", normal(3, 5, 4), 3),
        row("the last", normal(3, 5, 4), 3, last=True),
        row("without bias", normal(2, 4, 3), 4, bias=False),
        row("one step", normal(4, 1, 2), 3),
        row("one sample, long", normal(1, 20, 2), 2),
        row("far inputs", normal(2, 4, 3, scale=100), 3),
        row("one by one", normal(2, 3, 1), 1, last=True, bias=False),
        row("both directions", normal(3, 5, 4), 3, bidirectional=True),
        row("both directions, the last", normal(3, 4, 2), 3, last=True, bidirectional=True),
        row("both directions, one step, without bias", normal(2, 1, 3), 2, bidirectional=True, bias=False),
    ]


def layer_rows() -> list[LayerRow]:
    """The recurrent layers."""
    return [
        *rows_of("RNN"),
        *rows_of("RNN", nonlinearity="relu"),
        *rows_of("GRU"),
        *rows_of("LSTM"),
    ]
