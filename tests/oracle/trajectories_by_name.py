"""A hundred steps of optimizers that have no row elsewhere and whose counterpart in PyTorch has one of their names."""

from __future__ import annotations

from typing import Any

import trajectories_100
from layers_by_name import counterpart
from torch import optim

from nnspec.engine import PARTS


def content() -> dict[str, Any]:
    """Return what stands in the file: the same network and data as in `trajectories_100`."""
    from make_reference import others_in

    rows = []
    for part in sorted(PARTS["optimizer"].keys() - others_in("trajectories_*.json", "trajectories_by_name.json")):
        make, lr = counterpart(part, "optimizer", optim), PARTS["optimizer"][part].signature().get("lr")
        if make is not None and lr is not None:
            rows.append(trajectories_100.Row(part, make, {"lr": lr.default}))
    return trajectories_100.content(rows)
