"""Layers that have no row elsewhere and whose counterpart in PyTorch has one of their names."""

from __future__ import annotations

import torch
from row import LayerRow, normal
from torch import nn

from nnspec.engine import PARTS


def counterpart(part: str, kind: str, module: object) -> type | None:
    """Return the class of a module of PyTorch's that has a name of the part, where there is one."""
    names = (part, *PARTS[kind][part].also)
    return next((found for name in names if isinstance(found := getattr(module, name, None), type)), None)


def layer_rows(known: set[str] | None = None) -> list[LayerRow]:
    """Each with its defaults, given rows, images and numbers that are far out."""
    from make_reference import others_in

    rows, far = [], torch.tensor([[-1e4, -40.0, -2.0, -1e-9], [1e-9, 2.0, 40.0, 1e4]])
    for part in sorted(PARTS["layer"].keys() - others_in("layers*.json", "layers_by_name.json")):
        make = counterpart(part, "layer", nn)
        if make is not None:
            cases = {"rows": normal(5, 4, scale=3), "images": normal(2, 3, 2, 2), "far out": far}
            rows += [LayerRow(part, case, make, x) for case, x in cases.items()]
    return rows
